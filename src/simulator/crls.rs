//! What the simulated CAs revoke, and the lists that say so; `crl_server` serves them.

use std::fmt;
use std::str::FromStr;

use crate::simulator::pki::{CertificateAuthority, Pki, PkiError};
use crate::trust::fingerprint::Fingerprint;
use crate::trust::timestamp::Timestamp;

/// Where the lists lie that the certificates name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrlPlace {
    /// At a listener of the vendor's own, on the address of its API; a world without a vendor names none.
    Vendor,
    /// Below this http URL, where somebody else serves them.
    At(String),
    /// Nowhere: the certificates have no such extension.
    Nowhere,
}

/// Which certificate is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// What the vendor presents, by DigiCert.
    Current,
    /// What it will present.
    Upcoming,
    /// What it presented before.
    Previous,
    /// What it presents by its own private root.
    Genesys,
    /// The public intermediate, and with it all that it signed.
    Intermediate,
    /// Any certificate of this world.
    Certificate(Fingerprint),
}

/// The text names nothing that could be revoked.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{0:?} cannot be revoked; it is current, upcoming, previous, genesys, intermediate, or 64 hex digits of a SHA-256"
)]
pub struct UnknownRevoke(String);

impl FromStr for Revoke {
    type Err = UnknownRevoke;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "current" => Ok(Self::Current),
            "upcoming" => Ok(Self::Upcoming),
            "previous" => Ok(Self::Previous),
            "genesys" => Ok(Self::Genesys),
            "intermediate" => Ok(Self::Intermediate),
            hex => hex.parse().map(Self::Certificate).map_err(|_| UnknownRevoke(hex.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Revoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Upcoming => "upcoming",
            Self::Previous => "previous",
            Self::Genesys => "genesys",
            Self::Intermediate => "intermediate",
            Self::Certificate(fingerprint) => return fingerprint.fmt(f),
        })
    }
}

/// Nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is none.
    #[error("there is no such certificate now: {0}")]
    Absent(Revoke),
    /// Its CA publishes no list.
    #[error("{0} cannot be revoked: its issuer publishes no list")]
    NoList(Revoke),
    /// The world could not advance.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// How the lists are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrlMode {
    /// In force.
    #[default]
    Served,
    /// 503 instead of a list.
    Blocked,
    /// Signed well, and over.
    Expired,
}

impl CrlMode {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Served, Self::Blocked, Self::Expired];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Blocked => "blocked",
            Self::Expired => "expired",
        }
    }
}

/// The text names no [`CrlMode`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("the lists are served, blocked or expired, not {0:?}")]
pub struct UnknownCrlMode(String);

impl FromStr for CrlMode {
    type Err = UnknownCrlMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| UnknownCrlMode(text.chars().take(80).collect()))
    }
}

/// A CA that publishes a list, by the list's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListName {
    DigicertRoot,
    DigicertIntermediate,
    GenesysRoot,
}

impl ListName {
    pub(super) const ALL: [Self; 3] = [Self::DigicertRoot, Self::DigicertIntermediate, Self::GenesysRoot];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DigicertRoot => "digicert-root",
            Self::DigicertIntermediate => "digicert-intermediate",
            Self::GenesysRoot => "genesys-root",
        }
    }

    pub(super) fn called(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name() == name)
    }

    pub(super) fn issuer(self, pki: &Pki) -> &CertificateAuthority {
        match self {
            Self::DigicertRoot => &pki.digicert_root,
            Self::DigicertIntermediate => &pki.digicert_intermediate,
            Self::GenesysRoot => &pki.genesys_root,
        }
    }
}

/// Something that a list names.
#[derive(Debug, Clone)]
pub(super) struct Revoked {
    pub(super) list: ListName,
    pub(super) der: Vec<u8>,
    pub(super) since: Timestamp,
}

/// A list as it lies there.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) der: Vec<u8>,
    pub(super) since: Timestamp,
}
