//! Choices that people name on the command line and at the control endpoint.

/// The text does not name a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}; choose one of: {names}")]
pub struct UnknownName {
    what: &'static str,
    text: String,
    names: String,
}

impl UnknownName {
    /// `text` is none of `names`, which are the names of every `what`.
    pub(super) fn new(what: &'static str, text: &str, names: &[&str]) -> Self {
        Self { what, text: text.chars().take(80).collect(), names: names.join(", ") }
    }
}

/// Declares an enum whose variants have names: the first line of a variant's documentation is also what it means in the
/// control endpoint's help.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $choice:ident ($what:literal) {
            $(#[doc = $meaning:literal] $(#[$mark:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $choice { $(#[doc = $meaning] $(#[$mark])* $variant,)+ }

        impl $choice {
            /// Every variant, in the order of declaration.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The stable name, in lower case with hyphens.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, in one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii_start(),)+ }
            }
        }

        impl std::fmt::Display for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $choice {
            type Err = $crate::simulator::named::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|choice| choice.name() == text);
                found.ok_or_else(|| Self::Err::new($what, text, &Self::ALL.map(Self::name)))
            }
        }
    };
}
