//! A whole rotation under load on a real Apache: nobody is lost and no stranger gets in, at any moment of it, while its
//! check starts another one beside it. `cargo nextest run --test apache_load --no-capture` shows the figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/apache.rs"]
mod apache;
#[path = "common/apache_stage.rs"]
mod apache_stage;
#[path = "common/cast.rs"]
mod cast;
#[path = "common/load.rs"]
mod load;
#[path = "common/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use apache::Apache;
use apache_stage::PLAIN;
use load::rotate_under_load;
use stage::Stage;
use trustsync::settings::resolved::{Check, CheckWay};
use trustsync::target::check::{self, Environment, Outcome, View};
use trustsync::trust::turn::Evidence;

async fn wired() -> (Stage, Apache) {
    let mut stage = Stage::begin().await;
    let apache = stage.serve("apache", PLAIN);
    stage.configure(&[("apache", &apache, None)]);
    stage.cycle().await;
    apache.rewrite(&stage.wired("apache"));
    apache.reload();
    let report = stage.cycle().await;
    assert_eq!(report.targets[0].settled, Some(Evidence::Proven), "{report:?}");
    (stage, apache)
}

#[tokio::test]
async fn a_rotation_under_load_loses_nothing() {
    let (mut stage, apache) = wired().await;
    let calls = rotate_under_load(&mut stage, apache.address().parse().unwrap()).await;
    println!("apache: {calls}");
    calls.assert_nothing_lost();
    assert!(calls.generations.len() >= 3, "{calls}");
}

/// From the vendor's answer to the proof: a whole cycle, of which the listing is a part too.
#[tokio::test]
async fn a_new_leaf_is_proven_within_a_second_or_two() {
    let (mut stage, apache) = wired().await;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..20 {
        stage.world().rotate().unwrap();
        stage.an_hour_later();
        let began = Instant::now();
        let report = stage.cycle().await;
        times.push(began.elapsed());
        assert!(report.committed);
        assert_eq!(report.targets[0].settled, Some(Evidence::Proven), "{report:?}");
    }
    let of = |mut times: Vec<Duration>| {
        times.sort();
        let [median, longest] = [times.len() / 2, times.len() - 1].map(|at| times[at].as_millis());
        format!("median {median} ms, at most {longest} ms")
    };
    println!("apache: proven after the cycle began, {} times: {}", times.len(), of(times.clone()));
    assert!(times.iter().all(|time| *time < Duration::from_secs(10)), "{times:?}");

    // The start's own share.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (link, argv) = (stage.link("apache"), apache.check_command());
    let mut starts = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let check = Check { argv: &argv, way: CheckWay::Start };
        let view = View::Private { new: &link, link: &link };
        let judged = check::judge(check, view, &Environment::default(), Duration::from_secs(20)).await;
        assert_eq!(judged, Outcome::Passed);
        starts.push(began.elapsed());
    }
    println!("of which the real start in private: {}", of(starts));
}
