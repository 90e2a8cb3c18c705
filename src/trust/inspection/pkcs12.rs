//! PKCS#12 (RFC 7292), as far as certificates go: keys in it are counted and named, and never decrypted.
//!
//! The format lets a file say how much work it is to open it, and a hostile one asks for hours. So every derivation is
//! paid for from a budget of the caller's, before it is begun. No general reader does that.

use std::num::NonZeroU32;

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyInit};
use ring::{digest, hmac, pbkdf2};

use crate::trust::formats::certificate::Certificate;
use crate::trust::formats::der::{self, NotDer, Reader, Value};
use crate::trust::values::excerpt::quoted;
use crate::trust::verify::crl::Crl;

/// The largest file that is opened. Stores with hundreds of certificates are smaller.
pub const LARGEST: usize = 4 * 1024 * 1024;
/// Rounds of hashing that opening a file may cost. OpenSSL writes files of 2 048, Java of 10 000 a derivation.
pub const MOST_WORK: u64 = 4_000_000;
/// How many bags are read of one file.
const MOST_BAGS: usize = 2_000;
/// How deep bags may be nested.
const DEEPEST: usize = 4;

/// What is in a file.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Its certificates, in its order.
    pub certificates: Vec<Certificate>,
    /// Its revocation lists, in its order.
    pub crls: Vec<Crl>,
    /// Its keys and other secrets, in words, with their friendly names; never their content.
    pub secrets: Vec<String>,
    /// What was odd but did not keep it from being read.
    pub oddities: Vec<String>,
}

/// Why a file was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    /// Not PKCS#12, or damaged.
    #[error("the PKCS#12 file is damaged or cut off")]
    Damaged,
    /// BER where DER is usual; NSS and old Windows write it.
    #[error(
        "the PKCS#12 file is in BER's indefinite form, which is not read here: `openssl pkcs12 -in F -nodes | openssl \
         pkcs12 -export` rewrites it"
    )]
    Indefinite,
    /// None of the passwords fits.
    #[error("the PKCS#12 file opens with none of the passwords that were tried: give --password-file")]
    WrongPassword,
    /// More rounds than the budget.
    #[error("the PKCS#12 file demands more rounds of hashing than are spent on it ({MOST_WORK})")]
    TooMuchWork,
    /// Larger, or with more bags.
    #[error("the PKCS#12 file is larger than {LARGEST} bytes, or has more than {MOST_BAGS} bags")]
    TooLarge,
    /// RC4, public-key modes and other rare schemes.
    #[error("the PKCS#12 file is encrypted in a way that is not read here")]
    Unsupported,
}

impl From<NotDer> for Pkcs12Error {
    fn from(NotDer: NotDer) -> Self {
        Self::Damaged
    }
}

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// The rest is 1 to 6: the modes of RFC 7292, appendix C.
const PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];
/// The rest is 1 to 6: the kinds of bags.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
const X509_CRL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 23, 1];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
const AES_128: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
const AES_192: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 22];
const AES_256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
const DES_EDE3: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7];
/// The rest is 7, 9, 10, 11: HMAC with SHA-1, SHA-256, SHA-384, SHA-512.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
/// The rest is 1, 2, 3: SHA-256, SHA-384, SHA-512.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

/// Whether bytes begin as PKCS#12 does: a SEQUENCE of version 3 and another SEQUENCE, in DER or BER.
#[must_use]
pub fn is_pkcs12(bytes: &[u8]) -> bool {
    let body = match bytes {
        [der::SEQUENCE, length, rest @ ..] if *length > 0x80 => rest.get(usize::from(length & 0x7f)..),
        [der::SEQUENCE, _, rest @ ..] => Some(rest),
        _ => None,
    };
    body.is_some_and(|body| body.starts_with(&[der::INTEGER, 1, 3, der::SEQUENCE]))
}

/// Opens a file with the first password that fits, at a cost of at most `work` rounds of hashing.
pub fn read(bytes: &[u8], passwords: &[&str], mut work: u64) -> Result<Contents, Pkcs12Error> {
    if bytes.len() > LARGEST {
        return Err(Pkcs12Error::TooLarge);
    }
    if bytes.get(1) == Some(&0x80) {
        return Err(Pkcs12Error::Indefinite);
    }
    let mut parts = Reader::only(bytes, der::SEQUENCE)?.parts();
    parts.expect(der::INTEGER)?;
    let mut outer = parts.expect(der::SEQUENCE)?.parts();
    if outer.expect(der::OID)?.content != DATA {
        return Err(Pkcs12Error::Unsupported);
    }
    let safe = Reader::only(outer.expect(0xa0)?.content, der::OCTET_STRING)?.content;
    let mac = parts.optional(der::SEQUENCE)?;
    parts.end()?;

    let mut unmarked = false;
    let mut failure = Pkcs12Error::WrongPassword;
    for password in forms(passwords) {
        match mac.map(|mac| mac_fits(&mac, safe, &password, &mut work)).transpose() {
            Ok(Some(false)) => continue,
            Ok(Some(true)) => {}
            Ok(None) | Err(Pkcs12Error::Unsupported) => unmarked = true,
            Err(error) => return Err(error),
        }
        let mut contents = Contents::default();
        if unmarked {
            contents.oddities.push("it has no integrity check that is known here: it may have been changed".to_owned());
        }
        match (Opening { password: &password, work: &mut work, bags: 0, contents: &mut contents }).safe(safe) {
            Ok(()) => return Ok(contents),
            // Without a check only the padding tells a wrong password.
            Err(error @ (Pkcs12Error::WrongPassword | Pkcs12Error::Damaged)) if unmarked => failure = error,
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

/// A password as the two schemes write it: UTF-8, and UTF-16 with a final NUL (RFC 7292, B.1).
struct Password {
    utf8: Vec<u8>,
    utf16: Vec<u8>,
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

fn forms(passwords: &[&str]) -> Vec<Password> {
    let form = |text: &&str| Password { utf8: text.as_bytes().to_vec(), utf16: utf16(text) };
    let mut forms: Vec<Password> = passwords.iter().map(form).collect();
    if passwords.contains(&"") {
        // Some programs write no password as nothing, without the NUL.
        forms.push(Password { utf8: Vec::new(), utf16: Vec::new() });
    }
    forms
}

/// Takes the rounds of a derivation from the budget.
fn pay(iterations: &Value<'_>, times: u64, work: &mut u64) -> Result<NonZeroU32, Pkcs12Error> {
    let number = iterations.content.iter().fold(0_u64, |number, byte| number.saturating_mul(256) | u64::from(*byte));
    *work = work.checked_sub(number.saturating_mul(times).max(1)).ok_or(Pkcs12Error::TooMuchWork)?;
    let number = u32::try_from(number).map_err(|_| Pkcs12Error::TooMuchWork)?;
    NonZeroU32::new(number).ok_or(Pkcs12Error::Damaged)
}

fn mac_fits(mac: &Value<'_>, safe: &[u8], password: &Password, work: &mut u64) -> Result<bool, Pkcs12Error> {
    let mut parts = mac.parts();
    let mut digest_info = parts.expect(der::SEQUENCE)?.parts();
    let oid = digest_info.expect(der::SEQUENCE)?.parts().expect(der::OID)?.content;
    let expected = digest_info.expect(der::OCTET_STRING)?.content;
    let (hash, tagged) = match (oid, oid.strip_prefix(SHA2)) {
        (SHA1, _) => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (_, Some([1])) => (&digest::SHA256, hmac::HMAC_SHA256),
        (_, Some([2])) => (&digest::SHA384, hmac::HMAC_SHA384),
        (_, Some([3])) => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Pkcs12Error::Unsupported),
    };
    let salt = parts.expect(der::OCTET_STRING)?.content;
    let one = Value { tag: der::INTEGER, content: &[1], whole: &[] };
    let iterations = pay(&parts.optional(der::INTEGER)?.unwrap_or(one), 1, work)?;
    let key = derive(hash, 3, &password.utf16, salt, iterations, hash.output_len());
    Ok(hmac::verify(&hmac::Key::new(tagged, &key), safe, expected).is_ok())
}

/// The integrity check of a file that is written with this password: HMAC with SHA-256, RFC 7292, section 4.
#[must_use]
pub fn mac(safe: &[u8], password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let key = derive(&digest::SHA256, 3, &utf16(password), salt, iterations, digest::SHA256.output_len());
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), safe).as_ref().to_vec()
}

/// RFC 7292, B.2.
fn derive(
    hash: &'static digest::Algorithm,
    purpose: u8,
    password: &[u8],
    salt: &[u8],
    iterations: NonZeroU32,
    length: usize,
) -> Vec<u8> {
    let block = hash.block_len();
    let filled =
        |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().cycle().take(bytes.len().next_multiple_of(block)).collect() };
    let mut state = [filled(salt), filled(password)].concat();
    let mut key = Vec::new();
    while key.len() < length {
        let mut round = digest::Context::new(hash);
        round.update(&vec![purpose; block]);
        round.update(&state);
        let mut output = round.finish();
        for _ in 1..iterations.get() {
            output = digest::digest(hash, output.as_ref());
        }
        key.extend_from_slice(output.as_ref());
        let addend: Vec<u8> = output.as_ref().iter().copied().cycle().take(block).collect();
        for piece in state.chunks_mut(block) {
            let mut carry = 1_u16;
            for (byte, add) in piece.iter_mut().zip(&addend).rev() {
                let sum = u16::from(*byte).saturating_add(u16::from(*add)).saturating_add(carry);
                let [high, low] = sum.to_be_bytes();
                (*byte, carry) = (low, u16::from(high));
            }
        }
    }
    key.truncate(length);
    key
}

/// A file being opened with a password.
struct Opening<'a> {
    password: &'a Password,
    work: &'a mut u64,
    bags: usize,
    contents: &'a mut Contents,
}

impl Opening<'_> {
    fn safe(&mut self, safe: &[u8]) -> Result<(), Pkcs12Error> {
        let mut infos = Reader::only(safe, der::SEQUENCE)?.parts();
        while !infos.is_empty() {
            let mut info = infos.expect(der::SEQUENCE)?.parts();
            match info.expect(der::OID)?.content {
                DATA => {
                    let bags = Reader::only(info.expect(0xa0)?.content, der::OCTET_STRING)?.content;
                    self.bags(bags, 0)?;
                }
                ENCRYPTED_DATA => {
                    let mut data = Reader::only(info.expect(0xa0)?.content, der::SEQUENCE)?.parts();
                    data.expect(der::INTEGER)?;
                    let mut encrypted = data.expect(der::SEQUENCE)?.parts();
                    encrypted.expect(der::OID)?;
                    let algorithm = encrypted.expect(der::SEQUENCE)?;
                    let bytes = encrypted.expect(0x80)?.content;
                    let bags = self.decrypt(&algorithm, bytes)?;
                    self.bags(&bags, 0)?;
                }
                _ => self.contents.oddities.push("a part of it is for a public key, and was not opened".to_owned()),
            }
        }
        Ok(())
    }

    fn bags(&mut self, contents: &[u8], depth: usize) -> Result<(), Pkcs12Error> {
        if depth > DEEPEST {
            return Err(Pkcs12Error::TooLarge);
        }
        let mut bags = Reader::only(contents, der::SEQUENCE)?.parts();
        while !bags.is_empty() {
            self.bags = self.bags.saturating_add(1);
            if self.bags > MOST_BAGS {
                return Err(Pkcs12Error::TooLarge);
            }
            let mut bag = bags.expect(der::SEQUENCE)?.parts();
            let kind = bag.expect(der::OID)?.content.strip_prefix(BAG);
            let value = bag.expect(0xa0)?.content;
            let name = bag.optional(der::SET)?.and_then(|attributes| friendly_name(&attributes));
            let name = name.map_or(String::new(), |name| format!(", named \"{}\"", quoted(&name)));
            match kind {
                Some([1]) => self.contents.secrets.push(format!("a private key that is not encrypted by itself{name}")),
                Some([2]) => self.contents.secrets.push(format!("an encrypted private key{name}")),
                Some([3]) => self.held(value, X509_CERTIFICATE)?,
                Some([4]) => self.held(value, X509_CRL)?,
                Some([6]) => self.bags(value, depth.saturating_add(1))?,
                _ => self.contents.secrets.push(format!("a secret of another kind{name}")),
            }
        }
        Ok(())
    }

    /// A certificate or a revocation list.
    fn held(&mut self, bag: &[u8], kind: &[u8]) -> Result<(), Pkcs12Error> {
        let mut parts = Reader::only(bag, der::SEQUENCE)?.parts();
        let (is, number) = (parts.expect(der::OID)?.content, self.bags);
        let content = Reader::only(parts.expect(0xa0)?.content, der::OCTET_STRING)?.content;
        let read = if is != kind {
            Err("a certificate or CRL of a kind that is not X.509".to_owned())
        } else if kind == X509_CRL {
            Crl::parse(content.to_vec()).map(|crl| self.contents.crls.push(crl)).map_err(|error| error.to_string())
        } else {
            let read = Certificate::parse(content).map_err(|error| error.to_string());
            read.map(|certificate| self.contents.certificates.push(certificate))
        };
        self.contents.oddities.extend(read.err().map(|what| format!("bag {number}: {what}")));
        Ok(())
    }

    fn decrypt(&mut self, algorithm: &Value<'_>, bytes: &[u8]) -> Result<Vec<u8>, Pkcs12Error> {
        let mut parts = algorithm.parts();
        let oid = parts.expect(der::OID)?.content;
        let mut parameters = parts.expect(der::SEQUENCE)?.parts();
        if oid == PBES2 {
            return self.decrypt_pbes2(parameters, bytes);
        }
        let salt = parameters.expect(der::OCTET_STRING)?.content;
        let rounds = parameters.expect(der::INTEGER)?;
        let (length, mode) = match oid.strip_prefix(PBE) {
            Some([mode @ 3]) => (24, *mode),
            Some([mode @ (4 | 5)]) => (16, *mode),
            Some([mode @ 6]) => (5, *mode),
            _ => return Err(Pkcs12Error::Unsupported),
        };
        // Two blocks at most for the key, and one for the vector.
        let iterations = pay(&rounds, 3, self.work)?;
        let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        let mut key = derive(hash, 1, &self.password.utf16, salt, iterations, length);
        let iv = derive(hash, 2, &self.password.utf16, salt, iterations, 8);
        match mode {
            5 => cbc_decrypt(rc2::Rc2::new_with_eff_key_len(&key, 128), &iv, bytes),
            6 => cbc_decrypt(rc2::Rc2::new_with_eff_key_len(&key, 40), &iv, bytes),
            _ => {
                // Two keys are three, of which the last is the first.
                let first: Vec<u8> = key.iter().copied().take(24_usize.saturating_sub(key.len())).collect();
                key.extend(first);
                decrypt_by::<des::TdesEde3>(&key, &iv, bytes)
            }
        }
    }

    fn decrypt_pbes2(&mut self, mut parameters: Reader<'_>, bytes: &[u8]) -> Result<Vec<u8>, Pkcs12Error> {
        let mut derivation = parameters.expect(der::SEQUENCE)?.parts();
        if derivation.expect(der::OID)?.content != PBKDF2 {
            return Err(Pkcs12Error::Unsupported);
        }
        let mut derivation = derivation.expect(der::SEQUENCE)?.parts();
        let salt = derivation.expect(der::OCTET_STRING)?.content;
        let rounds = derivation.expect(der::INTEGER)?;
        derivation.optional(der::INTEGER)?;
        let function = match derivation.optional(der::SEQUENCE)? {
            None => pbkdf2::PBKDF2_HMAC_SHA1,
            Some(function) => match function.parts().expect(der::OID)?.content.strip_prefix(HMAC) {
                Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return Err(Pkcs12Error::Unsupported),
            },
        };
        let mut cipher = parameters.expect(der::SEQUENCE)?.parts();
        let name = cipher.expect(der::OID)?.content;
        let iv = cipher.expect(der::OCTET_STRING)?.content;
        let (length, decrypt): (usize, Decrypt) = match name {
            AES_128 => (16, decrypt_by::<aes::Aes128>),
            AES_192 => (24, decrypt_by::<aes::Aes192>),
            AES_256 => (32, decrypt_by::<aes::Aes256>),
            DES_EDE3 => (24, decrypt_by::<des::TdesEde3>),
            _ => return Err(Pkcs12Error::Unsupported),
        };
        let iterations = pay(&rounds, 2, self.work)?;
        let mut key = vec![0; length];
        pbkdf2::derive(function, iterations, salt, &self.password.utf8, &mut key);
        decrypt(&key, iv, bytes)
    }
}

/// Key, initialization vector, encrypted bytes.
type Decrypt = fn(&[u8], &[u8], &[u8]) -> Result<Vec<u8>, Pkcs12Error>;

fn decrypt_by<C: KeyInit + BlockCipherDecrypt>(key: &[u8], iv: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Pkcs12Error> {
    cbc_decrypt(C::new_from_slice(key).map_err(|_| Pkcs12Error::Damaged)?, iv, bytes)
}

fn cbc_decrypt<C: BlockCipherDecrypt>(cipher: C, iv: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Pkcs12Error> {
    let decryptor = cbc::Decryptor::<C>::inner_iv_slice_init(cipher, iv).map_err(|_| Pkcs12Error::Damaged)?;
    let mut bytes = bytes.to_vec();
    let plain = decryptor.decrypt_padded::<Pkcs7>(&mut bytes).map_err(|_| Pkcs12Error::WrongPassword)?;
    Ok(plain.to_vec())
}

fn friendly_name(attributes: &Value<'_>) -> Option<String> {
    let mut attributes = attributes.parts();
    while let Ok(attribute) = attributes.next() {
        let mut parts = attribute.parts();
        if parts.expect(der::OID).ok()?.content == FRIENDLY_NAME {
            let name = parts.expect(der::SET).ok()?.parts().expect(der::BMP_STRING).ok()?.content;
            let units = name.chunks(2).map(|pair| pair.iter().fold(0_u16, |unit, byte| unit << 8 | u16::from(*byte)));
            return Some(units.take(200).map(|unit| char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')).collect());
        }
    }
    None
}
