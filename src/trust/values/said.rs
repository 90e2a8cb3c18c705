//! Who gave an operator's word, and why: for people. Nothing is decided by it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::excerpt;

/// The longest name, and the longest reason.
const LONGEST: usize = 300;

/// Who gave an operator's word, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Login name and uid: `alice (uid 1000)`.
    #[serde(default)]
    pub by: String,
    /// The reason in their own words; empty where they gave none.
    #[serde(default)]
    pub why: String,
}

impl Said {
    /// Nothing in it that a terminal would obey, and not for ever long.
    #[must_use]
    pub fn new(by: &str, why: &str) -> Self {
        let harmless = |text: &str| excerpt::beginning(&excerpt::visible(text).replace(['\n', '\t'], " "), LONGEST);
        Self { by: harmless(by.trim()), why: harmless(why.trim()) }
    }

    /// Whether nobody is known to have said it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by.is_empty() && self.why.is_empty()
    }

    /// As the end of a phrase: `, by alice (uid 1000): moved too early`; nothing where nothing is known.
    #[must_use]
    pub fn suffix(&self) -> String {
        if self.is_empty() { String::new() } else { format!(", {self}") }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was read from a record may have been written by somebody else.
        let Self { by, why } = Self::new(&self.by, &self.why);
        f.write_str("by ")?;
        f.write_str(if by.is_empty() { "an unknown operator" } else { &by })?;
        if why.is_empty() { Ok(()) } else { write!(f, ": {why}") }
    }
}
