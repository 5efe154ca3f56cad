#![no_main]
//! The three files of a 10x matrix, plain or gzip-compressed.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [features, barcodes, matrix] = scdiva_fuzz::cut(bytes);
    let names = ["features.tsv", "barcodes.tsv", "matrix.mtx"].map(str::to_owned);
    scdiva_fuzz::read_files(names.into_iter().zip([features, barcodes, matrix]).collect());
});
