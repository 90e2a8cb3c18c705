//! The simulator family: the simulated vendor, its control endpoint, its PKI and the embedded TLS server, each through its public door.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use reqwest::{Client, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use trustsync::clock::{Clock, SimulatedClock, SystemClock};
use trustsync::simulator::control::{Control, OffsetClock};
use trustsync::simulator::crls::{CrlMode, CrlPlace, Revoke};
use trustsync::simulator::error::SimulatorError;
use trustsync::simulator::failure::{Endpoint, Failure, Mode};
use trustsync::simulator::folder::Folder;
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::{ClientCertificate, DAY, LeafRequest, Validity, self_signed};
use trustsync::simulator::present::{Admission, Refusal, present, present_by};
use trustsync::simulator::tls_server::TlsServer;
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::{Impostor, LISTING_PATH, TOKEN_PATH, VendorOptions};
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::timestamp::Timestamp;

const START: &str = "2027-03-01T12:00:00Z";

fn client(ca_pem: &str) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

struct Stage {
    vendor: Vendor,
    clock: SimulatedClock,
    client: Client,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut VendorOptions)) -> Self {
        let clock = SimulatedClock::at(START.parse().unwrap());
        let mut options = VendorOptions::new(Arc::new(clock.clone()));
        change(&mut options);
        let vendor = Vendor::start(options).await.unwrap();
        let client = client(vendor.ca_pem());
        Self { vendor, clock, client }
    }

    fn later(&self, days: u32) {
        self.clock.set(self.clock.now().plus(DAY.saturating_mul(days)));
    }

    async fn token_as(&self, id: &str, secret: &str) -> Response {
        let url = format!("{}{TOKEN_PATH}", self.vendor.api_url());
        self.client
            .post(url)
            .basic_auth(id, Some(secret))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await
            .unwrap()
    }

    async fn token(&self) -> String {
        let answer = self.token_as(self.vendor.client_id(), self.vendor.client_secret()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        json(answer).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, token: &str, query: &str) -> reqwest::Result<Response> {
        let url = format!("{}{LISTING_PATH}{query}", self.vendor.api_url());
        self.client.get(url).bearer_auth(token).send().await
    }

    async fn listed(&self, query: &str) -> Value {
        let token = self.token().await;
        let answer = self.ask(&token, query).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        json(answer).await
    }

    /// (authority, status, fingerprint of the first certificate) of each entity.
    async fn summary(&self, query: &str) -> Vec<(String, String, Fingerprint)> {
        let listing = self.listed(query).await;
        let entities = listing["entities"].as_array().unwrap();
        let entities = entities.iter().map(|entity| {
            assert_eq!(entity["type"], "Client");
            (
                entity["signingAuthority"].as_str().unwrap().to_owned(),
                entity["status"].as_str().unwrap().to_owned(),
                Fingerprint::of(&tolerantly(entity["certificate"].as_str().unwrap())[0]),
            )
        });
        entities.collect()
    }

    fn print_of_current(&self) -> Fingerprint {
        Fingerprint::of(self.vendor.world().current().unwrap().der())
    }

    fn fail(&self, failure: Failure, endpoint: Endpoint, count: Option<u64>) {
        self.vendor.world().fail(failure, endpoint, count);
    }
}

async fn json(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// The vendor's odd PEM, read by a reader that minds no white space.
fn tolerantly(text: &str) -> Vec<Vec<u8>> {
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| {
            let base64 = block.split("-----END").next().unwrap();
            let base64: String = base64.chars().filter(|one| !one.is_ascii_whitespace()).collect();
            base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
        })
        .collect()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

// The token.

#[tokio::test]
async fn the_token_endpoint_tells_an_unknown_client_from_a_wrong_secret() {
    let stage = Stage::new().await;
    let id = stage.vendor.client_id().to_owned();
    let secret = stage.vendor.client_secret().to_owned();
    let unknown = stage.token_as("nobody", &secret).await;
    assert_eq!(unknown.status(), 400);
    assert_eq!(json(unknown).await["error"], "invalid_client");
    let wrong = stage.token_as(&id, "guess").await;
    assert_eq!(wrong.status(), 401);
    assert_eq!(json(wrong).await["error"], "invalid_client");
    let good = stage.token_as(&id, &secret).await;
    assert_eq!(good.status(), 200);
    let good = json(good).await;
    assert_eq!(good["token_type"], "bearer");
    assert_eq!(good["expires_in"], 86_400);
    let without_grant = stage
        .client
        .post(format!("{}{TOKEN_PATH}", stage.vendor.api_url()))
        .basic_auth(&id, Some(&secret))
        .send()
        .await
        .unwrap();
    assert_eq!(without_grant.status(), 400);
    assert_eq!(json(without_grant).await["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn tokens_expire_by_the_clock_and_can_be_revoked() {
    let stage = Stage::with(|options| options.token_lifetime = Duration::from_secs(300)).await;
    let token = stage.token().await;
    assert_eq!(stage.ask(&token, "").await.unwrap().status(), 200);
    stage.clock.set(stage.clock.now().plus(Duration::from_secs(299)));
    assert_eq!(stage.ask(&token, "").await.unwrap().status(), 200);
    stage.clock.set(stage.clock.now().plus(Duration::from_secs(1)));
    let expired = stage.ask(&token, "").await.unwrap();
    assert_eq!(expired.status(), 401);
    assert_eq!(json(expired).await["code"], "credentials.expired");
    let token = stage.token().await;
    stage.vendor.world().revoke_tokens();
    let revoked = stage.ask(&token, "").await.unwrap();
    assert_eq!(revoked.status(), 401);
    let body = json(revoked).await;
    assert_eq!(body["code"], "bad.credentials");
    for field in ["message", "code", "status", "messageParams", "contextId", "details", "errors"] {
        assert!(body.get(field).is_some(), "{field}");
    }
    let none = stage.client.get(format!("{}{LISTING_PATH}", stage.vendor.api_url())).send().await.unwrap();
    assert_eq!(none.status(), 401);
    assert_eq!(json(none).await["code"], "authentication.required");
}

// The listing.

#[tokio::test]
async fn each_answer_carries_date_correlation_id_and_rate_limit() {
    let stage = Stage::new().await;
    let token = stage.token().await;
    let answer = stage.ask(&token, "").await.unwrap();
    assert_eq!(header(&answer, "date"), "Mon, 01 Mar 2027 12:00:00 GMT");
    assert_eq!(header(&answer, "inin-correlation-id").len(), 36);
    assert_eq!(header(&answer, "inin-ratelimit-count"), "1");
    assert_eq!(header(&answer, "inin-ratelimit-allowed"), "300");
    assert!(header(&answer, "inin-ratelimit-reset").parse::<u64>().unwrap() <= 60);
    assert_eq!(header(&answer, "content-type"), "application/json");
    let missing = stage.client.get(format!("{}/nowhere", stage.vendor.api_url())).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(header(&missing, "inin-correlation-id").len(), 36);
    assert_eq!(header(&missing, "date"), "Mon, 01 Mar 2027 12:00:00 GMT");
}

#[tokio::test]
async fn the_three_hundred_and_first_listing_of_a_minute_is_refused() {
    let stage = Stage::new().await;
    let token = stage.token().await;
    for _ in 0..300 {
        assert_eq!(stage.ask(&token, "").await.unwrap().status(), 200);
    }
    let answer = stage.ask(&token, "").await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(header(&answer, "retry-after").parse::<u64>().unwrap() <= 61);
    assert_eq!(header(&answer, "inin-ratelimit-count"), "301");
    assert_eq!(json(answer).await["code"], "too.many.requests");
    let world = stage.vendor.world();
    assert_eq!(world.request_counts().listing, 301);
    assert_eq!(world.request_counts().token, 1);
    let last = world.requests().pop().unwrap();
    assert_eq!(last.endpoint, Some(Endpoint::Listing));
    assert_eq!((last.method.as_str(), last.path.as_str()), ("GET", LISTING_PATH));
    assert!(last.authorization);
    assert_eq!(last.status, Some(429));
}

#[tokio::test]
async fn pages_link_to_each_other_and_keep_the_filter() {
    let stage = Stage::with(|options| options.days_left = Some(60)).await;
    let whole = stage.listed("").await;
    assert_eq!(whole["total"], 3);
    assert_eq!(whole["pageCount"], 1);
    assert_eq!(whole["pageSize"], 25);
    assert_eq!(whole["entities"].as_array().unwrap().len(), 3);
    assert!(whole.get("nextUri").is_none() && whole.get("previousUri").is_none());
    let first = stage.listed("?pageSize=1&type=Client").await;
    assert_eq!(first["pageCount"], 3);
    assert_eq!(first["nextUri"], format!("{LISTING_PATH}?pageSize=1&pageNumber=2&type=Client"));
    let next = first["nextUri"].as_str().unwrap();
    let second = stage.listed(next.strip_prefix(LISTING_PATH).unwrap()).await;
    assert_eq!(second["pageNumber"], 2);
    assert_eq!(second["entities"].as_array().unwrap().len(), 1);
    assert_eq!(second["entities"][0]["status"], "Upcoming");
    assert_eq!(second["previousUri"], format!("{LISTING_PATH}?pageSize=1&pageNumber=1&type=Client"));
    let third = stage.listed("?pageSize=1&pageNumber=3&type=Client").await;
    assert!(third.get("nextUri").is_none());
    assert_eq!(third["entities"][0]["signingAuthority"], "Genesys");
    let token = stage.token().await;
    for wrong in ["?pageSize=0", "?pageNumber=x", "?status=Gone", "?type=Server"] {
        assert_eq!(stage.ask(&token, wrong).await.unwrap().status(), 400);
    }
    let absolute = Stage::with(|options| options.absolute_uris = true).await;
    let uri = absolute.listed("?pageSize=1").await;
    let uri = uri["nextUri"].as_str().unwrap();
    assert!(uri.starts_with(&absolute.vendor.api_url()), "{uri}");
}

#[tokio::test]
async fn one_mode_lists_only_current_unless_upcoming_is_asked_for() {
    let stage = Stage::with(|options| options.days_left = Some(60)).await;
    let statuses = async |query| {
        let listed = stage.summary(query).await;
        listed.into_iter().map(|(_, status, _)| status).collect::<Vec<_>>()
    };
    assert_eq!(statuses("").await, ["Current", "Upcoming", "Current"]);
    stage.vendor.world().set_mode(Mode::CurrentOnlyUnlessAsked);
    assert_eq!(statuses("").await, ["Current", "Current"]);
    assert_eq!(statuses("?status=Upcoming").await, ["Upcoming"]);
    assert_eq!(statuses("?status=Current").await, ["Current", "Current"]);
}

#[tokio::test]
async fn certificates_come_in_the_odd_form_of_the_vendors_page_or_another() {
    let stage = Stage::new().await;
    let text = async || {
        let listing = stage.listed("").await;
        listing["entities"][0]["certificate"].as_str().unwrap().to_owned()
    };
    let odd = text().await;
    assert!(odd.starts_with("-----BEGIN CERTIFICATE----- \r\n"));
    assert!(odd.contains("-----END CERTIFICATE-----\r\n -----BEGIN CERTIFICATE----- \r\n"));
    let spaced = odd.lines().nth(2).unwrap();
    assert!(spaced.contains(' ') && spaced.trim_end().len() == 65);
    let world = stage.vendor.world();
    let expected = world.current().unwrap().with_issuers();
    assert_eq!(expected.len(), 3);
    assert_eq!(tolerantly(&odd), expected);
    for form in PemForm::ALL {
        world.set_pem(form);
        let mut read = tolerantly(&text().await);
        if form == PemForm::RootFirst {
            read.reverse();
        }
        assert_eq!(read, expected, "{form}");
    }
    world.set_pem(PemForm::Canonical);
    let canonical = text().await;
    let read = CertificateDer::pem_slice_iter(canonical.as_bytes()).collect::<Vec<_>>();
    assert_eq!(read.len(), 3);
    assert!(canonical.lines().all(|line| line.len() <= 64));
}

// The world and its clock.

#[tokio::test]
async fn the_upcoming_appears_with_the_window_and_becomes_current_when_the_old_one_ends() {
    let stage = Stage::with(|options| options.days_left = Some(100)).await;
    let old = stage.print_of_current();
    let digicert = async || {
        let mut listed = stage.summary("").await;
        listed.retain(|(authority, _, _)| authority == "DigiCert");
        listed.into_iter().map(|(_, status, print)| (status, print)).collect::<Vec<_>>()
    };
    assert_eq!(digicert().await, [("Current".to_owned(), old)]);
    stage.later(10);
    assert_eq!(digicert().await.len(), 1, "90 days left are not less than 90");
    stage.clock.set(stage.clock.now().plus(Duration::from_secs(1)));
    let listed = digicert().await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], ("Current".to_owned(), old));
    let (status, new) = listed[1].clone();
    assert_eq!(status, "Upcoming");
    let upcoming = stage.vendor.world().upcoming().unwrap().unwrap();
    let opened = START.parse::<Timestamp>().unwrap().plus(DAY.saturating_mul(10));
    assert_eq!(upcoming.validity(), Validity::of(opened, DAY.saturating_mul(397)));
    stage.later(89);
    assert_eq!(digicert().await.len(), 2);
    stage.later(1);
    assert_eq!(digicert().await, [("Current".to_owned(), new)]);
}

#[tokio::test]
async fn a_rotation_can_be_told_scheduled_or_not() {
    let stage = Stage::with(|options| {
        options.days_left = Some(60);
        options.rotate_at_days_left = None;
    })
    .await;
    let world = stage.vendor.world();
    let upcoming = world.upcoming().unwrap().unwrap();
    world.rotate().unwrap();
    assert_eq!(world.current().unwrap(), upcoming);
    assert_eq!(world.upcoming().unwrap(), None);
    world.rotate().unwrap();
    assert_ne!(world.current().unwrap(), upcoming);
    world.set_days_left(30).unwrap();
    let current = world.current().unwrap();
    assert_eq!(world.now().days_until(current.validity().not_after), 30);
    assert!(world.upcoming().unwrap().is_some());
    world.set_days_left(200).unwrap();
    assert_eq!(world.upcoming().unwrap(), None);
    // One that is announced before the window, and ends before Current.
    world.set_upcoming_days_left(150).unwrap();
    let early = world.upcoming().unwrap().unwrap();
    assert_eq!(world.now().days_until(early.validity().not_after), 150);
    assert_ne!(world.current().unwrap(), early);
    world.rotate().unwrap();
    assert_eq!(world.current().unwrap(), early);
    // By hand only: an old Current stays, whatever the clock says.
    let kept = world.current().unwrap();
    stage.later(300);
    assert_eq!(world.current().unwrap(), kept);
}

#[tokio::test]
async fn short_lives_and_great_leaps_leave_a_sane_vendor() {
    for days in [47, 90, 397] {
        let stage = Stage::with(|options| {
            options.certificate_lifetime = DAY.saturating_mul(days);
        })
        .await;
        for leap in [1, 20, 46, 200, 4_000] {
            stage.later(leap);
            let world = stage.vendor.world();
            let now = world.now();
            let current = world.current().unwrap().validity();
            assert!(current.not_before <= now && now <= current.not_after, "{days} {leap}");
            if let Some(upcoming) = world.upcoming().unwrap() {
                assert!(upcoming.validity().not_before <= now);
                assert!(upcoming.validity().not_after > current.not_after);
            }
        }
    }
}

#[tokio::test]
async fn the_genesys_leaf_is_renewed_without_notice_under_the_same_root() {
    let stage = Stage::new().await;
    let world = stage.vendor.world();
    let first = world.genesys().unwrap();
    assert_eq!(first.presented().len(), 1, "signed by the root directly");
    assert_eq!(first.with_issuers()[1], world.pki().genesys_root.der().to_vec());
    stage.later(169);
    assert_eq!(world.genesys().unwrap(), first);
    stage.later(2);
    let second = world.genesys().unwrap();
    assert_ne!(second, first);
    assert_eq!(second.with_issuers()[1], world.pki().genesys_root.der().to_vec());
    world.renew_genesys().unwrap();
    assert_ne!(world.genesys().unwrap(), second);
    assert!(stage.summary("?status=Upcoming").await.iter().all(|(authority, _, _)| authority == "DigiCert"));
    let alone = Stage::with(|options| options.genesys = false).await;
    assert_eq!(alone.summary("").await.len(), 1);
}

// Failures.

#[tokio::test]
async fn every_refusal_has_its_status_and_code() {
    let stage = Stage::new().await;
    let token = stage.token().await;
    for (failure, status, code) in [
        (Failure::BadRequest, 400, "bad.request"),
        (Failure::Unauthorized, 401, "bad.credentials"),
        (Failure::CredentialsExpired, 401, "credentials.expired"),
        (Failure::Forbidden, 403, "missing.any.permissions"),
        (Failure::NotFound, 404, "not.found"),
        (Failure::RequestTimeout, 408, "request.timeout"),
        (Failure::Conflict, 409, "conflict"),
        (Failure::TooManyRequests, 429, "too.many.requests"),
        (Failure::TooManyRequestsDate, 429, "too.many.requests"),
        (Failure::InternalError, 500, "internal.server.error"),
        (Failure::BadGateway, 502, "bad.gateway"),
        (Failure::ServiceUnavailable, 503, "service.unavailable"),
        (Failure::GatewayTimeout, 504, "gateway.timeout"),
    ] {
        stage.fail(failure, Endpoint::Both, Some(2));
        let refused = stage.token_as(stage.vendor.client_id(), stage.vendor.client_secret()).await;
        assert_eq!(refused.status(), status, "{failure}");
        let answer = stage.ask(&token, "").await.unwrap();
        assert_eq!(answer.status(), status, "{failure}");
        match failure {
            Failure::TooManyRequests => assert_eq!(header(&answer, "retry-after"), "1"),
            Failure::TooManyRequestsDate => assert_eq!(header(&answer, "retry-after"), "Mon, 01 Mar 2027 12:00:01 GMT"),
            _ => assert!(!answer.headers().contains_key("retry-after")),
        }
        let body = json(answer).await;
        assert_eq!(body["code"], code);
        assert_eq!(body["status"], status);
        assert_eq!(stage.ask(&token, "").await.unwrap().status(), 200, "{failure} twice");
    }
}

#[tokio::test]
async fn a_failure_strikes_its_endpoint_alone_until_cleared() {
    let stage = Stage::new().await;
    stage.fail(Failure::ServiceUnavailable, Endpoint::Listing, None);
    let token = stage.token().await;
    for _ in 0..5 {
        assert_eq!(stage.ask(&token, "").await.unwrap().status(), 503);
    }
    assert_eq!(stage.vendor.world().failures().len(), 1);
    stage.vendor.world().clear();
    assert_eq!(stage.ask(&token, "").await.unwrap().status(), 200);
}

#[tokio::test]
async fn slow_answers_do_not_come_in_time() {
    let stage = Stage::with(|options| options.drip = Duration::from_millis(40)).await;
    let token = stage.token().await;
    let patience = Duration::from_millis(400);
    stage.fail(Failure::SlowHeaders, Endpoint::Listing, Some(1));
    assert!(tokio::time::timeout(patience, stage.ask(&token, "")).await.is_err());
    stage.fail(Failure::SlowBody, Endpoint::Listing, Some(1));
    let mut answer = tokio::time::timeout(Duration::from_secs(5), stage.ask(&token, ""))
        .await
        .expect("headers come at once")
        .unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap().as_ref(), b"{");
    assert!(tokio::time::timeout(patience, answer.bytes()).await.is_err());
}

#[tokio::test]
async fn broken_bodies_break_the_way_they_are_told_to() {
    let stage = Stage::new().await;
    let token = stage.token().await;
    for failure in [Failure::TruncatedBody, Failure::WrongContentLength] {
        stage.fail(failure, Endpoint::Listing, Some(1));
        let answer = stage.ask(&token, "").await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.content_length().is_some(), failure == Failure::WrongContentLength);
        assert!(answer.bytes().await.is_err(), "{failure}");
    }
    stage.fail(Failure::ConnectionReset, Endpoint::Listing, Some(1));
    let fresh = client(stage.vendor.ca_pem());
    let url = format!("{}{LISTING_PATH}", stage.vendor.api_url());
    let error = fresh.get(url).send().await.unwrap_err();
    assert!(format!("{error:?}").contains("ConnectionReset"), "{error:?}");
    stage.fail(Failure::EndlessBody, Endpoint::Listing, Some(1));
    let mut answer = stage.ask(&token, "").await.unwrap();
    let mut read = 0;
    while read < 8 * 1_024 * 1_024 {
        read += answer.chunk().await.unwrap().expect("no end").len();
    }
    drop(answer);
    stage.fail(Failure::Html, Endpoint::Listing, Some(1));
    let answer = stage.ask(&token, "").await.unwrap();
    assert!(header(&answer, "content-type").starts_with("text/html"));
    assert!(answer.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    stage.fail(Failure::InvalidJson, Endpoint::Both, Some(1));
    let answer = stage.ask(&token, "").await.unwrap();
    let body = answer.bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&body).is_err());
}

#[tokio::test]
async fn the_gzip_bomb_inflates_a_hundredfold() {
    use std::io::{Read, Write};
    let stage = Stage::new().await;
    let token = stage.token().await;
    stage.fail(Failure::GzipBomb, Endpoint::Listing, Some(1));
    let mut answer = stage.ask(&token, "").await.unwrap();
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    let mut packed = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        packed.extend_from_slice(&chunk);
    }
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("gzip is required");
    let mut input = gzip.stdin.take().unwrap();
    let mut output = gzip.stdout.take().unwrap();
    let size = packed.len();
    let feeding = std::thread::spawn(move || {
        let _ = input.write_all(&packed);
    });
    let mut inflated = 0_u64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            read => inflated += read as u64,
        }
    }
    feeding.join().unwrap();
    let _ = gzip.wait();
    assert!(inflated > 1 << 30, "{inflated} of {size}");
    assert!(size < 8 << 20);
}

#[tokio::test]
async fn links_lead_astray_and_the_log_shows_who_followed_with_the_token() {
    let stage = Stage::new().await;
    let token = stage.token().await;
    let address = stage.vendor.address();
    stage.fail(Failure::Redirect, Endpoint::Listing, Some(1));
    let answer = stage.ask(&token, "").await.unwrap();
    assert_eq!(answer.status(), 302);
    let there = header(&answer, "location").to_owned();
    assert_eq!(there, format!("https://localhost:{}/elsewhere", address.port()));
    stage.client.get(there).bearer_auth("leaked").send().await.unwrap();
    let last = stage.vendor.world().requests().pop().unwrap();
    assert_eq!(last.host, format!("localhost:{}", address.port()));
    assert!(last.authorization);
    assert_eq!(last.endpoint, None);
    for (failure, starts) in [
        (Failure::NextUriOtherHost, format!("https://localhost:{}/api", address.port())),
        (Failure::NextUriOtherScheme, format!("http://127.0.0.1:{}/api", address.port())),
        (Failure::PagingLoop, format!("{LISTING_PATH}?pageSize=25&pageNumber=7")),
        (Failure::EndlessPaging, format!("{LISTING_PATH}?pageSize=25&pageNumber=8")),
    ] {
        stage.fail(failure, Endpoint::Listing, Some(1));
        let page = stage.listed("?pageNumber=7").await;
        let next = page["nextUri"].as_str().unwrap();
        assert!(next.starts_with(&starts), "{failure}: {next}");
        let full = !page["entities"].as_array().unwrap().is_empty();
        assert_eq!(full, failure == Failure::EndlessPaging);
    }
}

#[tokio::test]
async fn odd_listings_say_what_they_are_told_to() {
    let stage = Stage::with(|options| options.days_left = Some(60)).await;
    let current = stage.print_of_current();
    let world = stage.vendor.world();
    let upcoming = Fingerprint::of(world.upcoming().unwrap().unwrap().der());
    let once = async |failure| {
        stage.fail(failure, Endpoint::Listing, Some(1));
        stage.listed("").await
    };
    assert_eq!(once(Failure::EmptyEntities).await["entities"].as_array().unwrap().len(), 0);
    assert!(once(Failure::MissingEntities).await.get("entities").is_none());
    for (failure, status) in [
        (Failure::UpcomingWrongName, "Upcoming"),
        (Failure::UpcomingStranger, "Upcoming"),
        (Failure::UpcomingExpired, "Upcoming"),
        (Failure::UpcomingNotYetValid, "Upcoming"),
        (Failure::UpcomingCa, "Upcoming"),
        (Failure::UpcomingOtherCa, "Upcoming"),
        (Failure::CurrentExpired, "Current"),
        (Failure::CurrentWrongName, "Current"),
        (Failure::CurrentOtherCa, "Current"),
    ] {
        let of = |listing: &Value| {
            let entities = listing["entities"].as_array().unwrap().clone();
            let found = entities
                .into_iter()
                .find(|entity| entity["status"] == status && entity["signingAuthority"] == "DigiCert");
            tolerantly(found.unwrap()["certificate"].as_str().unwrap()).remove(0)
        };
        let listed = of(&once(failure).await);
        assert_eq!(listed, of(&once(failure).await), "{failure} lists the same again");
        assert!(![current, upcoming].contains(&Fingerprint::of(&listed)));
        let (_, read) = x509_parser::parse_x509_certificate(&listed).unwrap();
        let ends = read.validity().not_after.timestamp();
        let starts = read.validity().not_before.timestamp();
        let name = read.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned();
        let now = world.now().unix();
        assert_eq!(ends < now, matches!(failure, Failure::UpcomingExpired | Failure::CurrentExpired));
        assert_eq!(starts > now, failure == Failure::UpcomingNotYetValid);
        assert_eq!(read.is_ca(), failure == Failure::UpcomingCa);
        assert_eq!(
            name == world.options().certificate_name,
            !matches!(failure, Failure::UpcomingWrongName | Failure::UpcomingStranger | Failure::CurrentWrongName)
        );
        let issuer = read.issuer().to_string();
        assert_eq!(
            issuer.contains("Some Other Root"),
            matches!(failure, Failure::UpcomingOtherCa | Failure::CurrentOtherCa)
        );
    }
    let genesys = once(Failure::GenesysOtherRoot).await["entities"][2].clone();
    assert_eq!(genesys["signingAuthority"], "Genesys");
    let leaf = tolerantly(genesys["certificate"].as_str().unwrap()).remove(0);
    let (_, read) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert!(read.issuer().to_string().contains("Some Other Root"));
    let text = async |failure| once(failure).await["entities"][0]["certificate"].as_str().unwrap().to_owned();
    assert!(text(Failure::TruncatedPem).await.contains("...\r\n"));
    assert!(text(Failure::PrivateKeyInPem).await.contains("BEGIN PRIVATE KEY"));
    let two = tolerantly(&text(Failure::TwoLeaves).await);
    assert_eq!(two.len(), 4);
    assert_eq!(Fingerprint::of(&two[1]), current);
    for (failure, field, value) in [
        (Failure::UnknownStatus, "status", Value::from("Superseded")),
        (Failure::UnknownType, "type", Value::from("Server")),
        (Failure::UnknownAuthority, "signingAuthority", Value::from("Verisign")),
        (Failure::MissingAuthority, "signingAuthority", Value::Null),
    ] {
        let listing = once(failure).await;
        let entities = listing["entities"].as_array().unwrap();
        assert_eq!(entities.len(), 4);
        assert_eq!(entities[3][field], value, "{failure}");
    }
    assert_eq!(once(Failure::LowerCaseAuthority).await["entities"][0]["signingAuthority"], "digicert");
    let has = |listing: &Value, status: &str| {
        listing["entities"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entity| entity["status"] == status && entity["signingAuthority"] == "DigiCert")
    };
    assert!(!has(&once(Failure::EmptyUpcoming).await, "Upcoming"));
    assert!(!has(&once(Failure::CurrentAbsent).await, "Current"));
    for (failure, status) in [(Failure::FlappingCurrent, "Current"), (Failure::FlappingUpcoming, "Upcoming")] {
        stage.fail(failure, Endpoint::Listing, None);
        for expected in [false, true, false, true] {
            // Asking for the other status in between does not disturb the rhythm.
            stage.listed("?status=Upcoming").await;
            assert_eq!(has(&stage.listed("").await, status), expected, "{failure}");
        }
        world.clear();
    }
}

#[test]
fn every_failure_is_known_by_its_name_and_says_what_it_does() {
    for failure in Failure::ALL {
        assert_eq!(failure.name().parse(), Ok(failure));
        assert!(failure.name().chars().all(|one| one.is_ascii_lowercase() || one == '-'));
        assert!(failure.meaning().len() > 10);
    }
    let error = "gremlins".parse::<Failure>().unwrap_err().to_string();
    assert!(error.contains("gremlins") && error.contains("gzip-bomb"));
}

// Files and control.

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is required");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

async fn real_time(change: impl FnOnce(&mut VendorOptions)) -> (Vendor, OffsetClock) {
    let clock = OffsetClock::default();
    let mut options = VendorOptions::new(Arc::new(clock.clone()));
    change(&mut options);
    (Vendor::start(options).await.unwrap(), clock)
}

/// Below which the vendor's lists lie.
fn crl_base(vendor: &Vendor) -> String {
    match &vendor.world().options().crls {
        CrlPlace::At(url) => url.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_cas_serve_their_lists_and_openssl_finds_in_them_who_was_revoked() {
    let (vendor, _) = real_time(|options| options.days_left = Some(60)).await;
    let (world, base) = (vendor.world(), crl_base(&vendor));
    let client = client(vendor.ca_pem());
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, label: &str, der: &[u8]| {
        fs::write(place.path().join(name), PemForm::Canonical.labelled(label, der)).unwrap();
    };
    write("root.pem", "CERTIFICATE", world.pki().digicert_root.der());
    write("middle.pem", "CERTIFICATE", world.pki().digicert_intermediate.der());
    write("current.pem", "CERTIFICATE", world.current().unwrap().der());
    write("upcoming.pem", "CERTIFICATE", world.upcoming().unwrap().unwrap().der());
    let fetch = async || {
        let mut lists = String::new();
        for name in ["digicert-root", "digicert-intermediate"] {
            let answer = client.get(format!("{base}/{name}.crl")).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "application/pkix-crl"));
            lists += &PemForm::Canonical.labelled("X509 CRL", &answer.bytes().await.unwrap());
        }
        fs::write(place.path().join("lists.pem"), lists).unwrap();
    };
    let verifies = |leaf: &str| {
        let (root, middle, lists, leaf) = (at("root.pem"), at("middle.pem"), at("lists.pem"), at(leaf));
        let arguments = [
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CRLfile",
            &lists,
            "-CAfile",
            &root,
            "-untrusted",
            &middle,
            &leaf,
        ];
        openssl(&arguments)
    };

    fetch().await;
    for leaf in ["current.pem", "upcoming.pem"] {
        let (good, said) = verifies(leaf);
        assert!(good, "{leaf}: {said}");
    }
    // The same list is told by its validators; each of the two is enough.
    let url = format!("{base}/digicert-intermediate.crl");
    let answer = client.get(&url).send().await.unwrap();
    let (etag, modified) = (header(&answer, "etag").to_owned(), header(&answer, "last-modified").to_owned());
    for (name, value) in [("if-none-match", &etag), ("if-modified-since", &modified)] {
        assert_eq!(client.get(&url).header(name, value).send().await.unwrap().status(), 304, "{name}");
    }

    // Revoked within the same second: another list, and openssl refuses one leaf alone.
    let fingerprint = world.revoke(Revoke::Current).unwrap();
    assert_eq!(world.revoked(), [fingerprint]);
    assert_eq!(client.get(&url).header("if-none-match", &etag).send().await.unwrap().status(), 200);
    fetch().await;
    let (good, said) = verifies("current.pem");
    assert!(!good && said.contains("certificate revoked"), "{said}");
    assert!(verifies("upcoming.pem").0);
    world.unrevoke_all();
    fetch().await;
    assert!(verifies("current.pem").0);
    world.revoke(Revoke::Intermediate).unwrap();
    fetch().await;
    assert!(verifies("upcoming.pem").1.contains("certificate revoked"));

    // Over, blocked, and what is not there.
    world.unrevoke_all();
    world.set_crl_mode(CrlMode::Expired);
    fetch().await;
    let (good, said) = verifies("current.pem");
    assert!(!good && said.contains("CRL has expired"), "{said}");
    world.set_crl_mode(CrlMode::Blocked);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 503);
    world.clear();
    fetch().await;
    assert!(verifies("current.pem").0);
    for (method, path, status) in [("GET", "other-root.crl", 404), ("GET", "", 404), ("POST", "digicert-root.crl", 405)]
    {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = client.request(method, format!("{base}/{path}")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn who_can_be_revoked_and_who_cannot() {
    let (vendor, _) = real_time(|options| options.days_left = Some(200)).await;
    let world = vendor.world();
    for absent in [Revoke::Upcoming, Revoke::Previous, Revoke::Certificate(Fingerprint::of(b"nobody"))] {
        assert!(world.revoke(absent).unwrap_err().to_string().contains("no such certificate"), "{absent}");
    }
    let old = Fingerprint::of(world.current().unwrap().der());
    world.rotate().unwrap();
    assert_eq!(world.revoke(Revoke::Previous).unwrap(), old);
    let genesys = Fingerprint::of(world.genesys().unwrap().der());
    assert_eq!(world.revoke(Revoke::Genesys).unwrap(), genesys);
    let stranger = Fingerprint::of(world.impostor(Impostor::Stranger).unwrap().der());
    world.revoke(Revoke::Certificate(stranger)).unwrap();
    for unlisted in [Impostor::Twin, Impostor::OtherCa] {
        let fingerprint = Fingerprint::of(world.impostor(unlisted).unwrap().der());
        let refused = world.revoke(Revoke::Certificate(fingerprint)).unwrap_err().to_string();
        assert!(refused.contains("publishes no list"), "{refused}");
    }
    assert_eq!(world.revoked().len(), 3);

    let (bare, _) = real_time(|options| options.crls = CrlPlace::Nowhere).await;
    let current =
        trustsync::trust::formats::certificate::Certificate::parse(bare.world().current().unwrap().der()).unwrap();
    assert!(current.facts().crl_urls.is_empty());
}

#[tokio::test]
async fn openssl_agrees_who_is_who_in_the_folder() {
    let (vendor, _) = real_time(|options| options.days_left = Some(60)).await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("simulator");
    let folder = Folder::create(&path, &vendor).unwrap();
    let at = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let verifies = |leaf: &str, root: &str| {
        let (root, middle, leaf) = (at(root), at("digicert-intermediate.pem"), at(leaf));
        let arguments =
            ["verify", "-purpose", "sslclient", "-x509_strict", "-CAfile", &root, "-untrusted", &middle, &leaf];
        openssl(&arguments)
    };
    for (leaf, expected) in [
        ("current.pem", true),
        ("upcoming.pem", true),
        ("stranger.pem", true),
        ("namesake.pem", true),
        ("twin.pem", false),
        ("other-ca.pem", false),
        ("expired.pem", false),
        ("genesys.pem", false),
    ] {
        let (good, said) = verifies(leaf, "digicert-root.pem");
        assert_eq!(good, expected, "{leaf}: {said}");
    }
    let (_, said) = verifies("expired.pem", "digicert-root.pem");
    assert!(said.contains("certificate has expired"), "{said}");
    let (good, said) = verifies("genesys.pem", "genesys-root.pem");
    assert!(good, "{said}");
    let (_, text) = openssl(&["x509", "-noout", "-text", "-in", &at("current.pem")]);
    let list = format!("URI:{}/digicert-intermediate.crl", crl_base(&vendor));
    for expected in [
        list.as_str(),
        "TLS Web Client Authentication",
        "DNS:dataactions.prod.us-east-1.mypurecloud.com",
        "CA:FALSE",
        "Simulated DigiCert Assured ID Client CA G2",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let middle = at("digicert-intermediate.pem");
    let (_, text) = openssl(&["x509", "-noout", "-text", "-in", &middle]);
    assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign"));
    for name in ["current", "upcoming", "twin"] {
        let key = openssl(&["pkey", "-pubout", "-in", &at(&format!("{name}.key"))]);
        let pem = at(&format!("{name}.pem"));
        let certificate = openssl(&["x509", "-noout", "-pubkey", "-in", &pem]);
        assert!(key.0 && key.1 == certificate.1, "{name}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap().path();
        let secret = entry.extension().is_some_and(|kind| kind == "key")
            || entry.ends_with("client-secret")
            || entry.ends_with("trustsync.toml");
        assert_eq!(mode(&entry), if secret { 0o600 } else { 0o644 }, "{}", entry.display());
    }
    let text = fs::read_to_string(folder.configuration()).unwrap();
    let read: toml::Table = toml::from_str(&text).unwrap();
    let source = &read["source"]["simulator"];
    assert_eq!(source["api"].as_str(), Some(vendor.api_url().as_str()));
    let secret = source["client_secret_file"].as_str().unwrap();
    assert_eq!(fs::read_to_string(secret).unwrap(), vendor.client_secret());
    for file in [&source["ca_file"], &source["digicert_anchors"].as_array().unwrap()[0]] {
        assert!(Path::new(file.as_str().unwrap()).exists());
    }
}

#[tokio::test]
async fn a_folder_that_is_not_the_simulators_is_left_alone() {
    let (vendor, _) = real_time(|_| {}).await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("thesis.txt"), "precious").unwrap();
    let before = fs::metadata(place.path()).unwrap().permissions();
    let refused = Folder::create(place.path(), &vendor);
    assert!(matches!(refused, Err(SimulatorError::NotOurs(_))));
    assert_eq!(fs::metadata(place.path()).unwrap().permissions(), before);
    let ours = place.path().join("ours");
    Folder::create(&ours, &vendor).unwrap();
    Folder::create(&ours, &vendor).expect("its own is taken over");
}

#[tokio::test]
async fn people_drive_it_over_the_control_endpoint_and_the_files_follow() {
    let (vendor, clock) = real_time(|_| {}).await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("simulator");
    let folder = Folder::create(&path, &vendor).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let control = Control::start(loopback, &vendor, clock.clone(), folder.clone()).await.unwrap();
    let client = client(vendor.ca_pem());
    let url = control.url();
    let post = async |path: &str| {
        let answer = client.post(format!("{url}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let state = async || json(client.get(format!("{url}/state")).send().await.unwrap()).await;
    let home = client.get(&url).send().await.unwrap().text().await.unwrap();
    for expected in [
        "POST /rotate",
        "POST /revoke/NAME",
        "POST /revoke/none",
        "POST /crl/NAME",
        "crls            http://",
        "gzip-bomb",
        "current ",
        "lists-all",
    ] {
        assert!(home.contains(expected), "{expected}: {home}");
    }
    assert!(state().await["upcoming"].is_null());
    assert!(!path.join("upcoming.pem").exists());
    let file = |name: &str| {
        let text = fs::read_to_string(path.join(name)).unwrap();
        Fingerprint::of(&tolerantly(&text)[0]).to_string()
    };
    assert_eq!(post("/upcoming-days-left/20").await.0, 200);
    let announced = state().await["upcoming"].clone();
    assert_eq!(
        (announced["daysLeft"].as_i64(), announced["sha256"].as_str()),
        (Some(20), Some(&*file("upcoming.pem")))
    );
    assert_eq!(post("/days-left/30").await.0, 200);
    let opened = state().await;
    assert_eq!(opened["current"]["daysLeft"], 30);
    let upcoming = opened["upcoming"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(file("upcoming.pem"), upcoming);
    assert_eq!(post("/rotate").await.0, 200);
    assert_eq!(file("current.pem"), upcoming);
    assert!(!path.join("upcoming.pem").exists());
    assert_eq!(post("/fail/service-unavailable?endpoint=token&count=3").await.0, 200);
    let failing = state().await["failures"].clone();
    assert_eq!(failing[0]["failure"], "service-unavailable");
    assert_eq!(failing[0]["endpoint"], "token");
    assert_eq!(failing[0]["remaining"], 3);
    assert_eq!(post("/clear").await.0, 200);
    assert_eq!(state().await["failures"].as_array().unwrap().len(), 0);
    assert_eq!(post("/mode/current-only-unless-asked").await.0, 200);
    assert_eq!(vendor.world().mode(), Mode::CurrentOnlyUnlessAsked);
    assert_eq!(post("/pem/canonical").await.0, 200);
    assert_eq!(post("/tokens/revoke").await.0, 200);
    assert_eq!(post("/renew-genesys").await.0, 200);
    let (status, said) = post("/revoke/current").await;
    assert!(status == 200 && said.contains(&upcoming), "{said}");
    assert_eq!(state().await["revoked"], serde_json::json!([upcoming]));
    assert_eq!(post("/revoke/none").await.0, 200);
    assert_eq!(state().await["revoked"], serde_json::json!([]));
    assert_eq!(post("/crl/blocked").await.0, 200);
    assert_eq!(state().await["crlMode"], "blocked");
    assert_eq!(post("/clear").await.0, 200);
    assert_eq!(state().await["crlMode"], "served");
    assert_eq!(post("/clock/2031-05-05T05:05:05Z").await.0, 200);
    assert!(clock.now() >= "2031-05-05T05:05:05Z".parse().unwrap());
    assert!(state().await["now"].as_str().unwrap().starts_with("2031-05-05T05:"));
    for (wrong, status, says) in [
        ("/fail/gremlins", 400, "gzip-bomb"),
        ("/fail/html?endpoint=moon", 400, "listing"),
        ("/fail/html?count=many", 400, "number"),
        ("/days-left/soon", 400, "number"),
        ("/upcoming-days-left/soon", 400, "upcoming-days-left takes a number"),
        ("/clock/yesterday", 400, "RFC 3339"),
        ("/mode/none", 400, "lists-all"),
        ("/revoke/everybody", 400, "current, upcoming, previous"),
        ("/revoke/upcoming", 400, "no such certificate"),
        ("/crl/lost", 400, "served, blocked, expired"),
        ("/explode", 404, "POST /rotate"),
    ] {
        let (got, said) = post(wrong).await;
        assert_eq!(got, status, "{wrong}");
        assert!(said.contains(says), "{wrong}: {said}");
    }
    let page = client.post(format!("{url}/rotate")).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(page.status(), 403);
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Control::start(everywhere, &vendor, clock.clone(), folder).await;
    assert!(refused.unwrap_err().to_string().contains("loopback address only"));
    control.stop().await;
    assert!(client.get(&url).send().await.is_err());
}

#[tokio::test]
async fn the_simulate_command_serves_what_its_folder_says() {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        simulate: trustsync::cli::Simulate,
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("simulator");
    let line = [
        "simulate",
        "--days-left",
        "40",
        "--no-genesys",
        "--fail",
        "lower-case-authority",
        "--folder",
        path.to_str().unwrap(),
    ];
    let running = tokio::spawn(trustsync::commands::simulate::run(Line::parse_from(line).simulate));
    let drill = async {
        // Written last of all files.
        while !path.join("upcoming.key").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let text = fs::read_to_string(path.join("trustsync.toml")).unwrap();
        let read: toml::Table = toml::from_str(&text).unwrap();
        let source = &read["source"]["simulator"];
        let client = client(&fs::read_to_string(path.join("api-ca.pem")).unwrap());
        let answer = client
            .post(format!("{}{TOKEN_PATH}", source["login"].as_str().unwrap()))
            .basic_auth(
                source["client_id"].as_str().unwrap(),
                Some(fs::read_to_string(path.join("client-secret")).unwrap()),
            )
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await
            .unwrap();
        let token = json(answer).await;
        let answer = client
            .get(format!("{}{LISTING_PATH}", source["api"].as_str().unwrap()))
            .bearer_auth(token["access_token"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        let listing = json(answer).await;
        assert_eq!(listing["entities"].as_array().unwrap().len(), 2);
        assert_eq!(listing["entities"][0]["signingAuthority"], "digicert");
    };
    tokio::time::timeout(Duration::from_secs(20), drill).await.unwrap();
    assert!(!running.is_finished());
    running.abort();
}

// The embedded server.

/// A store as the embedded server sees it, written by hand.
struct Store {
    place: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap() }
    }

    fn link(&self) -> std::path::PathBuf {
        self.place.path().join("target/demo")
    }

    fn publish(&self, generation: u32, chain: &[Vec<u8>], pins: &[(&str, &ClientCertificate)]) {
        let number = format!("{generation:06}");
        let folder = self.place.path().join("generations").join(&number);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(self.place.path().join("target")).unwrap();
        let past = Validity { not_before: Timestamp::from_unix(0), not_after: Timestamp::from_unix(1) };
        let marker = LeafRequest {
            client_auth: false,
            dns_names: Vec::new(),
            ..LeafRequest::client(&format!("generation {number}"), past)
        };
        let marker = self_signed("trustsync marker", &marker).unwrap();
        let bundle: Vec<&[u8]> = chain.iter().map(Vec::as_slice).chain([marker.der()]).collect();
        let text = PemForm::Canonical.text(&bundle);
        fs::write(folder.join("trust-bundle.pem"), text).unwrap();
        let mut list = format!("# trustsync generation {number} store 0f3a\n");
        for (role, pin) in pins {
            let sha1 = "0".repeat(40);
            let ends = pin.validity().not_after;
            list += &format!("{role} sha256:{} sha1:{sha1} {ends} a name\n", Fingerprint::of(pin.der()));
        }
        fs::write(folder.join("fingerprints.txt"), list).unwrap();
        let _ = fs::remove_file(self.link());
        std::os::unix::fs::symlink(format!("../generations/{number}"), self.link()).unwrap();
    }
}

fn refused_with(status: u16, generation: &str) -> Admission {
    Admission::Refused { how: Refusal::Status(status), generation: Some(generation.to_owned()) }
}

fn admitted_by(generation: &str) -> Admission {
    Admission::Admitted { generation: Some(generation.to_owned()) }
}

async fn reload(server: &TlsServer) -> (u16, String) {
    let (vendor, _) = real_time(|_| {}).await;
    let answer = client(vendor.ca_pem()).post(server.reload_url()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_embedded_server_admits_the_pinned_and_nobody_else() {
    let stage = Stage::with(|options| options.days_left = Some(60)).await;
    let world = stage.vendor.world();
    let current = world.current().unwrap();
    let upcoming = world.upcoming().unwrap().unwrap();
    let chain = [world.pki().digicert_intermediate.der().to_vec(), world.pki().digicert_root.der().to_vec()];
    let store = Store::new();
    let expired = world.impostor(Impostor::Expired).unwrap();
    store.publish(42, &chain, &[("current", &current), ("upcoming", &upcoming), ("retiring", &expired)]);
    let server = TlsServer::start(store.link(), Arc::new(stage.clock.clone())).await.unwrap();
    let address = server.address();
    let tls12: &[_] = &[&rustls::version::TLS12];
    let tls13: &[_] = &[&rustls::version::TLS13];
    for versions in [tls12, tls13] {
        let show = |who: Option<ClientCertificate>| async move { present_by(address, who.as_ref(), versions).await };
        for pinned in [&current, &upcoming] {
            assert_eq!(show(Some(pinned.clone())).await, admitted_by("000042"));
        }
        for (who, status) in [
            (Impostor::Stranger, 403),
            (Impostor::Namesake, 403),
            (Impostor::Twin, 400),
            (Impostor::OtherCa, 400),
            (Impostor::Expired, 400),
        ] {
            let leaf = world.impostor(who).unwrap();
            assert_eq!(show(Some(leaf)).await, refused_with(status, "000042"), "{who:?}");
        }
        let genesys = world.genesys().unwrap();
        assert_eq!(show(Some(genesys)).await, refused_with(400, "000042"));
        assert_eq!(show(None).await, refused_with(400, "000042"));
    }
    // The pins themselves end with their validity, by the server's clock.
    stage.later(61);
    assert_eq!(present(server.address(), Some(&current)).await, refused_with(400, "000042"));
    assert_eq!(present(server.address(), Some(&upcoming)).await, admitted_by("000042"));
    server.stop().await;
}

#[tokio::test]
async fn the_embedded_server_changes_its_mind_only_when_told() {
    let stage = Stage::with(|options| options.days_left = Some(60)).await;
    let world = stage.vendor.world();
    let current = world.current().unwrap();
    let upcoming = world.upcoming().unwrap().unwrap();
    let chain = [world.pki().digicert_intermediate.der().to_vec(), world.pki().digicert_root.der().to_vec()];
    let store = Store::new();
    let server = TlsServer::start(store.link(), Arc::new(stage.clock.clone())).await.unwrap();
    let show = async |who| present(server.address(), who).await;
    assert_eq!(show(Some(&current)).await, refused_with(400, "000000"));
    let (status, said) = reload(&server).await;
    assert_eq!(status, 500);
    assert!(said.contains("is not there"), "{said}");
    store.publish(1, &chain, &[("current", &current)]);
    assert_eq!(show(Some(&current)).await, refused_with(400, "000000"));
    assert_eq!(reload(&server).await.0, 200);
    assert_eq!(show(Some(&current)).await, admitted_by("000001"));
    assert_eq!(show(Some(&upcoming)).await, refused_with(403, "000001"));
    store.publish(2, &chain, &[("current", &current), ("upcoming", &upcoming)]);
    assert_eq!(show(Some(&upcoming)).await, refused_with(403, "000001"));
    assert_eq!(reload(&server).await.0, 200);
    assert_eq!(show(Some(&upcoming)).await, admitted_by("000002"));
    // What cannot be loaded leaves the old in force.
    let folder = store.place.path().join("generations/000003");
    for (bundle, list) in [
        ("", "# trustsync generation 000003 store 0f3a\n"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "# trustsync generation 000003 store 0f3a\n"),
        ("good", "current sha256:00\n"),
        ("good", "# trustsync generation 000003 store 0f3a\ncurrent sha256:00\n"),
    ] {
        store.publish(3, &chain, &[]);
        if bundle != "good" {
            fs::write(folder.join("trust-bundle.pem"), bundle).unwrap();
        }
        fs::write(folder.join("fingerprints.txt"), list).unwrap();
        let (status, said) = reload(&server).await;
        assert_eq!(status, 500, "{bundle:?} {list:?}");
        assert!(said.contains("kept the old trust"), "{said}");
        assert_eq!(show(Some(&current)).await, admitted_by("000002"));
    }
    // Nor does a server start on it.
    assert!(matches!(
        TlsServer::start(store.link(), Arc::new(stage.clock.clone())).await,
        Err(SimulatorError::Load(_))
    ));
    // Deny all: the marker alone, and a list of comments.
    store.publish(4, &[], &[]);
    assert_eq!(reload(&server).await.0, 200);
    assert_eq!(show(Some(&current)).await, refused_with(400, "000004"));
    assert_eq!(show(None).await, refused_with(400, "000004"));
}

#[tokio::test]
async fn the_marker_shows_in_the_certificate_request() {
    let stage = Stage::new().await;
    let world = stage.vendor.world();
    let chain = [world.pki().digicert_intermediate.der().to_vec(), world.pki().digicert_root.der().to_vec()];
    let store = Store::new();
    store.publish(7, &chain, &[]);
    let server = TlsServer::start(store.link(), Arc::new(SystemClock)).await.unwrap();
    let address = server.address().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let address = address.clone();
        let said =
            tokio::task::spawn_blocking(move || openssl(&["s_client", version, "-connect", &address]).1).await.unwrap();
        let names =
            said.split("Acceptable client certificate CA names").nth(1).unwrap_or_else(|| panic!("no names: {said}"));
        for expected in
            ["generation 000007", "Simulated DigiCert Assured ID Root G2", "Simulated DigiCert Assured ID Client CA G2"]
        {
            assert!(names.contains(expected), "{version} {expected}: {names}");
        }
    }
}

#[tokio::test]
async fn nobody_at_an_address_is_not_a_refusal() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(present(address, None).await, Admission::Unreachable(_)));
}

#[tokio::test]
async fn a_dropped_vendor_listens_no_more() {
    let stage = Stage::new().await;
    let address = stage.vendor.address();
    stage.vendor.stop().await;
    assert!(std::net::TcpStream::connect(address).is_err());
}
