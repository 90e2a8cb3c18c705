//! Every BEGIN marker yields a block, and what was read survives being written canonically.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trustsync::trust::anchor::Anchors;
use trustsync::trust::pem::{count, encode, scan};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let blocks = scan(&text);
    assert_eq!(blocks.len(), count(&text));
    for block in blocks {
        if let Ok(bytes) = block.bytes {
            let again = scan(&encode(&block.label, &bytes));
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].bytes.as_ref(), Ok(&bytes));
            assert!(again[0].oddities.is_empty());
        }
    }
    let _ = Anchors::read(data);
});
