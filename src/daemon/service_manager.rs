//! sd_notify(3): ready, reloading, stopping, the watchdog, and a status line. Without a service manager they go
//! nowhere.

use sd_notify::NotifyState;

/// As much of a status line as `systemctl status` shows well.
const STATUS_LENGTH: usize = 300;

/// The service manager, if there is one, with the status line that it has.
#[derive(Debug, Default)]
pub struct ServiceManager(String);

impl ServiceManager {
    /// The line that `systemctl status` shows; sent when it is another one than before.
    pub fn status(&mut self, line: &str) {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_LENGTH).collect();
        if line != self.0 {
            notify(&[NotifyState::Status(&line)]);
            self.0 = line;
        }
    }
}

/// A new configuration is being read. `MONOTONIC_USEC` is what `Type=notify-reload` asks for.
pub fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Sends it, if there is a service manager.
pub fn notify(states: &[NotifyState<'_>]) {
    // Trust does not depend on it: a service manager that cannot be reached has its own ways to find out.
    if let Err(error) = sd_notify::notify(states) {
        log_line!(ServiceManagerUnreachable, %error, "the service manager could not be notified");
    }
}
