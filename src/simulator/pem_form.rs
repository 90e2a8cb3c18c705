//! How the simulated vendor writes PEM: as the real one does, or in another form that means the same.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A way to write certificates as one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PemForm {
    /// As in the sample on the vendor's page: a space after the BEGIN marker, CRLF, spaces within the base64, certificates joined by
    /// `\r\n -----BEGIN`.
    #[default]
    Vendor,
    /// LF, 64 columns, one final newline.
    Canonical,
    /// Canonical with CRLF.
    Crlf,
    /// Each certificate's base64 on one line.
    LongLines,
    /// Canonical, in the order root, intermediate, leaf.
    RootFirst,
}

impl PemForm {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Vendor, Self::Canonical, Self::Crlf, Self::LongLines, Self::RootFirst];

    /// Its name on the command line and at the control endpoint.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Canonical => "canonical",
            Self::Crlf => "crlf",
            Self::LongLines => "long-lines",
            Self::RootFirst => "root-first",
        }
    }

    /// These certificates (DER, leaf first) as one string.
    #[must_use]
    pub fn text<D: AsRef<[u8]>>(self, certificates: &[D]) -> String {
        let mut blocks: Vec<String> =
            certificates.iter().map(|der| self.labelled("CERTIFICATE", der.as_ref())).collect();
        match self {
            Self::Vendor => blocks.join("\r\n "),
            Self::RootFirst => {
                blocks.reverse();
                blocks.concat()
            }
            Self::Canonical | Self::Crlf | Self::LongLines => blocks.concat(),
        }
    }

    /// One block of any label.
    #[must_use]
    pub fn labelled(self, label: &str, der: &[u8]) -> String {
        let base64 = STANDARD.encode(der);
        let columns = if self == Self::LongLines { usize::MAX } else { 64 };
        let mut lines: Vec<String> = Vec::new();
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(columns).unwrap_or((rest, ""));
            lines.push(line.to_owned());
            rest = after;
        }
        match self {
            Self::Vendor => {
                for line in lines.iter_mut().skip(1).step_by(5) {
                    if line.len() > 16 {
                        line.insert(16, ' ');
                    }
                }
                format!("-----BEGIN {label}----- \r\n{}\r\n-----END {label}-----", lines.join("\r\n"))
            }
            Self::Crlf => format!("-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\r\n", lines.join("\r\n")),
            Self::Canonical | Self::LongLines | Self::RootFirst => {
                format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
            }
        }
    }
}

impl fmt::Display for PemForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PEM form; the forms are: vendor, canonical, crlf, long-lines, root-first")]
pub struct UnknownPemForm(String);

impl FromStr for PemForm {
    type Err = UnknownPemForm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|form| form.name() == text)
            .ok_or_else(|| UnknownPemForm(text.chars().take(60).collect()))
    }
}
