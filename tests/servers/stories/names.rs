//! Those who get in by a name of the vendor's private root, and those whom somebody else admits beside us.

use support::cast::knock;
use support::report::line;
use support::server::{Checked, Server, assert_cast, assert_proven, proven};
use support::stage::Stage;
use trustsync::simulator::world::Impostor;
use trustsync::trust::turn::Evidence;

pub async fn a_genesys_leaf_is_renewed_without_telling_and_a_public_namesake_stays_out<S: Server>(row: S::Row) {
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let (mut stage, server) = proven::<S>(Stage::begin().await.with_lines(both, ""), row).await;
    let (current, genesys) = (stage.world().current().unwrap(), stage.world().genesys().unwrap());
    stage.world().renew_genesys().unwrap();
    let renewed = stage.world().genesys().unwrap();
    assert_ne!(genesys.der(), renewed.der());
    let everybody = [
        ("current", Some(&current), "200"),
        ("genesys", Some(&genesys), "200"),
        ("genesys, renewed and never polled", Some(&renewed), "200"),
    ];
    assert_cast(&stage, &server, &everybody);

    // One of them is denied, though its name would let it in.
    stage.deny(&genesys);
    stage.on_day(45);
    let report = stage.cycle().await;
    assert_eq!(line(&report).settled, Some(Evidence::Proven), "{report:?}");
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    let everybody = [
        ("current", Some(&current), "200"),
        ("upcoming", Some(&upcoming), "200"),
        ("genesys, denied", Some(&genesys), S::UNLISTED),
        ("genesys, renewed", Some(&renewed), "200"),
    ];
    assert_cast(&stage, &server, &everybody);
}

pub async fn with_the_genesys_root_alone_its_leaf_gets_in_and_the_public_one_does_not<S: Server>(row: S::Row) {
    let genesys_alone = "authorities = [\"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let (stage, server) = proven::<S>(Stage::begin().await.with_lines(genesys_alone, ""), row).await;
    let world = stage.world();
    assert_eq!(knock(&server.address(), Some(&world.genesys().unwrap())), "200");
    world.renew_genesys().unwrap();
    assert_eq!(knock(&server.address(), Some(&world.genesys().unwrap())), "200");
    for who in [world.current().unwrap(), world.impostor(Impostor::Namesake).unwrap()] {
        assert_eq!(knock(&server.address(), Some(&who)), S::UNVERIFIED);
    }
}

pub async fn another_clients_own_rule_works_beside_ours_and_ours_does_not_admit_it<S: Checked>(row: S::Row) {
    let stage = Stage::begin().await.with_lines("", "extra_anchors = [\"other-root.pem\"]");
    let (mut stage, server) = proven::<S>(stage, row).await;
    let world = stage.world().clone();
    let (current, partner) = (world.current().unwrap(), world.impostor(Impostor::OtherCa).unwrap());
    let stranger = world.impostor(Impostor::Stranger).unwrap();
    assert_eq!(knock(&server.address(), Some(&current)), "200");
    assert_eq!(knock(&server.address(), Some(&partner)), S::UNLISTED, "its chain is known, and that is all");

    server.admit_too(&stage, &partner);
    assert_proven(&stage.cycle().await);
    let everybody = |server: &S| {
        for (who, certificate, status) in
            [("current", &current, "200"), ("partner", &partner, "200"), ("stranger", &stranger, S::UNLISTED)]
        {
            assert_eq!(knock(&server.address(), Some(certificate)), status, "{who}");
        }
    };
    everybody(&server);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    everybody(&server);
    let upcoming = world.upcoming().unwrap().unwrap();
    assert_eq!(knock(&server.address(), Some(&upcoming)), "200");
}
