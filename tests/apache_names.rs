//! Name rules on a real Apache: who bears the region's name gets in, whoever only looks so does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/apache.rs"]
mod apache;
#[path = "common/cast.rs"]
mod cast;
#[path = "common/names.rs"]
mod names;

use apache::Apache;
use names::{MARKER, Names, SIGNED_BY_MARKER};
use trustsync::target::apache::virtual_host;
use trustsync::trust::render::Output;

fn cast_at_apache(names: &Names) {
    let link = names.publish("apache", &[Output::Apache]);
    let dir = tempfile::tempdir().unwrap();
    let apache = Apache::start(dir.path(), &virtual_host(&link));
    names.assert_cast(&apache.address());
    // The marker is an anchor for nobody: the chain refuses it and what its key signs, before any list is asked.
    let by_marker = names.members.iter().filter(|member| [MARKER, SIGNED_BY_MARKER].contains(&member.who));
    for (member, version) in by_marker.flat_map(|member| cast::TLS_VERSIONS.map(|version| (member, version))) {
        assert_eq!(member.knock(&apache.address(), version), "nothing", "{}", member.who);
    }
}

#[test]
fn by_a_name_rule_alone_apache_admits_the_name_and_no_trick() {
    cast_at_apache(&Names::new(false));
}

#[test]
fn beside_a_public_pin_apache_admits_the_name_of_its_own_root_alone() {
    cast_at_apache(&Names::new(true));
}
