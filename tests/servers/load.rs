//! A whole rotation under load on a real nginx, HAProxy (told by a reload and by its socket) and Apache (whose check starts
//! another one beside it): nobody is lost and no stranger gets in, at any moment of it.
//! `cargo nextest run --test servers load:: --no-capture` shows the figures.

use support::haproxy_stage::Way;
use support::load::rotate_under_load;
use support::server::Server;
use support::stage::Stage;

use crate::{apache_cycle, haproxy_cycle, nginx_cycle};

async fn loses_nothing(what: &str, stage: &mut Stage, server: &impl Server) {
    let calls = rotate_under_load(stage, server.address().parse().unwrap()).await;
    println!("{what}: {calls}");
    calls.assert_nothing_lost();
    assert!(calls.generations.len() >= 3, "{calls}");
}

#[tokio::test]
async fn nginx_loses_nothing() {
    let (mut stage, nginx) = nginx_cycle::proven_stage().await;
    loses_nothing("nginx, one socket", &mut stage, &nginx).await;
}

#[tokio::test]
async fn nginx_loses_nothing_with_a_socket_for_each_worker() {
    let reuseport = |http: String| http.replace("@PORT@ ssl", "@PORT@ ssl reuseport");
    let (mut stage, nginx) = nginx_cycle::wired_with(Stage::begin().await, reuseport).await;
    loses_nothing("nginx, reuseport", &mut stage, &nginx).await;
}

#[tokio::test]
async fn haproxy_loses_nothing_by_a_reload() {
    let (mut stage, haproxy) = haproxy_cycle::proven_stage(Way::Reload).await;
    let reloads = haproxy.reloads();
    loses_nothing("haproxy, Reload", &mut stage, &haproxy).await;
    assert_ne!(haproxy.reloads(), reloads);
}

#[tokio::test]
async fn haproxy_loses_nothing_without_a_reload() {
    let (mut stage, haproxy) = haproxy_cycle::proven_stage(Way::Runtime).await;
    let reloads = haproxy.reloads();
    loses_nothing("haproxy, Runtime", &mut stage, &haproxy).await;
    assert_eq!(haproxy.reloads(), reloads);
}

#[tokio::test]
async fn apache_loses_nothing() {
    let (mut stage, apache) = apache_cycle::proven_stage().await;
    loses_nothing("apache", &mut stage, &apache).await;
}
