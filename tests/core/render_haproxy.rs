//! HAProxy's lists: their form, what HAProxy itself loads of them, what reading them back refuses, and what becomes of a
//! runtime socket that does not answer as it should.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use support::leaves::*;
use support::rendering::{self, Files, STORE, denied_all, new_marker, rich, vouched_file, written};
use support::sandbox;
use trustsync::store::{LinkPath, generation};
use trustsync::targets::haproxy::{snippet, update::update};
use trustsync::targets::read_back::ReadBackError;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::planner_state::PlannerState;
use trustsync::trust::plan::set::{Denial, DenialReason, TrustSet, Witnesses};
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::slot::{Authority, SlotId};

const LISTS: [&str; 3] = ["haproxy/denied.list", "haproxy/names.list", "haproxy/pins.list"];

fn render(set: &TrustSet, planner: &PlannerState) -> Files {
    rendering::render(&[trustsync::targets::haproxy::OUTPUT], set, planner, &new_marker())
}

/// What stands in a list besides comments.
fn entries<'a>(files: &'a Files, path: &str) -> Vec<&'a str> {
    let text = std::str::from_utf8(&files[path]).unwrap();
    assert!(text.ends_with('\n') && text.is_ascii(), "{text}");
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn each_list_names_its_generation_and_then_whom_it_is_about() {
    let (store, [current, upcoming, denied]) = rich();
    let files = render(&store.set, &store.planner);
    let pin = |leaf: &Leaf| leaf.fingerprint.to_string().to_uppercase();
    let own = format!("trustsync generation 000007 of store {STORE}");
    let mut pins = [pin(&current), pin(&upcoming)];
    pins.sort();
    assert_eq!(entries(&files, "haproxy/pins.list"), [own.as_str(), &pins[0], &pins[1]]);
    assert_eq!(entries(&files, "haproxy/denied.list"), [own.as_str(), &pin(&denied)]);
    let names = entries(&files, "haproxy/names.list");
    assert_eq!((names.len(), names[0]), (2, format!("^{own}$").as_str()));
    assert!(names[1].starts_with("^CN=Simulated Genesys Cloud Root us-east-1,"), "{}", names[1]);
    assert!(names[1].ends_with(r"(,(OU|O|L|ST|C)=([^,+\\]|\\.)*)*$"), "{}", names[1]);
    assert_eq!(files["haproxy/generation.map"], b"generation 000007\n");
    // The same content is the same bytes.
    let again = render(&store.set.clone(), &store.planner.clone());
    for path in LISTS {
        assert_eq!(files[path], again[path], "{path}");
    }
    // Deny all: the own entry, which is not a fingerprint, and nothing else but the denied.
    let files = render(&denied_all().set, &PlannerState::default());
    assert_eq!(LISTS.map(|path| entries(&files, path).len()), [2, 1, 1]);
}

const HOSTILE: [&str; 11] = [
    "plain",
    "# no comment",
    "back\\slash\\\\ \\",
    "{a}{2,} (b)* [c]+ ^d$ e|f .?",
    "semi;colon; show env # <<",
    "line\nbreak\r\nand\ttab",
    "$ssl_c_s_dn ${x} %[env(PATH)]",
    "' apostrophe ` \\' \\\"",
    "Ünïcode \u{1F512}",
    "\\Q\\E\\z\\1\\x41 (?i:x) (?#",
    " a, b + c = d < e > f #  ",
];

#[test]
fn haproxy_loads_whatever_an_issuer_or_a_name_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut acls = String::new();
    for (at, hostile) in HOSTILE.iter().enumerate() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, *hostile);
        params.distinguished_name.push(DnType::CommonName, *hostile);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = Certificate::parse(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap();
        let mut set = TrustSet::default();
        let slot = SlotId::new("us", "us-east-1", Authority::Genesys);
        for names in [vec![], vec![(*hostile).to_owned(), NAME.to_owned()]] {
            set.admit_by_name(&slot, &root, &names.into_iter().collect(), &Witnesses::default());
        }
        let files = render(&set, &PlannerState::default());
        assert_eq!(entries(&files, "haproxy/names.list").len(), 4, "{hostile:?}");
        let path = dir.path().join(format!("{at}.list"));
        std::fs::write(&path, &files["haproxy/names.list"]).unwrap();
        acls.push_str(&format!("    acl names ssl_c_s_dn -m reg -f {}\n", path.display()));
    }
    let path = dir.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n    mode http\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\nfrontend \
             f\n    bind unix@{}/s\n{acls}    http-request deny unless names\n",
        dir.path().display()
    );
    std::fs::write(&path, text).unwrap();
    let check = Command::new("haproxy").args(["-c", "-f"]).arg(&path).output().expect("apt-get install haproxy");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn a_path_of_the_snippet_may_hold_spaces_and_what_a_shell_would_read() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("a $HOME \\c #d; e");
    let (store, _) = rich();
    for (path, bytes) in render(&store.set, &store.planner) {
        let path = link.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("s.pem"), server.cert.pem() + &server.signing_key.serialize_pem()).unwrap();
    let bind = snippet::bind(&link);
    let bind = bind.lines().find(|line| !line.starts_with('#')).unwrap();
    let text = format!(
        "defaults\n    mode http\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\nfrontend \
             f\n    bind unix@{dir}/s ssl crt {dir}/s.pem {bind}\n{}",
        snippet::frontend(&link),
        dir = dir.path().display()
    );
    let path = dir.path().join("haproxy.cfg");
    std::fs::write(&path, text).unwrap();
    let check = Command::new("haproxy").args(["-c", "-f"]).arg(&path).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn what_is_rendered_is_read_back_and_what_was_not_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut without_sha1 = rich().0;
    let denial = Denial::new(DenialReason::Distrusted, day(0));
    without_sha1.planner.denied.insert(Fingerprint::of(b"only its fingerprint is known"), denial);
    without_sha1.poll_each(day(0), &[("us", None)]);
    for store in [rich().0, denied_all(), without_sha1] {
        written(dir.path(), &render(&store.set, &store.planner)).unwrap();
    }
    let (store, [current, ..]) = rich();
    let files = render(&store.set, &store.planner);
    let text = |path: &str| String::from_utf8(files[path].clone()).unwrap();
    let pin = current.fingerprint.to_string().to_uppercase();
    let own = "trustsync generation 000007";
    let mut damages = Vec::new();
    for path in LISTS {
        let whole = text(path);
        for line in ["", " x", "x ", "0000", ".*", "^.*$", "^", "\u{1}", "Ü", &pin.to_lowercase()] {
            damages.push((path, format!("{whole}{line}\n")));
        }
        damages.extend([
            (path, whole.replace(own, "trustsync generation 000006")),
            (path, whole.lines().filter(|line| !line.contains(own)).map(|line| format!("{line}\n")).collect()),
            (path, whole.lines().rev().skip(1).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat()),
            (
                path,
                whole
                    .lines()
                    .filter(|line| line.contains('#') || line.contains(own))
                    .map(|line| format!("{line}\n"))
                    .collect(),
            ),
            (path, whole.trim_end().to_owned()),
            (path, "# all of it lost\n".to_owned()),
            (path, "\n".to_owned()),
        ]);
    }
    damages.extend([
        ("haproxy/pins.list", format!("{}{pin}\n", text("haproxy/pins.list"))),
        ("haproxy/pins.list", text("haproxy/pins.list").replace(&pin, &pin.to_lowercase())),
        ("haproxy/pins.list", text("haproxy/pins.list").replace(&pin, &"0".repeat(64))),
        ("haproxy/denied.list", format!("{}{pin}\n", text("haproxy/denied.list"))),
        ("haproxy/names.list", text("haproxy/names.list").replace(")*$", ")*")),
        ("haproxy/names.list", text("haproxy/names.list").replace("|CN=", "|")),
        ("haproxy/generation.map", "generation 000008\n".to_owned()),
        ("haproxy/generation.map", "\n".to_owned()),
        ("haproxy/generation.map", "generation 000007\ngeneration 000008\n".to_owned()),
    ]);
    for (path, damage) in damages {
        assert_ne!(damage, text(path), "{path}");
        let read = written(dir.path(), &vouched_file(files.clone(), path, damage.clone()));
        assert!(matches!(read, Err(ReadBackError::Count { .. })), "{path}: {damage:?}: {read:?}");
    }
}

/// A target's link to a generation of these files.
fn linked(at: &Path, files: &Files) -> PathBuf {
    written(at, files).unwrap();
    let link = LinkPath::target(&at.join("store"), "edge").unwrap();
    link.switch(7).unwrap();
    link.path().to_owned()
}

/// Somebody who listens where HAProxy should, answers each command like this, and writes down what was asked.
fn somebody_at(socket: &Path, answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = String::new();
            let _ = stream.read_to_string(&mut asked);
            match answer(&asked) {
                Some(answer) => drop(stream.write_all(&answer)),
                // Kept, and never answered.
                None => std::mem::forget(stream),
            }
        }
    });
}

#[tokio::test]
async fn nothing_but_the_text_of_success_counts_as_success() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = rich();
    let link = linked(dir.path(), &render(&store.set, &store.planner));
    let shown = std::fs::read_to_string(link.join("haproxy/pins.list")).unwrap();
    let shown: String =
        shown.lines().filter(|line| !line.starts_with('#')).map(|line| format!("0x1234 {line}\n")).collect();
    let certificates = {
        let text = std::fs::read_to_string(link.join("trust-bundle.pem")).unwrap();
        let ders = trustsync::trust::formats::pem::scan(&text).into_iter().map(|block| block.bytes.unwrap());
        ders.map(|der| format!("SHA1 FingerPrint: {}\n", Certificate::parse(&der).unwrap().facts().sha1.to_uppercase()))
            .collect::<String>()
    };
    let (pins, bundle) = (link.join("haproxy/pins.list"), link.join("trust-bundle.pem"));
    // What a good HAProxy says, in the order of the commands.
    let good: Vec<(&str, String)> = vec![
        (
            "show acl\n",
            format!(
                "# id (file) description\n3 ({p}) pattern loaded from file '{p}' used by acl\n\n",
                p = pins.display()
            ),
        ),
        ("show map\n", "# id (file) description\n\n".to_owned()),
        ("show ssl ca-file\n", format!("# filename\n{} - 3 certificate(s)\n\n", bundle.display())),
        ("prepare acl", "New version created: 4\n\n".to_owned()),
        ("add acl @4 #3 ", "\n".to_owned()),
        ("show acl @4 #3", format!("{shown}\n")),
        ("set ssl ca-file", format!("transaction created for CA {}!\n\n", bundle.display())),
        ("commit ssl ca-file", format!("Committing {}.\nSuccess!\n\n", bundle.display())),
        ("show ssl ca-file /", format!("{certificates}\n")),
        ("commit acl @4 #3", "\n".to_owned()),
        ("clear acl @4 #3", "\n".to_owned()),
    ];
    let mut number = 0;
    let mut says = async |bad: Option<(usize, Option<&str>)>| {
        number += 1;
        let socket = dir.path().join(format!("{number}.sock"));
        let answers: Vec<(String, Option<Vec<u8>>)> = good
            .iter()
            .enumerate()
            .map(|(at, (command, answer))| match bad {
                Some((which, answer)) if which == at => {
                    ((*command).to_owned(), answer.map(|text| text.as_bytes().to_vec()))
                }
                _ => ((*command).to_owned(), Some(answer.clone().into_bytes())),
            })
            .collect();
        somebody_at(&socket, move |asked| {
            let found = answers.iter().find(|(command, _)| asked.starts_with(command.as_str()));
            found.map_or(Some(b"Unknown command\n".to_vec()), |(_, answer)| answer.clone())
        });
        update(&socket, &link).await.map_err(|error| error.to_string())
    };
    assert_eq!(says(None).await.map(|updated| (updated.lists, updated.ca_files)), Ok((1, 1)));
    // Each command that changes or shows something, answered in every way but the right one.
    for (at, (command, _)) in good.iter().enumerate().filter(|(_, (command, _))| !command.starts_with("clear")).skip(3)
    {
        for answer in [
            "",
            "garbage\n",
            "Permission denied\n\n",
            "Success\n",
            "New version created: x\n",
            "transaction created for CA /other!\n",
        ] {
            let said = says(Some((at, Some(answer)))).await.expect_err(&format!("{command:?} answered by {answer:?}"));
            assert!(said.contains("HAProxy"), "{said}");
        }
        let said = says(Some((at, Some(&"\"\u{1}é".repeat(500_000))))).await.expect_err(command);
        assert!(said.contains("HAProxy") && said.len() < 2_000, "{command:?}: {} bytes", said.len());
    }
    let began = Instant::now();
    let said = says(Some((7, None))).await.unwrap_err();
    assert!(said.contains("did not answer") && said.contains("commit ssl ca-file"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(60));
}

/// Who can put a socket in HAProxy's folder names the files that he would like to read.
#[tokio::test]
async fn a_socket_that_names_any_file_but_a_listed_one_is_told_no_line_of_it() {
    const SECRET: &str = "key-of-the-host";
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = rich();
    let link = linked(dir.path(), &render(&store.set, &store.planner));
    let generation = generation::path(&dir.path().join("store"), 7);
    let secret = dir.path().join("secret.txt");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(generation.join("haproxy/unlisted.list"), SECRET).unwrap();
    let pins = generation.join("haproxy/pins.list");
    let put_a_pipe = || {
        std::fs::remove_file(&pins).unwrap();
        assert!(Command::new("mkfifo").arg(&pins).status().unwrap().success());
    };
    let put_a_symlink = || {
        std::fs::remove_file(&pins).unwrap();
        std::os::unix::fs::symlink(&secret, &pins).unwrap();
    };
    let put_a_flood = || {
        std::fs::remove_file(&pins).unwrap();
        std::fs::File::create(&pins).unwrap().set_len(1 << 40).unwrap();
    };
    let mut number = 0;
    let mut asked_by = async |name: String| {
        number += 1;
        let socket = dir.path().join(format!("{number}.sock"));
        let (asked, all_asked) = mpsc::channel();
        somebody_at(&socket, move |command| {
            asked.send(command.to_owned()).unwrap();
            Some(
                match command {
                    "show acl\n" | "show map\n" => {
                        format!("0 ({name}) pattern loaded from file '{name}' used by acl\n")
                    }
                    "show ssl ca-file\n" => format!("{name} - 1 certificate(s)\n"),
                    _ if command.starts_with("prepare") => "New version created: 1\n".to_owned(),
                    _ if command.starts_with("set ssl") => format!("transaction created for CA {name}!\n"),
                    _ => "\n".to_owned(),
                }
                .into_bytes(),
            )
        });
        let began = Instant::now();
        let error = update(&socket, &link).await.unwrap_err().to_string();
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        (error, all_asked.try_iter().collect::<String>())
    };
    let (at, name) = (link.display(), secret.display());
    for named in [
        format!("{at}/../../../secret.txt"),
        format!("{at}/haproxy/../../../../secret.txt"),
        format!("{at}/./haproxy/pins.list/../../../../../secret.txt"),
        format!("{at}/{name}"),
        format!("{at}{name}"),
        format!("{at}/../../../../../../../../../../dev/zero"),
        format!("{at}/haproxy/unlisted.list"),
        format!("{at}/manifest.json"),
        format!("{at}/haproxy"),
        format!("{at}/"),
    ] {
        let (error, asked) = asked_by(named.clone()).await;
        assert!(error.contains("has loaded no file beneath"), "{named}: {error}");
        assert_eq!(asked, "show acl\nshow map\nshow ssl ca-file\n", "{named}");
    }
    // What stands in the place of a listed file is judged, too.
    for (put, why) in [
        (&put_a_pipe as &dyn Fn(), "not a regular file"),
        (&put_a_symlink, "haproxy/pins.list"),
        (&put_a_flood, "larger than"),
    ] {
        put();
        let (error, asked) = asked_by(format!("{at}/haproxy/pins.list")).await;
        assert!(error.contains(why), "{error}");
        assert!(!asked.contains("add ") && !asked.contains("set ") && !asked.contains(SECRET), "{asked}");
    }
}

#[test]
fn a_socket_that_answers_megabytes_leaves_a_small_state_and_keeps_no_sync_from_its_work() {
    let sandbox = sandbox::Sandbox::new();
    let socket = sandbox.path("admin.sock");
    sandbox.append(&format!(
        "\n[target.edge]\nkind = \"haproxy\"\ncheck = []\nreload = {{ haproxy = {socket:?} }}\nproof = {{ haproxy = \
         {socket:?} }}\n"
    ));
    let flood = "\"\u{1}é".repeat(15 * 1024 * 1024 / 4).into_bytes();
    let pins = sandbox.store().join("target/edge/haproxy/pins.list");
    somebody_at(&socket, move |command| {
        Some(match command {
            "show acl\n" => format!("3 ({p}) pattern loaded from file '{p}'\n", p = pins.display()).into_bytes(),
            "show map\n" | "show ssl ca-file\n" => b"\n".to_vec(),
            _ => flood.clone(),
        })
    });
    let kept = || std::fs::metadata(sandbox.store().join("state.json")).unwrap().len();
    for _ in 0..3 {
        let ran = sandbox.sync(&[]).exits(7).says(&["target_not_told", "HAProxy answered", "prepare acl #3"]);
        assert!(ran.all().len() < 20_000, "{} bytes were said", ran.all().len());
        assert!(kept() < 100_000, "state.json has {} bytes", kept());
    }
    // Nor does any other word of a server: the beginning goes, since what broke is said last.
    sandbox.configure(&sandbox.configuration().replace(
        &format!("reload = {{ haproxy = {socket:?} }}\n"),
        "reload = { command = [\"sh\", \"-c\", \"yes eh | head -c 15000 >&2; echo broken >&2; exit 1\"] }\n",
    ));
    sandbox.sync(&[]).exits(7).says(&["target_not_told", "broken"]);
    let reason = sandbox.state()["targets"]["edge"]["owed"]["not_told"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("[...] ") && reason.contains("broken"), "{reason}");
    assert_eq!(reason.chars().count(), 4_000);
    // And once it is mended, the next cycle finds it so.
    sandbox.configure(
        &sandbox
            .configuration()
            .replace("yes eh | head -c 15000 >&2; echo broken >&2; exit 1", "true")
            .replace(&format!("proof = {{ haproxy = {socket:?} }}\n"), ""),
    );
    sandbox.sync(&[]).exits(0);
}

#[tokio::test]
async fn a_ca_file_that_is_refused_leaves_no_transaction_open() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = rich();
    let link = linked(dir.path(), &render(&store.set, &store.planner));
    let (socket, bundle) = (dir.path().join("admin.sock"), link.join("trust-bundle.pem").display().to_string());
    let (asked, all_asked) = mpsc::channel();
    let name = bundle.clone();
    somebody_at(&socket, move |command| {
        let first = command.lines().next().unwrap_or_default().to_owned();
        let answer = match first.as_str() {
            "show ssl ca-file" => format!("{name} - 1 certificate(s)\n"),
            _ if first.starts_with("set") => format!("transaction created for CA {name}!\n"),
            _ if first.starts_with("commit") => "Can't allocate memory\nFailed!\n".to_owned(),
            _ => "\n".to_owned(),
        };
        asked.send(first).unwrap();
        Some(answer.into_bytes())
    });
    let error = update(&socket, &link).await.unwrap_err().to_string();
    assert!(error.contains("Can't allocate memory"), "{error}");
    let asked: Vec<String> = all_asked.try_iter().skip(3).collect();
    let expected = [
        format!("set ssl ca-file {bundle} <<"),
        format!("commit ssl ca-file {bundle}"),
        format!("abort ssl ca-file {bundle}"),
    ];
    assert_eq!(asked, expected);
}
