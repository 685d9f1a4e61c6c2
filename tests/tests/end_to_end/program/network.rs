//! TLS and proxies in a corporate network.

use super::*;
use posthog_llma_tests::program::{Ended, Program};
use posthog_llma_tests::proxy::{Proxy, ProxyConfig};
use posthog_llma_tests::tls::{Handshake, LocalCa, TlsTerminator};

/// A `send` that trusts this certificate authority.
fn send(home: &Home, posthog: &LocalPostHog, ca: &LocalCa) -> Program {
    let session = home.session(Transcript::new().turns(1).text());
    home.send(posthog, session).arg("--retries=0").env("SSL_CERT_FILE", ca.pem_file())
}

/// A `send` to <https://us.i.posthog.com>, which the proxy redirects to `terminator`.
fn send_by(home: &Home, posthog: &LocalPostHog, ca: &LocalCa, proxy_url: &str) -> Program {
    send(home, posthog, ca).env_remove("POSTHOG_HOST").env("HTTPS_PROXY", proxy_url)
}

fn proxy_to(terminator: &TlsTerminator, config: ProxyConfig) -> Proxy {
    let routes = vec![("us.i.posthog.com:443".to_owned(), terminator.address())];
    Proxy::start(ProxyConfig { routes, ..config }).unwrap()
}

#[track_caller]
fn is_not_trusted(outcome: Ended, posthog: &LocalPostHog) {
    let outcome = outcome.exits_with(1).says(&["the server cannot be reached"]);
    assert!(outcome.stderr.to_lowercase().contains("certificate"), "{}", outcome.stderr);
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_server_with_a_certificate_of_the_companys_own_authority_is_trusted() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    for name in ["localhost", "127.0.0.1"] {
        let terminator = TlsTerminator::start(&ca, name, posthog.address()).unwrap();
        let host = format!("https://{name}:{}", terminator.address().port());
        send(&home, &posthog, &ca).env("POSTHOG_HOST", &host).run().exits_with(0).prints(&[&host, "events    2"]);
        assert!(matches!(terminator.handshakes()[..], [Handshake::Completed(_)]), "{:?}", terminator.handshakes());
    }
    assert_eq!(posthog.events().len(), 4);
}

#[test]
fn a_server_with_a_certificate_of_an_unknown_authority_is_refused() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let terminator = TlsTerminator::start_with_unknown_ca("localhost", posthog.address()).unwrap();
    let host = format!("https://localhost:{}", terminator.address().port());
    is_not_trusted(send(&home, &posthog, &ca).env("POSTHOG_HOST", host).run(), &posthog);
    assert!(matches!(terminator.handshakes()[..], [Handshake::Failed(_)]), "{:?}", terminator.handshakes());
}

#[test]
fn a_server_with_a_certificate_for_another_name_is_refused() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let terminator = TlsTerminator::start_with_wrong_name(&ca, posthog.address()).unwrap();
    let host = format!("https://localhost:{}", terminator.address().port());
    is_not_trusted(send(&home, &posthog, &ca).env("POSTHOG_HOST", host).run(), &posthog);
    assert!(matches!(terminator.handshakes()[..], [Handshake::Failed(_)]), "{:?}", terminator.handshakes());
}

#[test]
fn a_server_without_tls_behind_https_is_an_error() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let host = format!("https://localhost:{}", posthog.address().port());
    let outcome = send(&home, &posthog, &ca).env("POSTHOG_HOST", host).run().exits_with(1);
    outcome.says(&["the server cannot be reached"]);
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_file_of_certificates_that_holds_none_is_an_error_that_says_so() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let terminator = TlsTerminator::start(&ca, "localhost", posthog.address()).unwrap();
    let host = format!("https://localhost:{}", terminator.address().port());
    let empty = home.write("empty.pem", "");
    let send = send(&home, &posthog, &ca).env("POSTHOG_HOST", host).env("SSL_CERT_FILE", empty);
    send.run().exits_with(1).says(&["no trusted root certificates found in ", "empty.pem, which SSL_CERT_FILE names"]);
}

#[test]
fn https_goes_through_the_proxy_and_is_encrypted_to_the_end() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let terminator = TlsTerminator::start(&ca, "us.i.posthog.com", posthog.address()).unwrap();
    let proxy = proxy_to(&terminator, ProxyConfig::default());
    let outcome = send_by(&home, &posthog, &ca, &proxy.url()).run().exits_with(0);
    outcome.prints(&["delivered to https://us.i.posthog.com\n"]);
    assert_eq!(posthog.events().len(), 2);
    let requests = proxy.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].target.as_str()), ("CONNECT", "us.i.posthog.com:443"));
    assert_eq!(requests[0].authorization, None);
    assert_eq!(terminator.handshakes(), [Handshake::Completed(Some("us.i.posthog.com".to_owned()))]);
}

#[test]
fn a_server_behind_the_proxy_is_trusted_no_more_than_any_other() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let terminator = TlsTerminator::start_with_unknown_ca("us.i.posthog.com", posthog.address()).unwrap();
    let proxy = proxy_to(&terminator, ProxyConfig::default());
    is_not_trusted(send_by(&home, &posthog, &ca, &proxy.url()).run(), &posthog);
}

#[test]
fn a_proxys_credentials_are_sent_to_the_proxy_alone_and_never_shown() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let terminator = TlsTerminator::start(&ca, "us.i.posthog.com", posthog.address()).unwrap();
    // me:hunter2
    let required = Some("Basic bWU6aHVudGVyMg==".to_owned());
    let proxy =
        proxy_to(&terminator, ProxyConfig { required_authorization: required.clone(), ..ProxyConfig::default() });
    let right = send_by(&home, &posthog, &ca, &proxy.url_with_credentials("me", "hunter2")).run().exits_with(0);
    assert_eq!(proxy.requests()[0].authorization, required);
    assert!(!posthog.requests()[0].headers.contains_key("proxy-authorization"));

    let wrong =
        send_by(&home, &posthog, &ca, &proxy.url_with_credentials("me", "hunter3")).arg("--again").run().exits_with(1);
    let wrong = wrong.says(&["the proxy", &proxy.address().to_string(), "it asks for credentials (407)"]);
    assert_eq!(posthog.requests().len(), 1);
    for text in [right.stdout, right.stderr, wrong.stdout, wrong.stderr] {
        assert!(!text.contains("hunter") && !text.contains("bWU6"), "{text}");
    }
}

#[test]
fn a_proxy_that_asks_for_credentials_or_refuses_is_named() {
    for (answer, says) in [(407, "it asks for credentials (407)"), (502, "it refused the tunnel (502 Bad Gateway)")] {
        let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
        let proxy = Proxy::start(ProxyConfig { answer: Some(answer), ..ProxyConfig::default() }).unwrap();
        let outcome = send_by(&home, &posthog, &ca, &proxy.url()).run().exits_with(1);
        outcome.says(&["the server cannot be reached", &format!("the proxy {}", proxy.address()), says]);
        assert!(posthog.requests().is_empty());
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error_and_not_gone_around() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let socks = send_by(&home, &posthog, &ca, "socks5://me:hunter2@127.0.0.1:1080").run().exits_with(1);
    let socks = socks.says(&["HTTPS_PROXY", "socks5"]);
    assert!(!socks.stderr.contains("hunter2"), "{}", socks.stderr);
    let malformed = send_by(&home, &posthog, &ca, "http://me:hunter 2@127.0.0.1:1").run().exits_with(1);
    let malformed = malformed.says(&["HTTPS_PROXY is not the URL of a proxy"]);
    assert!(!malformed.stderr.contains("hunter"), "{}", malformed.stderr);
}

#[test]
fn no_proxy_names_hosts_that_are_reached_directly() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let proxy = Proxy::start(ProxyConfig::default()).unwrap();
    // A name that does not exist, so that no test reaches the network.
    let send = || {
        let send = send_by(&home, &posthog, &ca, &proxy.url()).env("POSTHOG_HOST", "https://posthog.invalid");
        send.env("POSTHOG_LLMA_ALLOW_CUSTOM_HOST", "true")
    };
    send().env("NO_PROXY", "example.com,.invalid").run().exits_with(1).says(&["the host name has no address"]);
    assert!(proxy.requests().is_empty());
    send().env("NO_PROXY", "example.com").run().exits_with(1).says(&["the proxy"]);
    assert_eq!(proxy.requests()[0].target, "posthog.invalid:443");
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let (home, posthog, ca) = (Home::new(), posthog(), LocalCa::new().unwrap());
    let proxy = Proxy::start(ProxyConfig::default()).unwrap();
    let mut send = send(&home, &posthog, &ca);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        send = send.env(name, proxy.url());
    }
    send.run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
    assert!(proxy.requests().is_empty());
}
