//! A whole rotation under load on a real HAProxy, told by a reload and by its socket: nobody is lost and no stranger gets in,
//! at any moment of it.
//! `cargo nextest run --test servers haproxy_load --no-capture` shows the figures.

use support::haproxy::Haproxy;
use support::haproxy_stage::{PLAIN, Way};
use support::load::rotate_under_load;
use support::stage::Stage;

async fn wired(way: Way) -> (Stage, Haproxy) {
    let mut stage = Stage::begin().await;
    let haproxy = stage.serve_haproxy("haproxy", PLAIN);
    stage.configure_haproxy("haproxy", &haproxy, way);
    stage.cycle().await;
    haproxy.rewrite(stage.wired_haproxy("haproxy"));
    haproxy.reload();
    let wired = stage.cycle().await;
    assert!(wired.targets[0].owed.is_none(), "{wired:?}");
    (stage, haproxy)
}

async fn rotation_under_load(way: Way) {
    let (mut stage, haproxy) = wired(way).await;
    let reloads = haproxy.reloads();
    let calls = rotate_under_load(&mut stage, haproxy.address().parse().unwrap()).await;
    println!("haproxy, {way:?}: {calls}");
    calls.assert_nothing_lost();
    assert!(calls.generations.len() >= 3, "{calls}");
    assert_eq!(haproxy.reloads() == reloads, way == Way::Runtime);
}

#[tokio::test]
async fn a_rotation_under_load_loses_nothing_by_a_reload() {
    rotation_under_load(Way::Reload).await;
}

#[tokio::test]
async fn a_rotation_under_load_loses_nothing_without_a_reload() {
    rotation_under_load(Way::Runtime).await;
}
