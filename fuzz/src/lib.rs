//! What a user's file goes through, for the fuzz targets: whatever the bytes are, an error or an answer.
//!
//! `fuzz/seed.sh` fills the corpora from the fixtures; then, with a nightly compiler and `cargo install cargo-fuzz`, in the repository's root:
//! `cargo +nightly fuzz run -s none h5ad -- -max_total_time=300 -rss_limit_mb=1024 -timeout=20`. A target is one file of `fuzz_targets/`
//! and its `[[bin]]`. What a target finds becomes a test of the reader; `tests/mutations.rs` is the quick check that runs every time.

use scdiva::cells::{CellMatrix, MatchOptions, Preprocess, Serialization, Tokenizer, Vocabulary};
use scdiva::read::{self, Files, OpenOptions, Source};
use std::sync::Arc;

/// Cells that are read at a time, so that rows are entered in the middle too.
const BLOCK: usize = 7;
/// A broken file may declare more cells than a fuzzer has time for.
const MAX_CELLS: usize = 2_000;

/// The twenty genes of the fixtures.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let mut text = "id\tsymbol\tensembl_id\tentropy\n".to_owned();
    for gene in 0..20 {
        text += &format!("{}\tGENE{gene}\tENSG{gene:011}\t0.5\n", 100 + gene);
    }
    Vocabulary::parse("vocab.tsv", text.as_bytes(), 120, &[]).expect("these genes are a vocabulary")
}

/// Opens one file and reads all of it.
pub fn read_file(name: &str, bytes: &[u8]) {
    read_all(&Files::one(name, Arc::new(bytes.to_vec())));
}

/// Opens some files as one matrix and reads all of it.
pub fn read_files(files: Vec<(String, Vec<u8>)>) {
    let files = files.into_iter().map(|(name, bytes)| (name, Arc::new(bytes) as Arc<dyn Source>));
    read_all(&Files::many("sample", files.collect()));
}

fn read_all(files: &Files) {
    let vocabulary = vocabulary();
    let Ok(matrix) = read::open(files, &OpenOptions::default(), Some(&vocabulary)) else {
        return;
    };
    for layer in matrix.matrices() {
        let mut options = OpenOptions::default();
        options.layer = Some(layer.clone());
        if let Ok(matrix) = read::open(files, &options, Some(&vocabulary)) {
            drop(matrix.read_rows(0..1));
        }
    }
    use_up(matrix.as_ref(), &vocabulary);
}

fn use_up(matrix: &dyn CellMatrix, vocabulary: &Vocabulary) {
    let n_cells = matrix.n_cells().min(MAX_CELLS);
    for start in (0..n_cells).step_by(BLOCK) {
        let cells = start..n_cells.min(start + BLOCK);
        let (Ok(rows), Ok(names)) = (matrix.read_rows(cells.clone()), matrix.cell_names(cells.clone())) else {
            break;
        };
        assert_eq!((rows.n_rows(), names.len()), (cells.len(), cells.len()));
        assert!(rows.genes.iter().all(|&gene| (gene as usize) < matrix.n_genes()));
        assert_eq!(rows.genes.len(), rows.values.len());
    }
    for column in matrix.cell_columns() {
        drop(matrix.cell_column(column));
    }
    for embedding in matrix.embeddings() {
        drop(matrix.embedding(embedding));
    }
    if let Ok(tokenizer) = Tokenizer::new(matrix, vocabulary, &Preprocess::default(), Serialization::default(), 10, &MatchOptions::default()) {
        drop(tokenizer.tokens(0..n_cells));
    }
}

/// Cuts an input into `N` files: lengths of the first ones in front of each, four bytes, little-endian.
#[must_use]
pub fn cut<const N: usize>(mut bytes: &[u8]) -> [Vec<u8>; N] {
    std::array::from_fn(|i| {
        if i + 1 == N {
            return bytes.to_vec();
        }
        let (len, rest) = bytes.split_at(bytes.len().min(4));
        let len = len.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
        let (file, rest) = rest.split_at(len.min(rest.len()));
        bytes = rest;
        file.to_vec()
    })
}
