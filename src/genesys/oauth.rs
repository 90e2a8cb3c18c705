//! The client secret, and the token that it buys.
//!
//! `POST https://login.<domain>/oauth/token` with HTTP Basic and `grant_type=client_credentials` (RFC 6749, section 4.4;
//! the vendor's page "Grant - Client Credentials"). A token is reused until shortly before it ends.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::genesys::error::{FetchError, FetchFailure};
use crate::genesys::exchange::{Answer, Exchange};
use crate::genesys::listing::{Loose, json_trouble};
use crate::settings::resolved::{Secret, SecretOrigin};
use crate::trust::timestamp::Timestamp;

/// The client secret cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the client secret file {} cannot be read: {reason}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Everybody may read it.
    #[error("the client secret file {} is readable by everyone (mode {mode:04o}), so it is no secret and was not used: chmod o-r, and consider a new secret", .path.display())]
    WorldReadable {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Nothing in it, or something that cannot be a secret.
    #[error("the client secret {origin} is not usable: {reason}")]
    Unusable {
        /// From where.
        origin: String,
        /// Why.
        reason: &'static str,
    },
}

/// No secret has more.
const SECRET_BYTES: u64 = 64 * 1024;

/// Reads the secret from where it is, so that a renewed file is seen. Of a symlink the target is judged.
pub fn read_secret(origin: &SecretOrigin) -> Result<Secret, SecretError> {
    let (text, shown) = match origin {
        SecretOrigin::Given(secret) => (secret.expose().to_owned(), "from the environment".to_owned()),
        SecretOrigin::File(path) => {
            let shown = format!("file {}", path.display());
            let unreadable = |reason: String| SecretError::Unreadable { path: path.clone(), reason };
            // Asked by path first: to open a pipe would wait for its other end.
            if !std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.is_file() {
                return Err(unreadable("it is no regular file".into()));
            }
            let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
            let mode = file.metadata().map_err(|error| unreadable(error.to_string()))?.mode() & 0o7777;
            if mode & 0o004 != 0 {
                return Err(SecretError::WorldReadable { path: path.clone(), mode });
            }
            let mut bytes = Vec::new();
            file.take(SECRET_BYTES.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|error| unreadable(error.to_string()))?;
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SECRET_BYTES {
                return Err(SecretError::Unusable { origin: shown, reason: "it has more than 64 KiB" });
            }
            let text = String::from_utf8(bytes)
                .map_err(|_| SecretError::Unusable { origin: shown.clone(), reason: "it is no UTF-8 text" })?;
            let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
            (text.to_owned(), shown)
        }
    };
    let unusable = |reason| Err(SecretError::Unusable { origin: shown, reason });
    if text.is_empty() {
        unusable("it is empty")
    } else if text.chars().any(char::is_control) {
        unusable("it has more than one line, or control characters")
    } else {
        Ok(Secret::new(text))
    }
}

/// The value of the Basic header's credentials.
pub(super) fn basic(client_id: &str, secret: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{client_id}:{}", secret.expose())))
}

/// A token and its time.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token itself.
    pub text: Secret,
    /// When it was asked for.
    pub since: Timestamp,
    /// For how long it is given.
    pub life: Duration,
}

/// The last token, as long as it may be reused.
#[derive(Debug, Clone, Default)]
pub struct TokenCache(Option<Token>);

impl TokenCache {
    /// The token, if it lasts from `now` for a while: its last minute, or last tenth if that is shorter, is not begun. A
    /// clock that went back makes its age unknown, so it is not reused.
    #[must_use]
    pub fn usable(&self, now: Timestamp) -> Option<&Token> {
        let token = self.0.as_ref()?;
        let margin = Duration::from_secs(60).min(token.life / 10);
        let age = now.since(token.since);
        (now >= token.since && age < token.life.saturating_sub(margin)).then_some(token)
    }

    /// Keeps `token`.
    pub fn keep(&mut self, token: Token) {
        self.0 = Some(token);
    }

    /// Forgets it: the API refused it.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// The answer of the login service. Everything else in it is ignored, and none of it is ever shown.
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    #[serde(default)]
    token_type: Loose,
    #[serde(default)]
    expires_in: Loose,
}

/// The vendor's longest token life.
const LONGEST_LIFE: Duration = Duration::from_secs(48 * 3_600);
const TOKEN_BYTES: usize = 64 * 1024;

/// Asks the login service for a token, once.
pub(super) async fn ask_token(
    exchange: &Exchange<'_>,
    url: &Url,
    client_id: &str,
    basic: &Secret,
    ends: Instant,
) -> Result<Token, FetchError> {
    let name = format!("POST {url}");
    let request = exchange
        .http
        .post(url.clone())
        .header(AUTHORIZATION, authorization("Basic", basic).map_err(|why| FetchError::new(name.clone(), why))?)
        .header(ACCEPT, "application/json")
        .form(&[("grant_type", "client_credentials")]);
    let answer = exchange.ask(request, &name, url, (0, TOKEN_BYTES), ends).await?;
    if answer.status != reqwest::StatusCode::OK {
        return Err(exchange.refusal(&answer, &name, |said| {
            let invalid_client = said.code.as_deref() == Some("invalid_client");
            let client_id = exchange.scrub.clean(client_id);
            match said.status {
                400 if invalid_client => Some(FetchFailure::UnknownClient { client_id, said }),
                // A page for people comes from something in between, which knows of no secret.
                401 if !said.html => Some(FetchFailure::WrongSecret { client_id, said }),
                _ => None,
            }
        }));
    }
    grant(&answer, exchange.now)
        .map_err(|failure| FetchError::new(name, failure).with_correlation(answer.correlation(exchange.scrub)))
}

fn grant(answer: &Answer, now: Timestamp) -> Result<Token, FetchFailure> {
    if answer.is_html() {
        return Err(FetchFailure::Html);
    }
    let granted: Granted =
        serde_json::from_slice(&answer.body).map_err(|error| FetchFailure::NotJson(json_trouble(&error)))?;
    let text = granted.access_token.unwrap_or_default();
    if text.is_empty() {
        return Err(FetchFailure::NoToken("access_token is missing"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(FetchFailure::NoToken("access_token has characters that no token has"));
    }
    if matches!(&granted.token_type, Loose::Text(kind) if !kind.eq_ignore_ascii_case("bearer")) {
        return Err(FetchFailure::NoToken("its token_type is not bearer"));
    }
    // Without a life it serves this once.
    let life = granted.expires_in.number().map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_LIFE);
    Ok(Token { text: Secret::new(text), since: now, life })
}

/// An Authorization header that no library shows.
pub(super) fn authorization(scheme: &str, credentials: &Secret) -> Result<HeaderValue, FetchFailure> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", credentials.expose()))
        .map_err(|_| FetchFailure::NoToken("it cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_read_strictly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |content: &[u8], mode: u32| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let origin = SecretOrigin::File(link);
        for (content, secret) in
            [(&b"0123"[..], "0123"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), (b" sp ace ", " sp ace ")]
        {
            write(content, 0o640);
            assert_eq!(read_secret(&origin).unwrap().expose(), secret);
        }
        let big = vec![b'x'; 65_537];
        for content in [&b""[..], b"\n", b"hunter2\n\n", b"hunter2\0", b"hunter2\xff", &big] {
            write(content, 0o600);
            let refused = read_secret(&origin).unwrap_err();
            assert!(matches!(refused, SecretError::Unusable { .. }), "{refused}");
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
        write(b"hunter2", 0o644);
        let refused = read_secret(&origin).unwrap_err();
        assert!(refused.to_string().contains("0644"), "{refused}");
        let folder_itself = SecretOrigin::File(folder.path().to_owned());
        assert!(read_secret(&folder_itself).unwrap_err().to_string().contains("no regular file"));
        let missing = read_secret(&SecretOrigin::File(folder.path().join("none"))).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
        assert!(read_secret(&SecretOrigin::Given(Secret::new(String::new()))).is_err());
    }

    #[test]
    fn a_token_is_reused_until_shortly_before_its_end() {
        let since = Timestamp::from_unix(1_000_000);
        let mut cache = TokenCache::default();
        assert!(cache.usable(since).is_none());
        cache.keep(Token { text: Secret::new("t".into()), since, life: Duration::from_secs(300) });
        let after = |seconds| since.plus(Duration::from_secs(seconds));
        assert!(cache.usable(since).is_some());
        assert!(cache.usable(after(269)).is_some());
        assert!(cache.usable(after(270)).is_none());
        assert!(cache.usable(since.minus(Duration::from_secs(1))).is_none(), "the clock went back");
        cache.keep(Token { text: Secret::new("t".into()), since, life: Duration::from_secs(86_400) });
        assert!(cache.usable(after(86_339)).is_some());
        assert!(cache.usable(after(86_340)).is_none());
        cache.forget();
        assert!(cache.usable(since).is_none());
    }
}
