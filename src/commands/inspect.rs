//! `trustsync inspect`: what is in a PEM or DER file, oddities named.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Failure, print};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::trust::certificate::Certificate;
use crate::trust::pem;
use crate::trust::timestamp::Timestamp;

/// More of a file is not read: the longest CRL as PEM.
const LARGEST: u64 = 24 * 1024 * 1024;

#[derive(Serialize)]
struct Inspected {
    file: PathBuf,
    certificates: Vec<Facts>,
    oddities: Vec<String>,
}

#[derive(Serialize)]
struct Facts {
    subject: String,
    issuer: String,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
    days_left: i64,
    dns_names: Vec<String>,
    is_ca: bool,
    key: String,
    signature: String,
    extended_key_usages: Vec<String>,
    crl_urls: Vec<String>,
    sha256: String,
    sha1: String,
}

pub fn run(global: &Global, files: &[PathBuf]) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let mut inspected = Vec::new();
    for file in files {
        inspected.push(inspect(file, &read_bounded(file)?, now));
    }
    let readable = inspected.iter().all(|one| !one.certificates.is_empty());
    print(global.output, &inspected, || inspected.iter().map(text).collect())?;
    Ok(if readable { Exit::Done } else { Exit::Answer })
}

/// A file's bytes, at most 24 MiB of them.
pub fn read_bounded(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::Usage(format!("{} cannot be read: {error}", file.display()));
    let mut bytes = Vec::new();
    File::open(file).map_err(failed)?.take(LARGEST.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::Usage(format!("{} is larger than {LARGEST} bytes: not inspected", file.display())));
    }
    Ok(bytes)
}

/// Every certificate that can be read from PEM or DER.
pub fn certificates(bytes: &[u8]) -> Vec<Certificate> {
    inspect_bytes(bytes).0
}

fn inspect_bytes(bytes: &[u8]) -> (Vec<Certificate>, Vec<String>) {
    let mut oddities = Vec::new();
    if let Ok(certificate) = Certificate::parse(bytes) {
        return (vec![certificate], oddities);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut certificates: Vec<Certificate> = Vec::new();
    let blocks = pem::scan(&text);
    if blocks.is_empty() {
        oddities.push("neither PEM nor a DER certificate".to_owned());
    }
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("block {}", at.saturating_add(1));
        oddities.extend(block.oddities.iter().map(|oddity| format!("{place}: {}", oddity.text())));
        if pem::is_private(&block.label) {
            oddities.push(format!("{place} is a PRIVATE KEY: it has no business here, and is not shown"));
            continue;
        }
        if block.label != "CERTIFICATE" {
            oddities.push(format!("{place} is {}, not a certificate", crate::trust::refusal::quoted(&block.label)));
            continue;
        }
        match block.bytes.as_ref().map(|der| Certificate::parse(der)) {
            Ok(Ok(certificate)) => {
                if certificates.contains(&certificate) {
                    oddities.push(format!("{place} is a duplicate"));
                }
                certificates.push(certificate);
            }
            Ok(Err(error)) => oddities.push(format!("{place}: {error}")),
            Err(error) => oddities.push(format!("{place}: {error}")),
        }
    }
    let markers = pem::count(&text);
    if markers != certificates.len() {
        oddities.push(format!("{markers} BEGIN markers, but {} readable certificates", certificates.len()));
    }
    (certificates, oddities)
}

fn inspect(file: &Path, bytes: &[u8], now: Timestamp) -> Inspected {
    let (certificates, oddities) = inspect_bytes(bytes);
    let certificates = certificates.iter().map(|certificate| {
        let facts = certificate.facts();
        Facts {
            subject: facts.subject.clone(),
            issuer: facts.issuer.clone(),
            serial: facts.serial.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            days_left: now.days_until(facts.not_after),
            dns_names: facts.dns_names.clone(),
            is_ca: facts.is_ca,
            key: facts.key.clone(),
            signature: facts.signature.clone(),
            extended_key_usages: facts.extended_key_usages.clone(),
            crl_urls: facts.crl_urls.clone(),
            sha256: facts.fingerprint.to_string(),
            sha1: facts.sha1.clone(),
        }
    });
    Inspected { file: file.to_owned(), certificates: certificates.collect(), oddities }
}

/// Text from certificates goes through `quoted`: nothing in it may move the terminal's cursor.
fn text(inspected: &Inspected) -> String {
    use crate::trust::refusal::quoted;
    let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let mut text = format!("{}: {} certificate(s)\n", inspected.file.display(), inspected.certificates.len());
    for facts in &inspected.certificates {
        let _ = writeln!(text, "\n  subject     {}", quoted(&facts.subject));
        let _ = writeln!(text, "  issuer      {}", quoted(&facts.issuer));
        let _ = writeln!(text, "  serial      {}", facts.serial);
        let _ =
            writeln!(text, "  validity    {} to {} ({} days left)", facts.not_before, facts.not_after, facts.days_left);
        for (what, values) in
            [("dns names", &facts.dns_names), ("usages", &facts.extended_key_usages), ("crls", &facts.crl_urls)]
        {
            if !values.is_empty() {
                let _ = writeln!(text, "  {what:<11} {}", list(values));
            }
        }
        let _ = writeln!(
            text,
            "  key         {}, signed with {}{}",
            facts.key,
            facts.signature,
            if facts.is_ca { ", a CA" } else { "" }
        );
        let _ = writeln!(text, "  sha256      {}", facts.sha256);
        let _ = writeln!(text, "  sha1        {}", facts.sha1);
    }
    for oddity in &inspected.oddities {
        let _ = writeln!(text, "\n  odd: {oddity}");
    }
    text
}
