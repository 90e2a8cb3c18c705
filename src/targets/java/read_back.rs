//! Reads Java's truststores, by the reader of the PKCS#12 files that people bring.

use std::collections::BTreeSet;

use crate::targets::read_back::meant::counted;
use crate::trust::formats::certificate::Certificate;
use crate::trust::inspection::pkcs12;
use crate::trust::render::Odd;

/// That many different certificates, and nothing else; the password that everybody knows opens it and finds it
/// unchanged.
pub(super) fn truststore(bytes: &[u8], meant: usize) -> Result<(), Odd> {
    let contents = pkcs12::read(bytes, &["changeit"], pkcs12::MOST_WORK)
        .map_err(|error| (error.to_string(), format!("{meant} certificates")))?;
    let odd = contents.secrets.into_iter().chain(contents.oddities).next();
    if let Some(odd) = odd.or_else(|| (!contents.crls.is_empty()).then(|| "a revocation list".to_owned())) {
        return Err((odd, "certificates alone".to_owned()));
    }
    let different: BTreeSet<_> = contents.certificates.iter().map(Certificate::fingerprint).collect();
    counted(different.len(), meant, "different certificates")?;
    counted(contents.certificates.len(), meant, "certificates")
}
