//! The vendor in a box: what `trustsync simulate` serves and `trustsync demo` plays with. Nothing of it takes part in a real cycle.
//!
//! ```text
//!  pki ──▶ world ──▶ vendor (HTTPS: token, listing; HTTP: the CAs' lists)  ◀── the cycle under test
//!            ▲  └──▶ folder (anchors, leaves, keys, a ready trustsync.toml)
//!         control (HTTP on loopback, for people)
//!
//!  tls_server: a server that loads trust only from <store>/target/NAME and only when told   ◀── present: who gets in?
//! ```
//! The world moves by the [`Clock`](crate::clock::Clock) that it is given: leaves are issued, listed, switched and expire by it, and so
//! do tokens. Only the rate limit and the slow answers run on the machine's own time, since they are about real requests.

mod answer;
pub mod control;
mod crl_server;
pub mod crls;
pub mod failure;
pub mod folder;
mod listener;
pub mod pem_form;
pub mod pki;
pub mod present;
mod script;
pub mod tls_server;
pub mod vendor;
pub mod world;
