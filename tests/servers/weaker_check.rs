//! Where the best check is unavailable (no capability to make namespaces, no mount(8), no unshare(1)), or is blind to our
//! files, the next weaker one is made: on real servers, each broken by a line that is not ours. Nobody is told while it
//! fails; what is owed then is paid by the first cycle after the line was mended.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use support::apache::Apache;
use support::cast::knock;
use support::daemon::Daemon;
use support::foreground::wait_until;
use support::haproxy::Haproxy;
use support::haproxy_stage;
use support::host::Host;
use support::load::Load;
use support::nginx::Nginx;
use support::nginx_stage;
use support::privilege::{self, without_namespaces};
use support::sandbox::{Ran, Sandbox, run};
use support::server::Server;
use trustsync::simulator::world::Impostor;
use trustsync::targets::apache::snippet::virtual_host;

/// Why no private view of the files is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    Nothing,
    Capability,
    Mount,
    Unshare,
}

/// A vendor, a store, and one target `edge`, synced by a root that lacks something.
struct Machine {
    sandbox: Sandbox,
    lacks: Lacks,
}

impl Machine {
    fn new(lacks: Lacks) -> Option<Self> {
        if !privilege::is_root() {
            return None;
        }
        let mut sandbox = Sandbox::new();
        // The children of a root server come this way.
        fs::set_permissions(sandbox.folder.path(), Permissions::from_mode(0o755)).unwrap();
        let programs: &[&str] = match lacks {
            Lacks::Nothing | Lacks::Capability => &[],
            Lacks::Mount => &["unshare", "sh", "apache2"],
            Lacks::Unshare => &["mount", "sh", "apache2"],
        };
        if !programs.is_empty() {
            let bin = sandbox.path("bin");
            fs::create_dir(&bin).unwrap();
            for program in programs {
                symlink(installed(program), bin.join(program)).unwrap();
            }
            sandbox.set("PATH", bin.to_str().unwrap());
        }
        Some(Self { sandbox, lacks })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let command = self.sandbox.command(arguments);
        if self.lacks == Lacks::Capability { without_namespaces(&command) } else { command }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    fn sync(&self) -> Ran {
        self.run(&["sync"])
    }

    fn link(&self) -> PathBuf {
        self.sandbox.store().join("target/edge")
    }

    fn linked(&self) -> u64 {
        fs::read_link(self.link()).unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    fn alarms(&self) -> Vec<String> {
        self.sandbox.state()["alarms"].as_object().unwrap().keys().cloned().collect()
    }

    /// An upcoming certificate is listed.
    fn open_the_window(&self) {
        self.sandbox.world().set_days_left(60).unwrap();
    }

    fn deny(&self, leaf: &str) {
        let mut state = self.sandbox.state();
        state["memory"]["denied"][leaf] =
            serde_json::json!({ "reason": "distrusted", "since": "2026-01-01T00:00:00Z" });
        fs::write(self.sandbox.store().join("state.json"), state.to_string()).unwrap();
    }

    fn configure_apache(&self, apache: &Apache, check: &[String]) {
        self.sandbox.append(&format!("\n{}", apache.table("edge", check)));
    }

    /// An Apache that serves generation 1, proven.
    fn serve_apache(&self, check: impl Fn(&Apache) -> Vec<String>) -> Apache {
        let apache = Apache::start(&self.sandbox.path("server"), "");
        self.configure_apache(&apache, &check(&apache));
        self.sync().exits(7).says(&["target_not_wired"]);
        apache.rewrite(&virtual_host(&self.link()));
        apache.reload();
        self.sync().exits(0).says(&["target edge: proven"]);
        apache
    }
}

fn installed(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file()).unwrap()
}

fn a_start(apache: &Apache) -> Vec<String> {
    apache.check_command()
}

fn a_test(apache: &Apache) -> Vec<String> {
    apache.check_command().into_iter().chain(["-t".to_owned()]).collect()
}

fn break_it(apache: &Apache) {
    apache.edit(|text| format!("{text}NoSuchDirective on\n"));
}

fn calls(load: &Load) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(load.calls(100));
}

#[test]
fn an_apache_that_its_own_test_refuses_is_not_told_and_loses_no_call() {
    let by_start: fn(&Apache) -> Vec<String> = a_start;
    for (lacks, check, is_start) in [
        (Lacks::Capability, by_start, true),
        (Lacks::Capability, a_test, false),
        (Lacks::Mount, a_start, true),
        (Lacks::Unshare, a_start, true),
        // Nothing is missing, but it is found to be blind.
        (Lacks::Nothing, a_test, false),
    ] {
        let Some(machine) = Machine::new(lacks) else { return };
        let mut apache = machine.serve_apache(check);
        let alarm = if lacks == Lacks::Nothing { "check_blind" } else { "check_unavailable" };
        assert_eq!(machine.alarms(), [format!("{alarm}:edge")], "{lacks:?}");
        let weaker = ["httpd.conf -t", "as things stand", "before the link is switched", "the server is not reloaded"];
        let weaker = if lacks == Lacks::Nothing { &weaker[1..] } else { &weaker };
        machine.sync().exits(0).says(weaker);
        let world = machine.sandbox.world();
        let (current, stranger) = (world.current().unwrap(), world.impostor(Impostor::Stranger).unwrap());
        let load = Load::begin(apache.address().parse().unwrap(), current, stranger);
        calls(&load);

        break_it(&apache);
        machine.open_the_window();
        let told = apache.reload_requests();
        for _ in 0..2 {
            machine.sync().exits(9).says(&["target_broken", "NoSuchDirective", "broken elsewhere", "was not moved"]);
            assert_eq!((machine.linked(), apache.reload_requests()), (1, told), "{lacks:?} {is_start}");
            calls(&load);
        }
        assert!(!apache.has_ended());
        let status = machine.run(&["status"]).exits(2);
        assert!(status.stdout.contains("its configuration is broken elsewhere"), "{status:?}");

        apache.rewrite(&virtual_host(&machine.link()));
        machine.sync().exits(0).says(&["target edge: proven"]);
        assert_eq!((Some(machine.linked()), apache.reload_requests()), (machine.sandbox.current(), told + 1));
        load.presents(machine.sandbox.world().upcoming().unwrap().unwrap());
        calls(&load);
        load.end().assert_nothing_lost();
    }
}

#[test]
fn the_daemon_tells_such_an_apache_by_itself_once_the_line_is_mended() {
    let Some(machine) = Machine::new(Lacks::Capability) else {
        return;
    };
    let mut apache = machine.serve_apache(a_start);
    break_it(&apache);
    machine.open_the_window();
    let told = apache.reload_requests();
    let daemon = Daemon::start(&mut machine.command(&["run"]), machine.sandbox.path("log"));
    daemon.wait_until("its first word", || !daemon.log().is_empty());
    daemon.signal(Signal::USR1);
    daemon.wait_for("target_broken", 1);
    assert!(daemon.text("target_broken").contains("NoSuchDirective"));
    assert!(!apache.has_ended());
    assert_eq!((machine.linked(), apache.reload_requests()), (1, told));
    apache.rewrite(&virtual_host(&machine.link()));
    daemon.signal(Signal::USR1);
    daemon.wait_until("the target's link moved", || machine.linked() > 1);
    wait_until("Apache is told", || apache.reload_requests() > told);
    let upcoming = machine.sandbox.world().upcoming().unwrap().unwrap();
    wait_until("the new one is let in", || knock(&apache.address(), Some(&upcoming)) == "200");
    daemon.stop();
    assert!(!apache.has_ended());
}

#[test]
fn an_apache_that_is_broken_from_the_beginning_is_not_told_of_its_first_generation() {
    for check in [a_start as fn(&Apache) -> Vec<String>, a_test] {
        let Some(machine) = Machine::new(Lacks::Capability) else { return };
        let mut apache = Apache::start(&machine.sandbox.path("server"), "");
        machine.configure_apache(&apache, &check(&apache));
        break_it(&apache);
        machine.sync().exits(9).says(&["target_check_failed", "NoSuchDirective"]);
        assert_eq!(
            (machine.linked(), apache.reload_requests()),
            (1, 0),
            "there was nothing that it could have read before"
        );
        assert!(!apache.has_ended());
        // Wired before it was ever told, as by an installation that writes everything at once.
        apache.rewrite(&virtual_host(&machine.link()));
        machine.sync().exits(0).says(&["target edge: proven"]);
        assert_eq!(apache.reload_requests(), 1);
    }
}

#[test]
fn a_reload_that_was_owed_already_is_not_made_while_the_test_fails() {
    for check in [a_start as fn(&Apache) -> Vec<String>, a_test] {
        let Some(machine) = Machine::new(Lacks::Capability) else { return };
        let mut apache = machine.serve_apache(check);
        let (pidfile, aside) = (apache.pidfile(), machine.sandbox.path("pid"));
        fs::rename(&pidfile, &aside).unwrap();
        machine.open_the_window();
        machine.sync().exits(7).says(&["target_not_told"]);
        fs::rename(&aside, &pidfile).unwrap();
        break_it(&apache);
        let told = apache.reload_requests();
        for arguments in [&["sync"][..], &["reload", "edge"]] {
            machine.run(arguments).exits(9).says(&["target_check_failed", "NoSuchDirective"]);
            assert_eq!((machine.linked(), apache.reload_requests()), (2, told), "and never switched back to compare");
        }
        assert!(!apache.has_ended());
        apache.rewrite(&virtual_host(&machine.link()));
        machine.sync().exits(0).says(&["target edge: proven"]);
        assert_eq!(apache.reload_requests(), told + 1);
    }
}

#[test]
fn a_denial_stands_in_a_broken_apache_for_those_who_mend_it() {
    let Some(machine) = Machine::new(Lacks::Capability) else {
        return;
    };
    let mut apache = machine.serve_apache(a_start);
    machine.open_the_window();
    // Until the roles have settled, so that no other generation comes between.
    for _ in 0..4 {
        machine.sync().exits(0);
    }
    let upcoming = machine.sandbox.world().upcoming().unwrap().unwrap();
    assert_eq!(knock(&apache.address(), Some(&upcoming)), "200");
    break_it(&apache);
    machine.deny(&machine.sandbox.upcoming_leaf());
    let told = apache.reload_requests();
    // 5, since the vendor goes on listing it.
    machine.sync().exits(5).says(&["target_broken", "NoSuchDirective", "is in place for when it loads"]);
    let denying = machine.sandbox.current();
    assert_eq!((Some(machine.linked()), apache.reload_requests()), (denying, told));
    machine.sync().exits(5).says(&["still admits that certificate", "NoSuchDirective"]);
    assert_eq!((Some(machine.linked()), machine.sandbox.current(), apache.reload_requests()), (denying, denying, told));
    assert!(!apache.has_ended());
    // Whoever mends it and reloads it as always has shut the door.
    apache.rewrite(&virtual_host(&machine.link()));
    apache.reload();
    assert_eq!(knock(&apache.address(), Some(&upcoming)), "403");
    machine.sync().exits(5).says(&["target edge: proven"]);
}

#[test]
fn what_was_damaged_where_apache_reads_it_is_repaired_though_its_test_fails_by_that() {
    let Some(machine) = Machine::new(Lacks::Capability) else { return };
    let apache = machine.serve_apache(a_start);
    fs::remove_file(machine.link().join("apache/admit.conf")).unwrap();
    let told = apache.reload_requests();
    machine.sync().exits(0).says(&["target edge: proven"]);
    assert_eq!((machine.linked(), apache.reload_requests()), (2, told + 1));
}

#[test]
fn a_generation_that_apaches_test_refuses_once_it_stands_there_goes_back_and_is_not_told() {
    let Some(machine) = Machine::new(Lacks::Capability) else { return };
    let refuse = machine.sandbox.path("refuse");
    let link = machine.link();
    let script = format!(
        "if [ -e '{}' ] && ! grep -q 000001 '{}/apache/generation.conf'; then echo 'not this one'; exit 1; fi",
        refuse.display(),
        link.display()
    );
    let apache = machine.serve_apache(|apache| noting(&machine, &script, &apache.check_command()));
    fs::write(&refuse, "").unwrap();
    machine.open_the_window();
    let told = apache.reload_requests();
    seen(&machine);
    machine.sync().exits(9).says(&["target_check_refused", "not this one"]);
    assert_eq!(seen(&machine), [1, 2, 1], "it is not put there again to be blamed");
    assert_eq!((machine.linked(), apache.reload_requests()), (1, told));
    fs::remove_file(&refuse).unwrap();
    machine.sync().exits(0).says(&["target edge: proven"]);
    assert_eq!((machine.linked(), apache.reload_requests()), (2, told + 1));
}

/// A check that notes what stands where the link leads, each time that it is run, does what the script says, and then is the
/// server's own.
fn noting(machine: &Machine, more: &str, check: &[String]) -> Vec<String> {
    let (script, link) = (machine.sandbox.path("check"), machine.link());
    let seen = machine.sandbox.path("seen");
    let text = format!("readlink '{}' >>'{}'\n{more}\nexec \"$@\"\n", link.display(), seen.display());
    fs::write(&script, text).unwrap();
    [&["sh".to_owned(), script.display().to_string()], check].concat()
}

/// The generations that stood there when the check was run, since last asked.
fn seen(machine: &Machine) -> Vec<u64> {
    let path = machine.sandbox.path("seen");
    let text = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, "").unwrap();
    text.lines().map(|line| Path::new(line).file_name().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

/// Broken by a line that is not ours, then mended.
fn broken_and_mended(machine: &Machine, told: impl Fn() -> usize, broken: impl Fn(), mend: impl Fn(), word: &str) {
    machine.open_the_window();
    broken();
    let before = told();
    seen(machine);
    machine.sync().exits(9).says(&["target_broken", "With either the check says", word]);
    assert_eq!(seen(machine), [1, 2], "before the switch and after, and nothing goes to and fro");
    assert_eq!((machine.linked(), told()), (2, before));
    machine.run(&["status"]).exits(2).says(&["broken elsewhere"]);
    mend();
    machine.sync().exits(0).says(&["target edge: proven"]);
    assert_eq!((machine.linked(), told()), (2, before + 1));
}

#[test]
fn an_nginx_is_checked_before_the_switch_and_after_where_namespaces_are_unavailable() {
    let Some(machine) = Machine::new(Lacks::Capability) else { return };
    let nginx = Nginx::start(&machine.sandbox.path("server"), nginx_stage::PLAIN);
    let check = noting(&machine, "", &nginx.check_command());
    machine.sandbox.append(&format!("\n{}", nginx.table("edge", &check)));
    machine.sync().exits(7);
    let wired = nginx_stage::wired(&machine.link());
    nginx.rewrite(&wired);
    nginx.reload();
    machine.run(&["-v", "sync"]).exits(0).says(&["check_not_judged", "before the link is switched and after"]);
    broken_and_mended(
        &machine,
        || nginx.reload_requests(),
        || nginx.rewrite(&format!("{wired}\nno_such_directive on;")),
        || nginx.rewrite(&wired),
        "no_such_directive",
    );
}

#[test]
fn a_haproxy_is_checked_before_the_switch_and_after_where_namespaces_are_unavailable() {
    let Some(machine) = Machine::new(Lacks::Capability) else { return };
    let haproxy = Haproxy::start(&machine.sandbox.path("server"), haproxy_stage::PLAIN);
    machine.sandbox.append(&format!(
        "\n[target.edge]\nkind = \"haproxy\"\ncheck = {}\n{}proof = {{ haproxy = {:?}, timeout = \"6s\" }}\n",
        serde_json::to_string(&noting(&machine, "", &haproxy.check_command())).unwrap(),
        haproxy_stage::Way::Reload.lines(&haproxy),
        haproxy.socket(),
    ));
    machine.sync().exits(7);
    let wired = haproxy_stage::frontend(&machine.link());
    haproxy.rewrite(wired.clone());
    haproxy.reload();
    machine.sync().exits(0);
    broken_and_mended(
        &machine,
        || haproxy.reloads().0,
        || haproxy.rewrite(format!("{wired}\nfrontend other\n    no_such_keyword")),
        || haproxy.rewrite(wired.clone()),
        "no_such_keyword",
    );
}

#[test]
fn a_check_that_cannot_be_run_is_none_that_refuses() {
    for (lacks, linked) in [(Lacks::Nothing, 1), (Lacks::Capability, 1)] {
        let Some(machine) = Machine::new(lacks) else { return };
        let apache = machine.serve_apache(a_start);
        let configuration = machine.sandbox.configuration();
        let (own, missing) = ("check = [\"apache2\"", "check = [\"/no/such/apache2\"");
        assert!(configuration.contains(own));
        machine.sandbox.configure(&configuration.replace(own, missing));
        machine.open_the_window();
        let told = apache.reload_requests();
        machine.sync().exits(7).says(&["target_check_not_run", "/no/such/apache2", "is unknown"]);
        assert_eq!((machine.linked(), apache.reload_requests()), (linked, told));
        assert!(machine.alarms().contains(&"target_check_not_run:edge".to_owned()), "{:?}", machine.alarms());
        machine.sandbox.configure(&configuration);
        machine.sync().exits(0).says(&["target edge: proven"]);
        assert_eq!((machine.linked(), apache.reload_requests()), (2, told + 1));
    }
}

#[test]
fn roots_half_without_namespaces_tells_no_broken_apache_and_pays_what_it_owes() {
    for check in [a_start as fn(&Apache) -> Vec<String>, a_test] {
        let Some(host) = Host::new() else { return };
        let mut server = Apache::start(&host.path("server"), "");
        fs::set_permissions(server.dir().join("server.key"), Permissions::from_mode(0o600)).unwrap();
        host.add_server("edge", &server, &check(&server));
        let _unit = host.path_unit_as(&["edge"], |command| without_namespaces(&command));
        let link = host.link("edge");
        host.daemon(&["sync"]).exits(7).says(&["target_not_wired"]);
        server.rewrite(&virtual_host(&link));
        server.reload();
        host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
        host.daemon(&["sync"]).exits(0).says(&["check_unavailable", "httpd.conf -t", "CAP_SYS_ADMIN"]);

        break_it(&server);
        host.sandbox.world().set_days_left(60).unwrap();
        let told = server.reload_requests();
        for _ in 0..2 {
            host.daemon(&["sync"]).exits(9).says(&["target_broken", "NoSuchDirective", "was not moved"]);
            assert_eq!((host.linked("edge"), server.reload_requests()), (Some(1), told));
        }
        assert!(!server.has_ended());
        host.daemon(&["status"]).exits(2).says(&["its configuration is broken elsewhere"]);
        // Asked for by hand, it says the same.
        let by_hand = run(&mut without_namespaces(&host.apply_command("edge"))).exits(9).says(&["broken elsewhere"]);
        assert_eq!(server.reload_requests(), told, "{by_hand:?}");

        server.rewrite(&virtual_host(&link));
        host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
        assert_eq!((host.linked("edge"), server.reload_requests()), (host.sandbox.current(), told + 1));
        host.owners_are_kept();
    }
}
