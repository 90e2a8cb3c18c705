//! HAProxy's sockets: one command a connection, and an answer that is bounded in time and size. How a command ended is
//! known by nothing but the text of its answer.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::trust::values::excerpt;

/// How long one command may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// No list of ours is longer, as HAProxy shows it.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// For how long we wait for another change of a CA file: HAProxy has room for one at a time, and the turns of its
/// targets run side by side. One that was begun and left does not end.
const BUSY: Duration = Duration::from_secs(2);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// What HAProxy says meanwhile.
const BUSY_ANSWERS: [&str; 2] = ["ongoing transaction is about", "currently locked"];

/// How much of a command is quoted.
const COMMAND_SHOWN: usize = 80;

/// How much of an answer is quoted: it may be megabytes long, and is kept as the reason of what the target owes.
const ANSWER_SHOWN: usize = 200;

/// Why HAProxy did not do what it was asked for, or is not known to have done it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct HaproxyError {
    /// What its callers tell apart.
    pub trouble: Trouble,
    text: String,
}

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The socket does not let this user in.
    NotPermitted,
    /// Nobody listens there, or the connection ended without an answer: so it is while HAProxy starts or reloads.
    Silent,
    /// Anything else; to ask again would not help.
    Lasting,
}

impl HaproxyError {
    /// Of trouble that lasts.
    pub fn lasting(text: String) -> Self {
        Self { trouble: Trouble::Lasting, text }
    }

    /// HAProxy answered a command with anything but the text that says success.
    pub fn refused(command: &str, answer: &str) -> Self {
        let command = excerpt::beginning(command, COMMAND_SHOWN);
        let answer = excerpt::beginning(answer, ANSWER_SHOWN);
        Self::lasting(format!("HAProxy answered {command:?} with {answer:?}"))
    }
}

/// Asks one command, with a payload if it takes one; its answer without the empty lines at its end.
pub async fn ask(path: &Path, command: &str, payload: Option<&str>) -> Result<String, HaproxyError> {
    let asked = excerpt::beginning(command, COMMAND_SHOWN);
    let failed = |trouble, what: String| {
        let text = format!("HAProxy's socket {} {what}", path.display());
        HaproxyError { trouble, text }
    };
    let exchange = async {
        let mut socket = UnixStream::connect(path).await.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => {
                let what = format!("does not let us in ({error}): let this user be in the group of that socket");
                failed(Trouble::NotPermitted, what)
            }
            _ => failed(Trouble::Silent, format!("cannot be reached ({error})")),
        })?;
        // HAProxy closes at a command that is too long while we still write; whether there is an answer decides.
        let _ = socket.write_all(request(command, payload).as_bytes()).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        match socket.take(LONGEST_ANSWER).read_to_end(&mut answer).await {
            Err(error) if payload.is_none() || !answer.is_empty() => {
                Err(failed(Trouble::Silent, format!("broke off at {asked:?} ({error})")))
            }
            _ if answer.is_empty() => Err(failed(
                Trouble::Silent,
                format!("gave an empty answer to {asked:?}, as it does to more than its tune.bufsize holds"),
            )),
            _ if answer.len() as u64 >= LONGEST_ANSWER => {
                Err(failed(Trouble::Lasting, format!("answered {asked:?} with more than {LONGEST_ANSWER} bytes")))
            }
            _ => Ok(String::from_utf8_lossy(&answer).trim_end_matches('\n').to_owned()),
        }
    };
    timeout(ANSWER_LIMIT, exchange).await.unwrap_or_else(|_| {
        let seconds = ANSWER_LIMIT.as_secs();
        Err(failed(Trouble::Lasting, format!("did not answer {asked:?} within {seconds} seconds")))
    })
}

/// An empty line ends a payload, and what came after it would be run as commands.
fn request(command: &str, payload: Option<&str>) -> String {
    let Some(payload) = payload else { return format!("{command}\n") };
    let lines = payload.lines().filter(|line| !line.trim().is_empty());
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    format!("{command} <<\n{lines}\n")
}

/// As [`ask`], of CA files: asks again for two seconds as long as another change of one is under way. Meanwhile HAProxy
/// does not even show them.
pub async fn ask_in_turn(path: &Path, command: &str, payload: Option<&str>) -> Result<String, HaproxyError> {
    let deadline = Instant::now() + BUSY;
    loop {
        let answer = ask(path, command, payload).await?;
        let is_busy = BUSY_ANSWERS.iter().any(|text| answer.contains(text));
        if !is_busy || Instant::now() >= deadline {
            return Ok(answer);
        }
        sleep(PAUSE).await;
    }
}

/// A text as one argument of a command, whatever it holds.
pub fn argument(text: &str) -> String {
    text.chars().fold(String::new(), |mut argument, character| {
        if matches!(character, '\\' | ' ' | ';' | '\t') {
            argument.push('\\');
        }
        argument.push(character);
        argument
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_a_command_ends_neither_itself_nor_the_command() {
        assert_eq!(argument(r"^CN=a b\; c\\,O=x$"), r"^CN=a\ b\\\;\ c\\\\,O=x$");
    }
}
