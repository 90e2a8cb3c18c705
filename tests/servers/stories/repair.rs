//! A server or a store that is not as it was left: down, restored from a backup, damaged.

use std::fs;
use std::process::Command;

use support::cast::knock;
use support::foreground::wait_until;
use support::report::{alarm, line};
use support::server::{Server, assert_proven, proven};
use support::stage::Stage;
use trustsync::exit::Exit;
use trustsync::trust::turn::{Evidence, Owed, Proof};

pub async fn a_server_that_is_down_keeps_its_change_owed_and_proves_itself_after_its_start<S: Server>(row: S::Row) {
    let (mut stage, mut server) = proven::<S>(Stage::begin().await, row).await;
    server.stop();
    // Nothing has changed: what it was proven of stands in place, and its absence is said.
    let report = stage.cycle().await;
    assert!(matches!(line(&report).settled, Some(Evidence::ProvenEarlier(_))), "{report:?}");
    let unreachable = vec![format!("target_unreachable:{}", S::TARGET)];
    assert_eq!((report.exit(false), stage.alarms()), (Exit::Done, unreachable));

    stage.on_day(45);
    let report = stage.cycle().await;
    assert_eq!((report.exit(false), stage.linked(S::TARGET)), (Exit::Owed, 2));
    if S::IS_RELOADED {
        let text = alarm(&report, "target_not_told");
        assert!(server.why_not_reloaded().iter().all(|words| text.contains(words)), "{text}");
    } else {
        assert!(matches!(line(&report).owed, Some(Owed::Unproven(Proof::Unreachable(_)))), "{report:?}");
    }

    // A pidfile that is stale signals nobody.
    if let Some(pidfile) = server.signalled_by() {
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        for (pid, words) in [(gone.id(), "does not exist"), (std::process::id(), "nothing was signalled")] {
            fs::write(&pidfile, format!("{pid}\n")).unwrap();
            let report = stage.cycle().await;
            assert_eq!(report.exit(false), Exit::Owed);
            let text = alarm(&report, "target_not_told");
            assert!(text.contains(words), "{text}");
        }
    }

    server.start_again();
    let requests = server.reload_requests(&stage);
    assert_proven(&stage.cycle().await);
    assert_eq!(
        (server.reload_requests(&stage), stage.alarms()),
        (requests, Vec::new()),
        "it loaded the new one at its start"
    );
    assert_eq!(knock(&server.address(), Some(&stage.world().upcoming().unwrap().unwrap())), "200");
}

pub async fn a_restored_backup_is_found_by_the_next_proof_and_mended<S: Server>(row: S::Row) {
    let (mut stage, server) = proven::<S>(Stage::begin().await, row).await;
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    if S::IS_RELOADED {
        // The server has loaded old files, and the link leads to the new ones: seen by the proof alone.
        stage.switch_by_hand(S::TARGET, 1);
        server.reload();
        stage.switch_by_hand(S::TARGET, 2);
        assert_eq!(knock(&server.address(), Some(&upcoming)), S::UNLISTED);
        let report = stage.cycle().await;
        assert_proven(&report);
        assert!(line(&report).reloaded && !report.committed);
        assert_eq!(knock(&server.address(), Some(&upcoming)), "200");
    }

    // The link too is the old one.
    stage.switch_by_hand(S::TARGET, 1);
    server.reload();
    wait_until("it serves the old one", || knock(&server.address(), Some(&upcoming)) == S::UNLISTED);
    let report = stage.cycle().await;
    assert_proven(&report);
    assert_eq!((stage.linked(S::TARGET), report.committed), (2, false));
    assert_eq!(knock(&server.address(), Some(&upcoming)), "200");
}

pub async fn a_damaged_file_is_replaced_by_a_new_generation_which_is_proven<S: Server>(row: S::Row) {
    let (mut stage, server) = proven::<S>(Stage::begin().await, row).await;
    let damaged = stage.root().join("store/generations/000001").join(S::READS);
    fs::write(&damaged, "damaged\n").unwrap();
    let report = stage.cycle().await;
    assert_eq!(line(&report).settled, Some(Evidence::Proven), "{report:?}");
    let drift: Vec<_> = report.findings.iter().filter(|finding| finding.event.name() == "store_drift").collect();
    assert_eq!(drift.len(), 1, "{:?}", report.findings);
    assert!(drift[0].text.contains(S::READS) && drift[0].text.contains("was changed"), "{}", drift[0].text);
    assert!(report.committed);
    assert_eq!(stage.linked(S::TARGET), 2);
    assert_eq!(fs::read_to_string(&damaged).unwrap(), "damaged\n", "never by a write into a generation");
    assert_eq!(knock(&server.address(), Some(&stage.world().current().unwrap())), "200");
    assert_proven(&stage.cycle().await);
}
