//! The configuration as people write it: file, environment, credentials; every mistake named, every value's origin shown.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use support::sandbox::{Sandbox, write_secret};
use trustsync::genesys::Region;

/// What `config check` finds wrong, as a list.
fn problems(sandbox: &Sandbox) -> Vec<String> {
    let ran = sandbox.run(&["config", "check", "--output", "json"]);
    let json = ran.json();
    assert_eq!(ran.code, if json["ok"] == true { 0 } else { 3 }, "{ran:?}");
    json["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_problem(sandbox: &Sandbox, pieces: &[&str]) {
    let problems = problems(sandbox);
    let found = problems.iter().any(|problem| pieces.iter().all(|piece| problem.contains(piece)));
    assert!(found, "{pieces:?} is not said: {problems:#?}");
}

/// The line of `config show` for a key: `value  # origin`.
fn shown(sandbox: &Sandbox, key: &str) -> String {
    let ran = sandbox.run(&["config", "show"]).exits(0);
    let prefix = format!("{key} = ");
    let line = ran.stdout.lines().find(|line| line.starts_with(&prefix));
    line.unwrap_or_else(|| panic!("no {key} in\n{}", ran.stdout)).trim_start_matches(&prefix).to_owned()
}

#[test]
fn a_good_configuration_is_said_to_be_one() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    let ran = sandbox.run(&["config", "check"]).exits(0);
    assert_eq!(ran.stdout, "The configuration is good: 1 source(s), 1 store(s), 1 target(s).\n");
    assert_eq!(ran.stderr, "");
}

#[test]
fn every_problem_is_named_at_once() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        r#"
colour = "blue"
[source.us]
region = "us-east-1"
client_id = "id"
client_secret_file = "nowhere"
ca_file = "no-ca"
digicert_anchors = ["no-anchors"]
builtin_anchors = true
regoin = "x"
authorities = ["DigiCert", "VeriSign"]
[source.no_region]
client_id = "x"
[source.UPPER]
region = "us-east-1"
client_id = "x"
client_secret_file = "client-secret"
[store.main]
keep = 1
grace = "a while"
sources = ["us", "nobody"]
[target.web]
kind = "ngnix"
[target.proxy]
store = "other"
kind = "generic"
proof = { connect = ["no-port"], proxy_protocol = "v3" }
[target.database]
kind = "ca-only"
[target.agreed]
kind = "ca-only"
pinning = "elsewhere"
[target.mixed]
kind = "generic"
outputs = ["nginx", "nginy"]
pinning = "somewhere"
proof = { timeout = "5s" }
"#,
    );
    for pieces in [
        &["unknown key colour"][..],
        &["unknown key source.us.regoin", "did you mean source.us.region?"],
        &["source.us.authorities", "VeriSign", "DigiCert, Genesys"],
        &["source.no_region.region is missing", "trustsync regions"],
        &["UPPER", "a-z 0-9"],
        &["store.main.keep", "rollback"],
        &["store.main.grace", "a while", "\"14d\""],
        &["store.main.sources", "nobody"],
        &["target.web", "ngnix", "nginx"],
        &["target.proxy.store", "other"],
        &["target.proxy.proof.connect", "no-port", "host:port"],
        &["target.proxy.proof.proxy_protocol", "v3", "v1"],
        &["target.mixed.outputs", "nginy", "haproxy"],
        &["target.mixed.pinning", "somewhere", "elsewhere"],
        &["target.mixed.proof", "connect"],
        &["nowhere", "secret"],
        &["no-ca"],
        &["no-anchors"],
    ] {
        assert_problem(&sandbox, pieces);
    }
    // Every command says so, and does nothing.
    for arguments in [&["sync"][..], &["history"], &["config", "show"], &["hold"]] {
        sandbox.run(arguments).exits(3).says(&[
            "did you mean source.us.region?",
            "store.main.keep",
            "trust is unchanged",
        ]);
    }
    assert!(!sandbox.store().exists());
}

#[test]
fn a_file_that_is_none_is_named_with_line_and_column_and_without_its_text() {
    let sandbox = Sandbox::new();
    sandbox.configure("[source.us]\nregion = \"us-east-1\"\nclient_secret = hunter2-very-secret\n");
    sandbox.sync(&[]).exits(3).says(&["config.toml, line 3, column"]).never_says(&["hunter2"]);
    sandbox.configure("[source.us]\nclient_id = [\"a\"]\n");
    sandbox.sync(&[]).exits(3).says(&["line 2", "trust is unchanged"]);
    sandbox.configure("[schedule]\ninterval = 5\n");
    sandbox.sync(&[]).exits(3).says(&["line 2"]);
    fs::remove_file(sandbox.path("config.toml")).unwrap();
    sandbox.sync(&[]).exits(3).says(&["cannot be read", "--config", "trust is unchanged"]);
    sandbox.run(&["config", "check"]).exits(3).says(&["cannot be read"]);
    fs::write(sandbox.path("config.toml"), vec![b'#'; 2 * 1024 * 1024]).unwrap();
    sandbox.sync(&[]).exits(3).says(&["larger than"]);
}

#[test]
fn an_unknown_region_lists_the_known_ones() {
    let sandbox = Sandbox::new();
    sandbox.configure(&sandbox.configuration().replace("us-east-1\"", "us-eest-1\""));
    let ran = sandbox.sync(&[]).exits(3).says(&["us-eest-1", "did you mean \"us-east-1\"?"]);
    for region in Region::ALL {
        assert!(ran.stderr.contains(region.aws), "{} is not in {}", region.aws, ran.stderr);
    }
}

#[test]
fn a_server_that_trusts_an_authority_alone_is_refused_a_public_one_unless_another_layer_pins() {
    let sandbox = Sandbox::new();
    let with = |pinning: &str| {
        let text = format!("{}\n[target.database]\nkind = \"ca-only\"\n{pinning}\n", sandbox.configuration());
        fs::write(sandbox.path("other.toml"), text).unwrap();
        sandbox.run(&["config", "check", "--config", "other.toml"])
    };
    with("").exits(3).says(&["target.database", "ca-only", "signs strangers too", "pinning = \"elsewhere\""]);
    with("pinning = \"elsewhere\"").exits(0);
}

#[test]
fn a_privileged_envoy_is_refused_names_since_root_is_told_of_no_leaf() {
    let sandbox = Sandbox::new();
    let public = sandbox.configuration();
    let by_name = public.replace(
        "[source.us]\n",
        "[source.us]\nauthorities = [\"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]\n",
    );
    assert_ne!(by_name, public);
    let with = |source: &str, target: &str| {
        fs::write(sandbox.path("other.toml"), format!("{source}\n[target.edge]\n{target}\n")).unwrap();
        sandbox.run(&["config", "check", "--config", "other.toml"])
    };
    let envoy = "kind = \"envoy\"";
    for kind in [envoy, "kind = \"generic\"\noutputs = [\"envoy\"]"] {
        let privileged = format!("{kind}\nprivileged = true");
        with(&by_name, &privileged).exits(3).says(&[
            "target.edge is an Envoy and privileged",
            "source.us takes certificates of Genesys",
            "Leave target.edge.privileged out",
            "neither root nor a reload",
        ]);
        with(&by_name, kind).exits(0);
        with(&public, &privileged).exits(0);
    }
    with(&by_name, "kind = \"haproxy\"\nprivileged = true").exits(0);
}

// --- secrets ---

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let sandbox = Sandbox::new();
    let text = sandbox.configuration();
    sandbox
        .configure(&text.replace("client_secret_file = \"client-secret\"", "client_secret = \"hunter2-very-secret\""));
    for arguments in [&["sync"][..], &["config", "check"], &["config", "show"], &["status"]] {
        let ran = sandbox.run(arguments).exits(3);
        ran.says(&["source.us.client_secret stands in the file", "client_secret_file"]).never_says(&["hunter2"]);
    }
}

#[test]
fn a_secret_that_everybody_may_read_is_refused() {
    let sandbox = Sandbox::new();
    let secret = sandbox.path("client-secret");
    for (mode, good) in [(0o600, true), (0o640, true), (0o440, true), (0o604, false), (0o644, false)] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(problems(&sandbox).is_empty(), good, "{mode:o}");
        let ran = sandbox.sync(&[]).exits(if good { 0 } else { 3 });
        if !good {
            ran.says(&["readable by everyone", "chmod o-r", "Trust is unchanged"]);
        }
    }
    // Of a symlink the target is judged.
    let real = sandbox.path("real-secret");
    fs::rename(&secret, &real).unwrap();
    symlink("real-secret", &secret).unwrap();
    assert_problem(&sandbox, &["readable by everyone"]);
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(problems(&sandbox), Vec::<String>::new());
    // Empty, or a folder: named as what it is.
    write_secret(&secret, "");
    assert_problem(&sandbox, &["client-secret", "empty"]);
    write_secret(&secret, "two\nlines\n");
    assert_problem(&sandbox, &["more than one line"]);
    fs::remove_file(&secret).unwrap();
    fs::create_dir(&secret).unwrap();
    assert_problem(&sandbox, &["not a regular file"]);
}

#[test]
fn a_credential_of_systemd_wins_over_file_and_environment() {
    let mut sandbox = Sandbox::new();
    let credentials = sandbox.path("credentials");
    fs::create_dir(&credentials).unwrap();
    write_secret(&sandbox.path("client-secret"), "wrong");
    sandbox.sync(&[]).exits(4).says(&["does not accept the secret"]);
    sandbox.set("TRUSTSYNC__SOURCE__US__CLIENT_SECRET", "wrong too");
    write_secret(&credentials.join("us-client-secret"), &format!("{}\n", sandbox.world().client_secret()));
    sandbox.set("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    sandbox.sync(&[]).exits(0);
    assert!(shown(&sandbox, "source.us.client_secret_file").ends_with("# systemd credential us-client-secret"));
}

#[test]
fn the_environment_may_hold_the_secret_and_it_stays_the_text_that_it_is() {
    for secret in ["0123", "1e5", "true", "  spaced  ", "a,b", "=="] {
        let mut sandbox = Sandbox::with(|options| options.client_secret = Some(secret.to_owned()));
        fs::remove_file(sandbox.path("client-secret")).unwrap();
        sandbox.set("TRUSTSYNC__SOURCE__US__CLIENT_SECRET", secret);
        sandbox.sync(&[]).exits(0);
        let ran = sandbox.run(&["config", "show"]).exits(0);
        ran.says(&["source.us.client_secret = [redacted]  # environment TRUSTSYNC__SOURCE__US__CLIENT_SECRET"]);
    }
}

// --- the environment ---

#[test]
fn the_environment_stands_over_the_file_and_lists_split_at_commas() {
    let mut sandbox = Sandbox::new();
    sandbox.append("grace = \"10d\"\n[target.web]\nkind = \"generic\"\n");
    sandbox.set("TRUSTSYNC__STORE__MAIN__GRACE", "20d");
    sandbox.set("TRUSTSYNC__STORE__MAIN__KEEP", "5");
    sandbox.set("TRUSTSYNC__SOURCE__US__IDENTITY", "one.example, two.example");
    sandbox.set("TRUSTSYNC__SCHEDULE__INTERVAL", "30m");
    sandbox.set("TRUSTSYNC__ALARMS__UPCOMING_MISSING__WARNING", "60d");
    sandbox.set("TRUSTSYNC__TARGET__WEB__CHECK", "/bin/true,-x");
    sandbox.set("TRUSTSYNC__TARGET__WEB__RELOAD__COMMAND", "/bin/true");
    sandbox.set("trustsync_unrelated", "x");
    for (key, value) in [
        ("store.main.grace", "\"20d\"  # environment TRUSTSYNC__STORE__MAIN__GRACE"),
        ("store.main.keep", "5  # environment TRUSTSYNC__STORE__MAIN__KEEP"),
        ("source.us.identity", "[\"one.example\", \"two.example\"]  # environment TRUSTSYNC__SOURCE__US__IDENTITY"),
        ("schedule.interval", "\"30m\"  # environment TRUSTSYNC__SCHEDULE__INTERVAL"),
        ("alarms.upcoming_missing.warning", "\"60d\"  # environment TRUSTSYNC__ALARMS__UPCOMING_MISSING__WARNING"),
        ("target.web.check", "[\"/bin/true\", \"-x\"]  # environment TRUSTSYNC__TARGET__WEB__CHECK"),
        ("target.web.reload.command", "[\"/bin/true\"]  # environment TRUSTSYNC__TARGET__WEB__RELOAD__COMMAND"),
    ] {
        assert_eq!(shown(&sandbox, key), value);
    }
    // A client id that looks like a number stays a text.
    sandbox.set("TRUSTSYNC__SOURCE__US__CLIENT_ID", "007");
    assert!(shown(&sandbox, "source.us.client_id").starts_with("\"007\""));
}

#[test]
fn a_mistake_in_the_environment_is_named_like_one_in_the_file() {
    let mut sandbox = Sandbox::new();
    sandbox.set("TRUSTSYNC__STORE__MAIN__GRAZE", "20d");
    assert_problem(&sandbox, &["environment", "store.main.graze", "did you mean store.main.grace?"]);
    sandbox.unset("TRUSTSYNC__STORE__MAIN__GRAZE");
    sandbox.set("TRUSTSYNC__STORE__MAIN__KEEP", "many-hunter2");
    sandbox.sync(&[]).exits(3).says(&["environment", "keep"]).never_says(&["hunter2"]);
}

#[test]
fn two_sources_and_two_stores_need_no_file_but_an_empty_one() {
    let mut sandbox = Sandbox::new();
    sandbox.configure("");
    sandbox.run(&["sync"]).exits(3).says(&["there is no [source.NAME]"]);
    let url = sandbox.vendor.url.clone();
    let secret = sandbox.world().client_secret().to_owned();
    for source in ["A", "B"] {
        for (key, value) in [
            ("REGION", "us-east-1"),
            ("CLIENT_ID", trustsync::simulator::world::CLIENT_ID),
            ("CLIENT_SECRET", &secret),
            ("API", &url),
            ("LOGIN", &url),
            ("CA_FILE", "api-ca.pem"),
            ("DIGICERT_ANCHORS", "digicert-root.pem"),
            ("BUILTIN_ANCHORS", "false"),
        ] {
            sandbox.set(&format!("TRUSTSYNC__SOURCE__{source}__{key}"), value);
        }
        sandbox.set(&format!("TRUSTSYNC__STORE__{source}__PATH"), format!("store-{source}"));
        sandbox.set(&format!("TRUSTSYNC__STORE__{source}__SOURCES"), source.to_lowercase());
    }
    sandbox.sync(&[]).exits(0).says(&["a: published generation 000001", "b: published generation 000001"]);
    assert!(sandbox.path("store-A/current").exists() && sandbox.path("store-B/current").exists());
}

// --- config show ---

#[test]
fn config_show_says_where_each_value_comes_from_and_durations_as_people_write_them() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("config.toml").display().to_string();
    assert_eq!(shown(&sandbox, "source.us.region"), format!("\"us-east-1\"  # {file}"));
    for (key, value) in [
        ("alarms.upcoming_missing.warning", "\"45d\"  # default"),
        ("alarms.upcoming_missing.critical", "\"14d\"  # default"),
        ("schedule.window", "\"90d\"  # default"),
        ("schedule.interval", "\"1h\"  # default"),
        ("store.main.grace", "\"14d\"  # default"),
        ("store.main.keep", "10  # default"),
        ("source.us.identity", "\"learn\"  # default"),
        ("source.us.path", "\"/api/v2/integrations/actions/certificates\"  # default"),
    ] {
        assert_eq!(shown(&sandbox, key), value, "{key}");
    }
}

#[test]
fn what_config_show_prints_is_a_configuration_again() {
    let sandbox = Sandbox::new();
    sandbox.append(
        "[target.web]\nkind = \"nginx\"\ncheck = [\"/bin/true\"]\nreload = { signal = \"HUP\", pidfile = \
         \"/run/x.pid\" }\nproof = { connect = [\"127.0.0.1:1\"], server_name = \"x.example\" }\n",
    );
    sandbox.append(
        "[target.a]\nkind = \"generic\"\nreload = \"none\"\nproof = { command = [\"app\", \"trust\"], settle = \"0s\" \
         }\n[target.b]\nkind = \"generic\"\nreload = { signal = \"USR1\", process = \"app\" }\n[target.c]\nkind = \
         \"generic\"\nreload = { signal = \"SIGHUP\", unit = \"app.service\" }\n[target.d]\nkind = \
         \"generic\"\nreload = { http = \"unix:/run/app.sock:/-/reload\" }\nproof = { http = \
         \"unix:/run/app.sock:/-/trust\" }\n",
    );
    sandbox.append(
        "[target.edge]\nkind = \"haproxy\"\nproof = { haproxy = \"/run/a.sock\" }\nreload = { haproxy = \
         \"/run/a.sock\", fallback = { systemd = \"haproxy.service\", master = \"/run/m.sock\" } \
         }\n[target.plain]\nkind = \"haproxy\"\nreload = { master = \"/run/m.sock\" }\n[target.alone]\nkind = \
         \"haproxy\"\nreload = { haproxy = \"/run/a.sock\", fallback = \"none\" }\n",
    );
    let first = sandbox.run(&["config", "show"]).exits(0).stdout;
    for line in [
        "store.main.turns = \"parallel\"",
        "target.a.reload = \"none\"",
        "target.a.proof.command = [\"app\", \"trust\"]",
        "target.b.reload.process = \"app\"",
        "target.c.reload.unit = \"app.service\"",
        "target.d.reload.http = \"unix:/run/app.sock:/-/reload\"",
        "target.d.proof.http = \"unix:/run/app.sock:/-/trust\"",
    ] {
        assert!(first.contains(line), "{line} in {first}");
    }
    sandbox.configure(&first);
    let again = sandbox.run(&["config", "show"]).exits(0).stdout;
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&again));
}

#[test]
fn reload_may_be_a_word_and_a_mistake_in_its_table_is_still_found() {
    let mut sandbox = Sandbox::new();
    sandbox.append("[target.web]\nkind = \"nginx\"\ncheck = []\nreload = \"none\"\n");
    assert_eq!(problems(&sandbox), Vec::<String>::new());
    sandbox.set("TRUSTSYNC__TARGET__WEB__RELOAD", "nobody");
    assert_problem(&sandbox, &["target.web.reload", "nobody"]);
    sandbox.set("TRUSTSYNC__TARGET__WEB__RELOAD", "none");
    assert_eq!(problems(&sandbox), Vec::<String>::new());
    assert!(shown(&sandbox, "target.web.reload").starts_with("\"none\"  # environment"));
    let sandbox = Sandbox::new();
    sandbox.append("[target.web]\nkind = \"generic\"\nreload = { singal = \"HUP\" }\n");
    assert_problem(&sandbox, &["unknown key target.web.reload.singal", "target.web.reload.signal"]);
}

#[test]
fn a_secret_in_the_address_of_a_server_is_never_shown() {
    let sandbox = Sandbox::new();
    let reload = |url: &str| format!("[target.web]\nkind = \"generic\"\nreload = {{ http = \"{url}\" }}\n");
    let good = sandbox.configuration();
    sandbox.configure(&format!("{good}{}", reload("http://u:hunter2@127.0.0.1:1/x?t=hunter2")));
    let ran = sandbox.run(&["config", "show"]).exits(0);
    ran.says(&["target.web.reload.http = \"http://127.0.0.1:1/x\""]).never_says(&["hunter2"]);
    for wrong in ["http://u:hunter2@example.com/", "ftp://u:hunter2@127.0.0.1/", "http://u:hunter2@[/", "unix:hunter2"]
    {
        sandbox.configure(&format!("{good}{}", reload(wrong)));
        sandbox.run(&["config", "check"]).exits(3).says(&["target.web.reload.http"]).never_says(&["hunter2"]);
    }
}

#[test]
fn a_proxys_password_is_never_shown() {
    let mut sandbox = Sandbox::new();
    sandbox.set("TRUSTSYNC__SOURCE__US__PROXY", "http://user:pr0xy-passw0rd@127.0.0.1:9");
    let ran = sandbox.run(&["config", "show"]).exits(0);
    ran.says(&["source.us.proxy = \"http://127.0.0.1:9\""]).never_says(&["pr0xy-passw0rd", "user:"]);
    sandbox.set("TRUSTSYNC__SOURCE__US__PROXY", "socks9://user:pr0xy-passw0rd@127.0.0.1:9");
    sandbox.run(&["config", "check"]).exits(3).says(&["source.us.proxy"]).never_says(&["pr0xy-passw0rd"]);
}

// --- values ---

#[test]
fn a_key_that_its_way_does_not_have_is_refused_with_a_sentence() {
    let sandbox = Sandbox::new();
    let good = sandbox.configuration();
    for (kind, lines, pieces) in [
        (
            "haproxy",
            "reload = { haproxy = \"a.sock\", pidfile = \"p\", process = \"x\" }",
            &["target.t.reload.haproxy sends no signal", "pidfile and process", "fallback"][..],
        ),
        ("nginx", "reload = { systemd = \"x\", unit = \"x\" }", &["target.t.reload.systemd sends no signal", "unit"]),
        ("nginx", "reload = { systemd = \"x\", pidfile = \"p\" }", &["target.t.reload.systemd", "pidfile"]),
        ("nginx", "reload = { systemd = \"x\", process = \"x\" }", &["target.t.reload.systemd", "process"]),
        ("nginx", "reload = { command = [\"x\"], process = \"x\" }", &["target.t.reload.command", "process"]),
        ("nginx", "reload = { http = \"http://127.0.0.1/\", unit = \"x\" }", &["target.t.reload.http", "unit"]),
        (
            "haproxy",
            "reload = { haproxy = \"a.sock\", fallback = { systemd = \"x\", unit = \"y\" } }",
            &["target.t.reload.fallback.systemd sends no signal", "unit"],
        ),
        (
            "generic",
            "proof = { command = [\"x\"], server_name = \"x.example\" }",
            &["target.t.proof.connect is not set", "server_name"],
        ),
        ("generic", "proof = { command = [\"x\"], path = \"/\" }", &["target.t.proof.connect is not set", "path"]),
        (
            "generic",
            "proof = { http = \"http://127.0.0.1/\", generation = \"header\", proxy_protocol = \"v1\" }",
            &["target.t.proof.connect is not set", "generation and proxy_protocol"],
        ),
        ("nginx", "check_timeout = \"0s\"", &["target.t.check_timeout", "30s"]),
        ("nginx", "reload_timeout = \"0s\"", &["target.t.reload_timeout", "30s"]),
        ("nginx", "proof = { connect = [\"127.0.0.1:1\"], timeout = \"0s\" }", &["target.t.proof.timeout", "30s"]),
    ] {
        sandbox.configure(&format!("{good}\n[target.t]\nkind = \"{kind}\"\n{lines}\n"));
        assert_problem(&sandbox, pieces);
    }
    sandbox.configure(&format!("{good}\n[alarms]\nupcoming_missing = {{ warning = \"14d\", critical = \"45d\" }}\n"));
    assert_problem(
        &sandbox,
        &["alarms.upcoming_missing.critical", "(45d)", "alarms.upcoming_missing.warning", "(14d)"],
    );
}

#[test]
fn a_process_without_a_pidfile_is_found_by_its_name_whatever_the_preset_says() {
    let sandbox = Sandbox::new();
    sandbox.append("[target.t]\nkind = \"nginx\"\nreload = { signal = \"HUP\", process = \"openresty\" }\n");
    let shown = sandbox.run(&["config", "show"]).exits(0).stdout;
    assert!(shown.contains("target.t.reload.process = \"openresty\""), "{shown}");
    assert!(!shown.contains("target.t.reload.pidfile"), "{shown}");
}

#[test]
fn values_that_cannot_be_are_named_with_their_key() {
    let sandbox = Sandbox::new();
    let good = sandbox.configuration();
    for (from, to, pieces) in [
        ("client_id = ", "client_id = \"\" # ", &["source.us.client_id is missing"][..]),
        ("api = \"https", "api = \"http", &[]),
        ("login = \"https://127.0.0.1", "login = \"http://example.com", &["source.us.login", "https", "secret"]),
        ("api = \"https://", "api = \"ftp://", &["source.us.api", "http"]),
        ("api = \"https://", "api = \"https://user:pw@", &["source.us.api", "credentials"]),
        ("[store.main]", "identity = []\n[store.main]", &["source.us.identity", "learn"]),
        ("[store.main]", "identity = [\"no host name\"]\n[store.main]", &["source.us.identity", "no host name"]),
        ("[store.main]", "authorities = []\n[store.main]", &["source.us.authorities"]),
        ("[store.main]", "authorities = [\"Genesys\"]\n[store.main]", &["genesys_anchors is missing"]),
        ("[store.main]", "path = \"relative\"\n[store.main]", &["source.us.path", "begin with /"]),
        ("path = \"store\"", "path = \"/\"", &["store.main.path", "root"]),
        ("path = \"store\"", "path = \"store\"\ngrace = \"20y\"", &["store.main.grace", "ten years"]),
        ("path = \"store\"", "path = \"store\"\n[alarms]\nupcoming_missing = { warning = \"x\" }", &["warning"]),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { signal = \"KILL\", pidfile = \"p\", process \
             = \"x\" }",
            &["target.t.reload", "KILL", "HUP"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { http = \"http://127.0.0.1/\", systemd = \
             \"x\" }",
            &["target.t.reload", "one of"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"haproxy\"\nreload = { haproxy = \"a.sock\", systemd = \"x\" }",
            &["target.t.reload", "one of"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"haproxy\"\nreload = { haproxy = \"a\", fallback = { haproxy = \
             \"b\" } }",
            &["target.t.reload.fallback", "must be a reload"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"haproxy\"\nreload = { systemd = \"x\", fallback = { systemd = \
             \"y\" } }",
            &["target.t.reload.fallback", "target.t.reload.haproxy"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { haproxy = \"a\", fallback = \"none\", \
             master = \"b\" }",
            &["target.t.reload.master", "there is none"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nproof = { haproxy = \"a.sock\" }",
            &["target.t.proof.haproxy", "outputs = [\"haproxy\"]"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"haproxy\"\nreload = { haproxy = \"a\", fallbakc = { systemd = \
             \"x\" } }",
            &["target.t.reload.fallbakc", "target.t.reload.fallback"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\nturns = \"random\"",
            &["store.main.turns", "random", "parallel", "ordered"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = \"nobody\"",
            &["target.t.reload", "nobody", "\"none\"", "systemd"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = {}",
            &["target.t.reload names no way", "\"none\""],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { pidfile = \"p\" }",
            &["target.t.reload names no way"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { signal = \"HUP\", pidfile = \"p\" }",
            &["target.t.reload needs process"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { signal = \"HUP\", unit = \"x\", process = \
             \"x\" }",
            &["target.t.reload.unit", "leave"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { http = \"unix:relative.sock:/x\" }",
            &["target.t.reload.http", "absolute path"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nproof = { http = \"http://example.com/trust\" }",
            &["target.t.proof.http", "on this machine", "https"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nreload = { command = \"app --reload\" }",
            &["target.t.reload.command", "one string", "write a list", "[\"sh\", \"-c\", \"app --reload\"]"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nproof = { command = [] }",
            &["target.t.proof.command is empty"],
        ),
        (
            "path = \"store\"",
            "path = \"store\"\n[target.t]\nkind = \"generic\"\nproof = { settle = \"1s\" }",
            &["target.t.proof names no way to look", "command", "http"],
        ),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        sandbox.configure(&text);
        if pieces.is_empty() {
            assert_eq!(problems(&sandbox), Vec::<String>::new(), "{to}");
        } else {
            assert_problem(&sandbox, pieces);
        }
    }
}

#[test]
fn anchors_that_are_none_are_found_before_anything_is_asked() {
    let sandbox = Sandbox::new();
    let leaf = sandbox.world().current().unwrap();
    for (text, piece) in [
        ("".to_owned(), "digicert-root.pem"),
        ("garbage".to_owned(), "digicert-root.pem"),
        (leaf.pem(), "digicert-root.pem"),
        (leaf.key_pem(), "digicert-root.pem"),
    ] {
        fs::write(sandbox.path("digicert-root.pem"), text).unwrap();
        assert_problem(&sandbox, &[piece]);
        sandbox.sync(&[]).exits(3).says(&[piece, "trust is unchanged"]);
    }
    assert!(!sandbox.store().join("current").exists());
}

#[test]
fn a_byte_order_mark_hides_in_no_file_that_people_write() {
    let sandbox = Sandbox::new();
    let mark = |name: &str| {
        let text = fs::read(sandbox.path(name)).unwrap();
        fs::write(sandbox.path(name), [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
    };
    for name in ["client-secret", "api-ca.pem", "digicert-root.pem", "config.toml"] {
        mark(name);
        assert_eq!(problems(&sandbox), Vec::<String>::new(), "{name}");
        sandbox.sync(&[]).exits(0);
    }
}

#[test]
fn a_ca_file_may_be_what_a_file_of_anchors_may_be() {
    let sandbox = Sandbox::new();
    let pem = fs::read_to_string(sandbox.path("api-ca.pem")).unwrap();
    let der = trustsync::trust::formats::pem::scan(&pem).remove(0).bytes.unwrap();
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("folder/ca.crt", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&der).unwrap();
    let zipped = archive.finish().unwrap().into_inner();
    for (form, bytes) in [("DER", der), ("zip", zipped), ("indented", pem.replace("-----BEGIN", "  -----BEGIN").into())]
    {
        fs::write(sandbox.path("api-ca.pem"), bytes).unwrap();
        assert_eq!(problems(&sandbox), Vec::<String>::new(), "{form}");
        sandbox.sync(&[]).exits(0);
    }
}

#[test]
fn no_proxy_may_name_a_host_with_its_port() {
    let mut sandbox = Sandbox::new();
    let port = sandbox.vendor.url.rsplit(':').next().unwrap().to_owned();
    sandbox.set("HTTPS_PROXY", "http://127.0.0.1:1");
    let deadline = ["--deadline", "1s"];
    sandbox.sync(&deadline).exits(4);
    sandbox.set("NO_PROXY", "127.0.0.1:1, other.example:443");
    sandbox.sync(&deadline).exits(4);
    sandbox.set("NO_PROXY", format!("other.example:443, 127.0.0.1:{port}"));
    sandbox.sync(&deadline).exits(0);
}

#[test]
fn anchors_without_a_word_on_the_built_in_ones_are_refused_and_both_choices_are_named() {
    let sandbox = Sandbox::new();
    let good = sandbox.configuration();
    sandbox.configure(&good.replace("builtin_anchors = false\n", ""));
    assert_problem(&sandbox, &["source.us.builtin_anchors is missing", "= true", "= false"]);
    sandbox.sync(&[]).exits(3).says(&["builtin_anchors = true", "builtin_anchors = false", "trust is unchanged"]);
    sandbox.configure(&good.replace("digicert_anchors = [\"digicert-root.pem\"]\n", ""));
    assert_problem(&sandbox, &["source.us.builtin_anchors is false", "digicert_anchors names no file"]);
    for word in ["true", "false"] {
        sandbox.configure(&good.replace("builtin_anchors = false", &format!("builtin_anchors = {word}")));
        assert_eq!(problems(&sandbox), Vec::<String>::new(), "{word}");
        assert!(shown(&sandbox, "source.us.builtin_anchors").starts_with(word));
        sandbox.sync(&[]).exits(0);
    }
}

#[test]
fn the_lines_that_a_refusal_names_admit_what_it_refused_and_keep_the_built_in_roots() {
    let sandbox = Sandbox::new();
    let good = sandbox.configuration();
    let lines = "digicert_anchors = [\"digicert-root.pem\"]\nbuiltin_anchors = false\n";
    sandbox.configure(&good.replace(lines, ""));
    let refused = sandbox.sync(&[]).exits(5);
    let advised = "digicert_anchors = [\"/etc/trustsync/ROOT.pem\"] and builtin_anchors = true";
    refused.says(&["unknown-issuer", advised]);
    let followed = advised.replace("/etc/trustsync/ROOT.pem", "digicert-root.pem").replace(" and ", "\n");
    sandbox.configure(&good.replace(lines, &format!("{followed}\n")));
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins().len(), 1);
}

#[test]
fn config_check_warns_of_what_the_store_holds_and_the_configuration_would_refuse() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let good = sandbox.configuration();
    let warned = |text: String| {
        sandbox.configure(&text);
        let ran = sandbox.run(&["config", "check"]).exits(0);
        let json = sandbox.run(&["config", "check", "--output", "json"]).exits(0).json();
        assert_eq!(ran.stdout.matches("warning: ").count(), json["warnings"].as_array().unwrap().len());
        ran.stdout
    };
    assert!(!warned(good.clone()).contains("warning"));
    let leaf = sandbox.current_leaf();
    let others = warned(good.replace("digicert-root.pem", "genesys-root.pem"));
    assert!(others.contains(&leaf) && others.contains("unknown-issuer"), "{others}");
    sandbox.sync(&[]).exits(5);
    let named = warned(good.replace("builtin_anchors", "identity = [\"other.example\"]\nbuiltin_anchors"));
    assert!(named.contains(&leaf) && named.contains("other.example"), "{named}");
    let moved = warned(good.replace("us-east-1", "eu-west-1"));
    assert!(moved.contains("1 certificate(s) of us.us-east-1.digicert") && moved.contains("14d"), "{moved}");
    let stricter = warned(format!("{good}\n[verify]\nmax_chain = 2\n"));
    assert!(stricter.contains(&leaf) && stricter.contains("chain-too-long"), "{stricter}");
}

// --- [verify] ---

#[test]
fn the_policy_has_safe_defaults_that_config_show_prints() {
    let sandbox = Sandbox::new();
    for (key, value) in [
        ("min_rsa_bits", "2048"),
        ("curves", "[\"P-256\", \"P-384\", \"P-521\"]"),
        ("other_usages", "\"accept\""),
        ("max_validity", "\"825d\""),
        ("max_chain", "4"),
        ("max_certificates", "10"),
        ("clock_skew", "\"5m\""),
        ("max_new_leaves", "4"),
        ("max_pins", "8"),
        ("changed_issuer", "\"accept\""),
    ] {
        assert_eq!(shown(&sandbox, &format!("verify.{key}")), format!("{value}  # default"));
    }
}

#[test]
fn every_value_of_the_policy_can_be_set_in_the_file_and_in_the_environment() {
    let mut sandbox = Sandbox::new();
    sandbox.append(
        "[verify]\nmin_rsa_bits = 3072\ncurves = [\"P-384\"]\nsignatures = [\"Ed25519\", \"sha-256 with \
         rsa\"]\nother_usages = \"refuse\"\nmax_validity = \"400d\"\nmax_chain = 8\nmax_certificates = 12\nclock_skew \
         = \"0s\"\nmax_new_leaves = 1\nmax_pins = 5\nchanged_issuer = \"confirm\"\n",
    );
    for (key, value) in [
        ("min_rsa_bits", "3072"),
        ("curves", "[\"P-384\"]"),
        ("signatures", "[\"Ed25519\", \"SHA-256 with RSA\"]"),
        ("other_usages", "\"refuse\""),
        ("max_validity", "\"400d\""),
        ("max_chain", "8"),
        ("max_certificates", "12"),
        ("clock_skew", "\"0s\""),
        ("max_new_leaves", "1"),
        ("max_pins", "5"),
        ("changed_issuer", "\"confirm\""),
    ] {
        assert!(shown(&sandbox, &format!("verify.{key}")).starts_with(&format!("{value}  # ")), "{key}");
        assert!(shown(&sandbox, &format!("verify.{key}")).ends_with("config.toml"), "{key}");
    }
    sandbox.set("TRUSTSYNC__VERIFY__CURVES", "P-256, p-384");
    sandbox.set("TRUSTSYNC__VERIFY__MAX_NEW_LEAVES", "7");
    assert!(shown(&sandbox, "verify.curves").starts_with("[\"P-256\", \"P-384\"]  # environment"));
    assert!(shown(&sandbox, "verify.max_new_leaves").starts_with("7  # environment"));
    // A chain that may be long has room in the string.
    sandbox.configure(&sandbox.configuration().replace("max_certificates = 12\n", "max_certificates = 7\n"));
    assert_problem(&sandbox, &["verify.max_certificates", "8 to 32"]);
}

#[test]
fn a_policy_that_is_none_is_refused_with_its_range() {
    let sandbox = Sandbox::new();
    let before = sandbox.configuration();
    for (line, pieces) in [
        ("min_rsa_bits = 1024", &["verify.min_rsa_bits", "2048 to 8192"][..]),
        ("min_rsa_bits = 16384", &["verify.min_rsa_bits", "2048 to 8192"]),
        ("curves = [\"secp256k1\"]", &["verify.curves", "secp256k1", "P-256, P-384, P-521"]),
        ("signatures = [\"SHA-1 with RSA\"]", &["verify.signatures", "SHA-1 with RSA", "SHA-256 with ECDSA"]),
        ("signatures = []", &["verify.signatures is empty"]),
        ("other_usages = \"some\"", &["verify.other_usages", "some", "refuse"]),
        ("max_validity = \"1h\"", &["verify.max_validity", "1d to 1830d"]),
        ("max_validity = \"9y\"", &["verify.max_validity", "1d to 1830d"]),
        ("max_chain = 1", &["verify.max_chain", "2 to 8"]),
        ("max_chain = 9", &["verify.max_chain", "2 to 8"]),
        ("max_certificates = 3", &["verify.max_certificates", "4 to 32"]),
        ("max_certificates = 33", &["verify.max_certificates", "4 to 32"]),
        ("clock_skew = \"2h\"", &["verify.clock_skew", "0s to 1h"]),
        ("max_new_leaves = 0", &["verify.max_new_leaves", "1 to 100"]),
        ("max_pins = 1", &["verify.max_pins", "2 to 100"]),
        ("max_new_leaves = 101", &["verify.max_new_leaves", "1 to 100"]),
        ("changed_issuer = \"ask\"", &["verify.changed_issuer", "ask", "accept", "confirm"]),
        ("min_rsa_bit = 2048", &["verify.min_rsa_bit", "did you mean verify.min_rsa_bits"]),
    ] {
        sandbox.configure(&format!("{before}\n[verify]\n{line}\n"));
        assert_problem(&sandbox, pieces);
    }
}

#[test]
fn the_policy_of_the_file_is_the_one_that_judges() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    let before = sandbox.configuration();
    for (line, code, says) in [
        ("max_validity = \"300d\"", 5, "validity"),
        ("curves = [\"P-384\"]", 5, "P-256"),
        ("signatures = [\"SHA-256 with RSA\"]", 5, "SHA-256 with ECDSA, which [verify] signatures leaves out"),
        ("max_chain = 2", 5, "more than 2 certificates"),
        ("max_new_leaves = 1", 5, "too_many_new_leaves"),
        ("max_new_leaves = 2", 0, "published generation 000001"),
    ] {
        sandbox.configure(&format!("{before}\n[verify]\n{line}\n"));
        sandbox.sync(&[]).exits(code).says(&[says]);
        assert_eq!(sandbox.current().is_some(), code == 0, "{line}");
    }
}

#[test]
fn unknown_keys_are_found_wherever_they_stand() {
    let sandbox = Sandbox::new();
    let text = sandbox.configuration();
    sandbox.configure(&format!(
        "client_secret = \"hunter2\"\n\"schedule.interval\" = \"7s\"\n{text}\n[target.edge]\nkind = \"haproxy\"\n\
         client_secret = \"hunter2\"\nreload = {{ haproxy = \"/s\", fallback = {{ systemd = \"x\", foo = 1, fallback = \
         {{ systemd = \"x\", bar = 2 }} }} }}\n"
    ));
    for pieces in [
        &["unknown key client_secret: known here are"][..],
        &["unknown key schedule.interval: known here are"],
        &["unknown key target.edge.client_secret"],
        &["unknown key target.edge.reload.fallback.foo"],
        &["unknown key target.edge.reload.fallback.fallback.bar"],
    ] {
        assert_problem(&sandbox, pieces);
    }
    // What a fallback cannot have is not offered there.
    assert_problem(
        &sandbox,
        &["fallback.foo: known here are signal, pidfile, process, unit, systemd, command, http, master"],
    );
    let ran = sandbox.run(&["config", "check"]).exits(3);
    assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"), "{ran:?}");
}

#[test]
fn every_wrong_address_of_a_source_is_named_at_once() {
    let sandbox = Sandbox::new();
    let text = sandbox.configuration();
    let kept: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("api =") && !line.starts_with("login =")).collect();
    let wrong = "[source.us]\napi = \"http://api.example\"\nlogin = \"http://login.example\"\nproxy = \"socks5://x\"";
    sandbox.configure(&kept.join("\n").replace("[source.us]", wrong));
    for key in ["source.us.api", "source.us.login", "source.us.proxy"] {
        assert_problem(&sandbox, &[key]);
    }
}

#[test]
fn a_wrong_item_of_a_list_is_named_with_its_own_line() {
    let sandbox = Sandbox::new();
    sandbox.configure("[source.us]\nregion = \"us-east-1\"\nauthorities = [\n  \"DigiCert\",\n  5,\n]\n");
    sandbox.sync(&[]).exits(3).says(&["line 5, column 3", "integer `5`", "a string"]);
}
