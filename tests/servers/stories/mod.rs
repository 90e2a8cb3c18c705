//! What every kind of server goes through, written once: each file is one part of it, each row below plays those stories
//! that its kind can play. A new kind takes its row here.

use support::apache::Apache;
use support::envoy::{Envoy, Version};
use support::haproxy_stage::{HaproxyBy, Way};
use support::jvm::{Flavour, Jvm};
use support::nginx::Nginx;

pub mod blame;
mod distrust;
mod installation;
pub mod load;
mod names;
mod repair;
mod rotation;

macro_rules! row {
    ($row:ident: $server:ty, $which:expr; $($part:ident::$story:ident,)+) => {
        mod $row {
            use super::*;

            $(#[tokio::test]
            async fn $story() {
                super::$part::$story::<$server>($which).await;
            })+
        }
    };
}

/// Those that are asked to reload and have a check of their own.
macro_rules! checked {
    ($($row:ident: $server:ty, $which:expr;)+) => {$(
        row! {
            $row: $server, $which;
            installation::a_new_installation_is_synced_then_wired_then_proven,
            installation::a_server_that_is_not_wired_is_reloaded_once_a_generation,
            rotation::a_whole_rotation_admits_the_right_ones_at_every_step,
            load::a_rotation_under_load_loses_nothing,
            blame::a_generation_that_the_check_refuses_stays_out_and_is_tried_again_in_every_cycle,
            blame::what_is_broken_elsewhere_keeps_no_trust_back_from_those_who_mend_it,
            distrust::with_the_only_leaf_denied_every_output_says_deny_all_and_nobody_gets_in,
            distrust::a_denied_leaf_finds_no_door_open_neither_its_connection_nor_its_session,
            repair::a_server_that_is_down_keeps_its_change_owed_and_proves_itself_after_its_start,
            repair::a_restored_backup_is_found_by_the_next_proof_and_mended,
            repair::a_damaged_file_is_replaced_by_a_new_generation_which_is_proven,
            names::a_genesys_leaf_is_renewed_without_telling_and_a_public_namesake_stays_out,
            names::with_the_genesys_root_alone_its_leaf_gets_in_and_the_public_one_does_not,
            names::another_clients_own_rule_works_beside_ours_and_ours_does_not_admit_it,
        }
    )+};
}

checked! {
    nginx: Nginx, ();
    haproxy_by_a_reload: HaproxyBy, Way::Reload;
    haproxy_at_run_time: HaproxyBy, Way::Runtime;
    apache: Apache, ();
}

/// Left out: one reload a generation, since Envoy is never asked to reload; blame, since it has no check that could
/// refuse; both authorities in one validation context and another client's rule beside ours, which it cannot express
/// (`envoy_cycle` has what it can); load, since it closes the connection of each stranger a second late, and the crowd's many
/// would take minutes.
macro_rules! envoy {
    ($($row:ident: $version:expr;)+) => {$(
        row! {
            $row: Envoy, $version;
            installation::a_new_installation_is_synced_then_wired_then_proven,
            rotation::a_whole_rotation_admits_the_right_ones_at_every_step,
            distrust::with_the_only_leaf_denied_every_output_says_deny_all_and_nobody_gets_in,
            distrust::a_denied_leaf_finds_no_door_open_neither_its_connection_nor_its_session,
            repair::a_server_that_is_down_keeps_its_change_owed_and_proves_itself_after_its_start,
            repair::a_restored_backup_is_found_by_the_next_proof_and_mended,
            repair::a_damaged_file_is_replaced_by_a_new_generation_which_is_proven,
            names::with_the_genesys_root_alone_its_leaf_gets_in_and_the_public_one_does_not,
        }
    )+};
}

envoy! {
    envoy_oldest: Version::Oldest;
    envoy_newest: Version::Newest;
}

/// Left out: an installation that is not wired, since our classes are what such a server is made of; blame, since it has no
/// check that could refuse; another client's rule, for which our classes have no place.
macro_rules! java {
    ($($row:ident: $flavour:expr;)+) => {$(
        row! {
            $row: Jvm, $flavour;
            rotation::a_whole_rotation_admits_the_right_ones_at_every_step,
            load::a_rotation_under_load_loses_nothing,
            distrust::with_the_only_leaf_denied_every_output_says_deny_all_and_nobody_gets_in,
            distrust::a_denied_leaf_finds_no_door_open_neither_its_connection_nor_its_session,
            repair::a_server_that_is_down_keeps_its_change_owed_and_proves_itself_after_its_start,
            repair::a_restored_backup_is_found_by_the_next_proof_and_mended,
            repair::a_damaged_file_is_replaced_by_a_new_generation_which_is_proven,
            names::a_genesys_leaf_is_renewed_without_telling_and_a_public_namesake_stays_out,
            names::with_the_genesys_root_alone_its_leaf_gets_in_and_the_public_one_does_not,
        }
    )+};
}

java! {
    java_jdk: Flavour::Jdk;
    java_tomcat: Flavour::Tomcat;
}
