//! Writes a line of the log that reports no finding, by its row in the catalogue. Findings are written by
//! [`crate::log`].

/// `log_line!(PollNow, source = name, "asked to poll now")`: name and level are those of the catalogue, the fields and
/// the text are `tracing`'s.
macro_rules! log_line {
    ($line:ident, $($fields_and_text:tt)+) => {
        tracing::event!(
            $crate::trust::event::LogLine::$line.level(),
            event = $crate::trust::event::LogLine::$line.name(),
            $($fields_and_text)+
        )
    };
}
