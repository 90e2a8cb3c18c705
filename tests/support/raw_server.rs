//! A scripted HTTPS server on loopback whose answers are bytes, so that broken ones are possible, and its own CA.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A CA that signs server certificates.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Ca {
    pub fn new() -> Self {
        Self::named("trustsync test CA")
    }

    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server with a certificate of `name` that expires in `year`.
    pub fn server(&self, name: &str, year: i32) -> Tls {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Tls { certificate: certificate.der().clone(), key: key.serialize_der() }
    }
}

/// A server's certificate and key.
pub struct Tls {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Tls {
    fn acceptor(self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub head: String,
    pub body: String,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One step of an answer.
#[derive(Clone)]
pub enum Step {
    Bytes(Vec<u8>),
    Wait(Duration),
    /// These bytes, so many times, as fast as they are taken.
    Repeat(Vec<u8>, usize),
    /// The connection is dropped as it is, without TLS's goodbye.
    Drop,
    /// The connection is ended in order.
    End,
}

/// An answer with a Content-Length; the connection stays.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    vec![Step::Bytes(text.into_bytes())]
}

/// An answer of JSON.
pub fn json(body: &str) -> Vec<Step> {
    answer("200 OK", "Content-Type: application/json\r\nDate: Mon, 23 Nov 2026 15:00:00 GMT\r\n", body)
}

type Script = Arc<dyn Fn(&Request) -> Vec<Step> + Send + Sync>;

/// A running server; it ends with the test's runtime.
pub struct RawServer {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<Request>>>,
    pub connections: Arc<AtomicUsize>,
    pub sent: Arc<AtomicU64>,
}

impl RawServer {
    /// Starts one that answers as `script` says; without `tls` it accepts and never says a word.
    pub async fn start(tls: Option<Tls>, script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            sent: Arc::default(),
        };
        let (requests, connections, sent) = (server.requests.clone(), server.connections.clone(), server.sent.clone());
        let script: Script = Arc::new(script);
        let acceptor = tls.map(Tls::acceptor);
        tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                connections.fetch_add(1, Ordering::SeqCst);
                let Some(acceptor) = acceptor.clone() else {
                    silent.push(stream);
                    continue;
                };
                let (script, requests, sent) = (script.clone(), requests.clone(), sent.clone());
                tokio::spawn(async move {
                    // A client that refuses the certificate ends here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = serve(stream, &script, &requests, &sent).await;
                    }
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The targets that were asked for, in order.
    pub fn targets(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.target.clone()).collect()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: &Script,
    requests: &Mutex<Vec<Request>>,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        requests.lock().unwrap().push(request.clone());
        for step in script(&request) {
            match step {
                Step::Bytes(bytes) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                    sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                }
                Step::Wait(duration) => tokio::time::sleep(duration).await,
                Step::Repeat(bytes, times) => {
                    for _ in 0..times {
                        stream.write_all(&bytes).await?;
                        sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                    }
                    stream.flush().await?;
                }
                Step::Drop => return Ok(()),
                Step::End => return stream.shutdown().await,
            }
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let mut wanted = None;
    loop {
        if wanted.is_none()
            && let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
                })
                .unwrap_or(0);
            wanted = Some((head, end + 4, length));
        }
        if let Some((head, start, length)) = &wanted
            && buffer.len() >= start + length
        {
            let body = String::from_utf8_lossy(&buffer[*start..start + length]).into_owned();
            let mut words = head.split_whitespace();
            let request = Request {
                method: words.next().unwrap_or_default().to_owned(),
                target: words.next().unwrap_or_default().to_owned(),
                head: head.clone(),
                body,
            };
            buffer.drain(..start + length);
            return Ok(Some(request));
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&piece[..read]),
        }
    }
}
