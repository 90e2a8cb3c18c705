#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| support::parsers::listing(data));
