#![no_main]
//! `vocab.tsv`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(scdiva::cells::Vocabulary::parse("vocab.tsv", bytes, 40_000, &[0])));
