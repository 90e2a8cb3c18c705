//! Writes DER (X.690), for the families that put values of it together.

/// One value: its tag, its length in the shortest form, and its parts in a row.
pub(super) fn tlv<P: AsRef<[u8]>>(tag: u8, parts: &[P]) -> Vec<u8> {
    let content: Vec<u8> = parts.iter().flat_map(P::as_ref).copied().collect();
    let mut value = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => value.push(short),
        _ => {
            let length: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // At most eight bytes.
            value.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            value.extend(length);
        }
    }
    value.extend(content);
    value
}
