//! What Envoy's validation context cannot express.

use super::render;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::records::manifest::Manifest;
use crate::trust::render::Place;
use crate::trust::values::slot::Authority;

/// What it cannot do for a name rule.
pub(super) fn of_names(target: &str, manifest: &Manifest, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Finding> {
    let genesys = manifest.slots.iter().filter(|(slot, _)| slot.authority() == Authority::Genesys);
    let rules: Vec<_> = genesys.flat_map(|(_, held)| held.entries.values()).collect();
    if rules.is_empty() {
        return None;
    }
    if read(render::WITH_MARKER).is_some_and(|secret| render::admits_nobody(&secret)) {
        let text = "This Envoy refuses every client, though a Genesys name is trusted. Envoy cannot exclude a single \
                    certificate of a name that it admits: while one is denied, it admits one by one those that the \
                    vendor lists, and all of these are denied. The next one that a poll finds gets in at once; see \
                    `trustsync status` for what is denied.";
        return Some(Finding::new(Event::TargetAdmitsNobody, Subject::target(target), text));
    }
    if !manifest.denied.is_empty() {
        let text = "Envoy cannot exclude a single certificate of a name that it admits. While one is denied, it \
                    admits one by one those that the vendor lists: a renewed one gets in only after a poll has \
                    found it.";
        return Some(Finding::new(Event::TargetOneByOne, Subject::target(target), text));
    }
    rules.iter().any(|rule| rule.witnesses.dns_names.is_empty()).then(|| {
        let text = "Envoy sees no common name, and the vendor's certificate has its name in no dNSName (or any name is \
                    allowed): it admits whatever the Genesys root has signed.";
        Finding::new(Event::TargetIssuerAlone, Subject::target(target), text)
    })
}

/// A validation context asks a list of certificates *and* names, never one or the other.
pub(super) fn one_authority(place: &Place<'_>) -> Option<String> {
    place.digicert.and(place.genesys)?;
    let Place { target: name, store, .. } = place;
    Some(format!(
        "target.{name} is an Envoy, and store.{store} takes certificates of both DigiCert and Genesys. A validation \
         context of Envoy's admits a client that is on its list of certificates *and* has a name; it has no \"or\". \
         Give each authority a source, a store and a listener of its own (another port, or a filter chain by server \
         name): [source.SOURCE] authorities = [\"DigiCert\"], [source.SOURCE-genesys] authorities = [\"Genesys\"]; \
         [store.{store}] sources = [\"SOURCE\"], [store.{store}-genesys] sources = [\"SOURCE-genesys\"]; \
         [target.{name}] store = \"{store}\", [target.{name}-genesys] kind = \"envoy\", store = \"{store}-genesys\"; \
         and let each listener ask for the secret \"trustsync\" at its own target's path"
    ))
}

/// The privileged helper learns of no single leaf under a name rule, and once one is denied, Envoy can admit only
/// leaves.
pub(super) fn named_by_root(place: &Place<'_>) -> Option<String> {
    let Place { target: name, privileged: true, genesys: Some(source), .. } = place else { return None };
    Some(format!(
        "target.{name} is an Envoy and privileged, and source.{source} takes certificates of Genesys, which are \
         trusted by their name. Envoy sees no common name and cannot exclude one client of a name: it needs the leaves \
         themselves, and the privileged helper, which verifies anew, gets none: once one is denied, every client would \
         be shut out. Leave target.{name}.privileged out: Envoy needs neither root nor a reload, it watches the link, \
         and reads as its own user"
    ))
}
