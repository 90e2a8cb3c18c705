//! A listening socket whose connections end with it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// A listener and its connections; dropping it ends them all.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Binds `address` (port 0: any) and hands each connection to `handle`, each in a task of its own, at most so many at
    /// a time: one more ends the oldest, so that whoever is slow keeps nobody waiting.
    pub(crate) async fn start<H, F>(address: SocketAddr, most: usize, handle: H) -> io::Result<Self>
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind(address).await?, most, handle)
    }

    /// The same, on a socket that is bound already.
    pub(crate) fn on<H, F>(socket: TcpListener, most: usize, handle: H) -> io::Result<Self>
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = socket.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
            loop {
                tokio::select! {
                    // Both arms are cancel-safe: a connection not accepted stays in the queue, a result not taken in
                    // the set.
                    accepted = socket.accept() => match accepted {
                        Ok((stream, _)) => {
                            // Small answers must not wait for the peer's acknowledgement; without it they are merely
                            // slower.
                            let _ = stream.set_nodelay(true);
                            by_age.retain(|connection| !connection.is_finished());
                            while by_age.len() >= most
                                && let Some(oldest) = by_age.pop_front()
                            {
                                oldest.abort();
                            }
                            by_age.push_back(connections.spawn(handle(stream)));
                        }
                        // Out of descriptors, for instance: wait rather than spin.
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, task })
    }

    /// The address that it is bound to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
