//! Who gets in: one fresh TLS handshake with a client certificate or without one, one GET, and the server's decision.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::simulator::pki::ClientCertificate;
use crate::simulator::tls;

/// How long one presentation may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const MOST_BYTES: u64 = 64 * 1_024;

/// The server's decision on a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Let in: HTTP 2xx.
    Admitted {
        /// The `X-Trustsync-Generation` of the answer.
        generation: Option<String>,
    },
    /// Kept out.
    Refused {
        /// By HTTP, by TLS or without a word.
        how: Refusal,
        /// The `X-Trustsync-Generation` of the answer, where there was one.
        generation: Option<String>,
    },
    /// No server answered: this says nothing about trust.
    Unreachable(String),
}

impl Admission {
    /// Whether it was let in.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }

    /// The generation that the server says it has loaded.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        match self {
            Self::Admitted { generation } | Self::Refused { generation, .. } => generation.as_deref(),
            Self::Unreachable(_) => None,
        }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted { .. } => f.write_str("admitted"),
            Self::Refused { how, .. } => write!(f, "refused ({how})"),
            Self::Unreachable(why) => write!(f, "unreachable ({why})"),
        }
    }
}

/// How a server keeps a client out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// By this HTTP status, which is not 2xx.
    Status(u16),
    /// By this TLS alert, in rustls's words.
    Alert(String),
    /// By closing the connection without an answer.
    Closed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::Alert(alert) => write!(f, "TLS alert {alert}"),
            Self::Closed => f.write_str("connection closed"),
        }
    }
}

/// Presents `who` (or no certificate) to the server at `address`, whatever certificate that server has.
pub async fn present(address: SocketAddr, who: Option<&ClientCertificate>) -> Admission {
    present_by(address, who, rustls::ALL_VERSIONS).await
}

/// [`present`], with these TLS versions alone.
pub async fn present_by(
    address: SocketAddr,
    who: Option<&ClientCertificate>,
    versions: &[&'static SupportedProtocolVersion],
) -> Admission {
    match tokio::time::timeout(LIMIT, attempt(address, who, versions)).await {
        Ok(Ok(admission)) => admission,
        Ok(Err(error)) => explain(&error),
        Err(_) => Admission::Unreachable(format!("no answer within {LIMIT:?}")),
    }
}

async fn attempt(
    address: SocketAddr,
    who: Option<&ClientCertificate>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<Admission> {
    let provider = tls::provider();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut config = match who {
        None => builder.with_no_client_auth(),
        Some(who) => {
            let (chain, key) = tls::chain_and_key(who);
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
    };
    config.resumption = rustls::client::Resumption::disabled();
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Admission::Unreachable(format!("{address}: {error}"))),
    };
    // The request follows the handshake's last flight and must not wait until that is acknowledged.
    let _ = stream.set_nodelay(true);
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    // In TLS 1.3 a server that refuses the certificate may have closed by now; what it sent holds the reason.
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let read = stream.take(MOST_BYTES).read_to_end(&mut answer).await;
    match read_answer(&answer) {
        Some(admission) => Ok(admission),
        None => {
            read?;
            Ok(Admission::Refused { how: Refusal::Closed, generation: None })
        }
    }
}

fn read_answer(answer: &[u8]) -> Option<Admission> {
    let text = String::from_utf8_lossy(answer);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let generation = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("x-trustsync-generation"))
        .map(|(_, value)| value.trim().to_owned());
    Some(match status {
        200..=299 => Admission::Admitted { generation },
        status => Admission::Refused { how: Refusal::Status(status), generation },
    })
}

/// Whether a failed handshake or a broken connection is the server's refusal.
fn explain(error: &io::Error) -> Admission {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let how = match (tls, error.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => Refusal::Alert(format!("{alert:?}")),
        (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Refusal::Closed,
        _ => return Admission::Unreachable(error.to_string()),
    };
    Admission::Refused { how, generation: None }
}

/// Accepts any certificate, but checks that the server holds its key: who the server is does not matter here.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
