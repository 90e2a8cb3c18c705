//! What is HAProxy's alone: the lines to add to its configuration, and the two sockets by which it can be asked and told
//! without a reload.
//!
//! ```text
//!  runtime socket:  loaded (what it has of our files) ─▶ update (our files as they stand now)
//!  master socket:   whether the worker of a reload came up
//! ```

pub mod loaded;
pub mod master;
pub mod on_disk;
pub mod snippet;
pub mod socket;
pub mod update;
