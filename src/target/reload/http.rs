//! A reload by `POST` to a URL: 2xx is success. Without TLS only to this machine; redirects are never followed.

use std::sync::Arc;

use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::http_client::is_loopback;
use crate::target::process::printable;
use crate::target::reload::{HTTP_LIMIT, ReloadError, Told};

/// How much of a refusal's body is quoted.
const BODY_QUOTED: usize = 512;

pub(super) async fn post(url: &Url) -> Result<Told, ReloadError> {
    let shown = without_secrets(url);
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)) {
        return Err(ReloadError::NotLoopback { url: shown });
    }
    let no_answer = |reason: String| ReloadError::NoAnswer { url: shown.clone(), reason };
    let client = client(url).map_err(no_answer)?;
    let mut response =
        client.post(url.clone()).send().await.map_err(|error| no_answer(with_causes(error.without_url())))?;
    let status = response.status();
    if status.is_success() {
        return Ok(Told::Answered { status: status.as_u16() });
    }
    let mut body = Vec::new();
    while body.len() < BODY_QUOTED {
        let Ok(Some(chunk)) = response.chunk().await else {
            break;
        };
        body.extend_from_slice(&chunk);
    }
    body.truncate(BODY_QUOTED);
    Err(ReloadError::Refused { url: shown, status: status.as_u16(), body: printable(&body) })
}

fn client(url: &Url) -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore::empty();
    if url.scheme() == "https" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(HTTP_LIMIT)
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())
}

/// The URL as it may be shown: a user, a password or a query may hold a secret.
fn without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}

fn with_causes(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
