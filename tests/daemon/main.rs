//! `trustsync run`, the real binary, alone and with the operator beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod forged;
mod life;
mod listen;
mod minded;
mod operator;
mod turns_together;
