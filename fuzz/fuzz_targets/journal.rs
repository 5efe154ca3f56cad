#![no_main]
//! What a killed run left.

use scdiva::run::Journal;
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut journal) = Journal::open("a.partial", Cursor::new(bytes.to_vec())) {
        for block in 0..journal.n_blocks() {
            if let Ok((names, answers)) = journal.read(block) {
                assert_eq!((names.len(), answers.known.len()), (answers.cells.len(), answers.cells.len()));
            }
        }
    }
});
