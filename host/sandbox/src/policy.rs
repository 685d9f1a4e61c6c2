//! Which HTTP requests the component may make. Nothing here does I/O.

use http::{Method, Uri};
use posthog_llma_pipeline::delivery::lane::Lane;
pub use posthog_llma_pipeline::origin::{Origin, Scheme};
use std::collections::VecDeque;
use std::fmt;

/// Paths to post events to, in order of preference.
pub const BATCH_PATHS: [&str; 3] = [Lane::ALL[0].path(), Lane::ALL[1].path(), Lane::ALL[2].path()];

/// The number of requests that a [`RequestLog`] keeps, the latest ones; it only counts the others.
const MAX_RECORDS: usize = 100;

/// The number of characters of a URL that a [`RequestRecord`] keeps.
const MAX_URL_CHARS: usize = 200;

/// The only place that requests may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDestination {
    /// The server.
    pub origin: Origin,
    /// The paths; a request must match one exactly.
    pub paths: Vec<&'static str>,
    /// Those of the paths that the server is known to lack: the host itself responds with 404, without a request.
    pub missing: Vec<&'static str>,
}

impl AllowedDestination {
    /// Allows posting batches of events to this server.
    pub fn batches(origin: Origin) -> Self {
        Self { origin, paths: BATCH_PATHS.to_vec(), missing: Vec::new() }
    }

    /// Marks all paths before this one as known to be missing on the server.
    #[must_use]
    pub fn from_lane(mut self, lane: Option<Lane>) -> Self {
        let newer = |path: &&'static str| Some(*path) != lane.map(Lane::path);
        self.missing = if lane.is_some() { self.paths.iter().copied().take_while(newer).collect() } else { Vec::new() };
        self
    }
}

/// Which requests are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpPolicy {
    /// None at all.
    Deny,
    /// `POST` to one destination.
    Allow(AllowedDestination),
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The policy is [`HttpPolicy::Deny`].
    #[error("no request is allowed")]
    NoNetwork,
    /// The URL has no host.
    #[error("the URL has no host")]
    NoHost,
    /// The URL has a user name or a password.
    #[error("the URL has user info")]
    UserInfo,
    /// The host is not in normal form: letters, digits, `-` and single dots, or an address.
    #[error("the host is not in its normal form")]
    OddHost,
    /// The port is empty, zero, or not in normal form.
    #[error("the port is not in its normal form")]
    OddPort,
    /// The scheme is different.
    #[error("another scheme")]
    Scheme,
    /// The host is different.
    #[error("another host")]
    Host,
    /// The port is different.
    #[error("another port")]
    Port,
    /// The method is not `POST`.
    #[error("another method")]
    Method,
    /// The path is not among the allowed ones.
    #[error("another path")]
    Path,
    /// The URL has a query, even an empty one.
    #[error("the URL has a query")]
    Query,
}

/// An allowed request in the policy's own words: what is sent never repeats the component's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedRequest {
    /// Where to connect.
    pub origin: Origin,
    /// Path to request.
    pub path: &'static str,
}

impl HttpPolicy {
    /// Is this path known to be missing on the server?
    pub(crate) fn is_missing(&self, path: &str) -> bool {
        matches!(self, Self::Allow(destination) if destination.missing.contains(&path))
    }

    /// Compares scheme, host (in lower case), effective port, method and path. Refuses whatever is not in normal form,
    /// instead of normalizing it.
    pub fn check(&self, method: &Method, uri: &Uri) -> Result<AllowedRequest, Refusal> {
        let Self::Allow(AllowedDestination { origin, paths, .. }) = self else {
            return Err(Refusal::NoNetwork);
        };
        let authority = uri.authority().ok_or(Refusal::NoHost)?.as_str();
        if authority.contains('@') {
            return Err(Refusal::UserInfo);
        }
        if uri.scheme_str() != Some(origin.scheme().as_str()) {
            return Err(Refusal::Scheme);
        }
        let (host, port) = split_authority(authority);
        let host = host.to_ascii_lowercase();
        if !is_normal_host(&host) {
            return Err(Refusal::OddHost);
        }
        if host != origin.host() {
            return Err(Refusal::Host);
        }
        let port = match port {
            None => origin.scheme().default_port(),
            Some(digits) => normal_port(digits).ok_or(Refusal::OddPort)?,
        };
        if port != origin.port() {
            return Err(Refusal::Port);
        }
        if method != Method::POST {
            return Err(Refusal::Method);
        }
        // The whole target, because `Uri::query` doesn't distinguish `/batch/?` from `/batch/`.
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        if target.contains('?') {
            return Err(Refusal::Query);
        }
        let path = paths.iter().find(|path| **path == target).ok_or(Refusal::Path)?;
        Ok(AllowedRequest { origin: origin.clone(), path })
    }
}

/// Host and port; the colons of an IPv6 address are part of the host.
fn split_authority(authority: &str) -> (&str, Option<&str>) {
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_address..].find(':') {
        Some(colon) => {
            let colon = after_address + colon;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

fn is_normal_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address);
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}

fn normal_port(digits: &str) -> Option<u16> {
    let port = digits.parse::<u16>().ok()?;
    (port != 0 && port.to_string() == digits).then_some(port)
}

/// One request that the component tried to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its method, at most 20 characters.
    pub method: String,
    /// Its URL without query and user info, at most 200 characters, with control characters escaped.
    pub url: String,
    /// Why it was refused; none if it was allowed.
    pub refusal: Option<Refusal>,
}

impl fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal {
            None => write!(f, "allowed {} {}", self.method, self.url),
            Some(refusal) => write!(f, "refused {} {}: {refusal}", self.method, self.url),
        }
    }
}

/// What the sandbox allowed and refused, in the order of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestLog {
    records: VecDeque<RequestRecord>,
    allowed: u64,
    refused: u64,
}

impl RequestLog {
    /// The last 100 requests.
    pub fn records(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter()
    }

    /// The refused requests among [`records`](Self::records).
    pub fn refusals(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records().filter(|record| record.refusal.is_some())
    }

    /// The number of allowed requests.
    pub fn allowed(&self) -> u64 {
        self.allowed
    }

    /// The number of refused requests.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Records a request.
    pub fn push(&mut self, method: &Method, uri: &Uri, refusal: Option<Refusal>) {
        match refusal {
            None => self.allowed += 1,
            Some(_) => self.refused += 1,
        }
        if self.records.len() == MAX_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(RequestRecord {
            method: method.as_str().chars().take(20).collect(),
            url: printable_url(uri),
            refusal,
        });
    }
}

/// Leaves out the query and the user info, where a component could put a secret. Escaped, because it is printed to a
/// terminal.
fn printable_url(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host_and_port = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host_and_port}{}", uri.path()).escape_debug().take(MAX_URL_CHARS).collect()
}

#[cfg(test)]
mod tests;
