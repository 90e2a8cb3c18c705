//! The yardstick for `trustsync sync`: the least that a program on the same libraries can do, which is to take a token,
//! fetch the two listings over TLS and parse them. No retries, no limits, no verification, no store.
//!
//!     bare_client API CA_FILE CLIENT_ID SECRET_FILE
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [api, ca_file, client_id, secret_file] = &arguments[..] else {
        panic!("bare_client API CA_FILE CLIENT_ID SECRET_FILE")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fetch(api, ca_file, client_id, std::fs::read_to_string(secret_file).unwrap().trim()));
}

async fn fetch(api: &str, ca_file: &str, client_id: &str, secret: &str) {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_file_iter(ca_file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let token = http
        .post(format!("{api}/oauth/token"))
        .basic_auth(client_id, Some(secret))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    let token: Value = serde_json::from_slice(&token.bytes().await.unwrap()).unwrap();
    for query in ["", "?status=Upcoming"] {
        let url = format!("{api}/api/v2/integrations/actions/certificates{query}");
        let listing = http.get(url).bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
        let listing: Value = serde_json::from_slice(&listing.bytes().await.unwrap()).unwrap();
        assert!(listing["entities"].is_array());
    }
}
