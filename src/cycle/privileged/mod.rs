//! The privileged helper: what it does as root ([`apply`]), what it answers ([`answer`]), how the daemon asks it
//! (`ask`), the folder by which both meet ([`folder`]), and what it remembers ([`state`]).

pub mod answer;
pub mod apply;
pub(super) mod ask;
pub mod folder;
pub mod state;
