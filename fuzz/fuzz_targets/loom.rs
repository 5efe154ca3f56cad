#![no_main]
//! Loom files.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scdiva_fuzz::read_file("a.loom", bytes));
