//! HDF5 of every kind: what Python wrote is what is read, whatever the compression, the layout or the age of the file.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "in what the tests share a failure is a failed test; there are twelve cells"
)]

use scdiva::cells::{CellColumn, CellMatrix};
use scdiva::read::{self, FileSource, Files, OpenOptions};
use std::path::Path;
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

fn open(name: &str, layer: Option<&str>) -> scdiva::Result<Box<dyn CellMatrix>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let mut options = OpenOptions::default();
    options.layer = layer.map(str::to_owned);
    read::open(&Files::one(name, Arc::new(FileSource::open(&path)?)), &options, None)
}

/// All values, read in blocks that do not divide the number of cells.
fn dense(matrix: &dyn CellMatrix, block: usize) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for start in (0..matrix.n_cells()).step_by(block) {
        let sparse = matrix.read_rows(start..matrix.n_cells().min(start + block)).unwrap();
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

fn wanted(n_genes: usize) -> Vec<Vec<f32>> {
    (0..N_CELLS)
        .map(|cell| (0..n_genes).map(|gene| count(cell, gene % N_GENES)).collect())
        .collect()
}

#[test]
fn every_filter_gives_the_same_counts() {
    let matrix = open("filters.h5ad", None).unwrap();
    let layers: Vec<String> = matrix.matrices().to_vec();
    assert_eq!(layers.len(), 23, "{layers:?}");
    for layer in &layers {
        let matrix = open("filters.h5ad", Some(layer)).unwrap();
        assert_eq!(matrix.matrix(), layer);
        assert_eq!(dense(matrix.as_ref(), 5), wanted(20 * N_GENES - 7), "{layer}");
    }
}

#[test]
fn a_layer_that_is_not_there_is_refused_with_those_that_are() {
    let error = open("scaled_beside_counts.h5ad", Some("spliced")).err().unwrap().to_string();
    assert!(error.contains("spliced: no such matrix; the file has X, raw/X"), "{error}");
    for (layer, matrix) in [
        (Some("X"), "X"),
        (Some("raw"), "raw/X"),
        (Some("raw/X"), "raw/X"),
        (None, "raw/X"),
    ] {
        assert_eq!(open("scaled_beside_counts.h5ad", layer).unwrap().matrix(), matrix);
    }
}

#[test]
fn records_of_cells_are_columns() {
    let matrix = open("legacy.h5ad", None).unwrap();
    assert_eq!(matrix.cell_columns(), ["score"]);
    assert_eq!(
        matrix.cell_column("score").unwrap(),
        Some(CellColumn::Numbers(vec![0.5; N_CELLS]))
    );
    assert_eq!(matrix.cell_names(10..12).unwrap(), ["cell-10", "Zelle-ä"]);
}

#[test]
fn ten_x_files_give_their_genes_and_count_the_rest() {
    for (name, layer, matrix_name) in [
        ("tenx_v3.h5", None, "matrix"),
        ("tenx_v2.h5", None, "GRCh38"),
        ("tenx_v2_two_genomes.h5", Some("mm10"), "mm10"),
    ] {
        let matrix = open(name, layer).unwrap();
        assert_eq!(matrix.matrix(), matrix_name);
        assert_eq!(dense(matrix.as_ref(), 5), wanted(N_GENES), "{name}");
        assert_eq!(matrix.cell_names(10..12).unwrap(), ["cell-10", "Zelle-ä"]);
        let columns: Vec<_> = matrix
            .gene_columns()
            .iter()
            .map(|column| (column.name.as_str(), column.genes[19].as_str()))
            .collect();
        assert_eq!(columns, [("id", "ENSG00000000019.2"), ("name", "GENE19")]);
    }
    let notes = "features that are not genes were left out: 2 of type Antibody Capture, 1 of type CRISPR Guide Capture";
    assert_eq!(open("tenx_v3.h5", None).unwrap().notes(), [notes]);
    let error = open("tenx_v2_two_genomes.h5", None).err().unwrap().to_string();
    assert!(error.contains("several genomes: hg19, mm10; choose one"), "{error}");
}

#[test]
fn columns_and_embeddings_of_every_age_are_what_python_wrote() {
    let missing = |cell: usize| cell.is_multiple_of(4);
    let group = CellColumn::Categories {
        codes: (0..N_CELLS)
            .map(|cell| (!missing(cell)).then_some(u32::from(cell % 3 != 0)))
            .collect(),
        names: ["T cell", "B cell", "unseen"].map(str::to_owned).to_vec(),
    };
    let coded = |code: fn(usize) -> Option<u32>, names: [&str; 2]| CellColumn::Categories {
        codes: (0..N_CELLS).map(code).collect(),
        names: names.map(str::to_owned).to_vec(),
    };
    let score = CellColumn::Numbers((0_u8..12).map(|cell| f64::from(cell) / 4.0).collect());
    for name in ["columns.h5ad", "columns_0.7.h5ad", "columns_0.6.h5ad"] {
        let matrix = open(name, None).unwrap();
        assert_eq!(dense(matrix.as_ref(), 5), wanted(N_GENES), "{name}");
        assert_eq!(matrix.cell_column("group").unwrap().as_ref(), Some(&group), "{name}");
        assert_eq!(matrix.cell_column("score").unwrap().as_ref(), Some(&score), "{name}");
        assert_eq!(matrix.cell_column("none").unwrap(), None);
        assert_eq!(matrix.embeddings(), ["X_umap"], "{name}");
        let umap = matrix.embedding("X_umap").unwrap().unwrap();
        assert_eq!(umap.n_cols, 2);
        assert_eq!(
            umap.values,
            (0_u8..24).map(|i| f32::from(i) / 2.0).collect::<Vec<_>>(),
            "{name}"
        );
    }

    let matrix = open("columns.h5ad", None).unwrap();
    assert_eq!(matrix.matrix(), "layers/counts");
    assert_eq!(matrix.notes(), ["layers/counts was read instead of X: it holds counts"]);
    assert_eq!(matrix.matrices(), ["X", "layers/counts"]);
    let odd = |cell: usize| Some((cell % 2) as u32);
    for (name, column) in [
        ("batch", coded(odd, ["1", "2"])),
        ("sample", coded(|cell| Some((cell / 6) as u32), ["s0", "s1"])),
        ("good", coded(|cell| Some(1 - (cell % 2) as u32), ["False", "True"])),
        (
            "maybe",
            coded(
                |cell| (!cell.is_multiple_of(4)).then_some(1 - (cell % 2) as u32),
                ["False", "True"],
            ),
        ),
        ("n", CellColumn::Numbers((0_u8..12).map(f64::from).collect())),
    ] {
        assert_eq!(matrix.cell_column(name).unwrap(), Some(column), "{name}");
    }
    let Some(CellColumn::Numbers(numbers)) = matrix.cell_column("maybe_n").unwrap() else {
        panic!("maybe_n are numbers");
    };
    for (cell, number) in (0_u8..).zip(numbers) {
        assert!(if missing(cell.into()) {
            number.is_nan()
        } else {
            number == f64::from(cell)
        });
    }
}

#[test]
fn loom_files_give_rows_of_cells() {
    let matrix = open("counts.loom", None).unwrap();
    assert_eq!(
        (matrix.matrix(), matrix.matrices()),
        ("matrix", &["matrix".to_owned(), "layers/doubled".to_owned()][..])
    );
    assert_eq!(dense(matrix.as_ref(), 5), wanted(N_GENES));
    assert_eq!(matrix.cell_names(10..12).unwrap(), ["cell-10", "Zelle-ä"]);
    let columns: Vec<_> = matrix
        .gene_columns()
        .iter()
        .map(|column| (column.name.as_str(), column.genes[19].as_str()))
        .collect();
    assert_eq!(columns, [("Accession", "ENSG00000000019.2"), ("Gene", "GENE19")]);
    assert_eq!(matrix.cell_columns(), ["Age", "Tissue"]);
    let tissue = CellColumn::Categories {
        codes: (0..N_CELLS).map(|cell| Some((cell % 2) as u32)).collect(),
        names: vec!["skin".to_owned(), "blood".to_owned()],
    };
    assert_eq!(matrix.cell_column("Tissue").unwrap(), Some(tissue));
    let doubled = open("counts.loom", Some("doubled")).unwrap();
    let twice: Vec<Vec<f32>> = wanted(N_GENES)
        .into_iter()
        .map(|row| row.into_iter().map(|value| 2.0 * value).collect())
        .collect();
    assert_eq!(dense(doubled.as_ref(), 12), twice);
}

/// Reads every row of every HDF5 file under the folder `SCDIVA_DATA`; without it, says that nothing was tested.
#[test]
fn every_file_at_hand_opens() {
    let Some(folder) = std::env::var_os("SCDIVA_DATA") else {
        eprintln!("SCDIVA_DATA is not set: no files but the fixtures were tested");
        return;
    };
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|end| ["h5ad", "h5", "loom"].iter().any(|known| end == *known))
            {
                let start = std::time::Instant::now();
                let source = Arc::new(FileSource::open(&path).unwrap());
                let name = path.display().to_string();
                let matrix = read::open(&Files::one(&name, source), &OpenOptions::default(), None).unwrap();
                let (mut n_values, mut n_names) = (0, 0);
                for first in (0..matrix.n_cells()).step_by(512) {
                    let cells = first..matrix.n_cells().min(first + 512);
                    n_names += matrix.cell_names(cells.clone()).unwrap().len();
                    n_values += matrix.read_rows(cells).unwrap().values.len();
                }
                assert_eq!(n_names, matrix.n_cells());
                let unread = matrix
                    .cell_columns()
                    .iter()
                    .filter(|name| matrix.cell_column(name).unwrap().is_none())
                    .count();
                for name in matrix.embeddings() {
                    assert!(matrix.embedding(name).unwrap().is_some());
                }
                eprintln!(
                    "{name}: {} cells, {} genes, {n_values} values of {} in {:?}; {unread} of {} columns unread; {:?} {:?}",
                    matrix.n_cells(),
                    matrix.n_genes(),
                    matrix.matrix(),
                    start.elapsed(),
                    matrix.cell_columns().len(),
                    matrix.matrices(),
                    matrix.notes()
                );
            }
        }
    }
}
