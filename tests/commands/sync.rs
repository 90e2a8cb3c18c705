//! `trustsync sync`, end to end: the real binary against the simulated vendor.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::sandbox::{self, Sandbox, fingerprint, run, tree};
use trustsync::clock::SystemClock;
use trustsync::simulator::failure::{Endpoint, Failure, Mode};
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::present::{Admission, present};
use trustsync::simulator::tls_server::TlsServer;
use trustsync::simulator::world::Impostor;

// --- publishing ---

#[test]
fn the_first_run_publishes_what_the_vendor_lists_and_tells_the_server() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    let ran = sandbox.sync(&[]).exits(0);
    let (current, upcoming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    ran.says(&["published generation 000001", &current, &upcoming, "+ current", "+ upcoming", "target web: reloaded"]);
    let roles = BTreeMap::from([(current.clone(), "current".to_owned()), (upcoming.clone(), "upcoming".to_owned())]);
    assert_eq!(sandbox.pins(), roles);
    assert_eq!(sandbox.current(), Some(1));
    assert_eq!(fs::read_link(sandbox.store().join("target/web")).unwrap(), Path::new("../generations/000001"));
    assert!(sandbox.published("fingerprints.txt").contains(&current));
    assert_eq!(sandbox.reload_requests("web"), 1);
}

/// What a run may change where nothing changed: `state.json`, and the lock's own line.
fn without_state(sandbox: &Sandbox) -> BTreeMap<std::path::PathBuf, sandbox::Found> {
    let mut found = tree(&sandbox.store());
    found.retain(|path, _| !["state.json", "lock", ""].iter().any(|name| path == Path::new(name)));
    found
}

#[test]
fn an_unchanged_answer_changes_nothing_but_the_state_and_is_one_line() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    let before = without_state(&sandbox);
    for _ in 0..3 {
        let ran = sandbox.sync(&[]).exits(0);
        assert_eq!(ran.log().len(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("event=\"unchanged\""), "{}", ran.stderr);
        assert_eq!(ran.stdout.lines().next(), Some("main: generation 000001, unchanged"));
    }
    assert_eq!(without_state(&sandbox), before);
    assert_eq!(sandbox.reload_requests("web"), 1, "nothing changed, so nobody is told");
    let leftovers = tree(&sandbox.store()).into_keys().filter(|path| path.to_string_lossy().contains("/.")).count();
    assert_eq!(leftovers, 0);
}

#[test]
fn the_form_of_an_answer_decides_nothing() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    let before = without_state(&sandbox);
    for mode in [Mode::CurrentOnlyUnlessAsked, Mode::ListsAll] {
        for form in PemForm::ALL {
            sandbox.world().set_mode(mode);
            sandbox.world().set_pem(form);
            let ran = sandbox.sync(&[]).exits(0);
            assert_eq!(ran.log().len(), 1, "{form}: {}", ran.stderr);
            assert_eq!(without_state(&sandbox), before, "{form} {mode}");
        }
    }
    sandbox.world().fail(Failure::LowerCaseAuthority, Endpoint::Listing, None);
    assert_eq!(sandbox.sync(&[]).exits(0).log().len(), 1);
    assert_eq!(without_state(&sandbox), before, "digicert is DigiCert");
    assert_eq!(sandbox.reload_requests("web"), 1);
}

#[test]
fn both_ways_to_list_give_the_same_union() {
    for mode in [Mode::ListsAll, Mode::CurrentOnlyUnlessAsked] {
        let sandbox = Sandbox::with(|options| {
            options.days_left = Some(60);
            options.mode = mode;
        });
        sandbox.sync(&[]).exits(0);
        assert_eq!(sandbox.pins().len(), 2, "{mode}");
        let listings = sandbox.world().requests().into_iter().filter(|one| one.endpoint == Some(Endpoint::Listing));
        let asked: Vec<String> = listings.map(|request| request.query).collect();
        assert_eq!(asked, ["", "status=Upcoming"], "{mode}");
    }
}

#[test]
fn a_new_certificate_is_a_new_generation_and_the_old_one_stays() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    let old = sandbox.current_leaf();
    sandbox.world().rotate().unwrap();
    let new = sandbox.current_leaf();
    sandbox.sync(&[]).exits(0).says(&["published generation 000002", &new]);
    assert_eq!(sandbox.pins().keys().collect::<Vec<_>>().len(), 2, "{old} stays for its grace");
    assert!(sandbox.pins().contains_key(&old));
    assert_eq!(sandbox.reload_requests("web"), 2);
    assert_eq!(sandbox.generations(), [1, 2]);
}

#[test]
fn two_listings_that_contradict_each_other_are_said_and_counted_and_their_union_counts() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    // The unfiltered listing is asked twice, so that it has the upcoming one where the filtered listing lacks it.
    sandbox.world().fail(Failure::FlappingUpcoming, Endpoint::Listing, None);
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Listing, Some(1));
    sandbox.sync(&[]).exits(0).says(&["event=\"listing_disagreement\"", "contradict each other"]);
    assert_eq!(sandbox.pins().len(), 2);
    assert_eq!(sandbox.state()["memory"]["slots"]["us.us-east-1.digicert"]["disagreements"], 1);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0).never_says(&["listing_disagreement"]);
    // Without a change too: it is about this poll, so it is always said.
    sandbox.world().fail(Failure::FlappingUpcoming, Endpoint::Listing, None);
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Listing, Some(1));
    sandbox.sync(&[]).exits(0).says(&["main: generation 000001, unchanged", "event=\"listing_disagreement\""]);
    sandbox.run(&["status"]).says(&["contradicted each other 2 time(s)"]);
}

#[test]
fn a_vendor_that_flaps_makes_no_generation_after_the_first() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.sync(&[]).exits(0);
    for mode in [Mode::ListsAll, Mode::CurrentOnlyUnlessAsked] {
        sandbox.world().set_mode(mode);
        for failure in [Failure::FlappingUpcoming, Failure::FlappingCurrent] {
            sandbox.world().clear();
            sandbox.world().fail(failure, Endpoint::Listing, None);
            let codes: Vec<i32> = (0..4).map(|_| sandbox.sync(&[]).code).collect();
            let expected = if failure == Failure::FlappingUpcoming { [0; 4] } else { [5, 0, 5, 0] };
            assert_eq!(codes, expected, "{failure} {mode}");
        }
    }
    assert_eq!(sandbox.generations(), [1]);
    assert_eq!(sandbox.pins().len(), 2);
}

// --- --dry-run, --detailed-exit-code, --deadline ---

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing_at_all() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    let before = tree(sandbox.folder.path());
    let ran = sandbox.sync(&["--dry-run"]).exits(0);
    let end = sandbox.world().current().unwrap().validity().not_after.to_string();
    ran.says(&[
        "no generation yet; this would change:",
        &sandbox.current_leaf(),
        &sandbox.upcoming_leaf(),
        "CN=dataactions.prod.us-east-1.mypurecloud.com",
        &end,
    ]);
    assert_eq!(tree(sandbox.folder.path()), before, "no store was there, and none is");
    sandbox.sync(&["--dry-run", "--detailed-exit-code"]).exits(10);

    sandbox.sync(&[]).exits(0);
    let before = tree(sandbox.folder.path());
    sandbox.sync(&["--dry-run", "--detailed-exit-code"]).exits(0).says(&["nothing would change"]);
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    let ran = sandbox.sync(&["--dry-run"]).exits(0);
    ran.says(&["this would change:", &format!("+ current              sha256:{}", sandbox.current_leaf())]);
    sandbox.world().fail(Failure::Forbidden, Endpoint::Listing, None);
    sandbox.sync(&["--dry-run"]).exits(4);
    assert_eq!(tree(sandbox.folder.path()), before);
    assert_eq!(sandbox.reload_requests("web"), 1);
}

#[test]
fn a_dry_run_needs_no_write_access() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    use std::os::unix::fs::PermissionsExt;
    let for_all = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let readers = [(["sync", "--dry-run"].as_slice(), 0), (&["status"], 0), (&["history"], 0), (&["diff"], 0)];
    if !rustix::process::geteuid().is_root() {
        for_all(&sandbox.store(), 0o555);
        let before = tree(sandbox.folder.path());
        for (arguments, code) in readers {
            sandbox.run(arguments).exits(code);
        }
        assert_eq!(tree(sandbox.folder.path()), before);
        for_all(&sandbox.store(), 0o755);
        return;
    }
    // Root writes anywhere, so another user has to try.
    for_all(sandbox.folder.path(), 0o755);
    std::os::unix::fs::chown(sandbox.path("client-secret"), Some(65534), Some(65534)).unwrap();
    let binary = sandbox.path("trustsync");
    fs::copy(env!("CARGO_BIN_EXE_trustsync"), &binary).unwrap();
    for_all(&binary, 0o755);
    let before = tree(sandbox.folder.path());
    for (arguments, code) in readers {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
        command.arg("--config").arg(sandbox.path("config.toml")).args(arguments).current_dir(sandbox.folder.path());
        run(&mut command).exits(code);
    }
    assert_eq!(tree(sandbox.folder.path()), before);
}

#[test]
fn the_detailed_exit_code_tells_changed_from_unchanged() {
    let sandbox = Sandbox::new();
    sandbox.sync(&["--detailed-exit-code"]).exits(10);
    sandbox.sync(&["--detailed-exit-code"]).exits(0);
    sandbox.world().rotate().unwrap();
    // What went wrong outranks that something changed.
    sandbox.world().fail(Failure::UpcomingWrongName, Endpoint::Listing, None);
    sandbox.sync(&["--detailed-exit-code"]).exits(5);
    assert_eq!(sandbox.current(), Some(2));
}

#[test]
fn a_vendor_that_hangs_is_given_up_at_the_deadline() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let before = without_state(&sandbox);
    for (failure, endpoint) in [
        (Failure::SlowHeaders, Endpoint::Token),
        (Failure::SlowHeaders, Endpoint::Listing),
        (Failure::SlowBody, Endpoint::Listing),
    ] {
        sandbox.world().clear();
        sandbox.world().fail(failure, endpoint, None);
        let ran = sandbox.sync(&["--deadline", "1s"]).exits(4);
        // The vendor takes ten minutes; what is above the deadline is for a machine with other work.
        assert!(ran.took < Duration::from_secs(60), "{failure}: {:?}", ran.took);
        ran.says(&["deadline", "Trust is unchanged"]);
    }
    assert_eq!(without_state(&sandbox), before);
}

// --- the vendor's failures ---

/// What must come of a failure where the store has trust: the exit code, and a word that the message must have.
fn expected(failure: Failure, endpoint: Endpoint) -> (i32, &'static str) {
    use Failure::*;
    let token = endpoint == Endpoint::Token;
    match failure {
        BadRequest => (4, "bad.request"),
        Unauthorized | CredentialsExpired => (4, if token { "does not accept the secret" } else { "refused a token" }),
        Forbidden => (4, if token { "403" } else { "integrations:actionCertificate:view" }),
        NotFound => (4, "there is nothing at this address"),
        RequestTimeout => (4, "408"),
        Conflict => (4, "409"),
        TooManyRequests | TooManyRequestsDate => (4, "rate limit"),
        InternalError | BadGateway | ServiceUnavailable | GatewayTimeout => (4, "the vendor's service failed"),
        SlowHeaders | SlowBody => (4, "deadline"),
        TruncatedBody | WrongContentLength => (5, "broke off"),
        EndlessBody => (5, "too large"),
        GzipBomb => (5, "not unpacked"),
        Html => (5, "HTML"),
        InvalidJson => (5, "JSON"),
        Redirect => (5, "never followed"),
        ConnectionReset => (4, "the connection"),
        PagingLoop => (5, "circle"),
        EndlessPaging => (5, "more than"),
        NextUriOtherHost | NextUriOtherScheme => (5, "not asked"),
        EmptyEntities => (5, "empty"),
        MissingEntities => (5, "entities"),
        TotalAboveListed | EmptySecondPage | RepeatedPage | AbsurdPageCount | PageNumberOutOfOrder => {
            (0, "visibly incomplete")
        }
        DayOldDate => (0, "The vendor's clock says"),
        HundredOddEntities => (0, "skipped"),
        HundredRefusedLeaves => (5, "The vendor's current certificate"),
        // Sixty days before the end, no alarm yet.
        EmptyUpcoming | FlappingUpcoming => (0, ""),
        UpcomingWrongName | UpcomingStranger | UpcomingNotYetValid | UpcomingCa | UpcomingOtherCa => {
            (5, "The vendor's upcoming certificate")
        }
        UpcomingExpired => (5, "expired"),
        CurrentExpired => (5, "expired"),
        CurrentAbsent | FlappingCurrent => (5, "no current DigiCert certificate"),
        CurrentWrongName | CurrentOtherCa => (5, "The vendor's current certificate"),
        TruncatedPem | PrivateKeyInPem | TwoLeaves => (5, "The vendor's current certificate"),
        UnknownStatus | UnknownType => (0, "skipped"),
        UnknownAuthority | MissingAuthority => (0, "signing authority"),
        // The slot of Genesys is not configured.
        LowerCaseAuthority | GenesysOtherRoot => (0, ""),
    }
}

/// What an empty store may publish under this failure: nothing where Current is not there or not good.
fn publishes(failure: Failure) -> bool {
    use Failure::*;
    match failure {
        // Current has expired and Upcoming is good: published, critical.
        CurrentExpired => true,
        CurrentAbsent | FlappingCurrent | CurrentWrongName | CurrentOtherCa => false,
        TruncatedPem | PrivateKeyInPem | TwoLeaves => false,
        PagingLoop | EndlessPaging | NextUriOtherHost | NextUriOtherScheme | EmptyEntities | MissingEntities => false,
        failure => failure.is_content(),
    }
}

fn in_parallel<T: Send + Sync>(cases: &[T], work: impl Fn(&T) + Send + Sync) {
    let next = Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                loop {
                    let case = next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some(case) = case else { break };
                    work(case);
                }
            });
        }
    });
}

#[test]
fn no_failure_of_the_vendor_costs_any_trust_and_each_is_said_once() {
    let both = |failure: &Failure| match failure.is_content() {
        true => vec![(*failure, Endpoint::Listing)],
        false => vec![(*failure, Endpoint::Listing), (*failure, Endpoint::Token)],
    };
    let cases: Vec<(Failure, Endpoint)> = Failure::ALL.iter().flat_map(both).collect();
    in_parallel(&cases, |(failure, endpoint)| {
        let name = format!("{failure} at {endpoint}");
        let (code, piece) = expected(*failure, *endpoint);
        // What is tried again needs no more than a moment of that here.
        let deadline = if failure.is_content() { "40s" } else { "3s" };

        let sandbox = Sandbox::with(|options| options.days_left = Some(60));
        // Pinned: an empty store would learn the name of whom it meets first.
        let pinned = "identity = [\"dataactions.prod.us-east-1.mypurecloud.com\"]\n[store.main]";
        sandbox.configure(&sandbox.configuration().replace("[store.main]", pinned));
        sandbox.add_target("web");
        sandbox.world().fail(*failure, *endpoint, None);
        let ran = sandbox.sync(&["--deadline", deadline]);
        assert_eq!(ran.code, code, "{name}, empty store:\n{}\n{}", ran.stdout, ran.stderr);
        if publishes(*failure) {
            assert_eq!(sandbox.current(), Some(1), "{name}: {}", ran.stderr);
        } else {
            assert_eq!(sandbox.generations(), Vec::<u64>::new(), "{name}: {}", ran.stderr);
            assert_eq!(sandbox.reload_requests("web"), 0, "{name}");
            let status = sandbox.run(&["status"]);
            assert!([1, 2].contains(&status.code), "{name}: an empty store after a failure is no good: {status:?}");
        }

        sandbox.world().clear();
        sandbox.sync(&[]).exits(0);
        let trusted = sandbox.pins();
        assert!(trusted.contains_key(&sandbox.current_leaf()), "{name}");
        let before = without_state(&sandbox);

        sandbox.world().fail(*failure, *endpoint, None);
        let ran = sandbox.sync(&["--deadline", deadline]);
        assert_eq!(ran.code, code, "{name}:\n{}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(piece), "{name}: no {piece:?} in\n{}", ran.stderr);
        let after = sandbox.pins();
        assert!(trusted.keys().all(|leaf| after.contains_key(leaf)), "{name} cost trust: {trusted:?} {after:?}");
        if !failure.is_content() {
            assert_eq!(without_state(&sandbox), before, "{name}");
        }
        if code != 0 {
            let lines = ran.log();
            let meaning = ["Trust is unchanged", "stays", "What it adds enters", "what it adds enters"];
            let says = |line: &&str| meaning.iter().any(|words| line.contains(words));
            assert!(lines.iter().any(says), "{name} does not say what it means for trust:\n{}", ran.stderr);
            let alarms = lines.iter().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).count();
            let most = match failure {
                // With the unfiltered listing alone refused, that Current is not there may be said too; and of many,
                // that there are so many.
                Failure::EmptyEntities | Failure::HundredRefusedLeaves => 2,
                _ => 1,
            };
            assert!(alarms <= most, "{name} is said {alarms} times:\n{}", ran.stderr);
            for line in &lines {
                let text = line.split_once(' ').unwrap().1;
                let again = lines.iter().filter(|other| other.split_once(' ').unwrap().1 == text).count();
                assert_eq!(again, 1, "{name} says this more than once: {text}");
            }
        }

        // Every other store of trust has been left alone: the next good answer is an unchanged one.
        sandbox.world().clear();
        sandbox.sync(&[]).exits(0);
        assert!(trusted.keys().all(|leaf| sandbox.pins().contains_key(leaf)), "{name}");
    });
}

/// An answer may be cut short, stale or of another page, and look like a good one.
#[test]
fn what_a_visibly_incomplete_or_stale_answer_lists_enters_and_what_it_lacks_does_not_count() {
    use Failure::*;
    let cases = [
        (TotalAboveListed, 1, "listing_incomplete", "total"),
        (EmptySecondPage, 1, "listing_incomplete", "empty"),
        (RepeatedPage, 2, "listing_incomplete", "an earlier page"),
        (AbsurdPageCount, 1, "listing_incomplete", "1000000000 pages"),
        (PageNumberOutOfOrder, 1, "listing_incomplete", "page 3"),
        (DayOldDate, 1, "answer_stale", "cache"),
    ];
    in_parallel(&cases, |(failure, strikes, event, says)| {
        let sandbox = Sandbox::new();
        sandbox.sync(&[]).exits(0);
        let old = sandbox.current_leaf();
        sandbox.world().rotate().unwrap();
        let absences =
            || sandbox.state()["memory"]["slots"]["us.us-east-1.digicert"]["entries"][&old]["absence"].clone();
        for polls in 0..3 {
            // One of the two listings is enough.
            sandbox.world().fail(*failure, Endpoint::Listing, Some(*strikes));
            let ran = sandbox.sync(&["--log-format", "json"]).exits(0);
            let lines = ran.json_log();
            let told: Vec<_> = lines.iter().filter(|line| line["event"] == *event).collect();
            assert_eq!(told.len(), 1, "{failure}: {}", ran.stderr);
            assert!(told[0]["message"].as_str().unwrap().contains(says), "{failure}: {}", told[0]);
            assert!(sandbox.pins().contains_key(&sandbox.current_leaf()), "{failure}: what it lists enters");
            assert!(absences().is_null(), "{failure}, poll {polls}: its absence counted: {}", absences());
        }
        sandbox.world().clear();
        sandbox.sync(&[]).exits(0).never_says(&[event]);
        assert_eq!(absences()["answers"], 1, "{failure}: in a clean answer it does");
    });
}

#[test]
fn listings_are_asked_for_past_every_cache() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let listings = sandbox.world().requests().into_iter().filter(|one| one.endpoint == Some(Endpoint::Listing));
    let asked: Vec<bool> = listings.map(|request| request.no_cache).collect();
    assert_eq!(asked, [true, true]);
}

#[test]
fn a_hundred_odd_entities_are_one_line_a_kind_with_their_number() {
    for (failure, code, events) in [
        (Failure::HundredOddEntities, 0, &["entity_of_unknown_authority", "entity_skipped", "entity_skipped"][..]),
        (Failure::HundredRefusedLeaves, 5, &["too_many_entities", "current_refused"]),
    ] {
        let sandbox = Sandbox::new();
        sandbox.world().fail(failure, Endpoint::Listing, None);
        let ran = sandbox.sync(&["--log-format", "json"]).exits(code);
        let mut told = ran.events();
        told.retain(|event| events.contains(&event.as_str()));
        assert_eq!(told, events, "{failure}: {}", ran.stderr);
        assert!(ran.stderr.len() < 6_000, "{failure}: {} bytes of log", ran.stderr.len());
        let counts: &[&str] = if code == 0 { &["34 ", "33 "] } else { &["101 ", "And 30 more"] };
        ran.says(counts);
        assert_eq!(sandbox.current(), Some(1), "{failure}: what is good enters");
    }
}

#[test]
fn one_listing_that_fails_takes_nothing_from_the_other() {
    let sandbox = Sandbox::new();
    // The unfiltered listing is asked first.
    sandbox.world().fail(Failure::Html, Endpoint::Listing, Some(1));
    sandbox.sync(&[]).exits(5).says(&["The other listing counts"]);
    assert_eq!(sandbox.current(), None, "an empty store is not begun with an upcoming one");
    sandbox.sync(&[]).exits(0);
    let before = sandbox.pins();
    sandbox.world().set_days_left(60).unwrap();
    sandbox.world().fail(Failure::Html, Endpoint::Listing, Some(1));
    sandbox.sync(&[]).exits(5).says(&["The other listing counts", "published generation 000002"]);
    let after = sandbox.pins();
    assert!(after.contains_key(&sandbox.upcoming_leaf()) && !after.contains_key(&sandbox.current_leaf()));
    assert!(before.keys().all(|leaf| after.contains_key(leaf)));
}

#[test]
fn a_refused_upcoming_is_critical_from_the_first_poll_that_sees_it() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(80));
    sandbox.world().fail(Failure::UpcomingWrongName, Endpoint::Listing, None);
    let ran = sandbox.sync(&["--log-format", "json"]).exits(5);
    let line = ran.json_log().into_iter().find(|line| line["event"] == "upcoming_refused").expect("it is said");
    assert_eq!((line["level"].as_str(), line["subject"].as_str()), (Some("ERROR"), Some("us.us-east-1.digicert")));
    assert_eq!(sandbox.pins().len(), 1, "the current one enters, whatever its neighbour is");
    let status = sandbox.run(&["status"]).exits(2);
    status.says(&["CRITICAL", "upcoming_refused:us.us-east-1.digicert"]);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status"]).exits(1).says(&["It is over", "alarms ack upcoming_refused:us.us-east-1.digicert"]);
}

#[test]
fn an_upcoming_that_never_appears_is_a_warning_and_then_critical() {
    for (days, word, code) in [(50, None, 0), (40, Some("WARNING"), 1), (10, Some("CRITICAL"), 2)] {
        let sandbox = Sandbox::with(|options| options.days_left = Some(days));
        sandbox.world().fail(Failure::EmptyUpcoming, Endpoint::Listing, None);
        sandbox.sync(&[]).exits(0);
        let status = sandbox.run(&["status"]).exits(code);
        assert_eq!(status.stdout.contains("upcoming_missing"), word.is_some(), "{days} days: {}", status.stdout);
        status.says(&[word.unwrap_or("OK")]);
    }
}

#[test]
fn an_upcoming_that_ends_before_current_is_published_named_and_admitted() {
    for has_store in [false, true] {
        let sandbox = Sandbox::with(|options| options.days_left = Some(70));
        if has_store {
            sandbox.world().fail(Failure::EmptyUpcoming, Endpoint::Listing, None);
            sandbox.sync(&[]).exits(0);
            sandbox.world().clear();
        }
        sandbox.append("\n[target.web]\nkind = \"nginx\"\ncheck = []\nreload = \"none\"\n");
        sandbox.world().set_upcoming_days_left(60).unwrap();
        let early = sandbox.world().upcoming().unwrap().unwrap();
        let name = fingerprint(early.der());
        let ran = sandbox.sync(&["--log-format", "json"]);
        let line = ran.json_log().into_iter().find(|line| line["event"] == "upcoming_ends_early");
        let line = line.unwrap_or_else(|| panic!("it is not named: {ran:?}"));
        assert_eq!((line["level"].as_str(), line["subject"].as_str()), (Some("WARN"), Some("us.us-east-1.digicert")));
        let roles = [(sandbox.current_leaf(), "current".to_owned()), (name.clone(), "upcoming".to_owned())];
        assert_eq!(sandbox.pins(), BTreeMap::from(roles));
        let sha1 =
            trustsync::trust::formats::certificate::Certificate::parse(early.der()).unwrap().facts().sha1.clone();
        for (file, words) in [
            ("fingerprints.txt", format!("upcoming sha256:{name} sha1:{sha1}")),
            ("nginx/admit.map", format!(r#""~^SUCCESS\\|{sha1}\\|" "upcoming";"#)),
        ] {
            assert!(sandbox.published(file).contains(&words), "{words} is not in {file}: {}", sandbox.published(file));
        }
        let current = sandbox.world().current().unwrap();
        let stranger = sandbox.world().impostor(Impostor::Stranger).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let link = sandbox.store().join("target/web");
            let server = TlsServer::start(link, Arc::new(SystemClock)).await.unwrap();
            for (leaf, admitted) in [(&early, true), (&current, true), (&stranger, false)] {
                let admission = present(server.address(), Some(leaf)).await;
                assert_eq!(matches!(admission, Admission::Admitted { .. }), admitted, "{admission}");
            }
        });
        let end = early.validity().not_after.to_string();
        let until = format!("upcoming  {}", sandbox.world().options().certificate_name);
        sandbox.run(&["status"]).says(&["upcoming_ends_early:us.us-east-1.digicert", &until, &name, &end]);

        // Ten days later than it, Current ends; thirty before that, it is missed as if nothing were announced.
        sandbox.world().set_days_left(30).unwrap();
        sandbox.world().set_upcoming_days_left(20).unwrap();
        sandbox.sync(&[]);
        sandbox.run(&["status"]).says(&["upcoming_missing:us.us-east-1.digicert", "upcoming_ends_early"]);
    }
}

// --- memory ---

#[test]
fn what_the_vendor_sends_does_not_fill_the_memory() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    for (failure, endpoint) in [
        (Failure::EndlessBody, Endpoint::Listing),
        (Failure::EndlessBody, Endpoint::Token),
        (Failure::GzipBomb, Endpoint::Listing),
        (Failure::EndlessPaging, Endpoint::Listing),
    ] {
        sandbox.world().clear();
        sandbox.world().fail(failure, endpoint, None);
        let plain = sandbox.command(&["sync"]);
        let mut bounded = std::process::Command::new("prlimit");
        bounded.arg("--as=300000000").arg(plain.get_program()).args(plain.get_args());
        bounded.current_dir(sandbox.folder.path());
        let ran = run(&mut bounded).exits(5);
        ran.says(&["Trust is unchanged"]).never_says(&["memory allocation", "panicked"]);
    }
    assert_eq!(sandbox.pins().len(), 1);
}

// --- several sources, several stores ---

#[test]
fn a_source_that_fails_keeps_no_other_from_its_trust() {
    let sandbox = Sandbox::new();
    let other = Sandbox::with(|options| options.days_left = Some(300));
    fs::copy(other.path("api-ca.pem"), sandbox.path("other-ca.pem")).unwrap();
    fs::copy(other.path("digicert-root.pem"), sandbox.path("other-root.pem")).unwrap();
    sandbox::write_secret(&sandbox.path("other-secret"), other.world().client_secret());
    let second = other
        .source("other", "us-east-1")
        .replace("api-ca.pem", "other-ca.pem")
        .replace("digicert-root.pem", "other-root.pem")
        .replace("client-secret\"", "other-secret\"");
    sandbox.append(&format!("\n{second}"));
    sandbox.world().fail(Failure::Forbidden, Endpoint::Both, None);
    sandbox.sync(&[]).exits(4).says(&["source_refused_us", "subject=\"us\"", "published generation 000001"]);
    assert_eq!(sandbox.pins().into_keys().collect::<Vec<_>>(), [other.current_leaf()]);

    sandbox.world().clear();
    other.world().fail(Failure::Html, Endpoint::Both, None);
    sandbox.sync(&[]).exits(5);
    assert!(sandbox.pins().contains_key(&other.current_leaf()) && sandbox.pins().contains_key(&sandbox.current_leaf()));
    other.world().rotate().unwrap();
    other.world().clear();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins().len(), 3);
    sandbox.run(&["status"]).exits(0).says(&["source us:", "source other:"]);
}

#[test]
fn several_stores_are_served_in_one_run_or_one_of_them_by_name() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!(
        "{}\n[crl]\npolicy = \"off\"\n[store.one]\npath = \"store\"\n[store.two]\npath = \
         \"second/store\"\n[target.web]\nstore = \"one\"\nkind = \"generic\"\n",
        sandbox.source("us", "us-east-1")
    ));
    // The parent of the second does not exist: its trouble is told, and the first is served.
    sandbox.sync(&[]).exits(6).says(&["one: published generation 000001", "store=\"two\"", "second"]);
    fs::create_dir(sandbox.path("second")).unwrap();
    sandbox.sync(&["--store", "two"]).exits(0).says(&["two: published"]).never_says(&["one:"]);
    sandbox.sync(&[]).exits(0).says(&["one: generation 000001, unchanged", "two: generation 000001, unchanged"]);
    sandbox.run(&["history"]).exits(2).says(&["--store", "one, two"]);
    sandbox.run(&["history", "--store", "two"]).exits(0).says(&["000001"]);
    sandbox.run(&["sync", "--store", "three"]).exits(2).says(&["there is no store \"three\"", "one, two"]);
    sandbox.run(&["status"]).exits(0).says(&["one: OK", "two: OK"]);
}

#[test]
fn both_authorities_are_pinned_and_named_by_their_own_rules() {
    let sandbox = Sandbox::new();
    let text = sandbox.configuration().replace(
        "[store.main]",
        "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]\n[store.main]",
    );
    sandbox.configure(&text);
    sandbox.sync(&[]).exits(0).says(&["+ name rule: dataactions.prod.us-east-1.mypurecloud.com"]);
    sandbox.world().renew_genesys().unwrap();
    sandbox.sync(&[]).exits(0).says(&["unchanged"]);
    let genesys = fingerprint(sandbox.world().genesys().unwrap().der());
    assert!(!sandbox.published("fingerprints.txt").contains(&genesys), "a Genesys leaf is never pinned");
    sandbox.world().fail(Failure::GenesysOtherRoot, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5).says(&["us.us-east-1.genesys", "generation 000001, unchanged"]);
    sandbox.run(&["status"]).exits(2).says(&["name rule"]);
}

// --- the disk ---

/// A filesystem that keeps no modes: each file is its owner's alone, whatever is asked for.
fn on_a_disk_without_modes(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    let strace = "umask 077; exec strace -f -qq -o /dev/null -e trace=fchmod -e inject=fchmod:retval=0 -- \"$@\"";
    shell.args(["-c", strace, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

#[test]
fn a_store_that_is_unfaithful_is_critical_as_long_as_it_is() {
    let sandbox = Sandbox::new();
    run(&mut on_a_disk_without_modes(&sandbox.command(&["sync"]))).exits(0).says(&["store_unfaithful", "another mode"]);
    for _ in 0..2 {
        sandbox.sync(&[]).exits(0).says(&["generation 000001, unchanged"]).never_says(&["repairs it"]);
        let alarms = sandbox.run(&["alarms"]).exits(2);
        alarms.says(&["CRITICAL [store_unfaithful:main]", "stands", "It is not written again"]);
    }
    // Mended by hand, it is as it was written.
    let chmod = "chmod -R u=rwX,go=rX store";
    run(Command::new("/bin/sh").args(["-c", chmod]).current_dir(sandbox.folder.path())).exits(0);
    sandbox.sync(&[]).exits(0).says(&["generation 000001, unchanged"]);
    sandbox.run(&["alarms"]).exits(0).says(&["No alarms."]);
}

// --- who else ---

#[test]
fn a_writer_that_holds_the_lock_is_named() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let _held = trustsync::store::Lock::acquire(
        &sandbox.store(),
        "a test",
        trustsync::trust::values::timestamp::Timestamp::from_unix(1_800_000_000),
        Duration::from_secs(1),
    )
    .unwrap();
    let ran = sandbox.sync(&["--lock-timeout", "200ms"]).exits(8);
    ran.says(&["another writer holds", "a test", &std::process::id().to_string(), "--lock-timeout"]);
    sandbox.sync(&["--dry-run"]).exits(0);
    sandbox.run(&["status"]).exits(0);
}

#[test]
fn the_generation_that_a_server_still_runs_is_kept_to_compare_new_ones_with() {
    let sandbox = Sandbox::new();
    sandbox.append("keep = 2\n");
    sandbox.add_target("web");
    let (broken, refused) = (sandbox.path("broken"), sandbox.path("refused"));
    // Broken without us while one file stands there; refuses what has an upcoming certificate while another does.
    let check = format!(
        "test ! -e '{}' || exit 1; test ! -e '{}' || ! grep -q upcoming \"$TRUSTSYNC_DIRECTORY/fingerprints.txt\"",
        broken.display(),
        refused.display()
    );
    sandbox.append(&format!("check = [\"/bin/sh\", \"-c\", {}]\n", serde_json::to_string(&check).unwrap()));
    sandbox.sync(&[]).exits(0);
    fs::write(&broken, "").unwrap();
    sandbox.world().set_days_left(60).unwrap();
    sandbox.sync(&[]).exits(9).says(&["target_broken"]);
    sandbox.run(&["distrust", "--yes", "--unknown", &"ab".repeat(32)]).exits(9);
    assert_eq!((sandbox.current(), sandbox.generations()), (Some(3), vec![1, 2, 3]), "the server still runs the first");
    // Mended elsewhere, and only the new one is refused: it is compared with what the server runs, and taken back.
    fs::remove_file(&broken).unwrap();
    fs::write(&refused, "").unwrap();
    sandbox.sync(&[]).exits(9).says(&["target_check_refused"]).never_says(&["target_broken"]);
    assert_eq!(sandbox.reload_requests("web"), 1);
    fs::remove_file(&refused).unwrap();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.reload_requests("web"), 2);
    // Nobody runs it any more: it goes with the next one.
    sandbox.run(&["distrust", "--yes", &sandbox.upcoming_leaf()]).exits(0);
    let left = sandbox.generations();
    assert!(left.len() == 2 && !left.contains(&1), "{left:?}");
}

#[test]
fn at_v_each_command_is_told_with_its_store_its_target_its_time_and_its_end() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    sandbox.append("check = [\"/bin/sh\", \"-c\", \"echo all is well\"]\n");
    let ran = sandbox.run(&["--log-format", "json", "-v", "sync"]).exits(0);
    let log = ran.json_log();
    let commands: Vec<_> = log.iter().filter(|line| line["event"] == "command_ended").collect();
    for command in ["all is well", "echo told"] {
        let is_it = |line: &&&serde_json::Value| line["command"].as_str().is_some_and(|told| told.contains(command));
        let line = commands.iter().find(is_it).unwrap_or_else(|| panic!("{command} in {log:#?}"));
        assert!(line["took_ms"].is_u64() && line["ended"] == "exit status: 0", "{line:#}");
        let spans = &line["spans"];
        assert_eq!((&spans[0]["name"], &spans[0]["store"]), (&"store".into(), &"main".into()), "{line:#}");
        assert_eq!((&spans[1]["target"], &spans[1]["generation"]), (&"web".into(), &1.into()), "{line:#}");
    }
    assert!(log.iter().any(|line| line["event"] == "token_taken" && line["span"]["source"] == "us"), "{log:#?}");
    let quiet = sandbox.run(&["--log-format", "json", "sync"]).exits(0);
    assert!(!quiet.events().iter().any(|event| event.starts_with("command_")));
}
