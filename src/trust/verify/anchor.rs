//! The roots that we accept chains to: our own list, never the system's, from which roots get removed for reasons that
//! concern web browsers.

use crate::trust::formats::archive::{self, ArchiveError};
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::pem;
use crate::trust::values::fingerprint::Fingerprint;

/// The anchors of one authority, for one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors(pub Vec<Certificate>);

/// Why a file of anchors was refused. One bad block refuses the whole file: it is configuration, and half of what the
/// operator meant to trust is not what the operator meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// It has no certificate in any form that is read.
    #[error("it contains no certificate, neither as PEM nor as DER nor as a zip of them")]
    NoCertificate,
    /// A block that is not a certificate which can be read.
    #[error("block {ordinal} {problem}")]
    Block {
        /// Counted from 1.
        ordinal: usize,
        /// What is wrong with it, as the rest of a sentence.
        problem: String,
    },
    /// The zip archive cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file of a zip archive.
    #[error("in its file {file}, {error}")]
    Within {
        /// The file's name in the archive.
        file: String,
        /// What is wrong with that file.
        error: Box<AnchorError>,
    },
    /// A certificate that may not issue any.
    #[error(
        "{subject} (sha256 {fingerprint}) is not a CA certificate (basicConstraints CA:TRUE), so it cannot be an anchor"
    )]
    NotACa {
        /// RFC 2253 text.
        subject: String,
        /// SHA-256 of its DER.
        fingerprint: Fingerprint,
    },
}

/// DigiCert's roots that can be above a client certificate. Published at
/// <https://www.digicert.com/kb/digicert-root-certificates.htm>.
///
/// Left out: *TLS ECC P384 Root G5* and *TLS RSA4096 Root G5*, which issue server certificates only, and *High
/// Assurance EV Root CA*, which is for EV server certificates and code.
///
/// `anchors/README.md` has the source and the digests of each.
const DIGICERT: [&str; 12] = [
    // The one in the vendor's sample, above "DigiCert Assured ID Client CA G2".
    include_str!("anchors/digicert-assured-id-root-g2.pem"),
    // DigiCert's first root for client certificates. Its own signature is SHA-1, on which nothing relies.
    include_str!("anchors/digicert-assured-id-root-ca.pem"),
    // The ECC sister of Assured ID Root G2.
    include_str!("anchors/digicert-assured-id-root-g3.pem"),
    // The Global Roots sign S/MIME and client intermediates besides those for servers.
    include_str!("anchors/digicert-global-root-ca.pem"),
    include_str!("anchors/digicert-global-root-g2.pem"),
    include_str!("anchors/digicert-global-root-g3.pem"),
    // RSA 4096; DigiCert's root for everything other than web servers: S/MIME, client authentication, code.
    include_str!("anchors/digicert-trusted-root-g4.pem"),
    // The fifth generation, one root a purpose: clients', then S/MIME and the general ones, which may be above clients.
    include_str!("anchors/digicert-client-ecc-p384-root-g5.pem"),
    include_str!("anchors/digicert-client-rsa4096-root-g5.pem"),
    include_str!("anchors/digicert-smime-ecc-p384-root-g5.pem"),
    include_str!("anchors/digicert-ecc-p384-root-g5.pem"),
    include_str!("anchors/digicert-rsa4096-root-g5.pem"),
];

impl Anchors {
    /// The anchors that are built in.
    #[must_use]
    pub fn digicert() -> Self {
        // A test holds that each of these can be read.
        Self::of(DIGICERT.into_iter().filter_map(|text| Self::read_pem(text).ok()).flat_map(|read| read.0).collect())
    }

    /// These certificates, each once, in the order of their fingerprints.
    #[must_use]
    pub fn of(mut certificates: Vec<Certificate>) -> Self {
        certificates.sort();
        certificates.dedup();
        Self(certificates)
    }

    /// The anchors of both, each once.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        Self::of(self.0)
    }

    /// Reads a configured file: PEM, the DER of one certificate, or a zip of such files, as the vendor's page has them.
    pub fn read(bytes: &[u8]) -> Result<Self, AnchorError> {
        if archive::is_zip(bytes) {
            return Self::read_zip(bytes);
        }
        Self::read_unpacked(bytes)
    }

    fn read_unpacked(bytes: &[u8]) -> Result<Self, AnchorError> {
        match std::str::from_utf8(bytes) {
            Ok(text) if pem::count(text) > 0 => Self::read_pem(text),
            _ if bytes.first() == Some(&0x30) => Ok(Self(vec![read_ca(1, bytes)?])),
            _ => Err(AnchorError::NoCertificate),
        }
    }

    /// Files without any certificate (a readme, another archive) are passed over; one with a broken certificate is not.
    fn read_zip(bytes: &[u8]) -> Result<Self, AnchorError> {
        let mut anchors = Self::default();
        for file in archive::files(bytes)? {
            match Self::read_unpacked(&file.content) {
                Ok(read) => anchors = anchors.and(read),
                Err(AnchorError::NoCertificate) => {}
                Err(error) => return Err(AnchorError::Within { file: file.name, error: Box::new(error) }),
            }
        }
        if anchors.0.is_empty() { Err(AnchorError::NoCertificate) } else { Ok(anchors) }
    }

    /// Reads PEM, every block of which must be a CA certificate.
    pub fn read_pem(text: &str) -> Result<Self, AnchorError> {
        let mut certificates = Vec::new();
        for (at, block) in pem::scan(text).into_iter().enumerate() {
            let ordinal = at.saturating_add(1);
            let refused = |problem| AnchorError::Block { ordinal, problem };
            let der = block.bytes.map_err(|error| refused(format!("cannot be read: {error}")))?;
            if block.label != "CERTIFICATE" {
                return Err(refused(format!("is not a certificate but {:?}", block.label)));
            }
            certificates.push(read_ca(ordinal, &der)?);
        }
        if certificates.is_empty() { Err(AnchorError::NoCertificate) } else { Ok(Self::of(certificates)) }
    }
}

fn read_ca(ordinal: usize, der: &[u8]) -> Result<Certificate, AnchorError> {
    let certificate =
        Certificate::parse(der).map_err(|error| AnchorError::Block { ordinal, problem: format!("is {error}") })?;
    if certificate.facts().is_ca {
        return Ok(certificate);
    }
    let subject = certificate.facts().subject.clone();
    Err(AnchorError::NotACa { subject, fingerprint: certificate.fingerprint() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        use std::io::Write;
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in files {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn a_zip_gives_its_roots_whatever_else_lies_in_it() {
        let root = DIGICERT[0].as_bytes();
        let der = Anchors::read_pem(DIGICERT[1]).unwrap().0[0].der().to_vec();
        let archive = zipped(&[
            ("readme.txt", b"hello"),
            ("us-east-1/root.pem", root),
            ("other.der", &der),
            ("__MACOSX/x", b"\x30"),
        ]);
        assert_eq!(Anchors::read(&archive).unwrap().0.len(), 2);
        // A zip in a zip is not followed, so that none can unpack for ever.
        assert_eq!(Anchors::read(&zipped(&[("inner.zip", &archive)])), Err(AnchorError::NoCertificate));
        let broken = zipped(&[("root.pem", b"-----BEGIN CERTIFICATE-----\nMII")]);
        assert!(matches!(Anchors::read(&broken), Err(AnchorError::Within { .. })));
        assert!(matches!(
            Anchors::read(&archive[..archive.len() / 2]),
            Err(AnchorError::Archive(ArchiveError::Damaged(_)))
        ));
        let bomb = vec![0_u8; usize::try_from(archive::MOST_BYTES).unwrap() + 1];
        assert_eq!(Anchors::read(&zipped(&[("bomb", &bomb)])), Err(AnchorError::Archive(ArchiveError::TooLarge)));
        let many: Vec<(String, &[u8])> = (0..=archive::MOST_FILES).map(|at| (at.to_string(), &b"x"[..])).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(name, content)| (name.as_str(), *content)).collect();
        assert!(matches!(Anchors::read(&zipped(&many)), Err(AnchorError::Archive(ArchiveError::TooManyFiles(65)))));
    }

    #[test]
    fn every_built_in_anchor_can_be_read_and_is_there_once() {
        for text in DIGICERT {
            assert_eq!(Anchors::read_pem(text).unwrap().0.len(), 1, "{text}");
        }
        let table = include_str!("anchors/README.md");
        let built_in = Anchors::digicert().0;
        assert_eq!(built_in.len(), DIGICERT.len());
        for anchor in &built_in {
            assert!(table.contains(&anchor.fingerprint().to_string()), "{}", anchor.facts().subject);
        }
        assert_eq!(table.matches(".pem |").count(), built_in.len());
    }
}
