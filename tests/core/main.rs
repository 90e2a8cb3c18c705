//! What decides: the pure core, what it renders, and how the configuration is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
mod architecture;
mod crl;
mod fuzz_bounded;
mod limbo;
mod listing_limits;
mod observation;
mod pem;
mod planner_properties;
mod planner_table;
mod records;
mod render;
mod render_apache;
mod render_envoy;
mod render_haproxy;
mod schedule;
mod served;
mod settings;
mod turn;
mod verification;
