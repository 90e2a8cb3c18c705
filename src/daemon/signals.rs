//! What the daemon is told by signals.

use std::io;

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end.
    End(&'static str),
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGUSR1: poll now.
    PollNow,
}

/// Everything that we listen to.
pub struct Signals {
    terminate: Listener,
    interrupt: Listener,
    hangup: Listener,
    user: Listener,
}

impl Signals {
    /// From here on, these signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Ends when we are told to end; other signals wait.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.user.recv() => Signal::PollNow,
        }
    }
}
