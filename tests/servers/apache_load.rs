//! A whole rotation under load on a real Apache: nobody is lost and no stranger gets in, at any moment of it, while its
//! check starts another one beside it. `cargo nextest run --test servers apache_load --no-capture` shows the figures.

use support::apache::Apache;
use support::apache_stage::PLAIN;
use support::load::rotate_under_load;
use support::stage::Stage;
use trustsync::trust::turn::Evidence;

async fn wired() -> (Stage, Apache) {
    let mut stage = Stage::begin().await;
    let apache = stage.serve_apache("apache", PLAIN);
    stage.configure_apache(&[("apache", &apache, None)]);
    stage.cycle().await;
    apache.rewrite(&stage.wired_apache("apache"));
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
