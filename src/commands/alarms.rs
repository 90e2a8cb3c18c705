//! `trustsync alarms`: what is wrong, and what was wrong and is not acknowledged yet; `alarms ack` acknowledges it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::status::{self, Judged};
use super::{Failure, load, open, output, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::Report;
use crate::exit::Exit;
use crate::trust::event::LogLine;
use crate::trust::event::finding::Finding;
use crate::trust::records::health::Health;
use crate::trust::records::state::Alarm;

pub fn list(global: &Global) -> Exit {
    status::or_unknown(global, show(global), LogLine::AlarmsUnknown)
}

fn show(global: &Global) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let Judged { exit, judged: stores, unknown } =
        status::each(global, &loaded, SystemClock.now(), LogLine::AlarmsUnknown)?;
    let alarms =
        || stores.iter().flat_map(|(known, health)| health.alarms.iter().map(move |alarm| (&*known.store, alarm)));
    let of_store = |health: &Health| json!({"alarms": health.alarms.iter().map(json).collect::<Vec<_>>()});
    let judged = stores.iter().map(|(known, health)| (&*known.store, of_store(health)));
    let unread = unknown.iter().map(|(store, failure)| (&**store, output::error(status::UNKNOWN, failure)));
    let by_store: BTreeMap<&str, Value> = judged.chain(unread).collect();
    let json = json!({"stores": by_store});
    print(global.output, &json, || {
        let unread = unknown.iter().map(status::unknown_text);
        let text: String = alarms().map(|(store, alarm)| text(store, alarm)).chain(unread).collect();
        if text.is_empty() { "No alarms.\n".to_owned() } else { text }
    })?;
    Ok(exit)
}

fn json(alarm: &Alarm) -> Value {
    let facts = alarm.finding.event.facts();
    json!({
        "id": alarm.finding.alarm_id(),
        "severity": alarm.finding.severity,
        "since": alarm.since,
        // One that is over waits to be acknowledged.
        "state": if alarm.unseen { "over" } else { "stands" },
        "text": alarm.finding.text,
        "means": facts.means,
        "action": facts.action,
        "ends": ends(alarm),
    })
}

fn text(store: &str, alarm: &Alarm) -> String {
    let Finding { severity, text, event, .. } = &alarm.finding;
    let facts = event.facts();
    let (id, since, severity) = (alarm.finding.alarm_id(), alarm.since, severity.to_string().to_uppercase());
    let state = if alarm.unseen { "over, not yet seen" } else { "stands" };
    let explained = format!("  means: {}\n  do: {}\n", facts.means, facts.action);
    let explained = if facts.text_explains { "" } else { &explained };
    format!("{store}: {severity} [{id}] since {since}, {state}\n  {text}\n{explained}  ends: {}\n\n", ends(alarm))
}

/// Ends the alarms of these ids, or all that may be ended where none is given.
pub fn acknowledge(global: &Global, ids: &[String]) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let stores = the_stores(global, &loaded)?;
    let now = SystemClock.now();
    // Every id is checked before any alarm is ended.
    let mut known: BTreeMap<String, Alarm> = BTreeMap::new();
    for store in &stores {
        for alarm in status::judge(&loaded.settings, store, now)?.1.alarms {
            let entry = known.entry(alarm.finding.alarm_id()).or_insert_with(|| alarm.clone());
            if alarm.unseen {
                *entry = alarm;
            }
        }
    }
    let problems: Vec<String> = ids.iter().filter_map(|id| problem(id, &known)).collect();
    if !problems.is_empty() {
        return Err(Failure::Refused(format!("{} No alarm was ended.", problems.join(" "))));
    }
    let mut ended: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut stand = BTreeSet::new();
    for store in &stores {
        let mut session = open(global, store, "trustsync alarms ack")?;
        let seen = session.contents.state.acknowledge(|id| ids.is_empty() || ids.iter().any(|wanted| wanted == id));
        for id in &seen {
            session.note_override(&format!("alarms ack {id}"));
        }
        let mut report = Report::without_poll(&session.contents);
        session.close_between(&mut report);
        if let Some(why) = report.trouble {
            return Err(Failure::NotSaved(why));
        }
        stand.extend(
            status::judge(&loaded.settings, store, now)?.1.alarms.into_iter().map(|alarm| alarm.finding.alarm_id()),
        );
        ended.insert(store.name.clone(), seen);
    }
    let by_store: BTreeMap<&String, Value> = ended.iter().map(|(store, ids)| (store, json!({"ended": ids}))).collect();
    print(global.output, &json!({"stores": by_store}), || {
        let lines = ended.iter().flat_map(|(store, ids)| ids.iter().map(move |id| format!("{store}: ended: {id}\n")));
        let mut text: String = lines.collect();
        if text.is_empty() {
            text.push_str("No alarm waits to be seen.\n");
        }
        if ids.is_empty() && !stand.is_empty() {
            let stand: Vec<String> = stand.into_iter().collect();
            let _ = writeln!(text, "These stand, and end when their cause does: {}", stand.join(", "));
        }
        text
    })?;
    Ok(Exit::Done)
}

/// Why the alarm of this id cannot be ended.
fn problem(id: &str, known: &BTreeMap<String, Alarm>) -> Option<String> {
    let Some(alarm) = known.get(id) else {
        let near =
            known.keys().max_by(|one, other| strsim::jaro_winkler(one, id).total_cmp(&strsim::jaro_winkler(other, id)));
        let near = near.filter(|near| strsim::jaro_winkler(near, id) > 0.8);
        let near = near.map_or_else(String::new, |near| format!(" Did you mean {near:?}?"));
        let all: Vec<&str> = known.keys().map(String::as_str).collect();
        let all = if all.is_empty() { "there is none".to_owned() } else { format!("there are: {}", all.join(", ")) };
        return Some(format!("There is no alarm {id:?}; {all}.{near}"));
    };
    (!alarm.unseen).then(|| format!("{id} cannot be acknowledged, its cause is still there; it ends {}.", ends(alarm)))
}

/// What ends it, as the rest of a sentence.
fn ends(alarm: &Alarm) -> String {
    if alarm.unseen {
        return format!("when somebody has seen it: trustsync alarms ack {}", alarm.finding.alarm_id());
    }
    let words = alarm.finding.event.facts().ends.when();
    words.replace("{subject}", &alarm.finding.subject.to_string())
}
