//! `trustsync regions`: the table of regions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Failure, print};
use crate::cli::Global;
use crate::exit::Exit;
use crate::genesys::Region;

pub fn run(global: &Global) -> Result<Exit, Failure> {
    let row = |region: &Region| {
        json!({
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
    let rows: BTreeMap<&str, Value> = Region::ALL.iter().map(|region| (region.aws, row(region))).collect();
    print(global.output, &json!({"regions": rows}), || Region::ALL.iter().map(line).collect())?;
    Ok(Exit::Done)
}
