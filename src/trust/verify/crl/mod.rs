//! Certificate revocation lists (RFC 5280, 5): which certificates an issuer has revoked.
//!
//! ```text
//!  bytes ─▶ Crl (parsed, not believed) ─▶ believe, with the issuers of accepted paths ─▶ VerifiedCrl
//!                                                                                          │
//!          leaf and chain ──────────────────────────▶ revocations ◀── Freshest ◀───────────┘
//! ```
//!
//! A list may have sixteen megabytes and hundreds of thousands of entries, and two or three of them concern us. So it
//! stays the bytes that came: it is walked once to see that all of it can be read, and again for each serial number
//! that is asked for. Nothing is made of an entry that is not asked for.
//!
//! What we cannot process we refuse with a reason, as RFC 5280, 5.2 demands: delta lists, indirect lists, lists of some
//! reasons only, of attribute certificates, and unknown critical extensions.

mod belief;
pub mod given;
mod revocation;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use crate::trust::formats::certificate::{self, Certificate, SignatureKind};
use crate::trust::formats::der::{self, NotDer, Reader, Value};
use crate::trust::formats::distinguished_name;
use crate::trust::formats::pem;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

pub use belief::{Problem, Refused, VerifiedCrl, believe, lapsed};
pub use revocation::{Freshest, Reason, Revocation, past_revoked, revocations};

/// The largest list that is read. The largest that public CAs have published lie a little below ten megabytes.
pub const LARGEST: usize = 16 * 1024 * 1024;
/// The longest PEM of such a list: a third more for base64, and line ends.
const LARGEST_TEXT: usize = LARGEST / 2 * 3;
/// More lists than a file has that somebody hands in.
const MOST_OF_A_FILE: usize = 32;
/// More extensions than any list has.
const MOST_EXTENSIONS: usize = 32;

const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];

/// A list that could be read whole. Cloning is cheap.
#[derive(Clone)]
pub struct Crl {
    der: Bytes,
    /// The part that is signed.
    signed: Bytes,
    /// The entries, one after the other.
    entries: Bytes,
    /// The signature's AlgorithmIdentifier, without its outer tag and length.
    algorithm: Bytes,
    signature: Bytes,
    facts: Arc<CrlFacts>,
}

/// What a list says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFacts {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// Its issuer, RFC 2253 text.
    pub issuer: String,
    /// Its issuer, DER of the Name.
    pub issuer_der: Vec<u8>,
    /// When it was issued.
    pub this_update: Timestamp,
    /// By when the next one will have been.
    pub next_update: Option<Timestamp>,
    /// CRL number, big-endian without leading zeros.
    pub number: Option<Vec<u8>>,
    /// authorityKeyIdentifier's keyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// For which certificates it speaks.
    pub scope: Scope,
    /// Whether it only tells what changed since another.
    pub delta: bool,
    /// The signature algorithm, for people.
    pub signature: String,
    /// The signature algorithm, for policy.
    pub signature_kind: SignatureKind,
    /// How many certificates it revokes.
    pub count: usize,
    /// Critical extensions, of the list or of an entry, that nothing here processes, by OID.
    pub unknown_critical_extensions: Vec<String>,
}

/// For which of its issuer's certificates a list speaks (RFC 5280, 5.2.5).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The URLs of the distribution point whose list this is; with none and not `unnamed_point`, it is the issuer's
    /// list.
    pub urls: Vec<String>,
    /// Whether it is the list of a distribution point that is named otherwise than by a URL.
    pub unnamed_point: bool,
    /// Of which kind of certificates.
    pub kind: CoveredKind,
    /// Whether it speaks of certain reasons alone.
    pub only_some_reasons: bool,
    /// Whether it speaks for other issuers too.
    pub indirect: bool,
}

/// The kind of certificates for which a list speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CoveredKind {
    /// Every kind.
    #[default]
    All,
    /// onlyContainsUserCerts.
    Leaves,
    /// onlyContainsCACerts.
    Authorities,
    /// onlyContainsAttributeCerts.
    Attributes,
}

impl Scope {
    /// Whether it includes a certificate of the list's issuer: whether a serial number's absence says anything about
    /// it.
    #[must_use]
    pub fn includes(&self, certificate: &Certificate) -> bool {
        let facts = certificate.facts();
        let kind = match self.kind {
            CoveredKind::All => true,
            CoveredKind::Leaves => !facts.is_ca,
            CoveredKind::Authorities => facts.is_ca,
            CoveredKind::Attributes => false,
        };
        let point = self.urls.iter().any(|url| facts.crl_urls.contains(url));
        kind && !self.only_some_reasons && (point || (self.urls.is_empty() && !self.unnamed_point))
    }
}

/// The bytes were not a list that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a readable CRL: {0}")]
pub struct UnreadableCrl(pub String);

/// One entry, as it stands in the list.
struct RawEntry {
    since: Timestamp,
    reason: Option<u8>,
}

impl Crl {
    /// Reads a file that an operator hands in: DER, or PEM with some lists. Each for itself, at least one.
    pub fn read_all(bytes: impl Into<Bytes>) -> Vec<Result<Self, UnreadableCrl>> {
        let bytes = bytes.into();
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let count = if bytes.first() == Some(&der::SEQUENCE) { 1 } else { pem::count(text) };
        if !(2..=MOST_OF_A_FILE).contains(&count) {
            return vec![Self::read(bytes)];
        }
        pem::scan(text).into_iter().map(Self::of_block).collect()
    }

    /// Reads a list in either form: DER, or PEM with one `X509 CRL` block and nothing else that is a block.
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, UnreadableCrl> {
        let bytes = bytes.into();
        if bytes.first() == Some(&der::SEQUENCE) {
            return Self::parse(bytes);
        }
        if bytes.len() > LARGEST_TEXT {
            let length = bytes.len();
            return Err(UnreadableCrl(format!("{length} bytes are more than its PEM may have ({LARGEST_TEXT})")));
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        // Counted first: many blocks are refused without making one of them.
        let count = pem::count(text);
        let Some(block) = (count == 1).then(|| pem::scan(text)).and_then(|mut blocks| blocks.pop()) else {
            return Err(UnreadableCrl(format!("it is not DER, and has {count} PEM blocks where one is expected")));
        };
        Self::of_block(block)
    }

    fn of_block(block: pem::Block) -> Result<Self, UnreadableCrl> {
        match block.bytes {
            Ok(_) if block.label != "X509 CRL" => {
                Err(UnreadableCrl(format!("its PEM block is not an X509 CRL but {:?}", block.label)))
            }
            Ok(der) => Self::parse(der),
            Err(error) => Err(UnreadableCrl(format!("its PEM block cannot be read: {error}"))),
        }
    }

    /// Reads the DER of exactly one list; bytes after it are an error.
    pub fn parse(der: impl Into<Bytes>) -> Result<Self, UnreadableCrl> {
        let der = der.into();
        if der.len() > LARGEST {
            return Err(UnreadableCrl(format!("{} bytes are more than a list may have ({LARGEST})", der.len())));
        }
        let mut outer = Reader::only(&der, der::SEQUENCE).map_err(wrong("its outer SEQUENCE"))?.parts();
        let signed = outer.expect(der::SEQUENCE).map_err(wrong("its signed part"))?;
        let algorithm = outer.expect(der::SEQUENCE).map_err(wrong("its signature algorithm"))?;
        let signature = outer.expect(der::BIT_STRING).and_then(|bits| bits.octets()).map_err(wrong("its signature"))?;
        outer.end().map_err(wrong("what follows its signature"))?;
        let (facts, entries) = read_signed(&signed, &algorithm, Fingerprint::of(&der))?;
        let part = |part: &[u8]| der.slice_ref(part);
        Ok(Self {
            signed: part(signed.whole),
            entries: part(entries),
            algorithm: part(algorithm.content),
            signature: part(signature),
            facts: Arc::new(facts),
            der,
        })
    }

    /// The DER, as it came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What it says of itself.
    #[must_use]
    pub fn facts(&self) -> &CrlFacts {
        &self.facts
    }

    /// The entry of a serial number (its DER content octets), where the list has one.
    fn entry(&self, serial: &[u8]) -> Option<RawEntry> {
        let serial = significant(serial);
        let mut entries = Reader::new(&self.entries);
        // All of them could be read before; an error would be the end of the list.
        while let Ok(entry) = entries.next() {
            if entry.parts().next().is_ok_and(|number| significant(number.content) == serial) {
                return read_entry(&entry, &mut Vec::new()).ok().map(|(entry, _)| entry);
            }
        }
        None
    }
}

/// Short, because it is in structures that tests and logs print.
impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({} of {}, {} entries)", self.facts.issuer, self.facts.this_update, self.facts.count)
    }
}

/// The octets of an INTEGER without redundant leading ones. DER has none, but not every CA writes DER, and `00 01` in a
/// list must find `01` in a certificate.
fn significant(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets
        && let Some(second) = rest.first()
        && ((*first == 0 && *second < 0x80) || (*first == 0xff && *second >= 0x80))
    {
        octets = rest;
    }
    octets
}

fn wrong(what: &'static str) -> impl Fn(NotDer) -> UnreadableCrl {
    move |NotDer| UnreadableCrl(format!("{what} is malformed, missing or cut off"))
}

/// What the signed part says, and its entries in place. `algorithm` is the one that stands beside the signature.
// Long because it is the structure of RFC 5280, field after field.
fn read_signed<'a>(
    signed: &Value<'a>,
    algorithm: &Value<'_>,
    fingerprint: Fingerprint,
) -> Result<(CrlFacts, &'a [u8]), UnreadableCrl> {
    let mut parts = signed.parts();
    let version = parts.optional(der::INTEGER).map_err(wrong("its version"))?;
    if version.is_some_and(|version| version.content != [1]) {
        return Err(UnreadableCrl("it is of a version that RFC 5280 does not know".into()));
    }
    if parts.expect(der::SEQUENCE).map_err(wrong("its signed algorithm"))?.whole != algorithm.whole {
        return Err(UnreadableCrl("it names two different signature algorithms".into()));
    }
    let issuer_der = parts.expect(der::SEQUENCE).map_err(wrong("its issuer"))?.whole;
    let this_update = parts.next().and_then(|value| value.time()).map_err(wrong("its thisUpdate"))?;
    let next_update = match parts.clone().next() {
        Ok(Value { tag: der::UTC_TIME | der::GENERALIZED_TIME, .. }) => {
            Some(parts.next().and_then(|value| value.time()).map_err(wrong("its nextUpdate"))?)
        }
        _ => None,
    };
    if next_update.is_some_and(|next| next < this_update) {
        return Err(UnreadableCrl("its nextUpdate is before its thisUpdate".into()));
    }
    let entries = parts.optional(der::SEQUENCE).map_err(wrong("its list of entries"))?;
    let entries = entries.map_or(&[][..], |entries| entries.content);
    let extensions = parts.optional(0xa0).map_err(wrong("its extensions"))?;
    parts.end().map_err(wrong("what follows its extensions"))?;
    if version.is_none() && extensions.is_some() {
        return Err(UnreadableCrl("it has extensions, but is of version 1".into()));
    }
    let issuer = match X509Name::from_der(issuer_der) {
        Ok(([], name)) => distinguished_name::rfc2253(&name),
        _ => return Err(UnreadableCrl("its issuer is not a name".into())),
    };
    let (signature, signature_kind) = match AlgorithmIdentifier::from_der(algorithm.whole) {
        Ok((_, algorithm)) => certificate::signature(&algorithm),
        Err(_) => return Err(UnreadableCrl("its signature algorithm is malformed".into())),
    };
    let mut facts = CrlFacts {
        fingerprint,
        issuer,
        issuer_der: issuer_der.to_vec(),
        this_update,
        next_update,
        number: None,
        authority_key_id: None,
        scope: Scope::default(),
        delta: false,
        signature,
        signature_kind,
        count: 0,
        unknown_critical_extensions: Vec::new(),
    };
    if let Some(extensions) = extensions {
        let extensions = Reader::only(extensions.content, der::SEQUENCE).map_err(wrong("its extensions"))?;
        read_extensions(&extensions, &mut facts)?;
    }
    walk_entries(entries, &mut facts)?;
    Ok((facts, entries))
}

/// Every entry can be read, or the list cannot.
fn walk_entries(entries: &[u8], facts: &mut CrlFacts) -> Result<(), UnreadableCrl> {
    let mut entries = Reader::new(entries);
    while !entries.is_empty() {
        facts.count = facts.count.saturating_add(1);
        let (_, indirect) = entries
            .expect(der::SEQUENCE)
            .and_then(|entry| read_entry(&entry, &mut facts.unknown_critical_extensions))
            .map_err(|NotDer| UnreadableCrl(format!("its entry {} is malformed or cut off", facts.count)))?;
        facts.scope.indirect |= indirect;
    }
    Ok(())
}

/// An entry, and whether it names an issuer of its own, as those of indirect lists do.
fn read_entry(entry: &Value<'_>, unknown: &mut Vec<String>) -> Result<(RawEntry, bool), NotDer> {
    let mut parts = entry.parts();
    let serial = parts.expect(der::INTEGER)?.content;
    let since = parts.next()?.time()?;
    if serial.is_empty() {
        return Err(NotDer);
    }
    let mut read = RawEntry { since, reason: None };
    let mut indirect = false;
    if let Some(extensions) = parts.optional(der::SEQUENCE)? {
        let mut extensions = extensions.parts();
        while !extensions.is_empty() {
            let extension = Extension::read(&extensions.expect(der::SEQUENCE)?)?;
            match extension.oid {
                REASON_CODE => match Reader::only(extension.content, der::ENUMERATED)?.content {
                    [code] => read.reason = Some(*code),
                    _ => return Err(NotDer),
                },
                CERTIFICATE_ISSUER => indirect = true,
                INVALIDITY_DATE => {}
                _ => extension.note_if_critical(unknown),
            }
        }
    }
    parts.end()?;
    Ok((read, indirect))
}

struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    content: &'a [u8],
}

impl<'a> Extension<'a> {
    fn read(extension: &Value<'a>) -> Result<Self, NotDer> {
        let mut parts = extension.parts();
        let oid = parts.expect(der::OID)?.content;
        let critical = parts.flag(der::BOOLEAN)?;
        let content = parts.expect(der::OCTET_STRING)?.content;
        parts.end()?;
        Ok(Self { oid, critical, content })
    }

    /// Hundreds of thousands of entries could each name another: a few are enough to refuse the list.
    fn note_if_critical(&self, unknown: &mut Vec<String>) {
        if self.critical && unknown.len() < 8 {
            let oid = oid_text(self.oid);
            if !unknown.contains(&oid) {
                unknown.push(oid);
            }
        }
    }
}

fn oid_text(oid: &[u8]) -> String {
    Oid::new(Cow::Borrowed(oid)).to_id_string().chars().take(100).collect()
}

fn read_extensions(extensions: &Value<'_>, facts: &mut CrlFacts) -> Result<(), UnreadableCrl> {
    let mut seen = Vec::new();
    let mut extensions = extensions.parts();
    while !extensions.is_empty() {
        let extension = extensions
            .expect(der::SEQUENCE)
            .and_then(|extension| Extension::read(&extension))
            .map_err(wrong("one of its extensions"))?;
        if seen.len() >= MOST_EXTENSIONS || seen.contains(&extension.oid) {
            return Err(UnreadableCrl("it has an extension twice, or too many".into()));
        }
        seen.push(extension.oid);
        match extension.oid {
            CRL_NUMBER => facts.number = Some(read_number(extension.content).map_err(wrong("its CRL number"))?),
            AUTHORITY_KEY_IDENTIFIER => {
                facts.authority_key_id = read_key_id(extension.content).map_err(wrong("its authorityKeyIdentifier"))?;
            }
            ISSUING_DISTRIBUTION_POINT => {
                facts.scope = read_scope(extension.content).map_err(wrong("its issuingDistributionPoint"))?;
            }
            // Critical by the standard; whatever a CA writes, it is not a complete list.
            DELTA_CRL_INDICATOR => facts.delta = true,
            _ => extension.note_if_critical(&mut facts.unknown_critical_extensions),
        }
    }
    Ok(())
}

/// At most 20 octets (RFC 5280, 5.2.3).
fn read_number(content: &[u8]) -> Result<Vec<u8>, NotDer> {
    let octets = Reader::only(content, der::INTEGER)?.content;
    let number: Vec<u8> = octets.iter().copied().skip_while(|octet| *octet == 0).collect();
    if octets.first().is_some_and(|first| *first < 0x80) && number.len() <= 20 { Ok(number) } else { Err(NotDer) }
}

fn read_key_id(content: &[u8]) -> Result<Option<Vec<u8>>, NotDer> {
    let mut parts = Reader::only(content, der::SEQUENCE)?.parts();
    Ok(parts.optional(0x80)?.map(|id| id.content.to_vec()))
}

fn read_scope(content: &[u8]) -> Result<Scope, NotDer> {
    let mut scope = Scope::default();
    let mut parts = Reader::only(content, der::SEQUENCE)?.parts();
    if let Some(point) = parts.optional(0xa0)? {
        let mut point = point.parts();
        let name = point.next()?;
        point.end()?;
        let mut names = name.parts();
        match name.tag {
            0xa0 => {
                while !names.is_empty() {
                    let name = names.next()?;
                    if let (0x86, Ok(url)) = (name.tag, std::str::from_utf8(name.content)) {
                        scope.urls.push(url.to_owned());
                    }
                }
            }
            0xa1 => {}
            _ => return Err(NotDer),
        }
        scope.urls.sort();
        scope.urls.dedup();
        scope.unnamed_point = scope.urls.is_empty();
    }
    let (leaves, authorities) = (parts.flag(0x81)?, parts.flag(0x82)?);
    scope.only_some_reasons = parts.optional(0x83)?.is_some();
    scope.indirect = parts.flag(0x84)?;
    let attributes = parts.flag(0x85)?;
    parts.end()?;
    scope.kind = match (leaves, authorities, attributes) {
        (false, false, false) => CoveredKind::All,
        (true, false, false) => CoveredKind::Leaves,
        (false, true, false) => CoveredKind::Authorities,
        (false, false, true) => CoveredKind::Attributes,
        // At most one of them may be true.
        _ => return Err(NotDer),
    };
    Ok(scope)
}
