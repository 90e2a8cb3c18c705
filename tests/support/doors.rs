//! Doors that a client may find open after its certificate has left: the connection that it keeps, and the TLS session that
//! it could resume.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use trustsync::simulator::pki::ClientCertificate;

/// Both versions of TLS.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A client that was let in, keeps its connection and remembers its session.
pub struct Door {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    kept: StreamOwned<ClientConnection, TcpStream>,
}

/// What a door leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// An answer with this status.
    Status(u16),
    /// The connection is closed, or was never made.
    Closed,
}

impl Door {
    /// Lets `who` in, which must succeed.
    pub fn open(address: &str, who: &ClientCertificate, version: &'static SupportedProtocolVersion) -> Self {
        let address = address.parse().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = who.presented().into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(who.key_der().to_vec()));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let (mut kept, _) = connect(address, &config).unwrap();
        assert_eq!(ask(&mut kept), Behind::Status(200));
        Self { address, config, kept }
    }

    /// The kept connection, once more.
    pub fn ask_again(&mut self) -> Behind {
        ask(&mut self.kept)
    }

    /// A new connection that offers the session: what is behind it, and whether the server resumed the session.
    pub fn resume(&self) -> (Behind, bool) {
        match connect(self.address, &self.config) {
            Ok((mut stream, kind)) => (ask(&mut stream), kind == Some(HandshakeKind::Resumed)),
            Err(_) => (Behind::Closed, false),
        }
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<(Stream, Option<HandshakeKind>)> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("api.example.com").unwrap();
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let kind = stream.conn.handshake_kind();
    Ok((stream, kind))
}

fn ask(stream: &mut Stream) -> Behind {
    if stream.write_all(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").and_then(|()| stream.flush()).is_err() {
        return Behind::Closed;
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    // The head, and as much of a body as it announces: the connection stays open after it.
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            if body.len() >= length.unwrap_or(0) && (!is_chunked || body.ends_with("0\r\n\r\n")) {
                return head
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse().ok())
                    .map_or(Behind::Closed, Behind::Status);
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => answer.extend(&chunk[..read]),
            Ok(0) | Err(_) => return Behind::Closed,
        }
    }
}

/// Who the server is, is not asked here.
#[derive(Debug)]
struct AnyServer;

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
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
