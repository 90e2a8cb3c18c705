//! A whole rotation under load on a real nginx: nobody is lost and no stranger gets in, at any moment of it.
//! `cargo nextest run --test servers nginx_load --no-capture` shows the figures.

use support::load::rotate_under_load;
use support::nginx_stage::PLAIN;
use support::stage::Stage;

async fn rotation_under_load(what: &str, listen: &str) {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    stage.cycle().await;
    nginx.rewrite(&stage.wired("nginx").replace("@PORT@ ssl", listen));
    nginx.reload();
    let wired = stage.cycle().await;
    assert!(wired.targets[0].owed.is_none(), "{wired:?}");
    let calls = rotate_under_load(&mut stage, nginx.address().parse().unwrap()).await;
    println!("nginx, {what}: {calls}");
    calls.assert_nothing_lost();
    assert!(calls.generations.len() >= 3, "{calls}");
}

#[tokio::test]
async fn a_rotation_under_load_loses_nothing() {
    rotation_under_load("one socket", "@PORT@ ssl").await;
}

#[tokio::test]
async fn a_rotation_under_load_loses_nothing_with_a_socket_for_each_worker() {
    rotation_under_load("reuseport", "@PORT@ ssl reuseport").await;
}
