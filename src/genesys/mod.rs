//! The vendor's side as a client sees it: regions, token, listing. It asks and returns the answers, bounded but
//! unchecked; [`crate::trust`] checks them.
//!
//! ```text
//!  Client::fetch ─▶ token (oauth, cached) ─▶ listing, unfiltered ─▶ listing, status=Upcoming
//!                         └────────── each page: one exchange, tried again as `retry` says ──────────┘
//! ```
//!
//! A secret or a token is sent to its own host and nowhere else, and stands in no error, `Debug` or log: every text
//! from the wire that is shown passes [`scrub::Scrub`].

mod attempts;
pub mod client;
mod completeness;
pub mod error;
mod exchange;
pub mod listing;
mod loose_json;
pub mod oauth;
pub mod region;
pub mod scrub;
pub mod secret;
pub mod wire;

pub use client::{Client, ClientError, Fetched};
pub use error::{FailureClass, FetchError, FetchFailure, Refusal};
pub use listing::{Incomplete, Listing};
pub use region::{Region, UnknownRegion};
