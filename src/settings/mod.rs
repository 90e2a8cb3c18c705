//! The configuration: raw as written, resolved as the program uses it. Two different types.

pub mod resolved;
