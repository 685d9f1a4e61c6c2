use super::*;

fn problem(text: &str) -> OriginProblem {
    match Origin::parse(text, false) {
        Err(error) => error.problem(),
        Ok(origin) => panic!("{text:?} was taken for {origin}"),
    }
}

/// Refused whether custom hosts are allowed or not.
#[track_caller]
fn refused(text: &str, expected: OriginProblem) {
    assert_eq!(problem(text), expected, "{text:?}");
    match Origin::parse(text, true) {
        Err(error) => assert_eq!(error.problem(), expected, "{text:?}, custom hosts allowed"),
        Ok(origin) => panic!("{text:?} was taken for {origin} with custom hosts allowed"),
    }
}

/// Refused, unless custom hosts are allowed.
#[track_caller]
fn custom(text: &str) {
    assert_eq!(problem(text), OriginProblem::CustomHost, "{text:?}");
    assert!(Origin::parse(text, true).is_ok(), "{text:?}");
}

#[test]
fn what_is_allowed_is_shown_in_its_normal_form() {
    for (text, normal) in [
        ("https://us.i.posthog.com", "https://us.i.posthog.com"),
        ("https://us.i.posthog.com/", "https://us.i.posthog.com"),
        ("https://us.i.posthog.com:443", "https://us.i.posthog.com"),
        ("HTTPS://EU.I.PostHog.COM", "https://eu.i.posthog.com"),
        ("https://us.i.posthog.com:8443/", "https://us.i.posthog.com:8443"),
        ("https://a-b.c.posthog.com", "https://a-b.c.posthog.com"),
        ("http://localhost", "http://localhost"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("https://localhost:80", "https://localhost:80"),
        ("http://localhost:65535", "http://localhost:65535"),
        ("http://127.0.0.1:8010/", "http://127.0.0.1:8010"),
        ("http://127.255.255.254", "http://127.255.255.254"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://[::1]", "https://[::1]"),
    ] {
        let origin = Origin::parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(origin.to_string(), normal, "{text}");
        assert_eq!(Origin::parse(normal, false).as_ref(), Ok(&origin), "{normal}");
    }
}

#[test]
fn an_origin_tells_its_parts() {
    let origin = Origin::parse("http://[::1]:8000", false).unwrap();
    assert_eq!(origin.scheme(), Scheme::Http);
    assert_eq!(origin.host(), "[::1]");
    assert_eq!(origin.port(), 8000);
    assert_eq!(origin.authority(), "[::1]:8000");
    assert!(origin.is_loopback());

    let origin = Origin::default();
    assert_eq!(Ok(&origin), Origin::parse("https://us.i.posthog.com", false).as_ref());
    assert_eq!(origin.port(), 443);
    assert_eq!(origin.authority(), "us.i.posthog.com");
    assert!(!origin.is_loopback());
}

#[test]
fn other_hosts_need_permission() {
    for text in [
        "https://posthog.example.org",
        "https://example.org:8443",
        "https://intranet",
        "https://10.0.0.7",
        "https://[2001:db8::1]",
        "https://xn--bcher-kva.example",
        "https://localhost.example",
        "https://app.localhost",
        "https://0.0.0.0",
        "https://[::]",
        "https://[::ffff:127.0.0.1]",
    ] {
        custom(text);
    }
}

#[test]
fn the_bare_domain_needs_permission() {
    custom("https://posthog.com");
}

#[test]
fn look_alikes_of_posthog_need_permission() {
    for text in [
        "https://posthog.com.evil.net",
        "https://us.i.posthog.com.evil.net",
        "https://evilposthog.com",
        "https://us-i-posthog.com",
        "https://posthog.com-evil.net",
        "https://us.i.posthog.co",
        "https://xn--psthog-7nf.com",
    ] {
        custom(text);
    }
}

#[test]
fn plain_http_to_another_machine_is_refused() {
    for text in [
        "http://us.i.posthog.com",
        "http://example.org",
        "http://10.0.0.7",
        "http://128.0.0.1",
        "http://126.255.255.255",
        "http://0.0.0.0",
        "http://[::2]",
        "http://[::ffff:127.0.0.1]",
        "http://localhost.example",
        "http://app.localhost",
    ] {
        refused(text, OriginProblem::PlainHttp);
    }
}

#[test]
fn other_schemes_are_refused() {
    for text in [
        "ftp://us.i.posthog.com",
        "file:///etc/passwd",
        "ws://localhost",
        "httpss://us.i.posthog.com",
        "://us.i.posthog.com",
        "1https://us.i.posthog.com",
    ] {
        refused(text, OriginProblem::OtherScheme);
    }
}

#[test]
fn a_text_without_a_scheme_is_refused() {
    for text in [
        "us.i.posthog.com",
        "localhost:8000",
        "//us.i.posthog.com",
        "https:us.i.posthog.com",
        "https:/us.i.posthog.com",
        "phc_0123456789",
    ] {
        refused(text, OriginProblem::NoScheme);
    }
}

#[test]
fn a_path_is_refused() {
    for text in [
        "https://us.i.posthog.com/batch",
        "https://us.i.posthog.com/batch/",
        "https://us.i.posthog.com//",
        "https://us.i.posthog.com/.",
        "https://us.i.posthog.com/..",
        "http://localhost:8000/x",
    ] {
        refused(text, OriginProblem::Path);
    }
}

#[test]
fn a_query_is_refused() {
    refused("https://us.i.posthog.com?x=1", OriginProblem::Query);
    refused("https://us.i.posthog.com/?", OriginProblem::Query);
    refused("https://evil.net?.us.i.posthog.com/", OriginProblem::Query);
}

#[test]
fn a_fragment_is_refused() {
    refused("https://us.i.posthog.com#x", OriginProblem::Fragment);
    refused("https://us.i.posthog.com/#", OriginProblem::Fragment);
    refused("https://evil.net#.us.i.posthog.com", OriginProblem::Fragment);
}

#[test]
fn user_info_is_refused() {
    for text in [
        "https://us.i.posthog.com@evil",
        "https://us.i.posthog.com@evil.net",
        "https://user:password@us.i.posthog.com",
        "https://@us.i.posthog.com",
        "https://:@us.i.posthog.com",
        "https://us.i.posthog.com:443@evil.net",
        "http://localhost@evil.net",
        "https://evil.net/@us.i.posthog.com",
    ] {
        refused(text, OriginProblem::UserInfo);
    }
}

#[test]
fn a_back_slash_is_refused() {
    for text in [
        "https://us.i.posthog.com\\@evil",
        "https://us.i.posthog.com\\\\@evil",
        "https:\\\\us.i.posthog.com",
        "https://evil.net\\.us.i.posthog.com",
        "https://us.i.posthog.com\\",
    ] {
        refused(text, OriginProblem::Backslash);
    }
}

#[test]
fn odd_ports_are_refused() {
    for port in [
        "",
        "0",
        "00443",
        "0443",
        "+1",
        "-1",
        "65536",
        "99999",
        "4294967739",
        "1e3",
        "0x1bb",
        "443:443",
        ":443",
        "http",
        "4_43",
        "443.",
    ] {
        refused(&format!("https://us.i.posthog.com:{port}"), OriginProblem::Port);
        refused(&format!("http://[::1]:{port}"), OriginProblem::Port);
    }
    refused("https://us.i.posthog.com:/", OriginProblem::Port);
}

#[test]
fn white_space_is_refused() {
    for text in [
        " https://us.i.posthog.com",
        "https://us.i.posthog.com ",
        "https://us.i.posthog.com\n",
        "https://us.i. posthog.com",
        "https://\tus.i.posthog.com",
        "https://us.i.posthog.com\u{a0}",
        "https://us.i.posthog.com\u{3000}",
    ] {
        refused(text, OriginProblem::Blank);
    }
}

#[test]
fn control_characters_are_refused() {
    for text in [
        "https://us.i.posthog.com\0",
        "https://us.i.posthog.com\r\nX: y",
        "https://us.i\u{7f}.posthog.com",
        "https://us.i\u{85}.posthog.com",
        "\u{1b}[31mhttps://us.i.posthog.com",
    ] {
        refused(text, OriginProblem::Blank);
    }
}

#[test]
fn characters_outside_ascii_are_refused() {
    for text in [
        // A Cyrillic o, a full-width dot, an ideographic full stop, a soft hyphen, a zero-width space.
        "https://us.i.p\u{43e}sthog.com",
        "https://us.i\u{ff0e}posthog.com",
        "https://evil.net\u{3002}posthog.com",
        "https://us.i.post\u{ad}hog.com",
        "https://us.i.post\u{200b}hog.com",
        "http://\u{ff11}27.0.0.1",
        "http://localho\u{17f}t",
    ] {
        refused(text, OriginProblem::NotAscii);
    }
}

#[test]
fn odd_host_names_are_refused() {
    for host in [
        "us%2ei.posthog.com",
        "us.i.posthog.com%00.evil.net",
        "evil.net%23.posthog.com",
        "us_i.posthog.com",
        "-us.posthog.com",
        "us-.posthog.com",
        ".posthog.com",
        "us..posthog.com",
        "*.posthog.com",
        "us.i.posthog.com,evil.net",
        "us.i.posthog.com;evil",
        "us!.posthog.com",
        "localhost]",
        "[::1]x",
        "[::1].posthog.com",
    ] {
        refused(&format!("https://{host}"), OriginProblem::HostName);
    }
    let label = "a".repeat(64);
    refused(&format!("https://{label}.posthog.com"), OriginProblem::HostName);
    let deep = "a.".repeat(125);
    refused(&format!("https://{deep}posthog.com"), OriginProblem::HostName);
}

#[test]
fn a_trailing_dot_is_refused() {
    refused("https://us.i.posthog.com.", OriginProblem::HostName);
    refused("http://localhost.", OriginProblem::HostName);
    refused("http://127.0.0.1.", OriginProblem::HostName);
    refused("https://us.i.posthog.com.:443", OriginProblem::HostName);
}

#[test]
fn odd_forms_of_ipv4_are_refused() {
    for host in [
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0X7F.0.0.1",
        "0x7f000001",
        "0x",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "127.0.0.256",
        "127.0.0.1.1",
        "1.2.3.4.5",
        "posthog.com.1",
        "0",
    ] {
        refused(&format!("http://{host}"), OriginProblem::Address);
        refused(&format!("https://{host}"), OriginProblem::Address);
    }
}

#[test]
fn odd_forms_of_ipv6_are_refused() {
    for host in [
        "[0:0:0:0:0:0:0:1]",
        "[0::1]",
        "[::01]",
        "[::0001]",
        "[::0.0.0.1]",
        "[::1%25lo]",
        "[fe80::1%eth0]",
        "[2001:db8:0:0::1]",
        "[::ffff:7f00:1]",
        "[]",
        "[localhost]",
        "[127.0.0.1]",
        "[::1",
        "[v1.x]",
    ] {
        refused(&format!("http://{host}"), OriginProblem::Address);
        refused(&format!("https://{host}"), OriginProblem::Address);
    }
}

#[test]
fn no_host_is_refused() {
    for text in ["", "https://", "https:///", "https:///us.i.posthog.com", "https://:443"] {
        refused(text, OriginProblem::NoHost);
    }
}

#[test]
fn a_text_of_any_length_is_refused_in_a_short_error() {
    let text = format!("https://{}.posthog.com", "a".repeat(1_000_000));
    refused(&text, OriginProblem::TooLong);
    let message = Origin::parse(&text, false).unwrap_err().to_string();
    assert!(message.len() < 400, "{}", message.len());
}

#[test]
fn an_error_says_what_why_and_what_is_allowed() {
    let message = |text| Origin::parse(text, false).unwrap_err().to_string();
    assert_eq!(
        message("https://example.org"),
        "\"https://example.org\" has a host that is neither in posthog.com nor this machine; use https to a host \
         in posthog.com such as https://us.i.posthog.com, http to localhost, or https to any host with \
         POSTHOG_LLMA_ALLOW_CUSTOM_HOST=true"
    );
    assert_eq!(
        message("http://us.i.posthog.com"),
        "\"http://us.i.posthog.com\" is http, which is not encrypted, and the host is not this machine; use \
         https, or http to localhost, 127.0.0.1 or [::1]"
    );
    assert_eq!(
        message("https://us.i.posthog.com/x"),
        "\"https://us.i.posthog.com/x\" has a path; use only scheme, host and port, such as \
         https://us.i.posthog.com or http://localhost:8000"
    );
}

#[test]
fn an_error_does_not_show_a_password() {
    let message = Origin::parse("https://me:hunter2@us.i.posthog.com", false).unwrap_err().to_string();
    assert!(!message.contains("hunter2"), "{message}");
    assert!(message.contains("…@us.i.posthog.com"), "{message}");
}

#[test]
fn an_error_shows_control_characters_escaped() {
    let message = Origin::parse("https://\u{1b}[2J\n", false).unwrap_err().to_string();
    assert!(!message.contains(|c: char| c.is_control()), "{message:?}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_refused_or_has_one_normal_form(text in "\\PC*", allow: bool) {
        if let Ok(origin) = Origin::parse(&text, allow) {
            proptest::prop_assert_eq!(Origin::parse(&origin.to_string(), allow), Ok(origin));
        }
    }

    #[test]
    fn any_text_like_an_origin_is_refused_or_has_one_normal_form(
        text in "https?://[a-z0-9.:@/\\[\\]\\\\%?#-]{0,30}", allow: bool
    ) {
        if let Ok(origin) = Origin::parse(&text, allow) {
            proptest::prop_assert_eq!(Origin::parse(&origin.to_string(), allow), Ok(origin));
        }
    }
}
