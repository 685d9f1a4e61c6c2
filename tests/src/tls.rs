//! Our own certificate authority, and TLS in front of any server on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::lock;
use posthog_llma_local_posthog::loopback::Loopback;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A certificate authority that no one trusts until told to.
pub struct LocalCa {
    issuer: Issuer<'static, KeyPair>,
    pem_file: PathBuf,
    /// The directory with `pem_file`.
    _directory: TempDir,
}

impl LocalCa {
    /// Creates a new authority. Certificates of one are never trusted by clients of another.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "local test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        let directory = TempDir::new()?;
        let pem_file = directory.path().join("ca.pem");
        std::fs::write(&pem_file, pem)?;
        Ok(Self { issuer: Issuer::new(params, key), pem_file, _directory: directory })
    }

    /// Its certificate as PEM, for `SSL_CERT_FILE`. Dropping this removes the file.
    pub fn pem_file(&self) -> &Path {
        &self.pem_file
    }

    /// A server's TLS configuration with a certificate for `name`, a domain or an IP address.
    fn server_config(&self, name: &str) -> anyhow::Result<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?)
    }
}

/// The outcome of one connection's handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// The client trusts the certificate. It asked for this name, if any.
    Completed(Option<String>),
    /// The handshake failed, with the error of `rustls`.
    Failed(String),
}

/// Accepts TLS connections, and forwards their contents to a server without TLS.
pub struct TlsTerminator {
    loopback: Loopback,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
}

impl TlsTerminator {
    /// Starts in front of `backend`, with a certificate of `ca` for `name`: `localhost`, `us.i.posthog.com`.
    pub fn start(ca: &LocalCa, name: &str, backend: SocketAddr) -> anyhow::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(ca.server_config(name)?));
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let loopback = Loopback::start("tls-terminator", {
            let handshakes = Arc::clone(&handshakes);
            move |stream| terminate(acceptor.clone(), stream, backend, Arc::clone(&handshakes))
        })?;
        Ok(Self { loopback, handshakes })
    }

    /// Like `start`, with a certificate of an unknown authority.
    pub fn start_with_unknown_ca(name: &str, backend: SocketAddr) -> anyhow::Result<Self> {
        Self::start(&LocalCa::new()?, name, backend)
    }

    /// Like `start`, with a certificate of the right authority for a name that no one asks for.
    pub fn start_with_wrong_name(ca: &LocalCa, backend: SocketAddr) -> anyhow::Result<Self> {
        Self::start(ca, "wrong.example", backend)
    }

    /// The address it listens on, on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        self.loopback.address()
    }

    /// Every finished handshake, successful or not.
    pub fn handshakes(&self) -> Vec<Handshake> {
        lock(&self.handshakes).clone()
    }
}

async fn terminate(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    backend: SocketAddr,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
) {
    let mut stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            lock(&handshakes).push(Handshake::Failed(error.to_string()));
            return;
        }
        Err(elapsed) => {
            lock(&handshakes).push(Handshake::Failed(elapsed.to_string()));
            return;
        }
    };
    let name = stream.get_ref().1.server_name().map(ToOwned::to_owned);
    lock(&handshakes).push(Handshake::Completed(name));
    if let Ok(mut backend) = TcpStream::connect(backend).await {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut backend).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Responds to each connection with what it sent, in upper case.
    pub(crate) fn shouting_server() -> Loopback {
        Loopback::start("shouting-server", |mut stream| async move {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                buffer[..length].make_ascii_uppercase();
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        })
        .unwrap()
    }

    /// Does a handshake as a client that trusts `ca` and asks for `name`, then sends "hello".
    pub(crate) async fn hello_over_tls(ca: &LocalCa, name: &str, stream: TcpStream) -> std::io::Result<String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca.pem_file()).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn hello(ca: &LocalCa, name: &str, terminator: &TlsTerminator) -> std::io::Result<String> {
        let stream = TcpStream::connect(terminator.address()).await.unwrap();
        hello_over_tls(ca, name, stream).await
    }

    /// Waits, because the client fails before the terminator has read the client's alert.
    async fn first_handshake(terminator: &TlsTerminator) -> Handshake {
        for _ in 0..500 {
            if let Some(handshake) = terminator.handshakes().first() {
                return handshake.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no handshake in 5 seconds");
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_reaches_the_server_behind() {
        let ca = LocalCa::new().unwrap();
        let server = shouting_server();
        for name in ["localhost", "us.i.posthog.com"] {
            let terminator = TlsTerminator::start(&ca, name, server.address()).unwrap();
            assert_eq!(hello(&ca, name, &terminator).await.unwrap(), "HELLO");
            assert_eq!(terminator.handshakes(), [Handshake::Completed(Some(name.to_owned()))]);
        }
    }

    #[tokio::test]
    async fn an_ip_address_can_be_the_name() {
        let ca = LocalCa::new().unwrap();
        let server = shouting_server();
        let terminator = TlsTerminator::start(&ca, "127.0.0.1", server.address()).unwrap();
        assert_eq!(hello(&ca, "127.0.0.1", &terminator).await.unwrap(), "HELLO");
        assert_eq!(terminator.handshakes(), [Handshake::Completed(None)]);
    }

    #[tokio::test]
    async fn a_certificate_of_another_authority_is_not_trusted() {
        let ca = LocalCa::new().unwrap();
        let server = shouting_server();
        let terminator = TlsTerminator::start_with_unknown_ca("localhost", server.address()).unwrap();
        let error = hello(&ca, "localhost", &terminator).await.unwrap_err();
        // Both authorities have the same name, so that only the signature is wrong.
        assert!(error.to_string().contains("BadSignature"), "{error}");
        let handshake = first_handshake(&terminator).await;
        assert!(matches!(handshake, Handshake::Failed(_)), "{handshake:?}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_not_trusted() {
        let ca = LocalCa::new().unwrap();
        let server = shouting_server();
        let terminator = TlsTerminator::start_with_wrong_name(&ca, server.address()).unwrap();
        let error = hello(&ca, "localhost", &terminator).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
        let handshake = first_handshake(&terminator).await;
        assert!(matches!(handshake, Handshake::Failed(_)), "{handshake:?}");
    }

    #[tokio::test]
    async fn a_client_that_speaks_no_tls_is_a_failed_handshake() {
        let ca = LocalCa::new().unwrap();
        let server = shouting_server();
        let terminator = TlsTerminator::start(&ca, "localhost", server.address()).unwrap();
        let mut stream = TcpStream::connect(terminator.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let handshake = first_handshake(&terminator).await;
        assert!(matches!(handshake, Handshake::Failed(_)), "{handshake:?}");
    }

    #[test]
    fn the_certificate_file_is_gone_with_the_authority() {
        let ca = LocalCa::new().unwrap();
        let file = ca.pem_file().to_owned();
        assert!(file.exists());
        drop(ca);
        assert!(!file.exists());
    }
}
