//! A target that is not privileged, of a server that is root's, in a store of the daemon's user: it is proven as long as
//! nothing changes. What that user cannot do is said before, not at the first change.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::foreground::{Foreground, wait_until};
use support::nginx::Nginx;
use support::nginx_stage::wired;
use support::privilege::{NOBODY, as_nobody, binary_for_everyone, is_root};
use support::sandbox::{Sandbox, run};
use tempfile::TempDir;

/// A sandbox whose store root has brought to `proven`, and given to the daemon's user then.
struct GivenAway {
    sandbox: Sandbox,
    nginx: Nginx,
    _folder: TempDir,
}

fn given_away() -> GivenAway {
    let sandbox = Sandbox::new();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.sync(&[]).exits(0);
    let at = folder.path().join("nginx");
    sandbox.append(&format!(
        "[target.web]\nkind = \"nginx\"\ncheck = [\"nginx\", \"-p\", \"{at}\", \"-c\", \"nginx.conf\", \
         \"-t\"]\nreload = {{ signal = \"HUP\", pidfile = \"{at}/nginx.pid\" }}\nproof = {{ connect = \
         [\"127.0.0.1:1\"], server_name = \"api.example.com\" }}\n",
        at = at.display()
    ));
    sandbox.sync(&[]);
    let nginx = Nginx::start(&at, &wired(&sandbox.store().join("target/web")));
    fs::set_permissions(at.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.configure(&sandbox.configuration().replace("127.0.0.1:1\"", &format!("{}\"", nginx.address())));
    sandbox.sync(&[]).exits(0).says(&["proven"]);
    sandbox.run(&["config", "check"]).exits(0).never_says(&["warning"]);
    let given = Command::new("chown").args(["-hR", &format!("{NOBODY}:{NOBODY}")]).arg(sandbox.folder.path()).status();
    assert!(given.unwrap().success());
    GivenAway { sandbox, nginx, _folder: folder }
}

#[test]
fn config_check_as_root_says_what_the_stores_owner_could_not_do() {
    if !is_root() {
        return;
    }
    let GivenAway { sandbox, nginx, _folder } = &given_away();
    let ran = sandbox.run(&["config", "check"]).exits(0);
    let key = format!("{}/server.key", nginx.dir().display());
    ran.says(&["warning: target.web: The user 65534", "(EACCES)", &key, "(EPERM)", "privileged = true"]);
    let told = nginx.reload_requests();
    sandbox.run(&["config", "check"]).exits(0);
    assert_eq!(nginx.reload_requests(), told, "it was only looked at");
    // What is left once the key may be read.
    sandbox.configure(&sandbox.configuration().replace("check = [", "check = [\"true\"] #"));
    let ran = sandbox.run(&["config", "check"]).exits(0);
    ran.says(&["(EPERM)"]).never_says(&["EACCES"]);
    sandbox.configure(&sandbox.configuration().replace("reload = {", "reload = \"none\" #"));
    sandbox.run(&["config", "check"]).exits(0).never_says(&["warning"]);
}

#[test]
fn the_daemon_of_another_user_says_in_its_first_cycle_what_it_cannot_do() {
    if !is_root() {
        return;
    }
    let GivenAway { sandbox, nginx, _folder } = &given_away();
    let (_program, program) = binary_for_everyone(Path::new(env!("CARGO_BIN_EXE_trustsync")));
    let at = |name: &str| sandbox.path(name);
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--config").arg(at("config.toml")).args(["--log-format", "json"]).args(arguments);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        as_nobody(&command)
    };
    let log = at("log");
    let mut running = command(&["run"]);
    running.current_dir("/").stderr(File::create(&log).unwrap());
    let daemon = Foreground::spawn(&mut running, "setpriv is needed (util-linux)");
    let said = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().find(|line| line.contains("\"target_out_of_reach\"")).map(str::to_owned)
    };
    wait_until("it says what is out of reach", || said().is_some());
    let said = said().unwrap();
    assert!(said.contains("server.key") && said.contains("EACCES") && said.contains("EPERM"), "{said}");
    assert!(said.contains("\"level\":\"WARN\"") && said.contains("privileged = true"), "{said}");
    drop(daemon);
    assert_eq!(nginx.reload_requests(), 0, "it is proven, and was only looked at");
    // It stands, and `status` shows it.
    let mut status = command(&["status"]);
    run(status.current_dir("/")).exits(1).says(&["target_out_of_reach"]);
}

#[test]
fn what_that_user_may_not_read_is_not_told_as_a_broken_server_when_something_changes() {
    if !is_root() {
        return;
    }
    let GivenAway { sandbox, nginx, _folder } = &given_away();
    let (_program, program) = binary_for_everyone(Path::new(env!("CARGO_BIN_EXE_trustsync")));
    sandbox.world().set_days_left(60).unwrap();
    let mut command = Command::new(&program);
    command.arg("--config").arg(sandbox.path("config.toml")).arg("sync").env("PATH", "/usr/bin:/bin");
    let ran = run(as_nobody(&command).current_dir("/")).exits(7);
    let key = format!("{}/server.key", nginx.dir().display());
    ran.says(&["published generation", "target_check_not_run", "EACCES", &key, "privileged = true"])
        .never_says(&["broken elsewhere"]);
    assert_eq!(nginx.reload_requests(), 0);
}
