//! A parsed certificate and its facts. Parsed is not verified: see [`crate::trust::verify`].

use std::fmt;
use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, GeneralSubtree, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::trust::formats::distinguished_name;
use crate::trust::formats::pem;
use crate::trust::values::fingerprint::{Fingerprint, hex};
use crate::trust::values::timestamp::Timestamp;

/// The largest certificate that is read. Real ones have one to four kilobytes.
pub const LARGEST: usize = 64 * 1024;

/// A certificate that could be read, with the facts that policy, rendering and people need. Cloning is cheap.
/// Ordered and compared by the facts, of which the fingerprint is the first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    facts: Arc<Facts>,
    der: Arc<[u8]>,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Facts {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// SHA-1 of the DER in lower-case hex (nginx's `$ssl_client_fingerprint`).
    pub sha1: String,
    /// The X.509 version, 3 for every certificate of this century.
    pub version: u32,
    /// Serial number in upper-case hex, as its DER bytes stand.
    pub serial: String,
    /// Serial number, the content octets of its DER.
    pub serial_octets: Vec<u8>,
    /// Subject, RFC 2253 text (last RDN first), as OpenSSL prints it.
    pub subject: String,
    /// Subject, DER of the Name.
    pub subject_der: Vec<u8>,
    /// Issuer, RFC 2253 text, as OpenSSL prints it.
    pub issuer: String,
    /// Issuer, DER of the Name.
    pub issuer_der: Vec<u8>,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second.
    pub not_after: Timestamp,
    /// Every commonName of the subject, in DER order.
    pub common_names: Vec<String>,
    /// Every dNSName of the SAN.
    pub dns_names: Vec<String>,
    /// The SAN's other names, for people: `IP 192.0.2.1`, `email a@b`, `URI ...`.
    pub other_names: Vec<String>,
    /// basicConstraints cA.
    pub is_ca: bool,
    /// basicConstraints pathLenConstraint.
    pub path_len: Option<u32>,
    /// The key; for people `RSA 2048`, `EC P-256`, `Ed25519`.
    pub key: KeyKind,
    /// SHA-256 of the SubjectPublicKeyInfo: the same key in two certificates has the same.
    pub key_fingerprint: Fingerprint,
    /// The signature algorithm, for people: `SHA-256 with RSA`.
    pub signature: String,
    /// The signature algorithm, for policy.
    pub signature_kind: SignatureKind,
    /// Key usages by their names in RFC 5280; absent where the extension is.
    pub key_usages: Option<Vec<&'static str>>,
    /// Extended key usages, for people: `clientAuth`, `serverAuth`, or the OID.
    pub extended_key_usages: Vec<String>,
    /// CRL distribution points with a URL.
    pub crl_urls: Vec<String>,
    /// subjectKeyIdentifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// authorityKeyIdentifier's keyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// authorityKeyIdentifier's authorityCertSerialNumber, the content octets of its DER.
    pub authority_serial: Option<Vec<u8>>,
    /// authorityKeyIdentifier's authorityCertIssuer, DER of the first Name in it.
    pub authority_issuer_der: Option<Vec<u8>>,
    /// Whether Netscape's certificate type, where it has one, has SSL client.
    pub netscape_client: Option<bool>,
    /// Its name constraints, where it has any.
    pub name_constraints: Option<DnsConstraints>,
    /// Critical extensions that nothing here processes, by OID.
    pub unknown_critical_extensions: Vec<String>,
    /// Extensions that it has more than once, by OID; RFC 5280, 4.2 forbids it.
    pub duplicate_extensions: Vec<String>,
    /// Extensions whose content could not be read, by OID, whether policy reads them or not.
    pub malformed_extensions: Vec<String>,
}

impl Facts {
    /// Whether subject and issuer are the same name (RFC 5280, 3.2: *self-issued*).
    #[must_use]
    pub fn self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }
}

/// The host names of a certificate's name constraints; webpki checks these and all other kinds against SANs, but a
/// common name that serves as identity is for us to check.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsConstraints {
    /// Host names must be within one of these, where there are any.
    pub permitted: Vec<String>,
    /// Host names must be within none of these.
    pub excluded: Vec<String>,
}

impl DnsConstraints {
    /// Whether they allow a host name (RFC 5280, 4.2.1.10): equal to the base, or below it.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let within = |base: &String| {
            let base = base.to_ascii_lowercase();
            base.is_empty() || name == base || name.strip_suffix(&base).is_some_and(|below| below.ends_with('.'))
        };
        let permitted = self.permitted.is_empty() || self.permitted.iter().any(within);
        permitted && !self.excluded.iter().any(within)
    }
}

/// A public key, as far as policy distinguishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA of any length.
    Rsa {
        /// Length of the modulus in bits.
        bits: usize,
        /// Whether modulus and exponent are what ring and RFC 8017 call a public key: both odd, 3 ≤ e < 2^33.
        sound: bool,
    },
    /// A named curve with an uncompressed point.
    Ec(Curve),
    /// Ed25519.
    Ed25519,
    /// Anything else, described for people.
    Other(String),
}

/// The curves that can be named in policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// Each, by NIST's name for it.
    pub const ALL: [(&'static str, Self); 3] = [("P-256", Self::P256), ("P-384", Self::P384), ("P-521", Self::P521)];
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits, .. } => write!(f, "RSA {bits}"),
            Self::Ec(Curve::P256) => f.write_str("EC P-256"),
            Self::Ec(Curve::P384) => f.write_str("EC P-384"),
            Self::Ec(Curve::P521) => f.write_str("EC P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// How much a signature algorithm is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureKind {
    /// SHA-256 or better with RSA, ECDSA or Ed25519.
    Sound,
    /// MD2, MD5 or SHA-1: forgeable.
    Weak,
    /// Not known to us.
    Unknown,
}

/// The DER was not a certificate that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a readable certificate: {0}")]
pub struct Unreadable(pub String);

impl Certificate {
    /// Reads exactly one certificate; bytes after it are an error.
    pub fn parse(der: &[u8]) -> Result<Self, Unreadable> {
        if der.len() > LARGEST {
            return Err(Unreadable(format!("{} bytes are more than a certificate has ({LARGEST})", der.len())));
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| Unreadable(brief(&error)))?;
        if !rest.is_empty() {
            return Err(Unreadable(format!("{} bytes follow its end", rest.len())));
        }
        let facts = read_facts(der, &parsed);
        Ok(Self { der: der.into(), facts: Arc::new(facts) })
    }

    /// The DER, as it came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Canonical PEM: LF, 64 columns, one final newline.
    #[must_use]
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The SHA-1 of its canonical PEM in lower-case hex (Apache's `sha1(%{SSL_CLIENT_CERT})`).
    #[must_use]
    pub fn pem_sha1(&self) -> String {
        hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, self.pem().as_bytes()).as_ref())
    }

    /// What was read from it.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The SHA-256 of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// The names by which a leaf is identified: its dNSName SANs, or its common names where it has none.
    #[must_use]
    pub fn identity_names(&self) -> &[String] {
        if self.facts.dns_names.is_empty() { &self.facts.common_names } else { &self.facts.dns_names }
    }
}

/// Short, because it is in structures that tests and logs print.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} {})", self.fingerprint().short(), self.facts.subject)
    }
}

/// The parser's errors quote their input; a hundred characters say enough.
fn brief(error: &impl fmt::Display) -> String {
    error.to_string().chars().filter(|character| character.is_ascii_graphic() || *character == ' ').take(100).collect()
}

fn read_facts(der: &[u8], parsed: &X509Certificate<'_>) -> Facts {
    let (signature, signature_kind) = signature(&parsed.signature_algorithm);
    let mut facts = Facts {
        fingerprint: Fingerprint::of(der),
        sha1: hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
        version: parsed.version().0.saturating_add(1),
        serial: hex(parsed.raw_serial()).to_ascii_uppercase(),
        serial_octets: parsed.raw_serial().to_vec(),
        subject: distinguished_name::rfc2253(parsed.subject()),
        subject_der: parsed.subject().as_raw().to_vec(),
        issuer: distinguished_name::rfc2253(parsed.issuer()),
        issuer_der: parsed.issuer().as_raw().to_vec(),
        not_before: Timestamp::from_unix(parsed.validity().not_before.timestamp()),
        not_after: Timestamp::from_unix(parsed.validity().not_after.timestamp()),
        common_names: parsed
            .subject()
            .iter_common_name()
            .filter_map(|attribute| distinguished_name::text_of(attribute.attr_value()))
            .collect(),
        dns_names: Vec::new(),
        other_names: Vec::new(),
        is_ca: false,
        path_len: None,
        key: key_kind(parsed.public_key()),
        key_fingerprint: Fingerprint::of(parsed.public_key().raw),
        signature,
        signature_kind,
        key_usages: None,
        extended_key_usages: Vec::new(),
        crl_urls: Vec::new(),
        subject_key_id: None,
        authority_key_id: None,
        authority_serial: None,
        authority_issuer_der: None,
        netscape_client: None,
        name_constraints: None,
        unknown_critical_extensions: Vec::new(),
        duplicate_extensions: Vec::new(),
        malformed_extensions: Vec::new(),
    };
    let mut seen = Vec::new();
    for extension in parsed.extensions() {
        if seen.contains(&&extension.oid) {
            push_once(&mut facts.duplicate_extensions, extension.oid.to_id_string());
        }
        seen.push(&extension.oid);
        read_extension(&mut facts, extension);
    }
    facts
}

fn push_once(list: &mut Vec<String>, entry: String) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}

// Long because it is a match with an arm for each extension that is read.
fn read_extension(facts: &mut Facts, extension: &X509Extension<'_>) {
    let mut processed = true;
    let mut malformed = false;
    match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(constraints) => {
            facts.is_ca = constraints.ca;
            facts.path_len = constraints.path_len_constraint;
        }
        ParsedExtension::KeyUsage(usage) => {
            let names = KEY_USAGES.iter().enumerate();
            facts.key_usages =
                Some(names.filter(|(bit, _)| usage.flags >> bit & 1 == 1).map(|(_, name)| *name).collect());
        }
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let named = [
                (usage.client_auth, "clientAuth"),
                (usage.server_auth, "serverAuth"),
                (usage.email_protection, "emailProtection"),
                (usage.code_signing, "codeSigning"),
                (usage.time_stamping, "timeStamping"),
                (usage.ocsp_signing, "OCSPSigning"),
                (usage.any, "anyExtendedKeyUsage"),
            ];
            let named = named.into_iter().filter(|(present, _)| *present).map(|(_, name)| name.to_owned());
            facts.extended_key_usages = named.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect();
            malformed = facts.extended_key_usages.is_empty();
        }
        ParsedExtension::SubjectAlternativeName(alternative) => {
            malformed = alternative.general_names.is_empty();
            for name in &alternative.general_names {
                malformed |= !read_name(facts, name);
            }
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            for point in points.iter() {
                if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
                    let url = |name: &GeneralName<'_>| {
                        if let GeneralName::URI(url) = name { Some((*url).to_owned()) } else { None }
                    };
                    facts.crl_urls.extend(names.iter().filter_map(url));
                }
            }
        }
        ParsedExtension::NameConstraints(constraints) => {
            let dns_name = |subtree: &GeneralSubtree<'_>| match &subtree.base {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            };
            let dns_names = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| -> Vec<String> {
                subtrees.iter().flatten().filter_map(dns_name).collect()
            };
            let read = DnsConstraints {
                permitted: dns_names(&constraints.permitted_subtrees),
                excluded: dns_names(&constraints.excluded_subtrees),
            };
            // A constraint for hosts has no leading period, unlike one for URIs (RFC 5280, 4.2.1.10); readers differ on
            // it.
            malformed = read.permitted.iter().chain(&read.excluded).any(|name| name.starts_with('.'));
            facts.name_constraints = Some(read);
        }
        ParsedExtension::SubjectKeyIdentifier(id) => {
            facts.subject_key_id = Some(id.0.to_vec());
            processed = false;
        }
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            facts.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            facts.authority_serial = id.authority_cert_serial.map(<[u8]>::to_vec);
            facts.authority_issuer_der = id.authority_cert_issuer.iter().flatten().find_map(|name| match name {
                GeneralName::DirectoryName(name) => Some(name.as_raw().to_vec()),
                _ => None,
            });
            processed = false;
        }
        ParsedExtension::NSCertType(kind) => {
            facts.netscape_client = Some(kind.ssl_client());
            processed = false;
        }
        ParsedExtension::ParseError { .. } => {
            malformed = true;
            processed = false;
        }
        _ => processed = false,
    }
    let oid = extension.oid.to_id_string();
    if malformed {
        push_once(&mut facts.malformed_extensions, oid.clone());
    }
    if extension.critical && !processed {
        push_once(&mut facts.unknown_critical_extensions, oid);
    }
}

/// In the order of their bits (RFC 5280, 4.2.1.3).
const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

/// Files one name of the SAN; false where it could not be read.
fn read_name(facts: &mut Facts, name: &GeneralName<'_>) -> bool {
    let other = match name {
        GeneralName::DNSName(name) => {
            facts.dns_names.push((*name).to_owned());
            return name.is_ascii();
        }
        GeneralName::RFC822Name(address) => format!("email {address}"),
        GeneralName::URI(url) => format!("URI {url}"),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(bytes), _) => format!("IP {}", std::net::Ipv4Addr::from(bytes)),
            (_, Ok(bytes)) => format!("IP {}", std::net::Ipv6Addr::from(bytes)),
            _ => return false,
        },
        GeneralName::DirectoryName(name) => format!("DN {}", distinguished_name::rfc2253(name)),
        GeneralName::RegisteredID(oid) => format!("OID {}", oid.to_id_string()),
        GeneralName::OtherName(oid, _) => format!("otherName {}", oid.to_id_string()),
        GeneralName::X400Address(_) => "X.400 address".to_owned(),
        GeneralName::EDIPartyName(_) => "EDI party name".to_owned(),
        GeneralName::Invalid(..) => return false,
    };
    facts.other_names.push(other);
    true
}

fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => rsa_key(rsa.modulus, rsa.exponent),
            _ => KeyKind::Other("RSA, unreadable".into()),
        },
        "1.2.840.10045.2.1" => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.clone().oid().ok());
            let (curve, length) = match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => (Curve::P256, 65),
                Some("1.3.132.0.34") => (Curve::P384, 97),
                Some("1.3.132.0.35") => (Curve::P521, 133),
                Some("1.2.840.10045.3.1.1") => return KeyKind::Other("EC P-192".into()),
                Some("1.3.132.0.33") => return KeyKind::Other("EC P-224".into()),
                Some("1.3.132.0.10") => return KeyKind::Other("EC secp256k1".into()),
                Some(other) => return KeyKind::Other(format!("EC on curve {other}")),
                None => return KeyKind::Other("EC with explicit parameters".into()),
            };
            let point = &key.subject_public_key.data;
            if point.first() == Some(&4) && point.len() == length {
                KeyKind::Ec(curve)
            } else {
                KeyKind::Other(format!("{} with a malformed or compressed point", KeyKind::Ec(curve)))
            }
        }
        "1.3.101.112" if key.subject_public_key.data.len() == 32 => KeyKind::Ed25519,
        "1.3.101.113" => KeyKind::Other("Ed448".into()),
        "1.2.840.10040.4.1" => KeyKind::Other("DSA".into()),
        "1.2.840.113549.1.1.10" => KeyKind::Other("RSA restricted to PSS".into()),
        other => KeyKind::Other(format!("key of algorithm {other}")),
    }
}

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> KeyKind {
    let significant = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    // The first byte of a positive DER integer has its highest bit clear.
    let positive = [modulus, exponent].iter().all(|bytes| bytes.first().is_some_and(|byte| *byte < 0x80));
    let (modulus, exponent) = (significant(modulus), significant(exponent));
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = modulus.len().saturating_mul(8).saturating_sub(usize::try_from(leading).unwrap_or(0));
    let value = exponent.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte & 1 == 1);
    let sound = positive && odd(&modulus) && odd(&exponent) && exponent.len() <= 5 && (3..1 << 33).contains(&value);
    KeyKind::Rsa { bits, sound }
}

/// Signature algorithms by their OID, RSASSA-PSS by that of its hash: the name for people, and what each is worth.
const SIGNATURES: [(&str, &str, SignatureKind); 22] = [
    ("1.2.840.113549.1.1.11", "SHA-256 with RSA", SignatureKind::Sound),
    ("1.2.840.113549.1.1.12", "SHA-384 with RSA", SignatureKind::Sound),
    ("1.2.840.113549.1.1.13", "SHA-512 with RSA", SignatureKind::Sound),
    ("RSASSA-PSS with hash 2.16.840.1.101.3.4.2.1", "SHA-256 with RSASSA-PSS", SignatureKind::Sound),
    ("RSASSA-PSS with hash 2.16.840.1.101.3.4.2.2", "SHA-384 with RSASSA-PSS", SignatureKind::Sound),
    ("RSASSA-PSS with hash 2.16.840.1.101.3.4.2.3", "SHA-512 with RSASSA-PSS", SignatureKind::Sound),
    ("1.2.840.10045.4.3.2", "SHA-256 with ECDSA", SignatureKind::Sound),
    ("1.2.840.10045.4.3.3", "SHA-384 with ECDSA", SignatureKind::Sound),
    ("1.2.840.10045.4.3.4", "SHA-512 with ECDSA", SignatureKind::Sound),
    ("1.3.101.112", "Ed25519", SignatureKind::Sound),
    ("1.2.840.113549.1.1.5", "SHA-1 with RSA", SignatureKind::Weak),
    ("1.3.14.3.2.29", "SHA-1 with RSA", SignatureKind::Weak),
    ("RSASSA-PSS with hash 1.3.14.3.2.26", "SHA-1 with RSASSA-PSS", SignatureKind::Weak),
    ("1.2.840.10045.4.1", "SHA-1 with ECDSA", SignatureKind::Weak),
    ("1.2.840.10040.4.3", "SHA-1 with DSA", SignatureKind::Weak),
    ("1.3.14.3.2.27", "SHA-1 with DSA", SignatureKind::Weak),
    ("1.2.840.113549.1.1.4", "MD5 with RSA", SignatureKind::Weak),
    ("1.2.840.113549.1.1.2", "MD2 with RSA", SignatureKind::Weak),
    ("1.2.840.113549.1.1.14", "SHA-224 with RSA", SignatureKind::Unknown),
    ("1.2.840.10045.4.3.1", "SHA-224 with ECDSA", SignatureKind::Unknown),
    ("2.16.840.1.101.3.4.3.2", "SHA-256 with DSA", SignatureKind::Unknown),
    ("1.3.101.113", "Ed448", SignatureKind::Unknown),
];

/// The signature algorithms that are sound, as [`Facts::signature`] names them.
pub fn sound_signatures() -> impl Iterator<Item = &'static str> {
    SIGNATURES.into_iter().filter(|(.., kind)| *kind == SignatureKind::Sound).map(|(_, name, _)| name)
}

/// A signature algorithm in words, and what it is worth. RSASSA-PSS names its hash in the parameters; without any it is
/// SHA-1 (RFC 4055, 3.1).
pub(in crate::trust) fn signature(algorithm: &AlgorithmIdentifier<'_>) -> (String, SignatureKind) {
    let mut oid = algorithm.algorithm.to_id_string();
    if oid == "1.2.840.113549.1.1.10" {
        let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) else {
            return ("RSASSA-PSS with unreadable parameters".to_owned(), SignatureKind::Unknown);
        };
        oid = format!("RSASSA-PSS with hash {}", parameters.hash_algorithm_oid().to_id_string());
    }
    match SIGNATURES.into_iter().find(|(known, ..)| *known == oid) {
        Some((_, name, kind)) => (name.to_owned(), kind),
        None if oid.starts_with("RSASSA-PSS") => (oid, SignatureKind::Unknown),
        None => (format!("algorithm {oid}"), SignatureKind::Unknown),
    }
}
