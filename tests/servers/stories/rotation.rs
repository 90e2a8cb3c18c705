//! A whole rotation, with everybody who might knock at every step, by openssl and by Java.

use std::fs;

use support::cast;
use support::server::{Server, assert_cast, assert_cast_by_both, assert_nobody_gets_in, assert_proven, proven};
use support::stage::Stage;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::values::fingerprint::Fingerprint;

pub async fn a_whole_rotation_admits_the_right_ones_at_every_step<S: Server>(row: S::Row) {
    let (mut stage, mut server) = proven::<S>(Stage::begin().await, row).await;
    let current = stage.world().current().unwrap();
    assert_cast_by_both(&stage, &server, &[("current", Some(&current), "200")]);
    assert_nobody_presents_the_marker(&stage, &server, &current);

    stage.on_day(45);
    let opened = stage.cycle().await;
    assert_proven(&opened);
    assert_eq!(opened.generation, Some(2));
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    let both = [("current", Some(&current), "200"), ("upcoming", Some(&upcoming), "200")];
    assert_cast_by_both(&stage, &server, &both);

    stage.on_day(100);
    stage.world().rotate().unwrap();
    for _ in 0..3 {
        assert_proven(&stage.cycle().await);
        stage.an_hour_later();
    }
    let retiring = [("the old one, in its grace", Some(&current), "200"), ("current", Some(&upcoming), "200")];
    assert_cast(&stage, &server, &retiring);

    let requests = server.reload_requests(&stage);
    let once = usize::from(S::IS_RELOADED);
    stage.on_day(116);
    assert_proven(&stage.cycle().await);
    assert_eq!(server.reload_requests(&stage), requests + once);
    let rotated = [("the old one", Some(&current), S::UNLISTED), ("current", Some(&upcoming), "200")];
    assert_cast_by_both(&stage, &server, &rotated);
    assert_proven(&stage.cycle().await);
    assert_eq!(server.reload_requests(&stage), requests + once, "an unchanged answer tells nobody");
    server.assert_rotated(&stage);

    // What it loads at its start is right, too.
    server.stop();
    server.start_again();
    assert_proven(&stage.cycle().await);
    assert_eq!(server.reload_requests(&stage), requests + once);
    assert_cast(&stage, &server, &rotated);

    // Distrusted by its operator, and with it nobody is left.
    let distrust = stage.run(&["distrust", "--yes", &Fingerprint::of(upcoming.der()).to_string()]).await;
    assert_eq!(distrust.code, 0, "{distrust:?}");
    assert!(distrust.stdout.contains(&format!("target {}: proven", S::TARGET)), "{distrust:?}");
    assert_nobody_gets_in(&stage, &server, &[&current, &upcoming]);
    server.stop();
    server.start_again();
    assert_nobody_gets_in(&stage, &server, &[&current, &upcoming]);
}

/// Nobody has the marker's key, so it cannot be presented.
fn assert_nobody_presents_the_marker<S: Server>(stage: &Stage, server: &S, other: &ClientCertificate) {
    let bundle = stage.link(S::TARGET).join("trust-bundle.pem");
    let bundle = fs::read_to_string(bundle).unwrap();
    let marker = pem::scan(&bundle).pop().unwrap().bytes.unwrap();
    assert!(Certificate::parse(&marker).unwrap().facts().not_after.unix() < 366 * 86_400, "expired in 1970");
    let [leaf, key] = ["marker.pem", "other.key"].map(|name| stage.root().join(name));
    fs::write(&leaf, pem::encode("CERTIFICATE", &marker)).unwrap();
    fs::write(&key, other.key_pem()).unwrap();
    for version in cast::TLS_VERSIONS {
        assert_eq!(cast::openssl(&server.address(), Some((&leaf, &key, None)), version), "nothing");
    }
}
