//! `[listen]` of the real daemon: what probes and monitoring systems are told of a store that is empty, published, stale,
//! owed to a server; what a configuration that moves the address does; who cannot hold it up. And `status --probe`, which
//! asks the same for a container.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::daemon::Daemon;
use support::sandbox::Sandbox;
use trustsync::report::{InForce, metrics};
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::trust::plan::set::TrustSet;
use trustsync::trust::records::state::State;
use trustsync::trust::records::summary::StoreSummary;
use trustsync::trust::values::timestamp::Timestamp;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
}

/// An address that is free now.
fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], support::port::free_port()))
}

fn start(sandbox: &Sandbox) -> Daemon {
    Daemon::start(&mut sandbox.command(&["run"]), sandbox.path("log"))
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends these bytes, and reads to the end.
fn send(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // What is refused early may be closed before all is written.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

fn ask(address: SocketAddr, method: &str, path: &str) -> Option<Answer> {
    send(address, format!("{method} {path} HTTP/1.1\r\nHost: probe\r\n\r\n").as_bytes())
}

#[track_caller]
fn get(address: SocketAddr, path: &str) -> Answer {
    wait_for(path, || ask(address, "GET", path))
}

#[track_caller]
fn ready(address: SocketAddr) {
    wait_for("ready", || ask(address, "GET", "/readyz").filter(|answer| answer.status == 200));
}

/// The value of a sample of `/metrics`.
fn sample(address: SocketAddr, name: &str) -> Option<f64> {
    let text = ask(address, "GET", "/metrics")?.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

fn listening(sandbox: Sandbox) -> (Sandbox, SocketAddr) {
    let address = free();
    sandbox.append(&format!("\n[listen]\naddress = \"{address}\"\n"));
    (sandbox, address)
}

/// Changes what the store remembers of its source `us`.
fn remember(sandbox: &Sandbox, key: &str, value: Value) {
    let mut state = sandbox.state();
    state["sources"]["us"][key] = value;
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
}

fn ago(time: Duration) -> Value {
    json!(now().minus(time))
}

fn now() -> Timestamp {
    use trustsync::clock::Clock;
    trustsync::clock::SystemClock.now()
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn ready_with_the_first_generation_and_not_before() {
    let (sandbox, address) = listening(Sandbox::new());
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    let daemon = start(&sandbox);
    let looked = |answer: &Answer| answer.json()["missing"] == json!(["store main: nothing published yet"]);
    let answer = wait_for("a look", || ask(address, "GET", "/readyz").filter(looked));
    assert_eq!((answer.status, &answer.json()["ready"]), (503, &json!(false)));
    let alive = get(address, "/healthz");
    assert_eq!((alive.status, alive.json()), (200, json!({"healthy": true})));
    assert_eq!(sample(address, "trustsync_ready{store=\"main\"}"), Some(0.0));
    sandbox.run(&["status", "--probe"]).exits(1).says(&["not ready: 503", "nothing published yet"]);

    sandbox.world().clear();
    daemon.signal(Signal::USR1);
    ready(address);
    assert_eq!(get(address, "/readyz").json(), json!({"ready": true}));
    assert_eq!(sample(address, "trustsync_ready{store=\"main\"}"), Some(1.0));
    let probed = sandbox.run(&["status", "--probe"]).exits(0);
    assert_eq!(probed.stdout, "healthy, ready\n");
}

#[test]
fn an_outage_of_the_vendor_is_stale_and_stays_ready() {
    let (sandbox, address) = listening(Sandbox::new());
    sandbox.sync(&[]).exits(0);
    let since = ago(HOUR * 4);
    remember(&sandbox, "last_success", since.clone());
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    let daemon = start(&sandbox);
    ready(address);
    let answer = get(address, "/readyz");
    assert_eq!(answer.json(), json!({"ready": true, "stale": [{"store": "main", "source": "us", "since": since}]}));
    let of_us = |name: &str| sample(address, &format!("trustsync_source_{name}{{store=\"main\",source=\"us\"}}"));
    assert_eq!(of_us("stale"), Some(1.0));
    let age = of_us("last_success_age_seconds").unwrap();
    assert!((14_400.0..14_460.0).contains(&age), "{age}");
    sandbox.run(&["status", "--probe"]).exits(0).says(&["healthy", "ready", "stale"]);

    // Never polled at all: what is in place came from elsewhere.
    drop(daemon);
    for key in ["last_success", "last_attempt", "next_due"] {
        remember(&sandbox, key, Value::Null);
    }
    let _daemon = start(&sandbox);
    ready(address);
    let stale = &get(address, "/readyz").json()["stale"][0];
    assert_eq!(stale, &json!({"store": "main", "source": "us", "since": null}));
    assert_eq!(of_us("last_success_age_seconds"), Some(f64::INFINITY));
    assert_eq!(of_us("last_success_timestamp_seconds"), Some(0.0));
}

#[test]
fn three_intervals_are_not_stale_yet() {
    let (sandbox, address) = listening(Sandbox::new());
    sandbox.sync(&[]).exits(0);
    remember(&sandbox, "last_success", ago(HOUR * 3 - Duration::from_secs(120)));
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    let _daemon = start(&sandbox);
    ready(address);
    assert_eq!(get(address, "/readyz").json(), json!({"ready": true}));
}

#[test]
fn metrics_tell_how_all_stands_in_a_form_that_prometheus_reads() {
    let sandbox = Sandbox::with(|options| {
        options.days_left = Some(30);
        options.rotate_at_days_left = None;
    });
    sandbox.add_target("edge");
    sandbox.append("\n[target.broken]\nkind = \"generic\"\nreload = { command = [\"/bin/false\"] }\n");
    let (sandbox, address) = listening(sandbox);
    let _daemon = start(&sandbox);
    ready(address);
    let text = get(address, "/metrics");
    assert!(text.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", text.head);

    let at = |name: &str| sample(address, &format!("trustsync_{name}"));
    assert_eq!(at(&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), Some(1.0));
    assert_eq!(at("healthy"), Some(1.0));
    assert_eq!(at("config_last_reload_successful"), Some(1.0));
    assert_eq!(at("generation{store=\"main\"}"), Some(1.0));
    assert_eq!(at("deny_all{store=\"main\"}"), Some(0.0));
    assert_eq!(at("target_owed{store=\"main\",target=\"edge\"}"), Some(0.0));
    assert_eq!(at("target_generation{store=\"main\",target=\"edge\"}"), Some(1.0));
    assert_eq!(at("target_owed_since_timestamp_seconds{store=\"main\",target=\"edge\"}"), None);
    assert_eq!(at("target_owed{store=\"main\",target=\"broken\"}"), Some(1.0));
    assert_eq!(at("target_generation{store=\"main\",target=\"broken\"}"), Some(0.0));
    let unix = now().unix() as f64;
    let since = at("target_owed_since_timestamp_seconds{store=\"main\",target=\"broken\"}").unwrap();
    assert!((unix - 60.0..=unix).contains(&since), "{since}");
    assert!(at("alarms{store=\"main\",severity=\"critical\"}").unwrap() >= 1.0);
    let of_event = "alarm{store=\"main\",event=\"target_not_told\",severity=\"critical\",subject=\"broken\"}";
    assert_eq!(at(of_event), Some(1.0));
    let slot = sandbox.state()["memory"]["slots"].as_object().unwrap().keys().next().unwrap().clone();
    let of_role =
        |role: &str| at(&format!("certificate_remaining_seconds{{store=\"main\",slot=\"{slot}\",role=\"{role}\"}}"));
    let days = of_role("current").unwrap() / 86_400.0;
    assert!((29.0..=30.1).contains(&days), "{days}");
    assert!(of_role("upcoming").unwrap() / 86_400.0 > 300.0);
    let of_us = |name: &str| at(&format!("source_{name}{{store=\"main\",source=\"us\"}}"));
    assert!(of_us("last_success_age_seconds").unwrap() < 60.0);
    assert!((unix - 60.0..=unix).contains(&of_us("last_success_timestamp_seconds").unwrap()));
    assert!(of_us("next_poll_timestamp_seconds").unwrap() > unix);
    assert_eq!((of_us("consecutive_failures"), of_us("stale")), (Some(0.0), Some(0.0)));
    assert_eq!((at("hold{store=\"main\"}"), at("hold_end_timestamp_seconds{store=\"main\"}")), (Some(0.0), None));

    for path in ["/metrics", "/readyz", "/healthz", "/status"] {
        let said = get(address, path).body;
        for secret in [sandbox.world().client_secret(), trustsync::simulator::world::CLIENT_ID, "BEGIN"] {
            assert!(!said.contains(secret), "{path} says {secret}");
        }
    }
    judged_by_promtool(&text.body);
}

#[test]
fn what_never_happened_is_owed_and_infinitely_long_ago() {
    let sandbox = Sandbox::new();
    sandbox.add_target("new");
    sandbox.append("\n[store.second]\npath = \"second\"\n");
    sandbox.configure(&sandbox.configuration().replace("[target.new]\n", "[target.new]\nstore = \"main\"\n"));
    let settings = trustsync::settings::read(&sandbox.path("config.toml"), &BTreeMap::new()).unwrap().settings;
    let in_force = InForce { settings: Arc::new(settings), since: Timestamp::from_unix(5), newer_refused: true };
    // `main` was looked at before the target came; `second` was not looked at.
    let mut state = State::born("id".into());
    state.generation = 7;
    let summary = StoreSummary::of("main", &state, &TrustSet::default());
    let text = metrics::render(&in_force, false, &[summary], Timestamp::from_unix(1_000));
    for line in [
        "trustsync_healthy 0",
        "trustsync_config_last_reload_successful 0",
        "trustsync_config_last_reload_success_timestamp_seconds 5",
        "trustsync_ready{store=\"main\"} 1",
        "trustsync_ready{store=\"second\"} 0",
        "trustsync_generation{store=\"main\"} 7",
        "trustsync_deny_all{store=\"main\"} 1",
        "trustsync_target_owed{store=\"main\",target=\"new\"} 1",
        "trustsync_target_generation{store=\"main\",target=\"new\"} 0",
        "trustsync_target_last_proof_timestamp_seconds{store=\"main\",target=\"new\"} 0",
        "trustsync_source_stale{store=\"main\",source=\"us\"} 1",
        "trustsync_source_last_success_age_seconds{store=\"main\",source=\"us\"} +Inf",
    ] {
        assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("store=\"second\"").count(), 1, "{text}");
    judged_by_promtool(&text);
}

/// promtool reads it, and has nothing to say about its names.
fn judged_by_promtool(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed for this test: apt-get install prometheus");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let lines = [said.stdout, said.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(said.status.success() && lines.is_empty(), "{lines}\n{text}");
}

#[test]
fn a_hold_and_a_refused_configuration_are_seen() {
    let (sandbox, address) = listening(Sandbox::new());
    let daemon = start(&sandbox);
    ready(address);
    let until = now().plus(HOUR * 2).unix() as f64;
    sandbox.run(&["hold", "--for", "2h"]).exits(0);
    daemon.signal(Signal::USR1);
    wait_for("the hold", || (sample(address, "trustsync_hold{store=\"main\"}") == Some(1.0)).then_some(()));
    let end = sample(address, "trustsync_hold_end_timestamp_seconds{store=\"main\"}").unwrap();
    assert!((end - until).abs() < 60.0, "{end} {until}");

    let good = sandbox.configuration();
    sandbox.append("\n[nonsense]\n");
    let successful = || sample(address, "trustsync_config_last_reload_successful");
    wait_for("the refusal", || (successful() == Some(0.0)).then_some(()));
    sandbox.configure(&good);
    wait_for("the restoration", || (successful() == Some(1.0)).then_some(()));
}

#[test]
fn only_reading_and_only_what_there_is() {
    let (sandbox, address) = listening(Sandbox::new());
    let daemon = start(&sandbox);
    ready(address);
    for path in ["/healthz", "/readyz", "/status", "/metrics"] {
        let whole = get(address, path);
        let head = ask(address, "HEAD", path).unwrap();
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert!(head.head.contains("content-length: "), "{}", head.head);
        for answer in [&whole, &head] {
            assert!(answer.head.contains("connection: close") && answer.head.contains("cache-control: no-store"));
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let refused = ask(address, method, path).unwrap();
            assert_eq!(refused.status, 405, "{method} {path}");
            assert!(refused.head.contains("allow: get, head"), "{}", refused.head);
        }
    }
    assert_eq!(get(address, "/metrics?name=x").status, 200);
    for path in ["/", "/healthz/", "/status/", "/../healthz", "/metrics%00"] {
        let answer = get(address, path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].as_str().unwrap().contains("/readyz"));
    }
    assert_eq!(send(address, b"nonsense\r\n\r\n").unwrap().status, 400);
    let long = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert!(matches!(send(address, long.as_bytes()), None | Some(Answer { status: 431, .. })));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(500));
    assert!(matches!(send(address, many.as_bytes()), None | Some(Answer { status: 431, .. })));
    assert_eq!(get(address, "/healthz").status, 200);

    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim().parse::<u32>().unwrap();
    assert!(threads <= 3, "{threads} threads: ours, the watcher's, and at most one that looked a name up");
}

#[test]
fn those_who_connect_and_say_nothing_hold_nobody_up() {
    let (sandbox, address) = listening(Sandbox::new());
    let daemon = start(&sandbox);
    ready(address);
    let begun = Instant::now();
    let mut silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (number, stream) in silent.iter_mut().enumerate() {
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
        }
    }
    // Of all that there is room for, one after the other is closed for those who come later.
    for path in ["/healthz", "/readyz", "/metrics", "/healthz"] {
        assert_eq!(get(address, path).status, 200);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1_500), "they were waited for: {took:?}");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(descriptors < 64 + 40, "{descriptors} descriptors");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        // Whose words were not read sees a reset.
        assert!(ended.is_ok() || ended.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_port_in_use_is_said_at_the_start_and_nothing_is_done() {
    let (sandbox, address) = listening(Sandbox::new());
    let _taken = TcpListener::bind(address).unwrap();
    let ran = sandbox.run(&["run"]).exits(3);
    ran.says(&["listen.address", &address.to_string(), "address in use", "Nothing was done; trust is unchanged."]);
    assert!(!sandbox.store().exists());
    assert_eq!(sandbox.world().request_counts().token, 0);
}

#[test]
fn a_new_address_takes_over_and_one_that_cannot_be_had_changes_nothing() {
    let (sandbox, first) = listening(Sandbox::new());
    let daemon = start(&sandbox);
    ready(first);
    let refused = |from: SocketAddr, to: &str| {
        let count = daemon.count("configuration_refused");
        sandbox.configure(&sandbox.configuration().replace(&from.to_string(), to));
        daemon.wait_for("configuration_refused", count + 1);
        assert_eq!(get(from, "/readyz").status, 200);
        assert_eq!(sample(from, "trustsync_config_last_reload_successful"), Some(0.0));
        sandbox.configure(&sandbox.configuration().replace(to, &from.to_string()));
        wait_for("the restoration", || {
            (sample(from, "trustsync_config_last_reload_successful") == Some(1.0)).then_some(())
        });
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    refused(first, &taken.local_addr().unwrap().to_string());
    // An address that no machine has, at the very port that has to make room for the try.
    refused(first, &format!("192.0.2.1:{}", first.port()));

    let moves = |from: SocketAddr, to: SocketAddr, then: SocketAddr| {
        sandbox.configure(&sandbox.configuration().replace(&from.to_string(), &to.to_string()));
        wait_for("the new address", || ask(then, "GET", "/healthz").filter(|answer| answer.status == 200));
    };
    // All addresses of the same port, and back to one: each is in the other's way.
    let all = SocketAddr::from(([0, 0, 0, 0], first.port()));
    let another_of_all = SocketAddr::from(([127, 0, 0, 2], first.port()));
    moves(first, all, another_of_all);
    sandbox.run(&["status", "--probe"]).exits(0);
    moves(all, first, first);
    wait_for("the old address to be left", || TcpStream::connect(another_of_all).is_err().then_some(()));
    let second = free();
    moves(first, second, second);
    wait_for("the old address to be left", || TcpStream::connect(first).is_err().then_some(()));

    let without = sandbox.configuration().split("\n[listen]").next().unwrap().to_owned();
    sandbox.configure(&without);
    wait_for("the last address to be left", || TcpStream::connect(second).is_err().then_some(()));
    // The address is left before the log says so.
    daemon.wait_for("configuration_reloaded", 4);
    sandbox.run(&["status", "--probe"]).exits(0).says(&["generation 000001", "no poll overdue"]);
}

#[test]
fn the_probe_tells_a_daemon_that_is_stopped_or_gone_by_asking() {
    let (sandbox, address) = listening(Sandbox::new());
    let daemon = start(&sandbox);
    ready(address);
    daemon.signal(Signal::STOP);
    let stopped = sandbox.run(&["status", "--probe"]).exits(1).says(&["does not answer", "not within 3s"]);
    assert!(stopped.took < Duration::from_secs(10), "{:?}", stopped.took);
    daemon.signal(Signal::CONT);
    sandbox.run(&["status", "--probe"]).exits(0);
    drop(daemon);
    let gone = sandbox.run(&["status", "--probe", "--output", "json"]).exits(1).says(&["Connection refused"]);
    assert_eq!(gone.json()["ok"], json!(false));
    assert_eq!(gone.json()["said"].as_str().unwrap().lines().count(), 1, "{}", gone.stdout);
}

#[test]
fn without_listen_the_probe_judges_by_what_the_store_remembers() {
    let sandbox = Sandbox::new();
    sandbox.run(&["status", "--probe"]).exits(1).says(&["store main: nothing there yet in"]);
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    sandbox.sync(&["--deadline", "1s"]).exits(4);
    sandbox.run(&["status", "--probe"]).exits(1).says(&["store main: nothing published yet"]);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status", "--probe"]).exits(0).says(&["generation 000001"]);
    // What is in place serves, though what the store remembers is lost.
    let state = sandbox.store().join("state.json");
    let kept = fs::read(&state).unwrap();
    fs::remove_file(&state).unwrap();
    sandbox.run(&["status", "--probe"]).exits(0).says(&["generation 000001"]);
    fs::write(&state, kept).unwrap();
    remember(&sandbox, "next_due", ago(Duration::from_secs(5 * 60)));
    sandbox.run(&["status", "--probe"]).exits(0);
    remember(&sandbox, "next_due", ago(Duration::from_secs(11 * 60)));
    sandbox.run(&["status", "--probe"]).exits(1).says(&["source us was due on", "is the daemon alive?"]);
    sandbox.append("\n[nonsense]\n");
    let broken = sandbox.run(&["status", "--probe"]).exits(1).says(&["nonsense"]);
    assert_eq!(broken.stdout.lines().count(), 1, "{}", broken.stdout);
}

#[test]
fn a_restarted_daemon_that_cannot_work_on_its_store_is_ready_by_what_is_in_place() {
    let (sandbox, address) = listening(Sandbox::new());
    sandbox.sync(&[]).exits(0);
    let lock = sandbox.store().join("lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let _daemon = start(&sandbox);
    let failing = |answer: &Answer| answer.json()["failing"][0].as_str().is_some_and(|why| why.contains("lock"));
    let answer = wait_for("a failure", || ask(address, "GET", "/readyz").filter(failing));
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &json!(true)), "{answer:?}");
    assert_eq!(sample(address, "trustsync_ready{store=\"main\"}"), Some(1.0));
    assert_eq!(sample(address, "trustsync_generation{store=\"main\"}"), Some(1.0));
}
