//! An operator who errs, in one afternoon on one host: whatever they do and take back, in the end the server has what the
//! vendor lists, and every word of it is on record.

use std::fs;
use std::os::unix::fs::chown;

use support::host::Host;
use support::privilege::NOBODY;

#[test]
fn whatever_the_operator_does_and_takes_back_the_server_has_in_the_end_what_the_vendor_lists() {
    let Some(host) = Host::with(|options| options.days_left = Some(60)) else { return };
    let told = host.path("told");
    fs::write(&told, "").unwrap();
    chown(&told, Some(NOBODY), Some(NOBODY)).unwrap();
    let base = host.sandbox.configuration();
    let reload = format!("reload = {{ command = [\"/bin/sh\", \"-c\", \"id -u >> {}\"] }}", told.display());
    let target = format!("\n[target.edge]\nkind = \"generic\"\n{reload}\n");
    host.sandbox.configure(&format!("{base}{target}"));
    host.daemon(&["sync"]).exits(0);
    let (current, upcoming) = (host.sandbox.current_leaf(), host.sandbox.upcoming_leaf());
    let pinned = || host.sandbox.pins().into_keys().collect::<Vec<_>>();
    let both = pinned();
    assert!(both.contains(&current) && both.contains(&upcoming));

    // The wrong one, and back.
    host.root(&["distrust", "--yes", &current, "--reason", "a typo"]).exits(0);
    host.daemon(&["status"]).exits(2).says(&["distrusted, since", "by root (uid 0): a typo"]);
    host.root(&["undistrust", &current, "--reason", "it was a typo"]).exits(0);
    host.daemon(&["sync"]).exits(0);
    assert_eq!(pinned(), both);

    // Back to a set without what is listed now, which is refused; and a hold that is forgotten.
    host.root(&["rollback"]).exits(11).says(&["Nothing was changed"]);
    assert_eq!(pinned(), both);
    host.root(&["hold", "--reason", "over the weekend"]).exits(0);
    host.sandbox.world().rotate().unwrap();
    host.daemon(&["sync"]);
    host.daemon(&["status"]).says(&["HELD until", "by root (uid 0): over the weekend"]);
    host.root(&["release"]).exits(0);
    host.root(&["release"]).exits(11);
    host.daemon(&["sync"]);
    assert!(pinned().contains(&host.sandbox.current_leaf()));

    // The target is root's from now on: what the daemon's half had is not drift, and root's half begins.
    host.sandbox.configure(&format!("{base}{target}privileged = true\n"));
    host.sync();
    host.sync().exits(0);
    assert_eq!(host.linked("edge"), host.sandbox.current());
    let leaves = fs::read_to_string(host.link("edge").join("fingerprints.txt")).unwrap();
    assert!(pinned().iter().all(|leaf| leaves.contains(leaf)), "{leaves}");
    // And there too the wrong one, and back, at root's own half.
    let current = host.sandbox.current_leaf();
    host.root(&["distrust", "--yes", &current]);
    let roots = |name: &str| fs::read_to_string(host.link("edge").join(name)).unwrap();
    assert!(!roots("fingerprints.txt").contains(&format!("sha256:{current}")));
    host.root(&["undistrust", &current, "--reason", "again"]).exits(0);
    host.sync().exits(0);
    assert!(roots("fingerprints.txt").contains(&format!("sha256:{current}")));
    host.daemon(&["evidence"]).exits(0).says(&["a typo", "it was a typo", "over the weekend", "by root (uid 0)"]);
    host.owners_are_kept();
}
