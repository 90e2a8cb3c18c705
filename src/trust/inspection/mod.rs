//! What is in a file: certificates, revocation lists and keys in any of the usual wrappings, and what is odd about
//! them. Nothing is believed or verified; bytes in, facts out, at a bounded cost.

pub mod pkcs12;

use crate::trust::formats::archive;
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::der::{self, Reader};
use crate::trust::formats::pem;
use crate::trust::inspection::pkcs12::Contents;
use crate::trust::values::excerpt::quoted;
use crate::trust::verify::crl::Crl;

/// The most PEM blocks of a file that are read. The longest public bundles have a few hundred.
pub const MOST_BLOCKS: usize = 2_000;

/// How a file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// None of the others.
    #[default]
    Unknown,
    /// PEM, in one block or many.
    Pem,
    /// The DER of one certificate.
    Certificate,
    /// The DER of a revocation list.
    Crl,
    /// PKCS#12, in DER.
    Pkcs12,
    /// A zip archive of such files.
    Zip,
}

impl Form {
    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Pem => "PEM",
            Self::Certificate => "DER certificate",
            Self::Crl => "DER CRL",
            Self::Pkcs12 => "PKCS#12",
            Self::Zip => "zip",
        }
    }
}

/// What was found in a file.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// How the file is written.
    pub form: Form,
    /// Its certificates, in its order.
    pub certificates: Vec<Certificate>,
    /// Its revocation lists, in its order.
    pub crls: Vec<Crl>,
    /// Its private keys and other secrets, in words.
    pub secrets: Vec<String>,
    /// The files of an archive, by their names in it.
    pub files: Vec<(String, Inspection)>,
    /// What is odd about it, or wrong with it.
    pub oddities: Vec<String>,
}

impl Inspection {
    /// Whether anything could be read.
    #[must_use]
    pub fn found_something(&self) -> bool {
        !self.certificates.is_empty()
            || !self.crls.is_empty()
            || (self.form == Form::Pkcs12 && !self.secrets.is_empty())
            || self.files.iter().any(|(_, file)| file.found_something())
    }

    fn odd(form: Form, what: impl Into<String>) -> Self {
        Self { form, oddities: vec![what.into()], ..Self::default() }
    }
}

/// Inspects a file. The passwords are tried on PKCS#12, at a cost of at most `work` rounds of hashing
/// ([`pkcs12::MOST_WORK`]).
#[must_use]
pub fn inspect(bytes: &[u8], passwords: &[&str], work: u64) -> Inspection {
    if !archive::is_zip(bytes) {
        return inspect_unpacked(bytes, passwords, work);
    }
    match archive::files(bytes) {
        Err(error) => Inspection::odd(Form::Zip, error.to_string()),
        Ok(files) => {
            // Together they may cost what one may.
            let each = work.checked_div(files.len() as u64).unwrap_or(work);
            let inspected = files.into_iter().map(|file| {
                let inspection = if archive::is_zip(&file.content) {
                    Inspection::odd(Form::Zip, "a zip in a zip is not followed")
                } else {
                    inspect_unpacked(&file.content, passwords, each)
                };
                (file.name, inspection)
            });
            Inspection { form: Form::Zip, files: inspected.collect(), ..Inspection::default() }
        }
    }
}

fn inspect_unpacked(bytes: &[u8], passwords: &[&str], work: u64) -> Inspection {
    if bytes.first() == Some(&der::SEQUENCE) {
        return inspect_der(bytes, passwords, work);
    }
    let what = match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => {
            "a Java keystore of the old form (JKS): `keytool -importkeystore` makes PKCS#12 of it"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "text in UTF-16, which no server reads: rewrite it as ASCII (neither PEM nor a DER certificate)"
        }
        _ if bytes.windows(10).any(|window| window == b"-----BEGIN") => {
            return inspect_text(&String::from_utf8_lossy(bytes));
        }
        _ => "neither PEM nor a DER certificate, nor a CRL, PKCS#12 or zip",
    };
    Inspection::odd(Form::Unknown, what)
}

fn inspect_der(bytes: &[u8], passwords: &[&str], work: u64) -> Inspection {
    // What follows the end is odd, but what stands before it can be read.
    let first = Reader::new(bytes).next().map_or(bytes, |value| value.whole);
    let surplus = bytes.len().saturating_sub(first.len());
    let mut inspection = if pkcs12::is_pkcs12(first) {
        match pkcs12::read(first, passwords, work) {
            Err(error) => Inspection::odd(Form::Pkcs12, error.to_string()),
            Ok(Contents { certificates, crls, secrets, oddities }) => {
                Inspection { form: Form::Pkcs12, certificates, crls, secrets, oddities, files: Vec::new() }
            }
        }
    } else {
        match (Certificate::parse(first), Crl::parse(first.to_vec())) {
            (Ok(certificate), _) => {
                Inspection { form: Form::Certificate, certificates: vec![certificate], ..Inspection::default() }
            }
            (_, Ok(crl)) => Inspection { form: Form::Crl, crls: vec![crl], ..Inspection::default() },
            (Err(certificate), Err(crl)) => Inspection::odd(
                Form::Unknown,
                format!("neither PEM nor a DER certificate that can be read ({certificate}; {crl})"),
            ),
        }
    };
    if surplus > 0 {
        inspection.oddities.push(format!("{surplus} bytes follow the end of its DER"));
    }
    for (at, certificate) in inspection.certificates.iter().enumerate() {
        if inspection.certificates.iter().take(at).any(|earlier| earlier == certificate) {
            inspection.oddities.push(format!("certificate {} is a duplicate", at.saturating_add(1)));
        }
    }
    inspection
}

fn inspect_text(text: &str) -> Inspection {
    let markers = pem::count(text);
    if markers > MOST_BLOCKS {
        return Inspection::odd(Form::Pem, format!("{markers} PEM blocks, more than {MOST_BLOCKS}: not inspected"));
    }
    let mut found = Inspection { form: Form::Pem, ..Inspection::default() };
    for (at, block) in pem::scan(text).into_iter().enumerate() {
        let place = format!("block {}", at.saturating_add(1));
        found.oddities.extend(block.oddities.iter().map(|oddity| format!("{place}: {}", oddity.text())));
        if pem::is_private(&block.label) || block.bytes == Err(pem::BlockError::PrivateKey) {
            found.oddities.push(format!("{place} is a PRIVATE KEY: it has no business here, and is not shown"));
            found.secrets.push(format!("{place}: a private key ({})", quoted(&block.label)));
            continue;
        }
        let unreadable = |error: &dyn std::fmt::Display| format!(": {error}");
        let read = match (block.label.as_str(), block.bytes) {
            (_, Err(error)) => Err(unreadable(&error)),
            ("CERTIFICATE", Ok(der)) => {
                Certificate::parse(&der).map_err(|error| unreadable(&error)).map(|certificate| {
                    if found.certificates.contains(&certificate) {
                        found.oddities.push(format!("{place} is a duplicate"));
                    }
                    found.certificates.push(certificate);
                })
            }
            ("X509 CRL", Ok(der)) => {
                Crl::parse(der).map_err(|error| unreadable(&error)).map(|crl| found.crls.push(crl))
            }
            (label, Ok(_)) => Err(format!(" is {}, not a certificate", quoted(label))),
        };
        found.oddities.extend(read.err().map(|what| format!("{place}{what}")));
    }
    let read = found.certificates.len().saturating_add(found.crls.len());
    if markers != read {
        let lists = if found.crls.is_empty() { String::new() } else { format!(" and {} CRLs", found.crls.len()) };
        let what = format!("{markers} BEGIN markers, but {} readable certificates{lists}", found.certificates.len());
        found.oddities.push(what);
    }
    found
}
