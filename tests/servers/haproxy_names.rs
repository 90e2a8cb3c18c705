//! Name rules on a real HAProxy: those with the region's name get in, and those who only look so do not.

use std::path::PathBuf;

use support::cast;
use support::haproxy::Haproxy;
use support::haproxy_stage;
use support::names::{MARKER, Names, SIGNED_BY_MARKER};
use trustsync::targets::haproxy::update::update;

fn cast_at_haproxy(names: &Names) -> (PathBuf, tempfile::TempDir, Haproxy) {
    let link = names.publish("haproxy", &[trustsync::targets::haproxy::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(dir.path(), haproxy_stage::frontend(&link));
    names.assert_cast(&haproxy.address());
    // The marker is an anchor for nobody: the chain refuses it and what its key signs, before any list is asked.
    let by_marker = names.members.iter().filter(|member| [MARKER, SIGNED_BY_MARKER].contains(&member.who));
    for (member, version) in by_marker.flat_map(|member| cast::TLS_VERSIONS.map(|version| (member, version))) {
        assert_eq!(member.knock(&haproxy.address(), version), "nothing", "{}", member.who);
    }
    (link, dir, haproxy)
}

#[test]
fn by_a_name_rule_alone_haproxy_admits_the_name_and_no_trick() {
    cast_at_haproxy(&Names::new(false));
}

#[tokio::test]
async fn beside_a_public_pin_haproxy_admits_the_name_of_its_own_root_alone_and_by_its_socket_too() {
    let names = Names::new(true);
    let (link, _dir, haproxy) = cast_at_haproxy(&names);
    // The same rules by the socket, whose commands have escapes of their own.
    for list in ["denied.list", "pins.list", "names.list"] {
        let path = link.join("haproxy").join(list);
        assert_eq!(haproxy.ask(&format!("clear acl {}", path.display())).trim(), "");
    }
    assert!(names.members.iter().all(|member| member.knock(&haproxy.address(), "-tls1_3") != "200"));
    update(&haproxy.socket(), &link).await.unwrap();
    names.assert_cast(&haproxy.address());
}

#[test]
fn ignoring_the_errors_of_verification_lets_nobody_in() {
    let names = Names::new(true);
    let link = names.publish("haproxy", &[trustsync::targets::haproxy::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let ignoring = haproxy_stage::frontend(&link)
        .replace("verify required", "verify optional ca-ignore-err all crt-ignore-err all");
    let haproxy = Haproxy::start(dir.path(), ignoring);
    names.assert_cast(&haproxy.address());
    // All the same they come as far as to the rules, which refuse them.
    for member in names.members.iter().filter(|member| [MARKER, SIGNED_BY_MARKER, "expired"].contains(&member.who)) {
        assert_eq!(member.knock(&haproxy.address(), "-tls1_3"), "403", "{}", member.who);
    }
}

#[tokio::test]
async fn a_path_with_spaces_is_one_word_to_the_socket_too() {
    let names = Names::new(true);
    let link = names.publish("haproxy", &[trustsync::targets::haproxy::OUTPUT]);
    let dir = tempfile::tempdir().unwrap();
    let spaced = dir.path().join("of trust; and more");
    std::os::unix::fs::symlink(link.parent().unwrap(), &spaced).unwrap();
    let link = spaced.join("haproxy");
    let haproxy = Haproxy::start(&dir.path().join("server"), haproxy_stage::frontend(&link));
    let updated = update(&haproxy.socket(), &link).await.unwrap();
    assert_eq!((updated.lists, updated.ca_files), (4, 1));
    let pinned = names.members.iter().find(|member| member.admitted).unwrap();
    assert_eq!(pinned.knock(&haproxy.address(), "-tls1_3"), "200");
}
