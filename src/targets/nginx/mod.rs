//! nginx: chain bundle, the bodies of two maps, the generation's header; `nginx -t`; SIGHUP. Its configuration, which
//! `nginx -T` prints, shows whether each server asks the allowlist.

pub mod configuration;
pub mod dump;
pub mod enforcement;
mod read_back;
mod render;
pub mod snippet;

use std::path::{Path, PathBuf};

use super::enforcement::{Configuration, Enforcement};
use super::kind::ServerKind;
use super::read_back::meant::{named, pinned, text};
use super::ways::{GenerationEvidence, Signal};
use crate::trust::plan::set::{Denial, TrustSet};
use crate::trust::records::manifest::Manifest;
use crate::trust::render::{Family, Files, Label, Odd, Output};

/// Its files, and how its configuration is read.
#[derive(Debug)]
pub struct Nginx;

/// `nginx/`: the bodies of two maps.
pub const OUTPUT: Output = &Nginx;

/// The kind of server.
pub static NGINX: ServerKind = ServerKind {
    output: Some(OUTPUT),
    reads: &["trust-bundle.pem", "chain.pem", "nginx/"],
    snippet: Some(|link| format!("{}\n{}", snippet::http(link), snippet::server(link))),
    check: Some(&["nginx", "-t"]),
    signal: Some((Signal::Hup, "/run/nginx.pid", "nginx")),
    evidence: GenerationEvidence::Header,
    configuration: Some(&Nginx),
    ..ServerKind::unknown("nginx")
};

impl Family for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        render::files(set, label)
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        let meant = match path {
            render::ADMIT => {
                let denied = manifest.denied.values().filter(|denial| self.can_name(denial)).count();
                denied.saturating_add(pinned(manifest)).saturating_add(named(manifest))
            }
            render::GENERATION => 1,
            _ => return None,
        };
        Some(read_back::map(&text(bytes), meant))
    }

    /// It can ask for a certificate's SHA-1 and for nothing better.
    fn can_name(&self, denial: &Denial) -> bool {
        denial.sha1.is_some()
    }
}

impl Configuration for Nginx {
    fn command(&self, check: &[String]) -> Result<Vec<String>, String> {
        dump_command(check).ok_or_else(|| "the check command has no -t that could become -T".to_owned())
    }

    fn name(&self) -> &'static str {
        "nginx -T"
    }

    fn quotable<'a>(&self, output: &'a str) -> &'a str {
        output.split(dump::HEADING).next().unwrap_or_default()
    }

    fn classify(&self, printed: &str, link: &Path) -> Result<Enforcement, String> {
        let configuration = dump::assemble(printed).map_err(|error| error.to_string())?;
        Ok(enforcement::assess(&configuration, &names_of(link)))
    }

    fn does_not_ask(&self) -> &'static str {
        "ssl_verify_client off"
    }

    fn advertises(&self) -> &'static str {
        "nginx advertises those of ssl_client_certificate, never of ssl_trusted_certificate; or another server block \
         answers there"
    }
}

/// The check with `-t` replaced by `-T`; its `-c`, `-p`, `-g` stay.
fn dump_command(check: &[String]) -> Option<Vec<String>> {
    let mut argv = check.to_vec();
    *argv.iter_mut().find(|argument| matches!(argument.as_str(), "-t" | "-T"))? = "-T".to_owned();
    Some(argv)
}

/// The paths by which a configuration may name the link: as configured, and with its folder resolved.
fn names_of(link: &Path) -> Vec<PathBuf> {
    let mut names = vec![dump::tidy(link)];
    if let (Some(folder), Some(name)) = (link.parent().and_then(|folder| folder.canonicalize().ok()), link.file_name())
    {
        names.push(folder.join(name));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_is_asked_for_as_the_check_is() {
        let argv = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(dump_command(&argv("nginx -p /x -t -c y -g z")), Some(argv("nginx -p /x -T -c y -g z")));
        assert_eq!(dump_command(&argv("nginx-check --all")), None);
    }
}
