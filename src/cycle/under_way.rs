//! Several things at the same time in one task, each taken as it comes to its end.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// What is under way. A handful: each is asked whenever one of them may go on.
pub struct UnderWay<'a, T>(Vec<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<T> Default for UnderWay<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T> UnderWay<'a, T> {
    /// Begins one more future.
    pub fn begin(&mut self, future: impl Future<Output = T> + Send + 'a) {
        self.0.push(Box::pin(future));
    }

    /// What comes to its end next; none if nothing is left.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            for (place, future) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(done) = future.as_mut().poll(context) {
                    drop(self.0.swap_remove(place));
                    return Poll::Ready(Some(done));
                }
            }
            Poll::Pending
        })
        .await
    }
}
