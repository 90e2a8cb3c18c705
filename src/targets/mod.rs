//! The effects of a target's turn: a server that consumes the store is checked, reloaded, and made to prove itself.
//!
//! ```text
//!  check ─▶ (the link is switched by the store) ─▶ reload ─▶ proof
//!  the server's own test,                          signal, systemd,      its CertificateRequest,
//!  in a private view                               command, HTTP         a response header
//! ```
//! Which of these comes next is decided by the pure state machine in `trust`; nothing here decides. What is known of
//! one kind of server stands in a folder of its own, one line of [`table`] each: its preset, its files, their strict
//! reading back, its snippet, what its format cannot express, and its own ways to check, reload and observe it.

use std::pin::Pin;

pub mod apache;
pub mod ca_only;
pub mod check;
pub mod endpoint;
pub mod enforcement;
pub mod envoy;
pub mod generic;
pub mod haproxy;
pub mod http;
pub mod java;
pub mod kind;
pub mod nginx;
pub mod process;
pub mod proof;
pub mod reach;
pub mod read_back;
pub mod reload;
pub mod snippet;
pub mod table;
pub mod ways;

/// What a way that is chosen at run time does.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
