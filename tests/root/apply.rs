//! The privileged half: what reaches a server that root runs, and that nothing which the daemon's user writes chooses what
//! root runs, reads, writes or deletes.

use support::host::Host;
use support::nginx_stage::{PLAIN, knock};
use support::privilege;
use support::sandbox;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::world::Impostor;

#[test]
fn a_rotation_reaches_a_server_whose_key_is_roots_alone() {
    let Some(host) = Host::new() else { return };
    let server = host.serve(PLAIN);
    host.add_server("edge", &server, &server.check_command());
    let unit = host.path_unit(&["edge"]);
    host.daemon(&["sync"])
        .exits(7)
        .says(&["target_not_wired", &format!("{}/trust-bundle.pem", host.link("edge").display())]);
    assert_eq!(host.linked("edge"), Some(1));
    server.rewrite(&host.wired("edge"));
    server.reload();
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
    let current = host.sandbox.world().current().unwrap();
    let knocks = |who: Impostor| knock(&server, Some(&host.sandbox.world().impostor(who).unwrap()));
    assert_eq!(knock(&server, Some(&current)), "200");
    assert_eq!((knocks(Impostor::Stranger), knocks(Impostor::OtherCa)), ("403".to_owned(), "400".to_owned()));

    host.sandbox.world().set_days_left(60).unwrap();
    let before = server.reload_requests();
    host.daemon(&["sync"]).exits(0).says(&["published generation 000002", "target edge: proven"]);
    assert_eq!((host.linked("edge"), server.reload_requests()), (Some(2), before + 1));
    let upcoming = host.sandbox.world().upcoming().unwrap().unwrap();
    assert_eq!(knock(&server, Some(&upcoming)), "200");
    assert_eq!(knock(&server, Some(&current)), "200");
    assert_eq!((knocks(Impostor::Stranger), knock(&server, None)), ("403".to_owned(), "400".to_owned()));
    let runs = unit.stop();
    assert!(runs >= 2, "{runs}");
    host.owners_are_kept();
}

/// A host whose target `edge` stands at generation 1.
fn settled() -> Option<Host> {
    let host = Host::new()?;
    host.add_target("edge", "");
    host.sync().exits(0);
    assert_eq!((host.linked("edge"), host.told_by("edge")), (Some(1), vec!["0".to_owned()]));
    Some(host)
}

/// `apply` refuses in these words; what the server has, stays.
#[track_caller]
fn is_refused(host: &Host, code: i32, words: &[&str]) {
    let before = sandbox::tree(&host.path("targets/generations"));
    let told = host.told_by("edge");
    host.apply("edge").exits(code).says(words);
    assert_eq!(sandbox::tree(&host.path("targets/generations")), before);
    assert_eq!((host.linked("edge"), host.told_by("edge")), (Some(1), told));
    let withheld = host.outcome("edge")["verdict"]["withheld"].as_str().unwrap_or_default().to_owned();
    assert!(words.iter().any(|word| withheld.contains(word)), "{withheld}");
}

/// The leaves that root's half has rendered.
fn rendered(host: &Host, target: &str) -> Vec<String> {
    let text = std::fs::read_to_string(host.link(target).join("fingerprints.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split("sha256:").nth(1).unwrap()[..64].to_owned()).collect()
}

/// Adds a leaf with its chain to the store's own files, as its owner could.
fn smuggle(host: &Host, leaf: &ClientCertificate) {
    let store = host.sandbox.store();
    let pem = |der: &[u8]| trustsync::trust::formats::pem::encode("CERTIFICATE", der);
    let leaves = std::fs::read_to_string(store.join("current/leaves.pem")).unwrap();
    host.forge_file("leaves.pem", &format!("{leaves}{}", leaf.pem()));
    let chain = std::fs::read_to_string(store.join("current/chain.pem")).unwrap();
    let own: String = leaf.presented()[1..].iter().map(|der| pem(der)).collect();
    host.forge_file("chain.pem", &format!("{chain}{own}"));
    let mut manifest = host.manifest();
    let entries = manifest["slots"].as_object_mut().unwrap().values_mut().next().unwrap();
    let mut entry = entries["entries"].as_object().unwrap().values().next().unwrap().clone();
    let path = leaf.presented();
    let links = path[1..].iter().map(|der| serde_json::Value::from(sandbox::fingerprint(der)));
    entry["chain"].as_array_mut().unwrap().extend(links);
    entries["entries"][sandbox::fingerprint(leaf.der())] = entry;
    host.forge(&manifest);
}

#[test]
fn a_symlink_in_place_of_anything_is_not_followed() {
    let Some(host) = settled() else { return };
    std::fs::write(host.path("roots.pem"), "for root alone").unwrap();
    let undo = "rm -rf current generations; mv saved/current saved/generations .; rm -r saved";
    for (attack, code, words) in [
        ("rm current; ln -s /etc current", 5, "names no generation"),
        ("rm current; ln -s ../store/generations/000001 current", 5, "names no generation"),
        ("rm current; ln -s generations/000001/ current", 5, "names no generation"),
        ("mv generations/000001 hidden; ln -s ../hidden generations/000001", 5, "a symlink"),
        ("mv generations/000001 hidden; ln -s $ROOT generations/000001", 5, "a symlink"),
        ("mv generations hidden; ln -s hidden generations", 5, "a symlink"),
        ("rm generations/000001/leaves.pem; ln -s $ROOT/roots.pem generations/000001/leaves.pem", 5, "a symlink"),
        ("rm generations/000001/chain.pem; ln -s ../../copy generations/000001/chain.pem", 5, "a symlink"),
        ("rm generations/000001/manifest.json; ln -s /dev/zero generations/000001/manifest.json", 5, "a symlink"),
    ] {
        host.shell("rm -rf hidden copy; mkdir saved; cp -a current generations saved/");
        host.shell(attack);
        is_refused(&host, code, &[words]);
        host.shell(undo);
    }
    host.apply("edge").exits(0);
}

#[test]
fn a_file_with_a_second_name_is_not_read() {
    let Some(host) = settled() else { return };
    let secret = host.path("roots-alone");
    sandbox::write_secret(&secret, "for root alone");
    let leaves = host.sandbox.store().join("generations/000001/leaves.pem");
    std::fs::remove_file(&leaves).unwrap();
    // The kernel may be set to let anybody do this (fs.protected_hardlinks=0).
    std::fs::hard_link(&secret, &leaves).unwrap();
    is_refused(&host, 5, &["2 names (hard links)"]);
}

#[test]
fn neither_a_pipe_nor_a_folder_nor_a_manifest_of_gigabytes_holds_anybody_up() {
    let Some(host) = settled() else { return };
    for (attack, code, words) in [
        ("rm current; mkfifo current", 5, "names no generation"),
        ("rm current; mkdir current", 5, "names no generation"),
        ("rm generations/000001/manifest.json; mkfifo generations/000001/manifest.json", 5, "not a regular file"),
        ("rm generations/000001/leaves.pem; mkfifo generations/000001/leaves.pem", 5, "not a regular file"),
        ("rm generations/000001/chain.pem; mkdir generations/000001/chain.pem", 5, "not a regular file"),
        ("rm -r generations/000001; mkfifo generations/000001", 5, "it is not a folder"),
        ("truncate -s 6G generations/000001/manifest.json", 5, "larger than 8388608 bytes"),
        ("truncate -s 6G generations/000001/leaves.pem", 5, "larger than 8388608 bytes"),
        ("yes '[' | head -c 7000000 | tr -d '\\n' > generations/000001/manifest.json", 5, "is not a manifest"),
        ("rm generations/000001/manifest.json", 4, "No such file"),
    ] {
        host.shell("mkdir saved; cp -a current generations saved/");
        host.shell(attack);
        let begun = std::time::Instant::now();
        is_refused(&host, code, &[words]);
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{attack}");
        host.shell("rm -rf current generations; mv saved/current saved/generations .; rm -r saved");
    }
    host.apply("edge").exits(0);
}

#[test]
fn a_request_is_consumed_whatever_it_is_and_nothing_behind_it_is_touched() {
    let Some(host) = settled() else { return };
    let precious = host.path("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("file"), "precious").unwrap();
    for attack in [
        "ln -s $ROOT/precious edge",
        "ln -s $ROOT/precious/file edge",
        "ln -s nowhere edge",
        "mkfifo edge",
        "mkdir -p edge/a/b/c; ln -s $ROOT/precious edge/a/b/link; touch edge/a/file; chmod 0 edge/a/b/c",
        "truncate -s 6G edge",
        "touch edge; chmod 4777 edge",
    ] {
        host.shell(&format!("cd $ROOT/targets/requests; {attack}"));
        host.apply("edge").exits(0);
        let left: Vec<_> = std::fs::read_dir(host.path("targets/requests")).unwrap().collect();
        assert!(left.is_empty(), "{attack}: {left:?}");
        assert_eq!(std::fs::read_dir(host.path("targets/consumed")).unwrap().count(), 0, "{attack}");
        assert_eq!(std::fs::read_to_string(precious.join("file")).unwrap(), "precious", "{attack}");
    }
    host.owners_are_kept();
}

#[test]
fn folders_renamed_while_root_reads_them_give_a_whole_or_an_error() {
    let Some(host) = settled() else { return };
    // A second store of the same user's, with a generation 1 of other files, and a folder of root's.
    let other = host.sandbox.world().impostor(Impostor::OtherCa).unwrap();
    host.shell("cp -a generations other");
    std::fs::write(host.sandbox.store().join("other/000001/leaves.pem"), other.pem()).unwrap();
    host.shell("mkdir mixed; cp -a generations/000001 mixed/; cp other/000001/leaves.pem mixed/000001/leaves.pem");
    let mut dance = std::process::Command::new("sh");
    dance.args([
        "-c",
        &format!(
            "cd '{}'; while :; do
        mv generations g; mv other generations; mv generations other; ln -s '{}' generations; rm generations; mv g \
             generations
        mv generations/000001 one; mv mixed/000001 generations/; mv generations/000001 mixed/; mv one \
             generations/000001
        done",
            host.sandbox.store().display(),
            host.path("targets/generations/edge").display()
        ),
    ]);
    let mut dancer = privilege::as_nobody(&dance).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    let current = host.sandbox.current_leaf();
    let (mut whole, mut errors) = (0, 0);
    for _ in 0..60 {
        let ran = host.apply("edge");
        match ran.code {
            0 => whole += 1,
            4 | 5 => errors += 1,
            _ => panic!("{ran:?}"),
        }
        assert_eq!(rendered(&host, "edge"), std::slice::from_ref(&current));
        assert_eq!(host.linked("edge"), Some(1));
    }
    dancer.kill().unwrap();
    dancer.wait().unwrap();
    assert!(errors > 0, "the dance was never met: {whole} whole");
}

#[test]
fn nothing_but_our_own_rendering_reaches_the_servers_allowlist() {
    let Some(host) = Host::new() else { return };
    let server = host.serve(PLAIN);
    host.add_server("edge", &server, &server.check_command());
    host.sync().exits(7);
    let map = host.link("edge").join("nginx/admit.map");
    let good = std::fs::read_to_string(&map).unwrap();
    // The daemon's own allowlist is not read at all.
    host.forge_file("nginx/admit.map", "default \"current\";\n} load_module /tmp/evil.so; map $a $b {\n");
    host.forge_file("nginx/generation.map", "default \"}\";\ninclude /etc/shadow;\n");
    host.apply("edge").exits(0);
    assert_eq!(std::fs::read_to_string(&map).unwrap(), good);

    let manifest = host.manifest();
    let mut forged = manifest.clone();
    forged["denied"]["ab".repeat(32)] = serde_json::json!({
        "reason": "distrusted", "since": "2026-01-01T00:00:00Z", "sha1": "x\" \"current\";\n} evil on; map $a $b { \"y"
    });
    forged["cause"] = "a\n} evil on;".into();
    host.forge(&forged);
    host.apply("edge").exits(0);
    assert_eq!(std::fs::read_to_string(&map).unwrap(), good);

    let mut forged = manifest.clone();
    forged["store"] = "0\n} evil on; map $a $b {".into();
    host.forge(&forged);
    host.apply("edge").exits(5).says(&["another one"]);
    assert_eq!(std::fs::read_to_string(&map).unwrap(), good);

    let mut forged = manifest.clone();
    let slot = manifest["slots"].as_object().unwrap().values().next().unwrap().clone();
    forged["slots"]["../../../../evil.us-east-1.digicert"] = slot;
    host.forge(&forged);
    host.apply("edge").exits(5).says(&["not a slot of this configuration"]);
    assert_eq!(std::fs::read_to_string(&map).unwrap(), good);
}

#[test]
fn a_certificate_that_no_anchor_signed_stays_out_and_its_neighbours_come_in() {
    let Some(host) = settled() else { return };
    let world = host.sandbox.world();
    let current = host.sandbox.current_leaf();
    let honest = host.manifest();
    for who in [Impostor::OtherCa, Impostor::Twin, Impostor::Stranger] {
        smuggle(&host, &world.impostor(who).unwrap());
        host.apply("edge").exits(5).says(&["not let in: us.us-east-1.digicert"]);
        assert_eq!(rendered(&host, "edge"), std::slice::from_ref(&current), "{who:?}");
        assert_eq!(host.linked("edge"), Some(1));
        // What was changed behind its back, the daemon repairs by a new generation; here its word alone is taken back.
        host.forge(&honest);
        host.shell("cp $ROOT/targets/edge/leaves.pem $ROOT/targets/edge/chain.pem generations/000001/");
    }
}

#[test]
fn a_manifest_with_another_identity_is_refused_whole() {
    let Some(host) = settled() else { return };
    let stranger = host.sandbox.world().impostor(Impostor::Stranger).unwrap();
    smuggle(&host, &stranger);
    let mut manifest = host.manifest();
    let slot = manifest["slots"].as_object_mut().unwrap().values_mut().next().unwrap();
    slot["identity"] = serde_json::json!(["mail.stranger.example"]);
    host.forge(&manifest);
    is_refused(&host, 5, &["names another identity", "source.us.identity"]);
    // Nor does a waiver help that the daemon claims to have had from its operator.
    let slot = manifest["slots"].as_object_mut().unwrap().values_mut().next().unwrap();
    slot["identity"] = serde_json::Value::Null;
    slot["entries"][sandbox::fingerprint(stranger.der())]["word"] =
        serde_json::json!({"since": "2026-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "any_identity": true});
    host.forge(&manifest);
    host.apply("edge").exits(5).says(&["only the configuration here can waive its identity"]);
    assert_eq!(rendered(&host, "edge"), [host.sandbox.current_leaf()]);
}

#[test]
fn an_older_generation_brings_nothing_back() {
    let Some(host) = settled() else { return };
    host.sandbox.world().set_days_left(60).unwrap();
    host.sync().exits(0);
    assert_eq!(host.linked("edge"), Some(2));
    let leaf = host.sandbox.current_leaf();
    host.sync().exits(0);
    host.root(&["distrust", "--yes", &leaf]).exits(0);
    assert_eq!(host.linked("edge"), Some(3));
    assert!(!rendered(&host, "edge").contains(&leaf));
    host.shell("ln -sfn generations/000002 current");
    host.apply("edge").exits(5).says(&["may not bring back", "000003 was adopted before"]);
    assert_eq!(host.linked("edge"), Some(3));
    // Nor under a new number: what root has denied once, stays so.
    host.shell("cp -a generations/000002 generations/000009; ln -sfn generations/000009 current");
    let mut manifest = host.manifest();
    manifest["generation"] = 9.into();
    host.forge(&manifest);
    host.apply("edge").exits(5).says(&["is denied here"]);
    assert_eq!(host.linked("edge"), Some(9));
    assert!(!rendered(&host, "edge").contains(&leaf));
}

#[test]
fn a_generation_that_the_servers_check_refuses_stays_out_until_it_is_mended() {
    let Some(host) = Host::new() else { return };
    let script = host.path("check");
    // Fails with no certificate, and with two leaves in place, as long as the file is there.
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\nid -u >> {root}/checked-by\nopenssl x509 -noout -in {root}/targets/edge/leaves.pem || exit \
             1\n[ ! -e {root}/picky ] || [ $(grep -c BEGIN {root}/targets/edge/leaves.pem) = 1 ] || {{ echo too many \
             leaves; exit 1; }}\n",
            root = host.path("").display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    host.add_target("edge", &format!("check = [{script:?}]"));
    host.sync().exits(0);
    std::fs::write(host.path("picky"), "").unwrap();
    host.sandbox.world().set_days_left(60).unwrap();
    host.sync().exits(9).says(&["target_check_refused", "too many leaves"]);
    assert_eq!((host.linked("edge"), host.told_by("edge").len()), (Some(1), 1));
    host.sync().exits(9);
    std::fs::remove_file(host.path("picky")).unwrap();
    host.sync().exits(0);
    assert_eq!((host.linked("edge"), host.told_by("edge")), (host.sandbox.current(), vec!["0".to_owned(); 2]));
    let checked = std::fs::read_to_string(host.path("checked-by")).unwrap();
    assert!(checked.lines().all(|who| who == "0"), "{checked}");
}

#[test]
fn what_a_broken_server_owes_is_paid_once_it_is_mended() {
    let Some(host) = Host::new() else { return };
    let server = host.serve(PLAIN);
    host.add_server("edge", &server, &server.check_command());
    let _unit = host.path_unit(&["edge"]);
    host.daemon(&["sync"]).exits(7);
    server.rewrite(&host.wired("edge"));
    server.reload();
    host.daemon(&["sync"]).exits(0);
    server.rewrite(&format!("{}\nbroken on;", host.wired("edge")));
    host.sandbox.world().set_days_left(60).unwrap();
    host.daemon(&["sync"]).exits(9).says(&["target_broken", "unknown directive"]);
    assert_eq!(host.linked("edge"), Some(2));
    host.daemon(&["sync"]).exits(9);
    server.rewrite(&host.wired("edge"));
    host.daemon(&["sync"]).exits(0).says(&["target edge: proven"]);
}

#[test]
fn without_roots_half_the_reload_is_owed_and_paid_when_it_comes() {
    let Some(host) = Host::new() else { return };
    host.add_target("edge", "");
    host.daemon(&["sync"]).exits(7).says(&["requests", "trustsync-apply@.path"]);
    host.daemon(&["config", "check"]).exits(3).says(&["target.edge is privileged", "trustsync-apply@.path"]);
    host.make_requests();
    host.daemon(&["sync"]).exits(7).says(&["target_not_told", "systemctl status trustsync-apply@edge.path"]);
    assert_eq!(host.linked("edge"), None);
    // The request waits, and is answered as soon as there is somebody.
    let _unit = host.path_unit(&["edge"]);
    host.until(|| host.path("targets/outcomes/edge.json").exists());
    assert_eq!((host.linked("edge"), host.told_by("edge").len()), (Some(1), 1));
    host.daemon(&["sync"]).exits(0).says(&["the privileged helper reloaded it"]);
    host.daemon(&["sync"]).exits(0);
    assert_eq!(host.told_by("edge").len(), 1, "nothing changed, and nothing is told again");
}

#[test]
fn a_configuration_that_others_can_change_is_not_acted_by_and_the_request_is_consumed() {
    let Some(host) = settled() else { return };
    let mode = |mode: u32| {
        std::fs::set_permissions(host.path("config.toml"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(0o666);
    // At the default place, since a file that others can write names none; here it is not to be seen.
    host.apply("edge").exits(3).says(&["config.toml can be written by others than root"]);
    mode(0o644);
    std::os::unix::fs::chown(host.path("digicert-root.pem"), Some(privilege::NOBODY), None).unwrap();
    host.shell("touch $ROOT/targets/requests/edge");
    is_refused(&host, 3, &["digicert-root.pem belongs to uid 65534"]);
    assert!(!host.path("targets/requests/edge").exists());
    std::os::unix::fs::chown(host.path("digicert-root.pem"), Some(0), None).unwrap();
    host.sandbox.append("\n[store.main.nonsense]\n");
    host.shell("touch $ROOT/targets/requests/edge");
    host.apply("edge").exits(3);
    assert!(!host.path("targets/requests/edge").exists());
    host.daemon(&["apply", "edge"]).exits(11).says(&["run it as root"]);
}

#[test]
fn sudo_sync_leaves_the_store_to_its_owner_and_does_roots_half() {
    let Some(host) = Host::new() else { return };
    host.add_target("edge", "");
    // As systemd's LoadCredential has it: root's alone.
    std::os::unix::fs::chown(host.path("client-secret"), Some(0), Some(0)).unwrap();
    host.root(&["sync"]).exits(0).says(&["published generation 000001"]);
    assert_eq!((host.linked("edge"), host.told_by("edge")), (Some(1), vec!["0".to_owned()]));
    host.owners_are_kept();
    let leaf = host.sandbox.current_leaf();
    host.root(&["hold"]).exits(0);
    host.root(&["release"]).exits(0);
    host.root(&["reload", "edge"]).exits(0);
    host.root(&["distrust", "--yes", &leaf]).exits(0);
    assert_eq!(host.linked("edge"), Some(2));
    assert!(rendered(&host, "edge").is_empty());
    host.root(&["sync", "--dry-run"]);
    host.root(&["sync", "--detailed-exit-code"]).exits(5);
    host.owners_are_kept();
}

#[test]
fn where_root_is_the_daemon_one_process_does_both_halves() {
    let Some(host) = Host::new() else { return };
    host.add_target("edge", "");
    std::os::unix::fs::chown(host.sandbox.store(), Some(0), Some(0)).unwrap();
    host.root(&["sync"]).exits(0);
    assert_eq!((host.linked("edge"), host.told_by("edge")), (Some(1), vec!["0".to_owned()]));
}

#[test]
fn an_arrangement_in_which_root_would_do_the_daemons_bidding_is_refused() {
    let Some(host) = Host::new() else { return };
    let base = host.sandbox.configuration();
    let target = |more: &str| format!("{base}\n[target.edge]\nkind = \"generic\"\nprivileged = true\n{more}\n");
    for (text, words) in [
        (target("").replace("\"targets\"", "\"store/targets\""), "stand in each other"),
        (target("check = [\"nginx -t\"]"), "is one string"),
        (target("check = [\"./check\"]"), "has a relative path"),
        (
            target(&format!("check = [{:?}]", host.sandbox.store().join("check"))),
            "root would run what the daemon wrote",
        ),
        (
            target("reload = { signal = \"HUP\", process = \"x\", pidfile = \"store/pid\" }"),
            "root would signal the process that the daemon names",
        ),
        (target("").replace("target.edge", "target.requests"), "choose another name"),
    ] {
        host.sandbox.configure(&text);
        host.daemon(&["config", "check"]).exits(3).says(&[words]);
        host.apply("edge").exits(3);
    }
}

#[test]
fn root_acts_by_no_configuration_that_somebody_else_can_change() {
    let Some(host) = Host::new() else { return };
    host.add_target("edge", "");
    let path = host.sandbox.path("config.toml");
    std::os::unix::fs::chown(&path, Some(privilege::NOBODY), None).unwrap();
    for command in [&["sync"][..], &["hold"], &["distrust", "--yes", &"0".repeat(64)], &["reload", "edge"]] {
        host.root(command).exits(3).says(&["root acts by a configuration that root alone can change"]);
    }
    assert_eq!(host.sandbox.current(), None);
    // Who only looks needs no such care.
    host.root(&["sync", "--dry-run"]).exits(0);
}

/// `setfacl`, which must work here.
#[track_caller]
fn setfacl(arguments: &[&str], path: &std::path::Path) {
    let output =
        std::process::Command::new("setfacl").args(arguments).arg(path).output().expect("setfacl (package acl)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn whom_an_access_list_lets_write_the_configuration_does_not_choose_what_root_runs() {
    let Some(host) = settled() else { return };
    let configuration = host.path("config.toml");
    setfacl(&["-m", "u:nobody:rw"], &configuration);
    // Mode and owner look as they should.
    let found = std::fs::metadata(&configuration).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::gid(&found), 0);
    host.shell(&format!(
        "printf '[target.evil]\nkind = \"generic\"\nprivileged = true\nreload = {{ command = [\"/bin/sh\", \"-c\", \
         \"touch {0}/evil\"] }}\n' >> {0}/config.toml",
        host.path("").display()
    ));
    let words = ["config.toml can be written by uid 65534, whom its access list (ACL) names", "setfacl -b"];
    host.apply("evil").exits(3).says(&words);
    host.apply("edge").exits(3).says(&words);
    host.root(&["config", "check"]).exits(3).says(&words);
    for command in [&["sync"][..], &["hold"], &["distrust", "--yes", &"0".repeat(64)], &["reload", "edge"]] {
        host.root(command).exits(3).says(&words).says(&["Nothing was done"]);
    }
    assert!(!host.path("evil").exists());
    assert_eq!(host.told_by("edge").len(), 1);
    setfacl(&["-b"], &configuration);
    host.apply("evil").exits(0);
    assert!(host.path("evil").exists(), "what root itself has left there is root's");
}

#[test]
fn an_access_list_counts_wherever_root_acts_by_a_path() {
    let Some(host) = Host::new() else { return };
    let programs = host.path("programs");
    std::fs::create_dir(&programs).unwrap();
    let script = programs.join("check");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    host.add_target("edge", &format!("check = [{script:?}]"));
    host.sync().exits(0);
    let all = host.path("");
    // The folder of the targets has a test of its own.
    let paths = [&all, &programs, &script, &host.path("digicert-root.pem"), &host.path("config.toml")];
    for path in paths {
        let named = path.display().to_string();
        let named = named.trim_end_matches('/');
        for (entries, code, words) in [
            ("u:nobody:rwx", 3, "can be written by uid 65534, whom"),
            ("g:nogroup:-w-", 3, "can be written by gid 65534, whom"),
            ("u:nobody:rwx,u:1234:rwx", 3, "can be written by uid 1234 and uid 65534, whom"),
            ("u:nobody:r-x", 0, ""),
            ("u:nobody:rwx,m::r-x", 0, ""),
            ("u:root:rwx,g:root:rwx", 0, ""),
        ] {
            setfacl(&["-m", entries], path);
            let ran = host.apply("edge");
            setfacl(&["-b"], path);
            let ran = ran.exits(code);
            if code != 0 {
                ran.says(&[&format!("{named} {words} its access list (ACL) names")]);
            }
        }
    }
    host.apply("edge").exits(0);
}

#[test]
fn an_access_list_that_opens_the_folder_where_root_makes_its_files_is_refused() {
    let Some(host) = settled() else { return };
    let targets = host.path("targets");
    setfacl(&["-m", "u:nobody:rwx"], &targets);
    host.apply("edge").says(&["targets can be written by uid 65534"]);
    setfacl(&["-b"], &targets);
    setfacl(&["-d", "-m", "u:nobody:rwx"], &targets);
    let before = sandbox::tree(&targets);
    host.apply("edge").says(&["what is made in", "targets could be written by uid 65534", "setfacl -k"]);
    host.root(&["sync"]).says(&["could be written by uid 65534"]);
    let changed: Vec<_> =
        sandbox::tree(&targets).into_iter().filter(|(path, found)| before.get(path) != Some(found)).collect();
    assert!(changed.iter().all(|(path, _)| path.starts_with("requests") || path.as_os_str().is_empty()), "{changed:?}");
    setfacl(&["-k"], &targets);
    setfacl(&["-d", "-m", "u:nobody:r-x,o::r-x"], &targets);
    host.apply("edge").exits(0);
    // Of a folder on the way it says nothing about what stands there already.
    setfacl(&["-d", "-m", "u:nobody:rwx"], &host.path(""));
    host.apply("edge").exits(0);
}

/// Where the folder lies in the daemon's own, everything in it may be what the daemon made of it.
#[test]
fn a_folder_that_is_not_roots_alone_is_not_touched_by_root() {
    let Some(host) = Host::new() else { return };
    let base = host.sandbox.configuration();
    let text = format!("{base}\n[target.edge]\nkind = \"generic\"\nprivileged = true\n");
    host.sandbox.configure(&text.replace("\"targets\"", "\"store/targets\""));
    let precious = host.sandbox.path("precious");
    std::fs::create_dir_all(precious.join("folder")).unwrap();
    std::fs::write(precious.join("edge-1-1"), "precious").unwrap();
    std::fs::write(precious.join("edge.json"), "precious").unwrap();
    std::fs::write(precious.join("edge"), "precious").unwrap();
    let before = sandbox::tree(&precious);
    let targets = host.sandbox.store().join("targets");
    std::fs::create_dir_all(&targets).unwrap();
    for name in ["consumed", "requests", "outcomes", "state", "generations"] {
        std::os::unix::fs::symlink(&precious, targets.join(name)).unwrap();
    }
    std::os::unix::fs::chown(&targets, Some(privilege::NOBODY), Some(privilege::NOBODY)).unwrap();
    host.apply("edge").exits(3);
    host.root(&["sync"]);
    assert_eq!(sandbox::tree(&precious), before);
}

#[test]
fn what_root_did_not_let_in_is_owed_and_enters_once_its_configuration_says_so() {
    let Some(host) = settled() else { return };
    let stranger = host.sandbox.world().impostor(Impostor::Stranger).unwrap();
    let file = host.path("stranger.pem");
    std::fs::write(&file, stranger.pem()).unwrap();
    let _unit = host.path_unit(&["edge"]);
    let file = file.to_str().unwrap();
    host.daemon(&["trust", "--yes", file, "--until", "30d", "--any-identity"])
        .exits(7)
        .says(&["target_withheld", "only the configuration here can waive its identity"]);
    assert_eq!(rendered(&host, "edge"), [host.sandbox.current_leaf()]);
    let told = host.told_by("edge").len();
    // Tried again in every cycle, and the server is not told again of the same.
    host.daemon(&["sync"]).exits(7).says(&["target_withheld"]);
    assert_eq!(host.told_by("edge").len(), told);
    host.sandbox.configure(&host.sandbox.configuration().replace("[source.us]", "[source.us]\nidentity = \"any\""));
    host.daemon(&["sync"]).exits(0);
    assert_eq!(rendered(&host, "edge").len(), 2);
    assert_eq!((host.told_by("edge").len(), host.linked("edge")), (told + 1, host.sandbox.current()));
    host.owners_are_kept();
}

#[test]
fn a_half_that_died_before_its_reload_is_asked_again() {
    let Some(host) = Host::new() else { return };
    let gate = host.path("gate");
    std::fs::write(&gate, "").unwrap();
    host.add_target("edge", "");
    let slow = format!("while [ -e {} ]; do sleep 0.02; done; id -u >> ", gate.display());
    host.sandbox.configure(&host.sandbox.configuration().replace("id -u >> ", &slow));
    host.make_requests();
    host.daemon(&["sync"]).exits(7);
    let mut half = host.start(&["apply", "edge"]);
    host.until(|| host.linked("edge") == Some(1));
    half.kill().unwrap();
    half.wait().unwrap();
    std::fs::remove_file(&gate).unwrap();
    assert!(!host.path("targets/requests/edge").exists(), "the request was consumed before anything else");
    host.sync().exits(0);
    assert!(!host.told_by("edge").is_empty());
}

#[test]
fn a_name_rule_enters_by_roots_own_anchors_and_names() {
    let Some(host) = Host::new() else { return };
    host.sandbox.configure(&host.sandbox.configuration().replace(
        "[source.us]",
        "[source.us]\nauthorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]",
    ));
    host.add_target("edge", "");
    host.sync().exits(0);
    let honest = host.manifest();
    let slot = "us.us-east-1.genesys";
    let root = honest["slots"][slot]["entries"].as_object().unwrap().keys().next().unwrap().clone();
    for (names, words) in [
        (serde_json::json!(["a\"; } evil on; #"]), "which is not a name of this slot"),
        (serde_json::json!([]), "by the issuer alone"),
    ] {
        let mut forged = honest.clone();
        forged["slots"][slot]["entries"][&root]["names"] = names;
        host.forge(&forged);
        host.apply("edge").exits(5).says(&[words]);
        assert_eq!(rendered(&host, "edge"), [host.sandbox.current_leaf()]);
    }
    let mut forged = honest.clone();
    let entry = forged["slots"][slot]["entries"].as_object_mut().unwrap().remove(&root).unwrap();
    let other = sandbox::fingerprint(host.sandbox.world().pki().digicert_root.der());
    forged["slots"][slot]["entries"][&other] = entry;
    host.forge(&forged);
    host.apply("edge").exits(5).says(&["is not an anchor here (genesys_anchors)"]);
    host.forge(&honest);
    host.apply("edge").exits(0);
}

#[test]
fn a_slot_that_left_the_configuration_keeps_what_it_had_while_it_retires() {
    let Some(host) = settled() else { return };
    let old = host.sandbox.current_leaf();
    // Another name for the source: its slots are others from then on, and the vendor's leaf is another one too.
    host.sandbox.configure(&host.sandbox.configuration().replace("[source.us]", "[source.other]"));
    host.sandbox.world().set_days_left(50).unwrap();
    host.sync().exits(0).says(&["slot_retiring"]);
    let mut expected = vec![old, host.sandbox.current_leaf(), host.sandbox.upcoming_leaf()];
    let mut found = rendered(&host, "edge");
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    // What such a slot never had, it does not get.
    let stranger = host.sandbox.world().impostor(Impostor::Stranger).unwrap();
    smuggle(&host, &stranger);
    let mut manifest = host.manifest();
    let key = sandbox::fingerprint(stranger.der());
    let slots = manifest["slots"].as_object_mut().unwrap();
    let entry = slots.values_mut().find_map(|slot| slot["entries"].as_object_mut().unwrap().remove(&key)).unwrap();
    slots["us.us-east-1.digicert"]["entries"][&key] = entry;
    host.forge(&manifest);
    host.apply("edge").exits(5).says(&["not a slot of this configuration"]);
    assert_eq!(rendered(&host, "edge").len(), 3);
}

/// A folder of root's at which something is mounted, until this is dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn at(path: std::path::PathBuf, options: &[&str]) -> Self {
        let status = std::process::Command::new("mount").args(options).arg(&path).arg(&path).status().unwrap();
        assert!(status.success(), "mount (needs a machine where root may)");
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn what_root_cannot_tidy_or_remember_keeps_no_denial_from_the_server() {
    let Some(host) = settled() else { return };
    let leaf = sandbox::fingerprint(host.sandbox.world().current().unwrap().der());
    // An old generation that cannot be removed, and a memory that cannot be written.
    let oldest = Mounted::at(host.path("targets/generations/edge/000001"), &["--bind"]);
    for days in [60, 59] {
        host.sandbox.world().set_days_left(days).unwrap();
        host.sync();
    }
    for hold in ["hold", "release"] {
        host.root(&[hold]).exits(0);
    }
    let planner = host.path("targets/state");
    let planner = Mounted::at(planner, &["--bind", "-o", "ro"]);
    host.make_requests();
    let told = host.told_by("edge").len();
    let denied = host.root(&["distrust", "--yes", &leaf]);
    assert!(host.told_by("edge").len() > told, "{denied:?}");
    assert!(!rendered(&host, "edge").contains(&leaf), "{denied:?}");
    let outcome = host.outcome("edge");
    assert!(outcome["findings"].to_string().contains("apply_not_saved"), "{outcome:#}");
    assert!(outcome["verdict"]["told"].is_string(), "{outcome:#}");
    drop(planner);
    // Enough of them that the oldest should go.
    for word in [&leaf[..], &"ab".repeat(32), &"cd".repeat(32), &"ef".repeat(32)] {
        host.root(&["distrust", "--yes", "--unknown", word]);
    }
    let outcome = host.outcome("edge");
    let said = outcome["findings"].to_string();
    assert!(said.contains("apply_not_swept") && said.contains("000001"), "{outcome:#}");
    assert!(outcome["verdict"]["told"].is_string(), "{outcome:#}");
    drop(oldest);
    host.apply("edge").exits(0).never_says(&["apply_not_swept", "apply_not_saved"]);
    assert!(!host.path("targets/generations/edge/000001").exists());
}

#[test]
fn a_request_that_cannot_be_taken_away_is_answered_once_and_keeps_nothing_from_the_server() {
    let Some(host) = settled() else { return };
    let request = host.path("targets/requests/edge");
    std::fs::write(&request, "").unwrap();
    let _mounted = Mounted::at(request.clone(), &["--bind"]);
    host.sandbox.world().set_days_left(60).unwrap();
    let told = host.told_by("edge").len();
    // The daemon cannot ask, and root's half does what there is to do all the same.
    host.daemon(&["sync"]).exits(7);
    host.apply("edge").exits(0).says(&["request_stuck", request.to_str().unwrap()]);
    assert_eq!((host.linked("edge"), host.told_by("edge").len()), (Some(2), told + 1));
    // It is found again by every trigger: nobody is told again for it.
    for _ in 0..3 {
        host.apply("edge").exits(0);
    }
    assert_eq!(host.told_by("edge").len(), told + 1);
}

#[test]
fn a_confirmation_settles_a_privileged_target_that_nothing_can_show() {
    let Some(host) = Host::new() else { return };
    let base = host.sandbox.configuration();
    let failing = "\n[target.edge]\nkind = \"generic\"\nprivileged = true\nreload = { command = [\"/bin/false\"] }\n";
    host.sandbox.configure(&format!("{base}{failing}"));
    host.sync().exits(7);
    let _unit = host.path_unit(&["edge"]);
    host.daemon(&["confirm", "edge"]).exits(0).says(&["your confirmation of generation 000001 holds"]);
    host.daemon(&["sync"]).exits(0).says(&["confirmed by the operator"]);
    // By root at the keyboard too, and for no other generation.
    host.sandbox.world().set_days_left(60).unwrap();
    host.daemon(&["sync"]).exits(7);
    host.root(&["confirm", "edge"]).exits(0).says(&["your confirmation of generation 000002 holds"]);
    host.owners_are_kept();
}
