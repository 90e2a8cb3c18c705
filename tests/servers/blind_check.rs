//! Checks that look at nothing: found out once, said so, and relied on no more. On a real nginx, and on a target of no
//! known kind; HAProxy's own sees.

use std::fs;

use support::haproxy_stage;
use support::host::Host;
use support::nginx::Nginx;
use support::nginx_stage::PLAIN;
use support::privilege;
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::turn::{Evidence, Owed};

/// A server that serves generation 1 by our files, with this check.
async fn wired(check: impl Fn(&Stage, &Nginx) -> Vec<String>) -> (Stage, Nginx, Report) {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    let check = check(&stage, &nginx);
    stage.configure(&[("nginx", &nginx, Some(check))]);
    let first = stage.cycle().await;
    assert!(
        first.findings.iter().all(|finding| finding.event.name() != "check_blind"),
        "not by files that nobody uses yet"
    );
    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    let report = stage.cycle().await;
    assert_eq!(report.targets[0].settled, Some(Evidence::Proven), "{report:?}");
    (stage, nginx, report)
}

fn verdict(stage: &Stage, target: &str) -> serde_json::Value {
    stage.state()["targets"][target]["sight"]["verdict"].clone()
}

#[track_caller]
fn blind(report: &Report) -> Option<&str> {
    let found = report.findings.iter().find(|finding| finding.event.name() == "check_blind")?;
    assert_eq!(found.severity, Severity::Warning);
    Some(&found.text)
}

#[tokio::test]
async fn the_servers_own_check_sees_and_is_judged_once() {
    if !privilege::is_root() {
        return;
    }
    let count = |stage: &Stage, nginx: &Nginx| stage.wrapped_check("nginx", nginx, "echo run >> runs");
    let (mut stage, _nginx, report) = wired(count).await;
    assert_eq!((blind(&report), verdict(&stage, "nginx")), (None, "sees".into()));
    let runs = |stage: &Stage| fs::read_to_string(stage.root().join("runs")).unwrap().lines().count();
    let before = runs(&stage);
    stage.cycle().await;
    // What stays is to see who asks the list (`nginx -T`).
    assert_eq!(runs(&stage), before + 1);
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn a_check_in_another_mount_namespace_is_found_out_and_counts_only_where_it_refuses() {
    if !privilege::is_root() {
        return;
    }
    // As `docker exec` does: it sees the files that the server sees, and not those that it is shown.
    let elsewhere = |stage: &Stage, nginx: &Nginx| {
        let namespace = format!("--mount=/proc/{}/ns/mnt", std::process::id());
        let own = stage.wrapped_check("nginx", nginx, "echo run >> runs");
        [vec!["nsenter".to_owned(), namespace, "--".to_owned()], own].concat()
    };
    let (mut stage, nginx, report) = wired(elsewhere).await;
    let text = blind(&report).unwrap();
    assert!(text.contains("nsenter") && text.contains("another mount namespace"), "{text}");
    assert!(text.contains("still made as things stand"), "{text}");
    assert_eq!((verdict(&stage, "nginx"), stage.alarms()), ("blind".into(), vec!["check_blind:nginx".to_owned()]));
    let status = stage.run(&["status"]).await;
    assert!(status.stdout.contains("broken on purpose"), "{status:?}");

    // Its word for a generation counts for nothing, and it is shown each new one broken, once.
    for day in [45, 46] {
        stage.on_day(day);
        assert!(blind(&stage.cycle().await).is_some());
    }
    assert_eq!(stage.state()["targets"]["nginx"]["sight"]["generation"], 2);
    // What it refuses is broken all the same, and is not told.
    nginx.rewrite("nonsense;");
    stage.on_day(100);
    stage.world().rotate().unwrap();
    stage.world().rotate().unwrap();
    let report = stage.cycle().await;
    assert!(report.committed && !report.targets[0].reloaded, "{report:?}");
    let Some(Owed::BrokenWithoutUs { new, old }) = &report.targets[0].owed else { panic!("{report:?}") };
    assert!(new.contains("nonsense") && old.contains("nonsense"), "{new} {old}");
    assert_eq!(stage.linked("nginx"), report.generation.unwrap());

    // Another one that sees counts again.
    nginx.rewrite(&stage.wired("nginx"));
    stage.configure(&[("nginx", &nginx, None)]);
    let report = stage.cycle().await;
    assert_eq!((blind(&report), verdict(&stage, "nginx")), (None, "sees".into()), "{report:?}");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn a_check_that_says_yes_to_everything_is_found_out_on_any_target() {
    if !privilege::is_root() {
        return;
    }
    let mut stage = Stage::begin().await;
    let link = stage.link("plain").display().to_string();
    let target = |check: &str| {
        format!("[target.plain]\nkind = \"generic\"\ncheck = {check}\nreload = {{ command = [\"/bin/true\"] }}\n")
    };
    stage.configure_targets(&target("[\"/bin/true\"]"));
    assert!(blind(&stage.cycle().await).is_some());
    assert_eq!(stage.alarms(), ["check_blind:plain"]);
    // One that counts what it reads.
    let counts = format!("[\"openssl\", \"x509\", \"-noout\", \"-in\", \"{link}/leaves.pem\"]");
    stage.configure_targets(&target(&counts));
    assert_eq!((blind(&stage.cycle().await), verdict(&stage, "plain")), (None, "sees".into()));
    // One that refuses everything says nothing of its sight.
    stage.configure_targets(&target("[\"/bin/false\"]"));
    stage.cycle().await;
    assert_eq!(stage.state()["targets"]["plain"]["sight"]["verdict"], "sees", "of the one before");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn haproxys_own_check_sees_and_one_that_says_yes_does_not() {
    if !privilege::is_root() {
        return;
    }
    for way in haproxy_stage::WAYS {
        one_that_says_yes_does_not_see(way).await;
    }
}

async fn one_that_says_yes_does_not_see(way: haproxy_stage::Way) {
    let mut stage = Stage::begin_now().await;
    let server = stage.serve_haproxy("haproxy", way, haproxy_stage::PLAIN);
    stage.configure(&[("haproxy", &server, None)]);
    assert_eq!(stage.run(&["sync"]).await.code, 7);
    assert_eq!(stage.alarms(), ["target_not_wired:haproxy"]);
    server.rewrite(stage.wired_haproxy("haproxy"));
    assert_eq!(stage.run(&["reload", "haproxy"]).await.code, 0);
    assert_eq!(stage.run(&["sync"]).await.code, 0);
    assert_eq!((verdict(&stage, "haproxy"), stage.alarms()), ("sees".into(), Vec::new()));
    let configuration = fs::read_to_string(stage.root().join("config.toml")).unwrap();
    let own = format!("check = {:?}", server.check_command());
    assert!(configuration.contains(&own));
    fs::write(stage.root().join("config.toml"), configuration.replace(&own, "check = [\"/bin/true\"]")).unwrap();
    assert_eq!(stage.run(&["sync"]).await.code, 0);
    assert_eq!((verdict(&stage, "haproxy"), stage.alarms()), ("blind".into(), vec!["check_blind:haproxy".to_owned()]));
}

#[tokio::test]
async fn without_root_it_is_said_once_that_nobody_knows() {
    if privilege::role().is_some() {
        assert!(!rustix::process::geteuid().is_root());
        let (mut stage, _nginx, report) = wired(|_, nginx| nginx.check_command()).await;
        let noted = |report: &Report| {
            report.findings.iter().filter(|finding| finding.event.name() == "check_not_judged").count()
        };
        let text = &report.findings.iter().find(|finding| finding.event.name() == "check_not_judged").unwrap().text;
        assert!(text.contains("before the link is switched and after"), "{text}");
        assert_eq!((noted(&report), stage.alarms()), (1, Vec::new()));
        assert_eq!(noted(&stage.cycle().await), 0);
        return;
    }
    privilege::again_as_nobody();
}

#[test]
fn in_roots_half_a_blind_check_is_found_out_once_the_daemon_has_seen_its_files_in_use() {
    let Some(host) = Host::new() else { return };
    let server = host.serve(PLAIN);
    host.add_server("edge", &server, &server.check_command());
    let elsewhere = format!("check = [\"nsenter\", \"--mount=/proc/{}/ns/mnt\", \"--\", \"nginx\"", std::process::id());
    let configuration = fs::read_to_string(host.path("config.toml")).unwrap();
    fs::write(host.path("config.toml"), configuration.replace("check = [\"nginx\"", &elsewhere)).unwrap();
    let _unit = host.path_unit(&["edge"]);
    host.daemon(&["sync"]).exits(7);
    assert!(host.outcome("edge").get("sight").is_none(), "not by files that nobody uses yet");
    server.rewrite(&host.wired("edge"));
    server.reload();
    for _ in 0..2 {
        let done = host.daemon(&["sync"]).exits(0).says(&["target edge: proven", "broken on purpose"]);
        drop(done);
        assert_eq!(host.outcome("edge")["sight"]["verdict"], "blind");
    }
    host.owners_are_kept();

    // The server's own sees.
    fs::write(host.path("config.toml"), configuration).unwrap();
    host.daemon(&["reload", "edge"]).exits(0);
    host.daemon(&["sync"]).exits(0);
    assert_eq!(host.outcome("edge")["sight"]["verdict"], "sees");
    let status = host.daemon(&["status"]);
    assert!(!status.stdout.contains("broken on purpose"), "{status:?}");
}
