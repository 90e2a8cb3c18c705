//! `trustsync inspect`: what is in a file (PEM, DER, CRL, PKCS#12, zip), oddities named.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::{Failure, print};
use crate::bounded::read_at_most;
use crate::cli::{Global, Inspect};
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::trust::certificate::Certificate;
use crate::trust::crl::{self, CoveredKind, Crl, Problem, Scope};
use crate::trust::fingerprint::hex;
use crate::trust::inspection::{self, Inspection};
use crate::trust::pem;
use crate::trust::pkcs12;
use crate::trust::refusal::quoted;
use crate::trust::timestamp::Timestamp;

/// More of a file is not read: the longest CRL as PEM.
const LARGEST: u64 = 24 * 1024 * 1024;
/// What PKCS#12 is commonly written with where no secret is in it.
const COMMON_PASSWORDS: [&str; 2] = ["", "changeit"];

#[derive(Serialize)]
struct Inspected {
    file: String,
    form: &'static str,
    certificates: Vec<CertificateFacts>,
    crls: Vec<CrlFacts>,
    /// In words; never their bytes.
    keys: Vec<String>,
    /// What an archive contains.
    files: Vec<Inspected>,
    oddities: Vec<String>,
}

#[derive(Serialize)]
struct CertificateFacts {
    subject: String,
    issuer: String,
    /// Where its issuer is among what was inspected.
    issued_by: String,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
    days_left: i64,
    dns_names: Vec<String>,
    other_names: Vec<String>,
    is_ca: bool,
    key: String,
    signature: String,
    key_usages: Vec<&'static str>,
    extended_key_usages: Vec<String>,
    crl_urls: Vec<String>,
    sha256: String,
    sha1: String,
}

#[derive(Serialize)]
struct CrlFacts {
    issuer: String,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    days_left: Option<i64>,
    /// Hexadecimal.
    number: Option<String>,
    entries: usize,
    scope: String,
    signature: String,
    /// Whether it is signed by a certificate that was inspected too, and in force.
    judged: String,
    sha256: String,
}

pub fn run(global: &Global, arguments: &Inspect) -> Result<Exit, Failure> {
    let given = arguments.password_file.as_deref().map(password).transpose()?;
    let passwords = given.as_deref().map_or_else(|| COMMON_PASSWORDS.to_vec(), |given| vec![given]);
    let now = SystemClock.now();
    let mut inspections = Vec::new();
    for file in &arguments.files {
        let bytes = read_bounded(file)?;
        inspections.push((file.display().to_string(), inspection::inspect(&bytes, &passwords, pkcs12::MOST_WORK)));
    }
    let mut known = Vec::new();
    inspections.iter().for_each(|(_, inspection)| gather(inspection, &mut known));
    let readable = inspections.iter().all(|(_, inspection)| inspection.found_something());
    let inspected: Vec<Inspected> =
        inspections.into_iter().map(|(file, inspection)| show(file, &inspection, &known, now)).collect();
    print(global.output, &inspected, || inspected.iter().map(|one| text(one, "")).collect())?;
    Ok(if readable { Exit::Done } else { Exit::Answer })
}

/// A password from its file, without the line's end.
fn password(file: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(read_bounded(file)?)
        .map_err(|_| Failure::Usage(format!("{}: the password is not UTF-8", file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A file's bytes, at most 24 MiB of them.
pub fn read_bounded(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = File::open(file).and_then(|file| read_at_most(file, LARGEST));
    bytes.map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))
}

/// The text of a PEM file as it stands, so that its oddities are judged; DER as PEM.
pub fn read_as_pem(file: &Path) -> Result<String, Failure> {
    let bytes = read_bounded(file)?;
    Ok(match Certificate::parse(&bytes) {
        Ok(certificate) => pem::encode("CERTIFICATE", certificate.der()),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Every certificate that can be read from PEM or DER, PKCS#12 without a password, or a zip of these.
pub fn certificates(bytes: &[u8]) -> Vec<Certificate> {
    let mut known = Vec::new();
    gather(&inspection::inspect(bytes, &COMMON_PASSWORDS, pkcs12::MOST_WORK), &mut known);
    known
}

fn gather(inspection: &Inspection, known: &mut Vec<Certificate>) {
    known.extend(inspection.certificates.iter().cloned());
    inspection.files.iter().for_each(|(_, file)| gather(file, known));
}

fn show(file: String, inspection: &Inspection, known: &[Certificate], now: Timestamp) -> Inspected {
    let certificate = |certificate: &Certificate| {
        let facts = certificate.facts().clone();
        CertificateFacts {
            issued_by: issued_by(certificate, known),
            subject: facts.subject,
            issuer: facts.issuer,
            serial: facts.serial,
            not_before: facts.not_before,
            not_after: facts.not_after,
            days_left: now.days_until(facts.not_after),
            dns_names: facts.dns_names,
            other_names: facts.other_names,
            is_ca: facts.is_ca,
            key: facts.key,
            signature: facts.signature,
            key_usages: facts.key_usages.unwrap_or_default(),
            extended_key_usages: facts.extended_key_usages,
            crl_urls: facts.crl_urls,
            sha256: facts.fingerprint.to_string(),
            sha1: facts.sha1,
        }
    };
    let list = |crl: &Crl| {
        let facts = crl.facts();
        CrlFacts {
            issuer: facts.issuer.clone(),
            this_update: facts.this_update,
            next_update: facts.next_update,
            days_left: facts.next_update.map(|next| now.days_until(next)),
            number: facts.number.as_deref().map(hex),
            entries: facts.count,
            scope: scope(&facts.scope, facts.delta),
            signature: facts.signature.clone(),
            judged: judged(crl, known, now),
            sha256: facts.fingerprint.to_string(),
        }
    };
    Inspected {
        file,
        form: inspection.form.name(),
        certificates: inspection.certificates.iter().map(certificate).collect(),
        crls: inspection.crls.iter().map(list).collect(),
        keys: inspection.secrets.clone(),
        files: inspection.files.iter().map(|(name, file)| show(name.clone(), file, known, now)).collect(),
        oddities: inspection.oddities.clone(),
    }
}

/// By names and key identifiers: whether it really did is what `trustsync verify` says.
fn issued_by(certificate: &Certificate, known: &[Certificate]) -> String {
    let facts = certificate.facts();
    if facts.self_issued() {
        return "itself".to_owned();
    }
    let issuer = known.iter().find(|other| {
        let keys_agree = match (&facts.authority_key_id, &other.facts().subject_key_id) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        };
        other.facts().subject_der == facts.issuer_der && keys_agree
    });
    issuer.map_or_else(|| "nothing that is here".to_owned(), |issuer| format!("{} here", issuer.fingerprint().short()))
}

fn scope(scope: &Scope, delta: bool) -> String {
    let kind = match scope.kind {
        CoveredKind::All => "every certificate of its issuer",
        CoveredKind::Leaves => "leaves only",
        CoveredKind::Authorities => "CA certificates only",
        CoveredKind::Attributes => "attribute certificates only",
    };
    let mut text = kind.to_owned();
    let urls: Vec<String> = scope.urls.iter().take(8).map(|url| quoted(url)).collect();
    for (holds, what) in [
        (!urls.is_empty(), format!("of the distribution point {}", urls.join(", "))),
        (scope.unnamed_point, "of a distribution point without a URL".to_owned()),
        (scope.only_some_reasons, "for some reasons only".to_owned()),
        (scope.indirect, "indirect: for other issuers too".to_owned()),
        (delta, "a delta: only what changed".to_owned()),
    ] {
        if holds {
            text.push_str(", ");
            text.push_str(&what);
        }
    }
    text
}

fn judged(crl: &Crl, known: &[Certificate], now: Timestamp) -> String {
    match crl::judge(crl, known, Duration::from_secs(300), now) {
        Ok(_) => "signed by its issuer, which is here, and in force".to_owned(),
        Err(refused) if refused.problem == Problem::OtherIssuer => {
            "signature not checked: its issuer's certificate is not here".to_owned()
        }
        Err(refused) => format!("not usable: {}", refused.problem),
    }
}

/// Text from certificates goes through `quoted`: nothing in it may move the terminal's cursor.
fn text(inspected: &Inspected, indent: &str) -> String {
    let mut text =
        format!("{indent}{}: {}, {} certificate(s)", inspected.file, inspected.form, inspected.certificates.len());
    for (count, what) in
        [(inspected.crls.len(), "CRL(s)"), (inspected.keys.len(), "key(s)"), (inspected.files.len(), "file(s)")]
    {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text.push('\n');
    let mut lines = String::new();
    for facts in &inspected.certificates {
        certificate_text(facts, &mut lines);
    }
    for facts in &inspected.crls {
        crl_text(facts, &mut lines);
    }
    for key in &inspected.keys {
        let _ = writeln!(lines, "\n  key: {key} (not shown)");
    }
    for oddity in &inspected.oddities {
        let _ = writeln!(lines, "\n  odd: {oddity}");
    }
    for line in lines.lines() {
        let _ = writeln!(text, "{}{line}", if line.is_empty() { "" } else { indent });
    }
    for file in &inspected.files {
        text.push('\n');
        text.push_str(&self::text(file, &format!("{indent}  ")));
    }
    text
}

fn certificate_text(facts: &CertificateFacts, text: &mut String) {
    let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "\n  subject     {}", quoted(&facts.subject));
    let _ = writeln!(text, "  issuer      {} ({})", quoted(&facts.issuer), facts.issued_by);
    let _ = writeln!(text, "  serial      {}", facts.serial);
    let _ = writeln!(text, "  validity    {} to {} ({} days left)", facts.not_before, facts.not_after, facts.days_left);
    let usages: Vec<String> = facts.key_usages.iter().map(|usage| (*usage).to_owned()).collect();
    for (what, values) in [
        ("dns names", &facts.dns_names),
        ("other names", &facts.other_names),
        ("key usages", &usages),
        ("usages", &facts.extended_key_usages),
        ("crls", &facts.crl_urls),
    ] {
        if !values.is_empty() {
            let _ = writeln!(text, "  {what:<11} {}", list(values));
        }
    }
    let ca = if facts.is_ca { ", a CA" } else { "" };
    let _ = writeln!(text, "  key         {}, signed with {}{ca}", facts.key, facts.signature);
    let _ = writeln!(text, "  sha256      {}", facts.sha256);
    let _ = writeln!(text, "  sha1        {}", facts.sha1);
}

fn crl_text(facts: &CrlFacts, text: &mut String) {
    let _ = writeln!(text, "\n  CRL of      {}", quoted(&facts.issuer));
    let next = match (facts.next_update, facts.days_left) {
        (Some(next), Some(days)) => format!("{next} ({days} days left)"),
        _ => "no stated end".to_owned(),
    };
    let _ = writeln!(text, "  in force    {} to {next}", facts.this_update);
    let _ = writeln!(text, "  number      {}", facts.number.as_deref().unwrap_or("none"));
    let _ = writeln!(text, "  entries     {}", facts.entries);
    let _ = writeln!(text, "  scope       {}", facts.scope);
    let _ = writeln!(text, "  signature   {}; {}", facts.signature, facts.judged);
    let _ = writeln!(text, "  sha256      {}", facts.sha256);
}
