//! The privileged helper: what it does as root ([`apply`]), what it answers ([`answer`]), and how the daemon asks it (`ask`).

pub mod answer;
pub mod apply;
pub(super) mod ask;
