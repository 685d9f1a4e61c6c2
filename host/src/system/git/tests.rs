use super::*;
use std::fs;
use std::process::Command;

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
    let remotes = [("fork", "https://h/fork/x"), ("origin", "https://h/o/x"), ("origin", "https://h/mirror/x")];
    assert_eq!(remote_url(&remotes), Some("https://h/o/x"));
}

#[test]
fn the_only_remote_stands_in_for_origin() {
    assert_eq!(remote_url(&[("up", "https://h/up/x"), ("up", "https://h/second/x")]), Some("https://h/up/x"));
    assert_eq!(remote_url(&[("up", "https://h/up/x"), ("fork", "https://h/fork/x")]), None);
    assert_eq!(remote_url(&[]), None);
}

/// Runs git itself, to create the files that these tests read.
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

/// A repository that sees none of the user's own settings.
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
}

#[test]
fn a_work_tree_and_a_submodule_have_the_settings_of_their_repository() {
    let directory = repository_with(&["remote.origin.url=https://h/o/x"]);
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let commit = ["commit", "-q", "--allow-empty", "-m", "x"];
    assert!(git(directory.path()).args(identity).args(commit).status().unwrap().success());
    assert!(git(directory.path()).args(["worktree", "add", "-q", "tree"]).status().unwrap().success());
    assert_eq!(repository(&directory.path().join("tree")).as_deref(), Some("o/x"));

    // A submodule's `.git` is a file that names the submodule's git directory.
    let modules = directory.path().join(".git/modules/sub");
    fs::create_dir_all(&modules).unwrap();
    fs::write(modules.join("config"), "[remote \"origin\"]\n\turl = https://h/o/sub\n").unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("sub/.git"), "gitdir: ../.git/modules/sub\n").unwrap();
    assert_eq!(repository(&directory.path().join("sub")).as_deref(), Some("o/sub"));
}

#[test]
fn a_project_is_called_as_the_root_of_its_repository() {
    let directory = repository_with(&[]);
    let root = directory.path().join("shop");
    fs::create_dir_all(root.join("packages/api")).unwrap();
    assert!(git(&root).args(["init", "-q"]).status().unwrap().success());
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    assert!(git(&root).args(identity).args(["commit", "-q", "--allow-empty", "-m", "x"]).status().unwrap().success());
    assert!(git(&root).args(["worktree", "add", "-q", "../elsewhere/tree"]).status().unwrap().success());
    assert!(git(directory.path()).args(["clone", "-q", "--bare", "shop", "store.git"]).status().unwrap().success());
    let store = directory.path().join("store.git");
    assert!(git(&store).args(["worktree", "add", "-q", "../of-bare"]).status().unwrap().success());
    fs::create_dir_all(directory.path().join("elsewhere/tree/deep")).unwrap();
    // A submodule is its own project, although its settings are in the folder of another one.
    fs::create_dir_all(root.join(".git/modules/lib")).unwrap();
    fs::create_dir(root.join("lib")).unwrap();
    fs::write(root.join("lib/.git"), "gitdir: ../.git/modules/lib\n").unwrap();
    for (folder, name) in [
        ("shop", "shop"),
        ("shop/packages/api", "shop"),
        ("shop/lib", "lib"),
        ("elsewhere/tree", "shop"),
        ("elsewhere/tree/deep", "shop"),
        ("of-bare", "store"),
    ] {
        assert_eq!(project(&directory.path().join(folder)).as_deref(), Some(name), "{folder}");
    }
    assert_eq!(project(Path::new("/does/not/exist")), None);
}

#[test]
fn a_folder_that_looks_like_a_bare_repository_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let bare = directory.path().join(".claude");
    assert!(git(directory.path()).args(["init", "-q", "--bare", ".claude"]).status().unwrap().success());
    fs::write(bare.join("config"), "[user]\nemail = eve@example.org\n[remote \"origin\"]\nurl = ext::sh -c x\n")
        .unwrap();
    assert_eq!(repository(&bare), None);
    assert_ne!(user_email(&bare).as_deref(), Some("eve@example.org"));
}

#[cfg(unix)]
#[test]
fn a_pipe_or_an_endless_file_in_place_of_the_settings_does_not_block() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(".git")).unwrap();
    let config = directory.path().join(".git/config");
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    assert_eq!(repository(directory.path()), None);
    fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &config).unwrap();
    assert_eq!(repository(directory.path()), None);
}
