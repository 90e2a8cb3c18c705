//! What a server says of itself: the generation that it has loaded, by a command's output or over HTTP.
//!
//! The contract: an answer names the generation in the header `X-Trustsync-Generation`, or else in the first line of
//! its body, where it is 2xx; a command that ends with exit code 0 names it in the first line of its output (stdout and
//! stderr are one). The value is
//!
//! ```text
//!  000042                                                the number, in six digits at least; 000000: none is loaded
//!  000042 9f86d081884c7d65                               with the store's id, which must then be this store's
//!  # trustsync generation 000042 store 9f86d081884c7d65  as fingerprints.txt begins, of the one that is loaded
//! ```
//! and nothing else. An exit code or a status alone says nothing of what is loaded, and proves nothing.

use std::time::Duration;

use reqwest::Method;

use crate::targets::http::{Answer, Asker};
use crate::targets::process::{Run, printable};
use crate::targets::proof::seen::{Wanted, not_ours, of_generation};
use crate::targets::proof::wire::GENERATION_HEADER;
use crate::trust::turn::Proof;

/// More than a first line of the contract has.
const READ: usize = 4 * 1024;

/// What a command says.
pub(super) async fn by_command(argv: &[String], wanted: &Wanted, limit: Duration) -> Proof {
    let Wanted { environment, .. } = wanted;
    let program = argv.first().cloned().unwrap_or_default();
    match (Run { argv, environment, limit, output_kept: READ }).to_end().await {
        Ok(ran) if ran.succeeded() => read_line(
            first_line(ran.output.as_bytes()),
            wanted,
            &format!("the first line of what {program} says names no generation"),
        ),
        Ok(ran) => Proof::Unreachable(format!("the proof command {program} failed: {}", ran.describe())),
        Err(error) => Proof::Unreachable(format!("the proof command: {error}")),
    }
}

/// What an answer says.
pub(super) async fn by_http(asker: &Asker, wanted: &Wanted, limit: Duration) -> Proof {
    let answer = match asker.ask(Method::GET, limit, READ).await {
        Ok(answer) => answer,
        Err(error) => return Proof::Unreachable(error.to_string()),
    };
    let status = answer.status;
    let header = in_header(&answer);
    match header {
        Some(value) => read_line(&value, wanted, &format!("its {GENERATION_HEADER} names no generation")),
        None if (200..300).contains(&status) => read_line(
            first_line(&answer.body),
            wanted,
            &format!("it has no {GENERATION_HEADER}, and the first line of its body names no generation"),
        ),
        None if status >= 500 => Proof::Unreachable(format!("it was answered with {status}")),
        None => Proof::Unverifiable(format!("it was answered with {status}, without {GENERATION_HEADER}")),
    }
}

/// The header, if it stands there once.
fn in_header(answer: &Answer) -> Option<String> {
    let mut values = answer.headers.get_all(GENERATION_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(printable(value.as_bytes())),
        _ => None,
    }
}

fn first_line(text: &[u8]) -> &str {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).unwrap_or_default()
}

fn read_line(line: &str, wanted: &Wanted, nothing: &str) -> Proof {
    match read(line) {
        Some((_, Some(store))) if store != wanted.store_id => not_ours(),
        Some((generation, _)) if generation == wanted.generation => Proof::Proven,
        Some((generation, _)) => of_generation("what it says of itself", generation),
        None => Proof::Unverifiable(nothing.to_owned()),
    }
}

/// Number and store's id.
fn read(line: &str) -> Option<(u64, Option<&str>)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (number, store) = match words.as_slice() {
        [number] => (number, None),
        [number, store] | ["#", "trustsync", "generation", number, "store", store] => (number, Some(*store)),
        _ => return None,
    };
    let is_number = number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok())?.map(|number| (number, store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::process::Environment;

    fn said(line: &str) -> Proof {
        let wanted = Wanted {
            store_id: "9f86d081884c7d65".into(),
            generation: 42,
            digest_head: "01234567".into(),
            environment: Environment::default(),
            directory: "/nowhere".into(),
        };
        read_line(line, &wanted, "nothing")
    }

    #[test]
    fn a_line_names_the_generation_in_one_of_three_forms_and_no_other() {
        for good in
            ["000042", "  000042\r", "000042 9f86d081884c7d65", "# trustsync generation 000042 store 9f86d081884c7d65"]
        {
            assert_eq!(said(good), Proof::Proven, "{good}");
        }
        for nothing in [
            "",
            "ok",
            "42",
            "generation 000042",
            "000042 9f86d081884c7d65 ok",
            "+00042",
            "0x0042",
            "00004２",
            "99999999999999999999999",
        ] {
            assert_eq!(said(nothing), Proof::Unverifiable("nothing".into()), "{nothing}");
        }
        assert_eq!(said("000041"), of_generation("what it says of itself", 41));
        assert_eq!(said("000042 another"), not_ours());
    }

    #[test]
    fn only_the_first_line_counts() {
        assert_eq!(first_line(b"000042\n000043\n"), "000042");
        assert_eq!(first_line(b"\n000042\n"), "");
        assert_eq!(first_line(b"\xff\n000042\n"), "");
    }
}
