//! The PEM family: our scanner against rustls-pki-types and openssl on what these read rightly, and alone on what they lose.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::{Just, Strategy};
use proptest::{prop_oneof, sample};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use trustsync::trust::formats::pem::{Block, BlockError, Oddity, count, encode, scan};

const ROOT: &str = include_str!("../data/digicert-assured-id-root-g2.pem");
const CLIENT: &str = include_str!("../data/digicert-assured-id-client-ca-g2.pem");

fn by_pki_types(text: &str) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).map(|der| der.to_vec()).collect()
}

fn ours(text: &str) -> Vec<Vec<u8>> {
    scan(text).into_iter().filter_map(|block| block.bytes.ok()).collect()
}

fn only(text: &str) -> Block {
    let blocks = scan(text);
    assert_eq!(blocks.len(), 1, "{text:?}");
    blocks.into_iter().next().unwrap()
}

/// How many certificates openssl sees in a text: it copies them into a PKCS#7 and prints them from there.
fn count_by_openssl(text: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.pem"), text).unwrap();
    let mut pack = Command::new("openssl")
        .current_dir(folder.path())
        .args(["crl2pkcs7", "-nocrl", "-certfile", "in.pem"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut packed = String::new();
    std::io::Read::read_to_string(&mut pack.stdout.take().unwrap(), &mut packed).unwrap();
    pack.wait().unwrap();
    let mut print = Command::new("openssl")
        .args(["pkcs7", "-print_certs"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    print.stdin.take().unwrap().write_all(packed.as_bytes()).unwrap();
    let printed = print.wait_with_output().unwrap().stdout;
    String::from_utf8_lossy(&printed).matches("-----BEGIN CERTIFICATE-----").count()
}

#[test]
fn canonical_text_is_read_by_all_three_alike() {
    for text in [ROOT.to_owned(), format!("{ROOT}{CLIENT}"), format!("{CLIENT}{ROOT}{CLIENT}")] {
        let read = ours(&text);
        assert_eq!(read, by_pki_types(&text));
        assert_eq!(read.len(), count_by_openssl(&text));
        let again: String = read.iter().map(|der| encode("CERTIFICATE", der)).collect();
        assert_eq!(ours(&again), read);
        assert_eq!(by_pki_types(&again), read);
        assert_eq!(count_by_openssl(&again), read.len());
    }
}

#[test]
fn blocks_that_others_lose_in_silence_are_read() {
    let (root, client) = (ROOT.trim_end(), CLIENT.trim_end());
    let begin = "-----BEGIN CERTIFICATE-----";
    let spaced = root.replace(begin, &format!("{begin} "));
    let with_space_before_begin = format!("{client}\r\n {root}\r\n");
    assert_eq!(ours(&with_space_before_begin).len(), 2);
    assert_eq!(by_pki_types(&with_space_before_begin).len(), 1, "why we do not rely on it");
    assert_eq!(count_by_openssl(&with_space_before_begin), 1, "why servers never get the vendor's own text");
    for text in [
        format!("{client}{root}"),
        format!("{client} {root}"),
        format!("{client}\t\n\t{root}"),
        format!("{client}\n{spaced}"),
        format!("\u{feff}{client}\n{root}").replace('\n', "\r\n"),
        format!("{client}\n{root}").replace('\n', "\r"),
        format!("{client}\n{root}").replace('\n', "\x0c\n"),
    ] {
        assert!(ours(&text) == ours(&format!("{CLIENT}{ROOT}")), "{text:?}");
    }
}

#[test]
fn what_is_read_over_is_named() {
    let root = ROOT.trim_end();
    let lines: Vec<&str> = root.lines().collect();
    let oddities = |text: &str| only(text).oddities;
    assert_eq!(oddities(ROOT), []);
    assert_eq!(oddities(&ROOT.replace('\n', "\r\n")), []);
    assert_eq!(oddities(&format!("\u{feff}{ROOT}")), [Oddity::ByteOrderMark]);
    assert_eq!(oddities(&format!("subject=x\n{ROOT}")), [Oddity::TextBefore]);
    assert_eq!(oddities(&format!("{ROOT}bye")), [Oddity::TextAfter]);
    assert_eq!(oddities(&format!("  {ROOT}")), [Oddity::SpaceAroundMarker]);
    assert_eq!(oddities(&root.replace("CERTIFICATE-----\n", "CERTIFICATE----- \n")), [Oddity::SpaceAroundMarker]);
    let spaced = root.replace(lines[1], &lines[1].replacen('M', "M ", 1));
    assert_eq!(oddities(&spaced), [Oddity::SpaceInBase64]);
    assert_eq!(scan(&format!("{ROOT}between\n{CLIENT}"))[1].oddities, [Oddity::TextBefore]);
}

#[test]
fn each_way_to_break_a_block_is_told_apart() {
    let block = |label: &str, body: &str, end: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {end}-----\n");
    for (text, expected) in [
        (block("CERTIFICATE", "MAA=", "CERTIFICATE"), Ok(vec![0x30, 0])),
        (block("CERTIFICATE", "M A A =", "CERTIFICATE"), Ok(vec![0x30, 0])),
        (block("CERTIFICATE", "MAA", "CERTIFICATE"), Err(BlockError::BadPadding)),
        (block("CERTIFICATE", "MAA==", "CERTIFICATE"), Err(BlockError::BadPadding)),
        (block("CERTIFICATE", "MAB=", "CERTIFICATE"), Err(BlockError::BadPadding)),
        (block("CERTIFICATE", "MA=A", "CERTIFICATE"), Err(BlockError::BadPadding)),
        (block("CERTIFICATE", "MAA=MAA=", "CERTIFICATE"), Err(BlockError::BadPadding)),
        (block("CERTIFICATE", "MAA...", "CERTIFICATE"), Err(BlockError::NotBase64('.'))),
        (block("CERTIFICATE", "MA\u{a0}A=", "CERTIFICATE"), Err(BlockError::NotBase64('\u{a0}'))),
        (block("CERTIFICATE", "Proc-Type: 4,ENCRYPTED\n\nMAA=", "CERTIFICATE"), Err(BlockError::NotBase64('-'))),
        (block("CERTIFICATE", "", "CERTIFICATE"), Err(BlockError::Empty)),
        (block("CERTIFICATE", "MAA=", "X509 CRL"), Err(BlockError::LabelMismatch)),
        (block("CERTIFICATE", "MAA=", "certificate"), Err(BlockError::LabelMismatch)),
        ("-----BEGIN CERTIFICATE-----\nMAA=".into(), Err(BlockError::NoEnd)),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE".into(), Err(BlockError::NoEnd)),
        ("-----BEGIN CERTIFICATE".into(), Err(BlockError::BrokenMarker)),
        ("-----BEGIN".into(), Err(BlockError::BrokenMarker)),
        ("-----BEGIN RSA PRIVATE KEY----\nMAA=".into(), Err(BlockError::PrivateKey)),
        ("-----BEGIN-----\nMAA=\n-----END-----".into(), Err(BlockError::BrokenMarker)),
        ("-----BEGIN CERT\nIFICATE-----\nMAA=\n-----END CERTIFICATE-----".into(), Err(BlockError::BrokenMarker)),
        (block("PRIVATE KEY", "MAA=", "PRIVATE KEY"), Err(BlockError::PrivateKey)),
        (block("EC PRIVATE KEY", "MAA=", "CERTIFICATE"), Err(BlockError::PrivateKey)),
        (block("CERTIFICATE", "MAA=", "CERTIFICATE") + "MAA=\n-----END CERTIFICATE-----", Err(BlockError::StrayEnd)),
        (
            "MAA=\n-----END CERTIFICATE-----\n".to_owned() + &block("CERTIFICATE", "MAA=", "CERTIFICATE"),
            Err(BlockError::StrayEnd),
        ),
    ] {
        assert_eq!(only(&text).bytes, expected, "{text:?}");
    }
    assert!(scan("").is_empty() && scan("no block").is_empty());
}

#[test]
fn neither_a_block_nor_its_error_shows_what_is_in_it() {
    let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let shown = format!("{:?} {}", only(text), only(text).bytes.unwrap_err());
    assert!(!shown.contains("c2VjcmV0") && !shown.contains("secret"), "{shown}");
}

/// Pieces from which hostile PEM is put together.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        sample::select(vec![
            "-----BEGIN CERTIFICATE-----",
            "-----END CERTIFICATE-----",
            "-----BEGIN",
            "-----END",
            "-----",
            "----",
            "\n",
            "\r\n",
            " ",
            "MAA=",
            "AAAA",
            "=",
            "...",
            "\u{feff}",
            "CERTIFICATE",
            "PRIVATE KEY",
        ])
        .prop_map(str::to_owned),
        Just(ROOT.to_owned()),
        ".{0,8}",
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_begin_marker_yields_a_block(text in pieces()) {
        prop_assert_eq!(scan(&text).len(), count(&text));
    }

    #[test]
    fn whatever_every_block_of_is_read_is_read_alike_by_pki_types_once_it_is_rewritten(text in pieces()) {
        let blocks = scan(&text);
        let canonical: String =
            blocks.iter().filter_map(|b| b.bytes.as_ref().ok().map(|der| encode(&b.label, der))).collect();
        prop_assert_eq!(ours(&canonical), ours(&text));
        prop_assert_eq!(by_pki_types(&canonical), scan(&text).into_iter().filter(|b| b.label == "CERTIFICATE").filter_map(|b| b.bytes.ok()).collect::<Vec<_>>());
    }

    #[test]
    fn a_text_that_we_read_whole_hides_nothing_that_pki_types_finds(text in pieces()) {
        let blocks = scan(&text);
        if blocks.iter().all(|block| block.bytes.is_ok()) {
            let read: Vec<Vec<u8>> = blocks.into_iter().filter_map(|block| block.bytes.ok()).collect();
            for theirs in by_pki_types(&text) {
                prop_assert!(read.contains(&theirs), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_written_reads_back(der in vec(any::<u8>(), 1..3_000)) {
        let text = encode("CERTIFICATE", &der);
        prop_assert!(text.lines().all(|line| line.len() <= 64) && text.ends_with("-----\n"));
        let block = only(&text);
        prop_assert_eq!(block.bytes, Ok(der.clone()));
        prop_assert_eq!(block.oddities, std::vec![]);
        prop_assert_eq!(by_pki_types(&text), std::vec![der]);
    }
}
