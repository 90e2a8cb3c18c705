//! What is kept on the disk: the state and the manifest of each generation, the lines of evidence, what a store adopts
//! from another one's records, and the summary of all that.

pub mod adopt;
pub mod evidence_backlog;
pub mod evidence_record;
pub mod manifest;
pub mod state;
pub mod summary;
