//! Chance, for waits that a fleet should not keep in step.

use ring::rand::SystemRandom;

/// In 0..1; without a source of randomness the middle will do, for it only spreads the waiting.
#[must_use]
pub fn draw() -> f64 {
    ring::rand::generate::<[u8; 4]>(&SystemRandom::new())
        .map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes.expose())) / (f64::from(u32::MAX) + 1.0))
}
