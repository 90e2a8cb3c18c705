//! `trustsync snippet TARGET`: what its server's configuration needs of ours, with the target's own paths. Nothing is
//! read but the configuration, and nothing is written or told, so that it can be asked at any time. Standard output has
//! the lines alone, to be redirected into a file.

use serde_json::json;

use super::{Failure, environment, of_store, print, store_of_target, the_stores};
use crate::cli::Global;
use crate::exit::Exit;
use crate::settings::{self, SettingsError};

pub fn run(global: &Global, name: &str) -> Result<Exit, Failure> {
    // The secrets may be the daemon's alone.
    let (loaded, problems) = settings::check_without_secrets(&global.config, &environment())?;
    if !problems.is_empty() {
        return Err(SettingsError::Wrong { path: global.config.clone(), problems }.into());
    }
    let store = store_of_target(&the_stores(global, &loaded)?, name)?;
    let known = store.targets.iter().find(|target| target.name == name);
    let target = known.ok_or_else(|| Failure::Usage(format!("there is no target {name:?}")))?;
    let link = store.link_path(target);
    let lines = target.kind.snippet(target.marker, &link).unwrap_or_default();
    // The link of before is there as long as its server may read by it.
    let before = store.other_link_path(target);
    let replaces = std::fs::symlink_metadata(&before).is_ok_and(|found| found.is_symlink()).then_some(before);
    if let Some(before) = &replaces {
        log_line!(
            SnippetReplaces,
            target = name,
            "this target was moved: in its server's configuration, replace {}/ by {}/ wherever it stands, then reload \
             the server; the lines have the new path",
            before.display(),
            link.display()
        );
    }
    let found = json!({"kind": target.kind.name, "path": link, "lines": lines, "replaces": replaces});
    print(global.output, &of_store(store, json!({"targets": {name: found}})), || lines)?;
    Ok(Exit::Done)
}
