//! Writes a line of the log that reports no finding, by its row in the catalogue. Findings are written by [`crate::log`].

use crate::trust::event;

/// The level of a line, as `tracing` has it.
pub const fn level(line: event::LogLine) -> tracing::Level {
    match line.level() {
        event::Level::Error => tracing::Level::ERROR,
        event::Level::Warn => tracing::Level::WARN,
        event::Level::Info => tracing::Level::INFO,
        event::Level::Debug => tracing::Level::DEBUG,
    }
}

/// `log_line!(PollNow, source = name, "told to poll now")`: name and level are those of the catalogue, the fields and the
/// text are `tracing`'s.
macro_rules! log_line {
    ($line:ident, $($fields_and_text:tt)+) => {
        tracing::event!(
            $crate::log_line::level($crate::trust::event::LogLine::$line),
            event = $crate::trust::event::LogLine::$line.name(),
            $($fields_and_text)+
        )
    };
}
