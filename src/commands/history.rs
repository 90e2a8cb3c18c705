//! `trustsync history`: the generations that are kept.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use super::{Failure, load, of_store, print, the_store};
use crate::cli::Global;
use crate::exit::Exit;
use crate::store::contents;
use crate::store::{Link, LinkPath, Store, generation, link};
use crate::trust::values::excerpt::{self, visible};
use crate::trust::values::timestamp::Timestamp;

/// A cause has the operator's reason in it, which is shorter.
const LONGEST_CAUSE: usize = 500;

#[derive(Serialize)]
struct Line {
    generation: u64,
    committed: Timestamp,
    cause: String,
    trusted: usize,
    deny_all: bool,
    digest: String,
    named_by: Vec<String>,
}

pub fn run(global: &Global) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let store = the_store(global, &loaded)?;
    let mut lines = Vec::new();
    let mut damaged = Vec::new();
    if let Some(opened) = Store::find(&store.path)? {
        let root = opened.root();
        let current = LinkPath::current(root).read()?;
        let targets = link::targets(root)?;
        for number in generation::list(root)? {
            match contents::manifest_of(root, number) {
                Ok(Some(manifest)) => {
                    let here = Link::Generation(number);
                    let mut named_by: Vec<String> = Vec::new();
                    named_by.extend((current == here).then(|| "current".to_owned()));
                    named_by.extend(
                        targets.iter().filter(|(_, link)| **link == here).map(|(name, _)| format!("target {name}")),
                    );
                    lines.push(Line {
                        generation: number,
                        committed: manifest.committed,
                        cause: manifest.cause.clone(),
                        trusted: manifest.slots.values().map(|slot| slot.entries.len()).sum(),
                        deny_all: manifest.deny_all,
                        digest: manifest.digest.short(),
                        named_by,
                    });
                }
                Ok(None) => damaged.push(format!("generation {number:06} has no manifest")),
                Err(error) => damaged.push(error.to_string()),
            }
        }
    }
    print(global.output, &of_store(store, json!({"generations": lines})), || {
        let mut text = String::new();
        for line in &lines {
            let named =
                if line.named_by.is_empty() { String::new() } else { format!("  <- {}", line.named_by.join(", ")) };
            let what = if line.deny_all { "DENY ALL".to_owned() } else { format!("{} trusted", line.trusted) };
            let _ = writeln!(
                text,
                "{:06}  {}  {what:<11} set {}  {}{named}",
                line.generation,
                line.committed,
                line.digest,
                one_line(&line.cause)
            );
        }
        if lines.is_empty() {
            text.push_str("No generation yet: run trustsync sync.\n");
        }
        text
    })?;
    for what in damaged {
        log_line!(GenerationDamaged, "{what}");
    }
    Ok(Exit::Done)
}

/// Somebody else may have edited the manifest: a line end in its cause does not make a generation of its own.
fn one_line(cause: &str) -> String {
    excerpt::beginning(&visible(cause).replace(['\n', '\t'], " "), LONGEST_CAUSE)
}
