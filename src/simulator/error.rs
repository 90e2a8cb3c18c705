//! Why a part of the simulator could not start, or write its files.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::simulator::pki::PkiError;

/// The simulated vendor, its control endpoint, its folder or the embedded server failed.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// rustls refused a service's own certificate.
    #[error("{service} cannot serve TLS: {source}; check the names given for its certificate")]
    Tls {
        /// Such as "the simulated vendor".
        service: &'static str,
        /// rustls's reason.
        source: rustls::Error,
    },
    /// A service cannot use its address.
    #[error("{service} cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// Such as "the simulated vendor".
        service: &'static str,
        /// As configured; port 0 stands for any.
        address: SocketAddr,
        /// The kernel's reason, or that the address is not a loopback one.
        source: io::Error,
    },
    /// The embedded server found trust that it cannot load.
    #[error("the embedded server does not start on trust that it cannot load: {0}")]
    Load(String),
    /// A system call on one of the folder's files failed.
    #[error("the simulator's folder: cannot {action} {path}: {source}", path = path.display())]
    File {
        /// A verb, such as "replace".
        action: &'static str,
        /// The folder, or a file in it.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Something else lives in the folder.
    #[error(
        "{path} holds files that are not the simulator's, and its permissions would be changed; name another folder",
        path = .0.display()
    )]
    NotOurs(PathBuf),
    /// A path that is not UTF-8 cannot stand in a configuration file.
    #[error("{path} is not UTF-8 and cannot stand in a configuration file; name another folder", path = .0.display())]
    NotText(PathBuf),
}
