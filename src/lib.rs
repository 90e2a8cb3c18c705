//! trustsync makes the yearly rotation of a vendor's client certificate a non-event, and can prove it.
//!
//! A pure core ([`trust`]) decides, a thin shell acts. The core has no clock, network, disk or randomness: it takes
//! what was observed and the time, and returns a plan. One cycle is one call from left to right:
//!
//! ```text
//!  source ─▶ observe ─▶ inspect ─▶ CRLs ─▶ verify ─▶ plan ─▶ publish ─▶ turn: check · switch · reload ─▶ prove
//!  genesys              trust   crl_fetch  trust     trust   store      trust::turn decides, targets acts
//! ```
//!
//! The one-shot is that cycle once, the [`daemon`] is that cycle in a loop with a schedule, the demo is that cycle
//! against a simulated vendor and clock, and the privileged helper (`trustsync apply`) is that cycle with the daemon's
//! store as its source.

// Where something is reckoned with what others wrote, it is reckoned so that it cannot overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

#[macro_use]
mod log_line;

mod bounded;
mod children;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod crl_fetch;
pub mod cycle;
pub mod daemon;
pub mod exit;
pub mod genesys;
pub mod http_client;
pub mod jitter;
mod listener;
pub mod log;
mod log_fields;
pub mod marker;
pub mod report;
pub mod settings;
mod signals;
pub mod simulator;
pub mod store;
pub mod targets;
pub mod trust;
