//! DER read in place, for structures of hundreds of thousands of elements: every value is a slice of the input, and
//! nothing is kept of one when the next is read. X.690, clause 10: definite lengths in their shortest form alone.

use x509_parser::asn1_rs::{ASN1DateTime, ASN1TimeZone};

use crate::trust::values::timestamp::Timestamp;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
/// UTF-16, big-endian (X.680 §41).
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The bytes are no DER, or not of the expected shape. What was expected where is for the caller to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotDer;

/// One value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    /// Its identifier octet; tag numbers above 30 occur nowhere in X.509, and are refused.
    pub tag: u8,
    /// What it holds.
    pub content: &'a [u8],
    /// Identifier, length and content.
    pub whole: &'a [u8],
}

/// Values in a row.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Exactly one value of this tag, to the last byte.
    pub fn only(bytes: &'a [u8], tag: u8) -> Result<Value<'a>, NotDer> {
        let mut reader = Self::new(bytes);
        let value = reader.expect(tag)?;
        reader.end()?;
        Ok(value)
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    pub fn next(&mut self) -> Result<Value<'a>, NotDer> {
        let (tag, after_tag) = self.rest.split_first().ok_or(NotDer)?;
        let (first, after_length) = after_tag.split_first().ok_or(NotDer)?;
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
        let (length, body) = if *first < 0x80 {
            (usize::from(*first), after_length)
        } else {
            let (bytes, body) = after_length.split_at_checked(usize::from(first & 0x7f)).ok_or(NotDer)?;
            // Four bytes are four gigabytes; none at all would be the indefinite form.
            if bytes.is_empty() || bytes.len() > 4 || bytes.first() == Some(&0) {
                return Err(NotDer);
            }
            let length = bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            if length < 0x80 {
                return Err(NotDer);
            }
            (length, body)
        };
        let (content, rest) = body.split_at_checked(length).ok_or(NotDer)?;
        let size = self.rest.len().checked_sub(rest.len()).ok_or(NotDer)?;
        let whole = self.rest.get(..size).ok_or(NotDer)?;
        self.rest = rest;
        Ok(Value { tag: *tag, content, whole })
    }

    /// The next value, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Result<Value<'a>, NotDer> {
        self.next().and_then(|value| if value.tag == tag { Ok(value) } else { Err(NotDer) })
    }

    /// The next value where it has this tag; else nothing is read.
    pub fn optional(&mut self, tag: u8) -> Result<Option<Value<'a>>, NotDer> {
        if self.rest.first() == Some(&tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// A BOOLEAN of this tag, which DER writes in one way each; false where it is left out.
    pub fn flag(&mut self, tag: u8) -> Result<bool, NotDer> {
        match self.optional(tag)?.map(|flag| flag.content) {
            None | Some([0x00]) => Ok(false),
            Some([0xff]) => Ok(true),
            _ => Err(NotDer),
        }
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), NotDer> {
        if self.rest.is_empty() { Ok(()) } else { Err(NotDer) }
    }
}

impl<'a> Value<'a> {
    /// What it consists of.
    pub fn parts(&self) -> Reader<'a> {
        Reader::new(self.content)
    }

    /// The octets of a BIT STRING without unused bits.
    pub fn octets(&self) -> Result<&'a [u8], NotDer> {
        match self.content.split_first() {
            Some((0, octets)) => Ok(octets),
            _ => Err(NotDer),
        }
    }

    /// A UTCTime or GeneralizedTime in the one form of each that RFC 5280 (4.1.2.5) allows: seconds, and `Z`.
    pub fn time(&self) -> Result<Timestamp, NotDer> {
        let (digits, generalized) = match (self.tag, self.content) {
            (UTC_TIME, [digits @ .., b'Z']) if digits.len() == 12 => (digits, false),
            (GENERALIZED_TIME, [digits @ .., b'Z']) if digits.len() == 14 => (digits, true),
            _ => return Err(NotDer),
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(NotDer);
        }
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u8>().ok());
        let mut pairs = digits.chunks(2).map(|pair| number(pair).ok_or(NotDer));
        let mut pair = || pairs.next().unwrap_or(Err(NotDer));
        let first = u32::from(pair()?);
        let year = match first {
            century if generalized => century.saturating_mul(100).saturating_add(u32::from(pair()?)),
            50.. => first.saturating_add(1900),
            _ => first.saturating_add(2000),
        };
        let moment = ASN1DateTime::new(year, pair()?, pair()?, pair()?, pair()?, pair()?, None, ASN1TimeZone::Z);
        let moment = moment.to_datetime().map_err(|_| NotDer)?;
        Ok(Timestamp::from_unix(moment.unix_timestamp()))
    }
}

/// One value: its tag, its length in the shortest form, and its parts in a row.
pub(crate) fn tlv<P: AsRef<[u8]>>(tag: u8, parts: &[P]) -> Vec<u8> {
    let content: Vec<u8> = parts.iter().flat_map(P::as_ref).copied().collect();
    let mut value = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => value.push(short),
        _ => {
            let length: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // At most eight bytes.
            value.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            value.extend(length);
        }
    }
    value.extend(content);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
        Reader::new(bytes).next().ok().map(|value| (value.tag, value.content.to_vec()))
    }

    #[test]
    fn one_form_of_each_length_is_read() {
        assert_eq!(read(&[0x04, 0x01, 0xaa, 0xbb]), Some((4, vec![0xaa])));
        let long = [[0x04, 0x81, 0x80].as_slice(), &[7; 0x80]].concat();
        assert_eq!(read(&long), Some((4, vec![7; 0x80])));
        for wrong in [
            [].as_slice(),
            &[0x04],
            &[0x04, 0x02, 0x00],
            &[0x04, 0x80, 0x00, 0x00],
            &[0x04, 0x81, 0x01, 0x00],
            &[0x04, 0x82, 0x00, 0x80],
            &[0x04, 0x85, 1, 0, 0, 0, 0],
            &[0x1f, 0x01, 0x00],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn times_agree_with_the_calendar_and_have_one_form() {
        let time = |tag, text: &str| Value { tag, content: text.as_bytes(), whole: &[] }.time();
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", "1970-01-01T00:00:00Z"),
            (UTC_TIME, "491231235959Z", "2049-12-31T23:59:59Z"),
            (GENERALIZED_TIME, "20240229120000Z", "2024-02-29T12:00:00Z"),
            (GENERALIZED_TIME, "99991231235959Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(tag, text).unwrap().to_string(), expected);
        }
        for wrong in
            ["230229000000Z", "231301000000Z", "230100000000Z", "230101240000Z", "230101000000+", "2301010000Z"]
        {
            assert_eq!(time(UTC_TIME, wrong), Err(NotDer), "{wrong}");
        }
        assert_eq!(time(GENERALIZED_TIME, "20230101000000.5Z"), Err(NotDer));
        assert_eq!(time(UTC_TIME, "500101000000Z").unwrap().to_string(), "1950-01-01T00:00:00Z");
    }
}
