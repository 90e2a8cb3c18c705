//! The regions of Genesys Cloud, as a table. The hosts follow from a region's domain, as a test compares with what the
//! vendor's SDKs say; the certificate names are those of the vendor's page on mTLS data actions. The configuration can
//! override every part of a row.

/// A region of Genesys Cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The AWS region name, by which the configuration knows it: `eu-west-1`.
    pub aws: &'static str,
    /// The vendor's domain there: `mypurecloud.ie`.
    pub domain: &'static str,
    /// The name in the region's client certificates, where the vendor names one.
    pub certificate_name: Option<&'static str>,
}

/// The table has no region of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown region {name:?}{}; known are {}. For a region that is newer than this program, name a known one and set \
     api, login and identity",
    .nearest.map_or(String::new(), |nearest| format!(", did you mean {nearest:?}?")),
    Region::ALL.map(|region| region.aws).join(", ")
)]
pub struct UnknownRegion {
    name: String,
    nearest: Option<&'static str>,
}

/// Less alike than this, a suggestion misleads.
const ALIKE: f64 = 0.75;

impl Region {
    /// Every known region.
    pub const ALL: &'static [Self; 18] = &REGIONS;

    const fn new(aws: &'static str, domain: &'static str, certificate_name: Option<&'static str>) -> Self {
        Self { aws, domain, certificate_name }
    }

    /// Base of the API, without a final slash.
    #[must_use]
    pub fn api(&self) -> String {
        format!("https://api.{}", self.domain)
    }

    /// Base of the login service, without a final slash.
    #[must_use]
    pub fn login(&self) -> String {
        format!("https://login.{}", self.domain)
    }

    /// The region of that AWS name.
    pub fn named(name: &str) -> Result<&'static Self, UnknownRegion> {
        Self::ALL.iter().find(|region| region.aws == name).ok_or_else(|| UnknownRegion {
            name: name.chars().filter(|character| !character.is_control()).take(60).collect(),
            nearest: Self::nearest_to(name),
        })
    }

    /// People also write the domain, so that is compared too.
    fn nearest_to(name: &str) -> Option<&'static str> {
        let name: String = name.chars().take(60).collect::<String>().trim().to_lowercase();
        let likeness =
            |region: &Self| strsim::jaro_winkler(region.aws, &name).max(strsim::jaro_winkler(region.domain, &name));
        Self::ALL
            .iter()
            .map(|region| (likeness(region), region.aws))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, aws)| aws)
    }
}

static REGIONS: [Region; 18] = [
    Region::new("us-east-1", "mypurecloud.com", Some("dataactions.prod.us-east-1.mypurecloud.com")),
    Region::new("us-east-2", "use2.us-gov-pure.cloud", Some("dataactions.fedramp-use2-core.us-east-2.mypurecloud.com")),
    Region::new("us-west-2", "usw2.pure.cloud", Some("dataactions.prod-usw2.us-west-2.mypurecloud.com")),
    Region::new("ca-central-1", "cac1.pure.cloud", Some("dataactions.prod-cac1.ca-central-1.mypurecloud.com")),
    Region::new("sa-east-1", "sae1.pure.cloud", Some("dataactions.prod-sae1.sa-east-1.mypurecloud.com")),
    Region::new("mx-central-1", "mxc1.pure.cloud", Some("dataactions.prod-mxc1.mx-central-1.mypurecloud.com")),
    Region::new("eu-west-1", "mypurecloud.ie", Some("dataactions.prod-euw1.eu-west-1.mypurecloud.com")),
    Region::new("eu-west-2", "euw2.pure.cloud", Some("dataactions.prod-euw2.eu-west-2.mypurecloud.com")),
    Region::new("eu-central-1", "mypurecloud.de", Some("dataactions.prod-euc1.eu-central-1.mypurecloud.com")),
    Region::new("eu-central-2", "euc2.pure.cloud", Some("dataactions.prod-euc2.eu-central-2.mypurecloud.com")),
    Region::new("eusc-de-east-1", "edee1.eusc-pure.cloud", None),
    Region::new("me-central-1", "mec1.pure.cloud", Some("dataactions.prod-mec1.me-central-1.mypurecloud.com")),
    Region::new("ap-south-1", "aps1.pure.cloud", Some("dataactions.prod-aps1.ap-south-1.mypurecloud.com")),
    Region::new("ap-southeast-1", "apse1.pure.cloud", Some("dataactions.prod-apse1.ap-southeast-1.mypurecloud.com")),
    Region::new("ap-southeast-2", "mypurecloud.com.au", Some("dataactions.prod-apse2.ap-southeast-2.mypurecloud.com")),
    Region::new("ap-northeast-1", "mypurecloud.jp", Some("dataactions.prod-apne1.ap-northeast-1.mypurecloud.com")),
    Region::new("ap-northeast-2", "apne2.pure.cloud", Some("dataactions.prod-apne2.ap-northeast-2.mypurecloud.com")),
    Region::new("ap-northeast-3", "apne3.pure.cloud", Some("dataactions.prod-apne3.ap-northeast-3.mypurecloud.com")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_that_was_researched() {
        let researched: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../tests/data/regions.json")).unwrap();
        let rows: Vec<_> = researched
            .iter()
            .map(|row| {
                ["aws_region", "domain", "api", "login", "dataactions_name"]
                    .map(|key| row[key].as_str().map(str::to_owned))
            })
            .collect();
        let ours: Vec<_> = Region::ALL
            .iter()
            .map(|region| {
                let [aws, domain] = [region.aws, region.domain].map(str::to_owned);
                let certificate_name = region.certificate_name.map(str::to_owned);
                [Some(aws), Some(domain), Some(region.api()), Some(region.login()), certificate_name]
            })
            .collect();
        assert_eq!(ours, rows);
        assert_eq!(ours.len(), 18);
    }

    #[test]
    fn an_unknown_region_names_the_known_ones_and_the_nearest() {
        assert_eq!(Region::named("eu-west-1").unwrap().domain, "mypurecloud.ie");
        for (wrong, nearest) in
            [("eu-west1", "eu-west-1"), ("US-EAST-1", "us-east-1"), ("mypurecloud.de", "eu-central-1")]
        {
            let refused = Region::named(wrong).unwrap_err();
            assert_eq!(refused.nearest, Some(nearest), "{wrong}");
            for region in Region::ALL {
                assert!(refused.to_string().contains(region.aws), "{refused}");
            }
        }
        assert_eq!(Region::named("?").unwrap_err().nearest, None);
    }
}
