//! The privileged half: what reaches a server that root runs, and that nothing which the daemon's user writes chooses what
//! root runs, reads, writes or deletes.

#[path = "common/host.rs"]
mod host;
#[path = "common/nginx.rs"]
mod nginx;
#[path = "common/nginx_stage.rs"]
mod nginx_stage;
#[path = "common/privilege.rs"]
mod privilege;
#[path = "common/sandbox.rs"]
mod sandbox;

use host::Host;
use nginx_stage::{PLAIN, knock, told};

#[test]
fn a_rotation_reaches_a_server_whose_key_is_roots_alone() {
    let Some(host) = Host::new("a_rotation_reaches_a_server_whose_key_is_roots_alone") else { return };
    let server = host.serve(PLAIN);
    host.add_nginx("edge", &server);
    let unit = host.path_unit(&["edge"]);
    host.daemon(&["sync"]).exits(7).says(&["target_not_wired", &format!("{}/trust-bundle.pem", host.link("edge").display())]);
    assert_eq!(host.linked("edge"), Some(1));
    server.rewrite(&host.wired("edge"));
    server.reload();
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
    let current = host.sandbox.world().current().unwrap();
    assert_eq!(knock(&server, Some(&current)), "200");

    host.sandbox.world().open_window();
    let before = told(&server);
    host.daemon(&["sync"]).exits(0).says(&["published generation 000002", "target edge: proven"]);
    assert_eq!((host.linked("edge"), told(&server)), (Some(2), before + 1));
    let upcoming = host.sandbox.world().upcoming().unwrap().unwrap();
    assert_eq!(knock(&server, Some(&upcoming)), "200");
    assert_eq!(knock(&server, Some(&current)), "200");
    let runs = unit.stop();
    assert!(runs >= 2, "{runs}");
    host.owners_are_kept();
}
