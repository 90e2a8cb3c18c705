//! Any DER, and any PEM block as DER, is a certificate or an error, and a certificate reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trustsync::trust::certificate::Certificate;
use trustsync::trust::pem::scan;

fuzz_target!(|data: &[u8]| {
    let blocks = scan(&String::from_utf8_lossy(data));
    let ders = blocks.into_iter().filter_map(|block| block.bytes.ok());
    for der in ders.chain([data.to_vec()]) {
        if let Ok(certificate) = Certificate::parse(&der) {
            assert!(
                certificate.facts().subject.is_ascii() && certificate.facts().issuer.is_ascii()
            );
            assert_eq!(certificate.der(), der);
            let again = scan(&certificate.pem());
            assert_eq!(again[0].bytes.as_ref(), Ok(&der));
            let _ = (certificate.identity_names(), format!("{certificate:?}"));
        }
    }
});
