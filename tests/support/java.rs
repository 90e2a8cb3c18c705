//! Who may knock at a server by Java, whose clients present a certificate only where the server's list of acceptable
//! authorities names one of its issuers.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use trustsync::simulator::pki::ClientCertificate;

use crate::repository;

/// What to install.
pub const NEEDED: &str = "java is needed for this test: apt-get install default-jdk-headless";

const TLS_VERSIONS: [(&str, &str); 2] = [("TLSv1.2", "TLS 1.2"), ("TLSv1.3", "TLS 1.3")];

/// The status that each gets at `address`, by both versions of TLS, as [`cast::knock`](crate::cast::knock) says it: `200`,
/// `403`, `nothing`. All of them in one start of Java, which takes a second: name the whole cast in one call.
pub fn knock_by_java<'a>(address: &str, cast: &[(&'a str, Option<&ClientCertificate>)]) -> Vec<(&'a str, String)> {
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let mut knocks = String::new();
    for (version, (_, who)) in TLS_VERSIONS.iter().flat_map(|(version, _)| cast.iter().map(move |who| (version, who))) {
        let (key, chain) = who.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |who| {
                let chain: Vec<String> = who.presented().iter().map(|der| BASE64_STANDARD.encode(der)).collect();
                (BASE64_STANDARD.encode(who.key_der()), chain.join(","))
            },
        );
        knocks.push_str(&format!("{version} {host} {port} {key} {chain}\n"));
    }
    let statuses = run(&knocks);
    assert_eq!(statuses.len(), cast.len() * TLS_VERSIONS.len());
    let (old, new) = statuses.split_at(cast.len());
    let [(_, one), (_, other)] = TLS_VERSIONS;
    let both = old
        .iter()
        .zip(new)
        .map(|(old, new)| if old == new { old.clone() } else { format!("{old} by {one}, {new} by {other}") });
    cast.iter().map(|(name, _)| *name).zip(both).collect()
}

/// Each of them gets what stands beside its name.
#[track_caller]
pub fn assert_cast_by_java(address: &str, expected: &[(&str, Option<&ClientCertificate>, &str)]) {
    let cast: Vec<_> = expected.iter().map(|(name, who, _)| (*name, *who)).collect();
    let wanted: Vec<_> = expected.iter().map(|(name, _, status)| (*name, (*status).to_owned())).collect();
    assert_eq!(knock_by_java(address, &cast), wanted, "by Java");
}

fn run(knocks: &str) -> Vec<String> {
    let client = repository().join("tests/support/java_client/Client.java");
    let mut java = Command::new("java")
        // The second compiler never pays here.
        .args(["-XX:TieredStopAtLevel=1", "-Xshare:auto"])
        .arg(client)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(NEEDED);
    // It reads no further than its knock, and its answers fit into the pipe.
    java.stdin.take().unwrap().write_all(knocks.as_bytes()).unwrap();
    let output = java.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
