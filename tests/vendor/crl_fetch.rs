//! The family of fetching CRLs: raw servers on loopback that answer whatever can be answered, whom we may be made to talk
//! to, and what stays in use when nothing comes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose as Ku, SerialNumber, date_time_ymd,
};
use support::raw_server::{self, Ca as TlsCa, RawServer, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use trustsync::crl_fetch::{
    Access, Answer, Cache, FetchFailure, Fetcher, LARGEST, Obtained, Trouble, Validators, look_up, obtain,
};
use trustsync::http_client::{ConnectionFailure, Limits, Phase, Transport};
use trustsync::store::Store;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::crl::Problem;

const SECONDS_10: Duration = Duration::from_secs(10);

/// A plain HTTP server: each request's head to the bytes of its answer, after which the connection ends.
struct Plain {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Plain {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let heads = server.heads.clone();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (heads, answer) = (heads.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8(head).unwrap();
                    let bytes = answer(&head);
                    heads.lock().unwrap().push(head);
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn short() -> Limits {
    Limits { connect: Duration::from_millis(500), read: Duration::from_millis(300), whole: Duration::from_millis(1500) }
}

fn private(limits: Limits) -> Fetcher {
    Fetcher::new(Access { allow_private: true, limits, ..Access::default() }).unwrap()
}

fn public() -> Fetcher {
    Fetcher::new(Access { limits: short(), ..Access::default() }).unwrap()
}

async fn fetch(fetcher: &Fetcher, url: &str) -> Result<Answer, FetchFailure> {
    fetcher.fetch(url, &Validators::default(), SECONDS_10).await
}

#[tokio::test]
async fn a_list_comes_by_http_with_what_it_is_asked_for_again_by() {
    let server = Plain::start(|_| answer("200 OK", "ETag: \"one\"\r\nLast-Modified: yesterday\r\n", b"list")).await;
    let answer = fetch(&private(short()), &server.url("/a.crl")).await.unwrap();
    let validators = Validators { etag: Some("\"one\"".into()), last_modified: Some("yesterday".into()) };
    assert_eq!(answer, Answer::New("list".into(), validators.clone()));
    let head = &server.heads()[0];
    assert!(head.starts_with("GET /a.crl HTTP/1.1\r\n"), "{head}");
    for never in ["cookie", "authorization", "referer", "accept-encoding", "if-"] {
        assert!(!head.to_ascii_lowercase().contains(&format!("\r\n{never}")), "{head}");
    }
    let _ = private(short()).fetch(&server.url("/a.crl"), &validators, SECONDS_10).await;
    let head = &server.heads()[1].to_ascii_lowercase();
    assert!(head.contains("if-none-match: \"one\"") && head.contains("if-modified-since: yesterday"), "{head}");
}

#[tokio::test]
async fn a_list_comes_by_https_from_whom_the_ca_file_vouches_for_alone() {
    let ca = TlsCa::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &ca.pem).unwrap();
    let tls = ca.server("127.0.0.1", 2100);
    let server = RawServer::start(Some(tls), |_| raw_server::answer("200 OK", "", "list")).await;
    let trusting = |path| Access { allow_private: true, ca_file: Some(path), limits: short(), ..Access::default() };
    let url = server.url() + "/a.crl";
    let got = fetch(&Fetcher::new(trusting(path)).unwrap(), &url).await.unwrap();
    assert_eq!(got, Answer::New("list".into(), Validators::default()));
    let other = folder.path().join("other.pem");
    std::fs::write(&other, TlsCa::named("stranger").pem).unwrap();
    let refused = fetch(&Fetcher::new(trusting(other)).unwrap(), &url).await.unwrap_err();
    assert!(
        matches!(refused, FetchFailure::Transport(Transport::Failed { failure: ConnectionFailure::UnknownCa, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn addresses_that_the_internet_does_not_route_are_not_connected_to() {
    let server = Plain::start(|_| answer("200 OK", "", b"secret of a neighbour")).await;
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "2130706433",
        "0x7f000001",
        "0177.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
    ] {
        let refused = fetch(&public(), &format!("http://{host}:{port}/a.crl")).await.unwrap_err();
        assert!(matches!(refused, FetchFailure::NotGlobal(_)), "{host}: {refused:?}");
        assert!(refused.to_string().contains("allow_private"), "{refused}");
    }
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_not_connected_to() {
    let server = Plain::start(|_| answer("200 OK", "", b"secret of this machine")).await;
    // A name that only the resolver can tell: this machine's own, which its hosts file or resolver has on a private address.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let url = format!("http://{name}:{}/a.crl", server.address.port());
    let begun = Instant::now();
    let refused = public().fetch(&url, &Validators::default(), Duration::from_secs(2)).await.unwrap_err();
    let known = matches!(&refused, FetchFailure::NotGlobal(at) if at.address.is_some());
    // Where nothing resolves this machine's name, there is no address to be judged; still nobody may have been asked.
    assert!(
        known || matches!(refused, FetchFailure::Transport(Transport::Failed { failure: ConnectionFailure::Dns, .. })),
        "{refused:?}"
    );
    assert!(begun.elapsed() < SECONDS_10);
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_redirect_is_followed_thrice_and_judged_each_time() {
    let server = Plain::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        match path {
            "/3" => answer("200 OK", "", b"list"),
            "/loop" => answer("302 Found", "Location: /loop\r\n", b""),
            "/nowhere" => answer("302 Found", "", b""),
            "/ldap" => answer("301 Moved Permanently", "Location: ldap://directory.example.com/x\r\n", b""),
            "/file" => answer("301 Moved Permanently", "Location: file:///etc/passwd\r\n", b""),
            "/credentials" => answer("301 Moved Permanently", "Location: http://user:hunter2@127.0.0.1/\r\n", b""),
            path => {
                let next = path.trim_start_matches('/').parse::<u32>().unwrap() + 1;
                answer("307 Temporary Redirect", &format!("Location: /{next}\r\n"), b"")
            }
        }
    })
    .await;
    let fetcher = private(short());
    let get = async |path: &str| fetch(&fetcher, &server.url(path)).await;
    assert_eq!(get("/0").await, Ok(Answer::New("list".into(), Validators::default())));
    assert_eq!(server.asked(), 4);
    assert_eq!(get("/loop").await, Err(FetchFailure::Redirects));
    assert_eq!(server.asked(), 8);
    assert_eq!(get("/nowhere").await, Err(FetchFailure::RedirectTarget));
    for path in ["/ldap", "/file"] {
        assert!(matches!(get(path).await, Err(FetchFailure::Scheme(_))), "{path}");
    }
    let refused = get("/credentials").await.unwrap_err();
    assert_eq!(refused, FetchFailure::Credentials);
}

/// A public server cannot be had in a test, but a proxy stands for one: what the client would connect to is what it says.
#[tokio::test]
async fn a_redirect_to_this_machine_is_not_followed() {
    let proxy = Plain::start(|head| {
        if head.contains("redirecting.example.com") {
            answer("302 Found", "Location: http://127.0.0.1:1/a.crl\r\n", b"")
        } else {
            answer("200 OK", "", b"list")
        }
    })
    .await;
    let through = Access { proxy: Some(proxy.url("").parse().unwrap()), limits: short(), ..Access::default() };
    let fetcher = Fetcher::new(through).unwrap();
    let got = fetch(&fetcher, "http://crl.example.com/a.crl").await;
    assert_eq!(got, Ok(Answer::New("list".into(), Validators::default())));
    assert!(proxy.heads()[0].starts_with("GET http://crl.example.com/a.crl HTTP/1.1"), "{:?}", proxy.heads());
    let refused = fetch(&fetcher, "http://redirecting.example.com/a.crl").await.unwrap_err();
    assert!(matches!(refused, FetchFailure::NotGlobal(_)), "{refused:?}");
    assert_eq!(proxy.asked(), 2);
    // Through a proxy the literal host is judged, too.
    for host in ["127.0.0.1", "localhost", "10.1.1.1"] {
        let refused = fetch(&fetcher, &format!("http://{host}/a.crl")).await.unwrap_err();
        assert!(matches!(refused, FetchFailure::NotGlobal(_)), "{host}: {refused:?}");
    }
    assert_eq!(proxy.asked(), 2);
}

#[tokio::test]
async fn other_schemes_are_refused_in_words() {
    for url in ["ldap://directory.example.com/cn=x", "ldaps://d.example.com/", "ftp://crl.example.com/x", "file:///x"] {
        let refused = fetch(&public(), url).await.unwrap_err();
        assert!(refused.to_string().contains("http and https only"), "{refused}");
    }
}

#[tokio::test]
async fn an_answer_is_bounded_whatever_it_announces() {
    let announced =
        Plain::start(|_| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nabc", LARGEST + 1).into_bytes()).await;
    assert_eq!(fetch(&private(Limits::default()), &announced.url("/")).await, Err(FetchFailure::TooLarge));
    assert_eq!(announced.asked(), 1);

    let ca = TlsCa::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &ca.pem).unwrap();
    let endless = RawServer::start(Some(ca.server("127.0.0.1", 2100)), |_| {
        vec![
            Step::Bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
            Step::Repeat([b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat(), 1_000_000),
        ]
    })
    .await;
    let access = Access { allow_private: true, ca_file: Some(path), ..Access::default() };
    let got = fetch(&Fetcher::new(access).unwrap(), &endless.url()).await;
    assert_eq!(got, Err(FetchFailure::TooLarge));
    let sent = endless.sent.load(std::sync::atomic::Ordering::SeqCst);
    assert!(sent < 4 * LARGEST, "{sent} bytes were taken");

    let exact = Plain::start(|_| answer("200 OK", "", &vec![b'x'; LARGEST as usize])).await;
    match fetch(&private(Limits::default()), &exact.url("/")).await {
        Ok(Answer::New(bytes, _)) => assert_eq!(bytes.len() as u64, LARGEST),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_silent_stands_still_or_drips_ends_at_the_limits() {
    let silent = RawServer::start(None, |_| Vec::new()).await;
    let begun = Instant::now();
    let url = format!("http://{}/", silent.address);
    let late = private(short()).fetch(&url, &Validators::default(), Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(late, FetchFailure::Transport(Transport::TimedOut { .. })), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));

    let ca = TlsCa::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &ca.pem).unwrap();
    let access = Access { allow_private: true, ca_file: Some(path), limits: short(), ..Access::default() };
    let fetcher = Fetcher::new(access).unwrap();
    let head = Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec());
    for (phase, drip) in [(Phase::Body, Duration::from_secs(5)), (Phase::Whole, Duration::from_millis(100))] {
        let head = head.clone();
        let server = RawServer::start(Some(ca.server("127.0.0.1", 2100)), move |_| {
            let drips = (0..100).flat_map(|_| [Step::Bytes(b"x".to_vec()), Step::Wait(drip)]);
            std::iter::once(head.clone()).chain(drips).collect()
        })
        .await;
        // So short a deadline leaves no time for a second attempt to begin and end.
        let late = fetcher.fetch(&server.url(), &Validators::default(), Duration::from_secs(60)).await.unwrap_err();
        assert!(
            matches!(&late, FetchFailure::Transport(Transport::TimedOut { phase: found, .. }) if *found == phase),
            "{phase:?}: {late:?}"
        );
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let count = Arc::new(Mutex::new(0));
    let server = Plain::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        match *count {
            1 => answer("503 Service Unavailable", "", b""),
            2 => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut".to_vec(),
            _ => answer("200 OK", "", b"list"),
        }
    })
    .await;
    let got = fetch(&private(short()), &server.url("/")).await;
    assert_eq!(got, Ok(Answer::New("list".into(), Validators::default())));
    assert_eq!(server.asked(), 3);
    for (status, asked) in [("404 Not Found", 1), ("403 Forbidden", 1), ("206 Partial Content", 1), ("500 Oops", 3)] {
        let server = Plain::start(move |_| answer(status, "", b"<html>")).await;
        let failed = fetch(&private(short()), &server.url("/")).await.unwrap_err();
        assert!(matches!(failed, FetchFailure::Status(_)), "{failed:?}");
        assert_eq!(server.asked(), asked, "{status}");
    }
    // Told to wait longer than the deadline: not asked again.
    let server = Plain::start(|_| answer("503 Service Unavailable", "Retry-After: 600\r\n", b"")).await;
    assert_eq!(fetch(&private(short()), &server.url("/")).await, Err(FetchFailure::Status(503)));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn what_was_not_asked_for_is_refused() {
    let zipped = Plain::start(|_| answer("200 OK", "Content-Encoding: gzip\r\n", b"\x1f\x8b")).await;
    assert_eq!(fetch(&private(short()), &zipped.url("/")).await, Err(FetchFailure::ContentEncoding("gzip".into())));
    let unasked = Plain::start(|_| answer("304 Not Modified", "", b"")).await;
    assert_eq!(fetch(&private(short()), &unasked.url("/")).await, Err(FetchFailure::UnaskedNotModified));
}

/// A CA whose lists lie at a distribution point, a cache, and a clock.
struct World {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
    cache: Cache,
    fetcher: Fetcher,
    folder: tempfile::TempDir,
    lists: Mutex<BTreeMap<u8, Vec<u8>>>,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let cache = Cache::open(store.root()).unwrap();
        Self { params, key, certificate, cache, fetcher: private(short()), folder, lists: Mutex::default() }
    }

    /// The list of a day of June 2026, in force for a week; the same bytes each time, though signatures are random.
    fn list(&self, day: u8) -> Vec<u8> {
        self.lists.lock().unwrap().entry(day).or_insert_with(|| self.make_list(day)).clone()
    }

    fn make_list(&self, day: u8) -> Vec<u8> {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, day),
            next_update: date_time_ymd(2026, 6, day + 7),
            crl_number: SerialNumber::from(u64::from(day)),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec()
    }

    async fn obtain(&self, url: &str, now: &str) -> Obtained {
        let now: Timestamp = now.parse().unwrap();
        let issuers = [self.certificate.clone()].into();
        let kept = look_up(&self.cache, url, &issuers, Duration::ZERO, now);
        if kept.is_due { obtain(&self.fetcher, &self.cache, kept, SECONDS_10).await } else { kept.as_it_is() }
    }

    fn kept(&self, url: &str) -> Option<Vec<u8>> {
        self.cache.read(url).unwrap().map(|kept| kept.bytes.to_vec())
    }
}

fn day(obtained: &Obtained) -> Option<String> {
    obtained.crl.as_ref().map(|crl| crl.facts().this_update.to_string()[..10].to_owned())
}

type Script = Arc<Mutex<Vec<u8>>>;

async fn scripted(first: Vec<u8>) -> (Plain, Script) {
    let script: Script = Arc::new(Mutex::new(first));
    let answers = script.clone();
    (Plain::start(move |_| answers.lock().unwrap().clone()).await, script)
}

#[tokio::test]
async fn a_list_is_kept_and_asked_for_again_only_when_due_and_by_its_etag() {
    let world = World::new();
    let (server, script) = scripted(answer("200 OK", "ETag: \"1\"\r\n", &world.list(1))).await;
    let url = server.url("/a.crl");
    let first = world.obtain(&url, "2026-06-02T00:00:00Z").await;
    assert_eq!((day(&first).as_deref(), first.trouble), (Some("2026-06-01"), None));
    // Not due: nobody is asked.
    assert_eq!(day(&world.obtain(&url, "2026-06-02T00:30:00Z").await).as_deref(), Some("2026-06-01"));
    assert_eq!(server.asked(), 1);
    // Due, unchanged: fresh for another hour.
    *script.lock().unwrap() = answer("304 Not Modified", "", b"");
    let confirmed = world.obtain(&url, "2026-06-02T01:00:00Z").await;
    assert_eq!((day(&confirmed).as_deref(), confirmed.trouble), (Some("2026-06-01"), None));
    assert!(server.heads()[1].to_ascii_lowercase().contains("if-none-match: \"1\""));
    let _ = world.obtain(&url, "2026-06-02T01:59:00Z").await;
    assert_eq!(server.asked(), 2);
    // Due, changed.
    *script.lock().unwrap() = answer("200 OK", "", &world.list(2));
    assert_eq!(day(&world.obtain(&url, "2026-06-02T02:00:00Z").await).as_deref(), Some("2026-06-02"));
    assert_eq!(world.kept(&url), Some(world.list(2)));
    // No ETag any more: asked for without a condition.
    let _ = world.obtain(&url, "2026-06-02T03:00:00Z").await;
    assert!(!server.heads()[3].to_ascii_lowercase().contains("if-none-match"));
}

#[tokio::test]
async fn a_kept_list_stays_in_use_across_an_outage_until_it_is_stale() {
    let world = World::new();
    let (server, script) = scripted(answer("200 OK", "", &world.list(1))).await;
    let url = server.url("/a.crl");
    let _ = world.obtain(&url, "2026-06-02T00:00:00Z").await;
    *script.lock().unwrap() = answer("404 Not Found", "", b"");
    let during = world.obtain(&url, "2026-06-05T00:00:00Z").await;
    assert_eq!(day(&during).as_deref(), Some("2026-06-01"));
    assert!(matches!(during.trouble, Some(Trouble::Fetch { failure: FetchFailure::Status(404), .. })));
    let after = world.obtain(&url, "2026-06-09T00:00:00Z").await;
    assert!(after.crl.is_none());
    assert!(after.trouble.unwrap().to_string().contains(&url));
    assert!(world.kept(&url).is_some(), "a stale list stays where it is");
    // A server that says that the stale list is still its list.
    *script.lock().unwrap() = answer("200 OK", "ETag: \"1\"\r\n", &world.list(2));
    let _ = world.obtain(&url, "2026-06-08T12:00:00Z").await;
    *script.lock().unwrap() = answer("304 Not Modified", "", b"");
    let stale = world.obtain(&url, "2026-06-20T00:00:00Z").await;
    assert!(stale.crl.is_none());
    assert!(
        matches!(&stale.trouble, Some(Trouble::Refused { refused, .. })
            if matches!(refused.problem, Problem::Stale(_))),
        "{:?}",
        stale.trouble
    );
}

#[tokio::test]
async fn nothing_but_a_verified_list_takes_the_place_of_a_kept_one() {
    let world = World::new();
    let (server, script) = scripted(answer("200 OK", "", &world.list(2))).await;
    let url = server.url("/a.crl");
    let _ = world.obtain(&url, "2026-06-03T00:00:00Z").await;
    let stranger = World::new();
    let mut changed = world.list(3);
    *changed.last_mut().unwrap() ^= 1;
    for (what, body) in [
        ("a login page", b"<html>Please log in</html>".to_vec()),
        ("nothing", Vec::new()),
        ("garbage", vec![0x30; 1000]),
        ("half a list", world.list(3)[..100].to_vec()),
        ("a namesake's list", stranger.list(3)),
        ("a changed list", changed),
        ("a list of tomorrow", world.list(20)),
        ("an older list", world.list(1)),
    ] {
        *script.lock().unwrap() = answer("200 OK", "", &body);
        let obtained = world.obtain(&url, "2026-06-04T00:00:00Z").await;
        assert_eq!(day(&obtained).as_deref(), Some("2026-06-02"), "{what}");
        let trouble = obtained.trouble.unwrap_or_else(|| panic!("{what}: no word"));
        println!("{what}: {trouble}");
        assert!(trouble.to_string().is_ascii(), "{trouble}");
        assert_eq!(world.kept(&url), Some(world.list(2)), "{what}");
    }
}

#[tokio::test]
async fn a_cache_that_was_cut_short_or_tampered_with_costs_a_fetch_and_no_trust() {
    let world = World::new();
    let (server, _) = scripted(answer("200 OK", "ETag: \"1\"\r\n", &world.list(1))).await;
    let url = server.url("/a.crl");
    let now = "2026-06-02T00:00:00Z";
    let _ = world.obtain(&url, now).await;
    let files = || -> Vec<_> {
        let folder = world.folder.path().join("store/crl");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let [list, record] = files().try_into().unwrap();
    assert!(list.extension().unwrap() == "crl" && record.extension().unwrap() == "json");
    for (path, bytes) in
        [(&list, world.list(2)), (&list, b"garbage".to_vec()), (&record, b"{".to_vec()), (&record, b"{}".to_vec())]
    {
        std::fs::write(path, bytes).unwrap();
        let asked = server.asked();
        let obtained = world.obtain(&url, now).await;
        assert_eq!(server.asked(), asked + 1, "{}", path.display());
        assert!(!server.heads()[asked].to_ascii_lowercase().contains("if-none-match"));
        assert!(obtained.crl.is_some());
        if world.kept(&url) != Some(world.list(1)) {
            // A fresher verified list that someone put there is a list of this CA all the same; put it back for the next.
            world.cache.keep(&url, &world.list(1), Validators::default(), now.parse().unwrap()).unwrap();
        }
    }
    std::fs::remove_file(&record).unwrap();
    let asked = server.asked();
    let _ = world.obtain(&url, now).await;
    assert_eq!(server.asked(), asked + 1);
    // Another distribution point has files of its own, and goes when nobody names it any more.
    let other = server.url("/b.crl");
    let _ = world.obtain(&other, now).await;
    assert_eq!(files().len(), 4);
    assert!(world.cache.retain(&BTreeSet::from([other.clone()])).is_empty());
    assert_eq!(files().len(), 2);
    assert!(world.kept(&url).is_none() && world.kept(&other).is_some());
}
