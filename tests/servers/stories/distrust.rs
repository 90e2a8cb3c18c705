//! A leaf that is denied: out at once, by every door, and with the last one nobody is left.

use std::fs;

use support::cast::knock;
use support::doors::{self, Behind, Door};
use support::report::{alarm, line};
use support::server::{Server, assert_nobody_gets_in, assert_proven, proven};
use support::stage::Stage;
use trustsync::exit::Exit;
use trustsync::trust::formats::pem;
use trustsync::trust::turn::Evidence;

pub async fn with_the_only_leaf_denied_every_output_says_deny_all_and_nobody_gets_in<S: Server>(row: S::Row) {
    let (mut stage, mut server) = proven::<S>(Stage::begin().await, row).await;
    let current = stage.world().current().unwrap();
    stage.deny(&current);
    let report = stage.cycle().await;
    assert!(report.deny_all && report.committed);
    assert_eq!(line(&report).settled, Some(Evidence::Proven), "{report:?}");
    assert_eq!(report.exit(false), Exit::Answer, "what the vendor lists is refused");
    assert!(alarm(&report, "denied_certificate_left").contains("denied"));

    let read = |name: &str| fs::read_to_string(stage.link(S::TARGET).join(name)).unwrap();
    for name in ["trust-bundle.pem", "chain.pem", "leaves.pem"] {
        assert_eq!(pem::scan(&read(name)).len(), 1, "{name} holds the marker alone");
    }
    for (name, words) in [("fingerprints.txt", "deny all")].iter().chain(S::DENY_ALL) {
        assert!(read(name).contains(words), "{}", read(name));
    }
    assert!(read("manifest.json").contains("\"deny_all\": true"));
    assert_nobody_gets_in(&stage, &server, &[&current]);

    // And it stays so.
    let report = stage.cycle().await;
    assert!(report.deny_all && !report.committed);
    assert!(alarm(&report, "denied_certificate_listed").contains("kept out"));
    let status = stage.run(&["status"]).await;
    assert!(status.code == 2 && status.stdout.contains("DENY ALL: nobody is admitted"), "{status:?}");
    assert_eq!(report.exit(false), Exit::Answer);
    server.stop();
    server.start_again();
    assert_nobody_gets_in(&stage, &server, &[&current]);
}

pub async fn a_denied_leaf_finds_no_door_open_neither_its_connection_nor_its_session<S: Server>(row: S::Row) {
    let (mut stage, server) = proven::<S>(Stage::begin().await, row).await;
    // The worst case: sessions that outlive a reload.
    server.share_ticket_keys(&stage);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let (current, upcoming) = (stage.world().current().unwrap(), stage.world().upcoming().unwrap().unwrap());
    let mut doors = doors::VERSIONS.map(|version| Door::open(&server.address(), &current, version));
    for door in &mut doors {
        assert_eq!(door.resume(), (Behind::Status(200), true), "while it is trusted");
        assert_eq!(door.ask_again(), Behind::Status(200));
    }
    stage.deny(&current);
    let report = stage.cycle().await;
    assert_eq!(line(&report).settled, Some(Evidence::Proven), "{report:?}");
    for door in &mut doors {
        assert_eq!(door.ask_again(), server.kept());
        let found = door.resume();
        assert!(server.is_shut(found.clone()), "{found:?}");
    }
    assert_eq!(knock(&server.address(), Some(&current)), S::UNLISTED);
    assert_eq!(knock(&server.address(), Some(&upcoming)), "200");
}
