//! A whole rotation under load: nobody is lost and no stranger gets in, at any moment of it.
//! `cargo nextest run --test servers under_load --no-capture` shows the figures.

use support::load::rotate_under_load;
use support::server::{Server, proven};
use support::stage::Stage;

pub async fn a_rotation_under_load_loses_nothing<S: Server>(row: S::Row) {
    let (mut stage, server) = proven::<S>(Stage::begin().await, row).await;
    loses_nothing(&mut stage, &server).await;
    server.assert_rotated(&stage);
}

/// A rotation of this server.
pub async fn loses_nothing<S: Server>(stage: &mut Stage, server: &S) {
    let calls = rotate_under_load(stage, server.address().parse().unwrap()).await;
    println!("{}: {calls}", S::TARGET);
    calls.assert_nothing_lost();
    assert!(calls.generations.len() >= 3, "{calls}");
}
