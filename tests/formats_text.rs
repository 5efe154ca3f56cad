//! 10x triplets, gzip and zip archives: the same counts however they are wrapped, and every fault an error that names file and place.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

#[path = "support/archive.rs"]
mod archive;

use archive::{gzip, zip};
use scdiva::cells::CellMatrix;
use scdiva::read::{self, Files, OpenOptions, Source};
use std::fmt::Write as _;
use std::sync::Arc;

const CELLS: usize = 100;
const GENES: usize = 7;

/// Every third place is filled; genes × cells, sorted by cell.
fn triplet(turned: bool, unsorted: bool) -> Vec<(String, Vec<u8>)> {
    let mut entries: Vec<(usize, usize)> = (0..CELLS)
        .flat_map(|cell| (0..GENES + 1).map(move |gene| (cell, gene)))
        .filter(|(cell, gene)| (cell + gene).is_multiple_of(3) && cell % 10 != 9)
        .collect();
    if unsorted {
        entries.sort_by_key(|&(cell, gene)| (gene, cell));
    }
    let (rows, cols) = if turned { (CELLS, GENES + 1) } else { (GENES + 1, CELLS) };
    let mut mtx = format!(
        "%%MatrixMarket matrix coordinate integer general\n%x\n{rows} {cols} {}\n",
        entries.len()
    );
    for (cell, gene) in entries {
        let (row, col) = if turned { (cell, gene) } else { (gene, cell) };
        writeln!(mtx, "{} {} {}", row + 1, col + 1, value(cell, gene)).unwrap();
    }
    let mut features = String::from("CD3\tCD3_TotalSeq\tAntibody Capture\n");
    for gene in 0..GENES {
        writeln!(features, "ENSG{gene:011}\tGENE{gene}\tGene Expression").unwrap();
    }
    let barcodes = (0..CELLS).fold(String::new(), |text, cell| text + &format!("CELL{cell}-1\n"));
    vec![
        ("barcodes.tsv".to_owned(), barcodes.into_bytes()),
        ("features.tsv".to_owned(), features.into_bytes()),
        ("matrix.mtx".to_owned(), mtx.into_bytes()),
    ]
}

const fn value(cell: usize, feature: usize) -> usize {
    1 + (cell * 7 + feature) % 50
}

fn open(files: Vec<(String, Vec<u8>)>) -> scdiva::Result<Box<dyn CellMatrix>> {
    let files = files
        .into_iter()
        .map(|(name, bytes)| (name, Arc::new(bytes) as Arc<dyn Source>))
        .collect();
    read::open(&Files::many("sample", files), &OpenOptions::default(), None)
}

fn assert_counts(matrix: &dyn CellMatrix) {
    assert_eq!((matrix.n_cells(), matrix.n_genes()), (CELLS, GENES));
    assert_eq!(matrix.gene_columns()[0].genes[1], "ENSG00000000001");
    assert_eq!(matrix.gene_columns()[1].genes[6], "GENE6");
    assert_eq!(matrix.cell_names(31..34).unwrap(), ["CELL31-1", "CELL32-1", "CELL33-1"]);
    for range in [0..CELLS, 0..1, 31..33, 9..10, 95..100, 50..50] {
        let rows = matrix.read_rows(range.clone()).unwrap();
        assert_eq!(rows.n_rows(), range.len());
        for (row, cell) in range.enumerate() {
            let expected: Vec<(u32, f32)> = (1..=u32::try_from(GENES).unwrap())
                .filter(|feature| (cell + *feature as usize).is_multiple_of(3) && cell % 10 != 9)
                .map(|feature| (feature - 1, value(cell, feature as usize) as f32))
                .collect();
            let (genes, values) = rows.row(row);
            let found: Vec<_> = genes.iter().copied().zip(values.iter().copied()).collect();
            assert_eq!(found, expected, "cell {cell}");
        }
    }
    let notes = ["features that are not genes were left out: 1 of type Antibody Capture"];
    assert_eq!(matrix.notes(), notes);
    assert!(matrix.read_rows(99..101).is_err());
}

#[test]
fn a_triplet_reads_the_same_in_every_order_and_wrapping() {
    for turned in [false, true] {
        for unsorted in [false, true] {
            let plain = triplet(turned, unsorted);
            assert_counts(open(plain.clone()).unwrap().as_ref());
            let packed = plain
                .into_iter()
                .map(|(name, bytes)| (format!("GSM1_a_{name}.gz"), gzip(&bytes)));
            assert_counts(open(packed.collect()).unwrap().as_ref());
        }
    }
}

/// As scipy writes counts that have no sign.
#[test]
fn unsigned_integers_are_integers() {
    let mut files = triplet(false, false);
    let text = String::from_utf8(files[2].1.clone()).unwrap();
    files[2].1 = text.replace(" integer ", " unsigned-integer ").into_bytes();
    assert_counts(open(files).unwrap().as_ref());
}

/// Not all who write the third column write it as 10x does.
#[test]
fn kinds_of_features_are_read_in_any_case() {
    let mut files = triplet(false, false);
    let text = String::from_utf8(files[1].1.clone()).unwrap();
    files[1].1 = text.replace("Gene Expression", "gene expression").into_bytes();
    assert_counts(open(files).unwrap().as_ref());
}

/// As editors mark a text that is UTF-8.
#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    let mut files = triplet(false, false);
    for (_, bytes) in &mut files {
        bytes.splice(0..0, *b"\xef\xbb\xbf");
    }
    let matrix = open(files).unwrap();
    assert_eq!(matrix.cell_names(0..1).unwrap(), ["CELL0-1"]);
    assert_counts(matrix.as_ref());
}

#[test]
fn a_folder_and_one_file_of_it_open_the_triplet() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("filtered_feature_bc_matrix");
    std::fs::create_dir(&inner).unwrap();
    for (name, bytes) in triplet(false, false) {
        std::fs::write(inner.join(name + ".gz"), gzip(&bytes)).unwrap();
    }
    let paths = [folder.path().to_owned(), inner.clone(), inner.join("matrix.mtx.gz")];
    for path in &paths {
        let matrix = read::open(&Files::from_path(path).unwrap(), &OpenOptions::default(), None).unwrap();
        assert_counts(matrix.as_ref());
    }
    // Whichever was given, errors name a file that can be found.
    let broken = inner.join("features.tsv.gz");
    std::fs::write(&broken, gzip(b"\xff\n")).unwrap();
    for path in &paths {
        let error = read::open(&Files::from_path(path).unwrap(), &OpenOptions::default(), None).map(|_| ());
        let wanted = format!("{}: line 1: a name that is not UTF-8", broken.display());
        assert_eq!(error.unwrap_err().to_string(), wanted);
    }
}

/// Two samples in one folder, with features of their own or one file for both.
#[test]
fn the_parts_of_a_matrix_are_those_whose_names_begin_most_alike() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let [barcodes, features, matrix] = &triplet(false, false)[..] else {
        panic!("three files")
    };
    for sample in ["S1", "S10"] {
        write(&format!("{sample}_barcodes.tsv"), &barcodes.1);
        write(&format!("{sample}_matrix.mtx"), &matrix.1);
    }
    write("features.tsv", &features.1);
    let open = |sample: &str| {
        let path = folder.path().join(format!("{sample}_matrix.mtx"));
        read::open(&Files::from_path(&path).unwrap(), &OpenOptions::default(), None)
    };
    assert_counts(open("S1").unwrap().as_ref());
    write("S1_features.tsv", b"ENSG1\tX\tGene Expression\n");
    assert!(open("S1").is_err());
    assert_counts(open("S10").unwrap().as_ref());
}

/// In capitals, as kallisto writes them, and beside texts that are something else.
#[test]
fn the_parts_of_a_matrix_are_known_by_other_names_too() {
    for names in [
        ["Barcodes.TSV", "S1_Genes.tsv", "MATRIX.mtx"],
        ["cells_x_genes.barcodes.txt", "cells_x_genes.genes.txt", "cells_x_genes.mtx"],
        ["out/counts.barcodes.tsv", "out/counts_features.tsv", "out/counts.mtx"],
    ] {
        let mut files: Vec<_> = triplet(false, false)
            .into_iter()
            .zip(names)
            .map(|((_, bytes), name)| (name.to_owned(), bytes))
            .collect();
        files.push(("metadata.csv".to_owned(), b"a,b\nc,1\n".to_vec()));
        files.push(("cells_x_genes.genes.names.txt".to_owned(), b"A\n".to_vec()));
        assert_counts(open(files).unwrap().as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let endings = [".barcodes.txt", ".genes.txt", ".mtx"];
    for ((_, bytes), end) in triplet(false, false).into_iter().zip(endings) {
        std::fs::write(folder.path().join(format!("cells_x_genes{end}")), bytes).unwrap();
    }
    for path in [folder.path().to_owned(), folder.path().join("cells_x_genes.mtx")] {
        let matrix = read::open(&Files::from_path(&path).unwrap(), &OpenOptions::default(), None).unwrap();
        assert_counts(matrix.as_ref());
    }
}

fn assert_refused(files: Vec<(String, Vec<u8>)>, expected: &str) {
    let error = open(files).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, expected);
}

#[test]
fn a_broken_triplet_names_file_and_line() {
    let mtx = |change: &dyn Fn(String) -> String| {
        let mut files = triplet(false, false);
        files[2].1 = change(String::from_utf8(files[2].1.clone()).unwrap()).into_bytes();
        files
    };
    assert_refused(
        mtx(&|text| text.replace("integer general", "pattern general")),
        "sample/matrix.mtx: line 1: a pattern, which has no counts; wanted `%%MatrixMarket matrix coordinate integer general` or `real`",
    );
    assert_refused(
        mtx(&|text| text.replace("integer general", "integer symmetric")),
        "sample/matrix.mtx: line 1: a symmetric matrix, which is no matrix of cells and genes; \
         wanted `%%MatrixMarket matrix coordinate integer general` or `real`",
    );
    assert_refused(
        mtx(&|text| text.replace("8 100 ", "9 100 ")),
        "sample/matrix.mtx: line 3: 9 × 100, but sample/features.tsv has 8 features and sample/barcodes.tsv has 100 barcodes; \
         wanted the three files of one matrix",
    );
    assert_refused(
        mtx(&|text| text.replacen("\n1 1 1\n", "\n1 101 1\n", 1)),
        "sample/matrix.mtx: line 4: `1 101 1` lies outside of 8 features and 100 cells, which are counted from 1",
    );
    assert_refused(
        mtx(&|text| text.replacen("\n1 1 1\n", "\n1 1 many\n", 1)),
        "sample/matrix.mtx: line 4: `1 1 many`; wanted row, column and value",
    );
    // Kinds of which there are too many are no kinds.
    let mut kinds = triplet(false, false);
    kinds[1].1 = (0..8)
        .fold(String::new(), |text, i| text + &format!("x{i}\tX\tKind {i}\n"))
        .into_bytes();
    assert_refused(
        kinds,
        "sample/features.tsv: features: no features of the type Gene Expression; it has 1 of type Kind 0, 1 of type Kind 1, 1 of type Kind 2, \
         1 of type Kind 3, 1 of type Kind 4, 3 of others",
    );
    let mut missing = triplet(false, false);
    missing.remove(0);
    assert_refused(
        missing,
        "sample/matrix.mtx: 10x matrix: no barcodes.tsv beside it; wanted barcodes.tsv, or the folder or .zip of all three files",
    );
    let mut two = triplet(false, false);
    two.push(("other.h5ad".to_owned(), vec![]));
    assert_refused(
        two,
        "sample: files: 2 matrices (matrix.mtx, other.h5ad); wanted one: give that file itself",
    );
    let error = open(mtx(&|text| text.rsplit_once("\n8 99").unwrap().0.to_owned() + "\n")).map(|_| ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains(". Is it cut off?"), "{error}");
}

#[test]
fn gzip_is_read_in_members_and_checked() {
    let with = |change: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut files = triplet(false, false);
        files[2] = ("matrix.mtx.gz".to_owned(), change(&files[2].1));
        files
    };
    let members = with(&|bytes| bytes.chunks(100).flat_map(gzip).collect());
    assert_counts(open(members).unwrap().as_ref());
    assert_refused(
        with(&|bytes| gzip(bytes)[..300].to_vec()),
        "sample/matrix.mtx.gz: compressed data: the compressed file is cut off",
    );
    let checksum = with(&|bytes| {
        let mut packed = gzip(bytes);
        let at = packed.len() - 8;
        packed[at] ^= 1;
        packed
    });
    assert_refused(
        checksum,
        "sample/matrix.mtx.gz: compressed data: the compressed file is broken: its checksum is not the one it says",
    );
}

#[test]
fn any_place_of_a_long_gzip_is_read_again() {
    // 14 MB, past several stored states, read forwards and backwards.
    let n = 400_000;
    let mut mtx = format!("%%MatrixMarket matrix coordinate real general\n2 {n} {n}\n");
    let mut barcodes = String::new();
    for cell in 1..=n {
        writeln!(mtx, "1 {cell} {cell}.0000000000000000000").unwrap();
        writeln!(barcodes, "C{cell}").unwrap();
    }
    let files = vec![
        ("matrix.mtx.gz".to_owned(), gzip(mtx.as_bytes())),
        ("genes.tsv".to_owned(), b"E1\tA\nE2\tB\n".to_vec()),
        ("barcodes.tsv.gz".to_owned(), gzip(barcodes.as_bytes())),
    ];
    let matrix = open(files).unwrap();
    for cell in [0, n - 1, 5, 200_000, 199_999, 350_000, 100_000, 100_033, n - 1] {
        assert_eq!(matrix.read_rows(cell..cell + 1).unwrap().values, [(cell + 1) as f32]);
        assert_eq!(matrix.cell_names(cell..cell + 1).unwrap(), [format!("C{}", cell + 1)]);
    }
}

#[test]
fn a_zip_opens_what_it_holds() {
    let rename = |prefix: &str| -> Vec<(String, Vec<u8>)> {
        let files = triplet(false, false).into_iter();
        files.map(|(name, bytes)| (format!("{prefix}{name}"), bytes)).collect()
    };
    for prefix in ["", "hg19/", "../../"] {
        let mut files = rename(prefix);
        files.push(("__MACOSX/._matrix.mtx".to_owned(), vec![1]));
        files.push(("README.md".to_owned(), vec![1]));
        assert_counts(open(vec![("a.zip".to_owned(), zip(&files, 0, false))]).unwrap().as_ref());
    }
    assert_refused(
        vec![("a.zip".to_owned(), zip(&rename(""), 1, false))],
        "sample: barcodes.tsv: encrypted; wanted an archive without a password",
    );
    assert_refused(
        vec![("a.zip".to_owned(), zip(&rename(""), 0, true))],
        "sample/barcodes.tsv: compressed data: the compressed file is broken: \
         its length is not the one it says",
    );
    // The list of an archive says of three entries that they are the same megabyte.
    let file = |name: &str| (name.to_owned(), vec![b'0'; 1 << 20]);
    let mut bomb = zip(&[file("a.csv"), file("b.csv"), file("c.csv")], 0, false);
    let list = bomb.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let stored = bomb[list + 51..list + 97].to_vec();
    for entry in [list, list + 102] {
        bomb[entry..entry + 46].copy_from_slice(&stored);
    }
    assert_refused(
        vec![("a.zip".to_owned(), bomb)],
        "sample: b.csv: it overlaps another entry; the archive is broken, or a bomb",
    );
    let whole = zip(&rename(""), 0, false);
    let error = open(vec![("a.zip".to_owned(), whole[..whole.len() / 2].to_vec())]).map(|_| ());
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("sample: zip archive: cannot be read ("), "{error}");
}

#[test]
fn what_is_not_read_says_what_to_do() {
    for (name, bytes, problem) in [
        ("a.xlsx", &b"PK\x03\x04"[..], "an Excel file; save the sheet as .csv"),
        (
            "a.rds",
            &gzip(b"X\n\0\0\0")[..],
            "an R object; save it from R with zellkonverter::writeH5AD",
        ),
        ("a.RDS.gz", &gzip(b"RDX3")[..], "an R object; save it from R with"),
        ("a.tar.gz", &gzip(b"a")[..], "a tar archive; unpack it and give the folder"),
    ] {
        let error = open(vec![(name.to_owned(), bytes.to_vec())])
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("{name}: byte 0: {problem}")), "{error}");
    }
    for name in ["a.h5ad.gz", "a.h5.gz"] {
        assert_refused(
            vec![(name.to_owned(), gzip(b"\x89HDF\r\n\x1a\n\0"))],
            &format!("{name}: line 1: a gzip-compressed HDF5 file; unpack it first (gunzip)"),
        );
    }
}
