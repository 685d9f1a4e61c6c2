use std::fs;

use super::*;

#[track_caller]
fn is(url: &str, expected: &str) {
    assert_eq!(repository_of_url(url).as_deref(), Some(expected), "{url}");
}

#[track_caller]
fn none(url: &str) {
    assert_eq!(repository_of_url(url), None, "{url}");
}

#[test]
fn https_urls_name_a_repository() {
    is("https://github.com/owner/name", "owner/name");
    is("https://github.com/owner/name.git", "owner/name");
    is("https://github.com/owner/name.git/", "owner/name");
    is("https://github.com/owner/name/", "owner/name");
    is("https://github.com//owner//name//", "owner/name");
    is("https://github.com:8443/owner/name.git", "owner/name");
    is("http://localhost:3000/owner/name.git", "owner/name");
    is("https://[::1]:3000/owner/name.git", "owner/name");
    is("HTTPS://GitHub.com/Owner/Name.git", "Owner/Name");
    is("  https://github.com/owner/name.git\n", "owner/name");
    is("https://git.sr.ht/~owner/name", "~owner/name");
    is("https://github.com/owner/name/.git", "owner/name");
    is("https://github.com/owner/name.github.io.git", "owner/name.github.io");
    is("https://github.com/owner/name.git.git", "owner/name.git");
}

#[test]
fn ssh_urls_name_a_repository() {
    is("ssh://git@github.com/owner/name.git", "owner/name");
    is("ssh://git@github.com:22/owner/name.git", "owner/name");
    is("ssh://github.com/owner/name", "owner/name");
    is("ssh://git@[2001:db8::1]:2222/owner/name.git", "owner/name");
    is("git+ssh://git@host/owner/name.git", "owner/name");
    is("ssh+git://git@host/owner/name.git", "owner/name");
    is("git://host/owner/name.git", "owner/name");
    is("ssh://git@host:7999/~owner/name.git", "~owner/name");
}

#[test]
fn short_ssh_forms_name_a_repository() {
    is("git@github.com:owner/name.git", "owner/name");
    is("git@github.com:owner/name", "owner/name");
    is("git@github.com:owner/name.git/", "owner/name");
    is("git@github.com:/owner/name.git", "owner/name");
    is("github.com:owner/name.git", "owner/name");
    is("work:owner/name", "owner/name");
    is("git@[2001:db8::1]:owner/name.git", "owner/name");
    is("[git.example.org]:owner/name.git", "owner/name");
    is("git@c:owner/name.git", "owner/name");
}

#[test]
fn nested_groups_stay() {
    is("https://gitlab.com/group/sub/name.git", "group/sub/name");
    is("git@gitlab.com:group/sub/name.git", "group/sub/name");
    is("ssh://git@gitlab.com/a/b/c/d.git", "a/b/c/d");
}

#[test]
fn credentials_never_show() {
    is("https://user@github.com/owner/name.git", "owner/name");
    is("https://user:secret@github.com/owner/name.git", "owner/name");
    is("https://x-access-token:secret@github.com:443/owner/name", "owner/name");
    is("https://:secret@github.com/owner/name", "owner/name");
    is("https://us@er:sec@ret@github.com/owner/name", "owner/name");
    is("ssh://git:secret@host:22/owner/name.git", "owner/name");
    is("https://github.com/owner/name.git?token=secret", "owner/name");
    is("https://github.com/owner/name#secret", "owner/name");
    is("https://github.com/owner/name?a/b=secret", "owner/name");
}

#[test]
fn a_password_that_is_not_escaped_gives_nothing() {
    for password in
        ["pa/sec/ret", "pa/ss/", "/sec/ret", "pa#sec/ret", "pa?sec/ret", "1/sec/ret?", "1/sec/ret#", "12/3", "p:a/s/s"]
    {
        none(&format!("https://user:{password}@github.com/owner/name.git"));
        none(&format!("ssh://user:{password}@github.com/owner/name.git"));
    }
    none("https://user:secret/owner/name.git");
    none("user:secret@github.com:owner/name.git");
    none("user:sec/ret@github.com:owner/name.git");
    none("https://github.com/owner/na:me");
}

#[test]
fn local_paths_name_nothing() {
    for url in [
        "/srv/git/owner/name.git",
        "./owner/name",
        "../owner/name.git",
        "~/owner/name",
        "owner/name.git",
        "name",
        "./a:b/c",
        "/a:b/c/d",
        "C:\\code\\owner\\name",
        "C:/code/owner/name.git",
        "c:owner/name",
        "\\\\server\\share\\owner\\name",
        "//server/share/owner/name",
        "file:///srv/git/owner/name.git",
        "FILE:///srv/git/owner/name.git",
        "file://server/owner/name.git",
        "git@host:~/name.git",
        "git@host:../owner/name.git",
        "ssh://git@host/./owner/name",
    ] {
        none(url);
    }
}

#[test]
fn other_transports_name_nothing() {
    for url in [
        "ext::sh -c true",
        "ext::ssh@host:owner/name",
        "codecommit::us-east-1://profile@name",
        "s3://bucket/owner/name",
        "ftp://host/owner/name",
        "javascript://host/owner/name",
    ] {
        none(url);
    }
}

#[test]
fn incomplete_urls_name_nothing() {
    for url in [
        "",
        " ",
        "https://",
        "https:///",
        "https://github.com",
        "https://github.com/",
        "https://github.com/name.git",
        "https:///owner/name",
        "https://@/owner/name",
        "https://:80/owner/name",
        "https://host:port/owner/name",
        "https://host/owner/.git",
        "git@host:",
        "git@host:name.git",
        "git@:owner/name",
        ":owner/name",
        "@host:a",
        "[::1:owner/name",
        "git@[::1]owner/name",
        "https://[::1]x/owner/name",
        "://host/owner/name",
        "https://host/own er/name",
        "https://host/owner\n/name",
        "https://host/owner/na\0me",
        "https://host/owner\\name/x",
    ] {
        none(url);
    }
    none(&format!("https://host/owner/{}", "x".repeat(300)));
}

#[test]
fn odd_texts_do_not_panic() {
    let pieces = ["", "é", "@", ":", "/", "[", "]", "//", "://", "?", "#", ".git", "host", "\u{1f600}"];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                for d in pieces {
                    let _ = repository_of_url(&format!("{a}{b}{c}{d}"));
                }
            }
        }
    }
}

#[test]
fn origin_is_preferred_to_other_remotes() {
    let output = "fork\thttps://h/fork/x (fetch)\nfork\thttps://h/fork/x (push)\n\
                  origin\thttps://h/o/x (fetch) [blob:none]\norigin\thttps://h/push/x (push)\n";
    assert_eq!(remote_url(output), Some("https://h/o/x"));
}

#[test]
fn the_only_remote_stands_in_for_origin() {
    let only = "up\thttps://h/up/x (fetch)\nup\thttps://h/up/x (push)\n";
    assert_eq!(remote_url(only), Some("https://h/up/x"));
    let two = format!("{only}fork\thttps://h/fork/x (fetch)\nfork\thttps://h/fork/x (push)\n");
    assert_eq!(remote_url(&two), None);
    assert_eq!(remote_url(""), None);
}

/// A repository with nothing of the user's own settings in it.
fn repository_with(settings: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let init = git(directory.path()).args(["init", "-q"]).status().unwrap();
    assert!(init.success());
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        let set = git(directory.path()).args(["config", key, value]).status().unwrap();
        assert!(set.success());
    }
    directory
}

#[test]
fn the_email_is_that_of_the_directory() {
    let directory = repository_with(&["user.email=ada@example.org"]);
    let below = directory.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    assert_eq!(user_email(&below).as_deref(), Some("ada@example.org"));
}

#[test]
fn an_odd_email_is_none() {
    for email in ["", "  ", "a\nb", &"x".repeat(201)] {
        let directory = repository_with(&[&format!("user.email={email}")]);
        assert_eq!(user_email(directory.path()), None, "{email:?}");
    }
}

#[test]
fn the_repository_is_that_of_the_remote_without_its_credentials() {
    let directory = repository_with(&[
        "remote.other.url=https://host/other/name",
        "remote.origin.url=https://user:secret@host/group/sub/name.git",
    ]);
    assert_eq!(repository(directory.path()).as_deref(), Some("group/sub/name"));
}

#[test]
fn a_shortened_url_is_written_out() {
    let directory = repository_with(&["url.https://host/group/.insteadOf=work:", "remote.origin.url=work:name"]);
    assert_eq!(repository(directory.path()).as_deref(), Some("group/name"));
}

#[test]
fn a_directory_without_a_repository_or_remote_has_none() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(repository(directory.path()), None);
    assert_eq!(repository(repository_with(&[]).path()), None);
}

#[test]
fn a_missing_directory_has_nothing() {
    let missing = Path::new("/does/not/exist");
    assert_eq!(user_email(missing), None);
    assert_eq!(repository(missing), None);
    assert!(!is_tracked(&missing.join("x")));
}

#[test]
fn a_file_is_tracked_once_it_is_added() {
    let directory = repository_with(&[]);
    let file = directory.path().join("a.json");
    fs::write(&file, "").unwrap();
    assert!(!is_tracked(&file));
    let add = git(directory.path()).args(["add", "a.json"]).status();
    assert!(add.unwrap().success());
    assert!(is_tracked(&file));
    assert!(is_tracked(&directory.path().join("A.JSON")));
    assert!(!is_tracked(&directory.path().join("b.json")));
}

#[test]
fn a_missing_program_gives_nothing() {
    let output = run(&mut Command::new("no-such-program-posthog-llma"), TIME_LIMIT);
    assert_eq!(output, None);
}

#[cfg(unix)]
fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[cfg(unix)]
#[test]
fn a_slow_program_is_stopped() {
    let limit = Duration::from_millis(100);
    for script in [
        "echo x; exec sleep 20",
        "exec sleep 20",
        "exec >&-; exec sleep 20",
        "sleep 5 & sleep 5",
        "while :; do :; done",
    ] {
        let start = Instant::now();
        assert_eq!(run(&mut sh(script), limit), None, "{script}");
        assert!(start.elapsed() < Duration::from_secs(3), "{script}");
    }
}

#[cfg(unix)]
#[test]
fn a_program_that_fails_or_babbles_gives_nothing() {
    assert_eq!(run(&mut sh("echo x; exit 1"), TIME_LIMIT), None);
    assert_eq!(run(&mut sh("printf '\\377'"), TIME_LIMIT), None);
    assert_eq!(run(&mut sh("yes"), TIME_LIMIT), None);
    assert_eq!(run(&mut sh("echo x"), TIME_LIMIT).as_deref(), Some("x\n"));
}

#[cfg(unix)]
#[test]
fn a_program_has_nothing_to_read() {
    assert_eq!(run(&mut sh("cat; echo end"), TIME_LIMIT).as_deref(), Some("end\n"));
}
