//! Compares what HAProxy has loaded, by its runtime socket, with the files of the wanted generation: certificate by
//! certificate and entry by entry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::targets::BoxFuture;
use crate::targets::haproxy::loaded::{self, CaFile, List, Loaded};
use crate::targets::haproxy::on_disk::{OnDisk, generation_of};
use crate::targets::haproxy::socket::{HaproxyError, Trouble};
use crate::targets::proof::observe::{Observe, OwnProof, OwnProofKey};
use crate::targets::proof::seen::{Caveat, Seen, Wanted, not_ours, of_generation};
use crate::trust::turn::Proof;
use crate::trust::values::marker_name::{MARKER_ORGANIZATION, MarkerName};

/// The lists that decide, of which none may be missing.
const LISTS: [&str; 3] = ["haproxy/denied.list", "haproxy/names.list", "haproxy/pins.list"];

/// The proof by HAProxy's runtime socket: the value of its key is the socket's path.
pub static PROOF: OwnProofKey = OwnProofKey {
    key: "haproxy",
    needs_files: Some("compares HAProxy's lists, which this target does not have: add outputs = [\"haproxy\"]"),
    read: |value, folder, _| {
        let socket = folder.join(value);
        Ok(OwnProof {
            place: socket.to_string_lossy().into_owned(),
            shows_chain: true,
            reconsider: unadvertised,
            observer: Arc::new(move || Ok(Arc::new(RuntimeSocket(socket.clone())))),
        })
    },
};

struct RuntimeSocket(PathBuf);

impl Observe for RuntimeSocket {
    fn observe<'a>(&'a self, wanted: &'a Wanted, _: Duration) -> BoxFuture<'a, Seen> {
        Box::pin(async move {
            match compared(&self.0, wanted).await {
                Ok(seen) => seen,
                Err(error @ HaproxyError { trouble: Trouble::NotPermitted, .. }) => {
                    Proof::Unverifiable(error.to_string()).into()
                }
                Err(error) => Proof::Unreachable(error.to_string()).into(),
            }
        })
    }
}

async fn compared(socket: &Path, wanted: &Wanted) -> Result<Seen, HaproxyError> {
    let disk = match OnDisk::of(&wanted.directory) {
        Ok(disk) => disk,
        Err(error) => return Ok(Seen::other_content(format!("the files to compare with cannot be read: {error}"))),
    };
    if let Some(why) = LISTS.iter().find_map(|path| is_not_wanted(&disk, path, wanted)) {
        return Ok(Seen::other_content(why));
    }
    let loaded = Loaded::of(socket, &disk).await?;
    if loaded.is_empty() {
        return Ok(not_ours().into());
    }
    for list in &loaded.lists {
        if let Some(seen) = other_list(socket, list, &disk, wanted).await? {
            return Ok(seen);
        }
    }
    for ca_file in &loaded.ca_files {
        if let Some(seen) = other_chain(socket, ca_file, &disk, wanted).await? {
            return Ok(seen);
        }
    }
    let paths: BTreeSet<&str> = loaded.lists.iter().map(|list| list.path.as_str()).collect();
    let missing: Vec<&str> = LISTS.into_iter().filter(|path| !paths.contains(path)).collect();
    let missing = (!missing.is_empty()).then(|| {
        format!("HAProxy has not loaded {}: are all lines of the snippet in its configuration?", missing.join(" and "))
    });
    Ok(match (loaded.ca_files.is_empty(), missing) {
        (false, None) => Proof::Proven.into(),
        (false, Some(missing)) => Seen::with(Proof::ChainOnly(missing), Caveat::AllowlistMissing),
        (true, None) => Proof::AllowlistOnly("HAProxy has loaded no CA file of this target".into()).into(),
        (true, Some(missing)) => {
            Proof::Unverifiable(format!("HAProxy has loaded no CA file of this target, and {missing}")).into()
        }
    })
}

/// A file that was exchanged beneath us shows nothing of the wanted generation.
fn is_not_wanted(disk: &OnDisk, path: &str, wanted: &Wanted) -> Option<String> {
    match disk.entries(path) {
        Ok(entries) => {
            let own = generation_of(&entries);
            (own != Some((wanted.generation, &wanted.store_id)))
                .then(|| format!("the {path} to compare with is not of the wanted generation"))
        }
        Err(error) => Some(format!("the {path} to compare with cannot be read: {error}")),
    }
}

/// What this list shows instead of the wanted entries, if so.
async fn other_list(socket: &Path, list: &List, disk: &OnDisk, wanted: &Wanted) -> Result<Option<Seen>, HaproxyError> {
    let shown = loaded::entries(socket, list, None).await?;
    let meant = disk.entries(&list.path);
    if meant.as_ref().is_ok_and(|meant| *meant == shown) {
        return Ok(None);
    }
    let other =
        generation_of(&shown).filter(|(number, store)| *store == wanted.store_id && *number != wanted.generation);
    Ok(Some(match other {
        Some((number, _)) => of_generation("the allowlist", number).into(),
        None => Seen::other_content(format!("HAProxy has other entries of {} than stand on the disk", list.path)),
    }))
}

/// What this CA file shows instead of the wanted certificates, if so.
async fn other_chain(
    socket: &Path,
    ca_file: &CaFile,
    disk: &OnDisk,
    wanted: &Wanted,
) -> Result<Option<Seen>, HaproxyError> {
    let shown = loaded::certificates(socket, &ca_file.name).await?;
    let meant = disk.certificates(&ca_file.path);
    if meant.as_ref().is_ok_and(|meant| *meant == shown.fingerprints) {
        return Ok(None);
    }
    let other = shown
        .subjects
        .iter()
        .filter_map(|subject| marker_in(subject))
        .find(|marker| marker.store_id == wanted.store_id && marker.generation != wanted.generation);
    Ok(Some(match other {
        Some(marker) => of_generation("the chain", marker.generation).into(),
        None => {
            Seen::other_content(format!("HAProxy has other certificates of {} than stand on the disk", ca_file.path))
        }
    }))
}

/// `/O=trustsync generation marker/CN=...`: only a hint which generation it is, since this form can be feigned.
fn marker_in(subject: &str) -> Option<MarkerName> {
    MarkerName::parse(subject.strip_prefix("/O=")?.strip_prefix(MARKER_ORGANIZATION)?.strip_prefix("/CN=")?)
}

/// What the wire shows of a HAProxy that has our chain loaded by what it says of itself, and advertises nothing of it.
fn unadvertised(wire: Seen, others: &[Seen]) -> Seen {
    let is_loaded = |other: &Seen| matches!(other.proof, Proof::Proven | Proof::ChainOnly(_));
    if wire == Seen::from(not_ours()) && others.iter().any(is_loaded) {
        return Proof::Unverifiable(
            "this target's files are loaded, but at this address and by this name none of their names is advertised: \
             HAProxy advertises those of ca-file, never of ca-verify-file; or another bind answers there"
                .into(),
        )
        .into();
    }
    wire
}
