//! The vendor's side as a client sees it: regions, token, listing.

pub mod wire;
