//! Which proxy, if any, to use for a destination. Nothing here does I/O.

use super::policy::{Origin, Scheme};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;

/// The usual variables, read as curl does: lower case first. An empty one counts as not set. The variables for plain
/// HTTP are ignored, because an [`Origin`] with `http` is on this machine, which is never reached through a proxy.
const HTTPS_VARIABLES: &[&str] = &["https_proxy", "HTTPS_PROXY"];
const ALL_VARIABLES: &[&str] = &["all_proxy", "ALL_PROXY"];
const NO_PROXY_VARIABLES: &[&str] = &["no_proxy", "NO_PROXY"];

/// Proxies as the user configured them. They are checked only when a request needs one, so that a bad value doesn't
/// stop commands that don't use the network.
#[derive(Clone, Default)]
pub struct ProxySettings {
    https: Option<Variable>,
    all: Option<Variable>,
    /// Comma-separated, in [`Matcher`]'s format.
    exceptions: String,
}

/// A variable that is set. Its value may contain a password and is never shown.
#[derive(Clone)]
struct Variable {
    name: &'static str,
    value: String,
}

/// Shows only which variables are set, because their values may contain passwords.
impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables = [&self.https, &self.all];
        f.debug_list().entries(variables.iter().filter_map(|v| v.as_ref()).map(|v| v.name)).finish()
    }
}

/// A proxy that can be used.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Scheme of the connection to the proxy itself.
    pub scheme: Scheme,
    /// Host as in a URL.
    pub host: String,
    /// Port; 80 or 443 if the setting doesn't give one.
    pub port: u16,
    /// Value of `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

/// `host:port`, without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A setting names a proxy that cannot be used. Silently bypassing it would not be what the user wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The value is not a URL.
    #[error("{variable} is not the URL of a proxy")]
    Malformed {
        /// Name of the environment variable.
        variable: &'static str,
    },
    /// A proxy of another kind, such as SOCKS.
    #[error("{variable} names a proxy of an unsupported kind: {scheme}")]
    Unsupported {
        /// Name of the environment variable.
        variable: &'static str,
        /// Scheme of the proxy's URL.
        scheme: String,
    },
}

impl ProxySettings {
    /// Reads `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`, `no_proxy` and `NO_PROXY`.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name)?.trim().to_owned();
                (!value.is_empty()).then_some(Variable { name, value })
            })
        };
        let exceptions = first(NO_PROXY_VARIABLES).map_or_else(String::new, |variable| {
            variable
                .value
                .split([',', ' '])
                // People write `*.example.com`; curl's form is `.example.com`.
                .map(|entry| entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry))
                .collect::<Vec<_>>()
                .join(",")
        });
        Self { https: first(HTTPS_VARIABLES), all: first(ALL_VARIABLES), exceptions }
    }

    /// The proxy for this destination; none for a direct connection, which this machine always gets.
    pub fn choose(&self, origin: &Origin) -> Result<Option<Proxy>, ProxyError> {
        let Some(Variable { name, value }) = self.https.as_ref().or(self.all.as_ref()) else {
            return Ok(None);
        };
        if origin.is_loopback() || self.excepts(origin) {
            return Ok(None);
        }
        let malformed = ProxyError::Malformed { variable: name };
        let intercept = destination(origin)
            .and_then(|uri| Matcher::builder().all(value.as_str()).build().intercept(&uri))
            .ok_or_else(|| malformed.clone())?;
        let proxy = intercept.uri();
        let scheme = match proxy.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            other => {
                return Err(ProxyError::Unsupported { variable: name, scheme: other.unwrap_or_default().to_owned() });
            }
        };
        Ok(Some(Proxy {
            scheme,
            host: proxy.host().ok_or(malformed)?.to_owned(),
            port: proxy.port_u16().unwrap_or(scheme.default_port()),
            authorization: intercept.basic_auth().cloned(),
        }))
    }

    fn excepts(&self, origin: &Origin) -> bool {
        // `Matcher` accepts `*` only for host names.
        if self.exceptions.split(',').any(|entry| entry == "*") {
            return true;
        }
        let matcher = Matcher::builder().all("http://proxy.invalid").no(self.exceptions.as_str()).build();
        destination(origin).is_some_and(|uri| matcher.intercept(&uri).is_none())
    }
}

fn destination(origin: &Origin) -> Option<Uri> {
    Uri::builder().scheme(origin.scheme().as_str()).authority(origin.authority()).path_and_query("/").build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> ProxySettings {
        ProxySettings::from_variables(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn origin(scheme: Scheme, host: &str) -> Origin {
        Origin::parse(&format!("{scheme}://{host}"), true).unwrap()
    }

    fn chosen(variables: &[(&str, &str)], host: &str) -> Option<String> {
        settings(variables).choose(&origin(Scheme::Https, host)).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn without_variables_there_is_no_proxy() {
        assert_eq!(chosen(&[], "us.i.posthog.com"), None);
    }

    #[test]
    fn each_usual_variable_names_the_proxy_for_https() {
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(
                chosen(&[(name, "http://proxy.corp:3128")], "us.i.posthog.com").as_deref(),
                Some("proxy.corp:3128"),
                "{name}"
            );
        }
    }

    #[test]
    fn the_proxy_for_http_is_not_the_one_for_https() {
        for name in ["http_proxy", "HTTP_PROXY"] {
            assert_eq!(chosen(&[(name, "http://proxy.corp:3128")], "us.i.posthog.com"), None, "{name}");
        }
    }

    #[test]
    fn lower_case_wins_and_the_scheme_wins_over_all() {
        let variables =
            [("all_proxy", "http://all:1"), ("HTTPS_PROXY", "http://upper:2"), ("https_proxy", "http://lower:3")];
        assert_eq!(chosen(&variables, "example.com").as_deref(), Some("lower:3"));
        assert_eq!(chosen(&variables[..2], "example.com").as_deref(), Some("upper:2"));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let variables = [("https_proxy", " "), ("HTTPS_PROXY", "http://upper:2")];
        assert_eq!(chosen(&variables, "example.com").as_deref(), Some("upper:2"));
    }

    #[test]
    fn a_proxy_without_scheme_or_port_gets_the_usual_ones() {
        let port = |value| chosen(&[("https_proxy", value)], "example.com");
        assert_eq!(port("proxy.corp").as_deref(), Some("proxy.corp:80"));
        assert_eq!(port("https://proxy.corp").as_deref(), Some("proxy.corp:443"));
        assert_eq!(port("proxy.corp:8080").as_deref(), Some("proxy.corp:8080"));
    }

    #[test]
    fn no_proxy_names_hosts_that_are_reached_directly() {
        let with = |exceptions, host| {
            let variables = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exceptions)];
            chosen(&variables, host).is_none()
        };
        for (exceptions, host) in [
            ("posthog.com", "posthog.com"),
            ("posthog.com", "us.i.posthog.com"),
            (".posthog.com", "us.i.posthog.com"),
            ("*.posthog.com", "us.i.posthog.com"),
            ("example.com, posthog.com", "us.i.posthog.com"),
            ("example.com posthog.com", "us.i.posthog.com"),
            ("*", "us.i.posthog.com"),
            ("*", "10.0.0.1"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("[2001:db8::1],2001:db8::2", "[2001:db8::2]"),
        ] {
            assert!(with(exceptions, host), "{exceptions} {host}");
        }
        for (exceptions, host) in [
            ("posthog.com", "notposthog.com"),
            ("us.i.posthog.com", "posthog.com"),
            ("10.0.0.0/8", "11.1.2.3"),
            ("*posthog.com", "us.i.posthog.com"),
            (",", "us.i.posthog.com"),
        ] {
            assert!(!with(exceptions, host), "{exceptions} {host}");
        }
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        let variables = [("ALL_PROXY", "http://proxy.corp:3128")];
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(chosen(&variables, host), None, "{host}");
        }
    }

    #[test]
    fn credentials_become_a_header_and_are_never_shown() {
        let settings = settings(&[("HTTPS_PROXY", "http://Aladdin:open%20sesame@proxy:3128")]);
        let proxy = settings.choose(&origin(Scheme::Https, "example.com")).unwrap().unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(proxy.authorization.as_ref().unwrap().is_sensitive());
        let shown = format!("{proxy} {proxy:?} {settings:?}");
        assert_eq!(shown, r#"proxy:3128 proxy:3128 ["HTTPS_PROXY"]"#);
    }

    #[test]
    fn a_value_that_is_no_url_is_an_error_without_its_text() {
        let error = settings(&[("HTTPS_PROXY", "http://me:sec ret@proxy:3128")])
            .choose(&origin(Scheme::Https, "example.com"))
            .unwrap_err();
        assert_eq!(error.to_string(), "HTTPS_PROXY is not the URL of a proxy");
    }

    #[test]
    fn a_socks_proxy_is_an_error_and_is_not_gone_around() {
        let error = settings(&[("ALL_PROXY", "socks5://me:secret@proxy:1080")])
            .choose(&origin(Scheme::Https, "example.com"))
            .unwrap_err();
        assert_eq!(error, ProxyError::Unsupported { variable: "ALL_PROXY", scheme: "socks5".to_owned() });
    }

    #[test]
    fn a_bad_value_does_not_matter_where_no_proxy_is_needed() {
        let settings = settings(&[("ALL_PROXY", "socks5://proxy:1080"), ("no_proxy", "a.b")]);
        assert_eq!(settings.choose(&origin(Scheme::Http, "127.0.0.1")), Ok(None));
        assert_eq!(settings.choose(&origin(Scheme::Https, "a.b")), Ok(None));
    }
}
