#![no_main]
//! Zip archives, with whatever they hold.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scdiva_fuzz::read_file("a.zip", bytes));
