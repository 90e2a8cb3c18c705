//! How a command prints what it came to: text for people, or one JSON document of the shape that `deploy/JSON.md`
//! describes, also where it failed.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::Output;
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::trust::values::excerpt::visible;

/// The version of the shape: raised where a key changes its meaning or goes.
const SCHEMA: u32 = 1;

/// Prints the result: text for people, or the value, which is an object, as JSON.
pub fn print(output: Output, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        // A part of it comes from files that somebody else may have changed.
        Output::Text => out.write_all(visible(&text()).as_bytes())?,
        Output::Json => {
            let mut value = serde_json::to_value(value).map_err(io::Error::from)?;
            if let Some(fields) = value.as_object_mut() {
                for (key, value) in head() {
                    fields.entry(key).or_insert(value);
                }
            }
            // What is written another way stays the same text to whoever reads it as JSON.
            let document = serde_json::to_string_pretty(&value).map_err(io::Error::from)?;
            writeln!(out, "{}", visible(&document))?;
        }
    }
    out.flush()
}

/// What every document begins with.
pub fn head() -> [(&'static str, Value); 3] {
    [("schema", SCHEMA.into()), ("version", env!("CARGO_PKG_VERSION").into()), ("now", json!(SystemClock.now()))]
}

/// A failure, as it stands in a document: alone, or in its store's place.
pub fn error(exit: Exit, text: impl ToString) -> Value {
    json!({"error": {"exit": exit as u8, "text": text.to_string()}})
}

/// Says a failure to whoever reads JSON; the log has said it to everybody.
pub fn print_error(output: Output, exit: Exit, text: impl ToString) {
    if output == Output::Json {
        // A reader that has gone away needs no reason.
        let _ = print(output, &error(exit, text), String::new);
    }
}
