//! A server that can only be told which authorities to trust (stunnel, really run): what that admits, what is proven, and how
//! plainly it is said.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::cast::knock;
use support::foreground::{self, Foreground, answers};
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::simulator::world::Impostor;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::turn::Evidence;

/// stunnel in the foreground, in front of a server that answers everybody.
struct Stunnel {
    dir: PathBuf,
    port: u16,
    process: Foreground,
}

impl Stunnel {
    fn start(dir: &Path, link: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        foreground::own_certificate_with_key(dir, "api.example.com");
        fs::set_permissions(dir.join("server.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let behind = answering_everybody();
        let port = support::port::free_port();
        let shipped =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/stunnel/ca-only.conf")).unwrap();
        let shipped = shipped.replace("/var/lib/trustsync/target/stunnel", link.to_str().unwrap());
        let dir_text = dir.display();
        fs::write(
            dir.join("stunnel.conf"),
            format!(
                "foreground = yes\npid = {dir_text}/stunnel.pid\noutput = {dir_text}/log\n[api]\naccept = \
                 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind}\ncert = {dir_text}/server.pem\n{shipped}"
            ),
        )
        .unwrap();
        let mut command = Command::new("stunnel");
        command.arg(dir.join("stunnel.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let needed = "stunnel is needed for this test: apt-get install stunnel4";
        let mut stunnel = Self { dir: dir.to_owned(), port, process: Foreground::spawn(&mut command, needed) };
        let (pidfile, log) = (stunnel.pidfile(), dir.join("log"));
        let log = || fs::read_to_string(&log).unwrap_or_default();
        stunnel.process.wait_until(|| answers(port) && pidfile.exists(), log);
        stunnel
    }

    fn pidfile(&self) -> PathBuf {
        self.dir.join("stunnel.pid")
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn answering_everybody() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nin");
        }
    });
    port
}

async fn proven(mut stage: Stage, pinning: &str) -> (Stage, Stunnel) {
    let target = |more: &str| format!("[target.stunnel]\nkind = \"ca-only\"\n{pinning}\n{more}\n");
    stage.configure_targets(&target(""));
    stage.cycle().await;
    let stunnel = Stunnel::start(&stage.root().join("stunnel"), &stage.link("stunnel"));
    stage.configure_targets(&target(&format!(
        "reload = {{ signal = \"HUP\", pidfile = \"{}\", process = \"stunnel4\" }}\nproof = {{ connect = [\"{}\"], \
         timeout = \"6s\" }}",
        stunnel.pidfile().display(),
        stunnel.address()
    )));
    assert_chain(&stage.cycle().await);
    (stage, stunnel)
}

/// Its chain is proven, which is all it has: no reason for an alarm.
#[track_caller]
fn assert_chain(report: &Report) {
    assert!(matches!(report.targets[0].settled, Some(Evidence::ChainOnly(_))), "{report:?}");
    let said: Vec<_> = report.findings.iter().filter(|finding| finding.event.name().starts_with("target_")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].event.name(), said[0].severity), ("target_ca_only", Severity::Note));
    assert!(said[0].text.contains("CA only"), "{}", said[0].text);
    assert_eq!(report.exit(false), Exit::Done);
}

#[tokio::test]
async fn with_the_genesys_root_alone_the_authority_is_the_trust_and_status_says_ca_only() {
    let genesys_alone = "authorities = [\"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let (mut stage, stunnel) = proven(Stage::begin().await.with_lines(genesys_alone, ""), "").await;
    let address = stunnel.address();
    assert_eq!(knock(&address, Some(&stage.world().genesys().unwrap())), "200");
    stage.world().renew_genesys().unwrap();
    assert_eq!(knock(&address, Some(&stage.world().genesys().unwrap())), "200", "renewed, and never polled");
    for who in [stage.world().current().unwrap(), stage.world().impostor(Impostor::OtherCa).unwrap()] {
        assert_eq!(knock(&address, Some(&who)), "nothing");
    }
    assert_eq!(knock(&address, None), "nothing");
    let status = stage.run(&["status"]).await;
    assert!(status.stdout.contains("CA only: this server admits anyone whom the authority has signed"), "{status:?}");
    let json: serde_json::Value =
        serde_json::from_str(&stage.run(&["status", "--output", "json"]).await.stdout).unwrap();
    assert!(json.to_string().contains("\"ca_only\":\"CA only"), "{json}");
    assert_chain(&stage.cycle().await);
}

#[tokio::test]
async fn a_public_authority_admits_strangers_there_and_status_says_whose_word_it_is_that_another_layer_does_not() {
    let (mut stage, stunnel) = proven(Stage::begin().await, "pinning = \"elsewhere\"").await;
    let address = stunnel.address();
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    assert_eq!(knock(&address, Some(&stage.world().current().unwrap())), "200");
    assert_eq!(knock(&address, Some(&stranger)), "200", "why it is refused without that word");
    for who in [Impostor::OtherCa, Impostor::Expired] {
        assert_eq!(knock(&address, Some(&stage.world().impostor(who).unwrap())), "nothing", "{}", who.name());
    }
    stage.on_day(45);
    let report = stage.cycle().await;
    assert!(report.committed && report.targets[0].reloaded, "{report:?}");
    assert_chain(&report);
    let status = stage.run(&["status"]).await;
    assert!(
        status.stdout.contains("strangers too") && status.stdout.contains("cannot be seen from here"),
        "{status:?}"
    );
}
