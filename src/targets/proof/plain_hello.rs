//! The beginning of a TLS handshake, up to where a server asks for a client certificate, without any cryptography.
//!
//! ```text
//!  ClientHello ──▶
//!                ◀── ServerHello · Certificate · ServerKeyExchange · CertificateRequest · ServerHelloDone     in the clear
//! ```
//! Up to TLS 1.2 a server says all this before anything is encrypted, so that it can be read whatever key, group or
//! cipher it has: we offer everything that servers know, and compute nothing. Used where our own TLS client shares
//! nothing with the server. What is read is bounded, and believed no more than any other handshake.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most that is read of a server: its certificates, and the names of 64 KiB.
const MOST: usize = 256 * 1024;

/// What stands before each record: its kind, its version, its length.
const RECORD_HEADER: usize = 5;

/// The longest record (RFC 5246 §6.2.3).
const LONGEST_RECORD: usize = 16 * 1024 + 2_048;

/// The kinds of records and of handshake messages that are read (RFC 5246 §6.2.1 and §7.4).
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;

/// TLS 1.2, from which on a CertificateRequest lists signature algorithms.
const TLS_1_2: u16 = 0x0303;

/// ECDHE, DHE and RSA, with GCM, ChaCha20, CCM, CBC and 3DES, and the sign that insecure renegotiation is not wanted.
const CIPHERS: [u16; 40] = [
    0xc02c, 0xc02b, 0xc030, 0xc02f, 0xcca9, 0xcca8, 0xccaa, 0x009f, 0x009e, 0xc0ad, 0xc0ac, 0xc09f, 0xc09e, 0xc024,
    0xc023, 0xc028, 0xc027, 0x006b, 0x0067, 0xc00a, 0xc009, 0xc014, 0xc013, 0x0039, 0x0033, 0xc09d, 0xc09c, 0x009d,
    0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0xc073, 0xc077, 0xc008, 0xc012, 0x0016, 0x000a, 0x00ff,
];

/// X25519, P-256, P-384, P-521, X448, Brainpool, the finite fields of RFC 7919.
const GROUPS: [u16; 11] = [0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x001a, 0x001b, 0x001c, 0x0100, 0x0101, 0x0102];

/// ECDSA, EdDSA, RSA-PSS with either kind of key, RSA, and the two of SHA-1.
const SIGNATURES: [u16; 17] = [
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601,
    0x0402, 0x0203, 0x0201,
];

/// What a server says in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It asks for a certificate: the DER of each name that it gives.
    Names(Vec<Vec<u8>>),
    /// It comes to the end of its part without asking.
    DoesNotAsk,
}

/// Begins a handshake and reads the server's part; none if that is not to be had, or not understood. No name is sent
/// for none.
pub(super) async fn ask(mut connection: impl AsyncRead + AsyncWrite + Unpin, name: Option<&str>) -> Option<Said> {
    connection.write_all(&client_hello(name)?).await.ok()?;
    let (mut reader, mut taken) = (Reader::default(), 0_usize);
    loop {
        let mut header = [0; RECORD_HEADER];
        connection.read_exact(&mut header).await.ok()?;
        let [kind, _, _, high, low] = header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        taken = taken.saturating_add(RECORD_HEADER).saturating_add(length);
        // No handshake has empty records (RFC 5246 §6.2.1).
        if kind != HANDSHAKE || length == 0 || length > LONGEST_RECORD || taken > MOST {
            return None;
        }
        let mut record = vec![0; length];
        connection.read_exact(&mut record).await.ok()?;
        if let Some(said) = reader.take(&record)? {
            return Some(said);
        }
    }
}

/// The messages of a handshake, as they come in records.
#[derive(Default)]
struct Reader {
    /// What is not a whole message yet.
    held: Vec<u8>,
    version: u16,
    names: Option<Vec<Vec<u8>>>,
}

impl Reader {
    /// Takes one record; none if this is not a handshake.
    fn take(&mut self, record: &[u8]) -> Option<Option<Said>> {
        self.held.extend_from_slice(record);
        // Most short records end no message: what is held is not copied for each.
        if Input(&self.held).message().is_none() {
            return Some(None);
        }
        let held = std::mem::take(&mut self.held);
        let mut input = Input(&held);
        loop {
            let begins = input.0;
            let Some((kind, message)) = input.message() else {
                self.held = begins.to_vec();
                return Some(None);
            };
            match kind {
                SERVER_HELLO => self.version = Input(message).number(2)?,
                CERTIFICATE_REQUEST => self.names = Some(names_in(message, self.version >= TLS_1_2)?),
                SERVER_HELLO_DONE => return Some(Some(self.names.take().map_or(Said::DoesNotAsk, Said::Names))),
                _ => {}
            }
        }
    }
}

/// The names of a CertificateRequest (RFC 5246 §7.4.4).
fn names_in(message: &[u8], lists_signatures: bool) -> Option<Vec<Vec<u8>>> {
    let mut input = Input(message);
    input.sized(1)?;
    if lists_signatures {
        input.sized(2)?;
    }
    let mut list = Input(input.sized(2)?);
    let mut names = Vec::new();
    while !list.0.is_empty() {
        names.push(list.sized(2)?.to_vec());
    }
    Some(names)
}

/// What is left of some bytes.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    /// A whole handshake message, and its kind.
    fn message(&mut self) -> Option<(u8, &'a [u8])> {
        Some((self.byte()?, self.sized(3)?))
    }

    /// A number of at most two bytes.
    fn number(&mut self, width: usize) -> Option<u16> {
        self.bytes(width)?.iter().try_fold(0_u16, |number, byte| Some(number.checked_mul(256)? | u16::from(*byte)))
    }

    /// What a length of so many bytes stands before.
    fn sized(&mut self, width: usize) -> Option<&'a [u8]> {
        let length =
            self.bytes(width)?.iter().fold(0_usize, |number, byte| number.saturating_mul(256) | usize::from(*byte));
        self.bytes(length)
    }
}

/// A ClientHello of TLS 1.2 that offers everything (RFC 5246 §7.4.1.2); none if there is no randomness, or the name is
/// too long.
fn client_hello(name: Option<&str>) -> Option<Vec<u8>> {
    let random = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new()).ok()?.expose();
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, content: Vec<u8>| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(sized(2, content)?);
        Some(())
    };
    if let Some(name) = name {
        let entry = [vec![0], sized(2, name.as_bytes().to_vec())?].concat();
        extension(0, sized(2, entry)?)?;
    }
    extension(10, sized(2, listed(&GROUPS))?)?;
    extension(11, vec![1, 0])?;
    extension(13, sized(2, listed(&SIGNATURES))?)?;
    // The extended master secret, which some servers insist on.
    extension(23, Vec::new())?;
    let hello = [
        TLS_1_2.to_be_bytes().to_vec(),
        random.to_vec(),
        vec![0],
        sized(2, listed(&CIPHERS))?,
        vec![1, 0],
        sized(2, extensions)?,
    ];
    let message = [vec![1], sized(3, hello.concat())?].concat();
    Some([vec![HANDSHAKE, 3, 1], sized(2, message)?].concat())
}

fn listed(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Behind its length, of so many bytes.
fn sized(width: usize, content: Vec<u8>) -> Option<Vec<u8>> {
    let length = u64::try_from(content.len()).ok()?.to_be_bytes();
    let (unused, length) = length.split_at_checked(length.len().checked_sub(width)?)?;
    unused.iter().all(|byte| *byte == 0).then(|| [length, &content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: Vec<u8>) -> Vec<u8> {
        [vec![kind], sized(3, content).unwrap()].concat()
    }

    fn flight(version: u16, names: &[&[u8]]) -> Vec<u8> {
        let list = names.iter().flat_map(|name| sized(2, name.to_vec()).unwrap()).collect();
        let signatures = if version >= TLS_1_2 { sized(2, vec![4, 3]).unwrap() } else { Vec::new() };
        let request = [sized(1, vec![1, 64]).unwrap(), signatures, sized(2, list).unwrap()].concat();
        let hello = [version.to_be_bytes().to_vec(), vec![7; 40]].concat();
        [
            message(SERVER_HELLO, hello),
            message(11, vec![1; 5_000]),
            message(CERTIFICATE_REQUEST, request),
            message(SERVER_HELLO_DONE, Vec::new()),
        ]
        .concat()
    }

    fn read(flight: &[u8], record: usize) -> Option<Option<Said>> {
        let mut reader = Reader::default();
        let mut said = None;
        for record in flight.chunks(record) {
            said = reader.take(record)?;
        }
        Some(said)
    }

    #[test]
    fn the_names_are_read_however_the_messages_are_cut_into_records() {
        for version in [0x0301, 0x0302, TLS_1_2] {
            let flight = flight(version, &[b"one", b"another"]);
            for record in [1, 2, 3, 7, 1_000, flight.len()] {
                let said = Said::Names(vec![b"one".to_vec(), b"another".to_vec()]);
                assert_eq!(read(&flight, record), Some(Some(said)), "{version:x} in records of {record}");
            }
        }
        assert_eq!(read(&flight(TLS_1_2, &[]), 100), Some(Some(Said::Names(Vec::new()))), "it names nobody");
        let silent = [message(SERVER_HELLO, vec![3, 3, 0]), message(SERVER_HELLO_DONE, Vec::new())].concat();
        assert_eq!(read(&silent, 4), Some(Some(Said::DoesNotAsk)));
    }

    #[test]
    fn whatever_a_server_says_it_is_read_to_its_end_and_nothing_is_made_up() {
        let good = flight(TLS_1_2, &[b"one", b"another"]);
        for length in 0..good.len() {
            assert!(!matches!(read(&good[..length], 100), Some(Some(_))), "the end is missing: {length}");
        }
        // Each byte changed in several ways: none of it panics, and what is read is never longer than what came.
        for (index, change) in (0..good.len()).flat_map(|index| [1, 0x80, 0xff].map(|change| (index, change))) {
            let mut bad = good.clone();
            bad[index] ^= change;
            if let Some(Some(Said::Names(names))) = read(&bad, 977) {
                assert!(names.iter().map(Vec::len).sum::<usize>() < good.len());
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_never_ends_is_left_at_the_bound() {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let floods = async move {
            let record = [vec![HANDSHAKE, 3, 3], sized(2, vec![0; 16_000]).unwrap()].concat();
            let mut sent = 0;
            while theirs.write_all(&record).await.is_ok() {
                sent += record.len();
            }
            sent
        };
        // Zeroes are messages of kind 0 and length 0, which are skipped.
        let (said, sent) = tokio::join!(ask(ours, Some("api.example.com")), floods);
        assert!(said.is_none() && sent <= MOST + LONGEST_RECORD, "{sent}");
    }

    /// What is taken of records of this length, at most so many, until the server is left.
    async fn taken_of_records(length: usize, most: usize) -> usize {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let floods = async move {
            // The beginning of a message that is longer than what is read.
            let record = [vec![HANDSHAKE, 3, 3], sized(2, vec![0xff; length]).unwrap()].concat();
            let mut sent = 0;
            while sent < most && theirs.write_all(&record).await.is_ok() {
                sent += record.len();
            }
            sent
        };
        let (said, sent) = tokio::join!(ask(ours, None), floods);
        assert!(said.is_none());
        sent
    }

    #[tokio::test]
    async fn records_that_bring_little_or_nothing_are_bounded_too() {
        let sent = taken_of_records(0, 10_000).await;
        assert!(sent < 2_000, "empty records: {sent}");
        let sent = taken_of_records(1, 2 * MOST).await;
        assert!(sent < MOST + 2_000, "records of one byte: {sent}");
    }

    #[test]
    fn every_length_in_what_is_said_first_is_right() {
        for name in [None, Some("api.example.com")] {
            let hello = client_hello(name).unwrap();
            let mut record = Input(&hello);
            assert_eq!(record.bytes(3), Some(&[HANDSHAKE, 3, 1][..]));
            let mut message = Input(record.sized(2).unwrap());
            assert!(record.0.is_empty() && message.byte() == Some(1));
            let mut hello = Input(message.sized(3).unwrap());
            hello.bytes(34).unwrap();
            for width in [1, 2, 1, 2] {
                hello.sized(width).unwrap();
            }
            assert!(message.0.is_empty() && hello.0.is_empty());
        }
        assert!(client_hello(Some(&"x".repeat(70_000))).is_none());
    }
}
