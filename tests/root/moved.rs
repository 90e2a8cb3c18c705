//! A target that becomes privileged while its server reads by the store's own link: until the server names root's link
//! it is not wired, and nobody has moved anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::host::Host;
use support::nginx::Nginx;
use support::nginx_stage::wired;

/// The target, by the server's own check or by none.
fn target(kind: &str, nginx: &Nginx, privileged: bool) -> String {
    let outputs = if kind == "generic" { "outputs = [\"nginx\"]\n" } else { "" };
    let (check, reload) = if privileged {
        (nginx.check_command(), format!("{{ signal = \"HUP\", pidfile = {:?}, process = \"nginx\" }}", nginx.pidfile()))
    } else {
        (vec!["true".to_owned()], "\"none\"".to_owned())
    };
    format!(
        "\n[target.edge]\nkind = \"{kind}\"\nprivileged = {privileged}\ncheck = {check:?}\nreload = {reload}\n{outputs}proof = {{ \
         connect = [\"{}\"], server_name = \"api.example.com\", generation = \"header\", timeout = \"3s\" }}\n",
        nginx.address()
    )
}

fn moves(kind: &str) {
    let Some(host) = Host::new() else { return };
    let plain = host.sandbox.configuration();
    let dir = host.path("server");
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let nginx = Nginx::start(&dir, "server { listen 127.0.0.1:@PORT@; }");
    host.sandbox.configure(&format!("{plain}{}", target(kind, &nginx, false)));
    host.daemon(&["sync"]);
    nginx.rewrite(&wired(&host.sandbox.store().join("target/edge")));
    nginx.reload();
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);

    host.sandbox.configure(&format!("{plain}{}", target(kind, &nginx, true)));
    let unit = host.path_unit(&["edge"]);
    let moved = host.daemon(&["sync"]);
    assert_eq!(host.linked("edge"), Some(1));
    if kind == "nginx" {
        moved.exits(7).says(&["target_not_wired"])
    } else {
        moved.exits(0).says(&["shows with the next generation"])
    }
    .never_says(&["drift", "somebody else", "target_refuted", "edge: proven"]);

    host.sandbox.world().set_days_left(60).unwrap();
    let next = host.daemon(&["sync"]).exits(7);
    let next =
        next.says(&["published generation 000002", "target_not_wired", &host.link("edge").display().to_string()]);
    next.never_says(&["drift", "target_refuted"]);
    let reloads = nginx.reload_requests();
    host.daemon(&["sync"]).exits(7).says(&["target_not_wired"]);
    assert_eq!(nginx.reload_requests(), reloads, "no reload adds a line");

    nginx.rewrite(&host.wired("edge"));
    nginx.reload();
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]).never_says(&["drift"]);
    unit.stop();
}

#[test]
fn an_nginx_is_not_wired_until_it_names_roots_link() {
    moves("nginx");
}

#[test]
fn a_server_whose_configuration_nobody_reads_shows_it_with_the_next_generation() {
    moves("generic");
}
