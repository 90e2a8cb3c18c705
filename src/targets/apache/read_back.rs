//! Reads what Apache includes. It may hold any directive, so every line must be one of the few that are meant, and in
//! its place.

use crate::targets::read_back::meant::exactly;
use crate::trust::render::Odd;

/// How many lines are meant that deny and that admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meant {
    pub denied: usize,
    pub pinned: usize,
    pub named: usize,
}

/// The allowlist: verified, denied by none, admitted by one.
pub(super) fn admit(text: &str, meant: Meant) -> Result<(), Odd> {
    let (mut denied, mut pinned, mut named) = (0_usize, 0_usize, 0_usize);
    let mut lines = directives(text)?.into_iter().peekable();
    let expect = |lines: &mut dyn Iterator<Item = &str>, line| exactly(lines.next().unwrap_or_default(), line);
    expect(&mut lines, "<RequireAll>")?;
    expect(&mut lines, "Require expr \"%{SSL_CLIENT_VERIFY} == 'SUCCESS'\"")?;
    while lines.next_if(|line| is_hash(line, "!=")).is_some() {
        denied = denied.saturating_add(1);
    }
    expect(&mut lines, "<RequireAny>")?;
    expect(&mut lines, "Require all denied")?;
    while let Some(line) = lines.next_if(|line| is_hash(line, "==") || is_name(line)) {
        let counted = if is_hash(line, "==") { &mut pinned } else { &mut named };
        *counted = counted.saturating_add(1);
    }
    expect(&mut lines, "</RequireAny>")?;
    expect(&mut lines, "</RequireAll>")?;
    exactly(lines.next(), None::<&str>)?;
    exactly(Meant { denied, pinned, named }, meant)
}

/// The header that names this generation, shown to this machine alone.
pub(super) fn generation(text: &str, number: u64) -> Result<(), Odd> {
    let meant = format!(
        "Header always set X-Trustsync-Generation \"{number:06}\" \"expr=%{{CONN_REMOTE_ADDR}} in {{ '127.0.0.1', \
         '::1' }}\""
    );
    exactly(directives(text)?, [meant.as_str()])
}

/// The lines that are not comments. A backslash at a line's end would take the next line along.
fn directives(text: &str) -> Result<Vec<&str>, Odd> {
    let odd = text.lines().find(|line| line.ends_with('\\') || line.chars().any(|each| !(' '..='~').contains(&each)));
    match odd {
        Some(odd) => Err((format!("{odd:?}"), "lines of plain text".to_owned())),
        None => Ok(text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect()),
    }
}

fn is_hash(line: &str, operator: &str) -> bool {
    let hash = line
        .strip_prefix("Require expr \"sha1(%{SSL_CLIENT_CERT}) ")
        .and_then(|rest| rest.strip_prefix(operator)?.strip_prefix(" '")?.strip_suffix("'\""));
    hash.is_some_and(|hash| hash.len() == 40 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// Issuer, or issuer and common name; of either no byte that means anything to Apache or to a regular expression.
fn is_name(line: &str) -> bool {
    const SUBJECT: &str = " && %{SSL_CLIENT_S_DN} =~ m#^CN=(?i:";
    const OTHERS: &str = r"(?:\x2c(?:OU|O|L|ST|C)=(?:[^\x2c\x2b\x5c]|\x5c.)*)*";
    let Some(rest) = line.strip_prefix("Require expr \"%{SSL_CLIENT_I_DN} =~ m#^") else { return false };
    let Some(rest) = rest.strip_suffix("\\z#\"") else { return false };
    let (issuer, subject) = match rest.split_once("\\z#") {
        None => (rest, None),
        Some((issuer, subject)) => (issuer, Some(subject)),
    };
    let name = subject.map(|subject| {
        let name = subject.strip_prefix(SUBJECT).and_then(|rest| rest.strip_suffix(OTHERS)?.strip_suffix(')'));
        name.is_some_and(is_literal)
    });
    is_literal(issuer) && name.unwrap_or(true)
}

fn is_literal(text: &str) -> bool {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let size = match first {
            '\\' if rest.get(1..4).is_some_and(|code| {
                code.starts_with('x') && u8::from_str_radix(code.get(1..).unwrap_or("z"), 16).is_ok()
            }) =>
            {
                4
            }
            '=' => 1,
            first if first.is_ascii_alphanumeric() => 1,
            _ => return false,
        };
        rest = rest.get(size..).unwrap_or_default();
    }
    !text.is_empty()
}
