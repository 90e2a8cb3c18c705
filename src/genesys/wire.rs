//! The listing as the wire has it. Every field is optional; nothing here is trusted.

use serde::{Deserialize, Serialize};

/// One entity of the listing, unjudged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entity {
    /// `DigiCert` or `Genesys`, compared without case.
    pub signing_authority: Option<String>,
    /// PEM text, one to n certificates.
    pub certificate: Option<String>,
    /// `Current` or `Upcoming`.
    pub status: Option<String>,
    /// `Client`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}
