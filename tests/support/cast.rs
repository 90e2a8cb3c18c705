//! Who may knock at a server, and what comes of it: by openssl, which presents its certificate whatever authorities the
//! server says it accepts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use trustsync::simulator::pki::ClientCertificate;
use trustsync::trust::formats::pem;

pub const TLS_VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// The status that a client gets, by openssl and by both versions of TLS: `200`, `403`, `400`; `nothing` where the handshake
/// fails or no answer comes.
pub fn knock(address: &str, who: Option<&ClientCertificate>) -> String {
    let [one, other] = TLS_VERSIONS.map(|version| knock_by(address, who, version));
    if one == other { one } else { format!("{one} by TLS 1.2, {other} by TLS 1.3") }
}

fn knock_by(address: &str, who: Option<&ClientCertificate>, version: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut files = None;
    if let Some(who) = who {
        let [leaf, key, chain] = ["leaf.pem", "leaf.key", "chain.pem"].map(|name| dir.path().join(name));
        fs::write(&leaf, who.pem()).unwrap();
        fs::write(&key, who.key_pem()).unwrap();
        let issuers: String = who.presented()[1..].iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        fs::write(&chain, &issuers).unwrap();
        files = Some((leaf, key, (!issuers.is_empty()).then_some(chain)));
    }
    let files = files.as_ref().map(|(leaf, key, chain)| (leaf.as_path(), key.as_path(), chain.as_deref()));
    openssl(address, files, version)
}

/// The status line's code; `nothing` where there is none.
pub fn openssl(address: &str, files: Option<(&Path, &Path, Option<&Path>)>, version: &str) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", address, "-servername", "api.example.com", version]);
    if let Some((leaf, key, chain)) = files {
        client.arg("-cert").arg(leaf).arg("-key").arg(key);
        if let Some(chain) = chain {
            client.arg("-cert_chain").arg(chain);
        }
    }
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    // One that refuses its own files has ended before it reads.
    let _ = std::io::Write::write_all(client.stdin.as_mut().unwrap(), request);
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1).unwrap_or("nothing").to_owned()
}
