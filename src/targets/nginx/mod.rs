//! What is nginx's alone: the configuration to include, and whether it is enforced.

pub mod configuration;
pub mod dump;
pub mod enforcement;
pub mod snippet;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::targets::nginx::enforcement::Enforcement;
use crate::targets::process::{Environment, Run};

/// How much of `nginx -T` is read.
const DUMP_KEPT: usize = 8 * 1024 * 1024;

/// Whether the configuration that the check command judges asks the allowlist beneath `link`. What nginx has loaded may be
/// older than what it would print.
pub async fn enforcement(check: &[String], link: &Path, environment: &Environment, limit: Duration) -> Enforcement {
    let Some(argv) = dump_command(check) else {
        return Enforcement::NotSeen("the check command has no -t that could become -T".into());
    };
    let ran = match (Run { argv: &argv, environment, limit, output_kept: DUMP_KEPT }).to_end().await {
        Ok(ran) if ran.output_cut => {
            return Enforcement::NotSeen("nginx -T prints more than 8 MiB".into());
        }
        Ok(ran) if ran.succeeded() => ran,
        Ok(mut ran) => {
            // The configuration itself may hold secrets: a reason quotes only what stands before it.
            ran.output = ran.output.split(dump::HEADING).next().unwrap_or_default().to_owned();
            return Enforcement::NotSeen(format!("nginx -T failed ({})", ran.describe()));
        }
        Err(error) => return Enforcement::NotSeen(error.to_string()),
    };
    match dump::assemble(&ran.output) {
        Ok(configuration) => enforcement::judge(&configuration, &names_of(link)),
        Err(error) => Enforcement::NotSeen(format!("what nginx -T printed cannot be understood: {error}")),
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
