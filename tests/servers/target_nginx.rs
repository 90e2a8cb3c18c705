//! A target that is a real nginx: checked where the new generation will stand, told by a signal, proven on the wire, and
//! found out where it does not enforce what it loaded. Where nginx cannot be made to misbehave to the millisecond, a
//! scripted TLS server stands in for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use support::nginx::Nginx;
use support::nginx_stage;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use trustsync::marker::mint;
use trustsync::settings::resolved::{
    self as settings, Addressee, Check, CheckWay, GenerationEvidence, ProxyProtocol, Reload, Signal, WireProof,
};
use trustsync::targets::check::{self, CheckOutcome, View};
use trustsync::targets::enforcement::{self, Enforcement};
use trustsync::targets::kind::Kind;
use trustsync::targets::nginx::{NGINX, Nginx as NginxKind, snippet};
use trustsync::targets::process::Environment;
use trustsync::targets::proof::{NOT_OURS, Patience, ProofReport, Wanted, of_generation, prove};
use trustsync::targets::reload::{ReloadReport, request};
use trustsync::trust::turn::Proof;
use trustsync::trust::values::marker_name::MarkerName;
use x509_parser::prelude::{FromDer, X509Certificate};

const STORE: &str = "store-1";
const KIND: Kind = &NGINX;
const LIMIT: Duration = Duration::from_secs(30);

/// A store written by hand: generations with a bundle, a marker and nginx's files, and one target's link.
struct Store {
    dir: TempDir,
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A client certificate and its key, as files for openssl.
struct Leaf {
    path: PathBuf,
    sha1: String,
}

impl Store {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "A public CA");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca_pem = parameters.self_signed(&key).unwrap().pem();
        Self { dir: tempfile::tempdir().unwrap(), ca: Issuer::new(parameters, key), ca_pem }
    }

    fn leaf(&self, name: &str) -> Leaf {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.ca).unwrap();
        let path = self.dir.path().join(format!("{name}.pem"));
        fs::write(&path, certificate.pem() + &key.serialize_pem()).unwrap();
        let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
        Leaf { path, sha1: trustsync::trust::values::fingerprint::hex(sha1.as_ref()) }
    }

    fn generation(&self, number: u64, pins: &[&Leaf]) -> PathBuf {
        let folder = self.dir.path().join(format!("generations/{number:06}"));
        fs::create_dir_all(folder.join("nginx")).unwrap();
        let marker = trustsync_pem(&mint(&marker_of(number)).unwrap());
        fs::write(folder.join("trust-bundle.pem"), format!("{}{marker}", self.ca_pem)).unwrap();
        let lines: String = pins.iter().map(|pin| format!("\"~^SUCCESS\\|{}\\|\" \"current\";\n", pin.sha1)).collect();
        fs::write(folder.join("nginx/admit.map"), lines).unwrap();
        fs::write(folder.join("nginx/generation.map"), format!("default \"{number:06}\";\n")).unwrap();
        folder
    }

    fn link(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("target/nginx")
    }

    fn switch_to(&self, number: u64) {
        let link = self.link();
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let fresh = link.with_extension("new");
        symlink(format!("../generations/{number:06}"), &fresh).unwrap();
        fs::rename(fresh, link).unwrap();
    }

    fn nginx_dir(&self) -> PathBuf {
        self.dir.path().join("nginx")
    }

    /// Both snippets, as shipped.
    fn wired(&self) -> String {
        nginx_stage::wired(&self.link())
    }
}

fn trustsync_pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn marker_of(generation: u64) -> MarkerName {
    MarkerName { store_id: STORE.into(), generation, digest_head: "0123abcd".into() }
}

fn wanted(generation: u64) -> Wanted {
    Wanted {
        store_id: STORE.into(),
        generation,
        digest_head: "0123abcd".into(),
        environment: no_environment(),
        directory: "/nowhere".into(),
    }
}

fn wire(connect: &[String]) -> WireProof {
    WireProof {
        connect: connect.to_vec(),
        server_name: Some("api.example.com".into()),
        generation: GenerationEvidence::Header,
        marker: true,
        path: "/".into(),
        proxy_protocol: None,
    }
}

fn seen_by(wire: WireProof) -> settings::ProofMethods {
    settings::ProofMethods {
        wire: Some(wire),
        settle: Duration::from_millis(500),
        timeout: LIMIT,
        ..settings::ProofMethods::default()
    }
}

async fn proof_of(nginx: &Nginx, generation: u64, patience: Patience) -> Proof {
    prove(KIND, &seen_by(wire(&[nginx.address()])), &wanted(generation), patience).await.proof
}

fn no_environment() -> Environment {
    Environment::default()
}

/// The status line's code that a client gets, by openssl.
fn admitted(nginx: &Nginx, leaf: Option<&Leaf>, version: &str) -> String {
    let address = nginx.address();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", &address, "-servername", "api.example.com", version]);
    if let Some(leaf) = leaf {
        client.arg("-cert").arg(&leaf.path).arg("-key").arg(&leaf.path);
    }
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(client.stdin.as_mut().unwrap(), request).unwrap();
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1).unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn a_rotation_is_refuted_until_nginx_is_told_and_proven_after() {
    let store = Store::new();
    let (first, second, stranger) = (store.leaf("first"), store.leaf("second"), store.leaf("stranger"));
    store.generation(1, &[&first]);
    store.generation(2, &[&second]);
    store.switch_to(1);
    let nginx = Nginx::start(&store.nginx_dir(), &store.wired());
    let cast =
        |version| [Some(&first), Some(&second), Some(&stranger), None].map(|leaf| admitted(&nginx, leaf, version));
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(cast(version), ["200", "403", "403", "400"], "{version}");
    }
    assert_eq!(proof_of(&nginx, 1, Patience::LongRunning).await, Proof::Proven);

    store.switch_to(2);
    let old = of_generation("the chain", 1);
    assert_eq!(proof_of(&nginx, 2, Patience::LongRunning).await, old);
    let impatient = settings::ProofMethods { timeout: Duration::from_millis(700), ..seen_by(wire(&[nginx.address()])) };
    assert_eq!(prove(KIND, &impatient, &wanted(2), Patience::JustReloaded).await.proof, old);

    let reload = Reload::Signal {
        signal: Signal::Hup,
        to: Addressee::Pidfile { pidfile: nginx.pidfile(), process: "nginx".into() },
    };
    let told = request(&reload, &no_environment(), LIMIT).await.unwrap();
    assert!(matches!(told, ReloadReport::Signalled { signal: Signal::Hup, .. }));
    assert_eq!(proof_of(&nginx, 2, Patience::JustReloaded).await, Proof::Proven);
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(cast(version), ["403", "200", "403", "400"], "{version}");
    }
}

#[tokio::test]
async fn what_a_server_does_not_show_is_told_apart() {
    let store = Store::new();
    store.generation(3, &[]);
    store.switch_to(3);
    fs::write(store.dir.path().join("other.pem"), &store.ca_pem).unwrap();
    let link = store.link();
    let server =
        |inner: &str| format!("server {{ listen 127.0.0.1:@PORT@ ssl; {inner} location / {{ return 200 in; }} }}");
    let bundle = format!("ssl_client_certificate {}/trust-bundle.pem; ssl_verify_client on;", link.display());

    let nginx =
        Nginx::start(&store.nginx_dir(), &server("ssl_client_certificate @DIR@/../other.pem; ssl_verify_client on;"));
    let began = Instant::now();
    assert_eq!(proof_of(&nginx, 3, Patience::JustReloaded).await, Proof::NotWired(NOT_OURS.to_owned()));
    // A second and a bit, where the machine has time for it.
    assert!(began.elapsed() < LIMIT * 2 / 3, "no need to wait the whole time");

    let reload_with = async |http: &str, expected: &str| {
        nginx.rewrite(http);
        nginx.reload();
        let proof = proof_of(&nginx, 3, Patience::JustReloaded).await.to_string();
        assert!(proof.starts_with(expected), "{proof}");
    };
    reload_with(&server(""), "unverifiable: the server does not ask").await;
    reload_with(&server(&bundle), "chain only: the allowlist's generation header X-Trustsync-Generation is absent")
        .await;
    reload_with(&format!("{}{}", snippet::http(&link), server(&bundle)), "chain only: the allowlist's").await;
    reload_with(&server(&format!("{bundle} add_header X-Trustsync-Generation 000003 always;")), "proven").await;

    let configured_without = WireProof { generation: GenerationEvidence::None, ..wire(&[nginx.address()]) };
    let proof = prove(KIND, &seen_by(configured_without.clone()), &wanted(3), Patience::LongRunning).await.proof;
    assert!(matches!(proof, Proof::ChainOnly(_)), "{proof}");

    nginx.rewrite(&server(&format!("{bundle} add_header X-Trustsync-Generation 000002 always;")));
    nginx.reload();
    let impatient = settings::ProofMethods { timeout: Duration::from_secs(3), ..seen_by(wire(&[nginx.address()])) };
    let proof = prove(KIND, &impatient, &wanted(3), Patience::JustReloaded).await.proof;
    assert_eq!(proof, of_generation("the allowlist", 2));
}

#[tokio::test]
async fn without_the_marker_the_allowlist_proves_itself_alone() {
    let store = Store::new();
    let generation = store.generation(3, &[]);
    fs::write(generation.join("chain.pem"), &store.ca_pem).unwrap();
    store.switch_to(3);
    let wired = store.wired().replace("trust-bundle.pem", "chain.pem");
    let nginx = Nginx::start(&store.nginx_dir(), &wired);
    let without = WireProof { marker: false, ..wire(&[nginx.address()]) };
    let of = async |wire: &WireProof, generation| {
        let short = settings::ProofMethods { timeout: Duration::from_secs(2), ..seen_by(wire.clone()) };
        prove(KIND, &short, &wanted(generation), Patience::JustReloaded).await.proof.to_string()
    };
    assert!(of(&without, 3).await.starts_with("allowlist only: "), "{}", of(&without, 3).await);
    assert_eq!(of(&without, 4).await, "refuted: the allowlist is of generation 000003");
    assert!(of(&wire(&[nginx.address()]), 3).await.starts_with("not wired: "));
    let blind = WireProof { generation: GenerationEvidence::None, ..without };
    assert!(of(&blind, 3).await.starts_with("unverifiable: "), "{}", of(&blind, 3).await);
}

#[tokio::test]
async fn a_server_behind_a_proxy_is_asked_as_that_proxy_asks() {
    let store = Store::new();
    store.generation(3, &[]);
    store.switch_to(3);
    let wired = store.wired().replace("@PORT@ ssl", "@PORT@ ssl proxy_protocol");
    let nginx = Nginx::start(&store.nginx_dir(), &wired);
    let of = async |proxy_protocol| {
        let wire = WireProof { proxy_protocol, ..wire(&[nginx.address()]) };
        prove(KIND, &seen_by(wire), &wanted(3), Patience::LongRunning).await.proof.to_string()
    };
    assert_eq!(of(Some(ProxyProtocol::V1)).await, "proven");
    assert_eq!(of(Some(ProxyProtocol::V2)).await, "proven");
    let unset = of(None).await;
    assert!(unset.starts_with("unverifiable: ") && unset.contains("proof.proxy_protocol"), "{unset}");
}

fn tested(argv: &[String]) -> Check<'_> {
    Check { argv, way: CheckWay::Test }
}

#[tokio::test]
async fn a_generation_is_checked_in_private_before_any_switch() {
    let store = Store::new();
    store.generation(1, &[]);
    let good = store.generation(2, &[]);
    let broken = store.generation(3, &[]);
    fs::write(broken.join("nginx/admit.map"), "}\n").unwrap();
    store.switch_to(1);
    let nginx = Nginx::start(&store.nginx_dir(), &store.wired());
    let argv = nginx.check_command();
    let checked = async |view: View<'_>| check::run(tested(&argv), view, &no_environment(), LIMIT).await;
    let in_private = async |new: &Path| checked(View::Private { new, link: &store.link() }).await;

    assert_eq!(in_private(&good).await, CheckOutcome::Passed);
    let CheckOutcome::Failed { output } = in_private(&broken).await else { panic!("a stray brace passed") };
    assert!(output.contains("unexpected \"}\"") && output.contains("admit.map"), "{output}");
    assert_eq!(checked(View::AsItStands).await, CheckOutcome::Passed);
    assert_eq!(in_private(&good).await, CheckOutcome::Passed);

    store.switch_to(3);
    let in_place = checked(View::AsItStands).await;
    assert!(matches!(in_place, CheckOutcome::Failed { .. }), "{in_place:?}");
}

#[tokio::test]
async fn the_private_view_is_seen_by_the_check_alone() {
    let store = Store::new();
    for number in [1, 2] {
        fs::write(store.generation(number, &[]).join("mark"), number.to_string()).unwrap();
    }
    store.switch_to(1);
    let mark = store.link().join("mark");
    let folder = store.dir.path();
    let script = format!(
        "cat {} > {dir}/part && mv {dir}/part {dir}/seen && while [ ! -e {dir}/go ]; do sleep 0.01; done; exit 3",
        mark.display(),
        dir = folder.display()
    );
    let argv = ["sh", "-c", &script].map(String::from);
    let (environment, link) = (no_environment(), store.link());
    let new = folder.join("generations/000002");
    let check = check::run(tested(&argv), View::Private { new: &new, link: &link }, &environment, LIMIT);
    let outside = async {
        while !folder.join("seen").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seen_outside = fs::read_to_string(&mark).unwrap();
        fs::write(folder.join("go"), "").unwrap();
        seen_outside
    };
    let (outcome, seen_outside) = tokio::join!(check, outside);
    assert_eq!(seen_outside, "1");
    assert_eq!(fs::read_to_string(folder.join("seen")).unwrap(), "2");
    assert_eq!(outcome, CheckOutcome::Failed { output: "exit code 3".into() });
}

#[tokio::test]
async fn a_private_view_that_cannot_be_made_is_not_a_verdict() {
    let store = Store::new();
    let new = store.generation(1, &[]);
    let ran = store.dir.path().join("ran");
    let check = ["touch".to_owned(), ran.display().to_string()];
    let private = async |new: &Path, argv: &[String]| {
        check::run(tested(argv), View::Private { new, link: &store.link() }, &no_environment(), LIMIT).await
    };

    assert!(matches!(private(&new, &check).await, CheckOutcome::PrivateUnavailable(_)), "there is no link yet");
    store.switch_to(1);
    let file = new.join("trust-bundle.pem");
    let outcome = private(&file, &check).await;
    assert!(matches!(&outcome, CheckOutcome::PrivateUnavailable(reason) if reason.contains("mount")), "{outcome:?}");
    assert!(!ran.exists());
    assert!(matches!(private(&new, &["/does/not/exist".into()]).await, CheckOutcome::CouldNotRun(_)));
    assert!(matches!(private(&new, &[]).await, CheckOutcome::CouldNotRun(_)));
    assert_eq!(private(&new, &check).await, CheckOutcome::Passed);
    assert!(ran.exists());
}

#[tokio::test]
async fn an_allowlist_that_is_loaded_but_never_asked_is_found_out() {
    let store = Store::new();
    store.generation(1, &[]);
    store.switch_to(1);
    let nginx = Nginx::start(&store.nginx_dir(), &store.wired());
    let judged = async |http: &str| {
        fs::create_dir_all(nginx.dir().join("sites")).unwrap();
        nginx.rewrite(http);
        enforcement::read(&NginxKind, &nginx.check_command(), &store.link(), &no_environment(), LIMIT).await
    };
    assert_eq!(judged(&store.wired()).await, Enforcement::Enforced { notes: vec![] });

    let never_asks = store.wired().replace(
        "if ($trustsync_admit = \"\") {\n    return 403;\n}",
        "# if ($trustsync_admit = \"\") { return 403; }\n",
    );
    let Enforcement::NotEnforced { servers, .. } = judged(&never_asks).await else { panic!() };
    assert_eq!(servers.len(), 1);
    assert!(servers[0].contains("api.example.com") && servers[0].ends_with("nginx.conf"), "{servers:?}");

    // The same through files of one's own, relative and by a pattern.
    fs::write(nginx.dir().join("http.conf"), snippet::http(&store.link())).unwrap();
    fs::write(nginx.dir().join("server.conf"), snippet::server(&store.link())).unwrap();
    let site =
        |port: u16, inner: &str| format!("server {{ listen 127.0.0.1:{port} ssl; server_name site{port}; {inner} }}");
    fs::write(nginx.dir().join("sites/a.conf"), site(nginx.port(), "include server.conf;")).unwrap();
    let through_files = "include http.conf; include sites/*.conf;";
    assert_eq!(judged(through_files).await, Enforcement::Enforced { notes: vec![] });
    let open = format!("ssl_verify_client on; ssl_client_certificate {}/trust-bundle.pem;", store.link().display());
    fs::write(nginx.dir().join("sites/b.conf"), site(nginx.port(), &open)).unwrap();
    let Enforcement::NotEnforced { servers, .. } = judged(through_files).await else { panic!() };
    assert!(servers.len() == 1 && servers[0].ends_with("sites/b.conf"), "{servers:?}");

    assert_eq!(judged("server { listen 127.0.0.1:@PORT@; }").await, Enforcement::NotIncluded);
    let broken = judged("server { listen 127.0.0.1:@PORT@; } }").await;
    assert!(matches!(&broken, Enforcement::NotSeen(reason) if reason.contains("unexpected \"}\"")), "{broken:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_unreachable() {
    let closed = format!("127.0.0.1:{}", support::port::free_port());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talkative = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talkative_address = talkative.local_addr().unwrap().to_string();
    let no_tls = tokio::spawn(async move {
        while let Ok((mut connection, _)) = talkative.accept().await {
            let _ = connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    for connect in [
        closed,
        silent.local_addr().unwrap().to_string(),
        talkative_address,
        "no.such.host.invalid:1".into(),
        "nonsense".into(),
    ] {
        let settings = settings::ProofMethods {
            timeout: Duration::from_millis(400),
            ..seen_by(wire(std::slice::from_ref(&connect)))
        };
        for patience in [Patience::JustReloaded, Patience::LongRunning] {
            let report = prove(KIND, &settings, &wanted(1), patience).await;
            assert!(matches!(report.proof, Proof::Unreachable(_)), "{connect}: {report:?}");
        }
    }
    assert!(matches!(
        prove(KIND, &seen_by(wire(&[])), &wanted(1), Patience::LongRunning).await.proof,
        Proof::Unverifiable(_)
    ));
    no_tls.abort();
}

/// A TLS server that serves at each moment the generation its script says, in both parts.
struct Scripted {
    address: String,
    began: Instant,
    task: JoinHandle<()>,
}

/// Advertises these names, and insists on a certificate or not.
#[derive(Debug)]
struct Advertise {
    names: Vec<DistinguishedName>,
    mandatory: bool,
}

impl ClientCertVerifier for Advertise {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        panic!("the proof presented a certificate")
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("the proof presented a certificate")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("the proof presented a certificate")
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Scripted {
    async fn start(
        versions: &'static [&'static SupportedProtocolVersion],
        mandatory: bool,
        script: impl FnMut(u32, Duration) -> Vec<u64> + Send + 'static,
    ) -> Self {
        let answer = |generation| {
            format!("HTTP/1.1 403 Forbidden\r\nX-Trustsync-Generation: {generation:06}\r\n\r\n").into_bytes()
        };
        Self::start_that_answers(versions, mandatory, script, answer).await
    }

    async fn start_that_answers(
        versions: &'static [&'static SupportedProtocolVersion],
        mandatory: bool,
        mut script: impl FnMut(u32, Duration) -> Vec<u64> + Send + 'static,
        answer: fn(u64) -> Vec<u8>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let began = Instant::now();
        let task = tokio::spawn(async move {
            let mut connections = 0;
            while let Ok((connection, _)) = listener.accept().await {
                connections += 1;
                let generations = script(connections, began.elapsed());
                let names = generations
                    .iter()
                    .map(|generation| {
                        let marker = mint(&marker_of(*generation)).unwrap();
                        let raw = X509Certificate::from_der(&marker).unwrap().1.subject().as_raw().to_vec();
                        DistinguishedName::from(raw)
                    })
                    .collect();
                let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_protocol_versions(versions)
                    .unwrap()
                    .with_client_cert_verifier(Arc::new(Advertise { names, mandatory }))
                    .with_single_cert(
                        vec![identity.cert.der().clone()],
                        PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap(),
                    )
                    .unwrap();
                if let Ok(mut tls) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(connection).await {
                    let _ = tls.read(&mut [0; 1024]).await;
                    let _ = tls.write_all(&answer(*generations.first().unwrap_or(&0))).await;
                    let _ = tls.shutdown().await;
                }
            }
        });
        Self { address, began, task }
    }

    async fn prove(&self, timeout: Duration, patience: Patience) -> ProofReport {
        self.prove_settled(Duration::from_millis(500), timeout, patience).await
    }

    async fn prove_settled(&self, settle: Duration, timeout: Duration, patience: Patience) -> ProofReport {
        let settings = settings::ProofMethods { settle, timeout, ..seen_by(wire(std::slice::from_ref(&self.address))) };
        prove(KIND, &settings, &wanted(2), patience).await
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn an_old_answer_after_new_ones_begins_the_proof_anew() {
    // As nginx does: old, then new, and now and then an old one from a worker that has yet to end. It comes by count, not by
    // time, and long before the settling is over on any machine.
    let last_old = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&last_old);
    let server = Scripted::start(rustls::ALL_VERSIONS, false, move |count, at| match count {
        1 | 2 | 6 => {
            *noted.lock().unwrap() = Some((count, at));
            vec![1]
        }
        _ => vec![2],
    })
    .await;
    let settle = Duration::from_secs(3);
    let report = server.prove_settled(settle, LIMIT, Patience::JustReloaded).await;
    assert_eq!(report.proof, Proof::Proven);
    let (count, at) = last_old.lock().unwrap().unwrap();
    assert_eq!(count, 6, "it was asked on until the late one");
    let since = server.began.elapsed() - at;
    assert!(since >= settle, "proven {since:?} after it");
    assert!(report.places[0].observations >= 9, "six, and a streak: {report:?}");
}

#[tokio::test]
async fn a_server_that_never_settles_is_not_proven() {
    for patience in [Patience::JustReloaded, Patience::LongRunning] {
        let server =
            Scripted::start(rustls::ALL_VERSIONS, false, |count, _| vec![if count % 2 == 0 { 2 } else { 1 }]).await;
        let report = server.prove(Duration::from_secs(2), patience).await;
        assert!(matches!(report.proof, Proof::NotYet(_)), "{report:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_come_to_it_is_asked_less_and_less_often() {
    let server = Scripted::start(rustls::ALL_VERSIONS, false, |_, _| vec![1]).await;
    let report = server.prove(Duration::from_secs(3), Patience::JustReloaded).await;
    assert_eq!(report.proof, of_generation("the chain", 1));
    // At the pace of the beginning it would be a hundred. On a busy machine it may be few.
    assert!((2..60).contains(&report.places[0].observations), "{report:?}");
}

#[tokio::test]
async fn files_of_two_generations_put_together_are_not_the_wanted_one() {
    let server = Scripted::start(rustls::ALL_VERSIONS, false, |_, _| vec![2, 1]).await;
    let proof = server.prove(Duration::from_secs(1), Patience::LongRunning).await.proof;
    assert_eq!(proof, of_generation("the chain", 1));
}

#[tokio::test]
async fn a_server_that_breaks_off_without_a_certificate_still_proves_its_chain() {
    static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    for versions in [TLS12, TLS13] {
        let server = Scripted::start(versions, true, |_, _| vec![2]).await;
        let proof = server.prove(Duration::from_secs(5), Patience::JustReloaded).await.proof;
        assert!(matches!(&proof, Proof::ChainOnly(why) if why.contains("is absent")), "{versions:?}: {proof}");
        let relaxed = Scripted::start(versions, false, |_, _| vec![2]).await;
        assert_eq!(
            relaxed.prove(Duration::from_secs(5), Patience::JustReloaded).await.proof,
            Proof::Proven,
            "{versions:?}"
        );
    }
}

#[tokio::test]
async fn what_speaks_http_2_alone_is_proven_by_its_chain_and_by_other_ways() {
    // SETTINGS, as of any server of HTTP/2, and then GOAWAY for what we said.
    let settings = |_| b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\x01".to_vec();
    let server = Scripted::start_that_answers(rustls::ALL_VERSIONS, false, |_, _| vec![2], settings).await;
    let proof = server.prove(Duration::from_secs(5), Patience::JustReloaded).await.proof;
    assert!(matches!(&proof, Proof::AllowlistUnseen(why) if why.contains("HTTP/2")), "{proof}");
    let says = ["sh", "-c", "echo 000002"].map(String::from).to_vec();
    let both = settings::ProofMethods { command: Some(says), ..seen_by(wire(std::slice::from_ref(&server.address))) };
    assert_eq!(prove(KIND, &both, &wanted(2), Patience::LongRunning).await.proof, Proof::Proven);
}

#[tokio::test]
async fn all_addresses_must_agree() {
    let new = Scripted::start(rustls::ALL_VERSIONS, false, |_, _| vec![2]).await;
    let old = Scripted::start(rustls::ALL_VERSIONS, false, |_, _| vec![1]).await;
    let settings = seen_by(wire(&[new.address.clone(), old.address.clone()]));
    let report = prove(KIND, &settings, &wanted(2), Patience::LongRunning).await;
    let each = format!("{} is proven; {} is {}", new.address, old.address, of_generation("the chain", 1));
    assert_eq!(report.proof, Proof::Refuted(each), "each address is named");
    assert_eq!(report.places[0].proof, Proof::Proven);
    assert_eq!(report.places[1].place, old.address);
}
