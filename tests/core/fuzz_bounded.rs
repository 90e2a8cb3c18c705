//! Every fuzzed door on real files with random changes, for a bounded time and without guidance, on every machine: what
//! `tests/fuzz/run` does better where there is a nightly toolchain.
//!
//! `TRUSTSYNC_FUZZ_SECONDS` (for each door, default 2) and `TRUSTSYNC_FUZZ_SEED` change the run; the seed is printed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use support::cpu_time;
use support::parsers::DOORS;

/// What libFuzzer is told as well (`-max_len`).
const LONGEST: usize = 65_536;
/// No input may take more of a CPU, unoptimised.
const SLOWEST: Duration = Duration::from_secs(5);

/// xorshift64*: the same seed makes the same inputs everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).filter(|bytes| bytes.len() <= LONGEST).collect()
}

/// Numbers and pieces at which parsers stumble.
const PIECES: [&[u8]; 12] = [
    b"\x80",
    b"\x84\xff\xff\xff\xff",
    b"\x30\x80",
    b"\x02\x04\x7f\xff\xff\xff",
    b"-----BEGIN CERTIFICATE-----",
    b"-----END",
    b"\xef\xbb\xbf",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\xff\xff\xff\xff",
    b"1e400",
    b"PK\x05\x06",
];

fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let length = random.below(64).min(bytes.len() - at);
        match random.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            5 if random.below(4) == 0 => bytes.truncate(at),
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 if at + 4 <= bytes.len() => bytes[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]),
            _ => {}
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn fuzz(name: &str) {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().expect(variable));
    let seconds = number("TRUSTSYNC_FUZZ_SECONDS").unwrap_or(2);
    let seed = number("TRUSTSYNC_FUZZ_SEED").unwrap_or(20_261_123);
    let door = DOORS.iter().find(|(door, _)| *door == name).unwrap().1;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut seeds = files(&tests.join("fuzz/seeds").join(name));
    assert!(!seeds.is_empty(), "{name} has no seeds of its own");
    seeds.extend(files(&tests.join("data")));

    let mut random = Random(seed | 1);
    let ends = Instant::now() + Duration::from_secs(seconds);
    let mut executions = 0_u64;
    for seed in &seeds {
        door(seed);
    }
    while Instant::now() < ends {
        let input = changed(&seeds, &mut random);
        let begun = cpu_time();
        let outcome = catch_unwind(AssertUnwindSafe(|| door(&input)));
        let taken = cpu_time() - begun;
        executions += 1;
        if outcome.is_err() || taken > SLOWEST {
            let kept = std::env::temp_dir().join(format!("trustsync-fuzz-{name}-{seed}-{executions}"));
            fs::write(&kept, &input).unwrap();
            panic!("{name}: seed {seed}, input {executions} took {taken:?} or panicked; it is {}", kept.display());
        }
    }
    println!("{name}: {executions} executions in {seconds} s, seed {seed}");
}

macro_rules! fuzzed {
    ($($door:ident)*) => {
        $(#[test]
        fn $door() {
            fuzz(stringify!($door));
        })*

        #[test]
        fn every_door_is_fuzzed() {
            assert_eq!([$(stringify!($door)),*], DOORS.map(|(name, _)| name));
            let manifest = include_str!("../fuzz/Cargo.toml");
            $(assert!(manifest.contains(concat!("name = \"", stringify!($door), "\"")));)*
        }
    };
}

fuzzed!(pem certificate judge crl pkcs12 zip listing configuration state inspect adopt);
