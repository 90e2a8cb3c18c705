//! The store: what is on disk is whole, whatever is killed, full, damaged or run at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod daemon_kills;
mod damage;
mod disks;
mod housekeeping;
mod kills;
mod locks;
mod primitives;
mod primitives_killed;
