//! The effects of a target's turn: a server that consumes the store is asked, told, and made to prove itself.
//!
//! ```text
//!  check ─▶ (the link is switched by the store) ─▶ reload ─▶ proof
//!  the server's own test,                          signal, systemd,      its CertificateRequest,
//!  in a private view                               command, HTTP         a response header
//! ```
//! Which of these comes next is decided by the pure state machine in `trust`; nothing here decides. What belongs to
//! one kind of server alone stands by itself ([`nginx`], [`apache`], [`haproxy`]).

pub mod apache;
pub mod check;
pub mod envoy;
pub mod haproxy;
pub mod http;
pub mod java;
pub mod nginx;
pub mod process;
pub mod proof;
mod quoting;
pub mod reload;
pub mod snippet;
