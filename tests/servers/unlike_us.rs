//! Real servers whose keys, groups and ciphers our own TLS client lacks: what can be seen of them is seen, and what
//! cannot is never told as their fault.

use std::process::Command;

use support::nginx::Nginx;
use support::report::target;
use support::server::proven;
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::turn::Evidence;

fn openssl(arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// A certificate with a key of this kind; the lines of nginx that use it.
fn key(nginx: &Nginx, algorithm: &[&str]) -> String {
    let file = |ending: &str| nginx.dir().join(format!("{}.{ending}", algorithm.join("-"))).display().to_string();
    let (certificate, key) = (file("pem"), file("key"));
    let how = ["-nodes", "-x509", "-days", "2", "-subj", "/CN=api.example.com", "-keyout", &key, "-out", &certificate];
    openssl(&[&["req", "-newkey"], algorithm, &how].concat());
    format!("ssl_certificate \"{certificate}\"; ssl_certificate_key \"{key}\";")
}

/// The next cycle, after the server has loaded these lines besides.
async fn with(stage: &mut Stage, nginx: &Nginx, lines: &str) -> Report {
    nginx.rewrite(&stage.wired_with("nginx", |server| format!("{server}\n{lines}")));
    nginx.reload();
    stage.cycle().await
}

#[tokio::test]
async fn a_server_is_proven_whatever_kind_of_key_it_has() {
    let (mut stage, nginx) = proven::<Nginx>(Stage::begin().await, ()).await;
    let kinds: [&[&str]; 4] = [&["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], &["rsa-pss"], &["ed448"], &["ed25519"]];
    for algorithm in kinds {
        let key = key(&nginx, algorithm);
        for version in ["TLSv1.3", "TLSv1.2 TLSv1.3"] {
            let lines = format!("{key} ssl_protocols {version};");
            let report = with(&mut stage, &nginx, &lines).await;
            assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven), "{lines}: {report:?}");
        }
    }
}

#[tokio::test]
async fn of_a_server_that_shares_nothing_with_us_the_chain_is_seen_in_the_clear() {
    let (mut stage, nginx) = proven::<Nginx>(Stage::begin().await, ()).await;
    let parameters = nginx.dir().join("dh.pem");
    openssl(&[
        "genpkey",
        "-genparam",
        "-algorithm",
        "DH",
        "-pkeyopt",
        "group:ffdhe2048",
        "-out",
        parameters.to_str().unwrap(),
    ]);
    let rsa = key(&nginx, &["rsa:2048"]);
    for lines in [
        "ssl_ecdh_curve X448;".to_owned(),
        "ssl_ecdh_curve secp521r1;".to_owned(),
        "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-SHA;".to_owned(),
        format!("{rsa} ssl_protocols TLSv1.2; ssl_ciphers AES256-GCM-SHA384;"),
        format!(
            "{rsa} ssl_protocols TLSv1.2; ssl_ciphers DHE-RSA-AES128-GCM-SHA256; ssl_dhparam {};",
            parameters.display()
        ),
        format!("{rsa} ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES256-SHA384;"),
    ] {
        let reloads = nginx.reload_requests() + 1;
        for _ in 0..2 {
            let report = with(&mut stage, &nginx, &lines).await;
            let settled = target(&report, "nginx").settled.clone();
            let Some(Evidence::ChainOnly(why)) = &settled else { panic!("{lines}: {settled:?}") };
            assert!(why.contains("shares no group, signature or cipher with us"), "{why}");
            assert_eq!(report.exit(false), Exit::Done);
            let warning = report.findings.iter().find(|finding| finding.event.name() == "target_chain_only").unwrap();
            assert_eq!(warning.severity, Severity::Warning);
        }
        assert_eq!(nginx.reload_requests(), reloads + 1, "none but the two of this test");
    }
    // The marker is read there, not only found: after a change it is the next one that is awaited.
    stage.on_day(45);
    stage.world().rotate().unwrap();
    let report = stage.cycle().await;
    assert!(report.committed);
    let settled = target(&report, "nginx").settled.clone();
    assert!(matches!(settled, Some(Evidence::ChainOnly(_))), "{settled:?}");
}

#[tokio::test]
async fn where_nothing_can_be_seen_it_is_not_told_as_the_servers_fault() {
    let (mut stage, nginx) = proven::<Nginx>(Stage::begin().await, ()).await;
    for (lines, reason) in [
        ("ssl_protocols TLSv1.3; ssl_ecdh_curve X448;", "shares no group, signature or cipher with us"),
        ("ssl_reject_handshake on;", "knows no server of the name \"api.example.com\""),
    ] {
        let report = with(&mut stage, &nginx, lines).await;
        let settled = target(&report, "nginx").settled.clone();
        let Some(Evidence::ReloadedNotProven(why)) = &settled else { panic!("{lines}: {settled:?}") };
        assert!(why.contains(reason), "{why}");
        assert_eq!(report.exit(false), Exit::Done);
        let warning = report.findings.iter().find(|finding| finding.event.name() == "target_not_proven").unwrap();
        assert_eq!(warning.severity, Severity::Warning);
        assert!(!warning.text.contains("Is it down"), "{}", warning.text);
    }
}
