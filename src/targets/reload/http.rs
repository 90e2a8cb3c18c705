//! A reload by `POST`: 2xx is success.

use std::time::Duration;

use reqwest::Method;

use super::report::{ReloadError, ReloadReport};
use crate::targets::endpoint::Endpoint;
use crate::targets::http::Asker;
use crate::targets::process::printable;

/// How much of a refusal's body is quoted.
const BODY_QUOTED: usize = 512;

pub(super) async fn post(endpoint: &Endpoint, limit: Duration) -> Result<ReloadReport, ReloadError> {
    let answer = Asker::of(endpoint)?.ask(Method::POST, limit, BODY_QUOTED).await?;
    if (200..300).contains(&answer.status) {
        return Ok(ReloadReport::Answered { status: answer.status });
    }
    let url = endpoint.to_string();
    Err(ReloadError::Refused { url, status: answer.status, body: printable(&answer.body) })
}
