//! The certificates of the simulated vendor, and of those who are not it. Every validity comes from a given moment, never from the
//! machine's clock. All keys are P-256.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber, string::Ia5String,
};

use crate::simulator::pem_form::PemForm;
use crate::trust::certificate::Certificate;
use crate::trust::timestamp::Timestamp;

/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the simulator could not make the certificate of {subject}: {source}; nothing that is trusted has changed")]
pub struct PkiError {
    subject: String,
    source: rcgen::Error,
}

/// From when to when a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first valid second.
    pub not_before: Timestamp,
    /// The last valid second.
    pub not_after: Timestamp,
}

impl Validity {
    /// From `start` on, for `lifetime`.
    #[must_use]
    pub fn of(start: Timestamp, lifetime: Duration) -> Self {
        Self { not_before: start, not_after: start.plus(lifetime) }
    }
}

/// What a leaf is to say of itself.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    /// The subject's commonName.
    pub common_name: String,
    /// The dNSName SANs; none leaves the extension out.
    pub dns_names: Vec<String>,
    /// When it is valid.
    pub validity: Validity,
    /// Whether it has the clientAuth EKU.
    pub client_auth: bool,
    /// Whether it claims to be a CA.
    pub ca: bool,
}

impl LeafRequest {
    /// A client certificate as the vendor's are: the name as CN and as dNSName, clientAuth.
    #[must_use]
    pub fn client(name: &str, validity: Validity) -> Self {
        Self { common_name: name.to_owned(), dns_names: vec![name.to_owned()], validity, client_auth: true, ca: false }
    }

    fn params(&self, organisation: &str) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(organisation, &self.common_name);
        for name in &self.dns_names {
            params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name.as_str())?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.client_auth {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        if self.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        set_validity(&mut params, self.validity);
        Ok(params)
    }
}

/// A certificate with its key and its issuers: what a client presents.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Vec<u8>,
    key: Vec<u8>,
    intermediates: Vec<Vec<u8>>,
    root: Option<Vec<u8>>,
    validity: Validity,
}

impl ClientCertificate {
    /// The leaf's DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key, DER of PKCS#8.
    #[must_use]
    pub fn key_der(&self) -> &[u8] {
        &self.key
    }

    /// The leaf as canonical PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        PemForm::Canonical.text(&[&self.der])
    }

    /// The key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        PemForm::Canonical.labelled("PRIVATE KEY", &self.key)
    }

    /// The leaf and its intermediates, leaf first: what a client sends in a handshake.
    #[must_use]
    pub fn presented(&self) -> Vec<Vec<u8>> {
        std::iter::once(&self.der).chain(&self.intermediates).cloned().collect()
    }

    /// The leaf, its intermediates and its root: what the vendor lists for DigiCert.
    #[must_use]
    pub fn with_issuers(&self) -> Vec<Vec<u8>> {
        self.presented().into_iter().chain(self.root.clone()).collect()
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl fmt::Debug for ClientCertificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("fingerprint", &crate::trust::fingerprint::Fingerprint::of(&self.der))
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// A CA that signs.
pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Itself and what is above it, the root last.
    path: Vec<Vec<u8>>,
    organisation: String,
    crl_url: Option<String>,
}

impl CertificateAuthority {
    /// A root, valid for thirty years around `now`. `crl_url` goes into everything that it signs.
    pub fn root(
        organisation: &str,
        common_name: &str,
        now: Timestamp,
        crl_url: Option<String>,
    ) -> Result<Self, PkiError> {
        let params = ca_params(organisation, common_name, BasicConstraints::Unconstrained, now);
        let issuer = KeyPair::generate()
            .and_then(|key| CertifiedIssuer::self_signed(params, key))
            .map_err(|source| failed(common_name, source))?;
        let path = vec![issuer.der().to_vec()];
        Ok(Self { issuer, path, organisation: organisation.to_owned(), crl_url })
    }

    /// An intermediate below `self` that may sign leaves alone (pathlen 0).
    pub fn intermediate(&self, common_name: &str, now: Timestamp, crl_url: Option<String>) -> Result<Self, PkiError> {
        let mut params = ca_params(&self.organisation, common_name, BasicConstraints::Constrained(0), now);
        self.mark(&mut params);
        let issuer = KeyPair::generate()
            .and_then(|key| CertifiedIssuer::signed_by(params, key, &self.issuer))
            .map_err(|source| failed(common_name, source))?;
        let path = std::iter::once(issuer.der().to_vec()).chain(self.path.clone()).collect();
        Ok(Self { issuer, path, organisation: self.organisation.clone(), crl_url })
    }

    /// Signs a leaf with a key of its own.
    pub fn issue(&self, organisation: &str, request: &LeafRequest) -> Result<ClientCertificate, PkiError> {
        let issue = || {
            let mut params = request.params(organisation)?;
            self.mark(&mut params);
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok((certificate, key))
        };
        let (certificate, key) = issue().map_err(|source| failed(&request.common_name, source))?;
        let above = self.path.len().saturating_sub(1);
        Ok(ClientCertificate {
            der: certificate.der().to_vec(),
            key: key.serialize_der(),
            intermediates: self.path.iter().take(above).cloned().collect(),
            root: self.path.last().cloned(),
            validity: request.validity,
        })
    }

    /// Signs a revocation list of these certificates (DER, and since when), in force for `validity`.
    pub fn revocation_list(
        &self,
        revoked: &[(Vec<u8>, Timestamp)],
        number: u64,
        validity: Validity,
    ) -> Result<Vec<u8>, PkiError> {
        // The dates of a certificate and of a list are of one type.
        let mut dates = CertificateParams::default();
        set_validity(&mut dates, validity);
        let entry = |der: &[u8], since: Timestamp| {
            let mut moment = CertificateParams::default();
            set_validity(&mut moment, Validity { not_before: since, not_after: since });
            let serial = Certificate::parse(der).ok()?.facts().serial_octets.clone();
            Some(RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: moment.not_before,
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
        };
        let list = CertificateRevocationListParams {
            this_update: dates.not_before,
            next_update: dates.not_after,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().filter_map(|(der, since)| entry(der, *since)).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).map_err(|source| failed("a revocation list", source))?;
        Ok(signed.der().to_vec())
    }

    /// Its own certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.issuer.der()
    }

    /// Its own certificate as canonical PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        PemForm::Canonical.text(&[self.der()])
    }

    /// Signs a certificate for a TLS server with these names (host names and addresses), valid from 2000 to 2099: the clients of the
    /// simulated servers live by their machine's clock, not by the simulated one.
    pub fn server_certificate(&self, names: &[String]) -> Result<ClientCertificate, PkiError> {
        let validity =
            Validity { not_before: Timestamp::from_unix(946_684_800), not_after: Timestamp::from_unix(4_102_444_799) };
        let issue = || {
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name = subject(&self.organisation, "Simulated server");
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.is_ca = IsCa::ExplicitNoCa;
            set_validity(&mut params, validity);
            self.mark(&mut params);
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok((certificate, key))
        };
        let (certificate, key) = issue().map_err(|source| failed("Simulated server", source))?;
        Ok(ClientCertificate {
            der: certificate.der().to_vec(),
            key: key.serialize_der(),
            intermediates: Vec::new(),
            root: self.path.last().cloned(),
            validity,
        })
    }

    /// A CA for the HTTPS of a simulated server, valid as long as what it signs.
    pub fn for_servers() -> Result<Self, PkiError> {
        Self::root("Simulator", "Simulated TLS CA", Timestamp::from_unix(2_524_608_000), None)
    }

    fn mark(&self, params: &mut CertificateParams) {
        params.use_authority_key_identifier_extension = true;
        if let Some(url) = &self.crl_url {
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.clone()] }];
        }
    }
}

impl fmt::Debug for CertificateAuthority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("organisation", &self.organisation).finish_non_exhaustive()
    }
}

/// The vendor's authorities, and one that is not the vendor's.
#[derive(Debug)]
pub struct Pki {
    /// The public root, like DigiCert Assured ID Root G2.
    pub digicert_root: CertificateAuthority,
    /// The public intermediate that signs the vendor's leaves, and strangers'.
    pub digicert_intermediate: CertificateAuthority,
    /// The region's private root, which signs its leaf directly.
    pub genesys_root: CertificateAuthority,
    /// A root that nobody has configured.
    pub other_root: CertificateAuthority,
}

impl Pki {
    /// Fresh authorities, valid around `now`. Below `crl_base` (an http URL) lie the CRLs that the certificates name.
    pub fn new(region: &str, now: Timestamp, crl_base: Option<&str>) -> Result<Self, PkiError> {
        let crl = |name: &str| crl_base.map(|base| format!("{}/{name}.crl", base.trim_end_matches('/')));
        let digicert_root = CertificateAuthority::root(
            "Simulated DigiCert Inc",
            "Simulated DigiCert Assured ID Root G2",
            now,
            crl("digicert-root"),
        )?;
        let digicert_intermediate = digicert_root.intermediate(
            "Simulated DigiCert Assured ID Client CA G2",
            now,
            crl("digicert-intermediate"),
        )?;
        Ok(Self {
            digicert_root,
            digicert_intermediate,
            genesys_root: CertificateAuthority::root(
                "Simulated Genesys Cloud",
                &format!("Simulated Genesys Cloud Root {region}"),
                now,
                crl("genesys-root"),
            )?,
            other_root: CertificateAuthority::root("Somebody Else", "Some Other Root", now, None)?,
        })
    }
}

/// A self-signed leaf: the same words as a real one, signed by nobody.
pub fn self_signed(organisation: &str, request: &LeafRequest) -> Result<ClientCertificate, PkiError> {
    let issue = || {
        let params = request.params(organisation)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok((certificate, key))
    };
    let (certificate, key) = issue().map_err(|source| failed(&request.common_name, source))?;
    Ok(ClientCertificate {
        der: certificate.der().to_vec(),
        key: key.serialize_der(),
        intermediates: Vec::new(),
        root: None,
        validity: request.validity,
    })
}

fn ca_params(organisation: &str, common_name: &str, constraint: BasicConstraints, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(organisation, common_name);
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(
        &mut params,
        Validity {
            not_before: now.minus(DAY.saturating_mul(50 * 365)),
            not_after: now.plus(DAY.saturating_mul(50 * 365)),
        },
    );
    params
}

fn subject(organisation: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::CommonName, common_name);
    name
}

/// X.509 knows the years 1950 to 9999; whatever lies outside is moved to the nearer end.
fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |at: Timestamp| {
        let seconds = at.unix().clamp(-631_152_000, 253_402_300_799);
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { epoch - distance } else { epoch + distance }
    };
    params.not_before = moment(validity.not_before);
    params.not_after = moment(validity.not_after);
}

fn failed(subject: &str, source: rcgen::Error) -> PkiError {
    PkiError { subject: subject.to_owned(), source }
}
