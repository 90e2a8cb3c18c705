//! The words of sd_notify(3): ready, reloading, stopping, the watchdog's food, and one line of truth. Without a service
//! manager they go nowhere.

use std::time::Duration;

use sd_notify::NotifyState;

/// As much of a status line as `systemctl status` shows well.
const STATUS_LENGTH: usize = 300;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    said: String,
}

impl ServiceManager {
    /// How often it wants to be fed at least; `None` where it has no watchdog for us.
    #[must_use]
    pub fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }

    /// The configuration is in force, and everything runs.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// A new configuration is being read. `MONOTONIC_USEC` is what `Type=notify-reload` asks for.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// We are about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// There was progress.
    pub fn feed_watchdog(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// The line that `systemctl status` shows; told when it is another one than before.
    pub fn status(&mut self, line: &str) {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_LENGTH).collect();
        if line != self.said {
            tell(&[NotifyState::Status(&line)]);
            self.said = line;
        }
    }
}

fn tell(words: &[NotifyState<'_>]) {
    // Trust does not depend on it: a service manager that cannot be reached has its own ways to find out.
    if let Err(error) = sd_notify::notify(words) {
        log_line!(ServiceManagerUnreachable, %error, "the service manager could not be told");
    }
}
