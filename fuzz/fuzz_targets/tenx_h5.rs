#![no_main]
//! The HDF5 files of 10x Genomics.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scdiva_fuzz::read_file("a.h5", bytes));
