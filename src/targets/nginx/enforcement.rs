//! Whether a configuration of nginx ever asks the allowlist that it includes. Pure.
//!
//! A server that verifies the chain alone admits strangers: other leaves of the same public authority. The wire cannot
//! show that (only a stranger's key could), so the configuration is read. A server is *enforced* if a directive that
//! decides something mentions the variable that `admit.map` fills, or one derived from it by `map` or `set`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::targets::enforcement::Enforcement;
use crate::targets::nginx::configuration::{Directive, Lua};
use crate::targets::nginx::dump::{Configuration, tidy};

/// The file of the store that says who is admitted.
const ALLOWLIST: &str = "admit.map";

/// The directives that name a CA file for clients; the names in the second are not advertised.
const CA_FILES: [&str; 2] = ["ssl_client_certificate", "ssl_trusted_certificate"];

/// Whether each server of a configuration asks the allowlist: `roots` are the paths by which it may name the target's
/// link.
#[must_use]
pub fn assess(configuration: &Configuration, roots: &[PathBuf]) -> Enforcement {
    let ours = |path: &str| {
        let path = tidy(&configuration.prefix.join(path));
        roots.iter().any(|root| path.starts_with(root))
    };
    let mut asking = 0_usize;
    let mut strangers = Vec::new();
    let mut silent = Vec::new();
    let mut notes = Vec::new();
    let contexts = configuration
        .directives
        .iter()
        .filter(|directive| matches!(directive.name.as_str(), "http" | "stream" | "mail"));
    for context in contexts {
        let context = Context::of(context.body(), &ours);
        for server in context.servers() {
            if !context.asks_by_our_file(server, &ours) {
                if CA_FILES.into_iter().any(|name| all(server.body(), name).filter_map(Directive::argument).any(ours)) {
                    silent.push(describe(server));
                }
                continue;
            }
            asking = asking.saturating_add(1);
            let name = describe(server);
            let asked = context.asked_in(server);
            match &asked.places {
                _ if asked.everywhere => {}
                places if places.is_empty() => {
                    if asked.handed_on {
                        notes.push(format!(
                            "{name} hands the allowlist's verdict to the server behind it, and refuses nobody itself"
                        ));
                    }
                    strangers.push(name);
                }
                places => notes.push(format!(
                    "{name} asks the allowlist in {} only: every other location admits strangers",
                    places.iter().cloned().collect::<Vec<_>>().join(", ")
                )),
            }
        }
        if asking > 0 && context.admits.is_empty() {
            notes.push(format!("no map includes {ALLOWLIST} by this target's link, so nothing can ask it"));
        }
    }
    notes.sort();
    notes.dedup();
    match (asking, strangers.is_empty()) {
        (0, _) if !silent.is_empty() => Enforcement::NotAsked { servers: silent },
        (0, _) => Enforcement::NotIncluded,
        (_, true) => Enforcement::Enforced { notes },
        (_, false) => Enforcement::NotEnforced { servers: strangers, notes },
    }
}

/// The level above the servers: `http` or `stream`.
struct Context<'a> {
    body: &'a [Directive],
    /// The variables that `admit.map` fills, in lower case, without `$`.
    admits: BTreeSet<String>,
    /// The addresses that are TLS for every server which shares them.
    tls_addresses: BTreeSet<String>,
}

/// Where a server asks the allowlist.
#[derive(Default)]
struct Asked {
    everywhere: bool,
    places: BTreeSet<String>,
    handed_on: bool,
}

impl<'a> Context<'a> {
    fn of(body: &'a [Directive], ours: &dyn Fn(&str) -> bool) -> Self {
        let includes_ours = |map: &&Directive| {
            map.body().iter().filter(|entry| entry.name == "include").filter_map(Directive::argument).any(|path| {
                ours(path)
                    && Path::new(path)
                        .file_name()
                        .is_some_and(|name| name == ALLOWLIST || name.to_string_lossy().contains('*'))
            })
        };
        let admits = all(body, "map").filter(includes_ours).filter_map(destination).collect();
        let tls_addresses = all(body, "server")
            .flat_map(|server| all(server.body(), "listen"))
            .filter(|listen| is_tls(listen))
            .filter_map(address)
            .collect();
        Self { body, admits, tls_addresses }
    }

    fn servers(&self) -> impl Iterator<Item = &'a Directive> {
        all(self.body, "server")
    }

    /// Whether this server asks for client certificates, of authorities that our files name. What it does not say
    /// itself, the level above says.
    fn asks_by_our_file(&self, server: &Directive, ours: &dyn Fn(&str) -> bool) -> bool {
        let said = |name: &str| {
            all(server.body(), name).last().or_else(|| all(self.body, name).last()).and_then(Directive::argument)
        };
        let mut listens = all(server.body(), "listen");
        let tls = said("ssl") == Some("on")
            || listens
                .any(|listen| is_tls(listen) || address(listen).is_some_and(|at| self.tls_addresses.contains(&at)));
        tls && matches!(said("ssl_verify_client"), Some("on" | "optional" | "optional_no_ca"))
            // The trusted file verifies clients just as well; only its names are not advertised.
            && CA_FILES.into_iter().filter_map(said).any(ours)
    }

    fn asked_in(&self, server: &Directive) -> Asked {
        let variables = self.derived(server);
        let mut asked = Asked::default();
        find_questions(&variables, server.body(), None, &mut asked);
        // What the level above says is handed down, unless the server says something of its own by the same name.
        asked.everywhere |= self.body.iter().any(|directive| {
            directive.name != "server"
                && decides(&directive.name)
                && all(server.body(), &directive.name).next().is_none()
                && mentions_any(directive, &variables)
        });
        asked
    }

    /// The variables that `admit.map` fills, and all that hang on them here.
    fn derived(&self, server: &Directive) -> BTreeSet<String> {
        let mut variables = self.admits.clone();
        loop {
            let known = variables.len();
            for map in
                self.body.iter().filter(|directive| matches!(directive.name.as_str(), "map" | "split_clients" | "geo"))
            {
                // That it mentions the variable that it fills adds nothing.
                if mentions_any(map, &variables) || map.body().iter().any(|entry| mentions_any(entry, &variables)) {
                    variables.extend(destination(map));
                }
            }
            add_set(server.body(), &mut variables);
            if variables.len() == known {
                return variables;
            }
        }
    }
}

fn all<'d>(body: &'d [Directive], name: &str) -> impl Iterator<Item = &'d Directive> + use<'d> {
    let name = name.to_owned();
    body.iter().filter(move |directive| directive.name == name)
}

/// The variable that a `map` fills: its last argument.
fn destination(map: &Directive) -> Option<String> {
    map.arguments.last().and_then(|variable| variable.strip_prefix('$')).map(str::to_ascii_lowercase)
}

fn is_tls(listen: &Directive) -> bool {
    listen.arguments.iter().skip(1).any(|option| option == "ssl" || option == "quic")
}

/// An address in one of the forms that mean the same: `443`, `*:443`, `0.0.0.0:443`.
fn address(listen: &Directive) -> Option<String> {
    let text = listen.argument()?;
    let any_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    Some(if any_port(text) {
        format!("*:{text}")
    } else if let Some(port) = text.strip_prefix("0.0.0.0:").filter(|port| any_port(port)) {
        format!("*:{port}")
    } else {
        text.to_owned()
    })
}

fn add_set(body: &[Directive], variables: &mut BTreeSet<String>) {
    for directive in body {
        let sets =
            matches!(directive.name.as_str(), "set" | "auth_request_set") || directive.name.starts_with("set_by_lua");
        if sets && mentions_any(directive, variables) {
            let variable = directive.argument().and_then(|variable| variable.strip_prefix('$'));
            variables.extend(variable.map(str::to_ascii_lowercase));
        }
        add_set(directive.body(), variables);
    }
}

fn find_questions(variables: &BTreeSet<String>, body: &[Directive], location: Option<&str>, asked: &mut Asked) {
    for directive in body {
        if mentions_any(directive, variables) {
            if decides(&directive.name) {
                match location {
                    None => asked.everywhere = true,
                    Some(location) => {
                        asked.places.insert(location.to_owned());
                    }
                }
            } else if directive.name.ends_with("_set_header") || directive.name.ends_with("_param") {
                asked.handed_on = true;
            }
        }
        if directive.name == "location" {
            let name = format!("location {}", directive.arguments.join(" "));
            find_questions(variables, directive.body(), Some(&name), asked);
        } else {
            find_questions(variables, directive.body(), location, asked);
        }
    }
}

/// Whether what this directive says can keep a client out. What is only logged, shown or handed on does not; nor does
/// `return`, whose variables are text for the client.
fn decides(directive: &str) -> bool {
    matches!(directive, "if" | "rewrite" | "try_files" | "auth_request" | "auth_basic")
        || directive.ends_with("_pass")
        || ["access_by_lua", "rewrite_by_lua", "server_rewrite_by_lua", "content_by_lua", "preread_by_lua"]
            .into_iter()
            .any(|phase| directive.starts_with(phase))
}

fn mentions_any(directive: &Directive, variables: &BTreeSet<String>) -> bool {
    directive.arguments.iter().any(|text| mentions(text, variables))
        || directive.lua.as_ref().is_some_and(|code| mentions_in_lua(code, variables))
}

/// `$name` or `${name}`; names know no case.
fn mentions(text: &str, variables: &BTreeSet<String>) -> bool {
    text.split('$').skip(1).any(|after| {
        let name = after.strip_prefix('{').unwrap_or(after);
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
        name.get(..end).is_some_and(|name| variables.contains(&name.to_ascii_lowercase()))
    })
}

/// `ngx.var.name` or `ngx.var["name"]`: the name as a word of its own.
fn mentions_in_lua(Lua(code): &Lua, variables: &BTreeSet<String>) -> bool {
    code.contains("ngx.var")
        && code
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .any(|word| variables.contains(&word.to_ascii_lowercase()))
}

/// A server as a person would look for it.
fn describe(server: &Directive) -> String {
    let names: Vec<&str> = all(server.body(), "server_name")
        .flat_map(|names| &names.arguments)
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let listens: Vec<&str> = all(server.body(), "listen").filter_map(Directive::argument).collect();
    let name = if names.is_empty() { "(no name)".to_owned() } else { names.join(" ") };
    format!("server {name} on {} in {}", listens.join(", "), server.file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::nginx::dump::assemble;

    const LINK: &str = "/store/target/nginx";
    const MAP: &str =
        "map \"$ssl_client_verify|$x\" $trustsync_admit { default ''; include /store/target/nginx/nginx/admit.map; }";
    const TLS: &str = "listen 443 ssl; server_name a.example; ssl_client_certificate \
                       /store/target/nginx/trust-bundle.pem; ssl_verify_client on;";

    /// What is found of an http block with these contents.
    fn of(http: &str) -> Enforcement {
        let dump = format!(
            "# configuration file /etc/nginx/nginx.conf:\nhttp {{ {http} }}\n\n# configuration file \
             {LINK}/nginx/admit.map:\n# nobody\n"
        );
        assess(&assemble(&dump).unwrap(), &[LINK.into()])
    }

    fn enforced(http: &str) -> bool {
        match of(http) {
            Enforcement::Enforced { notes } => notes.is_empty(),
            Enforcement::NotEnforced { .. } => false,
            other => panic!("{other:?} of {http}"),
        }
    }

    #[test]
    fn a_test_in_the_server_counts_directly_or_through_other_variables() {
        for test in [
            "if ($trustsync_admit = \"\") { return 403; }",
            "if ( $trustsync_admit = '' ) { return 403; }",
            "if (${trustsync_admit} = '') { return 403; }",
            "if ($Trustsync_Admit = '') { return 403; }",
            "set $deny \"x$trustsync_admit\"; if ($deny = x) { return 403; }",
            "if ($also_ours) { return 403; }",
            "if ($chosen) { return 403; }",
            "proxy_pass http://$also_ours;",
            "access_by_lua_block { if ngx.var.trustsync_admit == '' then ngx.exit(403) end }",
            "access_by_lua_block { local v = ngx.var; if v[ [[trustsync_admit]] ] == '' then ngx.exit(403) end }",
            "access_by_lua_block { local v = ngx.var; check[[trustsync_admit]] }",
        ] {
            let maps = "map \"$host:$trustsync_admit\" $both { default 1; } map $both $also_ours { default 0; ~x 1; } \
                        map $host $chosen { default $trustsync_admit; }";
            assert!(enforced(&format!("{MAP} {maps} server {{ {TLS} {test} }}")), "{test}");
        }
        assert!(enforced(&format!(
            "map $x $mine {{ include {LINK}/nginx/admit.map; }} server {{ {TLS} if ($mine = '') {{ return 403; }} }}"
        )));
    }

    #[test]
    fn a_mention_that_keeps_nobody_out_does_not_count() {
        for test in [
            "",
            "# if ($trustsync_admit = \"\") { return 403; }",
            "add_header X-Admit $trustsync_admit always;",
            "access_log /var/log/x combined if=$trustsync_admit;",
            "set $noted $trustsync_admit;",
            "return 200 \"you are $trustsync_admit { if ($trustsync_admit) }\";",
            "if ($trustsync_admitted = '') { return 403; }",
            "if ($trustsync = '') { return 403; }",
            "location / { add_header X \"if ($trustsync_admit = '') { return 403; }\"; }",
            "log_by_lua_block { print(ngx.var.trustsync_admit) }",
            "access_by_lua_block { -- ngx.var.trustsync_admit\n }",
        ] {
            assert!(!enforced(&format!("{MAP} server {{ {TLS} {test}\n }}")), "{test}");
        }
        let handed_on = of(&format!("{MAP} server {{ {TLS} location / {{ proxy_set_header X $trustsync_admit; }} }}"));
        assert!(
            matches!(&handed_on, Enforcement::NotEnforced { notes, .. } if notes[0].contains("hands")),
            "{handed_on:?}"
        );
    }

    #[test]
    fn a_variable_of_that_name_that_our_file_does_not_fill_is_no_allowlist() {
        let judged = of(&format!(
            "map $x $trustsync_admit {{ default yes; }} server {{ {TLS} if ($trustsync_admit = '') {{ return 403; }} }}"
        ));
        assert!(
            matches!(&judged, Enforcement::NotEnforced { notes, .. } if notes[0].contains("no map includes")),
            "{judged:?}"
        );
    }

    #[test]
    fn set_acts_in_its_own_server_only_and_each_server_is_judged() {
        let other = TLS.replace("a.example", "b.example");
        let judged = of(&format!(
            "{MAP} server {{ {TLS} set $d $trustsync_admit; if ($d = '') {{ return 403; }} }} server {{ {other} if \
             ($d = '') {{ return 403; }} }}"
        ));
        let Enforcement::NotEnforced { servers, .. } = judged else { panic!("{judged:?}") };
        assert_eq!(servers, ["server b.example on 443 in /etc/nginx/nginx.conf"]);
    }

    #[test]
    fn a_test_in_some_locations_is_noted() {
        let judged = of(&format!(
            "{MAP} server {{ {TLS} location /a {{ if ($trustsync_admit = '') {{ return 403; }} }} location /b {{ }} }}"
        ));
        let Enforcement::Enforced { notes } = judged else { panic!("{judged:?}") };
        assert!(notes[0].contains("location /a only"), "{notes:?}");
    }

    #[test]
    fn what_the_http_level_hands_down_is_known_and_plain_ports_are_left_out() {
        let down = "ssl_client_certificate /store/target/nginx/trust-bundle.pem; ssl_verify_client optional;";
        assert!(!enforced(&format!("{MAP} {down} server {{ listen 1 ssl; }}")));
        assert!(!enforced(&format!(
            "{MAP} {down} server {{ listen 1 ssl; server_name a; if ($trustsync_admit = '') {{ return 403; }} }} \
             server {{ listen *:1; server_name b; }}"
        )));
        assert!(enforced(&format!(
            "{MAP} {down} server {{ listen 1 ssl; if ($trustsync_admit = '') {{ return 403; }} }} server {{ listen 2; \
             }} server {{ listen 3 ssl; ssl_verify_client off; }} server {{ listen 4 ssl; ssl_client_certificate \
             other.pem; }}"
        )));
        assert!(enforced(&format!(
            "{MAP} {down} access_by_lua 'if ngx.var.trustsync_admit == \"\" then ngx.exit(403) end'; server {{ listen \
             1 ssl; }}"
        )));
        assert!(!enforced(&format!(
            "{MAP} {down} access_by_lua 'if ngx.var.trustsync_admit == \"\" then ngx.exit(403) end'; server {{ listen \
             1 ssl; access_by_lua 'x()'; }}"
        )));
    }

    #[test]
    fn the_trusted_file_verifies_clients_too() {
        assert!(!enforced(&format!(
            "{MAP} server {{ listen 1 ssl; ssl_verify_client on; ssl_client_certificate mine.pem; \
             ssl_trusted_certificate {LINK}/chain.pem; }}"
        )));
    }

    #[test]
    fn without_a_server_that_asks_by_our_file_there_is_nothing_to_enforce() {
        for http in [
            "",
            MAP,
            "server { listen 1 ssl; ssl_verify_client on; ssl_client_certificate \
             /store/target/nginx-two/trust-bundle.pem; }",
            "# server { listen 1 ssl; ssl_verify_client on; ssl_client_certificate \
             /store/target/nginx/trust-bundle.pem; }",
        ] {
            let http = if http == MAP { http.to_owned() } else { format!("{MAP} {http}\n") };
            assert_eq!(of(&http), Enforcement::NotIncluded, "{http}");
        }
        let silent = of("server { listen 1 ssl; ssl_client_certificate /store/target/nginx/trust-bundle.pem; }");
        assert!(matches!(&silent, Enforcement::NotAsked { servers } if servers.len() == 1), "{silent:?}");
    }
}
