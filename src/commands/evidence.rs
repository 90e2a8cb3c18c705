//! `trustsync evidence`: the record of each generation for an auditor. The file may be years long, so it is read and
//! printed record by record.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use serde_json::Value;

use super::output::head;
use super::{Failure, load, the_stores};
use crate::cli::{Global, Output};
use crate::exit::Exit;
use crate::settings::resolved::Store;
use crate::store::contents::EVIDENCE;
use crate::store::{StoreError, file};
use crate::trust::records::evidence_record::{Committed, Record, Records, TargetRecord};
use crate::trust::values::excerpt::{quoted, visible};

pub fn run(global: &Global, generation: Option<u64>) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut out = io::stdout().lock();
    let json = global.output == Output::Json;
    let mut shown = 0_usize;
    let mut exits = BTreeSet::new();
    if json {
        out.write_all(b"{")?;
        for (key, value) in head() {
            write!(out, "{}: {value}, ", Value::from(key))?;
        }
        out.write_all(b"\"stores\": {")?;
    }
    for (at, store) in the_stores(global, &loaded)?.into_iter().enumerate() {
        if json {
            let comma = if at > 0 { "," } else { "" };
            write!(out, "{comma}\n{}: {{\"generations\": [", Value::from(store.name.as_str()))?;
        }
        let mut of_store = 0_usize;
        let read = read(store, |record| {
            if generation.is_some() && record.generation != generation {
                return Ok(());
            }
            of_store = of_store.saturating_add(1);
            if json {
                out.write_all(if of_store > 1 { b",\n" } else { b"\n" })?;
                out.write_all(visible(&serde_json::to_string(record).map_err(io::Error::from)?).as_bytes())
            } else {
                out.write_all(text(&store.name, record).as_bytes())
            }
        });
        let records = match read {
            Err(failure) if json && !matches!(failure, Failure::Output(_)) => {
                let exit = super::fail(&failure);
                let error = super::output::error(exit, failure);
                write!(out, "\n], \"error\": {}}}", error.get("error").unwrap_or(&Value::Null))?;
                exits.insert(exit);
                continue;
            }
            read => read?,
        };
        if json {
            write!(out, "\n], \"lines\": {}, \"unreadable\": {}}}", records.lines, records.unreadable)?;
        } else if of_store == 0 && generation.is_none() {
            writeln!(out, "{}: nothing is on record yet", store.name)?;
        }
        if records.unreadable > 0 {
            log_line!(
                EvidenceDamaged,
                store = store.name,
                "{} of {} lines of {} say nothing that can be understood: torn by a crash, changed by somebody, or of \
                 a later version. The others are shown; what is trusted does not depend on them.",
                records.unreadable,
                records.lines,
                store.path.join(EVIDENCE).display()
            );
        }
        shown = shown.saturating_add(of_store);
    }
    if json {
        out.write_all(b"\n}}\n")?;
    }
    out.flush()?;
    match generation {
        Some(number) if shown == 0 && exits.is_empty() => {
            // The document is printed, and says as much by its empty lists.
            let failure = Failure::Refused(format!("nothing is on record of generation {number:06}"));
            Ok(super::fail(&failure))
        }
        _ => Ok(Exit::of(&exits)),
    }
}

/// So much of the file is read, from its end: twenty years of it. A larger one was not written by us.
const MOST: u64 = 64 * 1024 * 1024;

/// Hands each record to `show`; the counts at the end.
fn read(store: &Store, mut show: impl FnMut(&Record) -> io::Result<()>) -> Result<Records, Failure> {
    let path = store.path.join(EVIDENCE);
    let failed = |error| Failure::from(StoreError::io("read", &path, error));
    let mut records = Records::default();
    let Some(mut opened) = file::open(&path)? else { return Ok(records) };
    let excess = opened.metadata().map_err(failed)?.len().saturating_sub(MOST);
    opened.seek(SeekFrom::Start(excess)).map_err(failed)?;
    let mut lines = BufReader::new(opened.take(MOST));
    let mut line = Vec::new();
    if excess > 0 {
        log_line!(
            EvidenceDamaged,
            store = store.name,
            "{} has {excess} bytes more than the {MOST} that are read: what is older is not shown. No store of ours \
             writes so much: find out who did.",
            path.display()
        );
        // The rest of a line that begins before.
        next_line(&mut lines, &mut line).map_err(failed)?;
    }
    while let Some(whole) = next_line(&mut lines, &mut line).map_err(failed)? {
        let closed = if whole {
            records.take(&line)
        } else {
            records.skip();
            None
        };
        if let Some(record) = closed {
            show(&record)?;
        }
    }
    if let Some(record) = records.finish() {
        show(&record)?;
    }
    Ok(records)
}

/// Reads a line; whether it is as short as we write them. `None` at the end.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let limit = u64::try_from(file::MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
    line.clear();
    let mut whole = true;
    loop {
        let read = lines.by_ref().take(limit).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') || read == 0 {
            let nothing = read == 0 && line.is_empty() && whole;
            return Ok((!nothing).then_some(whole));
        }
        if line.len() > file::MAX_LINE {
            whole = false;
            line.clear();
        }
    }
}

fn text(store: &str, record: &Record) -> String {
    let mut text = String::new();
    let number = record.generation.map_or_else(|| "before the first".to_owned(), |number| format!("{number:06}"));
    match &record.committed {
        Some(committed) => {
            let Committed { time, cause, digest, observed, changes } = committed;
            let _ = writeln!(text, "{store}: generation {number}, committed {time} ({})", quoted(cause));
            let _ = writeln!(text, "  set sha256 {digest}");
            for (source, asked) in observed {
                let _ = writeln!(text, "  observed   {asked} when {source} was asked", source = quoted(source));
            }
            for change in changes.as_array().into_iter().flatten() {
                let of = |key: &str| change.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
                let (action, what, sha256) = (of("action"), of("what"), of("sha256"));
                let _ = writeln!(text, "  {action:<10} {:<20} sha256 {}", quoted(what), quoted(sha256));
            }
            if let Some(why) = changes.as_str() {
                let _ = writeln!(text, "  changes    {}", quoted(why));
            }
        }
        None => {
            let _ = writeln!(text, "{store}: generation {number}, its commit is not on record");
        }
    }
    for (name, target) in &record.targets {
        let TargetRecord { settled, events, .. } = target;
        let end = settled
            .as_ref()
            .map_or_else(|| "OWED".to_owned(), |settled| format!("{} {}", settled.by.words(), settled.time));
        let _ = writeln!(text, "  target {}: {end}", quoted(name));
        for event in events {
            let _ = writeln!(text, "    {} {:<20} {}", event.time, event.event.words(), quoted(&event.detail));
        }
    }
    for word in &record.overrides {
        let _ = writeln!(text, "  operator   {} {}{}", word.time, quoted(&word.word), word.said.suffix());
    }
    for gap in &record.gaps {
        let _ = writeln!(text, "  gap        {} {} lines were lost while the disk took none", gap.time, gap.lines);
    }
    if record.left_out > 0 {
        let _ = writeln!(text, "  and {} more events, which stand in {EVIDENCE}", record.left_out);
    }
    text.push('\n');
    text
}
