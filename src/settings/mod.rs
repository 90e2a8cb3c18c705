//! The configuration: raw as written, resolved as the program uses it. Two different types.

pub mod load;
mod raw;
pub mod resolve;
pub mod resolved;
pub mod source;
mod target;

pub use load::SettingsError;
pub use resolve::{Loaded, check, check_without_secrets, read, read_by};
