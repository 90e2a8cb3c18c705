//! The vendor in a box: what `trustsync simulate` serves and `trustsync demo` plays with. It takes no part in a real
//! cycle.
//!
//! ```text
//!  pki ──▶ world ──▶ vendor (HTTPS: token, listing; HTTP: the CAs' lists)  ◀── the cycle under test
//!            ▲  └──▶ folder (anchors, leaves, keys, a ready trustsync.toml)
//!         control (HTTP on loopback, for people)
//!
//!  tls_server: a server that loads trust from <store>/target/NAME, and only on a reload   ◀── present: who gets in?
//! ```
//! The [`Clock`](crate::clock::Clock) of a world decides when its leaves are issued, listed, switched and expire, and
//! when its tokens end. Only the rate limit and the slow answers run on the machine's own time, since they are about
//! real requests.

#[macro_use]
pub mod named;

mod answer;
pub mod control;
mod crl_server;
pub mod crls;
pub mod error;
pub mod failure;
pub mod folder;
mod http;
pub mod pem_form;
pub mod pki;
pub mod present;
mod script;
mod tls;
pub mod tls_server;
pub mod vendor;
pub mod world;
