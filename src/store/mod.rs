//! The trust directory: [`durable`] keeps it on disk, and moves bytes and names. What the bytes record is read apart
//! from that: of the own store in [`contents`], of a store or seed that is adopted in [`adopt`]. Whether it
//! could be written is seen by [`unwritable`].

pub mod adopt;
pub mod contents;
pub mod durable;
mod writable;

pub use durable::{
    Files, Link, LinkPath, Lock, LockError, Store, StoreError, Swept, file, generation, link, ownership, sweep,
    sweep_in,
};
pub use writable::{Unwritable, unwritable};
