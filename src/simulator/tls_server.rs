//! The embedded TLS server of the demo: what a user's server does with the trust, in small and strict.
//!
//! ```text
//!  <store>/target/NAME/trust-bundle.pem   whose certificates are asked for, and verified
//!  <store>/target/NAME/fingerprints.txt   who of those is admitted
//! ```
//! It reads these two files when it starts and when its admin listener gets `POST /reload`, and at no other time; nothing else tells it
//! whom to trust. Like nginx with `ssl_verify_client`, it ends every handshake and answers over HTTP: 200 to the admitted, 403 to a good
//! certificate that is not on the list, 400 to none or to one that does not verify. Each answer has `X-Trustsync-Generation`. There is no
//! resumption, and a connection serves one request, so that each admission is judged afresh.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::listener::Listener;
use crate::simulator::listener::{MOST_CONNECTIONS, PlainAnswer, PlainRequest, loopback_http};
use crate::simulator::pki::{CertificateAuthority, ClientCertificate, PkiError};
use crate::simulator::vendor::tls_pair;
use crate::trust::fingerprint::Fingerprint;

/// Larger files are refused.
const MOST_BYTES: u64 = 4 * 1_024 * 1_024;
/// The header that names the loaded generation.
pub const GENERATION_HEADER: &str = "x-trustsync-generation";
/// What the header says while nothing has been loaded.
pub const NO_GENERATION: &str = "000000";

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum TlsServerError {
    /// Its own certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Its own certificate was refused.
    #[error("the embedded server cannot serve TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// An address could not be had.
    #[error("the embedded server cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What lies in its folder cannot be loaded.
    #[error("the embedded server does not start on trust that it cannot load: {0}")]
    Load(#[from] LoadError),
}

/// Trust could not be loaded; what was loaded before stays.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is nothing to load.
    #[error("{path} is not there: nothing has been published for this server", path = path.display())]
    Absent {
        /// Where.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says what it must not.
    #[error("{path}: {why}", path = path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What.
        why: String,
    },
}

/// Where the server listens and what it reads.
#[derive(Clone)]
pub struct TlsServerOptions {
    /// Where it serves TLS; port 0 takes any.
    pub listen: SocketAddr,
    /// Where it takes `POST /reload`: a loopback address; port 0 takes any.
    pub admin: SocketAddr,
    /// The target's link in the store, `<store>/target/NAME`.
    pub trust: PathBuf,
    /// By which time certificates are valid.
    pub clock: Arc<dyn Clock>,
}

impl TlsServerOptions {
    /// On any ports of 127.0.0.1.
    #[must_use]
    pub fn new(trust: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            trust,
            clock,
        }
    }
}

/// The running server; it ends when dropped.
#[derive(Debug)]
pub struct TlsServer {
    listener: Listener,
    admin: Listener,
    loaded: Loaded,
    ca_pem: String,
}

impl TlsServer {
    /// Starts the server with the trust that lies in its folder. Where the folder is absent, it trusts nobody.
    pub async fn start(options: TlsServerOptions) -> Result<Self, TlsServerError> {
        let ca = CertificateAuthority::for_servers()?;
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let maker =
            Arc::new(Maker { certificate: ca.server_certificate(&names)?, trust: options.trust, clock: options.clock });
        let trust = match maker.load() {
            Err(LoadError::Absent { .. }) => maker.nobody()?,
            other => other?,
        };
        let loaded = Loaded(Arc::new(Mutex::new(Arc::new(trust))));
        let served = loaded.clone();
        let address = options.listen;
        let listener = Listener::start(address, MOST_CONNECTIONS, move |stream| connection(stream, served.get()))
            .await
            .map_err(|source| TlsServerError::Listen { address, source })?;
        let reloaded = loaded.clone();
        let address = options.admin;
        let admin = loopback_http(address, move |request| {
            let answer = administered(&request, &maker, &reloaded);
            async move { answer }
        })
        .await
        .map_err(|source| TlsServerError::Listen { address, source })?;
        Ok(Self { listener, admin, loaded, ca_pem: ca.pem() })
    }

    /// Where it serves TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where `POST` makes it load its trust anew: 200 once that is done, 500 with the reason if the old trust was kept.
    #[must_use]
    pub fn reload_url(&self) -> String {
        format!("http://{}/reload", self.admin.address())
    }

    /// The CA of its own certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The generation that it has loaded.
    #[must_use]
    pub fn generation(&self) -> Option<String> {
        self.loaded.get().generation.clone()
    }

    /// Ends it, and waits for that.
    pub async fn stop(self) {
        self.listener.stop().await;
        self.admin.stop().await;
    }
}

/// The trust that is in force.
#[derive(Debug, Clone)]
struct Loaded(Arc<Mutex<Arc<Trust>>>);

impl Loaded {
    fn get(&self) -> Arc<Trust> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, trust: Trust) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
    }
}

fn administered(request: &PlainRequest, maker: &Maker, loaded: &Loaded) -> PlainAnswer {
    match (&request.method, request.path.as_str()) {
        (&Method::POST, "/reload") => match maker.load() {
            Ok(trust) => {
                let generation = trust.generation.clone().unwrap_or_default();
                loaded.set(trust);
                PlainAnswer::text(StatusCode::OK, format!("loaded generation {generation}"))
            }
            Err(why) => PlainAnswer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("kept the old trust: {why}")),
        },
        _ => PlainAnswer::text(StatusCode::NOT_FOUND, "POST /reload is all there is"),
    }
}

async fn connection(stream: TcpStream, trust: Arc<Trust>) {
    let acceptor = TlsAcceptor::from(Arc::clone(&trust.config));
    let accepted = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = accepted else { return };
    let verdict = trust.judge(stream.get_ref().1.peer_certificates());
    let generation = trust.generation.clone().unwrap_or_else(|| NO_GENERATION.into());
    let service = service_fn(move |_: Request<Incoming>| {
        let (status, text) = verdict.clone();
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        if let Ok(value) = HeaderValue::try_from(generation.as_str()) {
            response.headers_mut().insert(GENERATION_HEADER, value);
        }
        async move { Ok::<_, Infallible>(response) }
    });
    // A peer that breaks off concerns nobody but itself.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// One generation as this server has loaded it.
struct Trust {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    intermediates: Vec<CertificateDer<'static>>,
    admitted: BTreeMap<Fingerprint, String>,
    generation: Option<String>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("generation", &self.generation)
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// The answer to who presented this: first the chain, then the list.
    fn judge(&self, presented: Option<&[CertificateDer<'_>]>) -> (StatusCode, String) {
        let Some((leaf, rest)) = presented.and_then(<[_]>::split_first) else {
            return (StatusCode::BAD_REQUEST, "no client certificate was sent\n".into());
        };
        let known = self.intermediates.iter();
        let intermediates: Vec<CertificateDer<'_>> = rest.iter().chain(known).cloned().collect();
        let seconds = u64::try_from(self.clock.now().unix()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verified = match &self.verifier {
            None => Err("no CA is trusted".to_owned()),
            Some(verifier) => verifier.verify_client_cert(leaf, &intermediates, now).map_err(|why| why.to_string()),
        };
        if let Err(why) = verified {
            return (StatusCode::BAD_REQUEST, format!("the client certificate does not verify: {why}\n"));
        }
        match self.admitted.get(&Fingerprint::of(leaf)) {
            Some(role) => (StatusCode::OK, format!("admitted as {role}\n")),
            None => (StatusCode::FORBIDDEN, "the client certificate is not on the list\n".into()),
        }
    }
}

/// Makes a [`Trust`] of what lies in the folder.
struct Maker {
    certificate: ClientCertificate,
    trust: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Maker {
    fn load(&self) -> Result<Trust, LoadError> {
        // The link is resolved once, so that both files are of one generation.
        let folder = fs::canonicalize(&self.trust).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LoadError::Absent { path: self.trust.clone() },
            _ => LoadError::Read { path: self.trust.clone(), source },
        })?;
        let bundle = folder.join("trust-bundle.pem");
        let list = folder.join("fingerprints.txt");
        let wrong = |path: &Path, why: String| LoadError::Content { path: path.to_owned(), why };
        let certificates = read_bundle(&read_bounded(&bundle)?).map_err(|why| wrong(&bundle, why))?;
        let (generation, admitted) = read_list(&read_bounded(&list)?).map_err(|why| wrong(&list, why))?;
        let mut anchors = RootCertStore::empty();
        let mut intermediates = Vec::new();
        let mut subjects = Vec::new();
        for der in certificates {
            let (subject, self_issued) = names(&der).map_err(|why| wrong(&bundle, why))?;
            subjects.push(DistinguishedName::from(subject));
            if self_issued {
                anchors.add(der).map_err(|why| wrong(&bundle, why.to_string()))?;
            } else {
                intermediates.push(der);
            }
        }
        self.make(anchors, intermediates, subjects, admitted, Some(generation)).map_err(|why| wrong(&bundle, why))
    }

    /// Before anything was published: nobody's certificate verifies.
    fn nobody(&self) -> Result<Trust, LoadError> {
        self.make(RootCertStore::empty(), Vec::new(), Vec::new(), BTreeMap::new(), None)
            .map_err(|why| LoadError::Content { path: self.trust.clone(), why })
    }

    fn make(
        &self,
        anchors: RootCertStore,
        intermediates: Vec<CertificateDer<'static>>,
        subjects: Vec<DistinguishedName>,
        admitted: BTreeMap<Fingerprint, String>,
        generation: Option<String>,
    ) -> Result<Trust, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match anchors.is_empty() {
            true => None,
            false => Some(
                WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(&provider))
                    .build()
                    .map_err(|why| why.to_string())?,
            ),
        };
        let (chain, key) = tls_pair(&self.certificate);
        let asks = AsksEverybody { subjects, provider: Arc::clone(&provider) };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?
            .with_client_cert_verifier(Arc::new(asks))
            .with_single_cert(chain, key)
            .map_err(|why| why.to_string())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Trust {
            config: Arc::new(config),
            verifier,
            intermediates,
            admitted,
            generation,
            clock: Arc::clone(&self.clock),
        })
    }
}

fn read_bounded(path: &Path) -> Result<String, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(failed(io::Error::other("larger than 4 MiB")));
    }
    Ok(text)
}

/// Every certificate of a bundle, as many as it has BEGIN markers.
fn read_bundle(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| format!("not PEM: {why}"))?;
    let markers = text.matches("-----BEGIN ").count();
    match certificates.len() {
        0 => Err("no certificate in it".into()),
        read if read != markers => Err(format!("{markers} BEGIN markers, {read} certificates")),
        _ => Ok(certificates),
    }
}

/// The subject, DER, and whether it is the issuer's too.
fn names(der: &[u8]) -> Result<(Vec<u8>, bool), String> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => {
            let (subject, issuer) = (certificate.subject(), certificate.issuer());
            Ok((subject.as_raw().to_vec(), subject.as_raw() == issuer.as_raw()))
        }
        Ok(_) => Err("bytes after a certificate".into()),
        Err(why) => Err(format!("not a certificate: {why}")),
    }
}

/// `# trustsync generation 000042 store ID`, then `<role> sha256:<hex> sha1:<hex> <notAfter> <name>` a line.
fn read_list(text: &str) -> Result<(String, BTreeMap<Fingerprint, String>), String> {
    let mut lines = text.lines();
    let generation = lines
        .next()
        .and_then(|line| line.strip_prefix("# trustsync generation "))
        .and_then(|rest| rest.split(' ').next())
        .filter(|number| number.len() >= 6 && number.chars().all(|digit| digit.is_ascii_digit()))
        .ok_or("the first line does not name the generation")?;
    let mut admitted = BTreeMap::new();
    for line in lines.filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split(' ');
        let role = words.next().unwrap_or_default();
        // This server knows pins alone.
        if matches!(role, "name" | "denied") {
            continue;
        }
        let fingerprint = words
            .next()
            .and_then(|word| word.strip_prefix("sha256:"))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| format!("no fingerprint in the line {line:?}"))?;
        admitted.insert(fingerprint, role.to_owned());
    }
    Ok((generation.to_owned(), admitted))
}

/// Asks each client for a certificate of these issuers and lets every handshake end well, so that the verdict can be given over HTTP. That
/// the client holds the key is checked here; whether the certificate is any good, by [`Trust::judge`].
#[derive(Debug)]
struct AsksEverybody {
    subjects: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AsksEverybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
