//! Signals by which the process is asked for something.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals, each with its meaning here.
pub(crate) struct Signals<T>(Vec<(T, Signal)>);

impl<T: Copy> Signals<T> {
    /// From here on, these signals no longer end the process by themselves.
    pub fn listen(kinds: impl IntoIterator<Item = (T, SignalKind)>) -> io::Result<Self> {
        kinds.into_iter().map(|(meaning, kind)| Ok((meaning, signal(kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// The meaning of the next signal.
    pub async fn next(&mut self) -> T {
        self.next_of(|_| true).await
    }

    /// The next signal of such a meaning; the others wait.
    pub async fn next_of(&mut self, wanted: impl Fn(T) -> bool) -> T {
        poll_fn(|context| {
            let mut meant = self.0.iter_mut().filter(|(meaning, _)| wanted(*meaning));
            let come = meant.find_map(|(meaning, signal)| signal.poll_recv(context).is_ready().then_some(*meaning));
            come.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
