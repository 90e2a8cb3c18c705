//! What a real server is to a story that is told once for all kinds, and the story of a whole rotation.

use std::fs;

use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::world::Impostor;
use trustsync::trust::certificate::Certificate;
use trustsync::trust::pem;
use trustsync::trust::turn::Evidence;

use crate::apache::Apache;
use crate::haproxy::Haproxy;
use crate::java;
use crate::nginx::Nginx;
use crate::report::line;
use crate::stage::Stage;
use crate::{cast, nginx_stage};

/// A kind is a row: what differs between servers that admit the same ones.
pub trait Server {
    /// The name of its target.
    const TARGET: &'static str;
    /// What a client gets whose certificate does not verify: a status, or `nothing` where the handshake fails.
    const UNVERIFIED: &'static str;
    /// What a client gets that presents no certificate.
    const NOBODY: &'static str;

    /// `127.0.0.1:` and its port.
    fn address(&self) -> String;

    /// How often it was told.
    fn told(&self, stage: &Stage) -> usize;
}

impl Server for Nginx {
    const TARGET: &'static str = "nginx";
    const UNVERIFIED: &'static str = "400";
    const NOBODY: &'static str = "400";

    fn address(&self) -> String {
        self.address()
    }

    fn told(&self, _: &Stage) -> usize {
        nginx_stage::told(self)
    }
}

impl Server for Haproxy {
    const TARGET: &'static str = "haproxy";
    const UNVERIFIED: &'static str = "nothing";
    const NOBODY: &'static str = "nothing";

    fn address(&self) -> String {
        self.address()
    }

    fn told(&self, stage: &Stage) -> usize {
        stage.told().len()
    }
}

impl Server for Apache {
    const TARGET: &'static str = "apache";
    const UNVERIFIED: &'static str = "nothing";
    const NOBODY: &'static str = "403";

    fn address(&self) -> String {
        self.address()
    }

    fn told(&self, _: &Stage) -> usize {
        self.told()
    }
}

/// The cycle ended in proof at its only target, and nothing is wrong.
#[track_caller]
pub fn assert_proven(report: &Report) {
    assert_eq!(line(report).settled, Some(Evidence::Proven), "{report:?}");
    assert_eq!(report.exit(false), Exit::Done, "{:?}", report.findings);
}

/// Who knocks by openssl, and what is to come of it; beside them everybody who is never let in.
#[track_caller]
pub fn assert_cast<S: Server>(stage: &Stage, server: &S, expected: &[(&str, Option<&ClientCertificate>, &str)]) {
    for (who, certificate, status) in expected {
        assert_eq!(cast::knock(&server.address(), *certificate), *status, "{who}");
    }
    for who in Impostor::ALL {
        let verifies = matches!(who, Impostor::Stranger | Impostor::Namesake);
        let status = if verifies { "403" } else { S::UNVERIFIED };
        let impostor = stage.world().impostor(who).unwrap();
        assert_eq!(cast::knock(&server.address(), Some(&impostor)), status, "{}", who.name());
    }
    assert_eq!(cast::knock(&server.address(), None), S::NOBODY, "nobody");
}

/// A whole rotation of a server that serves its first generation, with everybody who might knock at every step. Yields the
/// leaf that left and the one that came.
pub async fn whole_rotation<S: Server>(stage: &mut Stage, server: &S) -> [ClientCertificate; 2] {
    let current = stage.world().current().unwrap();
    assert_cast(stage, server, &[("current", Some(&current), "200")]);
    assert_nobody_presents_the_marker(stage, server, &current);

    stage.on_day(45);
    let opened = stage.cycle().await;
    assert_proven(&opened);
    assert_eq!(opened.generation, Some(2));
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_cast(stage, server, &[("current", Some(&current), "200"), ("upcoming", Some(&upcoming), "200")]);

    stage.on_day(100);
    stage.world().rotate().unwrap();
    for _ in 0..3 {
        assert_proven(&stage.cycle().await);
        stage.an_hour_later();
    }
    let retiring = [("the old one, in its grace", Some(&current), "200"), ("current", Some(&upcoming), "200")];
    assert_cast(stage, server, &retiring);
    let told = server.told(stage);
    stage.on_day(116);
    assert_proven(&stage.cycle().await);
    assert_eq!(server.told(stage), told + 1);
    assert_cast(stage, server, &[("the old one", Some(&current), "403"), ("current", Some(&upcoming), "200")]);
    // Java presents nothing where the server's list of authorities does not name its issuer: the chain is in that list.
    let impostor = |who| stage.world().impostor(who).unwrap();
    let [stranger, other, expired] = [Impostor::Stranger, Impostor::OtherCa, Impostor::Expired].map(impostor);
    java::assert_cast_by_java(
        &server.address(),
        &[
            ("the old one", Some(&current), "403"),
            ("current", Some(&upcoming), "200"),
            ("stranger", Some(&stranger), "403"),
            ("other CA", Some(&other), S::NOBODY),
            ("expired", Some(&expired), S::UNVERIFIED),
            ("nobody", None, S::NOBODY),
        ],
    );
    assert_proven(&stage.cycle().await);
    assert_eq!(server.told(stage), told + 1, "an unchanged answer tells nobody");
    [current, upcoming]
}

/// Nobody has the marker's key, so it cannot be presented.
fn assert_nobody_presents_the_marker<S: Server>(stage: &Stage, server: &S, other: &ClientCertificate) {
    let bundle = fs::read_to_string(stage.link(S::TARGET).join("trust-bundle.pem")).unwrap();
    let marker = pem::scan(&bundle).pop().unwrap().bytes.unwrap();
    assert!(Certificate::parse(&marker).unwrap().facts().not_after.unix() < 366 * 86_400, "expired in 1970");
    let [leaf, key] = ["marker.pem", "other.key"].map(|name| stage.root().join(name));
    fs::write(&leaf, pem::encode("CERTIFICATE", &marker)).unwrap();
    fs::write(&key, other.key_pem()).unwrap();
    for version in cast::TLS_VERSIONS {
        assert_eq!(cast::openssl(&server.address(), Some((&leaf, &key, None)), version), "nothing");
    }
}
