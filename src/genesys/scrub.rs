//! Text from the wire, made fit to be shown: bounded, without control characters, and without what must stay secret.

/// As much of a vendor's text as an error shows.
const SHOWN: usize = 300;

/// Knows the secrets of the moment, and takes them out of any text.
#[derive(Clone, Default)]
pub struct Scrub {
    forbidden: Vec<String>,
}

impl Scrub {
    /// Takes out each of `secrets` from now on.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut scrub = Self::default();
        secrets.into_iter().for_each(|secret| scrub.forbid(secret));
        scrub
    }

    /// Takes out `secret` too.
    pub fn forbid(&mut self, secret: &str) {
        let secret = plain(secret).to_ascii_lowercase();
        if !secret.is_empty() && !self.forbidden.contains(&secret) {
            self.forbidden.push(secret);
            // The longest first: the secret may be a part of what it was encoded into.
            self.forbidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// `text` on one line, without the secrets (in whatever case, as hosts are lower-cased), at most 300 characters of
    /// it. The cut comes last, so that it never leaves half a secret unrecognised.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut text = plain(text);
        for secret in &self.forbidden {
            let mut rest = text.as_str();
            let mut kept = String::with_capacity(text.len());
            while let Some(at) = rest.to_ascii_lowercase().find(secret.as_str()) {
                kept.push_str(rest.get(..at).unwrap_or_default());
                kept.push_str("[redacted]");
                rest = rest.get(at.saturating_add(secret.len())..).unwrap_or_default();
            }
            kept.push_str(rest);
            text = kept;
        }
        if text.chars().count() > SHOWN {
            text = text.chars().take(SHOWN).chain("...".chars()).collect();
        }
        text
    }
}

/// Without control characters and without those that reorder or hide text (bidirectional marks, zero widths).
fn plain(text: &str) -> String {
    let hides = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            )
    };
    text.chars().filter(|character| !hides(*character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_whatever_surrounds_or_splits_them() {
        let scrub = Scrub::new(["s3cret", "aWQ6czNjcmV0s3cret=="]);
        for (text, clean) in [
            ("bad s3cret!", "bad [redacted]!"),
            ("S3CRETs3cret", "[redacted][redacted]"),
            ("s3c\u{0}r\net", "[redacted]"),
            ("Basic aWQ6czNjcmV0s3cret==", "Basic [redacted]"),
            ("über s3cret ß", "über [redacted] ß"),
            ("plain", "plain"),
        ] {
            assert_eq!(scrub.clean(text), clean);
        }
        let long = format!("{}s3cret", "x".repeat(297));
        assert!(!scrub.clean(&long).contains("s3c"), "the cut left a part of it");
        assert_eq!(scrub.clean(&"y".repeat(5_000)).len(), 303);
    }
}
