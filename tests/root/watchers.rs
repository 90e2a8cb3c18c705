//! Servers that watch by themselves, as privileged targets: they read by root's link, which the daemon cannot move.

use support::cast::knock;
use support::envoy::Envoy;
use support::host::Host;
use support::jvm::{Flavour, Jvm};
use trustsync::simulator::world::Impostor;
use trustsync::targets::envoy::snippet::whole;

/// The rotation begins while the server runs; it takes what root's half publishes, and nothing else.
fn rotates(host: &Host, address: &str) {
    let world = host.sandbox.world();
    let current = world.current().unwrap();
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
    assert_eq!(knock(address, Some(&current)), "200");
    world.set_days_left(60).unwrap();
    host.daemon(&["sync"]).exits(0).says(&["published generation 000002", "target edge: proven"]);
    assert_eq!(host.linked("edge"), Some(2));
    for (who, status) in [
        (world.upcoming().unwrap().unwrap(), "200"),
        (current, "200"),
        (world.impostor(Impostor::Stranger).unwrap(), "nothing"),
    ] {
        assert_eq!(knock(address, Some(&who)), status);
    }
    host.owners_are_kept();
}

fn target(kind: &str, proof: &str) -> String {
    format!("\n[target.edge]\nkind = \"{kind}\"\nprivileged = true\n{proof}\n")
}

#[test]
fn envoy_watches_the_folder_of_roots_link() {
    let Some(host) = Host::new() else { return };
    let plain = host.sandbox.configuration();
    host.sandbox.append(&target("envoy", ""));
    let unit = host.path_unit(&["edge"]);
    host.daemon(&["sync"]).exits(0);
    assert_eq!(host.linked("edge"), Some(1));
    let envoy = Envoy::start(&host.path("server"), &whole(&host.link("edge")));
    let proof = format!(
        "proof = {{ connect = [\"{}\"], server_name = \"api.example.com\", envoy = \"{}\", timeout = \"6s\" }}",
        envoy.address(),
        envoy.admin()
    );
    host.sandbox.configure(&format!("{plain}{}", target("envoy", &proof)));
    rotates(&host, &envoy.address());
    unit.stop();
}

#[test]
fn java_reads_by_roots_link() {
    let Some(host) = Host::new() else { return };
    let jvm = Jvm::start(Flavour::Jdk, &host.path("server"), &host.link("edge"), "truststore-with-marker.p12");
    let proof =
        format!("proof = {{ connect = [\"{}\"], server_name = \"api.example.com\", timeout = \"6s\" }}", jvm.address());
    host.sandbox.append(&target("java", &proof));
    let unit = host.path_unit(&["edge"]);
    rotates(&host, &jvm.address());
    unit.stop();
}
