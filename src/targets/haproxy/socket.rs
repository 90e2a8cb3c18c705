//! HAProxy's sockets: one command a connection, and an answer that is bounded in time and size. Nothing is known of how a
//! command ended but by the text of its answer.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// How long one command may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// No list of ours is longer, as HAProxy shows it.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// For how long another one's change of a CA file is waited for: HAProxy has room for one at a time, and the turns of its
/// targets run side by side. One that was begun and left takes no end.
const BUSY: Duration = Duration::from_secs(2);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// What HAProxy says meanwhile.
const BUSY_WORDS: [&str; 2] = ["ongoing transaction is about", "currently locked"];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Nobody listens there.
    #[error("HAProxy's socket {path} cannot be reached ({source})")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// We may not ask.
    #[error("HAProxy's socket {path} does not let us in ({reason}): let this user be in the group of that socket")]
    NotPermitted {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The connection ended early.
    #[error("HAProxy's socket {path} broke off at {command:?} ({source})")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What was asked.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing came back: so it is when a payload is larger than HAProxy's `tune.bufsize`.
    #[error(
        "HAProxy's socket {path} gave an empty answer to {command:?}, as it does where what is sent is larger than its tune.bufsize"
    )]
    Empty {
        /// The socket.
        path: PathBuf,
        /// What was asked.
        command: String,
    },
    /// It took too long.
    #[error("HAProxy's socket {path} did not answer {command:?} within {} seconds", ANSWER_LIMIT.as_secs())]
    Slow {
        /// The socket.
        path: PathBuf,
        /// What was asked.
        command: String,
    },
    /// There is no end of it.
    #[error("HAProxy's socket {path} answered {command:?} with more than {LONGEST_ANSWER} bytes")]
    TooLong {
        /// The socket.
        path: PathBuf,
        /// What was asked.
        command: String,
    },
}

/// Asks one command, with a payload if it takes one; its answer without the empty lines at its end.
pub async fn ask(path: &Path, command: &str, payload: Option<&str>) -> Result<String, SocketError> {
    let asked = || command.chars().take(80).collect::<String>();
    let slow = |_| SocketError::Slow { path: path.to_owned(), command: asked() };
    timeout(ANSWER_LIMIT, ask_unhurried(path, command, payload, &asked))
        .await
        .unwrap_or_else(|elapsed| Err(slow(elapsed)))
}

async fn ask_unhurried(
    path: &Path,
    command: &str,
    payload: Option<&str>,
    asked: &impl Fn() -> String,
) -> Result<String, SocketError> {
    let mut socket = UnixStream::connect(path).await.map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => SocketError::NotPermitted { path: path.to_owned(), reason: source.to_string() },
        _ => SocketError::Unreachable { path: path.to_owned(), source },
    })?;
    let broken = |source| SocketError::Broken { path: path.to_owned(), command: asked(), source };
    let text = match payload {
        None => format!("{command}\n"),
        // An empty line ends a payload, and what came after it would be run as commands.
        Some(payload) => {
            let lines: String =
                payload.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect();
            format!("{command} <<\n{lines}\n")
        }
    };
    // One that finds a command too long closes while we still write; whether there is an answer decides.
    let _ = socket.write_all(text.as_bytes()).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    match socket.take(LONGEST_ANSWER).read_to_end(&mut answer).await {
        Ok(_) => {}
        Err(_) if answer.is_empty() && payload.is_some() => {}
        Err(error) => return Err(broken(error)),
    }
    if answer.is_empty() {
        return Err(SocketError::Empty { path: path.to_owned(), command: asked() });
    }
    if answer.len() as u64 >= LONGEST_ANSWER {
        return Err(SocketError::TooLong { path: path.to_owned(), command: asked() });
    }
    Ok(String::from_utf8_lossy(&answer).trim_end_matches('\n').to_owned())
}

/// As [`ask`], of CA files: asks again as long as somebody else's change of one is under way, for two seconds. Meanwhile
/// HAProxy does not even show them.
pub async fn ask_in_turn(path: &Path, command: &str, payload: Option<&str>) -> Result<String, SocketError> {
    let deadline = Instant::now() + BUSY;
    loop {
        let answer = ask(path, command, payload).await?;
        let is_busy = BUSY_WORDS.iter().any(|words| answer.contains(words));
        if !is_busy || Instant::now() >= deadline {
            return Ok(answer);
        }
        sleep(PAUSE).await;
    }
}

/// A word of a command, whatever it holds.
pub fn word(text: &str) -> String {
    text.chars().fold(String::new(), |mut word, character| {
        if matches!(character, '\\' | ' ' | ';' | '\t') {
            word.push('\\');
        }
        word.push(character);
        word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_command_ends_neither_itself_nor_the_command() {
        assert_eq!(word(r"^CN=a b\; c\\,O=x$"), r"^CN=a\ b\\\;\ c\\\\,O=x$");
    }
}
