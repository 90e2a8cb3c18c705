//! What is Java's alone on its way through the real cycle (`stories` has what it shares with others): files that cannot be
//! read, names, and what is read by keytool and openssl.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::cast::knock;
use support::doors::{self, Behind, Door};
use support::jvm::{Flavour, Jvm};
use support::jvm_stage::WITH_MARKER;
use support::names::Names;
use support::server::{Server, assert_proven, proven};
use support::stage::Stage;

#[tokio::test]
async fn where_the_files_cannot_be_read_nobody_gets_in_until_they_can() {
    let (mut stage, jvm) = proven::<Jvm>(Stage::begin().await, Flavour::Jdk).await;
    let current = stage.world().current().unwrap();
    let mut door = Door::open(&jvm.address(), &current, doors::VERSIONS[1]);
    fs::remove_file(stage.link("java")).unwrap();
    assert_eq!(knock(&jvm.address(), Some(&current)), "nothing");
    assert_eq!(knock(&jvm.address(), None), "403");
    assert_eq!(door.ask_again(), Behind::Status(403));
    stage.cycle().await;
    assert_eq!(knock(&jvm.address(), Some(&current)), "200");
    assert_eq!(door.ask_again(), Behind::Status(200));
}

#[test]
fn by_a_name_rule_and_beside_a_public_pin_java_admits_the_name_and_no_trick() {
    for with_public in [false, true] {
        let names = Names::new(with_public);
        let link = names.publish("java", &[trustsync::targets::java::OUTPUT]);
        let dir = tempfile::tempdir().unwrap();
        let jvm = Jvm::start(Flavour::Jdk, dir.path(), &link, WITH_MARKER);
        names.assert_cast(&jvm.address());
    }
}

#[tokio::test]
async fn keytool_and_openssl_read_the_truststores_and_find_the_same() {
    let mut stage = Stage::begin().await;
    stage.configure_targets("[target.java]\nkind = \"java\"\n");
    stage.cycle().await;
    let link = stage.link("java");
    let first = aliases(&link.join("truststore.p12"));
    assert_eq!(first.len(), 2, "{first:?}");
    let with = aliases(&link.join(WITH_MARKER));
    assert_eq!(with.difference(&first).collect::<Vec<_>>(), ["trustsync-marker"]);
    for (file, count) in [("truststore.p12", 2), (WITH_MARKER, 3)] {
        let output = Command::new("openssl")
            .args(["pkcs12", "-nokeys", "-passin", "pass:changeit", "-in"])
            .arg(link.join(file))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), count, "{text}");
    }
    // The next generation has the same authorities, under the same aliases, and byte for byte the same file.
    let before = fs::read(link.join("truststore.p12")).unwrap();
    stage.on_day(45);
    stage.cycle().await;
    assert_eq!(stage.linked("java"), 2);
    assert_eq!(fs::read(link.join("truststore.p12")).unwrap(), before);
    assert_eq!(aliases(&link.join(WITH_MARKER)), with);
}

/// The aliases of the entries that Java trusts.
fn aliases(truststore: &Path) -> BTreeSet<String> {
    let output = Command::new("keytool")
        .args(["-J-Duser.language=en", "-list", "-storepass", "changeit", "-keystore"])
        .arg(truststore)
        .output()
        .expect("keytool is needed for this test: apt-get install default-jdk-headless");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("Warning"), "{text}");
    let trusted: BTreeSet<String> = text
        .lines()
        .filter(|line| line.contains("trustedCertEntry"))
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect();
    let entries = text.lines().find_map(|line| line.split("contains ").nth(1)).unwrap();
    assert_eq!(entries.split(' ').next().unwrap().parse::<usize>().unwrap(), trusted.len(), "{text}");
    trusted
}

#[tokio::test]
async fn from_the_answer_to_proven_no_look_is_in_vain() {
    let (mut stage, jvm) = proven::<Jvm>(Stage::begin().await, Flavour::Jdk).await;
    let (counted, looks) = counted(&jvm.address());
    stage.configure_targets(&jvm.table("java", &[]).replace(&jvm.address(), &counted));
    for rotation in 0..20 {
        stage.an_hour_later();
        stage.world().rotate().unwrap();
        let before = looks.load(Ordering::SeqCst);
        let report = stage.cycle().await;
        assert!(report.committed);
        assert_proven(&report);
        // It reads its files with every handshake: the first shows the new generation, and two more confirm it.
        assert_eq!(looks.load(Ordering::SeqCst) - before, 3, "rotation {rotation}");
    }
}

/// Another address of this server, and how many connections were made to it.
fn counted(address: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let (address, count) = (address.to_owned(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let Ok(server) = TcpStream::connect(&address) else { continue };
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (own, count)
}
