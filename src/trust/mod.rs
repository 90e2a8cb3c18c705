//! The pure core: what to trust, and what to do next. It imports nothing of ours but itself, and knows no clock, disk,
//! network or randomness.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

pub mod adopt;
pub mod anchor;
pub mod archive;
pub mod canary;
pub mod certificate;
pub mod clock_doubt;
pub mod crl;
pub(crate) mod der;
pub mod difference;
mod distinguished_name;
pub mod event;
pub mod evidence_backlog;
pub mod evidence_record;
pub mod excerpt;
pub mod finding;
pub mod fingerprint;
pub mod inspection;
pub mod manifest;
pub mod marker_name;
pub mod observation;
pub mod overrides;
pub mod owed;
pub mod pem;
pub mod pkcs12;
pub mod plan;
pub mod planner_state;
pub mod refusal;
pub mod render;
pub mod schedule;
pub mod set;
pub mod state;
pub mod subject;
pub mod summary;
pub mod timestamp;
pub mod turn;
pub mod verify;
