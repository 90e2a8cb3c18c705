//! How the simulated vendor writes PEM: as the real one does, or in another form that means the same.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::trust::formats::pem;

named! {
    /// A way to write certificates as one string.
    #[derive(Default)]
    pub enum PemForm("PEM form") {
        /// As in the sample on the vendor's page: a space after the BEGIN marker, CRLF, spaces within the base64, and
        /// `\r\n -----BEGIN` between certificates.
        #[default]
        Vendor = "vendor",
        /// LF, 64 columns, one final newline.
        Canonical = "canonical",
        /// Canonical with CRLF.
        Crlf = "crlf",
        /// Each certificate's base64 on one line.
        LongLines = "long-lines",
        /// Canonical, in the order root, intermediate, leaf.
        RootFirst = "root-first",
    }
}

impl PemForm {
    /// These certificates (DER, leaf first) as one string.
    #[must_use]
    pub fn text<D: AsRef<[u8]>>(self, certificates: &[D]) -> String {
        let mut blocks: Vec<String> =
            certificates.iter().map(|der| self.labelled("CERTIFICATE", der.as_ref())).collect();
        if self == Self::RootFirst {
            blocks.reverse();
        }
        blocks.join(if self == Self::Vendor { "\r\n " } else { "" })
    }

    /// One block of any label.
    #[must_use]
    pub fn labelled(self, label: &str, der: &[u8]) -> String {
        let canonical = pem::encode(label, der);
        match self {
            Self::Canonical | Self::RootFirst => canonical,
            Self::Crlf => canonical.replace('\n', "\r\n"),
            Self::LongLines => format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)),
            Self::Vendor => {
                let mut lines: Vec<String> = canonical.lines().map(str::to_owned).collect();
                for line in lines.iter_mut().skip(2).step_by(5) {
                    if line.len() > 16 && !line.starts_with('-') {
                        line.insert(16, ' ');
                    }
                }
                lines.join("\r\n").replacen("\r\n", " \r\n", 1)
            }
        }
    }
}
