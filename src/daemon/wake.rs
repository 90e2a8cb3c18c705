//! What wakes a source before its time.

use tokio::sync::Notify;

/// A source's bells.
#[derive(Debug, Default)]
pub struct Wake {
    /// It is to be asked now.
    pub poll: Notify,
    /// It may be due sooner: somebody has written the state.
    pub due: Notify,
}
