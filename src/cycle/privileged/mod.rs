//! The privileged helper: what it does as root ([`apply`]), what it answers ([`answer`]), how the daemon asks it
//! (`ask`), and the folder by which both meet ([`folder`]).

pub mod answer;
pub mod apply;
pub(super) mod ask;
pub mod folder;
