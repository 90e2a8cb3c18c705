//! Outbound HTTP, built in one place: whom we believe (the system's roots and `ca_file`), through which proxy, and how
//! long we wait. Redirects are never followed and nothing is ever decompressed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::CertificateResult;
use url::{Host, Url};

mod exchange;
pub(crate) mod retry;

use crate::bounded::read_at_most;
use crate::trust::formats::{archive, pem};
use exchange::root_cause;
pub use exchange::{ConnectionFailure, Phase, Transport};
pub(crate) use exchange::{Stop, Stopwatch, causes, redirect, unasked_encoding};

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

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), read: seconds(20), whole: seconds(60) }
    }
}

/// The client could not be built: a matter of configuration, found before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// No roots to believe.
    #[error(
        "no root certificates for HTTPS were found, neither the system's ({system}) nor by `ca_file` (not set): no \
         server could be believed, so nothing was asked; install ca-certificates, or name a PEM file of roots as \
         `ca_file`"
    )]
    NoRoots {
        /// What looking for the system's gave.
        system: String,
    },
    /// `ca_file` cannot be used.
    #[error(
        "ca_file {} cannot be used: {reason}; it must be a readable file, PEM, DER or zip, of the CA certificates to \
         believe for HTTPS",
        path.display()
    )]
    CaFile {
        /// The configured file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL cannot be asked.
    #[error("{url} cannot be used as a base URL: {reason}")]
    Url {
        /// The URL, less its userinfo.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `proxy` cannot be used.
    #[error("proxy {proxy} cannot be used: {reason}; it must be http://HOST:PORT or https://HOST:PORT")]
    Proxy {
        /// The proxy, less its userinfo.
        proxy: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS or HTTP library refused to build it.
    #[error("the HTTPS client could not be built: {0}")]
    Library(String),
}

/// Builds the client by which `for_urls` are asked. `proxy` stands instead of HTTPS_PROXY and NO_PROXY of the
/// environment.
pub fn build(
    for_urls: &[&Url],
    ca_file: Option<&Path>,
    proxy: Option<&Url>,
    limits: Limits,
) -> Result<reqwest::Client, OutboundError> {
    for url in for_urls {
        check_url(url)?;
    }
    let mut builder = builder(ca_file, limits)?;
    if for_urls.iter().any(|url| url.scheme() == "http") {
        // Loopback alone may be asked in the open; an HTTP_PROXY would carry the token off the machine.
        builder = builder.no_proxy();
    }
    if let Some(of_environment) = excepting_ports(for_urls)? {
        builder = builder.no_proxy().proxy(of_environment);
    }
    if let Some(url) = proxy {
        // Loopback in the open never goes through a proxy, so https is all that it may carry.
        builder = builder.no_proxy().proxy(proxy_for(url, reqwest::Proxy::https)?);
    }
    finish(builder)
}

/// The proxy of the environment where NO_PROXY has exceptions by port (`api.example:443`), which reqwest passes over.
fn excepting_ports(for_urls: &[&Url]) -> Result<Option<reqwest::Proxy>, OutboundError> {
    let set = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok().filter(|set| !set.is_empty()));
    let Some(exceptions) = set(["NO_PROXY", "no_proxy"]).and_then(|set| without_ports(&set, for_urls)) else {
        return Ok(None);
    };
    let Some(proxy) = set(["HTTPS_PROXY", "https_proxy"]).or_else(|| set(["ALL_PROXY", "all_proxy"])) else {
        return Ok(None);
    };
    let refused = |_| OutboundError::Proxy { proxy: "of the environment".into(), reason: "it is not a URL".into() };
    let proxy = reqwest::Proxy::https(proxy).map_err(refused)?;
    Ok(Some(proxy.no_proxy(reqwest::NoProxy::from_string(&exceptions))))
}

/// The exceptions with those by port as exceptions by host, where that host is asked at that port; `None` if there are
/// none by port.
fn without_ports(exceptions: &str, for_urls: &[&Url]) -> Option<String> {
    let mut by_port = false;
    let mut kept = Vec::new();
    for exception in exceptions.split(',').map(str::trim) {
        let split = exception.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        // An address of version 6 is in brackets before a port.
        match split.filter(|(host, _)| !host.contains(':') || host.ends_with(']')) {
            None => kept.push(exception),
            Some((host, port)) => {
                by_port = true;
                let suffix = host.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
                let is_meant = |url: &&Url| {
                    let asked = url.host_str().unwrap_or_default();
                    let within = asked.strip_suffix(&suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                    url.port_or_known_default() == Some(port) && (within || host == "*")
                };
                if for_urls.iter().any(is_meant) {
                    kept.push(host.trim_start_matches('[').trim_end_matches(']'));
                }
            }
        }
    }
    by_port.then(|| kept.join(","))
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

/// The client. reqwest's own texts may hold a URL with its userinfo; its causes do not.
pub(crate) fn finish(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, OutboundError> {
    builder.build().map_err(|error| OutboundError::Library(root_cause(&error)))
}

/// Whether a base URL may be asked, with the client's secret and its token.
pub fn check_url(url: &Url) -> Result<(), OutboundError> {
    let refused = |reason| Err(OutboundError::Url { url: shown(url), reason });
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) => {}
        _ => {
            return refused(
                "it is not https, so that the secret and the token would travel in the open; http is for loopback \
                 addresses only",
            );
        }
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

/// A proxy for the schemes that `of` stands for.
pub(crate) fn proxy_for(
    url: &Url,
    of: impl FnOnce(String) -> reqwest::Result<reqwest::Proxy>,
) -> Result<reqwest::Proxy, OutboundError> {
    let refused = |reason: &str| OutboundError::Proxy { proxy: shown(url), reason: reason.into() };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("its scheme is neither http nor https"));
    }
    of(url.to_string()).map_err(|_| refused("it is not a proxy URL"))
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

/// The system's roots. Unless `SSL_CERT_FILE` or `SSL_CERT_DIR` say otherwise, its bundle alone is read: the folder
/// beside it holds the same roots again, in hundreds of files, which was a third of what a cycle costs.
fn system_roots() -> CertificateResult {
    let given = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    let bundle = BUNDLES.iter().map(Path::new).find(|path| !given && path.is_file());
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

/// As a file of anchors is read: PEM, whose other blocks are passed over, the DER of one certificate, or a zip of those.
fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes =
        File::open(path).and_then(|file| read_at_most(file, CA_FILE_BYTES)).map_err(|error| error.to_string())?;
    let mut certificates = Vec::new();
    if archive::is_zip(&bytes) {
        for file in archive::files(&bytes).map_err(|error| error.to_string())? {
            let read = read_unpacked(&file.content).map_err(|error| format!("in its file {}, {error}", file.name))?;
            certificates.extend(read);
        }
    } else {
        certificates = read_unpacked(&bytes)?;
    }
    if certificates.is_empty() {
        return Err("there is no certificate in it, neither as PEM nor as DER nor as a zip of them".into());
    }
    Ok(certificates)
}

fn read_unpacked(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // What stands between the blocks may be in any encoding.
    let text = String::from_utf8_lossy(bytes);
    if pem::count(&text) == 0 {
        let is_der = bytes.first() == Some(&0x30);
        return Ok(is_der.then(|| CertificateDer::from(bytes.to_vec())).into_iter().collect());
    }
    let mut certificates = Vec::new();
    for (at, block) in pem::scan(&text).into_iter().enumerate() {
        let der = block.bytes.map_err(|error| format!("PEM block {} cannot be read: {error}", at.saturating_add(1)))?;
        if block.label == "CERTIFICATE" {
            certificates.push(CertificateDer::from(der));
        }
    }
    Ok(certificates)
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
            check_url(&url(good)).unwrap();
        }
        for bad in [
            "http://api.example",
            "http://localhost.example",
            "ftp://127.0.0.1",
            "https://user:hunter2@api.example",
            "https://api.example?token=hunter2",
            "data:text/plain,hunter2",
        ] {
            let refused = check_url(&url(bad)).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_proxy_of_another_scheme_is_refused_without_its_password() {
        let refused = proxy_for(&url("socks5://user:hunter2@proxy.example:1080"), reqwest::Proxy::https).unwrap_err();
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
            (pem.replace("-----END", "----END"), "PEM block 1 cannot be read"),
            (format!("{pem}{}", pem.replace("-----END", "----END")), "PEM block 2 cannot be read"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), "certificate 1 cannot be a root"),
            ("x".repeat(1_100_000), "larger than"),
        ] {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, &text).unwrap();
            let refused = tls_config(Some(&path)).unwrap_err().to_string();
            assert!(refused.contains(reason) && refused.contains("ca.pem"), "{refused}");
        }
        let missing = tls_config(Some(&folder.path().join("missing.pem"))).unwrap_err().to_string();
        assert!(missing.contains("missing.pem") && missing.contains("No such file"), "{missing}");
        let path = folder.path().join("ca.pem");
        let der = crate::trust::formats::pem::scan(&pem).remove(0).bytes.unwrap();
        let latin = [b"# M\xfcller\n", pem.as_bytes()].concat();
        for text in [format!("{pem}{pem}").as_bytes(), format!("\u{feff}{pem}").as_bytes(), &der, &latin] {
            std::fs::write(&path, text).unwrap();
            tls_config(Some(&path)).unwrap();
        }
    }

    #[test]
    fn an_exception_by_port_is_one_of_the_host_where_it_is_asked_at_that_port() {
        let (api, login) = (url("https://api.example.com"), url("https://[::1]:8443/x"));
        let urls = [&api, &login];
        for (exceptions, kept) in [
            ("api.example.com", None),
            ("::1, 10.0.0.0/8", None),
            ("api.example.com:443", Some("api.example.com")),
            ("a.b, example.com:443,*.c", Some("a.b,example.com,*.c")),
            (".example.com:443", Some(".example.com")),
            ("api.example.com:8443", Some("")),
            ("pi.example.com:443", Some("")),
            ("[::1]:8443", Some("::1")),
            ("*:443", Some("*")),
        ] {
            assert_eq!(without_ports(exceptions, &urls).as_deref(), kept, "{exceptions}");
        }
    }
}
