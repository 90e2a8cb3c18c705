//! `trustsync run` killed at moments drawn over every system call of a rotation: from the first byte asked of the vendor to
//! the proof. Whatever was done by then, the next start proves first, and tells only whom it cannot prove.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::kills::assert_converged;
use support::rotation::{Stage, assert_whole};
use support::strace::{self, Call};

const PATIENCE: Duration = Duration::from_secs(60);

/// How far a rotation had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Start,
    Fetch,
    Write,
    Switch,
    Reload,
    Proof,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Fetch, Self::Write, Self::Switch, Self::Reload, Self::Proof];

    /// By what `call` is, once the phase before has begun.
    fn begun_by(call: &Call, ports: &Ports) -> Self {
        let connects_to = |port: u16| call.name == "connect" && call.mentions(&format!("htons({port})"));
        let named = |text: &str| call.paths().iter().any(|path| path.to_string_lossy().contains(text));
        if connects_to(ports.vendor) {
            Self::Fetch
        } else if call.name.starts_with("mkdir") && named(".new-000003") {
            Self::Write
        } else if call.name.starts_with("symlink") && (named(".current.new") || named(".server.new")) {
            Self::Switch
        } else if connects_to(ports.reload) {
            Self::Reload
        } else if connects_to(ports.server) {
            Self::Proof
        } else {
            Self::Start
        }
    }

    /// The phase after these calls. The server is also proven at the start, before anything is asked.
    fn after(calls: &[Call], ports: &Ports) -> Self {
        calls.iter().fold(Self::Start, |phase, call| match Self::begun_by(call, ports) {
            Self::Proof if phase < Self::Reload => phase,
            next => phase.max(next),
        })
    }
}

struct Ports {
    vendor: u16,
    server: u16,
    reload: u16,
}

/// A rotation that is due: a store at the second generation, a server that serves it, a vendor that lists a third.
fn due_rotation() -> (Stage, Ports) {
    let stage = Stage::new();
    stage.up_to_the_rotation();
    let path = stage.dir.path().join("before/state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["sources"]["demo"]["next_due"] = serde_json::Value::Null;
    fs::write(&path, serde_json::to_vec_pretty(&state).unwrap()).unwrap();
    let port = |text: &str| text.trim_end_matches("/reload").rsplit(':').next().unwrap().parse().unwrap();
    let ports = Ports {
        vendor: port(&fs::read_to_string(stage.dir.path().join("api")).unwrap()),
        server: stage.server.port(),
        reload: port(&stage.reloads.url()),
    };
    (stage, ports)
}

/// A process group of its own, of which nothing is left when this is dropped.
struct Watched(Child);

impl Watched {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The daemon with every system call of its first thread, which does all the work, written to `log`.
fn watched(stage: &Stage, log: &Path, inject: Option<(&str, u32)>) -> Watched {
    let injected = inject.map(|(name, when)| format!("inject={name}:signal=SIGKILL:when={when}"));
    let mut options = vec!["-y", "-qq", "-s", "256", "-o", log.to_str().unwrap(), "-e", "signal=none"];
    options.extend(injected.iter().flat_map(|inject| ["-e", inject]));
    let mut command = strace::traced(&stage.command(&["run"]), &options);
    Watched::start(command.stderr(Stdio::null()))
}

/// Whether the rotation has come to its end on the disk.
fn is_done(stage: &Stage) -> bool {
    let Ok(bytes) = fs::read(stage.store.join("state.json")) else { return false };
    let state: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let target = &state["targets"]["server"];
    target["acknowledged"] == 3 && target["owed"].is_null()
}

/// The calls in a log of one thread, whose lines bear no number.
fn calls_of(log: &Path) -> Vec<Call> {
    let lines = fs::read_to_string(log).unwrap();
    strace::parse(&lines.lines().map(|line| format!("1 {line}\n")).collect::<String>())
}

/// Waits until it is killed, or the rotation is done and it was told to end. How it ended.
fn see_out(stage: &Stage, mut watched: Watched, pid_of: impl Fn(&Child) -> Option<i32>) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let child = &mut watched.0;
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "neither killed nor done: {:#}", stage.state());
        if !told && is_listening(pid_of(child)) && is_done(stage) {
            told = pid_of(child).and_then(Pid::from_raw).is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        }
        sleep(Duration::from_millis(5));
    }
}

/// Whether it handles SIGTERM by now: before that, the signal would simply end it.
fn is_listening(pid: Option<i32>) -> bool {
    let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok()).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & (1 << (Signal::TERM.as_raw() - 1)) != 0
}

/// The one child of strace.
fn tracee(child: &Child) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn itself(child: &Child) -> Option<i32> {
    i32::try_from(child.id()).ok()
}

/// A number below `end`.
fn random(draw: &mut u64, end: usize) -> usize {
    *draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*draw >> 33).unwrap() % end
}

fn killed_at_moments_that_are_drawn(wanted: usize, salt: u64) {
    let seed = std::env::var("TRUSTSYNC_TEST_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) ^ support::rotation::now().unix().unsigned_abs());
    println!("TRUSTSYNC_TEST_SEED={seed}");
    let mut draw = seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (stage, ports) = due_rotation();
    // Not beside the configuration, which is watched.
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("calls");

    stage.restore("before");
    let ended = see_out(&stage, watched(&stage, &log, None), tracee);
    assert!(ended.success(), "{ended}");
    let calls = calls_of(&log);
    assert_eq!(Phase::after(&calls, &ports), Phase::Proof, "the record shows every phase");
    let mut moments: BTreeMap<Phase, Vec<usize>> = BTreeMap::new();
    for moment in 0..calls.len() {
        moments.entry(Phase::after(&calls[..=moment], &ports)).or_default().push(moment);
    }

    let mut hits: BTreeMap<Phase, usize> = BTreeMap::new();
    let mut misses = 0;
    while hits.values().sum::<usize>() < wanted {
        // A phase first: telling the server takes a dozen calls of two thousand.
        let phase = Phase::ALL[random(&mut draw, Phase::ALL.len())];
        let moment = moments[&phase][random(&mut draw, moments[&phase].len())];
        let name = &calls[moment].name;
        // Not every name that strace prints is one that it can inject at.
        if matches!(name.as_str(), "exit" | "exit_group" | "restart_syscall") {
            continue;
        }
        let when = u32::try_from(calls[..=moment].iter().filter(|call| call.name == *name).count()).unwrap();
        stage.restore("before");
        let ended = see_out(&stage, watched(&stage, &log, Some((name, when))), tracee);
        if ended.signal() != Some(9) {
            misses += 1;
            assert!(misses <= wanted, "{name} number {when}: {ended}; most moments were never reached");
            continue;
        }
        let phase = Phase::after(&calls_of(&log), &ports);
        *hits.entry(phase).or_default() += 1;
        let told = format!("killed at {name} number {when}, in {phase:?}");
        for link in ["current", "target/server"] {
            let shown = assert_whole(&stage.store.join(link));
            assert!(matches!(shown, Some(2 | 3)), "{told}: {link} shows {shown:?}");
        }
        let next = Watched::start(stage.command(&["run"]).stderr(Stdio::null()));
        let ended = see_out(&stage, next, itself);
        assert!(ended.success(), "{told}: the next start ended with {ended}");
        println!("{told}");
        assert_converged(&stage, 3, true);
        assert_eq!(stage.reloads.count(), 1, "{told}: told once, before the kill or after");
    }
    println!("hits: {hits:?}, never reached: {misses}");
    for phase in Phase::ALL {
        assert!(hits.contains_key(&phase), "no kill in {phase:?}: {hits:?}");
    }
}

// Five hundred in all, in parts that run side by side.

#[test]
fn a_daemon_killed_at_moments_that_are_drawn_first_part() {
    killed_at_moments_that_are_drawn(125, 1);
}

#[test]
fn a_daemon_killed_at_moments_that_are_drawn_second_part() {
    killed_at_moments_that_are_drawn(125, 2);
}

#[test]
fn a_daemon_killed_at_moments_that_are_drawn_third_part() {
    killed_at_moments_that_are_drawn(125, 3);
}

#[test]
fn a_daemon_killed_at_moments_that_are_drawn_fourth_part() {
    killed_at_moments_that_are_drawn(125, 4);
}
