//! Results in `.h5ad` files: whatever Python wrote stays to the bit, and anndata opens what comes out.
#![expect(clippy::unwrap_used, reason = "in tests a failure is a failed test")]

mod support {
    pub mod python;
}

use scdiva::cells::{CellMatrix, GeneColumn, SparseRows, Vocabulary};
use scdiva::error::Error;
use scdiva::read::{self, Files, OpenOptions};
use scdiva::write::h5ad::{Additions, H5adWriter};
use scdiva::write::{ResultColumn, ResultEmbedding, ResultValues, TableWriter, columns};
use serde_json::json;
use std::fmt::Debug;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use support::python;

/// Numbers of an embedding.
const N_COLS: usize = 5;

fn additions() -> Additions {
    Additions {
        columns: ["scdiva_cell_type", "scdiva_confidence", "scdiva_rejected"]
            .map(str::to_owned)
            .into(),
        embeddings: ["X_scdiva", "X_scdiva_umap"].map(str::to_owned).into(),
        replace_own: false,
    }
}

/// Columns of some cells by the formulas of `tests/python/h5ad_additions.py`.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn answers(cells: Range<usize>) -> Vec<ResultColumn> {
    let names: Arc<[String]> = ["B", "T αβ", "", "never"].map(str::to_owned).into();
    let code = |i: usize| (i % 4 != 1).then_some(u32::try_from(i % 3).unwrap());
    let confidence = |i: usize| if i % 5 == 2 { f32::NAN } else { i as f32 / 7.0 };
    [
        ResultValues::Categories {
            codes: cells.clone().map(code).collect(),
            names,
        },
        ResultValues::Numbers(cells.clone().map(confidence).collect()),
        ResultValues::Truths(cells.map(|i| i % 2 == 1).collect()),
    ]
    .into_iter()
    .zip(additions().columns)
    .map(|(values, name)| ResultColumn { name, values })
    .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn embedding(cells: Range<usize>, n_cols: usize) -> Vec<f32> {
    (cells.start * n_cols..cells.end * n_cols).map(|i| i as f32 / 3.0).collect()
}

fn mapping(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_value(value).unwrap()
}

/// Writes all answers in blocks of a few cells, columns and embeddings in turns.
fn try_fill<F: Read + Write + Seek + Send + Debug + 'static>(mut writer: H5adWriter<F>) -> std::io::Result<F> {
    let n_cells = usize::try_from(writer.n_cells()).unwrap();
    for start in (0..n_cells).step_by(7) {
        let cells = start..n_cells.min(start + 7);
        let names: Vec<String> = cells.clone().map(|i| i.to_string()).collect();
        writer.write_block(&names, &answers(cells.clone()))?;
        for (name, n_cols) in [("X_scdiva", N_COLS), ("X_scdiva_umap", 2)] {
            let values = &embedding(cells.clone(), n_cols);
            writer.write_embedding(&ResultEmbedding { name, n_cols, values })?;
        }
    }
    writer.set_run(mapping(json!({
        "version": "0.1.0",
        "genes": { "coverage": 0.75, "matched": 12, "missing": ["Ä", "b"] },
        "seeds": [1, 2],
        "shares": [0.5, 1],
        "vote": true,
        "nothing": null,
    })));
    writer.complete()
}

fn fill<F: Read + Write + Seek + Send + Debug + 'static>(writer: H5adWriter<F>) -> F {
    try_fill(writer).unwrap()
}

fn add(name: &str, bytes: &[u8], additions: &Additions) -> Result<Vec<u8>, Error> {
    let writer = H5adWriter::open(name, Cursor::new(bytes.to_vec()), additions)?;
    Ok(fill(writer).into_inner())
}

#[test]
fn what_stands_in_a_file_stays_to_the_bit_and_anndata_reads_what_was_added() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, replaced] = ["old", "new", "replaced"].map(|name| folder.path().join(name));
    for folder in [&old, &new, &replaced] {
        std::fs::create_dir(folder).unwrap();
    }
    let names = python::run("h5ad_additions.py", &["make", old.to_str().unwrap()]);
    assert!(names.lines().count() >= 17, "{names}");
    for name in names.lines() {
        let bytes = std::fs::read(old.join(name)).unwrap();
        let written = add(name, &bytes, &additions()).unwrap();
        // Only the superblock is another; all else is behind what was.
        assert_eq!(written[96..bytes.len()], bytes[96..], "{name}");
        std::fs::write(new.join(name), &written).unwrap();

        // A second run is refused by name, and replaces its own when asked to.
        let error = add(name, &written, &additions()).unwrap_err().to_string();
        assert!(error.contains("obs/scdiva_cell_type: exists already"), "{name}: {error}");
        let replace_own = Additions {
            replace_own: true,
            ..additions()
        };
        std::fs::write(replaced.join(name), add(name, &written, &replace_own).unwrap()).unwrap();
    }
    let folders = [&old, &new, &replaced].map(|folder| folder.to_str().unwrap());
    python::run("h5ad_additions.py", &["check", folders[0], folders[1], folders[2]]);
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[test]
fn a_new_file_holds_the_matrix_of_any_format_and_anndata_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "csr_f32_gzip.h5ad",
        "small_csc_f8_gzip.h5ad",
        "small_dense_f8.h5ad",
        "columns.h5ad",
        "columns_0.7.h5ad",
        "columns_0.6.h5ad",
        "legacy.h5ad",
        "tenx_v3.h5",
        "counts.loom",
        "genes_by_cells.tsv",
        "cells_by_genes.tsv.gz",
    ] {
        let files = Files::one(name, Arc::new(fixture(name)));
        let options = OpenOptions::default();
        let matrix = read::open(&files, &options, Some(&vocabulary())).unwrap();
        let mut heard = vec![];
        let mut progress = |cells| {
            heard.push(cells);
            Ok(())
        };
        let empty = Cursor::new(vec![]);
        let writer = H5adWriter::create("new.h5ad", empty, matrix.as_ref(), &additions(), &mut progress).unwrap();
        let written = fill(writer).into_inner();
        assert_eq!(heard, [12]);
        std::fs::write(folder.path().join(name).with_extension("h5ad"), &written).unwrap();

        // What we write we read.
        let again = read::open(&Files::one("new.h5ad", Arc::new(written)), &options, None).unwrap();
        let columns = matrix.cell_columns();
        assert_eq!(again.cell_columns().len(), columns.len() + 3, "{name}");
        for column in columns {
            let (before, after) = (matrix.cell_column(column).unwrap(), again.cell_column(column).unwrap());
            assert_eq!(format!("{before:?}"), format!("{after:?}"), "{name}: {column}");
        }
        let names = |matrix: &dyn CellMatrix| -> Vec<Vec<String>> {
            matrix.gene_columns().iter().map(|column| column.genes.clone()).collect()
        };
        let (mut before, mut after) = (names(matrix.as_ref()), names(again.as_ref()));
        before.sort();
        after.sort();
        assert_eq!(before, after, "{name}");
    }
    python::run("h5ad_additions.py", &["created", folder.path().to_str().unwrap()]);
}

/// The genes of the fixtures, which tell a table's genes from its cells.
fn vocabulary() -> Vocabulary {
    let lines: String = (0..20).map(|i| format!("{}\tGENE{i}\tENSG{i:011}\t0.5\n", i + 100)).collect();
    let text = format!("id\tsymbol\tensembl_id\tentropy\n{lines}");
    Vocabulary::parse("vocab.tsv", text.as_bytes(), 120, &[]).unwrap()
}

/// Three values in each row, at genes that stand out of order and one of them twice.
struct Wide(usize);

impl CellMatrix for Wide {
    fn file(&self) -> &'static str {
        "wide"
    }

    fn format(&self) -> &'static str {
        "none"
    }

    fn matrix(&self) -> &'static str {
        "X"
    }

    fn n_cells(&self) -> usize {
        self.0
    }

    fn n_genes(&self) -> usize {
        1000
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>, Error> {
        Ok(cells.map(|i| format!("cell {i}")).collect())
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        static COLUMNS: LazyLock<[GeneColumn; 1]> = LazyLock::new(|| {
            [GeneColumn {
                name: "gene".to_owned(),
                genes: (0..1000).map(|i| format!("G{i}")).collect(),
            }]
        });
        &*COLUMNS
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]
    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows, Error> {
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        for i in cells {
            let value = (i % 100 + 1) as f32;
            for (gene, value) in [(2, value), (0, value), (1, value - 1.0), (1, 1.0)] {
                rows.genes.push(((2 * i + gene) % 1000) as u32);
                rows.values.push(value);
            }
            rows.offsets.push(rows.genes.len());
        }
        Ok(rows)
    }
}

#[test]
fn many_chunks_stand_under_one_tree_that_libhdf5_walks() {
    // 3 × 1,500,000 numbers are 69 chunks, which take a tree of two levels.
    let n_cells = 1_500_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.h5ad");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let nothing = Additions::default();
    let writer = H5adWriter::create("many.h5ad", file, &Wide(n_cells), &nothing, &mut |_| Ok(())).unwrap();
    writer.complete().unwrap();
    python::run("h5ad_additions.py", &["many", path.to_str().unwrap(), &n_cells.to_string()]);
}

#[test]
fn a_new_file_is_stopped_when_asked_and_never_replaces_what_its_matrix_knows() {
    let create = |matrix: &dyn CellMatrix, additions: &Additions, progress: &mut dyn FnMut(usize) -> Result<(), Error>| {
        H5adWriter::create("new.h5ad", Cursor::new(vec![]), matrix, additions, progress)
            .unwrap_err()
            .to_string()
    };
    let stop = &mut |cells| if cells > 1000 { Err(Error::Cancelled) } else { Ok(()) };
    assert_eq!(create(&Wide(5000), &additions(), stop), "cancelled");
    let files = Files::one("columns.h5ad", Arc::new(fixture("columns.h5ad")));
    let matrix = read::open(&files, &OpenOptions::default(), None).unwrap();
    let group = Additions {
        columns: vec!["group".to_owned()],
        ..Additions::default()
    };
    let error = create(matrix.as_ref(), &group, &mut |_| Ok(()));
    assert!(error.starts_with("columns.h5ad: obs/group: exists already"), "{error}");
}

#[test]
fn files_that_cannot_be_added_to_are_refused_with_what_to_do() {
    let cut = fixture("columns.h5ad");
    let mut other_program = fixture("small_csr_f4.h5ad");
    // The flags of a superblock of version 3 say that it is being written; the checksum follows them.
    assert_eq!(other_program[8], 3);
    other_program[11] = 1;
    let checksum = hdf5_reader::checksum::jenkins_lookup3(&other_program[..44]);
    other_program[44..48].copy_from_slice(&checksum.to_le_bytes());
    let mut user_block = vec![0; 512];
    user_block.extend(fixture("columns.h5ad"));
    for (name, bytes, wanted) in [
        (
            "columns_0.6.h5ad",
            fixture("columns_0.6.h5ad"),
            "obs: a table of anndata 0.6 or older",
        ),
        ("legacy.h5ad", fixture("legacy.h5ad"), "save it with a current anndata first"),
        ("counts.loom", fixture("counts.loom"), "obs: missing; wanted an .h5ad file"),
        ("tenx.h5", fixture("tenx_v3.h5"), "obs: missing; wanted an .h5ad file"),
        ("cut.h5ad", cut[..cut.len() - 1].to_vec(), "the file is cut off"),
        ("open.h5ad", other_program, "open in another program"),
        ("block.h5ad", user_block, "does not begin with HDF5"),
        ("text.h5ad", b"cell,gene\n".to_vec(), "HDF5 superblock"),
        ("empty.h5ad", vec![], "HDF5 superblock"),
    ] {
        let error = add(name, &bytes, &additions()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{name}: ")) && error.contains(wanted),
            "{name}: {error}"
        );
    }
}

#[test]
fn names_that_anndata_or_cellxgene_refuse_are_refused() {
    let bytes = fixture("columns.h5ad");
    for (columns, embeddings, wanted) in [
        (&[""][..], &[][..], "columns: \"\""),
        (&["a/b"], &[], "without /"),
        (&["__categories"], &[], "begin with __"),
        (&["_index"], &[], "_index"),
        (&["a", "a"], &[], "each name once"),
        (&[], &["scdiva"], "X_, a letter"),
        (&[], &["X_"], "X_, a letter"),
        (&[], &["X_1"], "X_, a letter"),
        (&[], &["X_ä"], "X_, a letter"),
        (&[], &["X_a b"], "X_, a letter"),
        (&[], &["X_a", "X_a"], "each name once"),
        // Theirs.
        (&["group"], &[], "columns.h5ad: obs/group: exists already"),
        (&["Zelle"], &["X_umap"], "columns.h5ad: obsm/X_umap: exists already"),
    ] {
        for replace_own in [false, true] {
            let additions = Additions {
                columns: columns.iter().map(|&name| name.to_owned()).collect(),
                embeddings: embeddings.iter().map(|&name| name.to_owned()).collect(),
                replace_own,
            };
            let error = add("columns.h5ad", &bytes, &additions).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
    let own = Additions {
        columns: columns::ALL.map(str::to_owned).into(),
        embeddings: [columns::EMBEDDING, columns::EMBEDDING_UMAP].map(str::to_owned).into(),
        replace_own: false,
    };
    H5adWriter::open("columns.h5ad", Cursor::new(bytes), &own).unwrap();
}

#[test]
fn what_the_user_named_like_us_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    python::run("h5ad_additions.py", &["theirs", path]);
    for (name, place) in [
        ("column.h5ad", "obs/scdiva_confidence: exists already"),
        ("embedding.h5ad", "obsm/X_scdiva: exists already"),
        ("text.h5ad", "uns/scdiva: "),
        ("mapping.h5ad", "uns/scdiva: "),
        // What cannot be written anew without a loss.
        ("paged.h5ad", "HDF5 superblock: the file manages its free space itself"),
        ("twice.h5ad", "obs: a group that stands in two places"),
        ("twice_latest.h5ad", "obs: a group that stands in two places"),
        ("elsewhere.h5ad", "obs: a link to another place"),
    ] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        for replace_own in [false, true] {
            let additions = Additions {
                replace_own,
                ..additions()
            };
            let error = add(name, &bytes, &additions).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: {place}")), "{error}");
        }
    }
    // A list that names a column of theirs, besides ours, which alone goes.
    let replace_own = Additions {
        replace_own: true,
        ..additions()
    };
    let bytes = std::fs::read(folder.path().join("listed.h5ad")).unwrap();
    std::fs::write(
        folder.path().join("replaced.h5ad"),
        add("listed.h5ad", &bytes, &replace_own).unwrap(),
    )
    .unwrap();
    python::run("h5ad_additions.py", &["theirs_stay", path]);
}

#[test]
fn answers_that_do_not_fit_are_refused_and_the_file_is_what_it_was() {
    let bytes = fixture("columns.h5ad");
    let open = || H5adWriter::open("a.h5ad", Cursor::new(bytes.clone()), &additions()).unwrap();
    let names: Vec<String> = (0..13).map(|i| i.to_string()).collect();
    let block = |column: ResultColumn| {
        let n = column.values.len();
        open().write_block(&names[..n], &[column]).unwrap_err().to_string()
    };
    let column = |name: &str, values: ResultValues| ResultColumn {
        name: name.to_owned(),
        values,
    };
    let types = |codes: Vec<Option<u32>>, names: &[&str]| ResultValues::Categories {
        codes,
        names: names.iter().map(|&name| name.to_owned()).collect(),
    };
    for (error, wanted) in [
        (
            block(column("other", ResultValues::Truths(vec![true]))),
            "other was not announced",
        ),
        (
            block(column("scdiva_rejected", ResultValues::Truths(vec![true; 13]))),
            "1 values more than [12]",
        ),
        (
            block(column("scdiva_cell_type", types(vec![Some(2)], &["a", "b"]))),
            "code 2 is past the last category (2)",
        ),
        (
            block(column("scdiva_cell_type", types(vec![None], &["a", "b", "a"]))),
            "the category a comes twice",
        ),
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    let mut writer = open();
    let rows = ResultColumn {
        name: "scdiva_rejected".to_owned(),
        values: ResultValues::Truths(vec![true; 3]),
    };
    let error = writer
        .write_block(&names[..2], std::slice::from_ref(&rows))
        .unwrap_err()
        .to_string();
    assert!(error.contains("scdiva_rejected: 3 values for 2 cells"), "{error}");
    writer.write_block(&names[..3], &[rows]).unwrap();
    let numbers = column("scdiva_rejected", ResultValues::Numbers(vec![1.0]));
    let error = writer.write_block(&names[..1], &[numbers]).unwrap_err().to_string();
    assert!(error.contains("another kind than before"), "{error}");
    let embedding = |name: &'static str, n_cols, values: &[f32]| {
        let embedding = ResultEmbedding { name, n_cols, values };
        open().write_embedding(&embedding).unwrap_err().to_string()
    };
    for (error, wanted) in [
        (embedding("X_other", 2, &[1.0; 2]), "X_other was not announced"),
        (embedding("X_scdiva", 2, &[1.0; 3]), "3 numbers are not rows of 2"),
        (embedding("X_scdiva", 0, &[]), "0 numbers are not rows of 0"),
        (embedding("X_scdiva", 2, &[1.0; 26]), "2 values more than [12, 2]"),
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    let error = writer.complete().unwrap_err().to_string();
    assert!(error.contains("scdiva_cell_type: 12 of 12 cells have no answer"), "{error}");

    for (run, wanted) in [
        (
            json!({"a": {"b": [1, "x"]}}),
            "uns/scdiva/a/b: a list of values of several kinds",
        ),
        (json!({"a": [[1]]}), "uns/scdiva/a: a list"),
        (json!({"a/b": 1}), "\"a/b\" cannot be a name"),
        (json!({"columns": 1}), "uns/scdiva/columns is not the caller's"),
        (json!({"text": "a\0b"}), "contains a zero"),
    ] {
        let mut writer = H5adWriter::open("a.h5ad", Cursor::new(bytes.clone()), &Additions::default()).unwrap();
        writer.set_run(mapping(run));
        let error = writer.complete().unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

/// Bytes in memory that take a number of writes, and then say that the disk is full.
#[derive(Debug)]
struct Disk {
    bytes: Arc<Mutex<Cursor<Vec<u8>>>>,
    writes_left: usize,
}

impl Read for Disk {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.lock().unwrap().read(out)
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.bytes.lock().unwrap().seek(to)
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(std::io::ErrorKind::StorageFull)?;
        self.bytes.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn up_to_the_last_write_a_file_is_what_it_was() {
    for name in ["columns.h5ad", "small_csr_f4.h5ad"] {
        let old = fixture(name);
        let whole = add(name, &old, &additions()).unwrap();
        let mut writes = 0;
        loop {
            let bytes = Arc::new(Mutex::new(Cursor::new(old.clone())));
            let disk = Disk {
                bytes: Arc::clone(&bytes),
                writes_left: writes,
            };
            let writer = H5adWriter::open(name, disk, &additions());
            // A group that is not there yet is begun when the file is opened.
            let result = writer.map_err(|error| error.to_string());
            let result = result.and_then(|writer| try_fill(writer).map_err(|error| error.to_string()));
            let bytes = bytes.lock().unwrap().get_ref().clone();
            if result.is_ok() {
                assert_eq!(bytes, whole, "{name} after {writes} writes");
                break;
            }
            assert_eq!(bytes[..old.len()], old, "{name} after {writes} writes");
            writes += 1;
        }
        assert!(writes > 20, "{name}: {writes} writes");
    }
}
