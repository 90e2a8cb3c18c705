//! Why policy refused something, ranked so that the most specific reason survives.

/// Why an entity, a leaf or a chain was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Placeholder.
    #[error("not built yet")]
    NotBuilt,
}
