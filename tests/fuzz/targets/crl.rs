//! Any bytes are a CRL or an error; a CRL reads back as itself, and none that DigiCert did not sign is believed.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use trustsync::trust::anchor::Anchors;
use trustsync::trust::crl::{Crl, judge};
use trustsync::trust::pem::encode;
use trustsync::trust::timestamp::Timestamp;

static DIGICERT: LazyLock<Anchors> = LazyLock::new(Anchors::digicert);

fuzz_target!(|data: &[u8]| {
    let pem = encode("X509 CRL", data).into_bytes();
    for bytes in [data.to_vec(), pem] {
        let Ok(crl) = Crl::read(bytes) else { continue };
        let facts = crl.facts();
        assert!(facts.issuer.is_ascii() && facts.unknown_critical_extensions.len() <= 64);
        // An entry has a serial number and a date, and so no fewer than 20 octets.
        assert!(facts.count <= crl.der().len() / 20);
        assert_eq!(Crl::parse(crl.der().to_vec()).unwrap().facts(), facts);
        let now = Timestamp::from_unix(1_780_272_000);
        let refused = judge(&crl, DIGICERT.certificates(), Duration::ZERO, now);
        assert!(refused.unwrap_err().to_string().is_ascii());
    }
});
