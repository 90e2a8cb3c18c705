//! Root and the daemon's user on one host: the privileged half. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod apache;
mod apply;
mod as_owner;
mod denials;
mod first_process;
mod haproxy;
mod moved;
mod operator_errs;
mod out_of_reach;
mod requests;
mod watchers;
