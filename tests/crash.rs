//! The real `trustsync` killed at every system call that changes anything, and what its record of system calls says of
//! durability; disks that refuse; two writers; stores that somebody damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "crash/daemon_kills.rs"]
mod daemon_kills;
#[path = "crash/damage.rs"]
mod damage;
#[path = "crash/disks.rs"]
mod disks;
#[path = "crash/housekeeping.rs"]
mod housekeeping;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/locks.rs"]
mod locks;
