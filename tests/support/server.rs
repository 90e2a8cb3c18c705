//! What a real server is to the stories that are written once for all kinds (`tests/servers/stories`), and what they have in
//! common.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::world::Impostor;
use trustsync::trust::turn::{Evidence, Owed, Proof};

use crate::cast;
use crate::doors::Behind;
use crate::java;
use crate::report::line;
use crate::stage::Stage;

/// A kind is one implementation: what differs between servers that admit the same ones.
pub trait Server: Sized {
    /// What tells the rows of one kind apart: a way of telling it, a version.
    type Row: Copy;

    /// The name of its target, and of its kind.
    const TARGET: &'static str;
    /// Whether it is asked to reload for a new generation; else it watches its link.
    const IS_RELOADED: bool;
    /// Whether it uses our files from its start, whatever its operator does.
    const IS_WIRED: bool = false;

    /// What a client gets whose certificate does not verify: a status, or `nothing` where the handshake fails.
    const UNVERIFIED: &'static str;
    /// What a client gets whose certificate verifies and is not on the list.
    const UNLISTED: &'static str;
    /// What a client gets that presents no certificate.
    const NOBODY: &'static str;

    /// A file of a generation that it reads.
    const READS: &'static str;
    /// The files that say "deny all", each with the words it says it by.
    const DENY_ALL: &'static [(&'static str, &'static str)];

    /// Starts one that knows nothing of us yet, in `server-TARGET` below the stage's root.
    fn start(stage: &Stage, row: Self::Row) -> Self;

    /// Gives it our lines as shipped, and loads them as its operator would.
    fn wire(&mut self, stage: &Stage);

    /// Some lines of what is shipped for it, as they are printed for this stage.
    fn shipped(stage: &Stage) -> Vec<String>;

    /// Reloads it as its operator would. Those that watch need no reload.
    fn reload(&self) {}

    fn stop(&mut self);

    /// Starts it again after it was stopped, as it was and at the same address.
    fn start_again(&mut self);

    /// Whether its process has ended.
    fn has_ended(&mut self) -> bool;

    /// `127.0.0.1:` and its port.
    fn address(&self) -> String;

    /// How often it was asked to reload.
    fn reload_requests(&self, stage: &Stage) -> usize {
        stage.reload_reports().len()
    }

    /// What is said of it where it is down and cannot be asked to reload.
    fn why_not_reloaded(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its pidfile, where it is asked by that alone.
    fn signalled_by(&self) -> Option<PathBuf> {
        None
    }

    /// Lets its TLS sessions outlive a reload, as servers do that share their ticket keys. Others have no such keys.
    fn share_ticket_keys(&self, _stage: &Stage) {}

    /// What a leaf that was denied finds behind the connection that it keeps.
    fn kept(&self) -> Behind;

    /// Whether a leaf that was denied may find this behind its session; the flag is whether that was resumed.
    fn is_shut(&self, found: (Behind, bool)) -> bool;

    /// What is to be seen of this kind alone after a whole rotation.
    fn assert_rotated(&self, _stage: &Stage) {}

    /// What belongs into `check =`; none where it has no check.
    fn check_command(&self) -> Vec<String> {
        Vec::new()
    }

    /// The table of a target with this name and this check.
    fn table(&self, target: &str, check: &[String]) -> String;
}

/// A server with a check of its own, which decides before it is asked to reload.
pub trait Checked: Server {
    /// Whether the check needs root to be made before the switch.
    const NEEDS_ROOT: bool = false;
    /// The file that names the generation, for a check that refuses one.
    const GENERATION: &'static str;
    /// How the check comes to refuse a generation: lines of a shell, and a word of what is then said.
    const REFUSING: (&'static str, &'static str);
    /// A word of what its check says once it is broken elsewhere.
    const BROKEN: &'static str;

    /// Breaks its configuration in a place that is not ours.
    fn break_elsewhere(&self, stage: &Stage);

    /// Adds another client's own rule, as the comments of the snippet describe it, and reloads.
    fn admit_too(&self, stage: &Stage, other: &ClientCertificate);
}

impl Stage {
    /// Writes and reads the configuration with these targets, each with its server's own check or with another.
    pub fn configure<S: Server>(&mut self, targets: &[(&str, &S, Option<Vec<String>>)]) {
        let mut text = String::new();
        for (name, server, check) in targets {
            let check = check.clone().unwrap_or_else(|| server.check_command());
            let _ = writeln!(text, "{}", server.table(name, &check));
        }
        self.configure_targets(&text);
    }

    /// A check that goes wrong as the script says, else is the server's own. `$LINK` is the target's link.
    pub fn wrapped_check<S: Server>(&self, target: &str, server: &S, script: &str) -> Vec<String> {
        let path = self.root().join(format!("check-{target}"));
        let (root, link) = (self.root().display(), self.link(target));
        let text = format!("cd '{root}' || exit 1\nLINK='{}'\n{script}\nexec \"$@\"\n", link.display());
        fs::write(&path, text).unwrap();
        let mut argv = vec!["sh".to_owned(), path.display().to_string()];
        argv.extend(server.check_command());
        argv
    }
}

/// A server that serves generation 1, proven.
pub async fn proven<S: Server>(mut stage: Stage, row: S::Row) -> (Stage, S) {
    let mut server = S::start(&stage, row);
    stage.configure(&[(S::TARGET, &server, None)]);
    let first = stage.cycle().await;
    if S::IS_WIRED {
        assert_proven(&first);
    } else {
        assert!(matches!(line(&first).owed, Some(Owed::Unproven(Proof::NotWired(_)))), "{first:?}");
        server.wire(&stage);
        assert_proven(&stage.cycle().await);
    }
    (stage, server)
}

/// The cycle ended in proof at its only target, and nothing is wrong.
#[track_caller]
pub fn assert_proven(report: &Report) {
    assert_eq!(line(report).settled, Some(Evidence::Proven), "{report:?}");
    assert_eq!(report.exit(false), Exit::Done, "{:?}", report.findings);
}

/// Who knocks, and what is to come of it.
pub type Knocking<'a> = (&'a str, Option<&'a ClientCertificate>, &'a str);

/// Who knocks by openssl; beside them everybody who is never let in.
#[track_caller]
pub fn assert_cast<S: Server>(stage: &Stage, server: &S, expected: &[Knocking<'_>]) {
    for (who, certificate, status) in expected {
        assert_eq!(cast::knock(&server.address(), *certificate), *status, "{who}");
    }
    for who in Impostor::ALL {
        let verifies = matches!(who, Impostor::Stranger | Impostor::Namesake);
        let status = if verifies { S::UNLISTED } else { S::UNVERIFIED };
        let impostor = stage.world().impostor(who).unwrap();
        assert_eq!(cast::knock(&server.address(), Some(&impostor)), status, "{}", who.name());
    }
    assert_eq!(cast::knock(&server.address(), None), S::NOBODY, "nobody");
}

/// The same by Java too, which shows nothing to a server whose list of authorities does not name its issuer, and so gets
/// what nobody gets.
#[track_caller]
pub fn assert_cast_by_both<S: Server>(stage: &Stage, server: &S, expected: &[Knocking<'_>]) {
    assert_cast(stage, server, expected);
    let impostors = Impostor::ALL.map(|who| (who, stage.world().impostor(who).unwrap()));
    let mut by_java = expected.to_vec();
    for (who, certificate) in &impostors {
        let status = match who {
            Impostor::Stranger | Impostor::Namesake => S::UNLISTED,
            Impostor::Twin | Impostor::OtherCa => S::NOBODY,
            Impostor::Expired => S::UNVERIFIED,
        };
        by_java.push((who.name(), Some(certificate), status));
    }
    by_java.push(("nobody", None, S::NOBODY));
    java::assert_cast_by_java(&server.address(), &by_java);
}

/// Where everybody is denied, no chain is left by which anybody could verify.
#[track_caller]
pub fn assert_nobody_gets_in<S: Server>(stage: &Stage, server: &S, leaves: &[&ClientCertificate]) {
    for leaf in leaves {
        assert_eq!(cast::knock(&server.address(), Some(leaf)), S::UNVERIFIED);
    }
    for who in Impostor::ALL {
        let impostor = stage.world().impostor(who).unwrap();
        assert_eq!(cast::knock(&server.address(), Some(&impostor)), S::UNVERIFIED, "{}", who.name());
    }
    assert_eq!(cast::knock(&server.address(), None), S::NOBODY, "nobody");
}
