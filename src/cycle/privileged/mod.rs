//! Root's half of a privileged target: what root does ([`apply`]), what it says of that ([`outcome`]), and how the daemon asks
//! for it (`ask`).

pub mod answer;
pub mod apply;
pub(super) mod ask;
