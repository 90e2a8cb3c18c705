//! `trustsync regions`: the table of regions.

use serde_json::json;

use super::{Failure, print};
use crate::cli::Global;
use crate::exit::Exit;
use crate::genesys::Region;

pub fn run(global: &Global) -> Result<Exit, Failure> {
    let row = |region: &Region| {
        json!({
            "region": region.aws,
            "domain": region.domain,
            "api": region.api(),
            "login": region.login(),
            "certificate_name": region.certificate_name,
        })
    };
    let line = |region: &Region| {
        let name = region.certificate_name.unwrap_or("(name not published: identity is learned)");
        format!("{:<15} {:<24} {name}\n", region.aws, region.domain)
    };
    let rows: Vec<_> = Region::ALL.iter().map(row).collect();
    print(global.output, &rows, || Region::ALL.iter().map(line).collect())?;
    Ok(Exit::Done)
}
