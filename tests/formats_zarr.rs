//! `AnnData` of every age, and as Zarr of both formats, in a folder or a zip archive: what Python wrote is what is read, whatever the codec.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "in what the tests share a failure is a failed test; there are twelve cells"
)]

use scdiva::cells::{CellColumn, CellMatrix};
use scdiva::read::{self, FileSource, Files, OpenOptions, Source};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const N_CELLS: usize = 12;
const N_GENES: usize = 20;
/// Of the stores with one layer for each codec.
const N_GENES_OF_CODECS: usize = 6 * N_GENES - 7;
const STORES: [&str; 2] = ["zarr_v2.zip", "zarr_v3.zip"];

/// The counts that all fixtures hold: `counts()` in `tests/fixtures/make.py`.
fn count(cell: usize, gene: usize) -> f32 {
    match (cell, gene) {
        (11, 19) => 70_000.0,
        (4, _) | (_, 7) => 0.0,
        _ if (cell + gene).is_multiple_of(3) => 0.0,
        _ => ((7 * cell + 3 * gene) % 11) as f32,
    }
}

fn wanted(n_genes: usize) -> Vec<Vec<f32>> {
    (0..N_CELLS)
        .map(|cell| (0..n_genes).map(|gene| count(cell, gene % N_GENES)).collect())
        .collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn layer(name: Option<&str>) -> OpenOptions {
    let mut options = OpenOptions::default();
    options.layer = name.map(str::to_owned);
    options
}

fn open(files: &Files, name: Option<&str>) -> scdiva::Result<Box<dyn CellMatrix>> {
    read::open(files, &layer(name), None)
}

fn zip(name: &str) -> Files {
    Files::one(name, Arc::new(FileSource::open(&fixture(name)).unwrap()))
}

/// The files of an archive, by name.
type Entries = Vec<(String, Vec<u8>)>;

fn entries(name: &str) -> Entries {
    let mut archive = ::zip::ZipArchive::new(std::fs::File::open(fixture(name)).unwrap()).unwrap();
    (0..archive.len())
        .map(|i| {
            let raw = archive.by_index_raw(i).unwrap();
            let (name, is_packed) = (raw.name().unwrap().into_owned(), raw.size() != raw.compressed_size());
            let mut content = Vec::new();
            let mut raw = raw;
            if is_packed {
                flate2::read::DeflateDecoder::new(raw).read_to_end(&mut content).unwrap();
            } else {
                raw.read_to_end(&mut content).unwrap();
            }
            (name, content)
        })
        .collect()
}

/// What a browser gives of a folder: each file by its name.
fn dropped(entries: &Entries) -> Files {
    let files = entries
        .iter()
        .map(|(name, content)| (name.clone(), Arc::new(content.clone()) as Arc<dyn Source>));
    Files::many("store.zarr", files.collect())
}

fn unpacked(entries: &Entries, folder: &Path) {
    for (name, content) in entries {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// All values, read in blocks that do not divide the number of cells.
fn dense(matrix: &dyn CellMatrix, block: usize) -> scdiva::Result<Vec<Vec<f32>>> {
    let mut rows = Vec::new();
    for start in (0..matrix.n_cells()).step_by(block) {
        let sparse = matrix.read_rows(start..matrix.n_cells().min(start + block))?;
        for row in 0..sparse.n_rows() {
            let mut dense = vec![0.0; matrix.n_genes()];
            let (genes, values) = sparse.row(row);
            for (&gene, value) in genes.iter().zip(values) {
                dense[gene as usize] += value;
            }
            rows.push(dense);
        }
    }
    Ok(rows)
}

#[test]
fn a_store_reads_alike_from_a_zip_a_folder_and_single_files() {
    for name in STORES {
        let (entries, folder) = (entries(name), tempfile::tempdir().unwrap());
        unpacked(&entries, folder.path());
        // The folder holds the files, or a folder `store.zarr` with them.
        for files in [zip(name), Files::from_path(folder.path()).unwrap(), dropped(&entries)] {
            let matrix = open(&files, None).unwrap();
            assert_eq!(
                (matrix.format(), matrix.matrix()),
                ("AnnData (.zarr)", "layers/counts"),
                "{name}"
            );
            assert_eq!(matrix.notes(), ["layers/counts was read instead of X: it holds counts"]);
            assert_eq!(
                matrix.matrices(),
                ["X", "raw/X", "layers/counts", "layers/csr", "layers/dense"],
                "{name}"
            );
            for part in matrix.matrices() {
                let matrix = open(&files, Some(part)).unwrap();
                let mut wanted = wanted(N_GENES);
                if part == "X" {
                    for value in wanted.iter_mut().flatten() {
                        *value = value.ln_1p();
                    }
                }
                for block in [1, 5, N_CELLS] {
                    let found = dense(matrix.as_ref(), block).unwrap();
                    let is_close = |(found, wanted): (&f32, &f32)| (found - wanted).abs() <= 1e-6 * wanted;
                    let mut pairs = found.iter().flatten().zip(wanted.iter().flatten());
                    assert!(pairs.all(is_close), "{name} {part} in blocks of {block}: {found:?}");
                }
            }
        }
    }
}

#[test]
fn every_age_of_anndata_gives_the_same_counts_columns_and_names() {
    for (age, index) in [("0.6", "index"), ("0.7", "_index"), ("0.12", "_index")] {
        for container in ["h5ad", "zarr"] {
            if (age, container) == ("0.6", "zarr") {
                continue;
            }
            let name = format!("age_{age}.{container}.zip");
            let files = zip(&name);
            for (part, chosen, is_log) in [
                ("X", "X", true),
                ("raw", if age == "0.6" { "raw.X" } else { "raw/X" }, false),
                ("csc", "layers/csc", false),
                ("dense", "layers/dense", false),
            ] {
                let matrix = open(&files, Some(part)).unwrap();
                assert_eq!(matrix.matrix(), chosen, "{name}");
                assert_eq!(matrix.format(), format!("AnnData (.{container})"));
                let mut wanted = wanted(N_GENES);
                if is_log {
                    wanted.iter_mut().flatten().for_each(|value| *value = value.ln_1p());
                }
                let found = dense(matrix.as_ref(), 5).unwrap();
                let is_close = |(found, wanted): (&f32, &f32)| (found - wanted).abs() <= 1e-6 * wanted;
                assert!(
                    found.iter().flatten().zip(wanted.iter().flatten()).all(is_close),
                    "{name} {part}: {found:?}"
                );
                let columns: Vec<_> = matrix
                    .gene_columns()
                    .iter()
                    .map(|column| (column.name.as_str(), column.genes[19].as_str()))
                    .collect();
                assert_eq!(columns[0], (index, "GENE19"), "{name} {part}");
                // Codes, whose categories stand elsewhere in each age.
                assert!(
                    columns.contains(&("feature_type", "Gene Expression")),
                    "{name} {part}: {columns:?}"
                );
                assert!(
                    columns.contains(&("gene_ids", "ENSG00000000019.2")),
                    "{name} {part}: {columns:?}"
                );
            }
            let matrix = open(&files, None).unwrap();
            assert_eq!(
                matrix.matrix(),
                if age == "0.6" { "raw.X" } else { "raw/X" },
                "counts before logs"
            );
            assert_eq!(matrix.cell_names(10..12).unwrap(), ["cell-10", "Zelle-ä"], "{name}");
            let coded = |code: &dyn Fn(usize) -> Option<u32>, names: &[&str]| CellColumn::Categories {
                codes: (0..N_CELLS).map(code).collect(),
                names: names.iter().map(|&name| name.to_owned()).collect(),
            };
            let group = |cell: usize| (!cell.is_multiple_of(4)).then_some(u32::from(!cell.is_multiple_of(3)));
            let score = CellColumn::Numbers((0_u8..12).map(|cell| f64::from(cell) / 4.0).collect());
            for (column, wanted) in [
                ("group", coded(&group, &["T cell", "B cell", "unseen"])),
                ("sample", coded(&|cell| Some((cell / 6) as u32), &["s0", "s1"])),
                ("score", score),
            ] {
                assert_eq!(matrix.cell_column(column).unwrap(), Some(wanted), "{name} {column}");
            }
            let umap = matrix.embedding("X_umap").unwrap().unwrap();
            assert_eq!((umap.n_cols, umap.values[23]), (2, 11.5), "{name}");
        }
    }
}

#[test]
fn columns_names_and_embeddings_are_what_python_wrote() {
    let missing = |cell: usize| cell.is_multiple_of(4);
    let numbers = |number: fn(usize) -> f64| CellColumn::Numbers((0..N_CELLS).map(number).collect());
    let coded = |code: &dyn Fn(usize) -> Option<u32>, names: &[&str]| CellColumn::Categories {
        codes: (0..N_CELLS).map(code).collect(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let group = |cell: usize| (!missing(cell)).then_some(u32::from(!cell.is_multiple_of(3)));
    let columns = [
        ("group", coded(&group, &["T cell", "B cell", "unseen"])),
        ("batch", coded(&|cell| Some((cell % 2) as u32), &["1", "2"])),
        ("sample", coded(&|cell| Some((cell / 6) as u32), &["s0", "s1"])),
        ("score", numbers(|cell| cell as f64 / 4.0)),
        ("n", numbers(|cell| cell as f64)),
        ("zeros", numbers(|_| 0.0)),
        ("good", coded(&|cell| Some(1 - (cell % 2) as u32), &["False", "True"])),
        (
            "maybe",
            coded(&|cell| (!missing(cell)).then_some(1 - (cell % 2) as u32), &["False", "True"]),
        ),
        // In the order in which they come.
        (
            "maybe_text",
            coded(
                &|cell| (!missing(cell)).then_some(u32::from(cell.is_multiple_of(3))),
                &["B cell", "T cell"],
            ),
        ),
    ];
    for name in STORES {
        let matrix = open(&zip(name), None).unwrap();
        let mut names: Vec<&str> = columns.iter().map(|(column, _)| *column).chain(["maybe_n"]).collect();
        names.sort_unstable();
        assert_eq!(matrix.cell_columns(), names, "{name}");
        for (column, wanted) in &columns {
            assert_eq!(matrix.cell_column(column).unwrap().as_ref(), Some(wanted), "{name} {column}");
        }
        let Some(CellColumn::Numbers(found)) = matrix.cell_column("maybe_n").unwrap() else {
            panic!("maybe_n are numbers");
        };
        for (cell, number) in found.into_iter().enumerate() {
            let is_right = if missing(cell) {
                number.is_nan()
            } else {
                number == cell as f64
            };
            assert!(is_right, "{name}: maybe_n of {cell} is {number}");
        }
        assert_eq!(matrix.cell_names(10..12).unwrap(), ["cell-10", "Zelle-ä"], "{name}");
        let genes: Vec<_> = matrix
            .gene_columns()
            .iter()
            .map(|column| (column.name.as_str(), column.genes[19].as_str()))
            .collect();
        let wanted = [
            ("_index", "GENE19"),
            ("feature_type", "Gene Expression"),
            ("gene_ids", "ENSG00000000019.2"),
        ];
        assert_eq!(genes, wanted, "{name}");
        assert_eq!(matrix.embeddings(), ["X_umap"], "{name}");
        let umap = matrix.embedding("X_umap").unwrap().unwrap();
        let halves: Vec<f32> = (0_u8..24).map(|i| f32::from(i) / 2.0).collect();
        assert_eq!((umap.n_cols, umap.values), (2, halves), "{name}");
    }
}

#[test]
fn the_base_of_logarithms_is_what_scanpy_noted() {
    for (name, base) in [
        ("log2.h5ad.zip", Some(2.0)),
        ("log2_v2.zarr.zip", Some(2.0)),
        ("log2_v3.zarr.zip", Some(2.0)),
        ("natural_log.h5ad.zip", Some(std::f64::consts::E)),
        ("zarr_v2.zip", None),
    ] {
        assert_eq!(open(&zip(name), None).unwrap().log_base(), base, "{name}");
    }
}

#[test]
fn every_codec_gives_the_same_counts_or_its_name() {
    for (name, n_layers) in [("zarr_codecs_v2.zip", 30), ("zarr_codecs_v3.zip", 19)] {
        let files = zip(name);
        let matrices = open(&files, Some("none")).unwrap().matrices().to_vec();
        assert_eq!(matrices.len(), n_layers, "{name}: {matrices:?}");
        for part in &matrices {
            let matrix = open(&files, Some(part)).unwrap();
            let layer = part.strip_prefix("layers/").unwrap();
            let found = dense(matrix.as_ref(), 5);
            if let "bzip2" | "lzma" = layer {
                let message = found.unwrap_err().to_string();
                let codec = if layer == "bzip2" { "bz2" } else { "lzma" };
                let start = format!("{name}: {part}: compressed with {codec}, which cannot be read; write it again");
                assert!(message.starts_with(&start), "{message}");
                continue;
            }
            let mut wanted = wanted(N_GENES_OF_CODECS);
            if layer == "f2" {
                // 70,000 is past f16.
                wanted.iter_mut().flatten().for_each(|value| *value = value.min(2048.0));
            }
            assert_eq!(found.unwrap(), wanted, "{name} {part}");
        }
    }
}

/// The store of one format in single files, one of them changed or, with `None`, taken away.
fn changed(name: &str, file: &str, content: Option<&dyn Fn(Vec<u8>) -> Vec<u8>>) -> Files {
    let mut entries = entries(name);
    let place = entries.iter().position(|(name, _)| name.ends_with(file));
    assert!(place.is_some(), "{name} has no {file}");
    let (entry, old) = entries.remove(place.unwrap());
    if let Some(content) = content {
        entries.push((entry, content(old)));
    }
    dropped(&entries)
}

fn use_up(files: &Files, part: &str) -> scdiva::Result<()> {
    let matrix = open(files, Some(part))?;
    dense(matrix.as_ref(), 5)?;
    matrix.cell_names(0..matrix.n_cells())?;
    for column in matrix.cell_columns() {
        matrix.cell_column(column)?;
    }
    for name in matrix.embeddings() {
        matrix.embedding(name)?;
    }
    Ok(())
}

#[test]
fn broken_stores_are_refused_with_file_and_place() {
    let replace = |from: &'static str, to: &'static str| {
        move |old: Vec<u8>| {
            let text = String::from_utf8(old).unwrap();
            assert!(text.contains(from), "{text} has no {from}");
            text.replacen(from, to, 1).into_bytes()
        }
    };
    let cut = |old: Vec<u8>| old[..old.len() / 2].to_vec();
    type Change<'a> = Option<&'a dyn Fn(Vec<u8>) -> Vec<u8>>;
    let huge = replace(
        "\"chunks\": [\n    12,\n    20\n  ]",
        "\"chunks\": [\n    1200000000,\n    20000000000\n  ]",
    );
    let (short, no_json, array) = (
        replace("\"shape\": [\n    13\n  ]", "\"shape\": [\n    12\n  ]"),
        |_| b"{".to_vec(),
        replace("\"array\"", "\"chunk\""),
    );
    let irregular = replace("\"regular\"", "\"rectilinear\"");
    let cases: [(&str, &str, &str, Change<'_>, &str); 15] = [
        (
            "zarr_v2.zip",
            "raw/X",
            "raw/X/indices/0",
            None,
            "raw/X/indices: chunk 0 is missing. Was the store copied whole?",
        ),
        (
            "zarr_v3.zip",
            "counts",
            "layers/counts/indices/c/0",
            None,
            "layers/counts/indices: chunk 0 is missing",
        ),
        (
            "zarr_v2.zip",
            "raw/X",
            "raw/X/indptr/0",
            None,
            "raw/X/indptr: ends with 0, but raw/X/data has",
        ),
        (
            "zarr_v2.zip",
            "raw/X",
            "raw/X/data/0",
            Some(&cut),
            "raw/X/data/0: the chunk is broken (Blosc). Was it copied whole?",
        ),
        (
            "zarr_v3.zip",
            "raw/X",
            "raw/X/data/c/0",
            Some(&cut),
            "raw/X/data/c/0: the chunk is broken (Zstandard)",
        ),
        (
            "zarr_v3.zip",
            "raw/X",
            "raw/X/data/c/0",
            Some(&|_| Vec::new()),
            "raw/X/data/c/0: the chunk is broken (Zstandard)",
        ),
        (
            "zarr_v2.zip",
            "dense",
            "layers/dense/.zarray",
            Some(&huge),
            "layers/dense: chunks of [1200000000, 20000000000] elements; wanted no more than 256 MiB",
        ),
        (
            "zarr_v2.zip",
            "raw/X",
            "raw/X/indptr/.zarray",
            Some(&short),
            "raw/X/indptr: 12 numbers; wanted 13, one more than 12",
        ),
        (
            "zarr_v2.zip",
            "raw/X",
            "raw/X/indptr/.zarray",
            Some(&no_json),
            "raw/X/indptr/.zarray: no JSON as it should be",
        ),
        (
            "zarr_v3.zip",
            "raw/X",
            "raw/X/indptr/zarr.json",
            Some(&array),
            "raw/X/indptr/zarr.json: neither a group nor an array",
        ),
        (
            "zarr_v3.zip",
            "raw/X",
            "raw/X/indptr/zarr.json",
            Some(&irregular),
            "raw/X/indptr/zarr.json: chunk_grid",
        ),
        (
            "zarr_v2.zip",
            "raw/X",
            "raw/X/.zattrs",
            None,
            "raw/X: a group of type ``; wanted csr_matrix",
        ),
        ("zarr_v3.zip", "raw/X", "obs/_index/zarr.json", None, "obs/_index: missing"),
        (
            "zarr_codecs_v3.zip",
            "shards",
            "layers/shards/c/0/0",
            Some(&cut),
            "layers/shards/c/0/0: its list of chunks is broken",
        ),
        (
            "zarr_codecs_v3.zip",
            "shards",
            "layers/shards/c/0/0",
            Some(&|_| vec![1; 9]),
            "layers/shards/c/0/0: 9 bytes are too few for a list of 4 chunks",
        ),
    ];
    for (name, part, file, change, problem) in cases {
        let error = use_up(&changed(name, file, change), part).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.code(), "file", "{message}");
        assert!(message.starts_with(&format!("store.zarr: {problem}")), "{file}: {message}");
    }
}

#[test]
fn folders_and_archives_of_several_or_no_matrices_are_refused() {
    let mut both = entries("zarr_v3.zip");
    both.extend(entries("zarr_v2.zip"));
    let message = open(&dropped(&both), None).err().unwrap().to_string();
    assert!(
        message.starts_with("store.zarr: files: 2 matrices (store.zarr, store.zarr); wanted one"),
        "{message}"
    );

    let mut beside = entries("zarr_v2.zip");
    beside.push(("counts.csv".to_owned(), b"cell,GENE0\na,1\n".to_vec()));
    let message = open(&dropped(&beside), None).err().unwrap().to_string();
    assert!(
        message.contains("2 matrices (counts.csv, store.zarr); wanted one"),
        "{message}"
    );

    let image = vec![("image.zarr/.zgroup".to_owned(), b"{\"zarr_format\": 2}".to_vec())];
    let message = open(&dropped(&image), None).err().unwrap().to_string();
    assert!(
        message.contains("obs, var: a Zarr store without them; wanted AnnData"),
        "{message}"
    );
}

/// Bytes changed at random: an error or other counts, but never a panic, and never an endless read.
#[test]
fn a_damaged_store_never_panics() {
    let mut state = 1_u64;
    let mut random = move |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    for (name, parts) in [
        ("zarr_v2.zip", &["raw/X", "counts", "dense"][..]),
        ("zarr_v3.zip", &["raw/X", "counts", "dense"]),
        ("zarr_codecs_v2.zip", &["delta", "csr_delta", "columns_first", "lz4"]),
        ("zarr_codecs_v3.zip", &["shards", "csr_shards", "transpose", "crc32c"]),
    ] {
        let whole = entries(name);
        for i in 0..400 {
            let part = parts[i % parts.len()];
            let mut damaged = whole.clone();
            for _ in 0..=random(4) {
                // Mostly what is read of this matrix.
                let inside: Vec<usize> = (0..damaged.len())
                    .filter(|&file| damaged[file].0.contains(part) || random(20) == 0)
                    .collect();
                let content = &mut damaged[inside[random(inside.len())]].1;
                if !content.is_empty() {
                    let place = random(content.len());
                    content[place] = u8::try_from(random(256)).unwrap();
                }
            }
            if let Err(error) = use_up(&dropped(&damaged), part) {
                assert!(error.to_string().starts_with("store.zarr"), "{error}");
            }
        }
    }
}
