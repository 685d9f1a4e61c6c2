//! Where events may be sent: scheme, host and port, and nothing else.
//!
//! Parsed by hand, because URL libraries repair their input: `127.1`, `0x7f.1`, `https:\\host` or `host:00443` all
//! become something usable. The code that checks a text and the code that connects to it may then disagree about the
//! host. This parser refuses any text that is not already in its normal form (except for upper case, a default port and
//! one trailing `/`).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// Maximum length of a text that is examined; a host name has at most 253 characters.
const MAX_LENGTH: usize = 300;
/// Maximum characters of a refused text that an error shows.
const SHOWN_LENGTH: usize = 100;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text; only on loopback.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An origin that events may be sent to.
///
/// Displayed in its normal form: lower case, no default port, no trailing `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Default for Origin {
    /// `https://us.i.posthog.com`.
    fn default() -> Self {
        Self { scheme: Scheme::Https, host: "us.i.posthog.com".to_owned(), port: 443 }
    }
}

impl Origin {
    /// Reads `https://us.i.posthog.com`, `http://localhost:8000` and the like.
    ///
    /// `https` to `*.posthog.com`, `http` or `https` to loopback; with `allow_custom_host` also `https` to any other
    /// host. Loopback is `localhost`, `127.0.0.0/8` in dotted form, and `[::1]`.
    pub fn parse(text: &str, allow_custom_host: bool) -> Result<Self, OriginError> {
        Self::checked(text, allow_custom_host).map_err(|problem| OriginError { value: shown(text), problem })
    }

    fn checked(text: &str, allow_custom_host: bool) -> Result<Self, OriginProblem> {
        if text.is_empty() {
            return Err(OriginProblem::NoHost);
        }
        if text.len() > MAX_LENGTH {
            return Err(OriginProblem::TooLong);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(OriginProblem::Blank);
        }
        if !text.is_ascii() {
            return Err(OriginProblem::NotAscii);
        }
        if text.contains('\\') {
            return Err(OriginProblem::Backslash);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginProblem::NoScheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(OriginProblem::OtherScheme),
        };
        if rest.contains('@') {
            return Err(OriginProblem::UserInfo);
        }
        if rest.contains('?') {
            return Err(OriginProblem::Query);
        }
        if rest.contains('#') {
            return Err(OriginProblem::Fragment);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.starts_with('/') {
            return Err(OriginProblem::NoHost);
        }
        if authority.contains('/') {
            return Err(OriginProblem::Path);
        }
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        let port = port.map_or(Ok(scheme.default_port()), parse_port)?;
        check_host(&host)?;

        let origin = Self { scheme, host, port };
        if !origin.is_loopback() {
            if scheme == Scheme::Http {
                return Err(OriginProblem::PlainHttp);
            }
            if !allow_custom_host && !origin.host.ends_with(".posthog.com") {
                return Err(OriginProblem::CustomHost);
            }
        }
        Ok(origin)
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address includes its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, or the scheme's default if the text had none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, and the port unless it is the scheme's default: the value of a `Host` header.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Is this the local machine?
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host == "[::1]"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.authority())
    }
}

/// A text that is not an origin that events may be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value} {problem}; use {}", problem.use_instead())]
pub struct OriginError {
    /// The text, quoted and escaped, shortened, and without user info.
    value: String,
    problem: OriginProblem,
}

impl OriginError {
    /// What is wrong with the text.
    pub fn problem(&self) -> OriginProblem {
        self.problem
    }
}

/// What can be wrong with an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OriginProblem {
    /// Over 300 bytes.
    #[error("is too long")]
    TooLong,
    /// White space or a control character.
    #[error("contains white space or a control character")]
    Blank,
    /// A character outside ASCII.
    #[error("contains a character outside ASCII (write an international host name in its xn-- form)")]
    NotAscii,
    /// A backslash, which some parsers read as `/`.
    #[error("contains a backslash")]
    Backslash,
    /// No `://`.
    #[error("does not start with https://")]
    NoScheme,
    /// A scheme other than `http` and `https`.
    #[error("has a scheme other than https")]
    OtherScheme,
    /// `user@` or `user:password@`.
    #[error("contains user info (an @)")]
    UserInfo,
    /// A `?`.
    #[error("has a query")]
    Query,
    /// A `#`.
    #[error("has a fragment")]
    Fragment,
    /// More than one trailing `/`.
    #[error("has a path")]
    Path,
    /// Nothing where the host should be.
    #[error("has no host")]
    NoHost,
    /// A `:` that is not followed by a plain number of 1 to 65535.
    #[error("has a port that is not a plain number from 1 to 65535")]
    Port,
    /// Anything but letters, digits, `-` and single dots.
    #[error("has a host that is not made of letters, digits and -, with single dots between and none at the end")]
    HostName,
    /// An address in a form such as `127.1`, `0x7f.1` or `[0:0::1]`.
    #[error("has a host that is an IP address in an unusual form")]
    Address,
    /// `http` to a different machine.
    #[error("is http, which is not encrypted, and the host is not this machine")]
    PlainHttp,
    /// Neither `*.posthog.com` nor loopback.
    #[error("has a host that is neither in posthog.com nor this machine")]
    CustomHost,
}

impl OriginProblem {
    /// What to write instead.
    fn use_instead(self) -> &'static str {
        match self {
            Self::CustomHost => {
                "https to a host in posthog.com such as https://us.i.posthog.com, http to localhost, \
                 or https to any host with POSTHOG_LLMA_ALLOW_CUSTOM_HOST=true"
            }
            Self::PlainHttp => "https, or http to localhost, 127.0.0.1 or [::1]",
            _ => "only scheme, host and port, such as https://us.i.posthog.com or http://localhost:8000",
        }
    }
}

/// The host and, if there is a `:`, the text of the port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), OriginProblem> {
    let after_host = if authority.starts_with('[') {
        authority.find(']').ok_or(OriginProblem::Address)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(after_host);
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = rest.strip_prefix(':').ok_or(OriginProblem::HostName)?;
    Ok((host, Some(port)))
}

fn parse_port(text: &str) -> Result<u16, OriginProblem> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if plain => Ok(port),
        _ => Err(OriginProblem::Port),
    }
}

fn check_host(host: &str) -> Result<(), OriginProblem> {
    if host.is_empty() {
        return Err(OriginProblem::NoHost);
    }
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(parsed) if parsed.to_string() == address => Ok(()),
            _ => Err(OriginProblem::Address),
        };
    }
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(OriginProblem::HostName);
    }
    // Resolvers and URL parsers treat a host as an IPv4 address if its last label is a number, even a hexadecimal one.
    let last = host.rsplit('.').next().unwrap_or(host);
    let digits = last.strip_prefix("0x");
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    // The standard library accepts only four decimal numbers without leading zeros.
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(OriginProblem::Address);
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The refused text as an error shows it: user info may contain a password, so it must not reach a terminal or a log.
fn shown(text: &str) -> String {
    let text = match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    };
    let mut cut: String = text.chars().take(SHOWN_LENGTH).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
