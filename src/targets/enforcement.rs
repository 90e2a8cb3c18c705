//! Whether a server's configuration asks the allowlist. The wire cannot show that: only a stranger's key could.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::{Environment, Run};

/// How a kind's configuration is read. Pure: [`read`] runs the command.
pub trait Configuration: Sync {
    /// The command that prints the configuration, made from the check, or why there is none.
    fn command(&self, check: &[String]) -> Result<Vec<String>, String>;

    /// What that command is called.
    fn name(&self) -> &'static str;

    /// What may be quoted of the output: the configuration itself may hold secrets.
    fn quotable<'a>(&self, output: &'a str) -> &'a str;

    /// What the printed configuration does with the allowlist beneath `link`.
    fn classify(&self, printed: &str, link: &Path) -> Result<Enforcement, String>;

    /// What a server block says that asks for no client certificate.
    fn does_not_ask(&self) -> &'static str;

    /// Why a server that names our files may advertise none of their names.
    fn advertises(&self) -> &'static str;
}

/// What a configuration does with the allowlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The configuration could not be read, so nothing is known.
    NotSeen(String),
    /// Every server that asks for client certificates by our CA file asks the allowlist.
    Enforced {
        /// What a person should know all the same.
        notes: Vec<String>,
    },
    /// These servers admit strangers.
    NotEnforced {
        /// Name, address and file of each.
        servers: Vec<String>,
        /// What a person should know besides.
        notes: Vec<String>,
    },
    /// These servers name our CA file, but none asks for client certificates by it.
    NotAsked {
        /// Name, address and file of each.
        servers: Vec<String>,
    },
    /// No server names our CA file.
    NotIncluded,
}

/// How much of a configuration is read.
const KEPT: usize = 8 * 1024 * 1024;

/// Whether the configuration that the check command judges asks the allowlist beneath `link`. What the server has
/// loaded may be older than what the command prints.
pub async fn read(
    configuration: &dyn Configuration,
    check: &[String],
    link: &Path,
    environment: &Environment,
    limit: Duration,
) -> Enforcement {
    let argv = match configuration.command(check) {
        Ok(argv) => argv,
        Err(why) => return Enforcement::NotSeen(why),
    };
    let name = configuration.name();
    let printed = match (Run { argv: &argv, environment, limit, output_kept: KEPT }).to_end().await {
        Ok(ran) if ran.output_cut => return Enforcement::NotSeen(format!("{name} prints more than 8 MiB")),
        Ok(ran) if ran.succeeded() => ran.output,
        Ok(mut ran) => {
            ran.output = configuration.quotable(&ran.output).to_owned();
            return Enforcement::NotSeen(format!("{name} failed ({})", ran.describe()));
        }
        Err(error) => return Enforcement::NotSeen(error.to_string()),
    };
    configuration
        .classify(&printed, link)
        .unwrap_or_else(|why| Enforcement::NotSeen(format!("what {name} printed cannot be understood: {why}")))
}
