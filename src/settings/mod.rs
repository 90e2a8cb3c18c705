//! The configuration: raw as written, resolved as the program uses it. Two different types.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

pub mod load;
mod raw;
pub mod resolve;
pub mod resolved;
mod target;
mod way;

pub use load::SettingsError;
pub use resolve::{Loaded, judge, judge_without_secrets, read, read_by};
