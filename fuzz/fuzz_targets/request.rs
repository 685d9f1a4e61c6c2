//! Any method and any URL as a component's request: what is let through is one of the destination's own three, and what is
//! printed of a refused one is short and harmless.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma_sandbox::policy::{AllowedDestination, BATCH_PATHS, HttpPolicy, Origin, RequestLog};

const ORIGINS: [&str; 4] =
    ["https://us.i.posthog.com", "https://posthog.example.com:8443", "http://127.0.0.1:8000", "http://[::1]"];

/// Another way to write the same address, as far as it may differ: hosts are compared in lower case, a default port is left out.
fn is_the_same(url: &str, origin: &Origin, path: &str) -> bool {
    let address = format!("{}://{}", origin.scheme().as_str(), origin.host());
    let Some(rest) = url.get(..address.len()).filter(|start| start.eq_ignore_ascii_case(&address)) else {
        return false;
    };
    let rest = &url[rest.len()..];
    rest == format!("{}{path}", &origin.authority()[origin.host().len()..])
        || rest == format!(":{}{path}", origin.port())
}

fuzz_target!(|input: (u8, &str, &str)| {
    let (destination, method, url) = input;
    let origin = ORIGINS[usize::from(destination) % ORIGINS.len()];
    let origin = Origin::parse(origin, true).expect("it is an origin");
    let (Ok(method), Ok(uri)) = (method.parse(), url.parse()) else { return };
    let policy = HttpPolicy::Allow(AllowedDestination::batches(origin.clone()));
    let refusal = match policy.check(&method, &uri) {
        Ok(allowed) => {
            assert!(method == "POST" && allowed.origin == origin && BATCH_PATHS.contains(&allowed.path));
            // A fragment is not part of a request: `Uri` drops it.
            let url = url.split('#').next().unwrap_or_default();
            assert!(is_the_same(url, &origin, allowed.path), "{url:?} is let through to {origin}");
            None
        }
        Err(refusal) => Some(refusal),
    };
    assert!(HttpPolicy::Deny.check(&method, &uri).is_err());
    let mut log = RequestLog::default();
    log.push(&method, &uri, refusal);
    let shown = log.records().next().expect("it was written down").to_string();
    assert!(shown.chars().count() < 300 && !shown.chars().any(char::is_control), "{shown:?}");
});
