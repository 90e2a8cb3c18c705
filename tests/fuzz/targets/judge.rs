//! Any text is judged, with what it calls a CA as anchors too, and every refusal can be shown.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trustsync::trust::anchor::Anchors;
use trustsync::trust::certificate::Certificate;
use trustsync::trust::pem::{encode, scan};
use trustsync::trust::timestamp::Timestamp;
use trustsync::trust::verify::{Identity, Policy, Verdict, judge};

static DIGICERT: LazyLock<Anchors> = LazyLock::new(Anchors::digicert);

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let parsed = scan(&text)
        .into_iter()
        .filter_map(|block| Certificate::parse(&block.bytes.ok()?).ok());
    let anchors = Anchors::of(
        parsed
            .filter(|certificate| certificate.facts().is_ca)
            .collect(),
    );
    let now = Timestamp::from_unix(1_780_272_000);
    for (text, anchors) in [
        (text.as_ref(), DIGICERT.clone()),
        (text.as_ref(), anchors),
        (encode("CERTIFICATE", data).as_str(), DIGICERT.clone()),
    ] {
        match judge(text, &anchors, &Policy::default(), now) {
            Verdict::Accepted(candidate) => {
                assert!(
                    candidate
                        .leaf()
                        .facts()
                        .extended_key_usages
                        .contains(&"clientAuth".to_owned())
                );
                assert!(
                    candidate
                        .chain()
                        .last()
                        .is_some_and(|root| anchors.certificates().contains(root))
                );
                let _ = candidate.admit(&Identity::Names(["example.com".to_owned()].into()));
            }
            Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => {
                assert!(refusal.to_string().is_ascii());
            }
        }
    }
});
