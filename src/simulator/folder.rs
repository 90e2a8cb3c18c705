//! The simulator's PKI as files, with a configuration that works at once: `trustsync sync --config FOLDER/trustsync.toml`.
//!
//! The folder is 0700 and holds private keys (0600). Each file is replaced by a rename, so that a reader sees the old or the new one
//! whole; a certificate and its key are two files, though, so that a reader may see the pair change one after the other.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::simulator::pem_form::PemForm;
use crate::simulator::pki::{ClientCertificate, PkiError};
use crate::simulator::vendor::Vendor;
use crate::simulator::world::{Impostor, World};

/// The first line of the configuration, by which the folder is known as ours.
const OURS: &str = "# Written by trustsync simulate; it is written anew at each change.";
const CONFIGURATION: &str = "trustsync.toml";

/// The folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A system call failed.
    #[error("the simulator's folder: cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something else lives there.
    #[error(
        "{path} is neither empty nor a folder that the simulator wrote; name another one, since its permissions would be changed",
        path = path.display()
    )]
    NotOurs {
        /// Where.
        path: PathBuf,
    },
    /// The path cannot stand in a configuration file.
    #[error("{path} is not UTF-8 and cannot stand in a configuration file; name another folder", path = path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

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
    pub fn create(path: &Path, vendor: &Vendor) -> Result<Self, FolderError> {
        let failed = |action| move |source| failure(action, path, source);
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let entries = fs::read_dir(path).map_err(failed("read"))?.take(1).count();
                if entries != 0 && !is_ours(path) {
                    return Err(FolderError::NotOurs { path: path.to_owned() });
                }
            }
            Err(source) => return Err(failure("create", path, source)),
        }
        let mode = Permissions::from_mode(0o700);
        fs::set_permissions(path, mode).map_err(failed("set the mode of"))?;
        let folder = Self {
            path: fs::canonicalize(path).map_err(failed("resolve"))?,
            world: vendor.world().clone(),
            api_url: vendor.api_url(),
            ca_pem: vendor.ca_pem().to_owned(),
        };
        folder.write()?;
        Ok(folder)
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration in it.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.path.join(CONFIGURATION)
    }

    /// Writes everything as it is now in the vendor's world.
    pub fn write(&self) -> Result<(), FolderError> {
        let world = &self.world;
        // First, so that a run that was cut short left a folder known as ours.
        self.replace(CONFIGURATION, &self.configuration_text()?, 0o600)?;
        self.replace("client-secret", world.client_secret(), 0o600)?;
        self.replace("api-ca.pem", &self.ca_pem, 0o644)?;
        for (name, der) in [
            ("digicert-root.pem", world.digicert_root_der()),
            ("digicert-intermediate.pem", world.digicert_intermediate_der()),
            ("genesys-root.pem", world.genesys_root_der()),
            ("other-root.pem", world.other_root_der()),
        ] {
            self.replace(name, &PemForm::Canonical.text(&[der]), 0o644)?;
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

    fn pair(&self, name: &str, certificate: &ClientCertificate) -> Result<(), FolderError> {
        let chain = PemForm::Canonical.text(&certificate.presented());
        self.replace(&format!("{name}.pem"), &chain, 0o644)?;
        self.replace(&format!("{name}.key"), &certificate.key_pem(), 0o600)
    }

    fn configuration_text(&self) -> Result<String, FolderError> {
        let quoted = |name: &str| {
            let path = self.path.join(name);
            match path.to_str() {
                // A JSON string is a TOML basic string.
                Some(text) => Ok(serde_json::Value::from(text).to_string()),
                None => Err(FolderError::NotText { path }),
            }
        };
        let options = self.world.options();
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let api = text(&self.api_url);
        Ok(format!(
            r#"{OURS}
[source.simulator]
region = {region}
client_id = {client_id}
client_secret_file = {secret}
authorities = ["DigiCert"]
digicert_anchors = [{digicert}]
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
            client_id = text(&options.client_id),
            secret = quoted("client-secret")?,
            digicert = quoted("digicert-root.pem")?,
            genesys = quoted("genesys-root.pem")?,
            name = text(&options.certificate_name),
            ca = quoted("api-ca.pem")?,
            store = quoted("store")?,
        ))
    }

    fn replace(&self, name: &str, text: &str, mode: u32) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let fresh = self.path.join(format!(".{name}.new"));
        let failed = |action| {
            let path = path.clone();
            move |source| failure(action, &path, source)
        };
        // What a run that was killed left behind.
        self.remove(&format!(".{name}.new"))?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(failed("create"))?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
        file.write_all(text.as_bytes()).map_err(failed("write"))?;
        fs::rename(&fresh, &path).map_err(failed("replace"))
    }

    fn remove(&self, name: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

fn is_ours(path: &Path) -> bool {
    fs::read_to_string(path.join(CONFIGURATION)).is_ok_and(|text| text.starts_with(OURS))
}

fn failure(action: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::Io { action, path: path.to_owned(), source }
}
