//! Who types the command, and whether they mean it: what cannot be taken back by itself is asked once more on a
//! terminal, and refused where there is nobody to ask and nothing says `--yes`.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Failure;
use crate::cli::Command;
use crate::trust::values::excerpt::visible;
use crate::trust::values::said::Said;

/// Set for the child of root's command: who typed that.
pub const OPERATOR: &str = "TRUSTSYNC_OPERATOR";

/// Set for the child where root sits at a terminal, which stays root's: a line of it comes by standard input.
pub const ASKS: &str = "TRUSTSYNC_ASKS";

/// Set for the child of a denial whose certificate root's own files trust.
pub const KNOWN: &str = "TRUSTSYNC_KNOWN";

/// Whether root has started this process as its child, and has set these.
static IS_ROOTS_CHILD: AtomicBool = AtomicBool::new(false);

/// This process is the child of root's command.
pub fn is_roots_child() {
    IS_ROOTS_CHILD.store(true, Ordering::Relaxed);
}

fn from_root(name: &str) -> Option<String> {
    IS_ROOTS_CHILD.load(Ordering::Relaxed).then(|| std::env::var(name).ok()).flatten()
}

/// Whether root's own files trust what is to be denied.
pub fn is_known_to_root() -> bool {
    from_root(KNOWN).is_some()
}

/// No answer is longer.
const LONGEST_ANSWER: u64 = 1024;

/// Who types this command, and this reason.
pub fn said(reason: Option<&str>) -> Said {
    Said::new(&who(), reason.unwrap_or_default())
}

/// The login name and uid of whoever types this command. Where root's process does it by a child that is the store's
/// owner, the parent says who it was. What sudo says is believed in root's own process alone: anybody can set a variable,
/// and a service even its loginuid.
pub fn who() -> String {
    if let Some(who) = from_root(OPERATOR) {
        return who;
    }
    let uid = rustix::process::getuid();
    let is_root = rustix::process::geteuid().is_root();
    let by_sudo = |name: &str| std::env::var(name).ok().filter(|value| is_root && !value.is_empty());
    if let (Some(user), Some(uid)) = (by_sudo("SUDO_USER"), by_sudo("SUDO_UID")) {
        return format!("{user} (uid {uid}), by sudo");
    }
    let uid = uid.as_raw();
    login_name(uid).map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

/// Where /etc/passwd has it. Other directories are not asked: what they run has no place here.
fn login_name(uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().map(|line| line.split(':'));
    fields.find_map(|mut line| {
        let name = line.next()?;
        (line.nth(1) == Some(&uid)).then(|| name.to_owned())
    })
}

/// Whether the command asks before it acts.
pub fn asks(command: &Command) -> bool {
    match command {
        Command::Trust(arguments) => !arguments.yes,
        Command::Distrust(arguments) => !arguments.yes,
        _ => false,
    }
}

/// Whether somebody sits at a terminal of this process.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks whether to go on, unless `yes` says so already. `question` tells in whole lines what would be done.
pub async fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let refused = |why: &str| {
        let told = question.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Failure::Refused(format!("{why} {told} Nothing was changed. To do it without a question: {}", with_yes()))
    };
    if !is_there() && from_root(ASKS).is_none() {
        return Err(refused("There is no terminal to ask on, and no --yes."));
    }
    let mut error = io::stderr();
    error.write_all(format!("{question}Do it? Type yes and Enter, or anything else to leave it:\n").as_bytes())?;
    error.flush()?;
    let answer = tokio::task::spawn_blocking(read_line).await.map_err(Failure::other)??;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused("Not confirmed.")),
    }
}

/// A line of standard input, with its end; empty at the end of it.
pub fn read_line() -> io::Result<String> {
    let mut line = Vec::new();
    io::stdin().lock().take(LONGEST_ANSWER).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The command as it was typed, with `--yes`.
fn with_yes() -> String {
    let sudo = if who().ends_with("by sudo") { "sudo " } else { "" };
    let words: Vec<String> = std::env::args().skip(1).map(|word| shell_word(&word)).collect();
    format!("{sudo}trustsync {} --yes", words.join(" "))
}

/// As a shell takes it for one word.
fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=-@,+%".contains(&byte);
    let word = visible(word);
    if !word.is_empty() && word.bytes().all(is_plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        for (word, shown) in
            [("--until=14d", "--until=14d"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''"), ("$(x)", "'$(x)'")]
        {
            assert_eq!(shell_word(word), shown);
        }
        assert_eq!(login_name(0).as_deref(), Some("root"));
    }
}
