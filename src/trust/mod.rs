//! The pure core: what to trust, and what to do next. It imports nothing of ours but itself, and knows no clock, disk,
//! network or randomness. Its rooms, each of which uses only those above it:
//!
//! ```text
//!  values      fingerprint, timestamp, slot, marker name, excerpt: what everything else is made of
//!  formats     PEM, DER, names, certificates, archives: what is read, and nothing is believed
//!  verify      anchors, path, rules, revocation lists: the one way to a verified certificate, or to a refusal
//!  event       the catalogue, findings and their subjects         inspection  what `inspect` says of a file
//!  plan        answers and planner state become the trust set     turn        a target's state machine, what it owes
//!  records     state, manifest, evidence; what is adopted from another store
//!  render      the set becomes the files of a generation
//! ```

pub mod event;
pub mod formats;
pub mod inspection;
pub mod plan;
pub mod records;
pub mod render;
pub mod turn;
pub mod values;
pub mod verify;
