//! A privileged HAProxy: root's half writes its files, checks, and tells it by a socket that only root may use; the daemon
//! proves by one that only shows.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;

use support::haproxy::{Configuration, Haproxy};
use support::haproxy_stage::{PLAIN, WAYS, Way, frontend, knock};
use support::host::Host;
use trustsync::simulator::world::Impostor;

/// A socket that everybody may use to look.
fn configuration(sections: impl Into<String>) -> Configuration {
    Configuration { global: "stats socket @DIR@/look.sock mode 666 level operator".into(), sections: sections.into() }
}

fn add_target(host: &Host, way: Way, haproxy: &Haproxy) {
    host.sandbox.append(&format!(
        "\n[target.edge]\nkind = \"haproxy\"\nprivileged = true\ncheck = {check}\n{lines}proof = {{ connect = \
         [\"{address}\"], server_name = \"api.example.com\", haproxy = {look:?}, timeout = \"6s\" }}\n",
        check = serde_json::to_string(&haproxy.check_command()).unwrap(),
        lines = way.lines(haproxy),
        address = haproxy.address(),
        look = haproxy.dir().join("look.sock"),
    ));
}

#[test]
fn a_rotation_reaches_a_server_whose_key_and_socket_are_roots_alone() {
    for way in WAYS {
        let Some(host) = Host::new() else { return };
        let haproxy = Haproxy::start(&host.path("server"), configuration(PLAIN));
        fs::set_permissions(haproxy.dir().join("server.pem"), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(haproxy.socket(), Permissions::from_mode(0o600)).unwrap();
        add_target(&host, way, &haproxy);
        let unit = host.path_unit(&["edge"]);
        host.daemon(&["sync"])
            .exits(7)
            .says(&["target_not_wired", &format!("{}/trust-bundle.pem", host.link("edge").display())]);
        assert_eq!(host.linked("edge"), Some(1));
        haproxy.rewrite(configuration(frontend(&host.link("edge"))));
        haproxy.reload();
        fs::set_permissions(haproxy.socket(), Permissions::from_mode(0o600)).unwrap();
        host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
        let current = host.sandbox.world().current().unwrap();
        let knocks = |who: Impostor| knock(&haproxy, Some(&host.sandbox.world().impostor(who).unwrap()));
        assert_eq!(knock(&haproxy, Some(&current)), "200");
        assert_eq!((knocks(Impostor::Stranger), knocks(Impostor::OtherCa)), ("403".to_owned(), "nothing".to_owned()));

        host.sandbox.world().set_days_left(60).unwrap();
        let before = haproxy.reloads();
        host.daemon(&["sync"]).exits(0).says(&["published generation 000002", "target edge: proven"]);
        let reloads = haproxy.reloads();
        let told = host.outcome("edge")["verdict"]["told"].as_str().unwrap().to_owned();
        match way {
            Way::Reload => {
                assert_eq!(reloads, (before.0 + 1, 0));
                assert!(told.contains("its master says that the reload succeeded"), "{told}");
            }
            Way::Runtime => {
                assert_eq!(reloads, before);
                assert!(told.contains("without a reload"), "{told}");
            }
        }
        assert_eq!(host.linked("edge"), Some(2));
        let upcoming = host.sandbox.world().upcoming().unwrap().unwrap();
        assert_eq!((knock(&haproxy, Some(&upcoming)), knock(&haproxy, Some(&current))), ("200".into(), "200".into()));
        assert_eq!((knocks(Impostor::Stranger), knock(&haproxy, None)), ("403".to_owned(), "nothing".to_owned()));
        unit.stop();
        host.owners_are_kept();
    }
}

#[test]
fn nothing_that_the_daemon_writes_reaches_the_server_that_root_runs() {
    let Some(host) = Host::new() else { return };
    let haproxy = Haproxy::start(&host.path("server"), configuration(PLAIN));
    add_target(&host, Way::Runtime, &haproxy);
    let unit = host.path_unit(&["edge"]);
    host.daemon(&["sync"]).exits(7);
    haproxy.rewrite(configuration(frontend(&host.link("edge"))));
    haproxy.reload();
    host.daemon(&["sync"]).exits(0);
    let stranger = host.sandbox.world().impostor(Impostor::Stranger).unwrap();
    let pin = trustsync::trust::values::fingerprint::Fingerprint::of(stranger.der()).to_string().to_uppercase();
    let before = fs::read(host.link("edge").join("haproxy/pins.list")).unwrap();
    host.forge_file("haproxy/pins.list", &format!("{pin}\nx\nset ssl ca-file\n"));
    unit.stop();
    host.apply("edge").exits(0);
    assert_eq!(fs::read(host.link("edge").join("haproxy/pins.list")).unwrap(), before);
    assert_eq!(knock(&haproxy, Some(&stranger)), "403");
    assert_eq!(knock(&haproxy, Some(&host.sandbox.world().current().unwrap())), "200");
}

/// Debian's folder of HAProxy's sockets is its group's, and so the daemon's: root's half is told there what to read.
#[test]
fn one_that_took_the_place_of_the_socket_gets_no_line_of_roots_files() {
    let Some(host) = Host::new() else { return };
    const SECRET: &str = "key-of-the-host";
    let (secret, socket) = (host.path("secret.txt"), host.path("admin.sock"));
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let name = format!("{}/../secret.txt", host.link("edge").display());
    let (asked, all_asked) = mpsc::channel();
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut command = String::new();
            let _ = stream.read_to_string(&mut command);
            let answer = match command.split_whitespace().next() {
                Some("prepare") => "New version created: 1\n".to_owned(),
                Some("show") => {
                    format!("0 ({name}) pattern loaded from file '{name}' used by acl\n{name} - 1 certificate(s)\n")
                }
                _ => "\n".to_owned(),
            };
            asked.send(command).unwrap();
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    host.sandbox.append(&format!(
        "\n[target.edge]\nkind = \"haproxy\"\nprivileged = true\ncheck = [\"true\"]\nreload = {{ haproxy = {socket:?} \
         }}\n"
    ));
    host.sync().exits(7).says(&["has loaded no file beneath"]);
    let asked: String = all_asked.try_iter().collect();
    assert_eq!(asked, "show acl\nshow map\nshow ssl ca-file\n");
}

#[test]
fn what_the_server_says_makes_no_outcome_that_the_daemon_cannot_read() {
    let Some(host) = Host::new() else { return };
    host.sandbox.append(
        "\n[target.edge]\nkind = \"haproxy\"\nprivileged = true\ncheck = [\"true\"]\nreload = { command = \
         [\"/bin/sh\", \"-c\", \"yes eh | head -c 15000; echo broken; exit 1\"] }\n",
    );
    host.sync().exits(7).says(&["target_not_told", "broken"]);
    let outcome = host.outcome("edge");
    let reason = outcome["verdict"]["owed"]["not_told"].as_str().unwrap();
    assert!(reason.starts_with("[...] ") && reason.contains("broken"), "{reason}");
    assert_eq!(reason.chars().count(), 4_000);
}

#[test]
fn a_socket_in_the_daemons_store_is_refused() {
    let Some(host) = Host::new() else { return };
    host.sandbox.append(
        "\n[target.edge]\nkind = \"haproxy\"\nprivileged = true\nreload = { haproxy = \"store/admin.sock\" }\n",
    );
    host.root(&["config", "check"]).exits(3).says(&["target.edge.reload", "root would believe the daemon's answers"]);
}
