//! The roots that we accept chains to: our own list, never the system's.

use crate::trust::certificate::Certificate;

/// The anchors of one authority, for one slot.
#[derive(Debug, Clone, Default)]
pub struct Anchors(pub Vec<Certificate>);
