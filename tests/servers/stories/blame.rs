//! Whose fault it is that a server's own check fails: a generation that it refuses stays out, and what is broken without us
//! keeps no trust back.

use std::fs;

use support::cast::knock;
use support::privilege;
use support::report::{alarm, line};
use support::server::{Checked, assert_proven, proven};
use support::stage::Stage;
use trustsync::exit::Exit;
use trustsync::trust::turn::Owed;

pub async fn a_generation_that_the_check_refuses_stays_out_and_is_tried_again_in_every_cycle<S: Checked>(row: S::Row) {
    if S::NEEDS_ROOT && !privilege::is_root() {
        return;
    }
    let (mut stage, mut server) = proven::<S>(Stage::begin().await, row).await;
    refuse_and_converge(&mut stage, &mut server).await;
}

/// Generation 2 is refused while the file `refuse` stands.
pub async fn refuse_and_converge<S: Checked>(stage: &mut Stage, server: &mut S) {
    let (refusing, words) = S::REFUSING;
    let script = format!("if [ -e refuse ] && grep -q 000002 \"$LINK/{}\"; then {refusing}; fi", S::GENERATION);
    let check = stage.wrapped_check(S::TARGET, server, &script);
    stage.configure(&[(S::TARGET, server, Some(check))]);
    fs::write(stage.root().join("refuse"), "no certificate\n").unwrap();
    stage.on_day(45);
    let requests = server.reload_requests(stage);
    for _ in 0..2 {
        let report = stage.cycle().await;
        assert_eq!(report.exit(false), Exit::Check);
        assert!(matches!(line(&report).owed, Some(Owed::Refused(_))), "{report:?}");
        let text = alarm(&report, "target_check_refused");
        assert!(text.contains(words) && text.contains("the one before it"), "{text}");
        assert_eq!((stage.linked(S::TARGET), server.reload_requests(stage)), (1, requests));
        assert_eq!(stage.state()["targets"][S::TARGET]["acknowledged"], 1);
        stage.an_hour_later();
    }
    assert!(!server.has_ended());
    let (current, upcoming) = (stage.world().current().unwrap(), stage.world().upcoming().unwrap().unwrap());
    // Whatever its operator reloads meanwhile goes on with the old one.
    server.reload();
    assert_eq!(knock(&server.address(), Some(&current)), "200");
    assert_eq!(knock(&server.address(), Some(&upcoming)), S::UNLISTED);
    fs::remove_file(stage.root().join("refuse")).unwrap();
    let report = stage.cycle().await;
    assert_proven(&report);
    assert!(!report.committed && line(&report).reloaded);
    assert_eq!(stage.linked(S::TARGET), 2);
    assert_eq!(knock(&server.address(), Some(&upcoming)), "200");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

pub async fn what_is_broken_elsewhere_keeps_no_trust_back_from_those_who_mend_it<S: Checked>(row: S::Row) {
    if S::NEEDS_ROOT && !privilege::is_root() {
        return;
    }
    let (mut stage, mut server) = proven::<S>(Stage::begin().await, row).await;
    server.break_elsewhere(&stage);
    stage.on_day(45);
    let requests = server.reload_requests(&stage);
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Check);
    assert!(matches!(line(&report).owed, Some(Owed::BrokenWithoutUs { .. })), "{report:?}");
    let text = alarm(&report, "target_broken");
    assert!(text.contains(S::BROKEN) && text.contains("generation 000002"), "{text}");
    assert_eq!(
        (stage.linked(S::TARGET), server.reload_requests(&stage)),
        (2, requests),
        "switched forward, not reloaded"
    );
    let alarms = [format!("target_broken:{}", S::TARGET)];
    assert_eq!(stage.alarms(), alarms);
    assert!(!server.has_ended());
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_eq!(knock(&server.address(), Some(&upcoming)), S::UNLISTED, "not loaded yet");

    // Nobody has mended it: it stays owed, and the same alarm says so.
    stage.an_hour_later();
    let again = stage.cycle().await;
    assert_eq!((again.exit(false), stage.linked(S::TARGET)), (Exit::Check, 2));
    assert!(alarm(&again, "target_broken").contains(S::BROKEN));
    assert_eq!(stage.alarms(), alarms);

    server.wire(&stage);
    assert_eq!(knock(&server.address(), Some(&upcoming)), "200");
    let requests = server.reload_requests(&stage);
    assert_proven(&stage.cycle().await);
    assert_eq!(server.reload_requests(&stage), requests);
    assert_eq!(stage.alarms(), Vec::<String>::new());
}
