//! What everything else is made of: plain values that know nothing of certificates.

pub mod excerpt;
pub mod fingerprint;
pub mod marker_name;
pub mod said;
pub mod slot;
pub mod timestamp;
