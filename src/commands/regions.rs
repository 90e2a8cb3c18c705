//! `trustsync regions`: the table of regions.

use serde_json::json;

use super::{Failure, print};
use crate::cli::Global;
use crate::exit::Exit;
use crate::genesys::Region;

pub fn run(global: &Global) -> Result<Exit, Failure> {
    let rows: Vec<_> = Region::ALL
        .iter()
        .map(|region| json!({"region": region.aws, "domain": region.domain, "api": region.api, "login": region.login, "certificate_name": region.certificate_name}))
        .collect();
    print(global.output, &rows, || {
        Region::ALL
            .iter()
            .map(|region| {
                format!(
                    "{:<15} {:<24} {}\n",
                    region.aws,
                    region.domain,
                    region.certificate_name.unwrap_or("(name not published: identity is learned)")
                )
            })
            .collect()
    })?;
    Ok(Exit::Done)
}
