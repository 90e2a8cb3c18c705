//! What root does for privileged targets: `trustsync apply`, and the same beside a command that root runs. What such a
//! command writes into the store is left to a child that runs as the store's owner.

pub mod apply;
mod relay;
pub mod run_as_owner;
pub mod run_as_root;
