//! Two writers, and readers beside a writer.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::store::Lock;

use support::rotation::{Ran, SLOW, Stage, assert_status_looks, assert_whole, now};

fn held(stage: &Stage) -> Lock {
    Lock::acquire(&stage.store, "trustsync drill", now(), Duration::ZERO).unwrap()
}

#[test]
fn a_second_sync_waits_for_the_first() {
    let stage = Stage::new();
    stage.up_to_the_rotation();
    let lock = held(&stage);
    let mut second = stage.command(&["sync"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let asked = stage.world.request_counts().listing;
    let deadline = Instant::now() + Duration::from_secs(60);
    while stage.world.request_counts().listing < asked + 2 {
        assert!(Instant::now() < deadline, "the vendor was never asked: is it asked under the lock?");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(200));
    assert!(second.try_wait().unwrap().is_none(), "it did not wait");
    assert_eq!(stage.linked("current"), Some(2), "nothing is changed by who waits");
    drop(lock);
    Ran::of(second.wait_with_output().unwrap()).expect(0);
    assert_eq!(stage.linked("current"), Some(3));
}

#[test]
fn without_patience_the_holder_is_named_and_nothing_changes() {
    let stage = Stage::new();
    stage.up_to_the_rotation();
    let before = fs::read(stage.store.join("state.json")).unwrap();
    let lock = held(&stage);
    let me = format!("process {} (trustsync drill)", std::process::id());
    let ran = stage.run(&["sync", "--lock-timeout", "0s"]).expect(8);
    ran.says(&["another writer holds", me.as_str(), "--lock-timeout"]);
    for command in [["hold"], ["rollback"]] {
        let arguments = [&command[..], &["--lock-timeout", "0s"]].concat();
        stage.run(&arguments).expect(8).says(&[me.as_str()]);
    }
    assert_eq!(stage.linked("current"), Some(2));
    assert_eq!(fs::read(stage.store.join("state.json")).unwrap(), before);

    // Who only looks needs no lock.
    assert_status_looks(&stage.run(&["status"]));
    stage.run(&["history"]).expect(0);
    stage.run(&["diff"]).expect(0);
    let rehearsed = stage.run(&["sync", "--dry-run", "--detailed-exit-code"]).expect(10);
    assert!(rehearsed.out.contains("+ upcoming"), "{}", rehearsed.out);
    drop(lock);
    stage.sync().expect(0);
    stage.run(&["hold"]).expect(0);
    let _lock = held(&stage);
    stage.run(&["release", "--lock-timeout", "0s"]).expect(8).says(&[me.as_str()]);
}

#[test]
fn a_slow_vendor_keeps_no_operator_waiting() {
    let stage = Stage::new();
    stage.up_to_the_rotation();
    stage.world.fail(Failure::SlowHeaders, Endpoint::Listing, Some(1));
    let asked = stage.world.request_counts().listing;
    let begun = Instant::now();
    let slow = stage.command(&["sync"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while stage.world.request_counts().listing == asked {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
    for command in [&["hold"][..], &["release"], &["rollback", "--for", "1h"], &["release"]] {
        let arguments = [command, &["--lock-timeout", "0s"]].concat();
        stage.run(&arguments).expect(0);
    }
    let first = begun.elapsed();
    let ran = Ran::of(slow.wait_with_output().unwrap()).expect(0);
    assert!(first < SLOW && begun.elapsed() >= SLOW, "{first:?} {ran:?}");
    // It planned on what the operator had made of the store meanwhile: generation 3 was the rollback.
    assert_eq!(assert_whole(&stage.store.join("current")), Some(4));
    stage.assert_served(4, true);
}

#[test]
fn many_first_runs_at_once_make_one_store() {
    let stage = Stage::new();
    stage.open_window();
    for _ in 0..4 {
        stage.clear();
        let runs: Vec<_> = (0..4)
            .map(|_| stage.command(&["sync"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
            .collect();
        for run in runs {
            Ran::of(run.wait_with_output().unwrap()).expect(0).says_not(&["state_lost", "store_drift"]);
        }
        assert_eq!(assert_whole(&stage.store.join("current")), Some(1));
        stage.assert_served(1, true);
        stage.assert_no_leftovers();
        assert_eq!(stage.evidence().iter().filter(|(event, _)| event == "committed").count(), 1);
    }
}
