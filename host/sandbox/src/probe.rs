//! One harmless request to a destination, over the same kind of connection as the component's requests.

use super::connect::Connector;
use super::exchange::{Kept, WaitLimits, exchange};
use super::policy::{AllowedRequest, Origin};
use super::proxy::ProxySettings;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_pipeline::options::ApiKey;
use std::time::Duration;
use wasmtime_wasi_http::Error;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The response's status and the beginning of its body.
    Answered(u16, String),
    /// The host has no address.
    UnknownHost,
    /// TLS failed, with the error.
    Tls(String),
    /// No connection or no response, with the error.
    Unreachable(String),
}

/// Posts a batch without events. `PostHog` refuses it with 400 and keeps nothing. If the key is malformed, it refuses
/// with 401 first.
pub async fn probe(proxies: ProxySettings, origin: &Origin, key: &ApiKey) -> Probed {
    let allowed = AllowedRequest { origin: origin.clone(), path: Lane::AiBatch.path() };
    let body = serde_json::json!({"api_key": key.expose(), "batch": []}).to_string();
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(allowed.path).header(http::header::CONTENT_TYPE, "application/json").body(body);
    let Ok(request) = request else { return Probed::Unreachable("the request cannot be made".to_owned()) };
    let patience = WaitLimits { connect: PATIENCE, first_byte: PATIENCE, between_bytes: PATIENCE, total: 3 * PATIENCE };
    match exchange(&Connector::new(proxies), &Kept::default(), &allowed, request, patience).await {
        Ok(response) => {
            let words: String = String::from_utf8_lossy(response.body()).chars().take(200).collect();
            Probed::Answered(response.status().as_u16(), words)
        }
        Err(Error::DnsError { .. } | Error::DnsTimeout) => Probed::UnknownHost,
        Err(error @ (Error::Tls(_) | Error::TlsProtocolError | Error::TlsAlertReceived { .. })) => {
            Probed::Tls(error.to_string())
        }
        Err(Error::TlsCertificateError) => Probed::Tls("its certificate is not trusted".to_owned()),
        Err(error) => Probed::Unreachable(error.to_string()),
    }
}
