//! TLS for the simulator's servers and clients, by rustls with ring.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::simulator::pki::ClientCertificate;

/// The names of a server on this machine.
pub(super) const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Chain and key in rustls' types.
pub(super) fn chain_and_key(certificate: &ClientCertificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = certificate.presented().into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(certificate.key_der().to_vec());
    (chain, PrivateKeyDer::from(key))
}

/// A server configuration for one of the simulator's own certificates, HTTP/1.1 only.
pub(super) fn server_config(
    certificate: &ClientCertificate,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let (chain, key) = chain_and_key(certificate);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The server's side of a handshake; none where it fails or takes too long.
pub(super) async fn accept(config: &Arc<ServerConfig>, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    tokio::time::timeout(Duration::from_secs(10), handshake).await.ok()?.ok()
}
