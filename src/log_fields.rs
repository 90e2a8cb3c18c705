//! How the text log writes fields: in a form that no text can imitate. A value is a plain word or stands in quotation
//! marks, those in it escaped; the message is one line, in which nothing looks like a field.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::trust::values::excerpt::visible;

/// The format of fields.
pub(crate) struct Quoted;

impl<'writer> FormatFields<'writer> for Quoted {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_first: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let space = if std::mem::take(&mut self.is_first) { "" } else { " " };
        self.result = self.result.and_then(|()| write!(self.writer, "{space}{text}"));
    }

    fn write_value(&mut self, name: &str, value: &str) {
        self.write(format_args!("{name}=\"{}\"", one_line(value).replace('\\', "\\\\").replace('"', "\\\"")));
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_value(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        let is_word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/[]".contains(&byte))
        };
        match field.name() {
            "message" => self.write(format_args!("{}", message(&text))),
            name if is_word(&text) => self.write(format_args!("{name}={text}")),
            name => self.write_value(name, &text),
        }
    }
}

/// With nothing that a terminal obeys, and ends of lines as `\n`: an event is one line.
fn one_line(text: &str) -> String {
    visible(text).replace('\n', "\\n")
}

/// Every line of the log has the field `event`, and only as a field.
fn message(text: &str) -> String {
    one_line(text).replace("=\"", "=\\\"").replace("event=", "event\\=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_nothing_that_looks_like_a_field_or_a_line_of_its_own() {
        for (text, shown) in [
            ("plain: CN=x,O=y of 1 = \"soft\"", "plain: CN=x,O=y of 1 = \"soft\""),
            ("x event=\"published\" y", "x event\\=\\\"published\" y"),
            ("x event=published", "x event\\=published"),
            ("x\n2026-01-01T00:00:00Z  INFO", "x\\n2026-01-01T00:00:00Z  INFO"),
            ("\u{1b}[2J\u{202e}", "\\u001b[2J\\u202e"),
        ] {
            assert_eq!(message(text), shown);
        }
    }
}
