//! The simulator's PKI as files, with a configuration that works at once: `trustsync sync --config
//! FOLDER/trustsync.toml`.
//!
//! The folder is 0700 and holds private keys (0600). Each file is replaced by a rename: a reader sees the old or the
//! new one whole. A certificate and its key are two files, though, which change one after the other.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::simulator::error::SimulatorError;
use crate::simulator::pem_form::PemForm;
use crate::simulator::pki::ClientCertificate;
use crate::simulator::vendor::Vendor;
use crate::simulator::world::{CLIENT_ID, Impostor, World};

/// The first line of the configuration, by which the folder is known as ours.
const OURS: &str = "# Written by trustsync simulate; it is written anew at each change.";
const CONFIGURATION: &str = "trustsync.toml";

/// The folder of a running simulator.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    world: World,
    api_url: String,
    ca_pem: String,
}

impl Folder {
    /// Makes the folder (or takes over an empty one, or one of an earlier run) and writes everything.
    pub fn create(path: &Path, vendor: &Vendor) -> Result<Self, SimulatorError> {
        let failed = |action| move |source| failure(action, path, source);
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failure("create", path, error)),
            _ => {}
        }
        let is_empty = fs::read_dir(path).map_err(failed("read"))?.next().is_none();
        let configuration = fs::read_to_string(path.join(CONFIGURATION));
        if !is_empty && !configuration.is_ok_and(|text| text.starts_with(OURS)) {
            return Err(SimulatorError::NotOurs(path.to_owned()));
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("set the mode of"))?;
        let folder = Self {
            path: fs::canonicalize(path).map_err(failed("resolve"))?,
            world: vendor.world().clone(),
            api_url: vendor.api_url(),
            ca_pem: vendor.ca_pem().to_owned(),
        };
        folder.write()?;
        Ok(folder)
    }

    /// The folder's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of its `trustsync.toml`.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.path.join(CONFIGURATION)
    }

    /// Writes everything as it is now in the vendor's world.
    pub fn write(&self) -> Result<(), SimulatorError> {
        let world = &self.world;
        // First: by it a folder is known as ours, even if this run is cut short.
        self.replace(CONFIGURATION, &self.configuration_text()?, 0o600)?;
        self.replace("client-secret", world.client_secret(), 0o600)?;
        self.replace("api-ca.pem", &self.ca_pem, 0o644)?;
        let pki = world.pki();
        for (name, authority) in [
            ("digicert-root.pem", &pki.digicert_root),
            ("digicert-intermediate.pem", &pki.digicert_intermediate),
            ("genesys-root.pem", &pki.genesys_root),
            ("other-root.pem", &pki.other_root),
        ] {
            self.replace(name, &authority.pem(), 0o644)?;
        }
        self.pair("current", &world.current()?)?;
        self.pair("genesys", &world.genesys()?)?;
        for who in Impostor::ALL {
            self.pair(who.name(), &world.impostor(who)?)?;
        }
        match world.upcoming()? {
            Some(upcoming) => self.pair("upcoming", &upcoming),
            None => {
                self.remove("upcoming.pem")?;
                self.remove("upcoming.key")
            }
        }
    }

    fn pair(&self, name: &str, certificate: &ClientCertificate) -> Result<(), SimulatorError> {
        let chain = PemForm::Canonical.text(&certificate.presented());
        self.replace(&format!("{name}.pem"), &chain, 0o644)?;
        self.replace(&format!("{name}.key"), &certificate.key_pem(), 0o600)
    }

    fn configuration_text(&self) -> Result<String, SimulatorError> {
        // A JSON string is a TOML basic string.
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let quoted = |name: &str| {
            let path = self.path.join(name);
            path.to_str().map(text).ok_or_else(|| SimulatorError::NotText(path.clone()))
        };
        let options = self.world.options();
        let api = text(&self.api_url);
        Ok(format!(
            r#"{OURS}
[source.simulator]
region = {region}
client_id = {client_id}
client_secret_file = {secret}
authorities = ["DigiCert"]
digicert_anchors = [{digicert}]
builtin_anchors = false
# With authorities = ["DigiCert", "Genesys"]:
# genesys_anchors = [{genesys}]
identity = [{name}]
api = {api}
login = {api}
ca_file = {ca}

# The simulated CAs' lists lie on this machine.
[crl]
policy = "soft"
allow_private = true

[store.main]
path = {store}
"#,
            region = text(&options.region),
            client_id = text(CLIENT_ID),
            secret = quoted("client-secret")?,
            digicert = quoted("digicert-root.pem")?,
            genesys = quoted("genesys-root.pem")?,
            name = text(&options.certificate_name),
            ca = quoted("api-ca.pem")?,
            store = quoted("store")?,
        ))
    }

    fn replace(&self, name: &str, text: &str, mode: u32) -> Result<(), SimulatorError> {
        let path = self.path.join(name);
        let fresh = format!(".{name}.new");
        // What a run that was killed left behind.
        self.remove(&fresh)?;
        let fresh = self.path.join(fresh);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|source| failure("replace", &path, source))
    }

    fn remove(&self, name: &str) -> Result<(), SimulatorError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

fn failure(action: &'static str, path: &Path, source: io::Error) -> SimulatorError {
    SimulatorError::File { action, path: path.to_owned(), source }
}
