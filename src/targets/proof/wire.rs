//! One observation of a server from outside: a full handshake, the names it advertises, one GET, one header.
//!
//! Nothing secret is sent and nothing received is trusted for more than a report, so the server's certificate is not
//! judged: a proof must not fail because the server's own certificate is private, expired, or for another name. Nor
//! because of its key, which is why every signature is offered, and none computed. We present no client certificate;
//! what a server answers to that (400, 403, an alert) is all the same to us.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::targets::process::printable;
use crate::targets::proof::plain_hello::{self, Said};
use crate::targets::ways::{ProxyProtocol, WireProof};

/// The response header in which the loaded allowlist names its generation.
pub const GENERATION_HEADER: &str = "X-Trustsync-Generation";

/// Why no answer is read of a server that speaks only the later version of HTTP.
const HTTP_2: &str = "the server answers in HTTP/2 alone, which is not read here";

/// Why no answer is read of a server with which there is no whole handshake.
const NOTHING_SHARED: &str = "the server shares no group, signature or cipher with us, so the handshake was only read up to \
     its request for a certificate, which TLS 1.2 makes in the clear";

/// How much of an answer is read to find it.
const ANSWER_READ: u64 = 16 * 1024;

/// What was seen of a server once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The DER of each name in its CertificateRequest; none at all if it asked for no client certificate.
    pub names: Option<Vec<Vec<u8>>>,
    /// The value of [`GENERATION_HEADER`] in its answer.
    pub generation_header: Option<String>,
    /// Why that says nothing: no answer can be had of it, though it asked us for our certificate.
    pub unreadable: Option<&'static str>,
}

/// Why nothing was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Nothing answered there.
    #[error("no connection to {0} ({1})")]
    Connect(SocketAddr, String),
    /// Nobody listens there.
    #[error("no connection to {0}: it is refused")]
    Refused(SocketAddr),
    /// A connection, but no TLS handshake, and no CertificateRequest either.
    #[error("no TLS handshake ({0})")]
    Handshake(String),
    /// The handshake and the answer did not fit into the time given.
    #[error("no answer within {} seconds", .0.as_secs_f32())]
    Timeout(Duration),
    /// A handshake without a request for a certificate, and then no answer.
    #[error(
        "the server does not ask for a client certificate in its handshake, at this address and by this name, and then \
         leaves the request unanswered: it may ask later, for some locations, by a renegotiation of TLS 1.2"
    )]
    Unanswered,
    /// It answers, but there is no handshake that both it and we can make.
    #[error(
        "it answers, but shares no group, signature or cipher with us ({0}): other clients may have them, so it is not \
         known to be at fault. A proof by another way (command, http) can see what this one cannot"
    )]
    NothingShared(String),
    /// It answers, and knows no server of the name that is asked for.
    #[error("it answers, but knows no server of the name {0} (alert unrecognized_name): is proof.server_name right?")]
    UnknownName(String),
    /// The configured name is not a host name, so it cannot be sent.
    #[error("{0:?} is not a server name")]
    ServerName(String),
}

/// Observes one address once, by a fresh connection and a full handshake.
pub async fn shake_hands(address: SocketAddr, settings: &WireProof, limit: Duration) -> Result<Handshake, WireError> {
    let until = Instant::now() + limit;
    // A little more, so that it is known where its time went.
    let whole = limit.saturating_add(Duration::from_millis(50));
    timeout(whole, shake_hands_until(address, settings, until)).await.unwrap_or(Err(WireError::Timeout(limit)))
}

async fn shake_hands_until(address: SocketAddr, settings: &WireProof, until: Instant) -> Result<Handshake, WireError> {
    let began = Instant::now();
    let (server_name, path) = (settings.server_name.as_deref(), &settings.path);
    let name = match server_name {
        Some(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| WireError::ServerName(printable(name.as_bytes())))?
        }
        // No name is sent for an IP address (RFC 6066 §3).
        None => ServerName::IpAddress(address.ip().into()),
    };
    let asked = Arc::new(Asked::default());
    let config = client_config(asked.clone()).map_err(|error| WireError::Handshake(error.to_string()))?;
    let connection = connect(address, settings).await?;

    let host = server_name.map_or_else(|| address.to_string(), str::to_owned);
    let head = match TlsConnector::from(Arc::new(config)).connect(name, connection).await {
        Ok(mut stream) => {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: trustsync\r\nAccept: */*\r\n\
                 Connection: close\r\n\r\n"
            );
            let mut head = Vec::new();
            let answered = timeout_at(until, async {
                // TLS 1.3 servers refuse the missing certificate only now, by an alert: then there is just no header.
                if stream.write_all(request.as_bytes()).await.is_ok() && stream.flush().await.is_ok() {
                    read_head(&mut stream, &mut head).await;
                }
            });
            if answered.await.is_err() {
                let took = until.saturating_duration_since(began);
                return Err(if asked.names().is_none() { WireError::Unanswered } else { WireError::Timeout(took) });
            }
            head
        }
        // TLS 1.2 servers refuse it within the handshake: what they asked for is known all the same.
        Err(_) if asked.names().is_some() => Vec::new(),
        Err(error) => {
            let error = why_none(&error, server_name);
            if !matches!(error, WireError::NothingShared(_)) {
                return Err(error);
            }
            let said = match connect(address, settings).await {
                Ok(connection) => timeout_at(until, plain_hello::ask(connection, server_name)).await.ok().flatten(),
                Err(_) => None,
            };
            return match said {
                Some(Said::Names(names)) => Ok(without_answer(Some(names))),
                Some(Said::DoesNotAsk) => Ok(without_answer(None)),
                None => Err(error),
            };
        }
    };
    let unreadable = is_http2(&head).then_some(HTTP_2);
    Ok(Handshake { names: asked.names(), generation_header: generation_in(&head), unreadable })
}

async fn connect(address: SocketAddr, settings: &WireProof) -> Result<TcpStream, WireError> {
    let no_connection = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => WireError::Refused(address),
        _ => WireError::Connect(address, error.to_string()),
    };
    let mut connection = TcpStream::connect(address).await.map_err(no_connection)?;
    let _ = connection.set_nodelay(true);
    if let Some(version) = settings.proxy_protocol {
        let header = proxy_header(version, connection.local_addr().map_err(no_connection)?, address);
        connection.write_all(&header).await.map_err(no_connection)?;
    }
    Ok(connection)
}

/// What was seen where the handshake did not come to its end.
fn without_answer(names: Option<Vec<Vec<u8>>>) -> Handshake {
    Handshake { names, generation_header: None, unreadable: Some(NOTHING_SHARED) }
}

/// Why there is no handshake: whether one of the two cannot make it, or nobody knows.
fn why_none(error: &io::Error, server_name: Option<&str>) -> WireError {
    let shown = error.to_string();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            WireError::UnknownName(server_name.map_or_else(|| "none".to_owned(), |name| format!("{name:?}")))
        }
        Some(
            rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::MissingExtension
                | AlertDescription::IllegalParameter
                | AlertDescription::NoApplicationProtocol,
            )
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::PeerMisbehaved(_),
        ) => WireError::NothingShared(shown),
        _ => WireError::Handshake(shown),
    }
}

/// Whether an answer begins with the SETTINGS of HTTP/2 (RFC 9113 §4.1 and §6.5).
fn is_http2(head: &[u8]) -> bool {
    matches!(head, [0, _, _, 4, 0, 0, 0, 0, 0, ..])
}

/// How a proxy between `from` and `to` would begin (HAProxy's proxy-protocol.txt, sections 2.1 and 2.2).
fn proxy_header(version: ProxyProtocol, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let (family, addresses): (u8, Vec<u8>) = match (from.ip(), to.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
                (from, to) => (0x21, [from, to].map(in_six).concat()),
            };
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
            header.push(family);
            let length = u16::try_from(addresses.len()).unwrap_or(0).saturating_add(4);
            header.extend(length.to_be_bytes());
            header.extend(addresses);
            header.extend(from.port().to_be_bytes());
            header.extend(to.port().to_be_bytes());
            header
        }
    }
}

fn in_six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    }
}

/// Reads up to the end of the answer's head, the bound, an error or the end, whichever comes first.
async fn read_head(stream: &mut (impl AsyncReadExt + Unpin), head: &mut Vec<u8>) {
    let mut bounded = stream.take(ANSWER_READ);
    let mut chunk = [0; 2048];
    while let Ok(read @ 1..) = bounded.read(&mut chunk).await {
        head.extend(chunk.iter().take(read));
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            return;
        }
    }
}

/// The header's value. Only a whole head of an HTTP/1 answer counts, in which the header stands once.
fn generation_in(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    if !lines.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let mut values = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case(GENERATION_HEADER))
        .map(|(_, value)| value.trim());
    match (values.next(), values.next()) {
        (Some(value), None) => Some(printable(value.as_bytes()).chars().take(64).collect()),
        _ => None,
    }
}

fn client_config(asked: Arc<Asked>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_client_cert_resolver(asked);
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Writes down what the server asks for, and presents nothing.
#[derive(Debug, Default)]
struct Asked(Mutex<Option<Vec<Vec<u8>>>>);

impl Asked {
    fn names(&self) -> Option<Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, root_hint_subjects: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let names = root_hint_subjects.iter().map(|name| name.to_vec()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What servers sign with besides: their keys may be of kinds whose signatures we cannot verify, and need not.
const BEYOND_OURS: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED448,
    // RSA-PSS with keys that are for nothing else (RFC 8446 §4.2.3), and ML-DSA.
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
    SignatureScheme::Unknown(0x0904),
    SignatureScheme::Unknown(0x0905),
    SignatureScheme::Unknown(0x0906),
    SignatureScheme::RSA_PKCS1_SHA1,
];

/// Accepts any server: see the head of this file for why that is not a hole.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes().into_iter().chain(BEYOND_OURS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_only_once_in_a_whole_http_head() {
        let of = |text: &str| generation_in(text.as_bytes());
        assert_eq!(of("HTTP/1.1 400 Bad\r\nx-trustsync-generation:  000042 \r\n\r\nbody"), Some("000042".into()));
        assert_eq!(of("HTTP/1.1 200 OK\r\nX-Trustsync-Generation: 000042"), None);
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\nX-Trustsync-Generation: 000042\r\n\r\n"), None);
        assert_eq!(of("SSH-2.0\r\nX-Trustsync-Generation: 000042\r\n\r\n"), None);
        assert_eq!(of("HTTP/1.1 200 OK\r\nX-Trustsync-Generation: 1\r\nX-Trustsync-Generation: 2\r\n\r\n"), None);
    }
}
