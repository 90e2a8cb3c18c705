//! From a raw source to a resolved one: its region's row, its credentials, its anchors.

use std::collections::BTreeSet;

use url::Url;

use super::raw::{List, RawSource};
use super::resolve::Resolver;
use super::resolved::{IdentitySetting, Secret, SecretOrigin, Source};
use crate::genesys::region::Region;
use crate::http_client;
use crate::trust::values::slot::Authority;

/// The path of the listing, as the vendor documents it.
pub const LISTING_PATH: &str = "/api/v2/integrations/actions/certificates";

const AUTHORITIES: [(&str, Authority); 2] = [("DigiCert", Authority::DigiCert), ("Genesys", Authority::Genesys)];

impl Resolver {
    // Long because it is the list of a source's keys, and of what goes with what.
    pub(super) fn source(&mut self, name: &str, raw: &RawSource) -> Option<Source> {
        let key = |field: &str| format!("source.{name}.{field}");
        let Some(region_name) = &raw.region else {
            self.problem(format!(
                "{} is missing: the AWS name of your Genesys Cloud region, such as eu-west-1 (trustsync regions)",
                key("region")
            ));
            return None;
        };
        let region = match Region::named(region_name) {
            Ok(region) => region,
            Err(unknown) => {
                self.problem(format!("{}: {unknown}", key("region")));
                return None;
            }
        };
        self.show(&key("region"), region.aws);
        let client_id = raw.client_id.clone().unwrap_or_default();
        self.show(&key("client_id"), &client_id);
        if client_id.is_empty() {
            self.problem(format!(
                "{} is missing: the id of an OAuth client with the grant \"Client Credentials\"",
                key("client_id")
            ));
        }
        let client_secret = self.secret(name, raw)?;
        let authorities = [Authority::DigiCert].into();
        let authorities = self.choices(&key("authorities"), raw.authorities.as_ref(), &AUTHORITIES, authorities);
        if raw.authorities.as_ref().is_some_and(|List(names)| names.is_empty()) {
            self.problem(format!("{} is empty: name DigiCert, Genesys, or both", key("authorities")));
        }
        let identity = self.identity(&key("identity"), raw.identity.as_ref());
        let digicert_anchors = self.paths(&key("digicert_anchors"), raw.digicert_anchors.as_ref());
        let builtin_anchors = self.builtin_anchors(name, raw);
        let genesys_anchors = self.paths(&key("genesys_anchors"), raw.genesys_anchors.as_ref());
        if authorities.contains(&Authority::Genesys) {
            if genesys_anchors.is_empty() {
                self.problem(format!(
                    "{} is missing: with the authority Genesys the region's root comes as a file from the vendor's \
                     page",
                    key("genesys_anchors")
                ));
            }
            if identity == IdentitySetting::Learn && region.certificate_name.is_none() {
                self.problem(format!(
                    "{} is missing: the vendor publishes no certificate name for {region_name}, and a name is never \
                     learned for Genesys; give [\"name\"] or \"any\"",
                    key("identity")
                ));
            }
        }
        let path = raw.path.clone().unwrap_or_else(|| LISTING_PATH.to_owned());
        self.show(&key("path"), &path);
        if !path.starts_with('/') || path.contains(['?', '#']) {
            self.problem(format!("{} must begin with / and have no query", key("path")));
        }
        // Every problem is reported at once, so nothing ends before all of it was read.
        let api = self.base_url(&key("api"), raw.api.as_deref().unwrap_or(&region.api()));
        let login = self.base_url(&key("login"), raw.login.as_deref().unwrap_or(&region.login()));
        let ca_file = self.path(&key("ca_file"), raw.ca_file.as_ref());
        let proxy = raw.proxy.as_ref().and_then(|proxy| self.proxy(&key("proxy"), proxy.0.expose()));
        Some(Source {
            name: name.to_owned(),
            region: region.aws.to_owned(),
            region_name: region.certificate_name.map(str::to_owned),
            client_id,
            client_secret,
            authorities,
            digicert_anchors,
            builtin_anchors,
            genesys_anchors,
            identity,
            api: api?,
            login: login?,
            path,
            ca_file,
            proxy,
        })
    }

    /// The credential wins, then the environment (the only place where the secret itself may stand), then the file.
    fn secret(&mut self, name: &str, raw: &RawSource) -> Option<SecretOrigin> {
        let key = format!("source.{name}.client_secret_file");
        let credential = format!("{name}-client-secret");
        let path = self.credentials.as_ref().map(|folder| folder.join(&credential)).filter(|path| path.exists());
        if path.is_some() {
            self.origins.set(key.clone(), format!("systemd credential {credential}"));
        }
        match (path, &raw.client_secret, &raw.client_secret_file) {
            (None, Some(secret), _) => {
                self.show(&format!("source.{name}.client_secret"), format_args!("[redacted]"));
                Some(SecretOrigin::Given(secret.0.clone()))
            }
            (None, None, None) if !self.with_secrets => Some(SecretOrigin::Given(Secret::new(String::new()))),
            (None, None, None) => {
                self.problem(format!(
                    "{key} is missing: a file that holds the OAuth client's secret, readable by its owner (and group) \
                     alone"
                ));
                None
            }
            (path, _, file) => {
                let path = path.or_else(|| Some(self.base.join(file.as_ref()?)))?;
                self.show(&key, &path);
                Some(SecretOrigin::File(path))
            }
        }
    }

    /// Whether anchors of the operator's stand beside the built-in ones or instead of them is never guessed: the wrong
    /// guess refuses what the vendor lists, or accepts what the operator meant to leave out.
    fn builtin_anchors(&mut self, name: &str, raw: &RawSource) -> bool {
        let key = |field: &str| format!("source.{name}.{field}");
        let named = raw.digicert_anchors.as_ref().is_some_and(|List(files)| !files.is_empty());
        match raw.builtin_anchors {
            None if raw.digicert_anchors.is_some() => self.problem(format!(
                "{} is missing: beside digicert_anchors, {}",
                key("builtin_anchors"),
                "write builtin_anchors = true (the built-in roots of DigiCert and these), or builtin_anchors = false \
                 (these alone, so that what chains to a built-in root is refused)"
            )),
            Some(false) if !named => self.problem(format!(
                "{} is false and {} names no file: nothing of DigiCert could be verified",
                key("builtin_anchors"),
                key("digicert_anchors")
            )),
            _ => {}
        }
        self.flag(&key("builtin_anchors"), raw.builtin_anchors, true)
    }

    fn identity(&mut self, key: &str, raw: Option<&List>) -> IdentitySetting {
        let names = raw.map_or_else(|| vec!["learn"], |List(names)| names.iter().map(String::as_str).collect());
        match names.as_slice() {
            [word @ ("learn" | "any")] => {
                self.show(key, word);
                if *word == "any" { IdentitySetting::Any } else { IdentitySetting::Learn }
            }
            [] => {
                self.problem(format!("{key} is empty: \"learn\", a list of names, or \"any\""));
                IdentitySetting::Learn
            }
            names => {
                let fits = |name: &str| {
                    name.len() <= 253 && name.chars().all(|each| each.is_ascii_alphanumeric() || "-._".contains(each))
                };
                for name in names.iter().filter(|name| !fits(name)) {
                    self.problem(format!("{key}: {name:?} is not a host name"));
                }
                let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
                self.show(key, names.iter().collect::<Vec<_>>());
                IdentitySetting::Names(names)
            }
        }
    }

    fn base_url(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.problem(format!("{key}: {text:?} is not a URL: {error}"));
                return None;
            }
        };
        match http_client::check_url(&url) {
            Ok(()) => self.show(key, url.as_str()),
            Err(error) => self.problem(format!("{key}: {error}")),
        }
        Some(url)
    }

    /// A proxy's URL may hold credentials: it is never quoted.
    fn proxy(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        match &url {
            Some(url) => self.show(key, http_client::shown(url)),
            None => self.problem(format!("{key} is not an http or https URL with a host")),
        }
        url
    }
}
