//! A server that is asked which generation it has loaded, by a command or over HTTP (a Unix socket's too): only what names
//! the generation proves anything.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trustsync::settings::resolved::{self as settings, Endpoint, Reload};
use trustsync::targets::generic::GENERIC;
use trustsync::targets::http::HttpError;
use trustsync::targets::kind::Kind;
use trustsync::targets::process::Environment;
use trustsync::targets::proof::{NOT_OURS, Patience, Wanted, of_generation, prove};
use trustsync::targets::reload::{ReloadError, ReloadReport, request};
use trustsync::trust::turn::Proof;

const STORE: &str = "9f86d081884c7d65";
const KIND: Kind = &GENERIC;
const LIMIT: Duration = Duration::from_secs(20);

fn wanted() -> Wanted {
    let environment = Environment::default().with("TARGET", "app").with("GENERATION", "000042");
    Wanted {
        store_id: STORE.into(),
        generation: 42,
        digest_head: "01234567".into(),
        environment,
        directory: "/nowhere".into(),
    }
}

fn ways(command: Option<&[&str]>, http: Option<&str>) -> settings::ProofMethods {
    settings::ProofMethods {
        command: command.map(|argv| argv.iter().map(ToString::to_string).collect()),
        http: http.map(|text| Endpoint::parse(text).unwrap()),
        settle: Duration::from_millis(50),
        timeout: Duration::from_secs(3),
        ..settings::ProofMethods::default()
    }
}

async fn proof_by(command: Option<&[&str]>, http: Option<&str>) -> Proof {
    prove(KIND, &ways(command, http), &wanted(), Patience::LongRunning).await.proof
}

/// Answers every request with what stands in it at that time; says how the last one began.
#[derive(Clone)]
struct Application {
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Application {
    fn new(answer: &str) -> Self {
        Self { answer: Arc::new(Mutex::new(answer.as_bytes().to_vec())), asked: Arc::default() }
    }

    fn serve(&self, connection: impl Read + Write) {
        let mut reader = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
        self.asked.lock().unwrap().push(head);
        let answer = self.answer.lock().unwrap().clone();
        let _ = reader.get_mut().write_all(&answer);
    }

    fn on_tcp(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = self.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|connection| this.serve(connection)));
        port
    }

    fn on_socket(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let this = self.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|connection| this.serve(connection)));
    }

    fn answers(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.as_bytes().to_vec();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_command_proves_by_what_it_says_and_never_by_its_exit_code() {
    for says in ["000042", "000042 9f86d081884c7d65", "# trustsync generation 000042 store 9f86d081884c7d65"] {
        assert_eq!(proof_by(Some(&["echo", says]), None).await, Proof::Proven, "{says}");
    }
    let nothing = proof_by(Some(&["true"]), None).await;
    assert!(matches!(&nothing, Proof::Unverifiable(reason) if reason.contains("names no generation")), "{nothing:?}");
    let older = proof_by(Some(&["echo", "000041"]), None).await;
    assert_eq!(older, of_generation("what it says of itself", 41));
    assert_eq!(proof_by(Some(&["echo", "000042 0123456789abcdef"]), None).await, Proof::NotWired(NOT_OURS.to_owned()));
    // It names the generation, and fails: whatever it means by that is no proof.
    for failing in [&["sh", "-c", "echo 000042; exit 1"][..], &["/does/not/exist"]] {
        let failed = proof_by(Some(failing), None).await;
        assert!(matches!(failed, Proof::Unreachable(_)), "{failing:?}: {failed:?}");
    }
}

#[tokio::test]
async fn a_command_is_told_what_is_wanted_and_asked_until_it_is_steadily_said() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    // It takes its time to load, and once falls back to the old one, as a server of several workers does.
    let script = format!(
        "echo >> {count}; n=$(wc -l < {count}); case $n in 1|2|3|5) echo 000041;; *) echo $TRUSTSYNC_GENERATION;; esac",
        count = count.display()
    );
    let report = prove(KIND, &ways(Some(&["sh", "-c", &script]), None), &wanted(), Patience::JustReloaded).await;
    assert_eq!(report.proof, Proof::Proven);
    let asked = fs::read_to_string(&count).unwrap().lines().count();
    assert!(asked >= 8, "a streak of three after the fifth: {asked}");
}

#[tokio::test]
async fn one_that_answers_and_fails_in_turn_is_not_steady_however_little_time_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let script = format!(
        "echo >> {count}; n=$(wc -l < {count}); [ $((n % 2)) = 1 ] && echo $TRUSTSYNC_GENERATION",
        count = count.display()
    );
    let command = ways(Some(&["sh", "-c", &script]), None);
    let hurried = settings::ProofMethods { settle: Duration::ZERO, timeout: Duration::from_millis(450), ..command };
    let report = prove(KIND, &hurried, &wanted(), Patience::JustReloaded).await;
    assert!(matches!(report.proof, Proof::NotYet(_)), "{report:?}");
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_and_holds_nobody_up() {
    let began = Instant::now();
    let hung = proof_by(Some(&["sh", "-c", "trap '' TERM; sleep 1000; sleep 1000"]), None).await;
    assert!(matches!(&hung, Proof::Unreachable(reason) if reason.contains("did not end in time")), "{hung:?}");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_proves_by_its_header_or_its_first_line_and_never_by_its_status() {
    let application = Application::new("");
    let url = format!("http://127.0.0.1:{}/-/trust?q=1", application.on_tcp());
    let header = "X-Trustsync-Generation: 000042 9f86d081884c7d65\r\n";
    for (says, proof) in [
        (answer("200 OK", "X-Trustsync-Generation: 000042\r\n", "whatever"), Some(Proof::Proven)),
        // It may well refuse us otherwise.
        (answer("403 Forbidden", header, ""), Some(Proof::Proven)),
        (answer("200 OK", "", "000042\nmore"), Some(Proof::Proven)),
        (answer("200 OK", "", "000041"), Some(of_generation("what it says of itself", 41))),
        // The header wins.
        (
            answer("200 OK", "X-Trustsync-Generation: 000041\r\n", "000042"),
            Some(of_generation("what it says of itself", 41)),
        ),
        (answer("404 Not Found", "", "000042"), None),
        (answer("200 OK", "", "ok"), None),
        (answer("204 No Content", "", ""), None),
    ] {
        application.answers(&says);
        let shown = proof_by(None, Some(&url)).await;
        match proof {
            Some(proof) => assert_eq!(shown, proof, "{says}"),
            None => assert!(matches!(shown, Proof::Unverifiable(_)), "{says}: {shown:?}"),
        }
    }
    application.answers(&answer("503 Service Unavailable", "", ""));
    assert!(matches!(proof_by(None, Some(&url)).await, Proof::Unreachable(_)));
    let asked = application.asked.lock().unwrap();
    assert!(asked.iter().all(|head| head.starts_with("GET /-/trust?q=1 HTTP/1.1\r\n")), "{asked:?}");
}

#[tokio::test]
async fn over_a_unix_socket_a_server_is_told_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let at = |path: &str| format!("unix:{}:{path}", socket.display());
    let unreachable = proof_by(None, Some(&at("/trust"))).await;
    assert!(matches!(&unreachable, Proof::Unreachable(reason) if reason.contains("app.sock")), "{unreachable:?}");
    let post = async |limit| {
        request(&Reload::Http(Endpoint::parse(&at("/-/reload?t=hunter2")).unwrap()), &Environment::default(), limit)
            .await
    };
    let nobody = post(LIMIT).await.unwrap_err();
    assert!(matches!(nobody, ReloadError::NotAsked(HttpError::NoAnswer { .. })), "{nobody:?}");
    assert!(nobody.to_string().contains("owed") && !nobody.to_string().contains("hunter2"), "{nobody}");

    let application = Application::new(&answer("200 OK", "", "000042"));
    application.on_socket(&socket);
    assert_eq!(proof_by(None, Some(&at("/trust"))).await, Proof::Proven);
    assert_eq!(post(LIMIT).await.unwrap(), ReloadReport::Answered { status: 200 });
    let last = application.asked.lock().unwrap().last().unwrap().clone();
    assert!(
        last.starts_with("POST /-/reload?t=hunter2 HTTP/1.1\r\n") && last.contains("host: localhost\r\n"),
        "{last}"
    );

    application.answers(&answer("500 Oh", "", &"no\u{1b}[31m way ".repeat(1_000)));
    let refused = post(LIMIT).await.unwrap_err();
    assert!(
        matches!(&refused, ReloadError::Refused { status: 500, body, .. }
            if body.starts_with("no[31m way") && body.len() <= 512),
        "{refused:?}"
    );
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    // A flood is not read to its end, and what is no HTTP is said to be none.
    application.answers(&format!("HTTP/1.1 200 OK\r\n\r\n000042\n{}", "x".repeat(3_000_000)));
    assert_eq!(proof_by(None, Some(&at("/trust"))).await, Proof::Proven);
    application.answers("SSH-2.0-000042\r\n");
    assert!(matches!(post(LIMIT).await, Err(ReloadError::NotAsked(_))));
}

#[tokio::test]
async fn a_server_that_takes_a_request_and_never_answers_has_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("deaf.sock");
    let _deaf = UnixListener::bind(&socket).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    for url in [format!("unix:{}:/", socket.display()), format!("http://{}/", tcp.local_addr().unwrap())] {
        let began = Instant::now();
        let reload = Reload::Http(Endpoint::parse(&url).unwrap());
        let deaf = request(&reload, &Environment::default(), Duration::from_millis(300)).await;
        assert!(matches!(&deaf, Err(ReloadError::NotAsked(HttpError::NoAnswer { .. }))), "{deaf:?}");
        assert!(began.elapsed() < LIMIT);
    }
}

#[tokio::test]
async fn several_ways_must_agree() {
    let application = Application::new(&answer("200 OK", "", "000041"));
    let url = format!("http://127.0.0.1:{}/", application.on_tcp());
    let report = prove(KIND, &ways(Some(&["echo", "000042"]), Some(&url)), &wanted(), Patience::LongRunning).await;
    assert_eq!(report.proof, of_generation("what it says of itself", 41));
    let named: Vec<&str> = report.places.iter().map(|way| way.place.as_str()).collect();
    assert_eq!(named, ["command", url.as_str()]);
    application.answers(&answer("200 OK", "", "000042"));
    let report = prove(KIND, &ways(Some(&["echo", "000042"]), Some(&url)), &wanted(), Patience::LongRunning).await;
    assert_eq!(report.proof, Proof::Proven);
}

#[tokio::test]
async fn a_command_that_goes_a_long_way_is_asked_as_often_as_a_quick_one() {
    // Longer than a third of what a quick one that nobody told lately is given in all.
    let slow = ["sh", "-c", "sleep 1.4; echo 000042"];
    let settings = settings::ProofMethods { timeout: Duration::from_secs(30), ..ways(Some(&slow), None) };
    let report = prove(KIND, &settings, &wanted(), Patience::LongRunning).await;
    assert_eq!((report.proof, report.places[0].observations), (Proof::Proven, 3));
}
