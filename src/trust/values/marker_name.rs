//! The subject of the generation marker: how a generation is read off the wire.
//!
//! A server advertises the subjects of its CA file in the TLS CertificateRequest (RFC 8446 §4.2.4, RFC 5246 §7.4.4).
//! They are names only, so a renewal under the same subject cannot be seen there; the marker's name changes with each
//! generation.

/// The organisation that every marker's subject carries, in these very words.
pub const MARKER_ORGANIZATION: &str = "trustsync generation marker";

/// What one generation of one store is called in its marker's subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkerName {
    /// The store's id: at most 36 of `a`-`z`, `0`-`9` and `-`, so that the whole fits X.520's 64 characters.
    pub store_id: String,
    /// The generation's number.
    pub generation: u64,
    /// The first eight lower-case hex digits of the digest of the generation's trust content.
    pub digest_head: String,
}

impl MarkerName {
    /// The commonName: `trustsync <store id> <generation, six digits at least> <digest head>`.
    #[must_use]
    pub fn to_common_name(&self) -> String {
        format!("trustsync {} {:06} {}", self.store_id, self.generation, self.digest_head)
    }

    /// Reads a commonName; nothing but what [`MarkerName::to_common_name`] writes is one.
    #[must_use]
    pub fn parse(common_name: &str) -> Option<Self> {
        let words: Vec<&str> = common_name.split(' ').collect();
        let ["trustsync", store_id, generation, digest_head] = *words else { return None };
        let of = |text: &str, allowed: fn(u8) -> bool| text.bytes().all(allowed);
        let fits = (1..=36).contains(&store_id.len())
            && of(store_id, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && of(generation, |byte| byte.is_ascii_digit())
            && digest_head.len() == 8
            && of(digest_head, |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let name = Self {
            store_id: store_id.to_owned(),
            generation: generation.parse().ok()?,
            digest_head: digest_head.to_owned(),
        };
        (fits && name.to_common_name() == common_name).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_nothing_else() {
        for generation in [0, 1, 42, 999_999, 1_000_000, u64::MAX] {
            let name = MarkerName { store_id: "a1b2-c3".into(), generation, digest_head: "00ff12ab".into() };
            assert_eq!(MarkerName::parse(&name.to_common_name()), Some(name));
        }
        for other in [
            "",
            "trustsync",
            "trustsync a 42 00ff12ab",
            "trustsync a 0000042 00ff12ab",
            "trustsync a +00042 00ff12ab",
            "trustsync a 000042 00ff12a",
            "trustsync a 000042 00FF12AB",
            "trustsync A 000042 00ff12ab",
            "trustsync  a 000042 00ff12ab",
            "trustsync a 000042 00ff12ab ",
            "trustsync a 000042 00ff12ab x",
            "trustsync a 99999999999999999999 00ff12ab",
            "other a 000042 00ff12ab",
        ] {
            assert_eq!(MarkerName::parse(other), None, "{other:?}");
        }
    }
}
