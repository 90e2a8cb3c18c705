//! What is kept on the disk: the state and the manifest of each generation, the lines of evidence, what a store adopts
//! from another one's records, who minds it; the summary of all that, and the health that it is judged to be in.

pub mod adopt;
pub mod evidence_backlog;
pub mod evidence_record;
pub mod health;
pub mod manifest;
pub mod minder;
pub mod state;
pub mod summary;
