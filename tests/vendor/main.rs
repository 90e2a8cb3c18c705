//! The vendor and the CAs: what they answer, what they fail to answer, and the simulator that stands in for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod crl_cycle;
mod crl_fetch;
mod crl_kept;
mod failures;
mod simulator;
