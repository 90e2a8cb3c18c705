//! An Apache whose key is root's alone: its check by a real start, its reload and its files are made by root's half.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::apache::Apache;
use support::cast::knock;
use support::host::Host;
use trustsync::simulator::world::Impostor;
use trustsync::targets::apache::snippet::virtual_host;

#[test]
fn a_rotation_reaches_an_apache_whose_key_is_roots_alone() {
    let Some(host) = Host::new() else { return };
    let mut server = Apache::start(&host.path("server"), "");
    fs::set_permissions(server.dir().join("server.key"), Permissions::from_mode(0o600)).unwrap();
    host.add_server("edge", &server, &server.check_command());
    let unit = host.path_unit(&["edge"]);
    let link = host.link("edge");
    host.daemon(&["sync"]).exits(7).says(&["target_not_wired", &format!("{}/trust-bundle.pem", link.display())]);
    assert_eq!(host.linked("edge"), Some(1));
    server.rewrite(&virtual_host(&link));
    server.reload();
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
    assert_eq!(host.outcome("edge")["sight"]["verdict"], "sees", "root's half has shown it a broken one");
    let current = host.sandbox.world().current().unwrap();
    let knocks = |who: Impostor| knock(&server.address(), Some(&host.sandbox.world().impostor(who).unwrap()));
    assert_eq!(knock(&server.address(), Some(&current)), "200");
    assert_eq!((knocks(Impostor::Stranger), knocks(Impostor::OtherCa)), ("403".to_owned(), "nothing".to_owned()));

    host.sandbox.world().set_days_left(60).unwrap();
    let before = server.reload_requests();
    host.daemon(&["sync"]).exits(0).says(&["published generation 000002", "target edge: proven"]);
    assert_eq!((host.linked("edge"), server.reload_requests()), (Some(2), before + 1));
    let upcoming = host.sandbox.world().upcoming().unwrap().unwrap();
    assert_eq!(knock(&server.address(), Some(&upcoming)), "200");

    // What the daemon's user writes into its own allowlist reaches nobody, and a server that would not start is not told.
    let admit = fs::read_to_string(link.join("apache/admit.conf")).unwrap();
    let given = fs::read_to_string(host.sandbox.store().join("current/apache/admit.conf")).unwrap();
    host.forge_file("apache/admit.conf", "Require all granted\n");
    // Each restart comes to its end: one that is still to come would read what is edited below.
    server.await_restart(|| drop(host.apply("edge").exits(0)));
    host.forge_file("apache/admit.conf", &given);
    assert_eq!(fs::read_to_string(link.join("apache/admit.conf")).unwrap(), admit);
    // Nor does what it says of a denied one stand in a server's configuration unless it is a hash.
    let manifest = host.manifest();
    let mut forged = manifest.clone();
    forged["denied"]["ab".repeat(32)] = serde_json::json!({
        "reason": "distrusted", "since": "2026-01-01T00:00:00Z", "pem_sha1": "x'\"\nRequire all granted\n#"
    });
    host.forge(&forged);
    server.await_restart(|| drop(host.apply("edge").exits(0)));
    assert_eq!(fs::read_to_string(link.join("apache/admit.conf")).unwrap(), admit);
    host.forge(&manifest);
    let told = server.reload_requests();
    server.edit(|text| text.replace("/server.key", "/server.pem"));
    host.daemon(&["reload", "edge"]).exits(9).says(&["before it came to serve"]);
    assert_eq!(server.reload_requests(), told);
    assert!(!server.has_ended());
    unit.stop();
    host.owners_are_kept();
}
