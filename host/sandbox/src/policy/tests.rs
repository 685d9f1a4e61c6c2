use super::*;

fn posthog() -> Origin {
    Origin::default()
}

fn local(port: u16) -> Origin {
    Origin::parse(&format!("http://127.0.0.1:{port}"), true).unwrap()
}

fn check_against(origin: Origin, method: &str, url: &str) -> Result<AllowedRequest, Refusal> {
    let policy = HttpPolicy::Allow(AllowedDestination::batches(origin));
    policy.check(&Method::from_bytes(method.as_bytes()).unwrap(), &url.parse().unwrap())
}

fn post(url: &str) -> Result<&'static str, Refusal> {
    check_against(posthog(), "POST", url).map(|allowed| allowed.path)
}

/// Builds the URL from parts, because `Uri` accepts some URLs only that way, as `wasi:http` passes them.
fn post_parts(scheme: &str, authority: &str, target: &str) -> Result<&'static str, Refusal> {
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().unwrap();
    HttpPolicy::Allow(AllowedDestination::batches(posthog())).check(&Method::POST, &uri).map(|allowed| allowed.path)
}

#[test]
fn both_batch_paths_of_the_destination_are_allowed() {
    assert_eq!(post("https://us.i.posthog.com/i/v0/ai/batch/"), Ok("/i/v0/ai/batch/"));
    assert_eq!(post("https://us.i.posthog.com/batch/"), Ok("/batch/"));
}

#[test]
fn the_default_port_may_be_written_out() {
    assert_eq!(post("https://us.i.posthog.com:443/batch/"), Ok("/batch/"));
}

#[test]
fn the_host_is_compared_in_lower_case() {
    assert_eq!(post("https://US.I.PostHog.com/batch/"), Ok("/batch/"));
}

#[test]
fn what_is_allowed_comes_back_in_the_policys_own_words() {
    let allowed = check_against(posthog(), "POST", "https://US.I.POSTHOG.COM:443/batch/").unwrap();
    assert_eq!(allowed.origin, posthog());
    assert_eq!(allowed.path, "/batch/");
}

#[test]
fn another_port_is_allowed_only_if_it_is_the_destinations() {
    let on = |port, url| check_against(local(port), "POST", url).map(|_| ());
    assert_eq!(on(8010, "http://127.0.0.1:8010/batch/"), Ok(()));
    assert_eq!(on(8010, "http://127.0.0.1:8011/batch/"), Err(Refusal::Port));
    assert_eq!(on(8010, "http://127.0.0.1/batch/"), Err(Refusal::Port));
    assert_eq!(on(80, "http://127.0.0.1/batch/"), Ok(()));
}

#[test]
fn an_ipv6_destination_is_compared_with_its_brackets() {
    let origin = Origin::parse("http://[::1]:8010", true).unwrap();
    let on = |url| check_against(origin.clone(), "POST", url).map(|_| ());
    assert_eq!(on("http://[::1]:8010/batch/"), Ok(()));
    assert_eq!(on("http://[::2]:8010/batch/"), Err(Refusal::Host));
    assert_eq!(on("http://[0:0::1]:8010/batch/"), Err(Refusal::OddHost));
    assert_eq!(on("http://[::1]/batch/"), Err(Refusal::Port));
}

#[test]
fn nothing_is_allowed_when_the_policy_denies() {
    let uri = "https://us.i.posthog.com/batch/".parse().unwrap();
    assert_eq!(HttpPolicy::Deny.check(&Method::POST, &uri), Err(Refusal::NoNetwork));
}

#[test]
fn another_host_is_refused() {
    for host in [
        "example.com",
        "eu.i.posthog.com",
        "us.i.posthog.com.example.com",
        "us-i.posthog.com",
        "xus.i.posthog.com",
        "127.0.0.1",
        "localhost",
        "[::1]",
    ] {
        assert_eq!(post(&format!("https://{host}/batch/")), Err(Refusal::Host), "{host}");
    }
}

#[test]
fn a_sub_domain_and_the_parent_domain_are_refused() {
    assert_eq!(post("https://a.us.i.posthog.com/batch/"), Err(Refusal::Host));
    assert_eq!(post("https://i.posthog.com/batch/"), Err(Refusal::Host));
}

#[test]
fn another_scheme_is_refused() {
    assert_eq!(post("http://us.i.posthog.com:443/batch/"), Err(Refusal::Scheme));
    assert_eq!(post("ftp://us.i.posthog.com/batch/"), Err(Refusal::Scheme));
}

#[test]
fn a_scheme_in_upper_case_is_refused() {
    assert_eq!(post_parts("HTTPS", "us.i.posthog.com", "/batch/"), Err(Refusal::Scheme));
}

#[test]
fn another_port_is_refused() {
    assert_eq!(post("https://us.i.posthog.com:8443/batch/"), Err(Refusal::Port));
    assert_eq!(post("https://us.i.posthog.com:80/batch/"), Err(Refusal::Port));
}

#[test]
fn an_odd_form_of_the_port_is_refused() {
    for port in ["", "0443", "0", "00000443"] {
        assert_eq!(
            post_parts("https", &format!("us.i.posthog.com:{port}"), "/batch/"),
            Err(Refusal::OddPort),
            "{port:?}"
        );
    }
}

#[test]
fn user_info_is_refused() {
    for authority in [
        "me@us.i.posthog.com",
        "me:secret@us.i.posthog.com",
        "@us.i.posthog.com",
        "us.i.posthog.com@example.com",
        "us.i.posthog.com:443@example.com:443",
    ] {
        if let Ok(uri) = format!("https://{authority}/batch/").parse::<Uri>() {
            let policy = HttpPolicy::Allow(AllowedDestination::batches(posthog()));
            assert_eq!(policy.check(&Method::POST, &uri), Err(Refusal::UserInfo), "{authority}");
        }
    }
    assert_eq!(post_parts("https", "me:secret@us.i.posthog.com", "/batch/"), Err(Refusal::UserInfo));
}

#[test]
fn a_host_with_a_trailing_dot_is_refused() {
    assert_eq!(post("https://us.i.posthog.com./batch/"), Err(Refusal::OddHost));
    assert_eq!(post("https://us..i.posthog.com/batch/"), Err(Refusal::OddHost));
    assert_eq!(post("https://.us.i.posthog.com/batch/"), Err(Refusal::OddHost));
}

#[test]
fn a_percent_encoded_host_is_refused() {
    for host in ["us.i.posthog%2ecom", "us%2Ei.posthog.com", "%75s.i.posthog.com"] {
        // The `http` crate doesn't accept some of these as URLs at all, which is just as good.
        if let Ok(uri) = format!("https://{host}/batch/").parse::<Uri>() {
            let policy = HttpPolicy::Allow(AllowedDestination::batches(posthog()));
            assert_eq!(policy.check(&Method::POST, &uri), Err(Refusal::OddHost), "{host}");
        }
    }
}

#[test]
fn another_method_is_refused() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "post", "Post", "POSTS"] {
        let result = check_against(posthog(), method, "https://us.i.posthog.com/batch/");
        assert_eq!(result, Err(Refusal::Method), "{method}");
    }
}

#[test]
fn another_path_is_refused() {
    for path in [
        "/",
        "/batch",
        "/batch//",
        "//batch/",
        "/Batch/",
        "/batch/x",
        "/x/batch/",
        "/./batch/",
        "/x/../batch/",
        "/batch/..",
        "/batch/../",
        "/%62atch/",
        "/batch%2f",
        "/batch/%00",
        "/i/v0/ai/batch",
        "/i/v0/ai/../ai/batch/",
        "/i/v0/e/",
        "/decide/",
        "/api/projects/@current/",
    ] {
        assert_eq!(post(&format!("https://us.i.posthog.com{path}")), Err(Refusal::Path), "{path}");
    }
    assert_eq!(post("https://us.i.posthog.com"), Err(Refusal::Path));
}

#[test]
fn a_query_is_refused_even_if_it_is_empty() {
    assert_eq!(post("https://us.i.posthog.com/batch/?compression=gzip"), Err(Refusal::Query));
    assert_eq!(post("https://us.i.posthog.com/batch/?"), Err(Refusal::Query));
}

#[test]
fn a_url_without_a_host_is_refused() {
    assert_eq!(post("/batch/"), Err(Refusal::NoHost));
}

#[test]
fn the_log_names_what_was_refused_and_why() {
    let mut log = RequestLog::default();
    let uri = "https://example.com/batch/".parse().unwrap();
    log.push(&Method::POST, &uri, Some(Refusal::Host));
    let texts: Vec<String> = log.records().map(ToString::to_string).collect();
    assert_eq!(texts, ["refused POST https://example.com/batch/: another host"]);
}

#[test]
fn the_log_is_bounded_but_counts_on() {
    let mut log = RequestLog::default();
    let uri = format!("https://example.com/{}", "x".repeat(5000)).parse().unwrap();
    for _ in 0..1000 {
        log.push(&Method::POST, &uri, Some(Refusal::Host));
    }
    log.push(&Method::POST, &uri, None);
    assert_eq!(log.records().count(), MAX_RECORDS);
    assert_eq!((log.allowed(), log.refused()), (1, 1000));
    assert!(log.records().all(|record| record.url.chars().count() <= MAX_URL_CHARS));
}

#[test]
fn the_log_has_neither_user_info_nor_query() {
    let mut log = RequestLog::default();
    let uri = "https://me:secret@example.com/x?key=secret".parse().unwrap();
    log.push(&Method::GET, &uri, Some(Refusal::UserInfo));
    assert_eq!(log.records().next().unwrap().url, "https://example.com/x");
}
