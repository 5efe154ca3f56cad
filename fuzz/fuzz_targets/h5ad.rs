#![no_main]
//! AnnData files, and HDF5 below them.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scdiva_fuzz::read_file("a.h5ad", bytes));
