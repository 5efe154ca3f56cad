#![no_main]
//! Text tables, plain or gzip-compressed.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scdiva_fuzz::read_file("a.txt", bytes));
