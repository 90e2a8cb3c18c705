//! Every way from a leaf up to an anchor, by names and bounded in length and in work.

use std::ops::ControlFlow;

use crate::trust::formats::certificate::Certificate;
use crate::trust::verify::work::Work;

/// How many times a next issuer is tried in all, for one leaf.
const MOST_STEPS: usize = 4096;

/// The most certificates on any path, anchor included: webpki follows six between a leaf and its anchor.
const LONGEST: usize = 8;

/// A complete path.
pub(super) struct Path<'a> {
    /// The leaf, then its issuer and so on, without the anchor.
    pub(super) below: &'a [&'a Certificate],
    /// Our own copy of the anchor.
    pub(super) anchor: &'a Certificate,
}

impl<'a> Path<'a> {
    /// All but the leaf, anchor last.
    pub(super) fn above(&self) -> impl Iterator<Item = &'a Certificate> + use<'a> {
        self.below.iter().skip(1).copied().chain(std::iter::once(self.anchor))
    }
}

/// What was met on the way, for the message when no path is accepted.
#[derive(Default)]
pub(super) struct PathSearch<'a> {
    /// A way had more issuers to try than the length allowed.
    pub(super) too_long: bool,
    /// The work on this leaf became too much.
    pub(super) gave_up: bool,
    /// The work on the whole answer became too much.
    pub(super) spent: bool,
    /// The highest certificate whose issuer is neither in the string nor an anchor.
    pub(super) missing: Option<&'a Certificate>,
}

struct Walk<'a, 'v, 'w> {
    others: Vec<&'a Certificate>,
    anchors: Vec<&'a Certificate>,
    longest: usize,
    steps: usize,
    depth_of_missing: usize,
    found: PathSearch<'a>,
    work: &'v mut Work<'w>,
    visit: &'v mut dyn FnMut(&Path<'_>, &mut Work<'w>) -> ControlFlow<()>,
}

/// Shows every path of at most `longest` certificates to `visit`, the shorter ways first at each step, in an order that
/// does not depend on the order of the string.
pub(super) fn walk<'a, 'w>(
    leaf: &'a Certificate,
    others: &'a [Certificate],
    anchors: &'a [Certificate],
    longest: usize,
    work: &mut Work<'w>,
    visit: &mut dyn FnMut(&Path<'_>, &mut Work<'w>) -> ControlFlow<()>,
) -> PathSearch<'a> {
    let others: Vec<&Certificate> =
        others.iter().filter(|other| other.facts().is_ca && !anchors.contains(other)).collect();
    let anchors = anchors.iter().collect();
    let mut walk =
        Walk { others, anchors, longest, steps: 0, depth_of_missing: 0, found: PathSearch::default(), work, visit };
    let _ = walk.step(&mut vec![leaf], leaf);
    walk.found
}

impl<'a> Walk<'a, '_, '_> {
    fn step(&mut self, below: &mut Vec<&'a Certificate>, tip: &'a Certificate) -> ControlFlow<()> {
        let anchors = issuers_of(tip, &self.anchors, below);
        let others = issuers_of(tip, &self.others, below);
        if anchors.is_empty() && others.is_empty() && below.len() > self.depth_of_missing {
            self.depth_of_missing = below.len();
            self.found.missing = Some(tip);
        }
        // Self-issued issuers, which only renew a key, count no more than for a path length constraint (RFC 5280, 6.1.4
        // l), but nothing exceeds what webpki follows.
        let self_issued = below.iter().skip(1).filter(|issuer| issuer.facts().self_issued()).count();
        if below.len().saturating_sub(self_issued) >= self.longest || below.len() >= LONGEST {
            self.found.too_long |= !(anchors.is_empty() && others.is_empty());
            return ControlFlow::Continue(());
        }
        for anchor in anchors {
            self.count()?;
            (self.visit)(&Path { below, anchor }, self.work)?;
        }
        for issuer in others {
            self.count()?;
            below.push(issuer);
            let found = self.step(below, issuer);
            below.pop();
            found?;
        }
        ControlFlow::Continue(())
    }

    fn count(&mut self) -> ControlFlow<()> {
        self.steps = self.steps.saturating_add(1);
        self.found.gave_up = self.steps > MOST_STEPS;
        self.found.spent = self.work.step().is_err();
        if self.found.gave_up || self.found.spent { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Those with the name of the issuer, the ones with the named key first. No key stands on a path twice under the same
/// name: that would be a loop.
fn issuers_of<'a>(tip: &Certificate, among: &[&'a Certificate], below: &[&'a Certificate]) -> Vec<&'a Certificate> {
    let named = &tip.facts().authority_key_id;
    let is_loop = |issuer: &Certificate| {
        below.iter().any(|passed| {
            passed.facts().key_fingerprint == issuer.facts().key_fingerprint
                && passed.facts().subject_der == issuer.facts().subject_der
        })
    };
    let mut issuers: Vec<&Certificate> = among
        .iter()
        .copied()
        .filter(|issuer| issuer.facts().subject_der == tip.facts().issuer_der && !is_loop(issuer))
        .collect();
    issuers.sort_by_key(|issuer| (named.is_some() && issuer.facts().subject_key_id != *named, issuer.fingerprint()));
    issuers
}
