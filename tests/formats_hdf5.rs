//! HDF5 of every kind: what Python wrote is what is read, whatever the compression, the layout or the age of the file.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in what the tests share a failure is a failed test; there are twelve cells"
)]

mod support {
    pub(crate) mod skip;
}

use scdiva::cells::{CellColumn, CellMatrix};
use scdiva::read::{self, FileSource, Files, OpenOptions};
use std::io::Read;
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
fn counts_of_few_genes_give_way_to_all_genes_on_a_known_scale() {
    let matrix = open("few_genes_counted.h5ad", None).unwrap();
    assert_eq!((matrix.matrix(), matrix.n_genes()), ("raw/X", N_GENES));
    let notes = [
        "raw/X was read instead of X: it holds log-normalised values",
        "layers/counts was not read: it has 8 genes, raw/X 20",
    ];
    assert_eq!(matrix.notes(), notes);
    let matrix = open("few_genes_counted_unknown.h5ad", None).unwrap();
    assert_eq!((matrix.matrix(), matrix.n_genes()), ("X", 8));
    let note = "raw/X was not read: it has 20 genes instead of 8, but of an unknown scale; choose it as the layer to read it";
    assert_eq!(matrix.notes(), [note]);
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
    for layer in ["X", "dense"] {
        let matrix = open("multimodal.h5ad", Some(layer)).unwrap();
        assert_eq!(dense(matrix.as_ref(), 5), wanted(N_GENES), "{layer}");
        assert_eq!(
            (matrix.gene_columns()[0].genes[0].as_str(), matrix.notes()),
            ("GENE0", &[notes.to_owned()][..])
        );
    }
    let error = open("tenx_peaks.h5", None).err().unwrap().to_string();
    assert!(
        error.contains("matrix/features: no features of the type Gene Expression; it has 20 of type Peaks"),
        "{error}"
    );
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
fn numbers_that_are_names_keep_their_digits() {
    let matrix = open("numbered.h5ad", None).unwrap();
    assert_eq!(
        matrix.cell_names(0..2).unwrap(),
        ["1152921504606846976", "1152921504606846977"]
    );
    for (name, wanted) in [
        ("half", ["0.1", "0.25"]),
        ("double", ["0.1", "0.25"]),
        ("good", ["False", "True"]),
    ] {
        let Some(CellColumn::Categories { names, .. }) = matrix.cell_column(name).unwrap() else {
            panic!("{name} are categories");
        };
        assert_eq!(names, wanted, "{name}");
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

/// A matrix of a file and the names of its cells, as the crate hdf5-pure reads them, or why it cannot.
fn second_reader(file: &hdf5_pure::File, part: &str, n_genes: usize) -> Result<(Vec<Vec<f32>>, Vec<String>), String> {
    let dataset = |path: &str| file.dataset(path).map_err(|error| format!("{path}: {error}"));
    let numbers = |path: &str| -> Result<Vec<f64>, String> {
        let dataset = dataset(path)?;
        let n: u64 = dataset.shape().map_err(|error| error.to_string())?.iter().product();
        let numbers = dataset.read_f64().map_err(|error| format!("{path}: {error}"))?;
        // Of f16 it gives nothing, and no error.
        if numbers.len() as u64 == n {
            Ok(numbers)
        } else {
            Err(format!("{path}: {} numbers of {n}", numbers.len()))
        }
    };
    let names = dataset("obs/_index")?.read_string().map_err(|error| error.to_string())?;
    let mut rows = vec![vec![0.0; n_genes]; names.len()];
    if let Ok(group) = file.group(part) {
        let attributes = group.attrs().map_err(|error| error.to_string())?;
        let by_column = format!("{:?}", attributes.get("encoding-type")).contains("csc");
        let (data, indices, indptr) = (
            numbers(&format!("{part}/data"))?,
            numbers(&format!("{part}/indices"))?,
            numbers(&format!("{part}/indptr"))?,
        );
        for (i, ends) in indptr.windows(2).enumerate() {
            for place in ends[0] as usize..ends[1] as usize {
                let j = indices[place] as usize;
                let (cell, gene) = if by_column { (j, i) } else { (i, j) };
                rows[cell][gene] += data[place] as f32;
            }
        }
    } else {
        let dense = numbers(part)?;
        for (row, numbers) in rows.iter_mut().zip(dense.chunks_exact(n_genes)) {
            *row = numbers.iter().map(|&number| number as f32).collect();
        }
    }
    Ok((rows, names))
}

#[test]
fn a_second_reader_finds_the_same_matrix_and_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (mut n_compared, mut not_read) = (0, Vec::new());
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // It does not leave out what is no gene.
        .filter(|name| (name.ends_with(".h5ad") || name.ends_with(".h5ad.zip")) && name != "multimodal.h5ad")
        .collect();
    names.sort();
    for name in names {
        let mut bytes = std::fs::read(folder.join(&name)).unwrap();
        if name.ends_with(".zip") {
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
            let mut content = Vec::new();
            flate2::read::DeflateDecoder::new(archive.by_index_raw(0).unwrap())
                .read_to_end(&mut content)
                .unwrap();
            bytes = content;
        }
        let file = hdf5_pure::File::from_bytes(bytes).unwrap();
        for part in open(&name, None).unwrap().matrices() {
            let matrix = open(&name, Some(part)).unwrap();
            match second_reader(&file, part, matrix.n_genes()) {
                Ok((rows, cells)) => {
                    assert_eq!(dense(matrix.as_ref(), 5), rows, "{name} {part}");
                    assert_eq!(matrix.cell_names(0..matrix.n_cells()).unwrap(), cells, "{name}");
                    n_compared += 1;
                }
                Err(reason) => not_read.push((name.clone(), reason)),
            }
        }
    }
    // Numbers as names; obs as records; f16; chunks as HDF5 2.0 writes them when asked for its latest layout.
    let is_latest = |name: &str| name.ends_with("_gzip.h5ad") && name.starts_with("small") || name == "filters.h5ad";
    let others: Vec<_> = not_read.iter().filter(|(name, _)| !is_latest(name)).collect();
    let mut names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    let wanted = [
        "age_0.6.h5ad.zip",
        "columns_0.6.h5ad",
        "legacy.h5ad",
        "numbered.h5ad",
        "small_f16.h5ad",
    ];
    assert_eq!(names, wanted, "{not_read:?}");
    assert_eq!(n_compared, 27, "{not_read:?}");
}

/// What is not read says how it can be exported.
#[test]
fn formats_of_r_say_how_to_export() {
    let seurat = open("seurat.h5seurat", None).err().unwrap().to_string();
    assert!(
        seurat.contains("an .h5seurat file, which is not read; export it in R: SeuratDisk::Convert(file, dest = \"h5ad\")"),
        "{seurat}"
    );
    // Uncompressed, compressed by gzip as saveRDS does by default, and by bzip2 and xz.
    for (name, bytes) in [
        ("pbmc", &b"X\n\0\0\0\x03"[..]),
        ("pbmc", b"RDX3\nX\n"),
        ("pbmc.rds", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        ("pbmc.RData", b"BZh91AY"),
        ("pbmc.rda", b"\xfd7zXZ\0"),
    ] {
        let files = Files::one(name, Arc::new(bytes.to_vec()));
        let message = read::open(&files, &OpenOptions::default(), None).err().unwrap().to_string();
        let wanted = format!("{name}: byte 0: an R object; save it from R with ");
        assert!(
            message.starts_with(&wanted) && message.contains("zellkonverter::writeH5AD"),
            "{message}"
        );
    }
}

/// Shape and sums of every matrix of many files, as `tests/fixtures/data.py` found them: in the folder that `SCDIVA_DATA` names.
#[test]
fn every_file_at_hand_has_the_sums_that_python_found() {
    let Some(folder) = std::env::var_os("SCDIVA_DATA").map(std::path::PathBuf::from) else {
        support::skip::not_tested("the files of tests/fixtures/data.tsv; set SCDIVA_DATA to their folder");
        return;
    };
    let table = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data.tsv")).unwrap();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[
            name,
            layer,
            n_cells,
            n_genes,
            n_values,
            sum,
            sum_by_place,
            last_cell,
            last_gene,
        ] = fields.as_slice()
        else {
            panic!("{line}");
        };
        let files = Files::from_path(&folder.join(name)).unwrap();
        let mut options = OpenOptions::default();
        options.layer = Some(layer.to_owned());
        let matrix = read::open(&files, &options, None).unwrap();
        let shape = [matrix.n_cells(), matrix.n_genes()].map(|n| n.to_string());
        assert_eq!(shape, [n_cells, n_genes], "{name} {layer}");
        let (mut n, mut found, mut by_place) = (0, 0.0, 0.0);
        for first in (0..matrix.n_cells()).step_by(512) {
            let rows = matrix.read_rows(first..matrix.n_cells().min(first + 512)).unwrap();
            for row in 0..rows.n_rows() {
                let (genes, values) = rows.row(row);
                for (&gene, &value) in genes.iter().zip(values) {
                    n += usize::from(value != 0.0);
                    found += f64::from(value);
                    by_place += f64::from(value) * f64::from((first + row) as u32 % 97 + 1) * f64::from(gene % 89 + 1);
                }
            }
        }
        assert_eq!(n.to_string(), n_values, "{name} {layer}");
        for (found, wanted) in [(found, sum), (by_place, sum_by_place)] {
            let wanted: f64 = wanted.parse().unwrap();
            assert!(
                (found - wanted).abs() <= 1e-9 * wanted.abs(),
                "{name} {layer}: {found}; wanted {wanted}"
            );
        }
        let n_cells = matrix.n_cells();
        assert_eq!(matrix.cell_names(n_cells - 1..n_cells).unwrap(), [last_cell], "{name}");
        assert_eq!(
            matrix.gene_columns()[0].genes.last().map(String::as_str),
            Some(last_gene),
            "{name}"
        );
        for column in matrix.cell_columns() {
            assert!(matrix.cell_column(column).unwrap().is_some(), "{name}: {column}");
        }
        for embedding in matrix.embeddings() {
            assert!(matrix.embedding(embedding).unwrap().is_some(), "{name}: {embedding}");
        }
    }
}
