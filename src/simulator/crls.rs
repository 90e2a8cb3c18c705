//! What the simulated CAs revoke, and the lists that say so; `crl_server` serves them.

use std::fmt;
use std::str::FromStr;

use crate::simulator::named::UnknownName;
use crate::simulator::pki::{CertificateAuthority, Pki, PkiError};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

/// Where the revocation lists are that the certificates name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrlPlace {
    /// At a listener of the vendor's own, on the address of its API; a world without a vendor names none.
    Vendor,
    /// Below this http URL, where another server has them.
    At(String),
    /// Nowhere: the certificates have no such extension.
    Nowhere,
}

/// Which certificate a CA is to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// The DigiCert leaf that the vendor presents.
    Current,
    /// The DigiCert leaf that it will present.
    Upcoming,
    /// The DigiCert leaf that it presented before.
    Previous,
    /// The leaf of its own private root.
    Genesys,
    /// The public intermediate, and with it all that it signed.
    Intermediate,
    /// Any certificate of this world.
    Certificate(Fingerprint),
}

impl FromStr for Revoke {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = ["current", "upcoming", "previous", "genesys", "intermediate", "64 hex digits of a SHA-256"];
        match text {
            "current" => Ok(Self::Current),
            "upcoming" => Ok(Self::Upcoming),
            "previous" => Ok(Self::Previous),
            "genesys" => Ok(Self::Genesys),
            "intermediate" => Ok(Self::Intermediate),
            hex => {
                hex.parse().map(Self::Certificate).map_err(|_| UnknownName::new("revocable certificate", hex, &names))
            }
        }
    }
}

impl fmt::Display for Revoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Upcoming => f.write_str("upcoming"),
            Self::Previous => f.write_str("previous"),
            Self::Genesys => f.write_str("genesys"),
            Self::Intermediate => f.write_str("intermediate"),
            Self::Certificate(fingerprint) => fingerprint.fmt(f),
        }
    }
}

/// Why a certificate was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The vendor has no such certificate now.
    #[error("there is no such certificate now: {0}")]
    Absent(Revoke),
    /// Its CA publishes no list.
    #[error("{0} cannot be revoked: its issuer publishes no list")]
    NoList(Revoke),
    /// The world could not advance.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

named! {
    /// How the lists are served.
    #[derive(Default)]
    pub enum CrlMode("way to serve the lists") {
        /// The list that is in force.
        #[default]
        Served = "served",
        /// 503 instead of a list.
        Blocked = "blocked",
        /// Well signed, but past its next update.
        Expired = "expired",
    }
}

named! {
    /// A CA that publishes a list, by the list's name.
    pub enum ListName("list") {
        /// Signed by the public root.
        DigicertRoot = "digicert-root",
        /// Signed by the public intermediate.
        DigicertIntermediate = "digicert-intermediate",
        /// Signed by the region's private root.
        GenesysRoot = "genesys-root",
    }
}

impl ListName {
    pub(super) fn issuer(self, pki: &Pki) -> &CertificateAuthority {
        match self {
            Self::DigicertRoot => &pki.digicert_root,
            Self::DigicertIntermediate => &pki.digicert_intermediate,
            Self::GenesysRoot => &pki.genesys_root,
        }
    }
}

/// A certificate that a list names.
#[derive(Debug, Clone)]
pub(super) struct Revoked {
    pub(super) list: ListName,
    pub(super) der: Vec<u8>,
    pub(super) since: Timestamp,
}

/// A list as it is served.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) der: Vec<u8>,
    pub(super) since: Timestamp,
}
