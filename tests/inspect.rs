//! `scdiva inspect` as a user runs it: what it says about files of every kind, also about those that cannot be annotated.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A model of which nothing but the sizes and the twenty genes of the fixtures is there: no weights are read, no device is opened.
fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("models/mini/config.json"), folder.path().join("config.json")).unwrap();
    let mut vocabulary = "id\tsymbol\tensembl_id\tentropy\n".to_owned();
    for gene in 0..20 {
        writeln!(vocabulary, "{}\tGENE{gene}\tENSG{gene:011}\t0.{gene:02}", gene + 2).unwrap();
    }
    fs::write(folder.path().join("vocab.tsv"), vocabulary).unwrap();
    folder
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_scdiva"))
        .arg("inspect")
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    fn assert_says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stdout.contains(part), "`{part}` is not in\n{}", self.stdout);
        }
    }
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_fixture_is_described_as_what_it_is() {
    let model = model();
    let model = model.path().to_str().unwrap();
    let twenty = "20 of the model's 20 found by ";
    let cases: [(&str, &[&str]); 8] = [
        (
            "small_csr_f4.h5ad",
            &[
                "AnnData (.h5ad)",
                "12 cells × 20 genes",
                "matrix     X",
                "counts, which are normalised",
                twenty,
            ],
        ),
        (
            "scaled_beside_counts.h5ad",
            &[
                "matrix     raw/X (the file also has X)",
                "raw/X was read instead of X: it holds counts",
                twenty,
            ],
        ),
        (
            "columns.h5ad",
            &[
                "gene names _index (symbols), feature_type (symbols), gene_ids (Ensembl ids)",
                "group (2 values)",
                "score (numbers)",
                "embeddings X_umap",
                "1 of the 12 cells that were looked at have no counts",
                "species    human: Ensembl ids as in ENSG00000000000.1, in `gene_ids`",
            ],
        ),
        ("columns_0.6.h5ad", &["embeddings X_umap", twenty]),
        (
            "tenx_v3.h5",
            &[
                "features that are not genes were left out: 2 of type Antibody Capture",
                "20 by Ensembl id",
            ],
        ),
        ("counts.loom", &["matrix (the file also has layers/doubled)", twenty]),
        ("genes_by_cells.tsv", &["genes × cells", "20 by symbol"]),
        ("cells_by_genes_r.tsv", &["cells × genes", twenty]),
    ];
    for (file, parts) in cases {
        let ran = run(&[&fixture(file), "--model", model]);
        ran.assert_says(0, parts);
        ran.assert_says(0, &["ready to be annotated"]);
        assert_eq!(ran.stderr, "", "{file}");
    }
}

#[test]
fn json_holds_everything() {
    let model = model();
    let ran = run(&[&fixture("columns.h5ad"), "--json", "--model", model.path().to_str().unwrap()]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected = [
        ("/format", Value::from("AnnData (.h5ad)")),
        ("/matrix", "layers/counts".into()),
        ("/matrices", vec!["X", "layers/counts"].into()),
        ("/n_cells", 12.into()),
        ("/n_genes", 20.into()),
        ("/droplets", Value::Null),
        ("/recognition/species", "human".into()),
        ("/gene_columns/2/kind", "ensembl".into()),
        ("/genes/species", "human".into()),
        ("/genes/columns/0/name", "_index".into()),
        ("/genes/columns/0/kind", "symbol".into()),
        ("/genes/n_matched", 20.into()),
        ("/genes/by_symbol/n", 20.into()),
        ("/genes/missing/n", 0.into()),
        ("/values/kind", "counts".into()),
        ("/values/conversion", "normalise".into()),
        ("/values/n_empty_cells", 1.into()),
        ("/embeddings/0", "X_umap".into()),
        ("/problem", Value::Null),
    ];
    for (place, value) in expected {
        assert_eq!(found.pointer(place), Some(&value), "{place} in {found:#}");
    }
    let columns = found.pointer("/cell_columns").unwrap().as_array().unwrap();
    let group = columns.iter().find(|column| column["name"] == "group").unwrap();
    assert_eq!((&group["kind"], &group["n_categories"]), (&"categories".into(), &2.into()));
}

/// A table in a folder of its own.
fn table(names: &[&str], row: impl Fn(usize, usize) -> f64) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.csv");
    let mut text = format!("cell,{}\n", names.join(","));
    for cell in 0..12 {
        write!(text, "cell{cell}").unwrap();
        for gene in 0..names.len() {
            write!(text, ",{}", row(cell, gene)).unwrap();
        }
        text.push('\n');
    }
    fs::write(&path, text).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

/// Counts without pattern, at least one a cell.
fn count(cell: usize, gene: usize) -> f64 {
    let mixed = (cell * 7919 + gene * 104_729 + cell * gene * 31) % 23;
    if mixed > 11 && gene > 0 {
        0.0
    } else {
        mixed as f64 + f64::from(u8::from(gene == 0))
    }
}

/// Genes of blood that the embedded model knows, some by names of old.
const HUMAN: [&str; 24] = [
    "CD3D", "CD3E", "CD8A", "CD4", "MS4A1", "CD79A", "NKG7", "GNLY", "LYZ", "S100A8", "S100A9", "FCGR3A", "FCER1A", "CST3",
    "PPBP", "IL7R", "CCR7", "IGJ", "HLA.DRA", "B2M", "ACTB", "MALAT1", "Z9", "Z8",
];

#[test]
fn a_table_of_human_genes_is_found_by_every_step() {
    let (_folder, path) = table(&HUMAN, count);
    run(&[&path]).assert_says(
        0,
        &[
            "species    human: symbols such as CD3D, in capitals",
            "of these by a previous symbol or an alias: IGJ → JCHAIN",
            "HLA.DRA → HLA-DRA",
        ],
    );
}

#[test]
fn the_scale_of_the_values_is_told() {
    let sum = |cell: usize| (0..HUMAN.len()).map(|gene| count(cell, gene)).sum::<f64>();
    type Scale = Box<dyn Fn(usize, usize) -> f64>;
    let cases: [(Scale, &str); 6] = [
        (
            Box::new(move |cell, gene| (1e4 * count(cell, gene) / sum(cell)).ln_1p()),
            "log-normalised already, ln(1 + x) of cells that sum up to 10000, as the model was trained; used as they are",
        ),
        (
            Box::new(move |cell, gene| (1.0 + 1e6 * count(cell, gene) / sum(cell)).log2()),
            "log-normalised, log2(1 + x) of cells that sum up to 1000000; brought to ln(1 + x) of cells that sum up to 10000",
        ),
        (
            Box::new(move |cell, gene| 1e6 * count(cell, gene) / sum(cell)),
            "normalised without logarithm: each cell sums up to 1000000; scaled to the model's 10000, and log1p taken",
        ),
        (
            Box::new(|cell, gene| count(cell, gene).ln_1p()),
            "ln(1 + x) of counts that were not normalised; the logarithm is undone",
        ),
        (
            Box::new(|cell, gene| (count(cell, gene) * 3.0 - 0.05 * ((cell + gene) % 2) as f64).max(0.0)),
            "estimated counts: 100 % lie within 0.1 of a whole number",
        ),
        (
            Box::new(|cell, gene| (0.37 * count(cell, gene)).ln_1p()),
            "used as they are: the base of the logarithm and what the cells sum up to cannot be told",
        ),
    ];
    for (scale, text) in cases {
        let (_folder, path) = table(&HUMAN, scale);
        run(&[&path]).assert_says(0, &[text, "ready to be annotated"]);
    }
}

#[test]
fn what_cannot_be_annotated_is_described_with_the_reason_and_exits_with_1() {
    let (_folder, path) = table(&HUMAN, |cell, gene| count(cell, gene) - 3.0);
    let parts = [
        "12 cells × 24 genes",
        "22 of the model's 9,000 found",
        "cannot be annotated",
        "is negative: scaled data",
    ];
    run(&[&path]).assert_says(1, &parts);
    let (_folder, path) = table(&HUMAN, |cell, gene| 17.3 * count(cell, gene));
    run(&[&path]).assert_says(
        1,
        &[
            "cannot be annotated",
            "is too large for a log-normalised value",
            "wanted counts",
        ],
    );

    let names: Vec<String> = (0..30).map(|i| format!("ENSDARG{i:011}")).collect();
    let (_folder, path) = table(&names.iter().map(String::as_str).collect::<Vec<_>>(), count);
    let parts = [
        "counts, which are normalised",
        "cannot be annotated",
        "the genes are of zebrafish",
        "`--species human`",
    ];
    run(&[&path]).assert_says(1, &parts);
    let found: Value = serde_json::from_str(&run(&[&path, "--json"]).stdout).unwrap();
    assert_eq!((&found["genes"], &found["values"]["kind"]), (&Value::Null, &"counts".into()));
    assert!(found["problem"].as_str().unwrap().contains("zebrafish"));
}

#[test]
fn mouse_is_refused_until_the_user_agrees_and_then_the_report_says_so() {
    let mouse = [
        "Cd3d",
        "Cd3e",
        "Cd8a",
        "Cd4",
        "Ms4a1",
        "Cd79a",
        "Nkg7",
        "Cd14",
        "Il7r",
        "Ccr7",
        "Jchain",
        "B2m",
        "Actb",
        "Cst3",
        "Ppbp",
        "Itgam",
        "Csf1r",
        "Mki67",
        "Foxp3",
        "Gata3",
        "Cd19",
        "Xcr1",
        "Gm12345",
        "4930402F06Rik",
    ];
    let (_folder, path) = table(&mouse, count);
    let parts = [
        "species    mouse: symbols such as Cd3d, which rat has too",
        "cannot be annotated",
        "`--species mouse`",
    ];
    run(&[&path]).assert_says(1, &parts);
    let ran = run(&[&path, "--species", "mouse"]);
    ran.assert_says(
        0,
        &[
            "mouse mapped to human: genes are taken for their one-to-one human orthologs",
            "ready to be annotated",
        ],
    );
    let found: Value = serde_json::from_str(&run(&[&path, "--species", "mouse", "--json"]).stdout).unwrap();
    assert_eq!(found["genes"]["species"], "mouse");
    assert!(found["genes"]["n_matched"].as_u64().unwrap() >= 15, "{found:#}");
    // Taken for human, none of them is guessed by its capitals unless the user insists.
    run(&[&path, "--species", "human"]).assert_says(0, &["of these in another spelling: Cd3d → CD3D"]);
}

#[test]
fn each_choice_can_be_made_by_the_user() {
    let model = model();
    let model = model.path().to_str().unwrap();
    let both = fixture("scaled_beside_counts.h5ad");
    run(&[&both, "--model", model, "--layer", "X"])
        .assert_says(1, &["matrix     X (the file also has raw/X)", "to choose as the layer"]);
    let file = fixture("small_csr_f4.h5ad");
    run(&[&file, "--model", model, "--gene-column", "gene_ids"]).assert_says(0, &["found by `gene_ids`", "20 by Ensembl id"]);
    run(&[&file, "--model", model, "--gene-column", "none"]).assert_says(1, &["no such column; the file has _index, gene_ids"]);
    let ran = run(&[&file, "--model", model, "--min-counts", "40"]);
    ran.assert_says(0, &["cells were left out: fewer than 40 counts, as was asked"]);

    for (arguments, part) in [
        (["--layer", "none"], "no such matrix; the file has X"),
        (["--min-counts", "1000000"], "no cell has 1000000 counts"),
        (["--species", "axolotl"], "[possible values: human, mouse]"),
        (["--model", "no/such/folder"], "no/such/folder"),
    ] {
        let ran = run(&[&[file.as_str()], &arguments[..]].concat());
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
        assert!(
            ran.stderr.contains(part) && ran.stdout.is_empty(),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
    }
}
