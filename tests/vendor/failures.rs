//! The vendor's failures: whatever a login service, an API, a proxy or a stranger in their place can answer, against
//! scripted servers on loopback. Every scenario also greps its errors and the log at TRACE for secrets.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use support::privilege;
use support::raw_server::{Ca, RawServer, Request, Step, answer, json};
use trustsync::genesys::{Client, FailureClass, FetchError, FetchFailure, Fetched};
use trustsync::http_client::{Limits, Phase, Transport};
use trustsync::settings::resolved::{IdentitySetting, Secret, SecretOrigin, Source};
use trustsync::trust::values::slot::Authority;
use trustsync::trust::values::timestamp::Timestamp;

const CLIENT_ID: &str = "2f6c-client";
const SECRET: &str = "Hunter2-s3cr3t";
const TOKEN: &str = "tok-Zm9vYmFy";
const PROXY_PASSWORD: &str = "Pr0xy-passw0rd";
const PATH: &str = "/api/v2/integrations/actions/certificates";
const MINUTE: Duration = Duration::from_secs(60);

fn basic() -> String {
    STANDARD.encode(format!("{CLIENT_ID}:{SECRET}"))
}

// --- the log, and what must not be in it ---

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[derive(Clone)]
struct Tap;

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The libraries speak by `log`, we by `tracing`: both are caught.
impl log::Log for Tap {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        writeln!(Tap, "{} {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

fn listen_to_the_log() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(|| Tap).init();
        log::set_logger(&Tap).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

fn assert_no_secret(text: &str, place: &str) {
    let proxy = STANDARD.encode(format!("proxyuser:{PROXY_PASSWORD}"));
    let lower = text.to_lowercase();
    for secret in [SECRET, TOKEN, &basic(), PROXY_PASSWORD, &proxy] {
        assert!(!lower.contains(&secret.to_lowercase()), "a secret ({}...) is in {place}: {text}", &secret[..4]);
    }
}

fn assert_shows_no_secret(shown: &(impl Debug + ToString), place: &str) {
    assert_no_secret(&format!("{} {shown:?} {shown:#?}", shown.to_string()), place);
}

// --- a source, and asking it ---

struct World {
    ca: Ca,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        listen_to_the_log();
        let world = Self { ca: Ca::new(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(world.folder.path().join("ca.pem"), &world.ca.pem).unwrap();
        world
    }

    async fn server(&self, script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> RawServer {
        RawServer::start(Some(self.ca.server("127.0.0.1", 4000)), script).await
    }

    /// A server whose login works and whose API answers as `script` says.
    async fn api(&self, script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> RawServer {
        self.server(move |request| if request.method == "POST" { token() } else { script(request) }).await
    }

    fn source(&self, url: &str) -> Source {
        Source {
            name: "us".into(),
            region: "us-east-1".into(),
            region_name: None,
            client_id: CLIENT_ID.into(),
            client_secret: SecretOrigin::Given(Secret::new(SECRET.into())),
            authorities: BTreeSet::from([Authority::DigiCert]),
            digicert_anchors: Vec::new(),
            builtin_anchors: true,
            genesys_anchors: Vec::new(),
            identity: IdentitySetting::Learn,
            api: url.parse().unwrap(),
            login: url.parse().unwrap(),
            path: PATH.into(),
            ca_file: Some(self.folder.path().join("ca.pem")),
            proxy: None,
        }
    }
}

fn token() -> Vec<Step> {
    json(&format!(r#"{{"access_token":"{TOKEN}","token_type":"bearer","expires_in":86400}}"#))
}

const ONE: &str = r#"{"signingAuthority":"DigiCert","certificate":"pem","status":"Current","type":"Client","new":1}"#;

/// What a healthy vendor lists, outside the window.
fn healthy(request: &Request) -> Vec<Step> {
    if request.target.contains("status=Upcoming") {
        json(r#"{"entities":[],"pageSize":25,"pageNumber":1,"total":0,"pageCount":0}"#)
    } else {
        json(&format!(r#"{{"entities":[{ONE}],"pageSize":25,"pageNumber":1,"total":1,"pageCount":1}}"#))
    }
}

fn now() -> Timestamp {
    "2026-11-23T15:00:00Z".parse().unwrap()
}

async fn ask(client: &mut Client, deadline: Duration) -> Result<Fetched, FetchError> {
    let outcome = client.fetch(now(), deadline).await;
    match &outcome {
        Ok(fetched) => {
            for listing in [&fetched.unfiltered, &fetched.upcoming] {
                if let Err(error) = listing {
                    assert_shows_no_secret(error, "an error");
                }
            }
            assert_no_secret(&format!("{fetched:?}"), "what was fetched");
        }
        Err(error) => assert_shows_no_secret(error, "an error"),
    }
    assert_no_secret(&String::from_utf8_lossy(&LOG.lock().unwrap()), "the log");
    outcome
}

async fn fetch(source: &Source) -> Result<Fetched, FetchError> {
    fetch_within(source, Limits::default(), MINUTE).await
}

async fn fetch_within(source: &Source, limits: Limits, deadline: Duration) -> Result<Fetched, FetchError> {
    ask(&mut Client::new(source, limits).unwrap(), deadline).await
}

/// The one error that stands for the whole, or for both listings.
fn the_error(outcome: Result<Fetched, FetchError>) -> FetchError {
    match outcome {
        Err(error) => error,
        Ok(fetched) => fetched.unfiltered.unwrap_err(),
    }
}

fn assert_says(error: &FetchError, class: FailureClass, pieces: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.class(), class, "{text}");
    for piece in pieces {
        assert!(text.contains(piece), "{piece:?} is missing in: {text}");
    }
}

// --- the good case, which all others deviate from ---

#[tokio::test]
async fn both_listings_are_asked_with_one_token_and_one_connection() {
    let world = World::new();
    let server = world.api(healthy).await;
    let mut client = Client::new(&world.source(&server.url()), Limits::default()).unwrap();
    for _ in 0..2 {
        let fetched = ask(&mut client, MINUTE).await.unwrap();
        let unfiltered = fetched.unfiltered.unwrap();
        assert_eq!(unfiltered.entities.len(), 1);
        assert_eq!(unfiltered.entities[0].signing_authority.as_deref(), Some("DigiCert"));
        assert_eq!(fetched.upcoming.unwrap().entities.len(), 0);
        assert_eq!(fetched.date, Some(now()));
    }
    let upcoming = format!("{PATH}?status=Upcoming");
    assert_eq!(server.targets(), ["/oauth/token", PATH, &upcoming, PATH, &upcoming]);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(requests[0].body, "grant_type=client_credentials");
    assert_eq!(requests[0].header("authorization"), Some(format!("Basic {}", basic()).as_str()));
    assert_eq!(requests[1].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    for request in &requests {
        assert_eq!(request.header("accept-encoding"), None);
        assert!(request.header("user-agent").unwrap().starts_with("trustsync/"));
    }
}

#[tokio::test]
async fn pages_are_followed_by_uri_and_by_number() {
    for by_uri in [true, false] {
        let world = World::new();
        let server = world
            .api(move |request| {
                let page = if request.target.contains("pageNumber=2") { 2 } else { 1 };
                let next = if by_uri && page == 1 {
                    format!(r#","nextUri":"{PATH}?pageSize=25&pageNumber=2""#)
                } else {
                    String::new()
                };
                let count = if by_uri { 1 } else { 2 };
                json(&format!(r#"{{"entities":[{ONE}],"pageNumber":{page},"pageCount":{count}{next}}}"#))
            })
            .await;
        let fetched = fetch(&world.source(&server.url())).await.unwrap();
        assert_eq!(fetched.unfiltered.unwrap().entities.len(), 2);
        assert_eq!(fetched.upcoming.unwrap().entities.len(), 2);
        assert!(server.targets().iter().any(|t| t.contains("pageNumber=2") && t.contains("status=Upcoming")));
    }
}

// --- refusals ---

#[tokio::test]
async fn what_the_login_service_refuses_is_said_and_never_echoed() {
    let echo = format!(
        r#"{{"error":"invalid_client","error_description":"no {SECRET} nor {} here\u0007","access_token":"{TOKEN}"}}"#,
        basic()
    );
    let cases: Vec<(&str, String, FailureClass, Vec<&str>)> = vec![
        (
            "400 Bad Request",
            echo.clone(),
            FailureClass::RefusedUs,
            vec!["does not know the OAuth client", CLIENT_ID, "400 (invalid_client)", "corr-1"],
        ),
        (
            "401 Unauthorized",
            echo.clone(),
            FailureClass::RefusedUs,
            vec!["does not accept the secret", CLIENT_ID, "corr-1"],
        ),
        (
            "400 Bad Request",
            r#"{"code":"bad.request","message":"what"}"#.into(),
            FailureClass::RefusedUs,
            vec!["400 (bad.request)"],
        ),
        (
            "401 Unauthorized",
            "<html>log in</html>".into(),
            FailureClass::RefusedUs,
            vec!["it was refused: 401", "captive portal"],
        ),
        ("400 Bad Request", format!("raw {SECRET} {TOKEN}"), FailureClass::RefusedUs, vec!["400"]),
        ("403 Forbidden", "<html>blocked</html>".into(), FailureClass::RefusedUs, vec!["HTML page"]),
        ("404 Not Found", "{}".into(), FailureClass::RefusedUs, vec!["check api, login and path"]),
        ("407 Proxy Authentication Required", String::new(), FailureClass::RefusedUs, vec!["proxy", "ca_file"]),
        ("200 OK", "{}".into(), FailureClass::AnswerRefused, vec!["access_token is missing"]),
        ("200 OK", format!(r#"{{"access_token":["{TOKEN}"]}}"#), FailureClass::AnswerRefused, vec!["another type"]),
        ("200 OK", format!(r#"{{"access_token":"{TOKEN}\n"}}"#), FailureClass::AnswerRefused, vec!["no token has"]),
        (
            "200 OK",
            format!(r#"{{"access_token":"{TOKEN}","token_type":"mac"}}"#),
            FailureClass::AnswerRefused,
            vec!["not bearer"],
        ),
        ("200 OK", format!(r#"{{"access_token":"{TOKEN}"#), FailureClass::AnswerRefused, vec!["ends too early"]),
        ("200 OK", "<!doctype html>".into(), FailureClass::AnswerRefused, vec!["captive portal"]),
        ("200 OK", "x".repeat(100_000), FailureClass::AnswerRefused, vec!["too large", "65536"]),
    ];
    for (status, body, class, pieces) in cases {
        let world = World::new();
        let server = world.server(move |_| answer(status, "ININ-Correlation-Id: corr-1\r\n", &body)).await;
        let error = fetch(&world.source(&server.url())).await.unwrap_err();
        assert_says(&error, class, &pieces);
        assert_says(&error, class, &["POST https://127.0.0.1", "/oauth/token"]);
        assert_eq!(server.targets().len(), 1, "asked again: {error}");
    }
}

/// A secret as a server may echo it.
type Echo = fn(&str) -> String;

const ECHOES: [(&str, Echo); 10] = [
    ("as it is", str::to_owned),
    ("in capitals", str::to_uppercase),
    ("percent-encoded", |secret| secret.bytes().map(|byte| format!("%{byte:02X}")).collect()),
    ("escaped for JSON", |secret| secret.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect()),
    ("in base64", |secret| STANDARD.encode(secret)),
    ("in base64, behind something", |secret| STANDARD.encode(format!("x{secret}"))),
    ("in base64 for URLs, with a user", |secret| URL_SAFE.encode(format!("us{secret}"))),
    ("in hexadecimal", |secret| secret.bytes().map(|byte| format!("{byte:02x}")).collect()),
    ("its beginning", |secret| secret[..secret.len() - 3].to_owned()),
    ("its end, in base64", |secret| STANDARD.encode(&secret[3..])),
];

/// What a login service or an API answers that says `echo`, where.
fn answers_with(echo: &str) -> Vec<(&'static str, Vec<Step>)> {
    let refused = |body: String| answer("400 Bad Request", "", &body);
    let with = |status: &str, header: &str| answer(status, &format!("{header}: {echo}\r\n"), "{}");
    vec![
        ("error", refused(format!(r#"{{"error":"{echo}"}}"#))),
        ("error_description", refused(format!(r#"{{"error":"invalid_client","error_description":"{echo}"}}"#))),
        ("message", refused(format!(r#"{{"code":"bad.request","message":"no {echo}!","contextId":"{echo}"}}"#))),
        ("code", refused(format!(r#"{{"code":"{echo}","messageParams":{{"{echo}":"{echo}"}}}}"#))),
        ("text", refused(format!("no {echo}"))),
        ("page", answer("403 Forbidden", "Content-Type: text/html\r\n", &format!("<html>{echo}</html>"))),
        ("broken JSON", answer("200 OK", "", &format!(r#"{{"{echo}":"#))),
        ("correlation id", with("403 Forbidden", "ININ-Correlation-Id")),
        ("challenge", with("403 Forbidden", "WWW-Authenticate")),
        ("retry", with("404 Not Found", "Retry-After")),
        ("encoding", with("200 OK", "Content-Encoding")),
        ("redirect to a host", answer("302 Found", &format!("Location: https://{echo}.example/\r\n"), "")),
        ("redirect to a path", answer("302 Found", &format!("Location: /{echo}?{echo}\r\n"), "")),
    ]
}

/// What an API lists that says `echo`, where.
fn listings_with(echo: &str) -> Vec<(&'static str, Vec<Step>)> {
    let listed = |fields: String| json(&format!(r#"{{"entities":[{{{fields}}}],"total":1}}"#));
    let page = |next: String| json(&format!(r#"{{"entities":[{ONE}],"nextUri":"{next}"}}"#));
    vec![
        ("authority", listed(format!(r#""signingAuthority":"{echo}","status":"Current""#))),
        ("status", listed(format!(r#""signingAuthority":"DigiCert","status":"{echo}""#))),
        ("type", listed(format!(r#""signingAuthority":"DigiCert","status":"Current","type":"{echo}""#))),
        ("certificate", listed(format!(r#""signingAuthority":"DigiCert","certificate":"-----BEGIN {echo}-----""#))),
        ("next page on a host", page(format!("https://{echo}.example/"))),
        ("next page at a path", page(format!("/{echo}?x={echo}"))),
    ]
}

#[tokio::test]
async fn a_credential_that_is_echoed_is_shown_nowhere_whatever_its_form_and_place() {
    let world = World::new();
    let mut runs = 0;
    for (secret, is_token) in [(SECRET.to_owned(), false), (basic(), false), (TOKEN.to_owned(), true)] {
        for (form, echo) in ECHOES {
            let echo = echo(&secret);
            let of_api = answers_with(&echo).into_iter().chain(listings_with(&echo)).map(|case| (case, true));
            // Before it has given a token, nothing of a login service's is one.
            let of_login = answers_with(&echo).into_iter().filter(|_| !is_token).map(|case| (case, false));
            for ((place, steps), of_api) in of_api.chain(of_login) {
                let script = move |request: &Request| match of_api && request.method == "POST" {
                    true => token(),
                    false => steps.clone(),
                };
                let server = world.server(script).await;
                LOG.lock().unwrap().clear();
                let outcome = Client::new(&world.source(&server.url()), Limits::default());
                let outcome = outcome.unwrap().fetch(now(), MINUTE).await;
                let mut shown = format!("{outcome:?}");
                match &outcome {
                    Ok(fetched) => {
                        let errors = [&fetched.unfiltered, &fetched.upcoming].map(|listing| listing.as_ref().err());
                        errors.into_iter().flatten().for_each(|error| shown.push_str(&error.to_string()));
                    }
                    Err(error) => shown.push_str(&error.to_string()),
                }
                // Of the log our own lines; the libraries' are never written.
                let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
                shown.extend(log.lines().filter(|line| line.contains(" event=")));
                let shown = shown.to_lowercase();
                for (_, other) in ECHOES {
                    let needle = other(&secret).to_lowercase();
                    assert!(!shown.contains(&needle), "{form}, as {place} (API: {of_api}): {needle} in {shown}");
                }
                runs += 1;
            }
        }
    }
    assert!(runs > 600, "{runs}");
}

#[tokio::test]
async fn what_the_api_refuses_is_said_with_code_and_correlation() {
    let cases: Vec<(&str, String, Vec<&str>)> = vec![
        (
            "403 Forbidden",
            format!(r#"{{"code":"missing.any.permissions","message":"{TOKEN} {SECRET} lacks it","status":403}}"#),
            vec!["integrations:actionCertificate:view", "403 (missing.any.permissions)"],
        ),
        (
            "403 Forbidden",
            r#"{"code":"not.authorized","message":"no"}"#.into(),
            vec!["integrations:actionCertificate:view"],
        ),
        ("400 Bad Request", r#"{"code":"bad.request","message":"why"}"#.into(), vec!["400 (bad.request)"]),
        ("404 Not Found", r#"{"code":"not.found"}"#.into(), vec!["404 (not.found)", "check api"]),
        ("501 Not Implemented", "{}".into(), vec!["501"]),
        ("451 Unavailable", r#"{"message":[1],"code":{}}"#.into(), vec!["451"]),
    ];
    for (status, body, pieces) in cases {
        let world = World::new();
        let server = world.api(move |_| answer(status, "Genesys-Correlation-Id: corr-2\r\n", &body)).await;
        let fetched = fetch(&world.source(&server.url())).await.unwrap();
        for error in [fetched.unfiltered.unwrap_err(), fetched.upcoming.unwrap_err()] {
            assert_says(&error, FailureClass::RefusedUs, &pieces);
            assert_eq!(error.correlation_id(), Some("corr-2"));
            let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
            let line = log.lines().find(|line| line.contains(&error.to_string()));
            let line = line.unwrap_or_else(|| panic!("not logged: {error}\n{log}"));
            assert!(line.contains("vendor_request_failed") && line.contains("correlation_id=\"corr-2\""), "{line}");
            assert!(!error.is_transient());
        }
        assert_eq!(server.targets().len(), 3, "a lasting refusal is not asked again");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_only_once() {
    for refusals in [1, 2] {
        let world = World::new();
        let tokens = Arc::new(AtomicUsize::new(0));
        let given = tokens.clone();
        let server = world
            .server(move |request| {
                if request.method == "POST" {
                    let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                    return json(&format!(r#"{{"access_token":"{TOKEN}-{number}","expires_in":86400}}"#));
                }
                let bearer = request.header("authorization").unwrap();
                let number: usize = bearer.rsplit('-').next().unwrap().parse().unwrap();
                if number <= refusals {
                    let body = format!(r#"{{"code":"bad.credentials","message":"{bearer}"}}"#);
                    return answer("401 Unauthorized", "", &body);
                }
                healthy(request)
            })
            .await;
        let mut client = Client::new(&world.source(&server.url()), Limits::default()).unwrap();
        let outcome = ask(&mut client, MINUTE).await;
        assert_eq!(tokens.load(Ordering::SeqCst), 2);
        if refusals == 1 {
            let fetched = outcome.unwrap();
            assert!(fetched.unfiltered.is_ok() && fetched.upcoming.is_ok());
            assert_eq!(server.targets().len(), 5);
        } else {
            let error = outcome.unwrap_err();
            assert_says(&error, FailureClass::RefusedUs, &["401 (bad.credentials", "had just given"]);
            assert_eq!(server.targets().len(), 4);
            assert!(ask(&mut client, MINUTE).await.is_ok(), "the refused token was kept");
        }
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_asks_nobody() {
    let world = World::new();
    let server = world.api(healthy).await;
    let mut source = world.source(&server.url());
    source.client_secret = SecretOrigin::File(world.folder.path().join("missing"));
    let error = fetch(&source).await.unwrap_err();
    assert_says(&error, FailureClass::Misconfigured, &["missing", "No such file"]);
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

// --- trouble that passes ---

#[tokio::test]
async fn a_burst_of_server_errors_and_dropped_connections_passes() {
    let world = World::new();
    let asked = AtomicUsize::new(0);
    let server = world
        .server(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => answer("503 Service Unavailable", "", r#"{"code":"service.unavailable"}"#),
            1 => token(),
            2 => vec![Step::Drop],
            3 => answer("409 Conflict", "", "{}"),
            4 => answer("500 Oops", "Content-Type: text/html\r\n", "<html>"),
            _ => healthy(request),
        })
        .await;
    let fetched = fetch(&world.source(&server.url())).await.unwrap();
    assert!(fetched.unfiltered.is_ok() && fetched.upcoming.is_ok());
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert!(log.contains("vendor_request_retried") && log.contains("service.unavailable"));
}

#[tokio::test]
async fn trouble_that_does_not_pass_ends_after_four_attempts() {
    let world = World::new();
    let server = world.server(|_| answer("503 Service Unavailable", "", "")).await;
    let error = fetch(&world.source(&server.url())).await.unwrap_err();
    assert_says(&error, FailureClass::RefusedUs, &["503", "4 attempts"]);
    assert!(error.is_transient());
    assert_eq!(server.targets().len(), 4);
}

#[tokio::test]
async fn retry_after_is_obeyed_in_both_forms() {
    // The dated form is reckoned by the server's own clock, which is years off here.
    for header in [
        "Retry-After: 1\r\n",
        "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nRetry-After: Mon, 01 Jan 2024 00:00:01 GMT\r\n",
        "inin-ratelimit-reset: 1\r\n",
    ] {
        let world = World::new();
        let asked = AtomicUsize::new(0);
        let server = world
            .api(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
                0 => answer("429 Too Many Requests", header, r#"{"code":"too.many.requests"}"#),
                _ => healthy(request),
            })
            .await;
        let started = Instant::now();
        fetch(&world.source(&server.url())).await.unwrap().unfiltered.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1), "{header}");
    }
}

#[tokio::test]
async fn a_retry_after_beyond_the_deadline_ends_the_attempts_at_once() {
    let world = World::new();
    let server = world.server(|_| answer("429 Too Many Requests", "Retry-After: 3600\r\n", "{}")).await;
    let started = Instant::now();
    let error = fetch(&world.source(&server.url())).await.unwrap_err();
    assert_says(&error, FailureClass::RefusedUs, &["rate limit", "asked to wait 1h"]);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(server.targets().len(), 1);
}

#[tokio::test]
async fn one_listing_may_fail_alone() {
    let world = World::new();
    let server = world
        .api(|request| if request.target == PATH { json("[") } else { json(&format!(r#"{{"entities":[{ONE}]}}"#)) })
        .await;
    let fetched = fetch(&world.source(&server.url())).await.unwrap();
    assert_says(&fetched.unfiltered.unwrap_err(), FailureClass::AnswerRefused, &["ends too early"]);
    assert_eq!(fetched.upcoming.unwrap().entities.len(), 1);
    assert_eq!(fetched.date, Some(now()));
}

// --- answers that are refused ---

#[tokio::test]
async fn answers_that_are_no_listing_are_refused_whole() {
    let deep = format!(r#"{{"entities":[],"x":{}"#, "[".repeat(100_000));
    let many = format!(r#"{{"entities":[{}{{}}]}}"#, "{},".repeat(1_000));
    let cases: Vec<(Vec<Step>, &str)> = vec![
        (json(""), "ends too early"),
        (json("{"), "ends too early"),
        (json(r#"{"entities":[{}]} trailing"#), "not valid JSON"),
        (json("{'entities':[]}"), "not valid JSON"),
        (json(&deep), "ends too early"),
        (json("{}"), "no `entities`"),
        (json(r#"{"entities":null}"#), "no `entities`"),
        (json(r#"{"entities":{}}"#), "another type"),
        (json(r#"{"entities":[{"certificate":7}]}"#), "another type"),
        (json(&format!(r#"{{"entities":["{TOKEN}"]}}"#)), "another type"),
        (json(r#"{"entities":[],"entities":[]}"#), "stands twice"),
        (json(r#"{"entities":[],"total":3}"#), "empty answer never empties trust"),
        (json(r#"{"entities":[{}],"nextUri":[]}"#), "nextUri is not a text"),
        (json(&many), "more than 1000 entities"),
        (answer("200 OK", "Content-Type: text/html\r\n", "welcome"), "captive portal"),
        (json("\n <html>"), "captive portal"),
        (answer("200 OK", "Content-Encoding: gzip\r\n", "\u{1f}gz"), "encoded (gzip)"),
        (answer("204 No Content", "", ""), "status 204"),
        (answer("206 Partial Content", "", r#"{"entities":[{}]}"#), "status 206"),
        (answer("304 Not Modified", "", ""), "status 304"),
        (vec![Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{".to_vec())], "too large"),
        // Longer than announced: what is over is no part of the answer.
        (
            vec![Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"entities\":[{}]}".to_vec()), Step::End],
            "ends too early",
        ),
    ];
    for (steps, piece) in cases {
        let world = World::new();
        let server = world.api(move |_| steps.clone()).await;
        let error = fetch(&world.source(&server.url())).await.unwrap().unfiltered.unwrap_err();
        assert_says(&error, FailureClass::AnswerRefused, &[piece, "GET https://127.0.0.1", PATH]);
        assert!(!error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn bodies_that_break_off_are_refused_and_asked_again() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let full = br#"{"entities":[{}]}"#;
    for steps in [
        vec![Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"entities\":[{}]}".to_vec()), Step::End],
        vec![Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"entities\":".to_vec()), Step::Drop],
        vec![Step::Bytes([&chunked[..], b"11\r\n", full, b"\r\n"].concat()), Step::End],
        // Ended by the connection alone, and that without TLS's goodbye: it may have been cut within an entity.
        vec![Step::Bytes([&b"HTTP/1.1 200 OK\r\n\r\n"[..], full].concat()), Step::Drop],
        vec![Step::Bytes([&chunked[..], b"zz\r\n"].concat()), Step::End],
    ] {
        let world = World::new();
        let asked = Arc::new(AtomicUsize::new(0));
        let first = asked.clone();
        let server = world
            .api(
                move |request| {
                    if first.fetch_add(1, Ordering::SeqCst) == 0 { steps.clone() } else { healthy(request) }
                },
            )
            .await;
        fetch(&world.source(&server.url())).await.unwrap().unfiltered.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
    let world = World::new();
    let server =
        world.api(|_| vec![Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_vec()), Step::Drop]).await;
    let error = the_error(fetch_within(&world.source(&server.url()), Limits::default(), Duration::from_secs(1)).await);
    assert_says(&error, FailureClass::AnswerRefused, &["broke off after 1 bytes"]);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    for bytes in [&b"SSH-2.0-OpenSSH_9\r\n"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"] {
        let world = World::new();
        let server = world.api(move |_| vec![Step::Bytes(bytes.to_vec()), Step::End]).await;
        let error = the_error(fetch(&world.source(&server.url())).await);
        assert_says(&error, FailureClass::AnswerRefused, &["not an HTTP answer"]);
    }
}

#[tokio::test]
async fn gigabytes_are_left_after_four_mebibytes() {
    for head in
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"]
    {
        let world = World::new();
        let mut piece = b"10000\r\n".to_vec();
        piece.resize(piece.len() + 0x10000, b' ');
        piece.extend_from_slice(b"\r\n");
        let server =
            world.api(move |_| vec![Step::Bytes(head.as_bytes().to_vec()), Step::Repeat(piece.clone(), 32_768)]).await;
        let fetched = fetch(&world.source(&server.url())).await.unwrap();
        let error = fetched.unfiltered.unwrap_err();
        assert_says(&error, FailureClass::AnswerRefused, &["too large", "4194304"]);
        // Two listings, each with what the sockets hold besides.
        let sent = server.sent.load(Ordering::SeqCst);
        assert!(sent < 40 * 1024 * 1024, "{sent} bytes were taken");
    }
}

#[tokio::test]
async fn the_size_limit_counts_all_pages_of_a_listing() {
    let world = World::new();
    let server = world
        .api(|request| {
            let number = request.target.rsplit("pageNumber=").next().and_then(|n| n.parse().ok()).unwrap_or(1);
            let filler = " ".repeat(1_000_000);
            json(&format!(r#"{{"entities":[{ONE}],{filler}"nextUri":"{PATH}?pageNumber={}"}}"#, number + 1))
        })
        .await;
    let error = the_error(fetch(&world.source(&server.url())).await);
    assert_says(&error, FailureClass::AnswerRefused, &["too large", "pageNumber=5"]);
}

// --- paging and redirects that lead elsewhere ---

#[tokio::test]
async fn endless_and_circular_paging_is_refused() {
    let world = World::new();
    let pages = Arc::new(AtomicUsize::new(0));
    let server = world
        .api(move |_| {
            let next = pages.fetch_add(1, Ordering::SeqCst) + 2;
            json(&format!(r#"{{"entities":[{ONE}],"nextUri":"{PATH}?pageNumber={next}"}}"#))
        })
        .await;
    let error = the_error(fetch(&world.source(&server.url())).await);
    assert_says(&error, FailureClass::AnswerRefused, &["more than 20 pages"]);
    assert_eq!(server.targets().len(), 41);

    let world = World::new();
    let page = format!(r#"{{"entities":[{ONE}],"nextUri":"{PATH}?pageNumber=1&status=Upcoming"}}"#);
    let server = world.api(move |_| json(&page)).await;
    let error = the_error(fetch(&world.source(&server.url())).await);
    assert_says(&error, FailureClass::AnswerRefused, &["in a circle"]);
    assert!(server.targets().len() < 8);
}

#[tokio::test]
async fn a_server_that_knows_one_page_is_asked_for_as_many_as_it_claims_within_reason() {
    for (claims, asked) in [(9, 9), (20, 20), (21, 1), (u64::MAX, 1)] {
        let world = World::new();
        let page = format!(r#"{{"entities":[{ONE}],"pageNumber":1,"pageCount":{claims}}}"#);
        let server = world.api(move |_| json(&page)).await;
        let fetched = fetch(&world.source(&server.url())).await.unwrap();
        assert_eq!(server.targets().len(), 1 + 2 * asked, "the token, and both listings");
        for listing in fetched.listings() {
            assert!(listing.incomplete.is_some() && listing.entities.len() == asked, "{listing:?}");
        }
    }
}

#[tokio::test]
async fn a_next_page_on_another_host_never_gets_the_token() {
    let world = World::new();
    let thief = world.server(healthy).await;
    for next in [
        format!("{}{PATH}?pageNumber=2&x={TOKEN}", thief.url()),
        format!("//{}{PATH}", thief.address),
        format!("https://{TOKEN}.example{PATH}"),
        "http://127.0.0.1:1/".into(),
        "/api/v2/users/me".into(),
    ] {
        let body = format!(r#"{{"entities":[{ONE}],"nextUri":"{next}"}}"#);
        let server = world.api(move |_| json(&body)).await;
        let error = the_error(fetch(&world.source(&server.url())).await);
        assert_says(&error, FailureClass::AnswerRefused, &["next page", "not asked"]);
        assert_eq!(server.targets().len(), 3);
    }
    assert_eq!(thief.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_named_and_never_followed() {
    let world = World::new();
    let thief = world.server(healthy).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: {}/{TOKEN}?{SECRET}\r\n", thief.url());
        let here = location.clone();
        let api = world.api(move |_| answer(status, &here, "")).await;
        let error = the_error(fetch(&world.source(&api.url())).await);
        assert_says(&error, FailureClass::AnswerRefused, &["redirect", &thief.address.to_string(), "never followed"]);
        let login = world.server(move |_| answer(status, &location, "")).await;
        let error = fetch(&world.source(&login.url())).await.unwrap_err();
        assert_says(&error, FailureClass::AnswerRefused, &["redirect", &thief.address.to_string()]);
        assert_eq!(login.targets().len(), 1);
    }
    let api = world.api(|_| answer("302 Found", "", "")).await;
    assert_says(&the_error(fetch(&world.source(&api.url())).await), FailureClass::AnswerRefused, &["nowhere"]);
    let same = world.api(|_| answer("301 Moved", &format!("Location: https://{TOKEN}.example{PATH}/\r\n"), "")).await;
    assert_says(
        &the_error(fetch(&world.source(&same.url())).await),
        FailureClass::AnswerRefused,
        &["redirect (301) to [withheld"],
    );
    assert_eq!(thief.connections.load(Ordering::SeqCst), 0);
}

// --- the way there ---

#[tokio::test]
async fn servers_that_cannot_be_believed_get_nothing() {
    let world = World::new();
    let cases = [
        (Ca::new().server("127.0.0.1", 4000), vec!["unknown CA", "ca_file", "nothing was sent"]),
        (world.ca.server("other.example", 4000), vec!["another name", "other.example"]),
        (world.ca.server("127.0.0.1", 2021), vec!["expired server certificate", "clock"]),
    ];
    for (tls, pieces) in cases {
        let server = RawServer::start(Some(tls), healthy).await;
        let error = fetch(&world.source(&server.url())).await.unwrap_err();
        assert_says(&error, FailureClass::Unreachable, &pieces);
        assert!(!error.is_transient());
        assert_eq!(server.targets().len(), 0);
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_named_as_such() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let source = world.source(&format!("https://{address}"));
    let error = fetch_within(&source, Limits::default(), Duration::from_secs(1)).await.unwrap_err();
    assert_says(&error, FailureClass::Unreachable, &["no TLS connection with 127.0.0.1"]);
}

#[tokio::test]
async fn nobody_there_and_no_such_name() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        fetch_within(&world.source(&format!("https://{free}")), Limits::default(), Duration::from_millis(800)).await;
    let error = error.unwrap_err();
    assert_says(&error, FailureClass::Unreachable, &["no connection to 127.0.0.1", "refused"]);
    assert!(error.is_transient());

    let source = world.source("https://api.no-such-host.invalid");
    let error = fetch_within(&source, Limits::default(), Duration::from_secs(3)).await.unwrap_err();
    // Where the resolver itself does not answer, it is the deadline that ends it.
    if !matches!(error.failure(), FetchFailure::Transport(Transport::TimedOut { .. })) {
        assert_says(&error, FailureClass::Unreachable, &["api.no-such-host.invalid could not be resolved"]);
    }
}

#[tokio::test]
async fn each_slowness_has_its_limit() {
    let drip = |times: usize| {
        let mut steps = vec![Step::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec())];
        steps.extend((0..times).flat_map(|_| [Step::Wait(Duration::from_millis(100)), Step::Bytes(b" ".to_vec())]));
        steps.push(Step::Wait(MINUTE));
        steps
    };
    let seconds = Duration::from_secs;
    let limits = |connect, read, whole| Limits { connect, read, whole };
    let cases = [
        (vec![Step::Wait(MINUTE)], limits(seconds(1), Duration::from_millis(200), seconds(30)), Phase::Head),
        (drip(2), limits(seconds(5), Duration::from_millis(400), seconds(30)), Phase::Body),
        (drip(500), limits(seconds(5), seconds(5), seconds(1)), Phase::Whole),
    ];
    for (steps, limits, phase) in cases {
        let world = World::new();
        let server =
            world.api(move |request| if request.target == PATH { steps.clone() } else { healthy(request) }).await;
        let fetched = fetch_within(&world.source(&server.url()), limits, seconds(5)).await.unwrap();
        let error = fetched.unfiltered.unwrap_err();
        assert_says(&error, FailureClass::Unreachable, &[&phase.to_string()]);
        assert!(error.is_transient() && fetched.upcoming.is_ok());
    }

    let world = World::new();
    let silent = RawServer::start(None, healthy).await;
    let short = limits(Duration::from_millis(400), seconds(5), seconds(30));
    let error = fetch_within(&world.source(&silent.url()), short, Duration::from_millis(600)).await.unwrap_err();
    assert_says(&error, FailureClass::Unreachable, &[&Phase::Connect.to_string(), "400ms"]);

    let error = fetch_within(&world.source(&silent.url()), Limits::default(), Duration::from_millis(300)).await;
    assert_says(&error.unwrap_err(), FailureClass::Unreachable, &[&Phase::Deadline.to_string()]);
}

#[tokio::test]
async fn a_slow_first_listing_leaves_time_for_the_other() {
    let world = World::new();
    let server =
        world.api(|request| if request.target == PATH { vec![Step::Wait(MINUTE)] } else { healthy(request) }).await;
    let fetched = fetch_within(&world.source(&server.url()), Limits::default(), Duration::from_secs(2)).await.unwrap();
    assert_says(&fetched.unfiltered.unwrap_err(), FailureClass::Unreachable, &["deadline"]);
    assert!(fetched.upcoming.is_ok());
}

// --- proxies: a real one ---

struct Tinyproxy {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Tinyproxy {
    fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 20\nAllow 127.0.0.1\nLogLevel Info\nLogFile \
             \"{}\"\nPidFile \"{}\"\n{extra}\n",
            path("log"),
            path("pid"),
        );
        std::fs::write(path("conf"), config).unwrap();
        let process = Command::new("tinyproxy")
            .args(["-d", "-c", &path("conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tinyproxy is needed by this test (Debian package tinyproxy-bin)");
        let mut proxy = Self { process, port, folder };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "tinyproxy did not start");
            assert!(proxy.process.try_wait().unwrap().is_none(), "tinyproxy ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_proxy_tunnels_and_its_password_stays_its_own() {
    let world = World::new();
    let server = world.api(healthy).await;
    let proxy = Tinyproxy::start(&format!("BasicAuth proxyuser {PROXY_PASSWORD}"));
    let mut source = world.source(&server.url());

    source.proxy = Some(format!("http://proxyuser:{PROXY_PASSWORD}@127.0.0.1:{}", proxy.port).parse().unwrap());
    fetch(&source).await.unwrap().unfiltered.unwrap();
    assert!(proxy.log().contains(&format!("CONNECT {}", server.address)), "{}", proxy.log());
    for request in server.requests.lock().unwrap().iter() {
        assert_eq!(request.header("proxy-authorization"), None);
    }

    let asked = server.targets().len();
    source.proxy = Some(format!("http://127.0.0.1:{}", proxy.port).parse().unwrap());
    let error = fetch(&source).await.unwrap_err();
    assert_says(&error, FailureClass::RefusedUs, &["407", "ca_file", &format!("http://127.0.0.1:{}", proxy.port)]);
    assert!(!error.is_transient());
    // To wrong credentials this proxy says 401, which the tunnel does not tell apart from other refusals.
    for userinfo in ["proxyuser:wrong".into(), format!("other:{PROXY_PASSWORD}")] {
        source.proxy = Some(format!("http://{userinfo}@127.0.0.1:{}", proxy.port).parse().unwrap());
        let error = fetch_within(&source, Limits::default(), Duration::from_millis(400)).await.unwrap_err();
        assert_says(&error, FailureClass::Unreachable, &["refused the CONNECT", "wrong credentials"]);
        assert!(!error.to_string().contains(&userinfo));
    }
    assert_eq!(server.targets().len(), asked);
}

#[tokio::test]
async fn a_proxy_that_inspects_refuses_or_is_gone_is_told_apart() {
    let world = World::new();
    let proxy = Tinyproxy::start("ConnectPort 1");
    let server = world.api(healthy).await;
    let mut source = world.source(&server.url());
    source.proxy = Some(format!("http://u:{PROXY_PASSWORD}@127.0.0.1:{}", proxy.port).parse().unwrap());
    let error = fetch_within(&source, Limits::default(), Duration::from_millis(400)).await.unwrap_err();
    assert_says(&error, FailureClass::Unreachable, &["the proxy", "refused the CONNECT"]);

    source.proxy = Some(format!("http://u:{PROXY_PASSWORD}@127.0.0.1:1").parse().unwrap());
    let error = fetch_within(&source, Limits::default(), Duration::from_millis(400)).await.unwrap_err();
    assert_says(&error, FailureClass::Unreachable, &["the proxy (http://127.0.0.1:1)", "Connection refused"]);

    let open = Tinyproxy::start("");
    let inspected = RawServer::start(Some(Ca::new().server("127.0.0.1", 4000)), healthy).await;
    let mut source = world.source(&inspected.url());
    source.proxy = Some(format!("http://127.0.0.1:{}", open.port).parse().unwrap());
    let error = fetch(&source).await.unwrap_err();
    assert_says(&error, FailureClass::Unreachable, &["unknown CA", "inspects TLS", "ca_file"]);
}

// --- what the environment says, each in a process of its own ---

/// Runs the calling test again as a child with these variables; it must pass, and its output shows no secret.
fn again_with(variables: &[(&str, String)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &privilege::this_test(), "--nocapture"]).env("TRUSTSYNC_TEST_CHILD", "1");
    for name in
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().map(|(name, value)| (name, value))).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_no_secret(&text, "a child's output");
}

fn is_child() -> bool {
    std::env::var_os("TRUSTSYNC_TEST_CHILD").is_some()
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_unless_no_proxy_excepts() {
    if is_child() {
        let world = World::new();
        let server = world.api(healthy).await;
        fetch(&world.source(&server.url())).await.unwrap().unfiltered.unwrap();
        return;
    }
    let proxy = Tinyproxy::start(&format!("BasicAuth proxyuser {PROXY_PASSWORD}"));
    let url = format!("http://proxyuser:{PROXY_PASSWORD}@127.0.0.1:{}", proxy.port);
    again_with(&[("HTTPS_PROXY", url)]);
    assert!(proxy.log().contains("CONNECT 127.0.0.1"), "{}", proxy.log());
    let nobody = format!("http://proxyuser:{PROXY_PASSWORD}@127.0.0.1:1");
    again_with(&[("HTTPS_PROXY", nobody), ("NO_PROXY", "127.0.0.1".into())]);
}

#[tokio::test]
async fn a_proxy_of_the_environment_that_wants_a_password_is_named() {
    if is_child() {
        let world = World::new();
        let server = world.api(healthy).await;
        let error = fetch(&world.source(&server.url())).await.unwrap_err();
        assert_says(&error, FailureClass::RefusedUs, &["407", "HTTPS_PROXY", "ca_file"]);
        return;
    }
    let proxy = Tinyproxy::start(&format!("BasicAuth proxyuser {PROXY_PASSWORD}"));
    again_with(&[("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port))]);
}

#[test]
fn no_roots_at_all_is_an_error_that_names_both() {
    if is_child() {
        let world = World::new();
        let mut source = world.source("https://127.0.0.1:1");
        assert!(Client::new(&source, Limits::default()).is_ok(), "ca_file alone is enough");
        source.ca_file = None;
        let error = Client::new(&source, Limits::default()).err().expect("no roots").to_string();
        assert!(error.contains("system") && error.contains("ca_file") && error.contains("source us"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let folder = folder.path().display().to_string();
    again_with(&[("SSL_CERT_FILE", empty.display().to_string()), ("SSL_CERT_DIR", folder)]);
}
