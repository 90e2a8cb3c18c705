//! What judging may cost. Whoever can make the vendor's endpoint list what they like needs no CA's key to make a
//! certificate string with thousands of paths that look right until a signature is checked. So what a whole answer
//! costs is bounded, not what one leaf of it costs; and no signature is checked twice.

use std::collections::BTreeMap;

use crate::trust::formats::certificate::Certificate;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::verify::signed::{self, SignatureProblem};

/// How many signatures are checked for one answer. The vendor's path needs four; ring takes a millisecond for one of the
/// slowest kind.
const MOST_SIGNATURES: usize = 1_024;
/// How many times a next issuer is tried for one answer.
const MOST_STEPS: usize = 16_384;

/// The work on one answer: what is left of it, and which signatures were checked already.
pub struct Work<'a> {
    signatures: Purse,
    steps: Purse,
    is_over: &'a dyn Fn() -> bool,
    checked: BTreeMap<(Fingerprint, Fingerprint), Result<(), SignatureProblem>>,
}

/// What is left of one kind of work, and how much of that is kept for others.
struct Purse {
    left: usize,
    kept: usize,
}

impl Purse {
    fn take(&mut self, count: usize) -> Result<(), Spent> {
        let left = self.left.checked_sub(count).filter(|left| *left >= self.kept).ok_or(Spent)?;
        self.left = left;
        Ok(())
    }

    fn share(&mut self, strings: usize) {
        let share = self.left.checked_div(strings).unwrap_or(self.left);
        self.kept = self.left.saturating_sub(share);
    }

    fn is_empty(&self) -> bool {
        self.left <= self.kept
    }
}

/// No more work may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent;

impl Default for Work<'_> {
    fn default() -> Self {
        Self::until(&|| false)
    }
}

impl<'a> Work<'a> {
    /// The work on one answer, as long as `is_over` does not say that nobody waits for it any more.
    #[must_use]
    pub fn until(is_over: &'a dyn Fn() -> bool) -> Self {
        let purse = |left| Purse { left, kept: 0 };
        Self { signatures: purse(MOST_SIGNATURES), steps: purse(MOST_STEPS), is_over, checked: BTreeMap::new() }
    }

    /// The next string is the first of so many that are still to be judged: each may have an equal part of what is left,
    /// so that none is kept from its verdict by others.
    pub fn share(&mut self, strings: usize) {
        self.signatures.share(strings);
        self.steps.share(strings);
    }

    /// How many signatures were checked.
    #[must_use]
    pub fn signatures_checked(&self) -> usize {
        MOST_SIGNATURES.saturating_sub(self.signatures.left)
    }

    /// Whether something can still be judged.
    pub(super) fn is_spent(&self) -> bool {
        self.signatures.is_empty() || self.steps.is_empty() || (self.is_over)()
    }

    /// One more issuer is tried.
    pub(super) fn step(&mut self) -> Result<(), Spent> {
        self.steps.take(1)
    }

    /// This many signatures are about to be checked.
    pub(super) fn signatures(&mut self, count: usize) -> Result<(), Spent> {
        if (self.is_over)() {
            return Err(Spent);
        }
        self.signatures.take(count)
    }

    /// Whether the issuer's key has signed the child.
    pub(super) fn signed(
        &mut self,
        child: &Certificate,
        issuer: &Certificate,
    ) -> Result<Result<(), SignatureProblem>, Spent> {
        let pair = (child.fingerprint(), issuer.fingerprint());
        if let Some(known) = self.checked.get(&pair) {
            return Ok(*known);
        }
        self.signatures(1)?;
        let found = signed::by_issuer(child, issuer);
        self.checked.insert(pair, found);
        Ok(found)
    }
}
