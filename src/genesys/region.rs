//! The regions of Genesys Cloud, as a table: nothing in it is derived from a label or guessed, and every part of a row can
//! be overridden in the configuration.
//!
//! Sources: the vendor's page on mTLS data actions (its certificate names) and the vendor's SDKs (the hosts).

/// One region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The AWS region name, by which the configuration knows it: `eu-west-1`.
    pub aws: &'static str,
    /// The vendor's domain there: `mypurecloud.ie`.
    pub domain: &'static str,
    /// Base of the API, without a final slash.
    pub api: &'static str,
    /// Base of the login service, without a final slash.
    pub login: &'static str,
    /// The name in the region's client certificates, where the vendor names one.
    pub certificate_name: Option<&'static str>,
}

/// No region of that name is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown region {name:?}{}; known are {}. For a region that is newer than this program, name a known one and set api, login and identity",
    .nearest.map_or(String::new(), |nearest| format!(", did you mean {nearest:?}?")),
    Region::ALL.map(|region| region.aws).join(", ")
)]
pub struct UnknownRegion {
    name: String,
    nearest: Option<&'static str>,
}

impl UnknownRegion {
    /// The known region that was probably meant.
    #[must_use]
    pub fn nearest(&self) -> Option<&'static str> {
        self.nearest
    }
}

/// Less alike than this, a suggestion misleads.
const ALIKE: f64 = 0.75;

impl Region {
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

    /// Every known region.
    pub const ALL: &'static [Self; 18] = &REGIONS;
}

static REGIONS: [Region; 18] = [
    Region {
        aws: "us-east-1",
        domain: "mypurecloud.com",
        api: "https://api.mypurecloud.com",
        login: "https://login.mypurecloud.com",
        certificate_name: Some("dataactions.prod.us-east-1.mypurecloud.com"),
    },
    Region {
        aws: "us-east-2",
        domain: "use2.us-gov-pure.cloud",
        api: "https://api.use2.us-gov-pure.cloud",
        login: "https://login.use2.us-gov-pure.cloud",
        certificate_name: Some("dataactions.fedramp-use2-core.us-east-2.mypurecloud.com"),
    },
    Region {
        aws: "us-west-2",
        domain: "usw2.pure.cloud",
        api: "https://api.usw2.pure.cloud",
        login: "https://login.usw2.pure.cloud",
        certificate_name: Some("dataactions.prod-usw2.us-west-2.mypurecloud.com"),
    },
    Region {
        aws: "ca-central-1",
        domain: "cac1.pure.cloud",
        api: "https://api.cac1.pure.cloud",
        login: "https://login.cac1.pure.cloud",
        certificate_name: Some("dataactions.prod-cac1.ca-central-1.mypurecloud.com"),
    },
    Region {
        aws: "sa-east-1",
        domain: "sae1.pure.cloud",
        api: "https://api.sae1.pure.cloud",
        login: "https://login.sae1.pure.cloud",
        certificate_name: Some("dataactions.prod-sae1.sa-east-1.mypurecloud.com"),
    },
    Region {
        aws: "mx-central-1",
        domain: "mxc1.pure.cloud",
        api: "https://api.mxc1.pure.cloud",
        login: "https://login.mxc1.pure.cloud",
        certificate_name: Some("dataactions.prod-mxc1.mx-central-1.mypurecloud.com"),
    },
    Region {
        aws: "eu-west-1",
        domain: "mypurecloud.ie",
        api: "https://api.mypurecloud.ie",
        login: "https://login.mypurecloud.ie",
        certificate_name: Some("dataactions.prod-euw1.eu-west-1.mypurecloud.com"),
    },
    Region {
        aws: "eu-west-2",
        domain: "euw2.pure.cloud",
        api: "https://api.euw2.pure.cloud",
        login: "https://login.euw2.pure.cloud",
        certificate_name: Some("dataactions.prod-euw2.eu-west-2.mypurecloud.com"),
    },
    Region {
        aws: "eu-central-1",
        domain: "mypurecloud.de",
        api: "https://api.mypurecloud.de",
        login: "https://login.mypurecloud.de",
        certificate_name: Some("dataactions.prod-euc1.eu-central-1.mypurecloud.com"),
    },
    Region {
        aws: "eu-central-2",
        domain: "euc2.pure.cloud",
        api: "https://api.euc2.pure.cloud",
        login: "https://login.euc2.pure.cloud",
        certificate_name: Some("dataactions.prod-euc2.eu-central-2.mypurecloud.com"),
    },
    Region {
        aws: "eusc-de-east-1",
        domain: "edee1.eusc-pure.cloud",
        api: "https://api.edee1.eusc-pure.cloud",
        login: "https://login.edee1.eusc-pure.cloud",
        certificate_name: None,
    },
    Region {
        aws: "me-central-1",
        domain: "mec1.pure.cloud",
        api: "https://api.mec1.pure.cloud",
        login: "https://login.mec1.pure.cloud",
        certificate_name: Some("dataactions.prod-mec1.me-central-1.mypurecloud.com"),
    },
    Region {
        aws: "ap-south-1",
        domain: "aps1.pure.cloud",
        api: "https://api.aps1.pure.cloud",
        login: "https://login.aps1.pure.cloud",
        certificate_name: Some("dataactions.prod-aps1.ap-south-1.mypurecloud.com"),
    },
    Region {
        aws: "ap-southeast-1",
        domain: "apse1.pure.cloud",
        api: "https://api.apse1.pure.cloud",
        login: "https://login.apse1.pure.cloud",
        certificate_name: Some("dataactions.prod-apse1.ap-southeast-1.mypurecloud.com"),
    },
    Region {
        aws: "ap-southeast-2",
        domain: "mypurecloud.com.au",
        api: "https://api.mypurecloud.com.au",
        login: "https://login.mypurecloud.com.au",
        certificate_name: Some("dataactions.prod-apse2.ap-southeast-2.mypurecloud.com"),
    },
    Region {
        aws: "ap-northeast-1",
        domain: "mypurecloud.jp",
        api: "https://api.mypurecloud.jp",
        login: "https://login.mypurecloud.jp",
        certificate_name: Some("dataactions.prod-apne1.ap-northeast-1.mypurecloud.com"),
    },
    Region {
        aws: "ap-northeast-2",
        domain: "apne2.pure.cloud",
        api: "https://api.apne2.pure.cloud",
        login: "https://login.apne2.pure.cloud",
        certificate_name: Some("dataactions.prod-apne2.ap-northeast-2.mypurecloud.com"),
    },
    Region {
        aws: "ap-northeast-3",
        domain: "apne3.pure.cloud",
        api: "https://api.apne3.pure.cloud",
        login: "https://login.apne3.pure.cloud",
        certificate_name: Some("dataactions.prod-apne3.ap-northeast-3.mypurecloud.com"),
    },
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
            .map(|row| ["aws_region", "domain", "api", "login", "dataactions_name"].map(|key| row[key].as_str()))
            .collect();
        let ours: Vec<_> = Region::ALL
            .iter()
            .map(|region| {
                [Some(region.aws), Some(region.domain), Some(region.api), Some(region.login), region.certificate_name]
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
            assert_eq!(refused.nearest(), Some(nearest), "{wrong}");
            for region in Region::ALL {
                assert!(refused.to_string().contains(region.aws), "{refused}");
            }
        }
        assert_eq!(Region::named("?").unwrap_err().nearest(), None);
    }
}
