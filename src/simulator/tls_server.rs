//! The embedded TLS server of the demo: what a user's server does with the trust, small and strict.
//!
//! ```text
//!  <store>/target/NAME/trust-bundle.pem   whose certificates are asked for, and verified
//!  <store>/target/NAME/fingerprints.txt   which of those are admitted
//! ```
//! It reads these two files when it starts and when its admin listener gets `POST /reload`, and at no other time;
//! nothing else decides which clients it trusts. Like nginx with `ssl_verify_client`, it ends every handshake and
//! answers over HTTP: 200 to the admitted, 403 to a good certificate that is not on the list, 400 without a certificate
//! or where it does not verify. Each answer has `X-Trustsync-Generation`. There is no resumption, and a connection
//! serves one request, so each admission is decided afresh.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::listener::Listener;
use crate::simulator::error::SimulatorError;
use crate::simulator::http::{self, MOST_CONNECTIONS, TEXT, Whole, set_header, whole};
use crate::simulator::pki::{CertificateAuthority, ClientCertificate};
use crate::simulator::tls::{self, LOCAL_NAMES};
use crate::store::file;
use crate::trust::formats::certificate::Certificate;
use crate::trust::values::fingerprint::Fingerprint;

/// The largest bundle or list that is read.
const MOST_BYTES: u64 = 4 * 1_024 * 1_024;
/// The header that names the loaded generation.
const GENERATION_HEADER: &str = "x-trustsync-generation";
/// What the header says while nothing has been loaded.
const NO_GENERATION: &str = "000000";

/// The running server; it ends when dropped.
pub struct TlsServer {
    listener: Listener,
    admin: Listener,
}

impl TlsServer {
    /// Starts the server on any ports of 127.0.0.1, with the trust in `folder`: the target's link in the store,
    /// `<store>/target/NAME`. Without that folder, it admits no client. Certificates are valid by the `clock`.
    pub async fn start(folder: PathBuf, clock: Arc<dyn Clock>) -> Result<Self, SimulatorError> {
        let certificate = CertificateAuthority::for_servers()?.server_certificate(&LOCAL_NAMES.map(String::from))?;
        let loader = Loader { certificate, folder, clock };
        let trust = match loader.load().map_err(SimulatorError::Load)? {
            Some(trust) => trust,
            None => loader.trust(Vec::new(), BTreeMap::new(), NO_GENERATION.into()).map_err(SimulatorError::Load)?,
        };
        let (loads, loaded) = watch::channel(Arc::new(trust));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let failed = |source| SimulatorError::Listen { service: "the embedded server", address, source };
        let listener = Listener::start(address, MOST_CONNECTIONS, move |stream| {
            let trust = Arc::clone(&loaded.borrow());
            connection(stream, trust)
        });
        let listener = listener.await.map_err(failed)?;
        let admin = http::serve_loopback(address, move |request| administer(request, &loader, &loads));
        Ok(Self { listener, admin: admin.await.map_err(failed)? })
    }

    /// The address of its TLS listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where `POST` makes it load its trust anew: 200 once that is done, 500 with the reason if the old trust was kept.
    #[must_use]
    pub fn reload_url(&self) -> String {
        format!("http://{}/reload", self.admin.address())
    }

    /// Ends it, and waits for that.
    pub async fn stop(self) {
        self.listener.stop().await;
        self.admin.stop().await;
    }
}

fn administer(request: &Request<Incoming>, loader: &Loader, loads: &watch::Sender<Arc<Trust>>) -> Whole {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::POST, "/reload") => match loader.load() {
            Ok(Some(trust)) => {
                let text = format!("loaded generation {}\n", trust.generation);
                loads.send_replace(Arc::new(trust));
                (StatusCode::OK, text)
            }
            Ok(None) => {
                let folder = loader.folder.display();
                let text =
                    format!("kept the old trust: {folder} is not there: nothing has been published for this server\n");
                (StatusCode::INTERNAL_SERVER_ERROR, text)
            }
            Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("kept the old trust: {why}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "POST /reload is all there is\n".into()),
    };
    whole(status, TEXT, text)
}

async fn connection(stream: TcpStream, trust: Arc<Trust>) {
    let Some(stream) = tls::accept(&trust.config, stream).await else { return };
    let (status, text) = trust.admit(stream.get_ref().1.peer_certificates());
    let answer = |_: &Request<Incoming>| {
        let mut response = whole(status, TEXT, text.clone());
        set_header(response.headers_mut(), GENERATION_HEADER, trust.generation.clone());
        response
    };
    http::serve(stream, answer).await;
}

/// One generation as this server has loaded it.
struct Trust {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    intermediates: Vec<CertificateDer<'static>>,
    admitted: BTreeMap<Fingerprint, String>,
    generation: String,
    clock: Arc<dyn Clock>,
}

impl Trust {
    /// The answer to a client that presented this: first the chain decides, then the list.
    fn admit(&self, presented: Option<&[CertificateDer<'_>]>) -> (StatusCode, String) {
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

/// Makes a [`Trust`] of what lies in the folder; its errors are texts that name the file.
struct Loader {
    certificate: ClientCertificate,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Loader {
    /// The trust in the folder; none where nothing has been published.
    fn load(&self) -> Result<Option<Trust>, String> {
        // The link is resolved once, so that both files are of one generation.
        let folder = match fs::canonicalize(&self.folder) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", self.folder.display())),
        };
        let bundle = folder.join("trust-bundle.pem");
        let list = folder.join("fingerprints.txt");
        let in_bundle = |why: String| format!("{}: {why}", bundle.display());
        let certificates = read_bundle(&read_bounded(&bundle)?).map_err(in_bundle)?;
        let (generation, admitted) =
            read_list(&read_bounded(&list)?).map_err(|why| format!("{}: {why}", list.display()))?;
        self.trust(certificates, admitted, generation).map_err(in_bundle).map(Some)
    }

    fn trust(
        &self,
        certificates: Vec<CertificateDer<'static>>,
        admitted: BTreeMap<Fingerprint, String>,
        generation: String,
    ) -> Result<Trust, String> {
        let mut anchors = RootCertStore::empty();
        let mut intermediates = Vec::new();
        let mut subjects = Vec::new();
        for der in certificates {
            let certificate = Certificate::parse(&der).map_err(|why| why.to_string())?;
            subjects.push(DistinguishedName::from(certificate.facts().subject_der.clone()));
            if certificate.facts().self_issued() {
                anchors.add(der).map_err(|why| why.to_string())?;
            } else {
                intermediates.push(der);
            }
        }
        let verifier = match anchors.is_empty() {
            true => None,
            false => Some(
                WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), tls::provider())
                    .build()
                    .map_err(|why| why.to_string())?,
            ),
        };
        let asks = AsksEverybody { subjects, provider: tls::provider() };
        let mut config = tls::server_config(&self.certificate, Arc::new(asks)).map_err(|why| why.to_string())?;
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

fn read_bounded(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, MOST_BYTES).map_err(|why| why.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("{} is not there", path.display()))?;
    String::from_utf8(bytes).map_err(|why| format!("{}: {why}", path.display()))
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

/// Asks each client for a certificate of these issuers and completes every handshake, so that the verdict can be given
/// over HTTP. This checks that the client holds the key; [`Trust::admit`] checks the certificate.
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
