//! What is Apache's alone on its way through the real cycle (`stories` has what it shares with others): its check by a real
//! start, lists that are empty, chains by a hashed directory, what it does not show, and Debian's own.

use std::fs;
use std::time::{Duration, Instant};

use support::apache::Apache;
use support::apache_stage::{PLAIN, knock};
use support::cast;
use support::foreground::wait_until;
use support::java;
use support::privilege;
use support::report::target;
use support::server::{Server, assert_cast, assert_proven, proven};
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::settings::resolved::{Check, CheckWay};
use trustsync::targets::apache::START;
use trustsync::targets::check::{self, CheckOutcome, Environment, View};
use trustsync::trust::event::severity::Severity;
use trustsync::trust::turn::{Evidence, Owed, Proof};

/// A wired server that serves generation 1, proven.
async fn proven_stage() -> (Stage, Apache) {
    proven(Stage::begin().await, ()).await
}

/// The text of the one finding of this event.
#[track_caller]
fn found<'a>(report: &'a Report, severity: Severity, event: &str) -> &'a str {
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.event.name() == event).collect();
    assert_eq!(found.len(), 1, "{:?}", report.findings);
    assert_eq!(found[0].severity, severity);
    &found[0].text
}

#[tokio::test]
async fn an_empty_or_missing_list_admits_nobody() {
    let (stage, apache) = proven_stage().await;
    let current = stage.world().current().unwrap();
    assert_eq!(knock(&apache, Some(&current)), "200");
    let empty = stage.root().join("empty.conf");
    fs::write(&empty, "").unwrap();
    let list = format!("Include \"{}/apache/admit.conf\"", stage.link("apache").display());
    for instead in [format!("Include \"{}\"", empty.display()), "IncludeOptional \"/nowhere/admit.conf\"".to_owned()] {
        let changed = stage.wired_apache("apache").replace(&list, &instead);
        assert!(changed.contains(&instead));
        apache.rewrite(&changed);
        apache.reload();
        assert_cast(&stage, &apache, &[("current", Some(&current), "403")]);
    }
}

/// Waits until no process of this server is left in a namespace of its own; nor is there a mount.
#[track_caller]
fn assert_no_trace(stage: &Stage, apache: &Apache) {
    let ours = fs::read_link("/proc/self/ns/pid").unwrap();
    let folder = apache.dir().to_str().unwrap();
    let is_left = |entry: fs::DirEntry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        line.contains(folder) && fs::read_link(entry.path().join("ns/pid")).is_ok_and(|namespace| namespace != ours)
    };
    wait_until("its processes have ended", || !fs::read_dir("/proc").unwrap().flatten().any(is_left));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = ["trustsync-check-", stage.root().to_str().unwrap()];
    assert!(!mounts.lines().any(|line| ours.iter().any(|path| line.contains(path))), "{mounts}");
}

#[tokio::test]
async fn a_real_start_refuses_what_apaches_own_test_passes_and_leaves_nothing_behind() {
    if !privilege::is_root() {
        return;
    }
    let (stage, mut apache) = proven_stage().await;
    let (link, environment) = (stage.link("apache"), Environment::default());
    let start = apache.check_command();
    let test: Vec<String> = start.iter().cloned().chain(["-t".to_owned()]).collect();
    let pid = fs::read(apache.pidfile()).unwrap();

    let good = fs::read_to_string(link.join("trust-bundle.pem")).unwrap();
    let one = good.find("-----END CERTIFICATE-----").unwrap();
    for (what, bundle, loads, passes) in [
        ("as it is", good.clone(), true, true),
        ("empty", String::new(), false, false),
        ("garbage", "no certificate\n".to_owned(), false, true),
        ("a corrupt certificate among good ones", good.replacen("MII", "MIA", 1), false, true),
        ("cut", good[..one].to_owned(), false, true),
    ] {
        let new = stage.root().join("new");
        let _ = fs::remove_dir_all(&new);
        let copied = std::process::Command::new("cp").arg("-rL").arg(&link).arg(&new).status().unwrap();
        assert!(copied.success());
        fs::write(new.join("trust-bundle.pem"), &bundle).unwrap();
        let view = View::Private { new: &new, link: &link };
        let by = async |argv, way| check::run(Check { argv, way }, view, &environment, Duration::from_secs(20)).await;
        let started = by(&start, CheckWay::Start(&START)).await;
        match &started {
            CheckOutcome::Passed if loads => {}
            CheckOutcome::Failed { output } if !loads => {
                assert!(output.contains("before it came to serve"), "{what}: {output}");
                assert!(output.contains("CA") || output.contains("certificate"), "{what}: it says why: {output}");
            }
            _ => panic!("{what}: {started:?}"),
        }
        let tested = by(&test, CheckWay::Test).await;
        assert_eq!(tested == CheckOutcome::Passed, passes, "{what}: apache2 -t reads no certificate: {tested:?}");
        assert_eq!(fs::read_to_string(link.join("trust-bundle.pem")).unwrap(), good, "nobody else sees it");
    }
    // Addresses that its own network lacks, and that of the running server.
    let elsewhere = apache.dir().join("elsewhere.conf");
    let own = fs::read_to_string(apache.dir().join("httpd.conf")).unwrap();
    fs::write(&elsewhere, format!("{own}\nListen 192.0.2.7:8443\nListen [2001:db8::7]:8443\n")).unwrap();
    let argv: Vec<String> = ["apache2", "-f", elsewhere.to_str().unwrap()].map(String::from).to_vec();
    let check = Check { argv: &argv, way: CheckWay::Start(&START) };
    let view = View::Private { new: &link, link: &link };
    assert_eq!(check::run(check, view, &environment, Duration::from_secs(20)).await, CheckOutcome::Passed);
    assert_no_trace(&stage, &apache);
    assert!(!apache.has_ended());
    assert_eq!(fs::read(apache.pidfile()).unwrap(), pid, "its pidfile is its own");
    assert_eq!(knock(&apache, Some(&stage.world().current().unwrap())), "200");
}

#[tokio::test]
async fn a_start_that_hangs_is_ended_in_time_with_all_that_it_started() {
    if !privilege::is_root() {
        return;
    }
    let (stage, apache) = proven_stage().await;
    let link = stage.link("apache");
    let script = "trap '' TERM; echo hanging; sleep 6789 & setsid sleep 6789 & wait";
    let argv = ["sh", "-c", script].map(String::from);
    let begun = Instant::now();
    let view = View::Private { new: &link, link: &link };
    let check = Check { argv: &argv, way: CheckWay::Start(&START) };
    let outcome = check::run(check, view, &Environment::default(), Duration::from_secs(1)).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(matches!(&outcome, CheckOutcome::CouldNotRun(why) if why.contains("hanging")), "{outcome:?}");
    let is_sleeping =
        |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x006789\0");
    wait_until("they are ended", || !fs::read_dir("/proc").unwrap().flatten().any(is_sleeping));
    assert_no_trace(&stage, &apache);
}

#[tokio::test]
async fn by_a_hashed_directory_the_same_get_in_and_the_chain_is_proven() {
    let mut stage = Stage::begin().await;
    let apache = stage.serve_apache("apache", PLAIN);
    let more = "outputs = [\"hashed\"]";
    let table = apache.table("apache", &apache.check_command());
    stage.configure_targets(&format!("{table}{more}\n"));
    stage.cycle().await;
    let link = stage.link("apache").display().to_string();
    let by_file = format!("SSLCACertificateFile \"{link}/trust-bundle.pem\"");
    let by_directory = format!("SSLCACertificatePath \"{link}/hashed\"");
    let snippet = stage.wired_apache("apache");
    assert!(snippet.contains(&by_file) && snippet.contains(&format!("#     {by_directory}")), "{snippet}");
    apache.rewrite(&snippet.replace(&by_file, &by_directory));
    apache.reload();
    assert_proven(&stage.cycle().await);
    let current = stage.world().current().unwrap();
    assert_cast(&stage, &apache, &[("current", Some(&current), "200")]);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_cast(&stage, &apache, &[("current", Some(&current), "200"), ("upcoming", Some(&upcoming), "200")]);
    java::assert_cast_by_java(&apache.address(), &[("upcoming", Some(&upcoming), "200"), ("nobody", None, "403")]);
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_seen_of_a_server_is_said_with_its_reason() {
    let (mut stage, apache) = proven_stage().await;
    let snippet = stage.wired_apache("apache");
    let other_names = stage.root().join("other-names.pem");
    fs::copy(stage.root().join("other-root.pem"), &other_names).unwrap();
    let names = format!("SSLVerifyDepth 3\nSSLCADNRequestFile \"{}\"", other_names.display());
    let inside = snippet
        .replace("SSLVerifyClient optional\n", "SSLVerifyClient none\n")
        .replace("<Location \"/\">", "<Location \"/\">\nSSLVerifyClient require\nSSLVerifyDepth 3");
    for (what, configuration, reason) in [
        ("a list of names of its own", snippet.replace("SSLVerifyDepth 3", &names), "SSLCADNRequestFile"),
        ("asked inside a location", inside.clone(), "it may ask later, for some locations"),
        ("asked there by a renegotiation of TLS 1.2", format!("SSLProtocol TLSv1.2\n{inside}"), "it may ask later"),
    ] {
        assert_ne!(configuration, snippet);
        apache.rewrite(&configuration);
        apache.reload();
        stage.an_hour_later();
        stage.world().rotate().unwrap();
        let reloads = apache.reload_requests();
        let report = stage.cycle().await;
        let line = target(&report, "apache");
        let Some(Evidence::ReloadedNotProven(why)) = &line.settled else { panic!("{what}: {line:?}") };
        assert!(why.contains(reason), "{what}: {why}");
        assert_eq!((report.exit(false), apache.reload_requests()), (Exit::Done, reloads + 1));
        assert_eq!(stage.alarms(), ["target_not_proven:apache"]);
    }
    apache.rewrite(&snippet);
    apache.reload();
    assert_proven(&stage.cycle().await);

    // Whoever requires a certificate at once shows the chain alone.
    apache.rewrite(&snippet.replace("SSLVerifyClient optional\n", "SSLVerifyClient require\n"));
    apache.reload();
    let report = stage.cycle().await;
    assert!(matches!(target(&report, "apache").owed, Some(Owed::Unproven(Proof::ChainOnly(_)))), "{report:?}");
    assert_eq!(knock(&apache, Some(&stage.world().current().unwrap())), "200");
    assert_eq!(knock(&apache, None), "nothing");
}

#[tokio::test]
async fn as_the_servers_own_user_its_test_is_made_before_anything_moves_and_that_is_said() {
    if privilege::role().is_some() {
        assert!(!rustix::process::geteuid().is_root());
        let (mut stage, apache) = proven_stage().await;
        // It refuses whatever stands there, as long as the file is there, and notes by which words it was asked.
        let runs = stage.root().join("runs");
        let script = format!("echo \"$@\" >> '{}'; [ ! -e refuse ] || exit 1", runs.display());
        let check = stage.wrapped_check("apache", &apache, &script);
        stage.configure(&[("apache", &apache, Some(check))]);
        fs::write(stage.root().join("refuse"), "").unwrap();
        stage.on_day(45);
        let told = apache.reload_requests();
        for _ in 0..2 {
            let report = stage.cycle().await;
            assert!(matches!(target(&report, "apache").owed, Some(Owed::BrokenBefore(_))), "{report:?}");
            assert_eq!(report.exit(false), Exit::Check);
            let text = found(&report, Severity::Warning, "check_unavailable");
            assert!(text.contains("needs root") && text.contains("-t, as things stand"), "{text}");
            assert_eq!((stage.linked("apache"), apache.reload_requests()), (1, told));
        }
        fs::remove_file(stage.root().join("refuse")).unwrap();
        assert_proven(&stage.cycle().await);
        assert_eq!((stage.linked("apache"), stage.alarms()), (2, vec!["check_unavailable:apache".to_owned()]));
        let runs = fs::read_to_string(runs).unwrap();
        assert!(runs.lines().count() >= 4 && runs.lines().all(|line| line.ends_with(" -t")), "{runs}");
        assert_eq!(knock(&apache, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
        // By `check = []` that is as the user wants it.
        stage.configure(&[("apache", &apache, Some(Vec::new()))]);
        assert_proven(&stage.cycle().await);
        assert_eq!(stage.alarms(), Vec::<String>::new());
        return;
    }
    privilege::again_as_nobody();
}

#[tokio::test]
async fn apaches_own_test_is_found_to_be_blind_and_a_real_start_is_not() {
    if !privilege::is_root() {
        return;
    }
    let mut stage = Stage::begin_now().await;
    let apache = stage.serve_apache("apache", PLAIN);
    let test: Vec<String> = apache.check_command().into_iter().chain(["-t".to_owned()]).collect();
    stage.configure(&[("apache", &apache, Some(test))]);
    assert_eq!(stage.run(&["sync"]).await.code, 7);
    assert_eq!(stage.alarms(), ["target_not_wired:apache"], "not judged by files that nobody uses");
    apache.rewrite(&stage.wired_apache("apache"));
    apache.reload();
    for _ in 0..2 {
        let done = stage.run(&["sync"]).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert!(done.stderr.contains("broken on purpose") && done.stderr.contains("apache2ctl"), "{done:?}");
        assert_eq!(stage.alarms(), ["check_blind:apache"]);
    }
    let status = stage.run(&["status"]).await;
    assert!(status.stdout.contains("broken on purpose"), "{status:?}");
    assert_eq!(stage.state()["targets"]["apache"]["sight"]["verdict"], "blind");

    stage.configure(&[("apache", &apache, None)]);
    let room = stage.root().join("room");
    fs::create_dir(&room).unwrap();
    let mut sync = tokio::process::Command::new(env!("CARGO_BIN_EXE_trustsync"));
    sync.arg("sync").arg("--config").arg(stage.root().join("config.toml")).env("TMPDIR", &room);
    assert!(sync.output().await.unwrap().status.success());
    assert_eq!(stage.state()["targets"]["apache"]["sight"]["verdict"], "sees");
    assert!(fs::read_dir(&room).unwrap().next().is_none(), "neither a broken copy nor a room is left");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn the_presets_fit_debians_own_apache() {
    if privilege::role().is_some() {
        return by_the_presets_alone().await;
    }
    if !privilege::is_root() {
        return;
    }
    // In a mount namespace of its own, since it stands where the machine's own may; and as systemd has it, one whose mounts
    // are shared with others.
    let program = std::env::current_exe().unwrap();
    let inner = privilege::second_role(&program, "debian", "/".as_ref());
    let mut role = std::process::Command::new("unshare");
    let shared = "mount --make-rshared / && exec \"$@\"";
    role.args(["--mount", "--propagation", "private", "--", "sh", "-c", shared, "sh"]);
    role.arg(inner.get_program()).args(inner.get_args());
    role.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let was_there = fs::exists("/run/apache2").unwrap();
    privilege::assert_passes(&mut role);
    if !was_there {
        let _ = fs::remove_dir("/run/apache2");
    }
}

fn shell(script: &str) {
    let output = std::process::Command::new("sh").args(["-e", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The package's own files, with one site that includes the snippet, and a target that says no more than its kind.
async fn by_the_presets_alone() {
    let mut stage = Stage::begin().await;
    let root = stage.root().display().to_string();
    let port = support::port::free_port();
    shell(&format!(
        "chmod 755 {root}; cp -a /etc/apache2 {root}/etc; mount --bind {root}/etc /etc/apache2; cd /etc/apache2
        mount -t tmpfs tmpfs /run/lock; mkdir -p /run/apache2; mount -t tmpfs tmpfs /run/apache2; mount -t tmpfs tmpfs \
         /var/log/apache2
        echo 'Listen 127.0.0.1:{port}' >ports.conf; rm -f sites-enabled/*
        for module in ssl socache_shmcb headers; do ln -sf ../mods-available/$module.load mods-enabled/; done
        ln -sf ../mods-available/ssl.conf mods-enabled/
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {root}/server.key -out \
         {root}/server.pem -subj /CN=x"
    ));
    let site = |lines: &str| {
        let text = format!(
            "<VirtualHost *:{port}>\nServerName api.example.com\nErrorLog ${{APACHE_LOG_DIR}}/site.log\nSSLEngine \
             on\nSSLCertificateFile {root}/server.pem\nSSLCertificateKeyFile \
             {root}/server.key\n{lines}\n</VirtualHost>\n"
        );
        fs::write("/etc/apache2/sites-enabled/api.conf", text).unwrap();
    };
    site("");
    let mut server = Packaged(std::process::Command::new("apache2ctl").args(["-D", "FOREGROUND"]).spawn().unwrap());
    let pid = || fs::read_to_string("/run/apache2/apache2.pid").unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(20);
    while pid().is_empty() {
        assert!(Instant::now() < deadline && server.0.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let running = pid();
    {
        stage.configure_targets(&format!(
            "[target.apache]\nkind = \"apache\"\nproof = {{ connect = [\"127.0.0.1:{port}\"], server_name = \
             \"api.example.com\" }}\n"
        ));
        let first = stage.cycle().await;
        assert!(matches!(target(&first, "apache").owed, Some(Owed::Unproven(Proof::NotWired(_)))), "{first:?}");
        site(&stage.wired_apache("apache"));
        shell("apache2ctl -k graceful");
        assert_proven(&stage.cycle().await);
        assert_eq!(stage.state()["targets"]["apache"]["sight"]["verdict"], "sees");
        stage.on_day(45);
        assert_proven(&stage.cycle().await);
        let upcoming = stage.world().upcoming().unwrap().unwrap();
        assert_eq!(cast::knock(&format!("127.0.0.1:{port}"), Some(&upcoming)), "200");
        // What goes wrong in a virtual host with a log of its own is told by that log.
        fs::write(format!("{root}/server.key"), "no key\n").unwrap();
        stage.an_hour_later();
        stage.world().rotate().unwrap();
        stage.world().rotate().unwrap();
        let broken = stage.cycle().await;
        let text = found(&broken, Severity::Critical, "target_broken");
        assert!(text.contains("server.key"), "{text}");
    }
    assert_eq!(pid(), running, "its own pidfile was not touched");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("trustsync-check-") && !mounts.contains("/generations/"), "{mounts}");
    drop(server);
}

/// The package's own server, ended when dropped.
struct Packaged(std::process::Child);

impl Drop for Packaged {
    fn drop(&mut self) {
        shell("! [ -e /run/apache2/apache2.pid ] || kill -TERM $(cat /run/apache2/apache2.pid)");
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_generation_is_shown_to_this_machine_alone() {
    let (stage, apache) = proven_stage().await;
    let trusting =
        format!("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.2\n{}", stage.wired_apache("apache"));
    apache.rewrite(&trusting);
    apache.edit(|text| format!("LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\n{text}"));
    apache.reload();
    let shown_to = |source: &str, forwarded_for: &str| {
        let arguments = ["-sk", "--interface", source, "-D", "-", "-o", "/dev/null", "-H", forwarded_for];
        let url = format!("https://{}/", apache.address());
        let output = std::process::Command::new("curl").args(arguments).arg(url).output().unwrap();
        let head = String::from_utf8(output.stdout).unwrap();
        assert!(head.starts_with("HTTP/1.1 403"), "{head}");
        head.contains("X-Trustsync-Generation: 000001")
    };
    assert!(shown_to("127.0.0.1", "X-Nothing: x"));
    assert!(!shown_to("127.0.0.2", "X-Nothing: x"));
    assert!(!shown_to("127.0.0.2", "X-Forwarded-For: 127.0.0.1"), "whatever a trusted proxy says");
}
