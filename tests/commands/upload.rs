//! `deploy/upload`, as shipped, against a small HTTP API: a load balancer that takes its trust by upload.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use support::sandbox::{Sandbox, write_secret};

const SECRET: &str = "hunter2-of-the-balancer";

/// What the API holds, and how it behaves.
#[derive(Default)]
struct Kept {
    files: BTreeMap<String, Vec<u8>>,
    requests: Vec<String>,
    /// Answers this instead.
    refuses: Option<&'static str>,
    /// Takes an upload, and keeps only half of it.
    forgets: bool,
    /// Whether the secret was seen among the arguments of any process while it was asked.
    secret_seen: bool,
}

struct Balancer {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Balancer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let balancer = Self { port, kept: kept.clone() };
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                serve(connection, &mut kept.lock().unwrap());
            }
        });
        balancer
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/trust", self.port)
    }

    /// The requests since this was asked last.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().unwrap().requests)
    }
}

fn serve(mut connection: TcpStream, kept: &mut Kept) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let line = lines.iter().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.map(|line| line.split_once(':').unwrap().1.trim().to_owned())
    };
    kept.secret_seen |= among_arguments(SECRET);
    if header("expect").is_some() {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    }
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let words: Vec<&str> = lines[0].split(' ').collect();
    let (method, path) = (words[0], words[1].trim_start_matches("/trust/").to_owned());
    kept.requests.push(format!("{method} {path}"));
    let (status, answer) = match (kept.refuses, method) {
        (Some(refusal), _) => (refusal, b"not today".to_vec()),
        _ if header("authorization") != Some(format!("Bearer {SECRET}")) => {
            ("401 Unauthorized", b"who are you".to_vec())
        }
        (None, "PUT") => {
            if kept.forgets {
                body.truncate(body.len() / 2);
            }
            kept.files.insert(path, body);
            ("204 No Content", Vec::new())
        }
        _ => kept.files.get(&path).map_or(("404 Not Found", Vec::new()), |file| ("200 OK", file.clone())),
    };
    let length =
        if status.starts_with("204") { String::new() } else { format!("Content-Length: {}\r\n", answer.len()) };
    let _ = connection.write_all(format!("HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n").as_bytes());
    let _ = connection.write_all(&answer);
}

fn among_arguments(secret: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(secret)
    })
}

fn shipped() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/upload/upload").display().to_string()
}

fn configured(sandbox: &Sandbox, balancer: &Balancer) {
    let header = sandbox.path("balancer.header");
    write_secret(&header, &format!("Authorization: Bearer {SECRET}\n"));
    let argv = |what: &str| format!("[{:?}, {what:?}, {:?}, {header:?}]", shipped(), balancer.url());
    sandbox.append(&format!(
        "[target.balancer]\nkind = \"generic\"\nreload = {{ command = {} }}\nproof = {{ command = {}, settle = \
         \"0s\", timeout = \"5s\" }}\n",
        argv("put"),
        argv("show"),
    ));
}

#[test]
fn a_generation_is_uploaded_once_and_proven_by_what_the_balancer_holds() {
    let (sandbox, balancer) = (Sandbox::new(), Balancer::start());
    configured(&sandbox, &balancer);
    let first = sandbox.sync(&[]).exits(0);
    first.says(&["target balancer: proven"]);
    let uploads: Vec<String> = balancer.requests().into_iter().filter(|request| request.starts_with("PUT")).collect();
    assert_eq!(uploads, ["PUT trust-bundle.pem", "PUT fingerprints.txt"]);
    for path in ["trust-bundle.pem", "fingerprints.txt"] {
        let held = balancer.kept.lock().unwrap().files[path].clone();
        assert_eq!(String::from_utf8(held).unwrap(), sandbox.published(path));
    }

    // It is asked, and nothing is uploaded again, not even for those who insist.
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["reload", "balancer"]).exits(0).says(&["proven"]);
    let requests = balancer.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.starts_with("GET")), "{requests:?}");

    // Somebody put an older one there, or emptied it: seen by the next proof, and mended.
    for change in [Some(sandbox.published("fingerprints.txt").replace("generation 000001", "generation 000000")), None]
    {
        match change {
            Some(older) => {
                drop(balancer.kept.lock().unwrap().files.insert("fingerprints.txt".into(), older.into_bytes()))
            }
            None => balancer.kept.lock().unwrap().files.clear(),
        }
        sandbox.sync(&[]).exits(0).says(&["target balancer: proven"]);
        let held = balancer.kept.lock().unwrap().files["fingerprints.txt"].clone();
        assert_eq!(String::from_utf8(held).unwrap(), sandbox.published("fingerprints.txt"));
    }
    assert!(!balancer.kept.lock().unwrap().secret_seen, "the secret stood among the arguments of a process");
}

#[test]
fn whatever_goes_wrong_is_said_and_owed_and_no_secret_with_it() {
    let (sandbox, balancer) = (Sandbox::new(), Balancer::start());
    configured(&sandbox, &balancer);
    let owed = |pieces: &[&str]| {
        let ran = sandbox.sync(&[]).exits(7);
        ran.says(pieces).never_says(&[SECRET]);
        assert!(sandbox.state()["targets"]["balancer"]["owed"].is_object());
        assert!(!sandbox.state().to_string().contains(SECRET));
    };
    balancer.kept.lock().unwrap().refuses = Some("500 Oh");
    owed(&["answered 500", "not today"]);
    balancer.kept.lock().unwrap().refuses = None;
    balancer.kept.lock().unwrap().forgets = true;
    owed(&["differs from what was just uploaded"]);
    balancer.kept.lock().unwrap().forgets = false;
    write_secret(&sandbox.path("balancer.header"), "Authorization: Bearer nonsense\n");
    owed(&["answered 401", "who are you"]);
    fs::remove_file(sandbox.path("balancer.header")).unwrap();
    owed(&["cannot be read"]);
    write_secret(&sandbox.path("balancer.header"), &format!("Authorization: Bearer {SECRET}\n"));
    sandbox.sync(&[]).exits(0).says(&["target balancer: proven"]);
}

#[test]
fn it_takes_the_secret_nowhere_unencrypted_but_to_this_machine() {
    let run = |arguments: &[&str]| -> Output { Command::new(shipped()).args(arguments).output().unwrap() };
    for arguments in [
        &["put", "http://balancer.example.com/trust", "/dev/null"][..],
        &["put", "http://127.0.0.1.example.com/trust", "/dev/null"],
        &["put", "ftp://127.0.0.1/trust", "/dev/null"],
        &["put"],
        &["delete", "http://127.0.0.1:1/trust", "/dev/null"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("upload: "), "{output:?}");
    }
}
