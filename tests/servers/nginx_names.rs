//! Name rules on a real nginx: those with the region's name get in, and those who only look so do not.

use support::cast;
use support::names::{MARKER, Names, SIGNED_BY_MARKER};
use support::nginx::Nginx;
use trustsync::targets::nginx::snippet;

fn cast_at_nginx(names: &Names) {
    let link = names.publish("nginx", &[trustsync::targets::nginx::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(
        dir.path(),
        &format!(
            "{}\nserver {{ listen 127.0.0.1:@PORT@ ssl; ssl_protocols TLSv1.2 TLSv1.3;\n{}\nlocation / {{ return 200 \
             in; }} }}",
            snippet::http(&link),
            snippet::server(&link)
        ),
    );
    names.assert_cast(&nginx.address());
    // The marker is an anchor for nobody: the chain refuses it and what its key signs, before any list is asked.
    let by_marker = names.members.iter().filter(|member| [MARKER, SIGNED_BY_MARKER].contains(&member.who));
    for (member, version) in by_marker.flat_map(|member| cast::TLS_VERSIONS.map(|version| (member, version))) {
        assert_eq!(member.knock(&nginx.address(), version), "400", "{}", member.who);
    }
}

#[test]
fn by_a_name_rule_alone_nginx_admits_the_name_and_no_trick() {
    cast_at_nginx(&Names::new(false));
}

#[test]
fn beside_a_public_pin_nginx_admits_the_name_of_its_own_root_alone() {
    cast_at_nginx(&Names::new(true));
}
