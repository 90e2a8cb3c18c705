//! The certificates of the simulated vendor and of impostors. Every validity comes from a given moment, never from the
//! machine's clock. All keys are P-256.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber,
};

use crate::simulator::pem_form::PemForm;
use crate::trust::formats::certificate::Certificate;
use crate::trust::values::timestamp::Timestamp;

/// 86,400 seconds.
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

/// What a leaf says of itself.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    /// The subject's commonName.
    pub common_name: String,
    /// The dNSName SANs; none leaves the extension out.
    pub dns_names: Vec<String>,
    /// From when to when it is valid.
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
        let mut params = CertificateParams::new(self.dns_names.as_slice())?;
        params.distinguished_name = subject(organisation, &self.common_name);
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
        Ok(params)
    }
}

/// A certificate with its key and its issuers: what a client presents.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Vec<u8>,
    key: Vec<u8>,
    /// The root last; empty where it is self-signed.
    issuers: Vec<Vec<u8>>,
    validity: Validity,
}

impl ClientCertificate {
    /// The leaf itself, DER.
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

    /// The key as canonical PEM of PKCS#8.
    #[must_use]
    pub fn key_pem(&self) -> String {
        PemForm::Canonical.labelled("PRIVATE KEY", &self.key)
    }

    /// The leaf and its intermediates, leaf first: what a client sends in a handshake.
    #[must_use]
    pub fn presented(&self) -> Vec<Vec<u8>> {
        let intermediates = self.issuers.len().saturating_sub(1);
        std::iter::once(&self.der).chain(self.issuers.iter().take(intermediates)).cloned().collect()
    }

    /// The leaf, its intermediates and its root: what the vendor lists for DigiCert.
    #[must_use]
    pub fn with_issuers(&self) -> Vec<Vec<u8>> {
        std::iter::once(&self.der).chain(&self.issuers).cloned().collect()
    }

    /// From when to when it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl fmt::Debug for ClientCertificate {
    /// Without the private key, which must not end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("fingerprint", &crate::trust::values::fingerprint::Fingerprint::of(&self.der))
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// A CA with its key: it signs leaves, intermediates and revocation lists.
pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Itself and what is above it, the root last.
    path: Vec<Vec<u8>>,
    organisation: String,
    crl_url: Option<String>,
    names_its_key: bool,
}

impl CertificateAuthority {
    /// A root, valid for fifty years before and after `now`. `crl_url` goes into everything that it signs.
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
        Ok(Self { issuer, path, organisation: organisation.to_owned(), crl_url, names_its_key: true })
    }

    /// An intermediate below `self` that may sign leaves alone (pathlen 0).
    pub fn intermediate(&self, common_name: &str, now: Timestamp, crl_url: Option<String>) -> Result<Self, PkiError> {
        let mut params = ca_params(&self.organisation, common_name, BasicConstraints::Constrained(0), now);
        self.mark(&mut params);
        let issuer = KeyPair::generate()
            .and_then(|key| CertifiedIssuer::signed_by(params, key, &self.issuer))
            .map_err(|source| failed(common_name, source))?;
        let path = std::iter::once(issuer.der().to_vec()).chain(self.path.clone()).collect();
        Ok(Self { issuer, path, organisation: self.organisation.clone(), crl_url, names_its_key: true })
    }

    /// Signs a leaf with a key of its own.
    pub fn issue(&self, organisation: &str, request: &LeafRequest) -> Result<ClientCertificate, PkiError> {
        sign(request.params(organisation), request.validity, Some(self))
            .map_err(|source| failed(&request.common_name, source))
    }

    /// Signs a revocation list of these certificates (DER, and since when), in force for `validity`.
    pub fn revocation_list(
        &self,
        revoked: &[(Vec<u8>, Timestamp)],
        number: u64,
        validity: Validity,
    ) -> Result<Vec<u8>, PkiError> {
        let entry = |der: &[u8], since: Timestamp| {
            let serial = Certificate::parse(der).ok()?.facts().serial_octets.clone();
            Some(RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: dated(CertificateParams::default(), Validity::of(since, DAY)).not_before,
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
        };
        // A list's dates are of the same type as a certificate's.
        let dates = dated(CertificateParams::default(), validity);
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

    /// Its own certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.issuer.der()
    }

    /// Its own certificate as canonical PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        PemForm::Canonical.text(&[self.der()])
    }

    /// Signs a certificate for a TLS server with these names (host names and addresses), valid from 2000 to 2099: the
    /// clients of the simulated servers live by their machine's clock, not by the simulated one.
    pub fn server_certificate(&self, names: &[String]) -> Result<ClientCertificate, PkiError> {
        let validity =
            Validity { not_before: Timestamp::from_unix(946_684_800), not_after: Timestamp::from_unix(4_102_444_799) };
        let params = CertificateParams::new(names).map(|mut params| {
            params.distinguished_name = subject(&self.organisation, "Simulated server");
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.is_ca = IsCa::ExplicitNoCa;
            params
        });
        sign(params, validity, Some(self)).map_err(|source| failed("Simulated server", source))
    }

    /// A CA for the HTTPS of a simulated server, valid as long as what it signs.
    pub fn for_servers() -> Result<Self, PkiError> {
        Self::root("Simulator", "Simulated TLS CA", Timestamp::from_unix(2_524_608_000), None)
    }

    /// The same, but what it signs does not say whose key signed it.
    #[must_use]
    pub fn without_key_identifier(self) -> Self {
        Self { names_its_key: false, ..self }
    }

    fn mark(&self, params: &mut CertificateParams) {
        params.use_authority_key_identifier_extension = self.names_its_key;
        if let Some(url) = &self.crl_url {
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.clone()] }];
        }
    }
}

/// The vendor's authorities, and one that is not the vendor's.
pub struct Pki {
    /// The public root, like DigiCert Assured ID Root G2.
    pub digicert_root: CertificateAuthority,
    /// The public intermediate that signs the vendor's leaves, and strangers'.
    pub digicert_intermediate: CertificateAuthority,
    /// The region's private root, which signs its leaf directly.
    pub genesys_root: CertificateAuthority,
    /// A root that no configuration names.
    pub other_root: CertificateAuthority,
}

impl Pki {
    /// Fresh authorities, valid around `now`. The certificates name CRLs below `crl_base`, an http URL.
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

/// A self-signed leaf: it says the same as a real one, but no CA signed it.
pub fn self_signed(organisation: &str, request: &LeafRequest) -> Result<ClientCertificate, PkiError> {
    sign(request.params(organisation), request.validity, None).map_err(|source| failed(&request.common_name, source))
}

/// Signs a certificate with a key of its own: by `issuer`, or by that very key.
fn sign(
    params: Result<CertificateParams, rcgen::Error>,
    validity: Validity,
    issuer: Option<&CertificateAuthority>,
) -> Result<ClientCertificate, rcgen::Error> {
    let mut params = dated(params?, validity);
    let key = KeyPair::generate()?;
    let certificate = match issuer {
        Some(authority) => {
            authority.mark(&mut params);
            params.signed_by(&key, &authority.issuer)?
        }
        None => params.self_signed(&key)?,
    };
    Ok(ClientCertificate {
        der: certificate.der().to_vec(),
        key: key.serialize_der(),
        issuers: issuer.map_or_else(Vec::new, |authority| authority.path.clone()),
        validity,
    })
}

fn ca_params(organisation: &str, common_name: &str, constraint: BasicConstraints, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(organisation, common_name);
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let half_life = DAY.saturating_mul(50 * 365);
    dated(params, Validity { not_before: now.minus(half_life), not_after: now.plus(half_life) })
}

fn subject(organisation: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::CommonName, common_name);
    name
}

/// X.509 knows the years 1950 to 9999; what lies outside is moved to the nearer end.
#[expect(clippy::arithmetic_side_effects, reason = "the clamped seconds are well within the calendar")]
fn dated(mut params: CertificateParams, validity: Validity) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |at: Timestamp| {
        let seconds = at.unix().clamp(-631_152_000, 253_402_300_799);
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { epoch - distance } else { epoch + distance }
    };
    params.not_before = moment(validity.not_before);
    params.not_after = moment(validity.not_after);
    params
}

fn failed(subject: &str, source: rcgen::Error) -> PkiError {
    PkiError { subject: subject.to_owned(), source }
}
