//! Who signs, and the slot of one source, region and authority.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who signs the vendor's client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Authority {
    /// A public chain, which also signs strangers: leaves are pinned.
    DigiCert,
    /// The region's private root, which is itself the trust: admitted by issuer and name.
    Genesys,
}

impl Authority {
    /// The authority of that name, compared without case as the API demands.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::DigiCert, Self::Genesys].into_iter().find(|authority| authority.name().eq_ignore_ascii_case(name))
    }

    /// The API's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DigiCert => "DigiCert",
            Self::Genesys => "Genesys",
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One source, its region, one authority: `us.us-east-1.digicert`. A source whose region changes has other slots from
/// then on, so that the old region's leaves retire by themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotId(String);

impl SlotId {
    /// The slot of `authority` at `source` (its name in the configuration) in `region` (the AWS name).
    #[must_use]
    pub fn new(source: &str, region: &str, authority: Authority) -> Self {
        Self(format!("{source}.{region}.{}", authority.name().to_ascii_lowercase()))
    }

    /// The authority whose slot this is.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.0.rsplit('.').next().and_then(Authority::named).unwrap_or(Authority::DigiCert)
    }

    /// The source's name in the configuration.
    #[must_use]
    pub fn source(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Its text, which is also its folder's name in a generation.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
