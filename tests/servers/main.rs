//! Real servers: each is checked, told, proven, and found out where it admits whom it should not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod apache_cycle;
mod apache_names;
mod blind_check;
mod ca_only;
mod envoy_cycle;
mod haproxy_cycle;
mod haproxy_names;
mod java_client;
mod java_cycle;
mod new_kind;
mod nginx_cycle;
mod nginx_names;
mod parsers;
mod path_builders;
mod services;
mod stories;
mod target_hooks;
mod target_nginx;
mod target_signals;
mod target_spoken;
mod unlike_us;
mod weaker_check;
