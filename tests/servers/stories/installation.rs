//! A server that does not use our files yet: it is asked to reload once a generation, its operator is shown the lines, and once they
//! are there nobody has to do more.

use std::fs;

use support::cast::knock;
use support::report::{alarm, line};
use support::server::Server;
use support::stage::Stage;
use trustsync::exit::Exit;

pub async fn a_new_installation_is_synced_then_wired_then_proven<S: Server>(row: S::Row) {
    let mut stage = Stage::begin_now().await;
    let mut server = S::start(&stage, row);
    stage.configure(&[(S::TARGET, &server, None)]);
    let (target, shipped) = (S::TARGET, S::shipped(&stage));
    // Those that watch are never asked to reload.
    let once = usize::from(S::IS_RELOADED);

    let first = stage.run(&["sync"]).await;
    assert_eq!(first.code, 7, "{first:?}");
    for line in &shipped {
        assert!(first.stdout.contains(line), "{line} in {}", first.stdout);
    }
    assert!(!first.stdout.contains("/var/lib/trustsync"), "{}", first.stdout);
    assert!(first.stdout.contains("OWED: not wired"), "{}", first.stdout);
    let not_wired: Vec<&str> = first.stderr.lines().filter(|line| line.contains("target_not_wired")).collect();
    assert_eq!(not_wired.len(), 1, "{}", first.stderr);
    for words in ["does not use this store's files", &format!("trustsync snippet {target}")] {
        assert!(not_wired[0].contains(words), "{words} in {not_wired:?}");
    }
    assert_eq!(server.reload_requests(&stage), once);

    // Still not wired: it is not reloaded again, and it says so all the same, without the snippet; nor is its check judged by
    // files that its server does not use.
    let second = stage.run(&["sync"]).await;
    assert_eq!((second.code, server.reload_requests(&stage)), (7, once), "{second:?}");
    assert!(second.stdout.contains("OWED: not wired") && !second.stdout.contains(&shipped[0]), "{second:?}");
    assert!(second.stderr.contains("target_not_wired"), "{second:?}");
    assert_eq!(stage.alarms(), [format!("target_not_wired:{target}")]);
    let status = stage.run(&["status"]).await;
    assert_eq!(status.code, 2, "{status:?}");
    assert!(status.stdout.contains("serves nothing known; OWED: not wired"), "{}", status.stdout);

    // Those who ask for them get the lines again.
    let reload = stage.run(&["reload", target]).await;
    assert_eq!((reload.code, server.reload_requests(&stage)), (7, 2 * once), "{reload:?}");
    assert!(reload.stdout.contains(&shipped[0]), "{reload:?}");

    server.wire(&stage);
    let requests = server.reload_requests(&stage);
    let wired = stage.run(&["sync"]).await;
    assert_eq!(wired.code, 0, "{wired:?}");
    assert!(wired.stdout.contains(&format!("target {target}: proven")), "{}", wired.stdout);
    assert_eq!(server.reload_requests(&stage), requests, "its operator's own reload is enough");
    assert_eq!(stage.alarms(), Vec::<String>::new());
    assert_eq!(knock(&server.address(), Some(&stage.world().current().unwrap())), "200");

    let quiet = stage.run(&["sync"]).await;
    assert_eq!((quiet.code, server.reload_requests(&stage)), (0, requests), "{quiet:?}");
    assert_eq!(quiet.stderr.lines().count(), 1, "a run without change is one line: {}", quiet.stderr);
    assert_eq!(stage.run(&["status"]).await.code, 0);

    let evidence = fs::read_to_string(stage.root().join("store/evidence.jsonl")).unwrap();
    let events: Vec<_> = evidence
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["generation"]))
        .collect();
    let mut expected = vec!["committed 1", "told 1", "owed 1", "told 1", "proven 1"];
    expected.retain(|event| S::IS_RELOADED || *event != "told 1");
    assert_eq!(events, expected, "what is owed for the same reason is written once");
}

pub async fn a_server_that_is_not_wired_is_reloaded_once_a_generation<S: Server>(row: S::Row) {
    let mut stage = Stage::begin().await;
    let server = S::start(&stage, row);
    stage.configure(&[(S::TARGET, &server, None)]);
    for (day, times, lines) in [(0, 1, true), (1, 1, false), (45, 2, true), (46, 2, false)] {
        stage.on_day(day);
        let report = stage.cycle().await;
        assert_eq!((report.exit(false), server.reload_requests(&stage)), (Exit::Owed, times), "day {day}");
        assert_eq!(line(&report).to_add.is_some(), lines, "day {day}");
        alarm(&report, "target_not_wired");
    }
}
