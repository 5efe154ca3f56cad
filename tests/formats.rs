//! Every format gives the same counts, and every fault an error that names file and place.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use scdiva::cells::{CellMatrix, Preprocess, Serialization, Tokenizer, Vocabulary};
use scdiva::read::{self, FileSource, Files, OpenOptions, Source};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

const N_CELLS: usize = 12;
const N_GENES: usize = 20;

/// The counts that all fixtures hold: `counts()` in `tests/fixtures/make.py`.
fn count(cell: usize, gene: usize) -> f32 {
    match (cell, gene) {
        (11, 19) => 70_000.0,
        (4, _) | (_, 7) => 0.0,
        _ if (cell + gene).is_multiple_of(3) => 0.0,
        _ => ((7 * cell + 3 * gene) % 11) as f32,
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// The twenty genes of the fixtures, without the versions of their Ensembl ids, under ids 100 to 119.
fn vocabulary() -> Vocabulary {
    let mut text = "id\tsymbol\tensembl_id\tentropy\n".to_owned();
    for gene in 0..N_GENES {
        writeln!(text, "{}\tGENE{gene}\tENSG{gene:011}\t0.5", 100 + gene).unwrap();
    }
    Vocabulary::parse("vocab.tsv", text.as_bytes(), 120, &[]).unwrap()
}

fn open(name: &str, source: impl Source + 'static) -> scdiva::Result<Box<dyn CellMatrix>> {
    read::open(
        &Files::one(name, Arc::new(source)),
        &OpenOptions::default(),
        Some(&vocabulary()),
    )
}

fn dense(matrix: &dyn CellMatrix, block: usize) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for start in (0..matrix.n_cells()).step_by(block) {
        let end = matrix.n_cells().min(start + block);
        let sparse = matrix.read_rows(start..end).unwrap();
        assert_eq!(sparse.n_rows(), end - start);
        for row in 0..sparse.n_rows() {
            let mut dense = vec![0.0; matrix.n_genes()];
            let (genes, values) = sparse.row(row);
            for (&gene, value) in genes.iter().zip(values) {
                dense[gene as usize] += value;
            }
            rows.push(dense);
        }
    }
    rows
}

const SAME_COUNTS: [(&str, &str); 19] = [
    ("csr_f32_gzip.h5ad", "X"),
    ("dense_f32.h5ad", "X"),
    ("small_csr_f4.h5ad", "X"),
    ("small_csr_f4_gzip.h5ad", "X"),
    ("small_csr_f8_gzip.h5ad", "X"),
    ("small_csr_i4_gzip.h5ad", "X"),
    ("small_csc_f4.h5ad", "X"),
    ("small_csc_f8_gzip.h5ad", "X"),
    ("small_csc_i4.h5ad", "X"),
    ("small_dense_f4_gzip.h5ad", "X"),
    ("small_dense_f8.h5ad", "X"),
    ("small_dense_i4_gzip.h5ad", "X"),
    ("small_big_endian.h5ad", "X"),
    ("legacy.h5ad", "X"),
    ("scaled_beside_counts.h5ad", "raw/X"),
    ("cells_by_genes.csv", "cells × genes"),
    ("cells_by_genes.tsv.gz", "cells × genes"),
    ("genes_by_cells.tsv", "genes × cells"),
    ("genes_by_cells.csv.gz", "genes × cells"),
];

#[test]
fn every_format_gives_the_same_counts() {
    let mut files = SAME_COUNTS.to_vec();
    files.push(("cells_by_genes_r.tsv", "cells × genes"));
    for (name, part) in files {
        let matrix = open(name, FileSource::open(&fixture(name)).unwrap()).unwrap();
        assert_eq!((matrix.file(), matrix.matrix()), (name, part));
        assert_eq!((matrix.n_cells(), matrix.n_genes()), (N_CELLS, N_GENES), "{name}");
        for block in [1, 5, N_CELLS] {
            for (cell, row) in dense(matrix.as_ref(), block).iter().enumerate() {
                for (gene, &value) in row.iter().enumerate() {
                    assert_eq!(
                        value,
                        count(cell, gene),
                        "{name}: cell {cell}, gene {gene}, blocks of {block}"
                    );
                }
            }
        }
        assert_eq!(matrix.cell_names(3..4).unwrap()[0], "cell-03", "{name}");
        assert_eq!(matrix.cell_names(11..12).unwrap()[0], "Zelle-ä", "{name}");
        assert_eq!(matrix.gene_columns()[0].genes[19], "GENE19", "{name}");
        if name.ends_with(".h5ad") {
            let ids = matrix.gene_columns().iter().find(|column| column.name == "gene_ids").unwrap();
            assert_eq!(ids.genes[10], "ENSG00000000010.2", "{name}");
        }
    }
}

#[test]
fn bytes_read_as_files_do() {
    let from_bytes = open("a", bytes("small_csr_f4_gzip.h5ad")).unwrap();
    let from_file = open("b", FileSource::open(&fixture("small_csr_f4_gzip.h5ad")).unwrap()).unwrap();
    assert_eq!(from_bytes.read_rows(2..9).unwrap(), from_file.read_rows(2..9).unwrap());
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_called_empty() {
    let error = Files::from_path(std::path::Path::new("/dev/null")).unwrap_err().to_string();
    assert_eq!(error, "/dev/null: byte 0: a pipe or a device; wanted a file");
}

#[test]
fn half_floats_are_read() {
    let matrix = open("half", bytes("small_f16.h5ad")).unwrap();
    let rows = dense(matrix.as_ref(), 4);
    assert_eq!(rows[11][19], 2048.0);
    assert_eq!(rows[1][1], count(1, 1));
}

#[test]
fn scaled_values_give_way_to_the_counts_beside_them_and_the_file_says_so() {
    let matrix = open("x.h5ad", bytes("scaled_beside_counts.h5ad")).unwrap();
    assert_eq!(matrix.notes(), ["raw/X was read instead of X: it holds counts"]);
}

#[test]
fn rows_past_the_end_are_refused() {
    for name in [
        "small_csr_f4.h5ad",
        "small_dense_f8.h5ad",
        "small_csc_i4.h5ad",
        "cells_by_genes.csv",
    ] {
        let matrix = open(name, bytes(name)).unwrap();
        assert_eq!(matrix.read_rows(5..5).unwrap().n_rows(), 0, "{name}");
        let error = matrix.read_rows(5..13).unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().contains("there are 12 cells")),
            ("argument", true),
            "{error}"
        );
    }
}

/// Reads everything and makes tokens of it: what a user's file goes through.
fn use_up(name: &str, source: Vec<u8>) -> scdiva::Result<usize> {
    let vocabulary = vocabulary();
    let matrix = read::open(
        &Files::one(name, Arc::new(source)),
        &OpenOptions::default(),
        Some(&vocabulary),
    )?;
    let matrix = matrix.as_ref();
    let tokenizer = Tokenizer::new(
        matrix,
        &vocabulary,
        &Preprocess::default(),
        Serialization::default(),
        10,
        &Default::default(),
    )?;
    Ok(tokenizer.tokens(0..matrix.n_cells())?.iter().map(|cell| cell.len()).sum())
}

fn assert_refused(name: &str, source: Vec<u8>, place: &str, problem: &str) {
    let error = use_up(name, source).map(|n| format!("{n} tokens")).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.code(), "file", "{message}");
    assert!(message.starts_with(&format!("{name}: {place}")), "place `{place}`: {message}");
    assert!(message.contains(problem), "problem `{problem}`: {message}");
}

#[test]
fn broken_files_are_refused_with_file_and_place() {
    let cases = [
        ("indptr_short", "X/indptr: ", "12 numbers; wanted 13"),
        ("lengths_differ", "X/indices: ", "but X/data has"),
        ("shape", "X: ", "21 columns, but var has 20 names"),
        ("three_dimensions", "X: ", "3 dimensions; wanted two"),
        ("kind", "X: ", "`coo_matrix`; wanted csr_matrix, csc_matrix or an array"),
        ("text", "X/data: ", "type string; wanted integers or floats"),
        ("complex", "X/data: ", "type compound; wanted integers or floats"),
        ("float_indices", "X/indices: ", "type float32; wanted integers"),
        (
            "filter_blosc2",
            "X: ",
            "compressed with Blosc2 (filter id 32026), which cannot be read; write it again with gzip",
        ),
        (
            "filter_zfp",
            "X: ",
            "compressed with ZFP (filter id 32013), which cannot be read; write it again with gzip",
        ),
        ("no_x", "X: ", "missing"),
        ("no_cells", "X: ", "0 cells × 20 genes; wanted at least one of each"),
        ("no_genes", "X: ", "12 cells × 0 genes; wanted at least one of each"),
    ];
    for (name, place, problem) in cases {
        let name = format!("broken/{name}.h5ad");
        assert_refused(&name, bytes(&name), place, problem);
    }
}

/// A file in which the numbers `from`, as they stand there, are others.
fn patched(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut file = bytes(name);
    let places: Vec<usize> = (0..=file.len() - from.len())
        .filter(|&place| file[place..].starts_with(from))
        .collect();
    assert_eq!(places.len(), 1, "{name} must hold {from:?} once");
    file[places[0]..places[0] + to.len()].copy_from_slice(to);
    file
}

/// X of `small_csr_f4.h5ad` in its three parts; by columns, of `small_csc_f4.h5ad`.
fn parts(by_columns: bool) -> (Vec<f32>, Vec<i32>, Vec<i32>) {
    let (n, m) = if by_columns { (N_GENES, N_CELLS) } else { (N_CELLS, N_GENES) };
    let (mut data, mut indices, mut indptr) = (Vec::new(), Vec::new(), vec![0]);
    for i in 0..n {
        for j in 0..m {
            let value = if by_columns { count(j, i) } else { count(i, j) };
            if value != 0.0 {
                data.push(value);
                indices.push(i32::try_from(j).unwrap());
            }
        }
        indptr.push(i32::try_from(data.len()).unwrap());
    }
    (data, indices, indptr)
}

fn le<T: Copy, const N: usize>(numbers: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|&number| to_bytes(number)).collect()
}

#[test]
fn broken_numbers_are_refused_with_file_and_place() {
    let (data, indices, indptr) = parts(false);
    let with_data = |value: f32| {
        let mut changed = data.clone();
        changed[17] = value;
        patched(
            "small_csr_f4.h5ad",
            &le(&data, f32::to_le_bytes),
            &le(&changed, f32::to_le_bytes),
        )
    };
    let with = |numbers: &[i32], place: usize, value: i32| {
        let mut changed = numbers.to_vec();
        changed[place] = value;
        patched(
            "small_csr_f4.h5ad",
            &le(numbers, i32::to_le_bytes),
            &le(&changed, i32::to_le_bytes),
        )
    };
    let n = data.len();
    let last = indptr.len() - 1;
    // Value 17 by rows: which cell and gene it is.
    let cell = indptr.iter().rposition(|&offset| offset <= 17).unwrap();
    let at_17 = format!(
        "X: cell cell-{cell:02} (row {cell}), gene GENE{0} (column {0}): ",
        indices[17]
    );
    let cases = [
        (with(&indptr, 3, 2), "X/indptr: 2 at 3, after", "wanted numbers that rise"),
        (with(&indptr, 0, 1), "X/indptr: 1 at 0", "wanted numbers that rise from 0"),
        (
            with(&indptr, 2, 60),
            "X/indptr: 60 at 2, after",
            "wanted no more than 20 values between",
        ),
        (with(&indptr, 2, -7), "X/indptr: -7 at 2", "wanted numbers that rise"),
        (
            with(&indptr, last, 1_000_000),
            "X/indptr: 1000000 at 12",
            "wanted numbers that rise",
        ),
        (with(&indptr, last, indptr[last - 1]), "X/indptr: ", "but X/data has"),
        (
            with(&indices, 5, 20),
            "X/indices: index 20 at 5 is past the last gene (19)",
            "",
        ),
        (
            with(&indices, n - 1, i32::MAX),
            "X/indices: index 2147483647 at",
            "is past the last gene (19)",
        ),
        (with(&indices, 5, -3), "X/indices: index -3 at 5 is negative", ""),
        (with_data(f32::NAN), &at_17, "NaN is not a finite number"),
        (with_data(f32::INFINITY), &at_17, "inf is not a finite number"),
        (with_data(-1.0), &at_17, "-1 is negative"),
        (with_data(2.5), "X: cell ", "2.5 is no whole number"),
    ];
    for (file, place, problem) in cases {
        assert_refused("user.h5ad", file, place, problem);
    }

    let (_, indices, _) = parts(true);
    let mut changed = indices.clone();
    changed[5] = 12;
    let file = patched(
        "small_csc_f4.h5ad",
        &le(&indices, i32::to_le_bytes),
        &le(&changed, i32::to_le_bytes),
    );
    assert_refused("user.h5ad", file, "X/indices: index 12 at 5 is past the last cell (11)", "");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for name in [
        "csr_f32_gzip.h5ad",
        "small_csc_f4.h5ad",
        "small_dense_i4_gzip.h5ad",
        "legacy.h5ad",
    ] {
        let whole = bytes(name);
        for len in (0..whole.len()).step_by(37).chain([1, 7, 8, 9, whole.len() - 1]) {
            let message = use_up(name, whole[..len].to_vec()).unwrap_err().to_string();
            assert!(message.starts_with(name), "{len} bytes: {message}");
        }
    }
    for name in ["genes_by_cells.csv.gz", "cells_by_genes.tsv.gz"] {
        let whole = bytes(name);
        for len in 0..whole.len() {
            let message = use_up(name, whole[..len].to_vec()).unwrap_err().to_string();
            assert!(message.starts_with(name), "{len} bytes: {message}");
        }
    }
}

/// Bytes changed at random: an error or other counts, but never a panic, and never an endless read.
#[test]
fn a_damaged_file_never_panics() {
    let mut state = 1_u64;
    let mut random = move |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    for name in [
        "csr_f32_gzip.h5ad",
        "small_csr_f4.h5ad",
        "small_csc_f4.h5ad",
        "small_dense_f4_gzip.h5ad",
        "legacy.h5ad",
        "cells_by_genes.csv",
        "genes_by_cells.csv.gz",
    ] {
        let whole = bytes(name);
        for _ in 0..300 {
            let mut damaged = whole.clone();
            for _ in 0..=random(4) {
                let place = random(damaged.len());
                damaged[place] = u8::try_from(random(256)).unwrap();
            }
            if let Err(error) = use_up(name, damaged) {
                assert!(error.to_string().starts_with(name), "{error}");
            }
        }
    }
}

#[test]
fn tables_with_a_fault_are_refused_with_line_and_column() {
    let header = "cell,GENE0,GENE1,GENE2,GENE3,GENE4,GENE5,GENE6\n";
    let row = |name: &str, second: &str| format!("{name},1,{second},0,0,0,3,0\n");
    let table = |second: &str| format!("{header}{}{}", row("a", "2"), row("b", second));
    let cases = [
        (
            table("many"),
            "line 3, column 3 (b, GENE1): ",
            "`many` is not a number; wanted a number",
        ),
        (table("NA"), "line 3, column 3 (b, GENE1): ", "`NA` is not a number"),
        (table(""), "line 3, column 3 (b, GENE1): ", "an empty field; wanted a number"),
        (table("nan"), "line 3, column 3 (b, GENE1): ", "`nan` is not finite"),
        (table("1e99"), "line 3, column 3 (b, GENE1): ", "`1e99` is not finite"),
        (
            table("-4"),
            "cells × genes: cell b (row 1), gene GENE1 (column 1): ",
            "-4 is negative",
        ),
        (table("4,4"), "line 3: ", "9 fields; wanted 8, a name and 7 numbers"),
        (format!("{header}a,1,2\n"), "line 2: ", "3 fields; wanted 9"),
        (header.to_owned(), "table: ", "0 rows × 8 columns"),
        ("cell\na\nb\n".to_owned(), "line 1: ", "no tab, comma or semicolon"),
        (
            "cell,Xkr4,Gm1992\na,1,2\n".to_owned(),
            "names of columns and rows: ",
            "neither the columns (Xkr4, Gm1992, …) nor the rows (a, …) are genes that the model knows (GENE0, GENE1, GENE2, …)",
        ),
        (
            "cell,GENE0,Xkr4,Gm1992,Rp1,Sox17\na,1,2,3,4,5\n".to_owned(),
            "gene names in `first line`: ",
            "1 of 5 genes match (20.0 %; wanted 30 %): the file has GENE0, Xkr4, Gm1992, …; the model knows GENE0 (ENSG00000000000), ",
        ),
        (
            "GENE0,GENE1,GENE2\n1,2,3\n".to_owned(),
            "line 1, column 1: ",
            "the table begins with the gene GENE0; wanted a column of cell names",
        ),
        ("%%MatrixMarket matrix\n1 1 1\n".to_owned(), "line 1: ", "Matrix Market file"),
        ("a,b\0\n".to_owned(), "line 1: ", "not a text file"),
    ];
    for (text, place, problem) in cases {
        assert_refused("counts.csv", text.into_bytes(), place, problem);
    }
    let cases = [
        (&b""[..], "the file is empty"),
        (b"BZh91AY", "bzip2"),
        (b"\x28\xb5\x2f\xfd\x00\x00", "Zstandard"),
    ];
    for (file, problem) in cases {
        assert_refused("counts", file.to_vec(), "byte 0: ", problem);
    }
    assert_refused("counts.h5ad", table("1").into_bytes(), "byte 0: ", "not an HDF5 file");
    assert_refused(
        "counts.csv",
        b"cell,GENE0\n\xff\xfe,1\n".to_vec(),
        "line 2, column 1: ",
        "not UTF-8",
    );
    let mut broken = bytes("genes_by_cells.csv.gz");
    let checksum = broken.len() - 6;
    broken[checksum] ^= 0xff;
    assert_refused("counts.csv.gz", broken, "compressed data: ", "the compressed file is broken");
}

#[test]
fn tables_may_use_semicolons_quotes_and_carriage_returns() {
    let text = "\"cell\";\"GENE0\";\"GENE1\"\r\n\"a;b\";1;0\r\n\"c\";0; 2.0\r\n";
    let matrix = open("a.csv", text).unwrap();
    assert_eq!(matrix.cell_names(0..2).unwrap(), ["a;b", "c"]);
    assert_eq!(dense(matrix.as_ref(), 2), [[1.0, 0.0], [0.0, 2.0]]);
}

#[test]
fn a_missing_file_is_named() {
    let error = FileSource::open(&fixture("nowhere.h5ad")).unwrap_err();
    assert_eq!(error.code(), "io");
    assert!(error.to_string().contains("nowhere.h5ad: "), "{error}");
    let error = FileSource::open(&fixture("broken")).unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
}
