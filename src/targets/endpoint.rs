//! Where a server is asked over HTTP: a URL, or a Unix socket with a path.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::http_client::is_loopback;

/// Before a Unix socket's path.
const UNIX: &str = "unix:";

/// See the head of this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://127.0.0.1:8080/-/reload`.
    Url(Url),
    /// `unix:/run/app.sock:/-/reload`.
    Unix {
        /// Absolute.
        socket: PathBuf,
        /// The path of the request, with its query.
        path: String,
    },
}

impl Endpoint {
    /// Reads either form; if it is neither, what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(UNIX) else {
            return match Url::parse(text) {
                Ok(url) if url.scheme() == "http" && !is_loopback(&url) => {
                    let endpoint = Self::Url(url);
                    Err(format!("({endpoint}) must be on this machine, or https: else anyone in between could answer"))
                }
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(Self::Url(url)),
                Ok(_) => Err("is neither an http or https URL with a host nor unix:SOCKET:PATH".to_owned()),
                Err(error) => Err(format!("is not a URL: {error}")),
            };
        };
        let (socket, path) =
            rest.split_once(":/").map_or((rest, String::new()), |(socket, path)| (socket, path.into()));
        let path = format!("/{path}");
        if !socket.starts_with('/') {
            return Err("does not name the absolute path of a socket: unix:/run/app.sock:/-/reload".to_owned());
        }
        if !path.chars().all(|each| each.is_ascii_graphic()) {
            return Err("has a path with spaces or other than ASCII".to_owned());
        }
        Ok(Self::Unix { socket: socket.into(), path })
    }
}

/// As it may be shown: a user, a password or a query may hold a secret.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => {
                let mut shown = url.clone();
                shown.set_query(None);
                shown.set_fragment(None);
                let _ = shown.set_username("");
                let _ = shown.set_password(None);
                write!(f, "{shown}")
            }
            Self::Unix { socket, path } => {
                let path = path.split(['?', '#']).next().unwrap_or_default();
                write!(f, "{UNIX}{}:{path}", socket.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_forms_are_read_and_neither_shows_its_secrets() {
        let unix = Endpoint::parse("unix:/run/app.sock:/-/reload?token=hunter2").unwrap();
        assert_eq!(unix, Endpoint::Unix { socket: "/run/app.sock".into(), path: "/-/reload?token=hunter2".into() });
        assert_eq!(unix.to_string(), "unix:/run/app.sock:/-/reload");
        assert_eq!(Endpoint::parse("unix:/run/app.sock").unwrap().to_string(), "unix:/run/app.sock:/");
        let url = Endpoint::parse("http://user:hunter2@127.0.0.1:8080/x?y=hunter2").unwrap();
        assert_eq!(url.to_string(), "http://127.0.0.1:8080/x");
        for wrong in ["unix:run/app.sock:/x", "unix:", "unix:/run/app.sock:/a b", "ftp://127.0.0.1/", "127.0.0.1:80"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
