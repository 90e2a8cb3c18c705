//! No secret in any output: every command and every failure at the highest verbosity, in every log format, and then a
//! search through all that was printed and all that was written.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::sandbox::{Ran, Sandbox, tree, write_secret};
use trustsync::simulator::failure::{Endpoint, Failure};

/// With signs that change when they are encoded.
const SECRET: &str = "s3cret/with+odd=signs&more%21";
const PROXY_PASSWORD: &str = "pr0xy-p4ssw0rd-of-ours";
const FORMATS: [&str; 3] = ["text", "json", "journald"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(|options| {
        options.client_secret = Some(SECRET.to_owned());
        options.days_left = Some(60);
    });
    sandbox.add_target("web");
    sandbox
}

/// Everything that must stand nowhere, each with its name.
fn needles(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let id = trustsync::simulator::world::CLIENT_ID;
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let mut needles = vec![
        ("the client secret", SECRET.to_owned()),
        ("the client secret, percent-encoded", encoded),
        ("the client secret, escaped for JSON", SECRET.replace('/', "\\/")),
        ("the client secret, base64", STANDARD.encode(SECRET)),
        ("the Basic credentials", STANDARD.encode(format!("{id}:{SECRET}"))),
        ("the proxy's password", PROXY_PASSWORD.to_owned()),
        ("the proxy's credentials", STANDARD.encode(format!("user:{PROXY_PASSWORD}"))),
    ];
    needles.extend(sandbox.world().tokens().into_iter().map(|token| ("a token", token)));
    needles.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Searches what was printed, and every file but the secret's own: names, contents and links.
fn assert_clean(sandbox: &Sandbox, what: &str, runs: &[Ran]) {
    let needles = needles(sandbox);
    for ran in runs {
        for (name, needle) in &needles {
            assert!(!holds(ran.all().as_bytes(), needle), "{name} was printed by {what}");
        }
    }
    for (path, found) in tree(sandbox.folder.path()) {
        if path.to_str() == Some("client-secret") {
            continue;
        }
        for (name, needle) in &needles {
            let path = path.to_str().unwrap();
            assert!(!holds(&found.content, needle) && !holds(path.as_bytes(), needle), "{what}: {name} is in {path}");
        }
    }
}

fn loud(sandbox: &Sandbox, arguments: &[&str], format: &str) -> Ran {
    sandbox.run(&[arguments, &["-vv", "--log-format", format]].concat())
}

#[test]
fn no_command_shows_a_secret() {
    let sandbox = sandbox();
    let leaf = sandbox.path("leaf.pem");
    std::fs::write(&leaf, sandbox.world().current().unwrap().pem()).unwrap();
    let (leaf, secret) = (leaf.to_str().unwrap().to_owned(), sandbox.path("client-secret"));
    let mut runs = Vec::new();
    for format in FORMATS {
        for output in ["text", "json"] {
            sandbox.world().rotate().unwrap();
            for arguments in [
                &["sync", "--dry-run"][..],
                &["sync"],
                &["sync"],
                &["status"],
                &["history"],
                &["diff"],
                &["diff", "--with", &leaf],
                &["inspect", &leaf],
                // Whoever asks to look into the secret's file sees that it is no certificate.
                &["inspect", secret.to_str().unwrap()],
                &["reload", "web"],
                &["rollback"],
                &["release"],
                &["hold"],
                &["release"],
                &["config", "check"],
                &["config", "show"],
                &["regions"],
            ] {
                runs.push(loud(&sandbox, &[arguments, &["--output", output]].concat(), format));
            }
        }
    }
    assert!(runs.iter().any(|ran| ran.stderr.contains("token_taken")), "the log was as loud as it can be");
    assert!(sandbox.world().tokens().len() > 10);
    assert_clean(&sandbox, "a command", &runs);
}

#[test]
fn no_failure_of_the_vendor_brings_a_secret_out() {
    let both = |failure: &Failure| match failure.is_content() {
        true => vec![(*failure, Endpoint::Listing)],
        false => vec![(*failure, Endpoint::Listing), (*failure, Endpoint::Token)],
    };
    let cases: Vec<(Failure, Endpoint)> = Failure::ALL.iter().flat_map(both).collect();
    let next = Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let sandbox = sandbox();
                loop {
                    let Some((failure, endpoint)) = next.lock().unwrap().next() else { break };
                    sandbox.world().clear();
                    sandbox.world().fail(*failure, *endpoint, None);
                    let run = |format: &&str| loud(&sandbox, &["sync", "--deadline", "1s"], format);
                    let runs: Vec<Ran> = FORMATS.iter().map(run).collect();
                    assert_clean(&sandbox, &format!("{failure} at {endpoint}"), &runs);
                }
            });
        }
    });
}

#[test]
fn a_wrong_secret_and_a_secret_of_the_wrong_form_are_not_repeated() {
    let mut sandbox = sandbox();
    let mut runs = Vec::new();
    for format in FORMATS {
        sandbox.configure(&sandbox.configuration().replace("5b7c8f3e", "6b7c8f3e"));
        runs.push(loud(&sandbox, &["sync"], format).exits(4));
        sandbox.configure(&sandbox.configuration().replace("6b7c8f3e", "5b7c8f3e"));
        for text in [format!("{SECRET}\n{SECRET}"), format!("\u{0}{SECRET}")] {
            write_secret(&sandbox.path("client-secret"), &text);
            runs.push(loud(&sandbox, &["sync"], format).exits(3));
            runs.push(loud(&sandbox, &["config", "check"], format).exits(3));
        }
        // Half of it: the login service says no.
        sandbox.set("TRUSTSYNC__SOURCE__US__CLIENT_SECRET", format!("{SECRET}-and-more"));
        runs.push(loud(&sandbox, &["sync"], format).exits(4));
        runs.push(loud(&sandbox, &["config", "show"], format).exits(0));
        // Where a text belongs elsewhere, its value is not quoted either.
        sandbox.set("TRUSTSYNC__STORE__MAIN__KEEP", SECRET);
        runs.push(loud(&sandbox, &["sync"], format).exits(3));
        sandbox.unset("TRUSTSYNC__STORE__MAIN__KEEP");
        sandbox.unset("TRUSTSYNC__SOURCE__US__CLIENT_SECRET");
        write_secret(&sandbox.path("client-secret"), SECRET);
        runs.push(loud(&sandbox, &["sync"], format).exits(0));
    }
    assert_clean(&sandbox, "a wrong secret", &runs);
}

#[test]
fn a_proxy_that_says_no_or_is_not_there_does_not_get_its_password_printed() {
    let mut sandbox = sandbox();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It says the credentials back, as bad proxies do.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4_096];
            let length = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]).replace(['\r', '\n'], " ");
            let answer = format!(
                "HTTP/1.1 407 Proxy Authentication Required\r\nX-Asked: {asked}\r\nContent-Length: {}\r\n\r\n{asked}",
                asked.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut runs = Vec::new();
    for proxy in [address, gone] {
        for scheme in ["http", "https", "ftp"] {
            sandbox.set("TRUSTSYNC__SOURCE__US__PROXY", format!("{scheme}://user:{PROXY_PASSWORD}@{proxy}"));
            for format in FORMATS {
                runs.push(loud(&sandbox, &["sync", "--deadline", "1s"], format));
                runs.push(loud(&sandbox, &["config", "show"], format));
                runs.push(loud(&sandbox, &["config", "check"], format));
            }
        }
    }
    // The proxy of the environment too.
    sandbox.unset("TRUSTSYNC__SOURCE__US__PROXY");
    for proxy in [address, gone] {
        sandbox.set("HTTPS_PROXY", format!("http://user:{PROXY_PASSWORD}@{proxy}"));
        for format in FORMATS {
            runs.push(loud(&sandbox, &["sync", "--deadline", "1s"], format));
        }
    }
    let refused = runs.iter().filter(|ran| ran.code == 4 && ran.stderr.contains("407")).count();
    assert!(refused >= 3, "the proxy was asked");
    assert_clean(&sandbox, "a proxy", &runs);
}
