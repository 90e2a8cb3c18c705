//! The pure core: what to trust, and what to do next. It imports nothing of ours but itself, and knows no clock, disk,
//! network or randomness.

pub mod anchor;
pub mod certificate;
pub mod fingerprint;
pub mod marker_name;
pub mod pem;
pub mod refusal;
pub mod set;
pub mod timestamp;
pub mod verify;
