//! Outbound HTTP, built in one place: whom we believe (the system's roots and `ca_file`), through which proxy, and how
//! long we wait. Redirects are never followed and nothing is ever decompressed.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_native_certs::CertificateResult;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::trust::timestamp::span;

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first packet to a secured connection, a proxy's tunnel included.
    pub connect: Duration,
    /// Silence: from the request to the answer's head, and between two pieces of its body.
    pub read: Duration,
    /// One request with its whole answer.
    pub whole: Duration,
}

impl Limits {
    /// Limit of connecting.
    pub const CONNECT: Duration = Duration::from_secs(10);
    /// Limit of silence.
    pub const READ: Duration = Duration::from_secs(20);
    /// Limit of one request with its whole answer.
    pub const WHOLE: Duration = Duration::from_secs(60);
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Self::CONNECT, read: Self::READ, whole: Self::WHOLE }
    }
}

/// The client could not be built: a matter of configuration, found before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// Nobody to believe.
    #[error(
        "no root certificates for HTTPS were found, neither the system's ({system}) nor by `ca_file` (not set): no server could be \
         believed, so nothing was asked; install ca-certificates, or name a PEM file of roots as `ca_file`"
    )]
    NoRoots {
        /// What looking for the system's gave.
        system: String,
    },
    /// `ca_file` cannot be used.
    #[error("ca_file {} cannot be used: {reason}; it must be a readable PEM file of the CA certificates to believe for HTTPS", .path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A secret would travel in the open.
    #[error(
        "{url} is no https URL: the secret and the token would travel in the open; http is taken for loopback addresses only"
    )]
    Insecure {
        /// The URL, less its userinfo.
        url: String,
    },
    /// The URL cannot be asked.
    #[error("{url} cannot be used as a base URL: {reason}")]
    Url {
        /// The URL, less its userinfo.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// `proxy` cannot be used.
    #[error("proxy {proxy} cannot be used: {reason}; it must be http://HOST:PORT or https://HOST:PORT")]
    Proxy {
        /// The proxy, less its userinfo.
        proxy: String,
        /// Why.
        reason: String,
    },
    /// The libraries refused.
    #[error("the HTTPS client could not be built: {0}")]
    Library(String),
}

/// Builds the client by which `for_urls` are asked. `proxy` stands instead of HTTPS_PROXY and NO_PROXY of the environment.
pub fn build(
    for_urls: &[&Url],
    ca_file: Option<&Path>,
    proxy: Option<&Url>,
    limits: Limits,
) -> Result<reqwest::Client, OutboundError> {
    for url in for_urls {
        judge_url(url)?;
    }
    let mut builder = builder(ca_file, limits)?;
    if for_urls.iter().any(|url| url.scheme() == "http") {
        // Loopback alone may be asked in the open; an HTTP_PROXY would carry the token off the machine.
        builder = builder.no_proxy();
    }
    if let Some(url) = proxy {
        builder = builder.no_proxy().proxy(proxy_for_https(url)?);
    }
    finish(builder)
}

/// What every outbound client has in common.
pub(crate) fn builder(ca_file: Option<&Path>, limits: Limits) -> Result<reqwest::ClientBuilder, OutboundError> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config(ca_file)?)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(limits.connect)
        .user_agent(concat!("trustsync/", env!("CARGO_PKG_VERSION"))))
}

/// The client. reqwest's own texts may hold a URL with its userinfo; the causes beneath do not.
pub(crate) fn finish(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, OutboundError> {
    builder.build().map_err(|error| OutboundError::Library(root_cause(&error)))
}

fn judge_url(url: &Url) -> Result<(), OutboundError> {
    let refused = |reason| Err(OutboundError::Url { url: shown(url), reason });
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) => {}
        _ => return Err(OutboundError::Insecure { url: shown(url) }),
    }
    if !url.has_host() {
        return refused("it names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("credentials do not belong into it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refused("it has a query or a fragment");
    }
    Ok(())
}

fn proxy_for_https(url: &Url) -> Result<reqwest::Proxy, OutboundError> {
    // Loopback in the open never goes through a proxy, so https is all that it may carry.
    proxy_for(url, reqwest::Proxy::https)
}

/// A proxy for http and https alike: what goes through it is no secret.
pub(crate) fn proxy_for_all(url: &Url) -> Result<reqwest::Proxy, OutboundError> {
    proxy_for(url, reqwest::Proxy::all)
}

fn proxy_for(
    url: &Url,
    of: impl FnOnce(String) -> reqwest::Result<reqwest::Proxy>,
) -> Result<reqwest::Proxy, OutboundError> {
    let refused = |reason: &str| OutboundError::Proxy { proxy: shown(url), reason: reason.into() };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("its scheme is neither http nor https"));
    }
    of(url.to_string()).map_err(|_| refused("it is no proxy URL"))
}

/// Whether the URL's host is this machine by an address of it, or `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Scheme, host and port of a URL: what may be shown of one that can carry credentials.
#[must_use]
pub fn shown(url: &Url) -> String {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or("?"))
}

/// Where systems keep all their roots in one file: Debian and its kin, Red Hat and its kin, SUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's roots. Where nobody says otherwise (`SSL_CERT_FILE`, `SSL_CERT_DIR`), its bundle alone is read: the folder
/// beside it holds the same roots again, in hundreds of files, which was a third of what a cycle costs.
fn system_roots() -> CertificateResult {
    let told = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    let bundle = BUNDLES.iter().map(Path::new).find(|path| !told && path.is_file());
    let found = bundle.map(|path| rustls_native_certs::load_certs_from_paths(Some(path), None));
    found.filter(|found| !found.certs.is_empty()).unwrap_or_else(rustls_native_certs::load_native_certs)
}

/// TLS as every outbound connection has it: ring, the system's roots and those of `ca_file`.
pub fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, OutboundError> {
    let mut roots = RootCertStore::empty();
    let system = system_roots();
    // A system store may hold odd roots; each is another's business, and the rest still serves.
    roots.add_parsable_certificates(system.certs);
    match ca_file {
        Some(path) => {
            let refused = |reason| OutboundError::CaFile { path: path.to_owned(), reason };
            for (at, certificate) in read_ca_file(path).map_err(refused)?.into_iter().enumerate() {
                roots.add(certificate).map_err(|error| {
                    refused(format!("its certificate {} cannot be a root: {error}", at.saturating_add(1)))
                })?;
            }
        }
        None if roots.is_empty() => {
            let found = system.errors.first().map_or_else(|| "none found".into(), ToString::to_string);
            return Err(OutboundError::NoRoots { system: found });
        }
        None => {}
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OutboundError::Library(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A file of every public root there is has a quarter of this.
const CA_FILE_BYTES: u64 = 1024 * 1024;

/// The reader below loses blocks in silence where the markers are odd, so they are counted too.
fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(CA_FILE_BYTES.saturating_add(1)).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > CA_FILE_BYTES {
        return Err(format!("it has more than {CA_FILE_BYTES} bytes"));
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is no well-formed PEM ({error:?})"))?;
    let begun = text.windows(BEGIN.len()).filter(|window| window == &BEGIN).count();
    match certificates.len() {
        0 => Err("there is no certificate in it".into()),
        read if read == begun => Ok(certificates),
        read => Err(format!("only {read} of its {begun} certificates can be read: each BEGIN must start a line")),
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// [`Limits::connect`].
    Connect,
    /// [`Limits::read`], before the answer's head.
    Head,
    /// [`Limits::read`], within its body.
    Body,
    /// [`Limits::whole`].
    Whole,
    /// The caller's own deadline.
    Deadline,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting took longer than the limit of",
            Self::Head => "no answer began within",
            Self::Body => "the answer's body stood still for",
            Self::Whole => "the whole answer took longer than the limit of",
            Self::Deadline => "the run's deadline was reached, which left for this request",
        })
    }
}

/// The limits of one request, from its beginning.
pub(crate) struct Stopwatch {
    /// When it began.
    pub started: Instant,
    /// The caller's deadline.
    pub ends: Instant,
    /// [`Limits::whole`].
    pub whole: Duration,
}

impl Stopwatch {
    /// Waits for `work` until the first of its own limit, the request's and the caller's deadline, and names which it was.
    pub async fn within<T>(
        &self,
        phase: Phase,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Transport> {
        let now = Instant::now();
        let own = (now.checked_add(limit), phase, limit);
        let whole = (self.started.checked_add(self.whole), Phase::Whole, self.whole);
        let deadline = (Some(self.ends), Phase::Deadline, self.ends.saturating_duration_since(self.started));
        let first = [own, whole, deadline]
            .into_iter()
            .filter_map(|(at, phase, after)| Some((at?, phase, after)))
            .min_by_key(|(at, ..)| *at);
        match first {
            Some((at, phase, after)) => timeout_at(at, work).await.map_err(|_| Transport::TimedOut { phase, after }),
            None => Ok(work.await),
        }
    }
}

/// The encoding of an answer's body, of which none was asked for: nothing is ever decompressed.
pub(crate) fn unasked_encoding(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .find(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
}

/// Why no whole answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Transport {
    /// The name has no address.
    #[error(
        "the name {host} could not be resolved ({reason}); check this machine's DNS, or whether it needs a `proxy`"
    )]
    Dns {
        /// Whose.
        host: String,
        /// Why.
        reason: String,
    },
    /// No TCP connection.
    #[error("no connection to {host} ({reason}); check routes and firewalls, or whether it needs a `proxy`")]
    Connect {
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// The proxy was not there, or would not make the tunnel.
    #[error(
        "the proxy ({proxy}) made no connection to {host} ({reason}); check that it runs and allows this host on this port"
    )]
    Proxy {
        /// Which, without credentials.
        proxy: String,
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// 407.
    #[error(
        "the proxy ({proxy}) wants other credentials (407 Proxy Authentication Required) before it connects to {host}; put them into the \
         proxy's URL, http://USER:PASSWORD@HOST:PORT; if it also inspects TLS, its CA belongs into `ca_file`"
    )]
    ProxyAuthentication {
        /// Which, without credentials.
        proxy: String,
        /// With whom.
        host: String,
    },
    /// The server's chain ends at nobody we know.
    #[error(
        "{host} showed a certificate of an unknown CA ({reason}), so nothing was sent; if a proxy inspects TLS on the way, or this is a private \
         endpoint, put that CA's certificate into a file and name it as `ca_file`; if not, someone else answers in its place"
    )]
    UnknownCa {
        /// Who.
        host: String,
        /// The library's words.
        reason: String,
    },
    /// The server's certificate is another's.
    #[error(
        "{host} showed a certificate of another name ({reason}), so nothing was sent; check the host in the configuration, DNS and proxies"
    )]
    WrongName {
        /// Who.
        host: String,
        /// Which name.
        reason: String,
    },
    /// The server's certificate is over.
    #[error(
        "{host} showed an expired server certificate ({reason}), so nothing was sent; check this machine's clock first, then tell its operator"
    )]
    ServerCertificateExpired {
        /// Who.
        host: String,
        /// Since when.
        reason: String,
    },
    /// The server's certificate lies in the future.
    #[error(
        "{host} showed a server certificate that is not valid yet ({reason}), so nothing was sent; check this machine's clock"
    )]
    ServerCertificateNotYetValid {
        /// Who.
        host: String,
        /// From when.
        reason: String,
    },
    /// Another reason not to believe the server's certificate.
    #[error("{host} showed a server certificate that cannot be accepted ({reason}), so nothing was sent")]
    ServerCertificate {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
    /// TLS failed for another reason.
    #[error(
        "no TLS connection with {host} ({reason}); check that it speaks TLS 1.2 or 1.3 there, and what stands between"
    )]
    Tls {
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// A limit was reached.
    #[error("{phase} {}", span(*.after))]
    TimedOut {
        /// Which.
        phase: Phase,
        /// How long it is.
        after: Duration,
    },
    /// The connection broke before an answer.
    #[error("{host} closed the connection before it answered ({reason})")]
    Closed {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
    /// What came is no HTTP.
    #[error(
        "what {host} sent is no HTTP answer that can be read ({reason}); check host and port, and what stands between"
    )]
    NotHttp {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
}

impl Transport {
    /// Whether it may pass by itself within seconds. A certificate or a proxy's demand does not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Dns { .. }
                | Self::Connect { .. }
                | Self::Proxy { .. }
                | Self::Tls { .. }
                | Self::Closed { .. }
                | Self::TimedOut { phase: Phase::Connect | Phase::Head | Phase::Body | Phase::Whole, .. }
        )
    }

    /// What reqwest's error means. `host` and `proxy` are how they are shown; `clean` makes the libraries' texts fit to be
    /// shown (a server's certificate can bring any name into them).
    #[must_use]
    pub fn of(
        error: &reqwest::Error,
        host: &str,
        proxy: Option<&str>,
        limits: Limits,
        clean: &dyn Fn(&str) -> String,
    ) -> Self {
        let host = host.to_owned();
        if error.is_connect() && error.is_timeout() {
            return Self::TimedOut { phase: Phase::Connect, after: limits.connect };
        }
        let reason = clean(&root_cause(error));
        // hyper-util does not export its tunnel's error, so its words are read; the tests with a real proxy notice a change.
        if let Some(tunnel) = causes(error).map(ToString::to_string).find(|text| text.starts_with("tunnel error: ")) {
            let proxy = proxy.unwrap_or("that of HTTPS_PROXY or ALL_PROXY in the environment").to_owned();
            return if tunnel.ends_with("proxy authorization required") {
                Self::ProxyAuthentication { proxy, host }
            } else if tunnel.ends_with("unsuccessful") {
                Self::Proxy {
                    proxy,
                    host,
                    reason: "it refused the CONNECT request, as some do for wrong credentials too".into(),
                }
            } else {
                Self::Proxy { proxy, host, reason }
            };
        }
        if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls, host, reason);
        }
        if error.is_dns() || causes(error).any(|cause| cause.to_string() == "dns error") {
            return Self::Dns { host, reason };
        }
        if error.is_connect() {
            return Self::Connect { host, reason };
        }
        match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
            Some(http) if http.is_parse() => Self::NotHttp { host, reason },
            _ => Self::Closed { host, reason },
        }
    }

    fn of_tls(error: &rustls::Error, host: String, reason: String) -> Self {
        use CertificateError as Certificate;
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                // A CA that only bears the name of one we know shows as a bad signature.
                Certificate::UnknownIssuer | Certificate::BadSignature => Self::UnknownCa { host, reason },
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    Self::WrongName { host, reason }
                }
                Certificate::Expired | Certificate::ExpiredContext { .. } => {
                    Self::ServerCertificateExpired { host, reason }
                }
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                    Self::ServerCertificateNotYetValid { host, reason }
                }
                _ => Self::ServerCertificate { host, reason },
            },
            _ => Self::Tls { host, reason },
        }
    }
}

/// An error and what caused it. `io::Error` hides what it wraps from `source`, so that is looked into.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// Whether a body broke off, rather than being unreadable.
#[must_use]
pub fn broke_off(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some()
            || cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|http| http.is_incomplete_message() || http.is_closed() || http.is_canceled())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn only_https_or_loopback_without_credentials_is_asked() {
        for good in ["https://api.example", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost/"] {
            judge_url(&url(good)).unwrap();
        }
        for bad in [
            "http://api.example",
            "http://localhost.example",
            "ftp://127.0.0.1",
            "https://user:hunter2@api.example",
            "https://api.example?token=hunter2",
            "data:text/plain,hunter2",
        ] {
            let refused = judge_url(&url(bad)).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_proxy_of_another_scheme_is_refused_without_its_password() {
        let refused = proxy_for_https(&url("socks5://user:hunter2@proxy.example:1080")).unwrap_err();
        assert!(refused.to_string().contains("socks5://proxy.example:1080"), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }

    #[test]
    fn a_ca_file_is_believed_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let pem = rcgen::generate_simple_self_signed(vec!["ca.example".into()]).unwrap().cert.pem();
        for (text, reason) in [
            (String::new(), "no certificate"),
            ("not PEM at all".into(), "no certificate"),
            (pem.replace("-----END", "----END"), "PEM"),
            (format!("{pem} {pem}"), "only 1 of its 2"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), "certificate 1 cannot be a root"),
            ("x".repeat(1_100_000), "more than"),
        ] {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, &text).unwrap();
            let refused = tls_config(Some(&path)).unwrap_err().to_string();
            assert!(refused.contains(reason) && refused.contains("ca.pem"), "{refused}");
        }
        let missing = tls_config(Some(&folder.path().join("missing.pem"))).unwrap_err().to_string();
        assert!(missing.contains("missing.pem") && missing.contains("No such file"), "{missing}");
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, format!("{pem}{pem}")).unwrap();
        tls_config(Some(&path)).unwrap();
    }
}
