//! `trustsync inspect`: what is in a file (PEM, DER, CRL, PKCS#12, zip), oddities named.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Failure, print};
use crate::bounded::read_at_most;
use crate::cli::{Global, Inspect};
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::pem;
use crate::trust::inspection::pkcs12;
use crate::trust::inspection::{self, Inspection};
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::hex;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::crl::{self, CoveredKind, Crl, Problem, Scope};
use crate::trust::verify::refusal::{Refusal, Rule};

/// More of a file is not read: the longest CRL as PEM.
const LARGEST: u64 = 24 * 1024 * 1024;
/// What PKCS#12 is commonly written with where no secret is in it.
const COMMON_PASSWORDS: [&str; 2] = ["", "changeit"];

/// What the files hold in sum, by which issuers are found.
struct Inspector {
    known: Vec<Certificate>,
    now: Timestamp,
}

pub fn run(global: &Global, arguments: &Inspect) -> Result<Exit, Failure> {
    let given = arguments.password_file.as_deref().map(password).transpose()?;
    let passwords = given.as_deref().map_or_else(|| COMMON_PASSWORDS.to_vec(), |given| vec![given]);
    let mut inspector = Inspector { known: Vec::new(), now: SystemClock.now() };
    let mut inspections = Vec::new();
    for file in &arguments.files {
        let inspection = inspection::inspect(&read_bounded(file)?, &passwords, pkcs12::MOST_WORK);
        gather(&inspection, &mut inspector.known);
        inspections.push((file.display().to_string(), inspection));
    }
    let json: Vec<Value> = inspections.iter().map(|(file, inspection)| inspector.json(file, inspection)).collect();
    print(global.output, &json!({"files": json}), || {
        inspections.iter().map(|(file, inspection)| inspector.text(file, inspection, "")).collect()
    })?;
    let readable = inspections.iter().all(|(_, inspection)| inspection.found_something());
    Ok(if readable { Exit::Done } else { Exit::Answer })
}

/// A password from its file, without the line's end.
fn password(file: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(read_bounded(file)?)
        .map_err(|_| Failure::Refused(format!("{}: the password is not UTF-8", file.display())))?;
    Ok(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned())
}

/// A file's bytes, at most 24 MiB of them.
pub fn read_bounded(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = File::open(file).and_then(|file| read_at_most(file, LARGEST));
    bytes.map_err(|error| Failure::Refused(format!("{} cannot be read: {error}", file.display())))
}

/// Why a file's leaf is refused. The vendor mends what the vendor lists; a file that is not what it should be is the
/// operator's own.
pub fn told(file: &Path, refusal: &Refusal) -> String {
    let is_of_file = matches!(
        refusal.rule(),
        Rule::ForeignBlock
            | Rule::BrokenPem
            | Rule::TooLarge
            | Rule::NoCertificate
            | Rule::TooManyCertificates
            | Rule::UnreadableCertificate
            | Rule::SeveralLeaves
    );
    let text = refusal.to_string();
    match text.strip_suffix(refusal.rule().remedy()).filter(|_| is_of_file) {
        Some(text) => format!("{text}To see what is in the file: trustsync inspect {}", file.display()),
        None => text,
    }
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

impl Inspector {
    fn json(&self, file: &str, inspection: &Inspection) -> Value {
        let files = inspection.files.iter().map(|(name, file)| self.json(name, file));
        json!({
            "file": file,
            "form": inspection.form.name(),
            "certificates": inspection.certificates.iter().map(|held| self.certificate_json(held)).collect::<Vec<_>>(),
            "crls": inspection.crls.iter().map(|crl| self.crl_json(crl)).collect::<Vec<_>>(),
            "keys": inspection.secrets,
            "files": files.collect::<Vec<_>>(),
            "oddities": inspection.oddities,
        })
    }

    fn certificate_json(&self, certificate: &Certificate) -> Value {
        let facts = certificate.facts();
        json!({
            "subject": facts.subject,
            "issuer": facts.issuer,
            "issued_by": issued_by(certificate, &self.known),
            "serial": facts.serial,
            "not_before": facts.not_before,
            "not_after": facts.not_after,
            "days_left": self.now.days_until(facts.not_after),
            "dns_names": facts.dns_names,
            "other_names": facts.other_names,
            "is_ca": facts.is_ca,
            "key": facts.key.to_string(),
            "signature": facts.signature,
            "key_usages": facts.key_usages.as_deref().unwrap_or_default(),
            "extended_key_usages": facts.extended_key_usages,
            "crl_urls": facts.crl_urls,
            "sha256": facts.fingerprint,
            "sha1": facts.sha1,
        })
    }

    fn crl_json(&self, crl: &Crl) -> Value {
        let facts = crl.facts();
        json!({
            "issuer": facts.issuer,
            "this_update": facts.this_update,
            "next_update": facts.next_update,
            "days_left": facts.next_update.map(|next| self.now.days_until(next)),
            "number": facts.number.as_deref().map(hex),
            "entries": facts.count,
            "scope": scope(&facts.scope, facts.delta),
            "signature": facts.signature,
            "judged": verdict_on(crl, &self.known, self.now),
            "sha256": facts.fingerprint,
        })
    }

    /// Text from certificates goes through `quoted`: nothing in it may move the terminal's cursor.
    fn text(&self, file: &str, inspection: &Inspection, indent: &str) -> String {
        let Inspection { form, certificates, crls, secrets, files, oddities, .. } = inspection;
        let mut text = format!("{indent}{file}: {}, {} certificate(s)", form.name(), certificates.len());
        for (count, what) in [(crls.len(), "CRL(s)"), (secrets.len(), "key(s)"), (files.len(), "file(s)")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text.push('\n');
        let mut lines = String::new();
        certificates.iter().for_each(|certificate| self.certificate_text(certificate, &mut lines));
        crls.iter().for_each(|crl| self.crl_text(crl, &mut lines));
        for key in secrets {
            let _ = writeln!(lines, "\n  key: {key} (not shown)");
        }
        for oddity in oddities {
            let _ = writeln!(lines, "\n  odd: {oddity}");
        }
        for line in lines.lines() {
            let _ = writeln!(text, "{}{line}", if line.is_empty() { "" } else { indent });
        }
        for (name, file) in files {
            text.push('\n');
            text.push_str(&self.text(name, file, &format!("{indent}  ")));
        }
        text
    }

    fn certificate_text(&self, certificate: &Certificate, text: &mut String) {
        let facts = certificate.facts();
        let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let (from, until, left) = (facts.not_before, facts.not_after, self.now.days_until(facts.not_after));
        let _ = writeln!(text, "\n  subject     {}", quoted(&facts.subject));
        let _ = writeln!(text, "  issuer      {} ({})", quoted(&facts.issuer), issued_by(certificate, &self.known));
        let _ = writeln!(text, "  serial      {}", facts.serial);
        let _ = writeln!(text, "  validity    {from} to {until} ({left} days left)");
        let usages: Vec<String> = facts.key_usages.iter().flatten().map(|usage| (*usage).to_owned()).collect();
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
        let _ = writeln!(text, "  sha256      {}\n  sha1        {}", facts.fingerprint, facts.sha1);
    }

    fn crl_text(&self, crl: &Crl, text: &mut String) {
        let facts = crl.facts();
        let next = facts.next_update.map_or_else(
            || "no stated end".to_owned(),
            |next| format!("{next} ({} days left)", self.now.days_until(next)),
        );
        let number = facts.number.as_deref().map_or_else(|| "none".to_owned(), hex);
        let _ = writeln!(text, "\n  CRL of      {}", quoted(&facts.issuer));
        let _ = writeln!(text, "  in force    {} to {next}", facts.this_update);
        let _ = writeln!(text, "  number      {number}");
        let _ = writeln!(text, "  entries     {}", facts.count);
        let _ = writeln!(text, "  scope       {}", scope(&facts.scope, facts.delta));
        let _ = writeln!(text, "  signature   {}; {}", facts.signature, verdict_on(crl, &self.known, self.now));
        let _ = writeln!(text, "  sha256      {}", facts.fingerprint);
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

fn verdict_on(crl: &Crl, known: &[Certificate], now: Timestamp) -> String {
    match crl::believe(crl, known, Duration::from_secs(300), now) {
        Ok(_) => "signed by its issuer, which is here, and in force".to_owned(),
        Err(refused) if refused.problem == Problem::OtherIssuer => {
            "signature not checked: its issuer's certificate is not here".to_owned()
        }
        Err(refused) => format!("not usable: {}", refused.problem),
    }
}
