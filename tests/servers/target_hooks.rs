//! What is not ours and is run or told by us: commands that hang, flood or leave children behind, pidfiles that lie, URLs
//! that refuse.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use support::foreground::wait_until;
use support::privilege;
use trustsync::settings::resolved::{Addressee, Check, CheckWay, Endpoint, Reload, Signal};
use trustsync::targets::check::{self, CheckOutcome, View};
use trustsync::targets::http::HttpError;
use trustsync::targets::process::{Environment, OUTPUT_KEPT, Ran, Run, RunError};
use trustsync::targets::reload::{ReloadError, ReloadReport, request};

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

async fn run(words: &[&str], limit: Duration) -> Ran {
    let environment = Environment::default().with("GENERATION", "000042");
    Run { argv: &argv(words), environment: &environment, limit, output_kept: OUTPUT_KEPT }.to_end().await.unwrap()
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

fn lives(pid: &str) -> bool {
    // A zombie that init has not yet reaped is dead for our purpose.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

// Commands.

#[tokio::test]
async fn a_command_gets_no_shell_no_input_and_no_environment_but_ours() {
    let ran = run(&["env"], LONG).await;
    let mut names: Vec<&str> = ran.output.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH", "TRUSTSYNC_GENERATION"]);
    assert!(ran.output.contains("LANG=C\n") && ran.output.contains("TRUSTSYNC_GENERATION=000042\n"));
    assert_eq!(run(&["echo", "$HOME; `id` && *"], LONG).await.output, "$HOME; `id` && *\n");
    assert_eq!(run(&["cat"], LONG).await.output, "");
}

#[tokio::test]
async fn how_a_command_ended_is_told() {
    assert!(run(&["true"], LONG).await.succeeded());
    let failed = run(&["sh", "-c", "echo out; echo why >&2; exit 3"], LONG).await;
    assert!(!failed.succeeded());
    assert_eq!(failed.describe(), "exit code 3: out\nwhy");
    assert!(run(&["sh", "-c", "kill -9 $$"], LONG).await.describe().contains("signal: 9"));
    let environment = Environment::default();
    let run = |words: &[&str]| {
        let argv = argv(words);
        let environment = environment.clone();
        async move { Run { argv: &argv, environment: &environment, limit: LONG, output_kept: 10 }.to_end().await }
    };
    assert!(matches!(run(&[]).await, Err(RunError::Empty)));
    assert!(matches!(run(&["/does/not/exist"]).await, Err(RunError::Failed { what: "started", .. })));
    let cut = run(&["echo", "0123456789abc"]).await.unwrap();
    assert_eq!((cut.output.as_str(), cut.output_cut), ("0123456789", true));
}

#[tokio::test]
async fn what_a_command_says_can_harm_no_terminal() {
    let ran = run(&["printf", "a\\033[31mb\\007\\tc\\r\\n\\200d"], LONG).await;
    assert_eq!(ran.output, "a[31mb\tc\n\u{fffd}d");
}

#[tokio::test]
async fn a_command_that_floods_is_kept_bounded_and_ends_in_time() {
    let ran = run(&["yes"], SHORT).await;
    assert!(ran.timed_out && ran.output_cut && !ran.succeeded());
    assert_eq!(ran.output.len(), OUTPUT_KEPT);
    let finite = run(&["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], LONG).await;
    assert!(finite.succeeded() && finite.output_cut, "a flood that ends is read to its end");
}

#[tokio::test]
async fn at_the_end_of_its_time_the_whole_group_goes_the_deaf_too() {
    for (deaf, least) in [("", Duration::ZERO), ("trap '' TERM;", Duration::from_secs(2))] {
        let began = Instant::now();
        let ran = run(&["sh", "-c", &format!("{deaf} sleep 1000 & echo $!; wait; sleep 1000")], SHORT).await;
        assert!(ran.timed_out);
        assert!(began.elapsed() >= SHORT + least, "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(20));
        assert!(ran.describe().contains("did not end in time"));
        wait_until("the grandchild is gone", || !lives(&ran.output));
    }
}

#[tokio::test]
async fn a_child_left_behind_with_our_pipe_holds_nobody_up_and_lives_on() {
    let began = Instant::now();
    let ran = run(&["sh", "-c", "sleep 1000 & echo $!"], LONG).await;
    assert!(ran.succeeded());
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(lives(&ran.output), "it may be a server that was restarted");
    Command::new("kill").arg(ran.output.trim()).status().unwrap();
}

#[tokio::test]
async fn a_server_that_a_command_started_before_its_time_was_over_lives_on_and_writes_what_it_likes() {
    let root = tempfile::tempdir().unwrap();
    let done = root.path().join("written");
    let server = format!(
        "sleep 4; i=0; while [ $i -lt 3000 ]; do echo $i 'a line of the log of a server that goes on' || exit; \
         i=$((i+1)); done; echo $i > {}",
        done.display()
    );
    let ran = run(&["sh", "-c", "setsid sh -c \"$1\" & sleep 60", "sh", &server], Duration::from_millis(200)).await;
    assert!(ran.timed_out && !done.exists(), "{ran:?}");
    wait_until("the server has written it all", || fs::read_to_string(&done).is_ok_and(|text| text == "3000\n"));
}

#[tokio::test]
async fn programs_are_found_where_servers_are_whatever_our_own_path_is() {
    let ran = run(&["sh", "-c", "echo $PATH"], LONG).await;
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"] {
        assert!(ran.output.trim().split(':').any(|found| found == folder), "{}", ran.output);
    }
}

#[tokio::test]
async fn a_command_whose_caller_gives_up_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pidfile = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pidfile.display());
    let words = argv(&["sh", "-c", &script]);
    let environment = Environment::default();
    let command = Run { argv: &words, environment: &environment, limit: LONG, output_kept: 100 };
    let until_it_runs = async {
        while fs::read_to_string(&pidfile).map_or(true, |pid| !pid.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ran = command.to_end() => panic!("{ran:?}"),
        () = until_it_runs => {}
    }
    let pid = fs::read_to_string(&pidfile).unwrap();
    wait_until("the grandchild is gone", || !lives(&pid));
}

#[tokio::test]
async fn a_check_that_hangs_or_is_missing_is_not_a_verdict() {
    let environment = Environment::default();
    let in_place = async |words: &[&str], limit| {
        let check = Check { argv: &argv(words), way: CheckWay::Test };
        check::run(check, View::AsItStands, &environment, limit).await
    };
    assert_eq!(in_place(&["true"], LONG).await, CheckOutcome::Passed);
    assert_eq!(
        in_place(&["sh", "-c", "echo no; exit 1"], LONG).await,
        CheckOutcome::Failed { output: "exit code 1: no".into() }
    );
    for (words, limit) in [
        (&["sleep", "1000"][..], SHORT),
        (&["/does/not/exist"], LONG),
        (&["env", "/does/not/exist"], LONG),
        (&[], LONG),
    ] {
        let outcome = in_place(words, limit).await;
        assert!(matches!(outcome, CheckOutcome::CouldNotRun(_)), "{words:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_reload_command_succeeds_by_its_exit_code() {
    let environment = Environment::default();
    let reload = async |words: &[&str]| request(&Reload::Command(argv(words)), &environment, LONG).await;
    assert!(matches!(reload(&["echo", "done"]).await, Ok(ReloadReport::Ran { output }) if output == "done\n"));
    let failed = reload(&["sh", "-c", "echo sorry; exit 7"]).await.unwrap_err().to_string();
    assert!(failed.contains("exit code 7: sorry") && failed.contains("owed"), "{failed}");
    assert!(matches!(reload(&["/does/not/exist"]).await, Err(ReloadError::NotRun(_))));
    assert_eq!(request(&Reload::None, &environment, LONG).await.unwrap(), ReloadReport::Nobody);
}

// Pidfiles.

async fn hang_up(pidfile: &Path, process: &str) -> Result<ReloadReport, ReloadError> {
    let reload = Reload::Signal {
        signal: Signal::Hup,
        to: Addressee::Pidfile { pidfile: pidfile.to_owned(), process: process.into() },
    };
    request(&reload, &Environment::default(), LONG).await
}

fn sleeper() -> Child {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    wait_until("sleep is what runs", || {
        fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|comm| comm == "sleep\n")
    });
    child
}

#[tokio::test]
async fn a_pidfile_that_names_no_server_signals_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pidfile = folder.path().join("pid");
    let wrong = async |pidfile: &Path| match hang_up(pidfile, "sleep").await {
        Err(ReloadError::Pidfile { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert!(wrong(&pidfile).await.starts_with("cannot be read"));
    for garbage in [
        "",
        "\n",
        "0",
        "1",
        "-5",
        "+7",
        "0x10",
        "12 13",
        "12\n13\n",
        "nginx",
        "99999999999",
        "4294967297",
        "2147483648",
        "12\0",
    ] {
        fs::write(&pidfile, garbage).unwrap();
        let why = wrong(&pidfile).await;
        assert!(why.starts_with("is empty") || why.starts_with("holds "), "{garbage:?}: {why}");
    }
    let mut server = sleeper();
    fs::write(&pidfile, format!("{}\n{}", server.id(), "#".repeat(100_000))).unwrap();
    assert!(wrong(&pidfile).await.starts_with("holds "));
    fs::write(&pidfile, format!("{}{}1", server.id(), " ".repeat(100))).unwrap();
    assert!(wrong(&pidfile).await.starts_with("holds "));
    server.kill().unwrap();
    server.wait().unwrap();

    fs::remove_file(&pidfile).unwrap();
    assert!(Command::new("mkfifo").arg(&pidfile).status().unwrap().success());
    assert!(wrong(&pidfile).await.starts_with("cannot be read"));
    assert!(wrong(folder.path()).await.starts_with("cannot be read"));
}

#[tokio::test]
async fn a_stale_pidfile_is_told_and_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pidfile = folder.path().join("pid");
    let mut server = sleeper();
    fs::write(&pidfile, format!("{}\n", server.id())).unwrap();
    let other = hang_up(&pidfile, "nginx").await.unwrap_err();
    assert!(matches!(&other, ReloadError::Pidfile { why, .. } if why.contains("is \"sleep\" and not")), "{other:?}");
    assert!(test_kill_process(Pid::from_child(&server)).is_ok() && server.try_wait().unwrap().is_none());

    assert!(
        matches!(hang_up(&pidfile, "sleep").await, Ok(ReloadReport::Signalled { pid, .. }) if pid as u32 == server.id())
    );
    wait_until("it has ended", || !lives(&server.id().to_string()));
    // Ended, not yet reaped: its number is still taken.
    let stale = async || hang_up(&pidfile, "sleep").await.unwrap_err().to_string().contains("which does not exist");
    assert!(stale().await);
    assert_eq!(server.wait().unwrap().signal(), Some(1), "ended by HUP");
    assert!(stale().await);
}

#[tokio::test]
async fn an_upgraded_server_is_still_itself() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a-server-with-a-long-name");
    fs::copy("/bin/sleep", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = Command::new(&program).arg("1000").spawn().unwrap();
    wait_until("it runs", || {
        fs::read_to_string(format!("/proc/{}/comm", server.id())).is_ok_and(|comm| comm == "a-server-with-a\n")
    });
    fs::remove_file(&program).unwrap();
    let pidfile = folder.path().join("pid");
    fs::write(&pidfile, server.id().to_string()).unwrap();
    let other = hang_up(&pidfile, "a-server-with-a").await.unwrap_err();
    assert!(other.to_string().contains("is \"a-server-with-a-long-name\" and not"), "{other}");
    hang_up(&pidfile, "a-server-with-a-long-name").await.unwrap();
    assert_eq!(server.wait().unwrap().signal(), Some(1));
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
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn inner() -> bool {
    std::env::var_os(INNER).is_some()
}

fn program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_process_that_proc_hides_is_not_signalled() {
    if !inner() {
        let hide = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
        return again(&["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", hide], None);
    }
    let folder = tempfile::tempdir().unwrap();
    let pidfile = folder.path().join("pid");
    let mut server = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(&pidfile, server.id().to_string()).unwrap();
    let hidden = hang_up(&pidfile, "sleep").await.unwrap_err();
    assert!(
        matches!(&hidden, ReloadError::Pidfile { why, .. } if why.contains("does not show its name")),
        "{hidden:?}"
    );
    assert!(server.try_wait().unwrap().is_none());
    server.kill().unwrap();
    server.wait().unwrap();
}

#[tokio::test]
async fn systemd_is_asked_for_a_reload_of_the_unit_and_nothing_else() {
    if !inner() {
        let folder = tempfile::tempdir().unwrap();
        program(&folder.path().join("systemctl"), "#!/bin/sh\necho \"$@\"\n[ \"$4\" = good.service ]\n");
        return again(&[], Some(folder.path()));
    }
    let reload =
        async |unit: &str| request(&Reload::Systemd { unit: unit.into() }, &Environment::default(), LONG).await;
    let told = reload("good.service").await.unwrap();
    assert_eq!(told, ReloadReport::Ran { output: "--no-ask-password reload -- good.service\n".into() });
    assert!(matches!(reload("--force").await, Err(ReloadError::Failed { .. })));
}

#[tokio::test]
async fn without_unshare_there_is_no_private_view_and_no_verdict() {
    if !inner() {
        let folder = tempfile::tempdir().unwrap();
        again(&[], Some(folder.path()));
        // As where namespaces are not allowed.
        program(
            &folder.path().join("unshare"),
            "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n",
        );
        return again(&[], Some(folder.path()));
    }
    let folder = tempfile::tempdir().unwrap();
    let check = Check { argv: &argv(&["/bin/true"]), way: CheckWay::Test };
    let view = View::Private { new: folder.path(), link: folder.path() };
    let outcome = check::run(check, view, &Environment::default(), LONG).await;
    assert!(matches!(outcome, CheckOutcome::PrivateUnavailable(_)), "{outcome:?}");
}

// URLs.

/// Answers one request with these bytes, and returns its head.
fn answering(answer: &'static [u8]) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (connection, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
        (&connection).write_all(answer).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        head
    });
    (port, server)
}

async fn post(url: &str) -> Result<ReloadReport, ReloadError> {
    request(&Reload::Http(Endpoint::parse(url).unwrap()), &Environment::default(), LONG).await
}

#[tokio::test]
async fn a_post_that_is_answered_with_2xx_has_told() {
    let (port, server) = answering(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(post(&format!("http://127.0.0.1:{port}/reload")).await.unwrap(), ReloadReport::Answered { status: 204 });
    assert!(server.join().unwrap().starts_with("POST /reload HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_post_that_is_refused_quotes_a_little_and_shows_no_secret() {
    let (port, server) = answering(b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\nno\x1b[31m way");
    let refused = post(&format!("http://user:hunter2@127.0.0.1:{port}/reload?token=hunter2")).await.unwrap_err();
    assert!(matches!(&refused, ReloadError::Refused { status: 500, body, .. } if body == "no[31m way"), "{refused:?}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    server.join().unwrap();

    let (port, server) = answering(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n");
    let redirected = post(&format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(redirected, Err(ReloadError::Refused { status: 302, .. })), "{redirected:?}");
    server.join().unwrap();

    let (port, server) = answering(b"");
    let silent = post(&format!("http://u:hunter2@127.0.0.1:{port}/?x=hunter2")).await.unwrap_err();
    assert!(matches!(silent, ReloadError::NotAsked(HttpError::NoAnswer { .. })), "{silent:?}");
    assert!(!format!("{silent} {silent:?}").contains("hunter2"));
    server.join().unwrap();
}

#[tokio::test]
async fn without_tls_only_this_machine_is_told() {
    for url in ["http://192.0.2.1/", "http://example.com/", "http://localhost.example.com/", "http://[2001:db8::1]/"] {
        let reload = Reload::Http(Endpoint::Url(url.parse().unwrap()));
        let refused = request(&reload, &Environment::default(), LONG).await;
        assert!(matches!(refused, Err(ReloadError::NotAsked(HttpError::NotLoopback { .. }))), "{url}");
    }
}
