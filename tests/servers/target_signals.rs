//! Whom a signal reaches where no pidfile says it: the one master of a name, the main process of a systemd unit; and whom
//! it never reaches.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::foreground::wait_until;
use support::privilege;
use tempfile::TempDir;
use trustsync::settings::resolved::{Addressee, Reload, Signal};
use trustsync::targets::process::Environment;
use trustsync::targets::reload::{ReloadError, ReloadReport, request};

const LONG: Duration = Duration::from_secs(60);

async fn hang_up(to: Addressee) -> Result<ReloadReport, ReloadError> {
    request(&Reload::Signal { signal: Signal::Hup, to }, &Environment::default(), LONG).await
}

async fn hang_up_by_name(name: &str) -> Result<ReloadReport, ReloadError> {
    hang_up(Addressee::Process(name.to_owned())).await
}

/// A name of at most 15 bytes, which is all that the kernel keeps, that nobody else on this machine bears: not even this
/// test, run from another folder at the same time.
fn own_name(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// A master with a worker, both of a program of its own whose name nobody else bears. Each writes a line when told.
struct Server {
    dir: PathBuf,
    master: Child,
}

/// A folder that everybody may enter, with a program of this name.
fn program(name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join(name);
    fs::copy("/bin/sh", &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    (dir, program)
}

impl Server {
    fn start(program: &Path, place: &str) -> Self {
        let dir = program.parent().unwrap().join(place);
        fs::create_dir(&dir).unwrap();
        // The worker: as the master, but it has no child. `read` from a FIFO that nobody writes to waits without a process
        // of another name.
        let script = r#"
            trap 'echo told >> told-$ROLE' HUP
            mkfifo pipe-$ROLE; exec 3<>pipe-$ROLE
            if [ "$ROLE" = master ]; then ROLE=worker "$PROGRAM" "$0" & fi
            echo $$ > pid-$ROLE
            while :; do read line <&3; done"#;
        let file = dir.join("script");
        fs::write(&file, script).unwrap();
        let master = Command::new(program)
            .arg(&file)
            .env("ROLE", "master")
            .env("PROGRAM", program)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { dir, master };
        wait_until("master and worker run", || server.pid("master").is_some() && server.pid("worker").is_some());
        server
    }

    fn pid(&self, role: &str) -> Option<i32> {
        let text = fs::read_to_string(self.dir.join(format!("pid-{role}"))).ok()?;
        text.ends_with('\n').then(|| text.trim().parse().unwrap())
    }

    fn pidfile(&self, role: &str) -> PathBuf {
        self.dir.join(format!("pid-{role}"))
    }

    fn told(&self, role: &str) -> usize {
        fs::read_to_string(self.dir.join(format!("told-{role}"))).map_or(0, |text| text.lines().count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let worker = self.pid("worker").and_then(rustix::process::Pid::from_raw);
        if let Some(worker) = worker {
            let _ = rustix::process::kill_process(worker, rustix::process::Signal::KILL);
        }
        let _ = self.master.kill();
        let _ = self.master.wait();
        // An orphan that still lives has a parent of another name, and would be taken for a master.
        let exe = |pid: rustix::process::Pid| fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while worker.is_some_and(|worker| exe(worker).is_ok()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[tokio::test]
async fn by_its_name_alone_the_master_is_told_and_no_worker() {
    let name = own_name("ts-lone");
    let (_dir, program) = program(&name);
    let server = Server::start(&program, "one");
    let told = hang_up_by_name(&name).await.unwrap();
    assert_eq!(told, ReloadReport::Signalled { pid: server.pid("master").unwrap(), signal: Signal::Hup });
    wait_until("the master was told", || server.told("master") == 1);
    assert_eq!(server.told("worker"), 0);
}

#[tokio::test]
async fn none_or_several_of_a_name_are_told_apart_and_nobody_is_signalled() {
    let none = hang_up_by_name("ts-no-such-server").await.unwrap_err();
    assert!(matches!(&none, ReloadError::Process { why, .. } if why.contains("not found")), "{none:?}");
    assert!(none.to_string().contains("interpreter") && none.to_string().contains("owed"), "{none}");

    let name = own_name("ts-twin");
    let (_dir, program) = program(&name);
    let (one, other) = (Server::start(&program, "one"), Server::start(&program, "other"));
    let several = hang_up_by_name(&name).await.unwrap_err();
    let mut pids = vec![one.pid("master").unwrap(), other.pid("master").unwrap()];
    pids.sort_unstable();
    assert!(matches!(&several, ReloadError::Process { why, .. } if why.contains(&format!("{pids:?}"))), "{several:?}");
    assert!(several.to_string().contains("pidfile"), "{several}");
    drop(other);
    hang_up_by_name(&name).await.unwrap();
    wait_until("the one that is left was told", || one.told("master") == 1);
}

// Where the world around us must be another one, the test runs itself again in it.

const INNER: &str = "TRUSTSYNC_TEST_INNER";

fn again(wrapper: &[&str], path: Option<&Path>) {
    let this = std::env::current_exe().unwrap();
    let mut words: Vec<&str> = wrapper.to_vec();
    words.push(this.to_str().unwrap());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args([&privilege::this_test(), "--exact", "--nocapture"]).env(INNER, "1");
    if let Some(path) = path {
        let paths = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
        command.env("PATH", paths).env("TRUSTSYNC_TEST_FOLDER", path);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

#[tokio::test]
async fn where_proc_is_hidden_no_name_is_looked_for() {
    if !is_inner() {
        if privilege::is_root() {
            let hide = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
            again(&["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", hide], None);
        }
        return;
    }
    let hidden = hang_up_by_name("sh").await.unwrap_err();
    assert!(matches!(hidden, ReloadError::Process { .. }), "{hidden:?}");
    assert!(hidden.to_string().contains("hidepid") && hidden.to_string().contains("systemd unit"), "{hidden}");
}

#[tokio::test]
async fn another_users_server_is_known_by_name_and_parent_and_may_not_be_signalled() {
    if let Some((_, dir)) = privilege::role() {
        let name = fs::read_to_string(dir.join("name")).unwrap();
        let by_pidfile = async |role: &str| {
            let pidfile = dir.join(format!("pid-{role}"));
            hang_up(Addressee::Pidfile { pidfile, process: name.clone() }).await.unwrap_err()
        };
        let worker = by_pidfile("worker").await;
        assert!(matches!(&worker, ReloadError::Pidfile { why, .. } if why.contains("not the master")), "{worker:?}");
        let master = by_pidfile("master").await;
        assert!(matches!(master, ReloadError::Signal { .. }), "{master:?}");
        assert!(master.to_string().contains("privileged = true"), "{master}");
        let by_name = hang_up_by_name(&name).await.unwrap_err();
        assert!(by_name.to_string().contains("privileged = true"), "{by_name:?}");
        return;
    }
    if !privilege::is_root() {
        return;
    }
    let name = own_name("ts-root");
    let (_dir, program) = program(&name);
    let server = Server::start(&program, "one");
    fs::write(server.dir.join("name"), &name).unwrap();
    let (_copy, this) = privilege::binary_for_everyone(&std::env::current_exe().unwrap());
    let inner = privilege::second_role(&this, "nobody", &server.dir);
    let output = privilege::as_nobody(&inner).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!((server.told("master"), server.told("worker")), (0, 0));
    // Root sees its executable, and may: whatever its parent is.
    hang_up(Addressee::Pidfile { pidfile: server.pidfile("worker"), process: name }).await.unwrap();
    wait_until("the one that the pidfile names was told", || server.told("worker") == 1);
}

#[tokio::test]
async fn the_main_process_of_a_unit_is_told_if_it_is_that_still() {
    if !is_inner() {
        let folder = tempfile::tempdir().unwrap();
        // As systemctl, of units whose main process stands in a file; the second line is what a second look finds.
        let systemctl = "#!/bin/sh\n[ \"$*\" = \"--no-ask-password show --property=MainPID --value -- $6\" ] || { \
                         echo \"asked $*\"; exit 9; }\ncd \"$TRUSTSYNC_STORE\" || exit 8\n[ -e \"$6\" ] || { echo 'no \
                         bus'; exit 1; }\nif [ -e \"$6.asked\" ] && [ \"$(wc -l < \"$6\")\" -gt 1 ]; then sed -n 2p \
                         \"$6\"; else sed -n 1p \"$6\"; fi\ntouch \"$6.asked\"\n";
        fs::write(folder.path().join("systemctl"), systemctl).unwrap();
        fs::set_permissions(folder.path().join("systemctl"), Permissions::from_mode(0o755)).unwrap();
        return again(&[], Some(folder.path()));
    }
    let folder = PathBuf::from(std::env::var_os("TRUSTSYNC_TEST_FOLDER").unwrap());
    let environment = Environment::default().with("STORE", &folder);
    let of_unit = async |unit: &str, says: &str| {
        if !says.is_empty() {
            fs::write(folder.join(unit), says).unwrap();
        }
        let to = Addressee::Unit(unit.to_owned());
        request(&Reload::Signal { signal: Signal::Hup, to }, &environment, LONG).await
    };
    let (_dir, program) = program(&own_name("ts-unit"));
    let (server, other) = (Server::start(&program, "one"), Server::start(&program, "other"));
    let (pid, another) = (server.pid("master").unwrap(), other.pid("master").unwrap());

    let told = of_unit("good.service", &format!("{pid}\n")).await.unwrap();
    assert_eq!(told, ReloadReport::Signalled { pid, signal: Signal::Hup });
    wait_until("it was told", || server.told("master") == 1);

    // 0 is what systemd says of a unit that does not run, or that it does not know; 1 would be itself.
    for nobody in ["0\n", "1\n", "-5\n", "\n", "x\n", "4294967297\n"] {
        let refused = of_unit("none.service", nobody).await.unwrap_err();
        assert!(
            matches!(&refused, ReloadError::Unit { why, .. } if why.contains("no main process")),
            "{nobody:?}: {refused:?}"
        );
    }
    let gone = of_unit("gone.service", "2147483646\n").await.unwrap_err();
    assert!(matches!(&gone, ReloadError::Unit { why, .. } if why.contains("restarted")), "{gone:?}");
    let restarted = of_unit("restarted.service", &format!("{pid}\n{another}\n")).await.unwrap_err();
    assert!(matches!(&restarted, ReloadError::Unit { why, .. } if why.contains("restarted")), "{restarted:?}");
    let unseen = of_unit("unseen.service", "").await.unwrap_err();
    assert!(matches!(&unseen, ReloadError::Unit { why, .. } if why.contains("no bus")), "{unseen:?}");
    assert_eq!((server.told("master"), other.told("master")), (1, 0), "nobody else was signalled");
}
