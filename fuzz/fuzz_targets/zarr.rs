#![no_main]
//! AnnData as Zarr, in a zip archive.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scdiva_fuzz::read_file("a.zarr.zip", bytes));
