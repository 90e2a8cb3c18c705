//! Root types a command on a host where the store is somebody else's: what runs as that somebody, and may be captured, gets
//! no hold of root's terminal, files and secrets, and cannot keep root waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::host::Host;
use support::privilege::{NOBODY, as_nobody};
use support::terminal;

/// What a captured user's program tries: the keys of every terminal that it can get hold of, and to write there. Its report
/// says what it tried and what came of it.
const ATTACK: &str = r#"
import fcntl, glob, json, os, sys, termios
report, owned = sys.argv[1:]
found = {}
def attack(name, fd):
    try:
        os.write(fd, b"WRITTEN BY THE ATTACK\x1b]0;attack\x07\n")
        written = "written"
    except OSError as error:
        written = str(error)
    try:
        for key in f"\ntouch {owned}\n".encode():
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([key]))
        typed = "typed"
    except OSError as error:
        typed = str(error)
    found[name] = {"written": written, "typed": typed, "terminal": os.isatty(fd)}
for number in range(256):
    # Its own output is read by whoever ran it.
    if number not in (1, 2):
        try:
            os.fstat(number)
        except OSError:
            continue
        attack(f"fd {number}", number)
parent = os.getppid()
for path in ["/dev/tty"] + [f"/proc/{parent}/fd/{number}" for number in range(256)] + glob.glob("/dev/pts/*"):
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except FileNotFoundError:
        continue
    except OSError as error:
        found[path] = str(error)
        continue
    attack(path, fd)
    os.close(fd)
with open(report + ".new", "w") as out:
    json.dump(found, out)
os.rename(report + ".new", report)
"#;

/// A person at a terminal: types the line, waits for its end, leaves the shell. What the terminal showed is printed.
const TERMINAL: &str = r#"
import os, pty, re, select, sys, time
line = sys.argv[1]
pid, terminal = pty.fork()
if pid == 0:
    os.execve("/bin/sh", ["sh", "-i"], {"PATH": os.environ["PATH"], "PS1": "root# ", "TERM": "xterm"})
shown, ends = b"", time.monotonic() + 120
def until(pattern):
    global shown
    while not re.search(pattern, shown):
        if time.monotonic() > ends:
            sys.exit(f"{pattern} never came: {shown!r}")
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                return
until(rb"root# ")
# As whoever keeps a terminal at hand under another number.
os.write(terminal, b"exec 7<>/dev/tty\n")
os.write(terminal, line.encode() + b"; echo ENDED=$?\n")
until(rb"ENDED=\d")
os.write(terminal, b"exit\n")
until(rb"\Zthe end of the terminal")
os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
"#;

fn python() -> &'static str {
    "/usr/bin/python3"
}

/// A target that the store's owner tells by this command.
fn tell_by(host: &Host, argv: &[&str], timeout: &str) {
    host.sandbox.append(&format!(
        "\n[target.own]\nkind = \"generic\"\nreload_timeout = \"{timeout}\"\nreload = {{ command = {} }}\n",
        serde_json::to_string(argv).unwrap()
    ));
}

/// A folder in which the store's owner may write.
fn owners_folder(host: &Host, name: &str) -> PathBuf {
    let path = host.path(name);
    fs::create_dir(&path).unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    path
}

/// The field of `/proc/PID/status`.
fn status(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// Whether it runs; one that has ended and was not waited for does not.
fn runs(pid: i32) -> bool {
    status(pid, "State").is_some_and(|state| !state.starts_with('Z'))
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.map(of).flat_map(|all| all.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// A command of root's that was started and not waited for, its child as the store's owner, and what that one has started.
/// All of it is ended with it.
struct Running {
    process: Child,
    child: i32,
    started: Option<i32>,
}

impl Running {
    /// As soon as the child is the owner.
    fn start(host: &Host, arguments: &[&str]) -> Self {
        let process = host.start_piped(arguments);
        let pid = i32::try_from(process.id()).unwrap();
        let is_owners = |child: &i32| status(*child, "Uid").is_some_and(|uid| uid.starts_with("65534"));
        let child = || children(pid).into_iter().find(is_owners);
        host.until(|| child().is_some());
        Self { process, child: child().unwrap(), started: None }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Its exit code, if it ends within this time.
    fn code_within(&mut self, limit: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            match self.process.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if begun.elapsed() > limit => return None,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Its exit code and output, if it ends within this time.
    fn ends_within(&mut self, limit: Duration) -> Option<(i32, String)> {
        let code = self.code_within(limit)?;
        // Whoever holds the pipes open besides is ended first: what was said is in them.
        self.end();
        let mut said = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        Some((code, said))
    }

    /// Which of the child and what it has started run.
    fn left(&self) -> Vec<i32> {
        [Some(self.child), self.started].into_iter().flatten().filter(|pid| runs(*pid)).collect()
    }

    fn end(&mut self) {
        for pid in self.left() {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.end();
    }
}

/// As the store's owner.
fn kill_as_owner(signal: &str, pid: i32) {
    let mut kill = Command::new("kill");
    kill.args([signal, &pid.to_string()]).env("PATH", "/usr/bin:/bin");
    assert!(as_nobody(&kill).status().unwrap().success());
}

/// A sync that stands in the owner's reload command, which goes on for ever.
fn in_the_owners_command(host: &Host) -> Running {
    let started = owners_folder(host, "started").join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", started.display());
    tell_by(host, &["/bin/sh", "-c", &script], "300s");
    let mut running = Running::start(host, &["sync"]);
    host.until(|| started.exists());
    running.started = Some(fs::read_to_string(&started).unwrap().trim().parse().unwrap());
    running
}

#[test]
fn nobody_types_for_root_on_the_terminal_where_sync_was_typed() {
    let Some(host) = Host::new() else { return };
    let attack = host.path("attack.py");
    fs::write(&attack, ATTACK).unwrap();
    let (report, owned) = (owners_folder(&host, "attack").join("report.json"), host.path("owned"));
    let argv = [python(), attack.to_str().unwrap(), report.to_str().unwrap(), owned.to_str().unwrap()];
    tell_by(&host, &argv, "20s");
    let sync = host.shell_line(&["sync"]);
    let output = Command::new(python()).args(["-c", TERMINAL, &sync]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    let report: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(&report).expect("it was run")).unwrap();
    assert!(shown.contains("published generation 000001") && shown.contains("ENDED=0"), "{shown}");
    assert!(report.len() > 3, "{report:#?}");
    for (name, result) in &report {
        assert_ne!(result["typed"], "typed", "{name} of {report:#?}");
        assert_ne!(result["terminal"], true, "{name} of {report:#?}");
    }
    assert!(!owned.exists(), "the attack's keys were run by root's shell: {shown}");
    assert!(!shown.contains("THE ATTACK"), "{shown}");
    assert_eq!(fs::metadata(host.sandbox.store().join("current")).unwrap().uid(), NOBODY);
}

#[test]
fn the_owners_child_has_nothing_of_roots_and_is_closed_to_the_owners_other_processes() {
    let Some(host) = Host::new() else { return };
    // As systemd's LoadCredential has it: root's alone, so that root hands it over.
    chown(host.path("client-secret"), Some(0), Some(0)).unwrap();
    let mut running = in_the_owners_command(&host);
    let child = running.child;
    let of = |field: &str| status(child, field).unwrap_or_else(|| panic!("no {field}"));
    assert_eq!((of("Uid"), of("Gid")), ("65534\t65534\t65534\t65534".into(), "65534\t65534\t65534\t65534".into()));
    assert_eq!((of("Groups"), of("NoNewPrivs")), (String::new(), "1".into()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of(set).trim_start_matches('0'), "", "{set}");
    }
    let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_eq!((session, terminal), (child.to_string().as_str(), "0"));
    let mut inherited = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{child}/fd")).unwrap().flatten() {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let target = fs::read_link(entry.path()).unwrap().display().to_string();
        match number {
            0 => assert_eq!(target, "/dev/null"),
            1 | 2 => assert!(target.starts_with("pipe:"), "{number}: {target}"),
            _ => drop(inherited.insert(target)),
        }
    }
    let lent = host.path("lent-by-root").display().to_string();
    assert!(!inherited.contains(&lent), "{inherited:?}");

    // The secret is there to be stolen, but not for this user.
    let environment = fs::read(format!("/proc/{child}/environ")).unwrap();
    let secret = host.sandbox.world().client_secret();
    assert!(environment.windows(secret.len()).any(|window| window == secret.as_bytes()));
    // PTRACE_SEIZE.
    let trace = format!(
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n\
         if libc.ptrace(0x4206, {child}, 0, 0): raise OSError(os.strerror(ctypes.get_errno()))"
    );
    for (argv, refusal) in [
        (&["cat", &format!("/proc/{child}/environ")][..], "Permission denied"),
        (&["head", "-c1", &format!("/proc/{child}/mem")], "Permission denied"),
        (&["ls", &format!("/proc/{child}/fd/")], "Permission denied"),
        (&["readlink", "-v", &format!("/proc/{child}/exe")], "Permission denied"),
        (&[python(), "-c", &trace], "Operation not permitted"),
    ] {
        let mut tried = Command::new(argv[0]);
        tried.args(&argv[1..]).env("PATH", "/usr/bin:/bin");
        let output = as_nobody(&tried).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(refusal), "{argv:?}: {said}");
    }
    kill_as_owner("-KILL", running.started.unwrap());
    let (code, said) = running.ends_within(Duration::from_secs(60)).expect("it ended");
    assert_eq!(code, 7, "{said}");
    assert!(!said.contains(secret));
}

#[test]
fn a_child_that_its_user_has_stopped_does_not_keep_root_waiting() {
    let Some(host) = Host::new() else { return };
    host.daemon(&["sync"]).exits(0);
    // Another writer, so that it is met while it waits.
    let lock = fs::File::open(host.sandbox.store().join("lock")).unwrap();
    lock.lock().unwrap();
    let mut running = Running::start(&host, &["sync", "--deadline", "1s", "--lock-timeout", "8s"]);
    let child = running.child;
    kill_as_owner("-STOP", child);
    host.until(|| status(child, "State").is_some_and(|state| state.starts_with('T')));
    let ended = running.ends_within(Duration::from_secs(150));
    let (code, said) = ended.expect("root's command ended by itself");
    assert_eq!(code, 1, "{said}");
    for words in ["did not end within 58s", "uid 65534", "SIGSTOP", "What servers trust is whole", "trustsync status"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert!(!runs(child));
    drop(lock);
    host.root(&["sync"]).exits(0);
}

#[test]
fn a_child_that_its_user_has_killed_is_said_in_words() {
    let Some(host) = Host::new() else { return };
    let mut running = in_the_owners_command(&host);
    kill_as_owner("-KILL", running.child);
    let (code, said) = running.ends_within(Duration::from_secs(60)).expect("it ended");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("was ended by signal 9, which root did not send") && said.contains("uid 65534"), "{said}");
}

#[test]
fn the_end_of_roots_command_ends_the_child_and_what_it_has_started() {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")] {
        let Some(host) = Host::new() else { return };
        let mut running = in_the_owners_command(&host);
        running.send(signal);
        assert_eq!(running.code_within(Duration::from_secs(60)), Some(1), "{name}");
        assert_eq!(running.left(), Vec::<i32>::new(), "{name}");
        let (_, said) = running.ends_within(Duration::from_secs(60)).expect("it ended");
        assert!(said.contains(&format!("{name} came")), "{said}");
    }
}

#[test]
fn a_child_does_not_outlive_roots_command_that_was_killed() {
    let Some(host) = Host::new() else { return };
    let running = in_the_owners_command(&host);
    running.send(Signal::KILL);
    host.until(|| !runs(running.child));
}

#[test]
fn what_the_child_says_reaches_root_escaped_and_json_stays_json() {
    let Some(host) = Host::new() else { return };
    // Turns the direction of writing: "txt.exe" reads as "exe.txt".
    tell_by(&host, &["/bin/sh", "-c", "printf 'broken \\342\\200\\256txt.exe\\342\\200\\254'; exit 1"], "20s");
    let ran = host.root(&["sync"]).exits(7).says(&["broken \\u202etxt.exe\\u202c"]);
    assert!(!ran.all().contains('\u{202e}'), "{ran:?}");
    let ran = host.root(&["sync", "--output", "json", "--log-format", "json"]).exits(7);
    assert!(!ran.all().contains('\u{202e}'), "{ran:?}");
    assert!(ran.events().contains(&"target_not_told".to_owned()), "{ran:?}");
    let target = &ran.json()["stores"]["main"]["targets"]["own"];
    assert!(target["owed"].to_string().contains("broken \u{202e}txt.exe"), "{target}");
}

#[test]
fn what_the_child_says_comes_through_while_it_works() {
    let Some(host) = Host::new() else { return };
    let marker = owners_folder(&host, "seen");
    let (log, gate) = (host.path("log"), marker.join("gate"));
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    tell_by(&host, &["/bin/sh", "-c", &wait], "60s");
    // What is said while the vendor is asked, long before the turn.
    let mut process = host.start_logged(&["-v", "sync"], &log);
    let early = || fs::read_to_string(&log).unwrap().contains("token_taken");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !early() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (came, still) = (early(), process.try_wait().unwrap().is_none());
    fs::write(&gate, "").unwrap();
    assert!(process.wait().unwrap().success());
    assert!(came && still, "{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn root_is_asked_at_its_own_terminal_and_named_as_who_said_it() {
    let Some(host) = Host::new() else { return };
    host.daemon(&["sync"]).exits(0);
    let current = host.sandbox.current_leaf();
    let distrust = host.root_command(&["distrust", &current, "--reason", "a drill"]);
    let ran = terminal::run(&distrust, &[("Type yes", "no\n")]).exits(11);
    ran.says(&[&current, "CN=dataactions.prod", "nobody would be admitted any more", "Nothing was changed"]);
    assert!(!host.sandbox.pins().is_empty());
    terminal::run(&distrust, &[("Type yes", "yes\n")]).exits(0).says(&["given up: current"]);
    assert!(host.sandbox.pins().is_empty());
    let said = &host.manifest()["denied"][&current]["said"];
    assert_eq!((said["by"].as_str(), said["why"].as_str()), (Some("root (uid 0)"), Some("a drill")));
    assert_eq!(fs::metadata(host.sandbox.store().join("current")).unwrap().uid(), NOBODY);
    // Where nobody sits, nobody is asked.
    host.root(&["undistrust", &current, "--reason", "the drill is over"]).exits(0);
    host.daemon(&["sync"]).exits(0);
    host.root(&["distrust", &current]).exits(11).says(&["There is no terminal to ask on"]);
    // Nobody but root names somebody else.
    let mut forged = host.root_command(&["hold"]);
    forged.env("TRUSTSYNC_OPERATOR", "somebody else").env("TRUSTSYNC_ASKS", "1");
    assert!(forged.output().unwrap().status.success());
    assert_eq!(host.sandbox.state()["memory"]["hold"]["said"]["by"], "root (uid 0)");
}

#[test]
fn who_gives_a_word_is_what_the_kernel_says_unless_root_runs_it() {
    let Some(mut host) = Host::new() else { return };
    host.add_target("edge", "");
    host.sync().exits(0);
    host.sandbox.set("SUDO_USER", "boss");
    host.sandbox.set("SUDO_UID", "1");
    host.daemon(&["hold"]).exits(0);
    host.daemon(&["status"]).says(&["HELD until", "(uid 65534)"]).never_says(&["boss"]);
    host.root(&["hold"]).exits(0);
    host.daemon(&["status"]).says(&["boss (uid 1), by sudo"]);
}
