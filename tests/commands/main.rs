//! The commands as a user meets them: the real binary, its words, its exit codes, its JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adopt;
mod all_but_sync;
mod demo;
mod inspect;
mod operators_word;
mod overrides;
mod secrets;
mod snippet;
mod sync;
mod then_status;
mod upload;
mod verify;
