//! The command as a user runs it: results, reports, exit codes, and errors that name file and place.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
}

use reference::model::{Cell, Model};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::command::{Place, Ran, SEED, fixture, run, sizes};

const TABLE: &str = "cell,label,probability,second_label,second_probability";

#[test]
fn annotate_writes_one_row_a_cell_to_stdout() {
    let ran = Place::new().run(&["annotate", &fixture("csr_f32_gzip.h5ad")]);
    ran.assert_code(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (13, TABLE));
    let sum = 1.0 + 3.0_f64.exp() + 1.0_f64.exp();
    let fields: Vec<&str> = lines[4].rsplitn(4, ',').collect();
    assert_eq!((fields[3], fields[1]), ("cell-03,\"T, naive\"", "NK"));
    for (field, expected) in [(fields[2], 3.0_f64.exp() / sum), (fields[0], 1.0_f64.exp() / sum)] {
        assert!(
            (field.parse::<f64>().unwrap() - expected).abs() < 1e-6,
            "{field} is not {expected}"
        );
    }
    // Cell 4 has no counts: it is there, and nothing is said about it.
    assert_eq!(lines[5], "cell-04,,,,");
    for part in [
        "device: cpu",
        "12 cells × 20 genes, read from X",
        "20 of the model's 20 found",
        "counts, which are normalised",
        "T, naive 11, without a known gene 1\n",
    ] {
        assert!(ran.stderr.contains(part), "`{part}` is not in {}", ran.stderr);
    }
}

#[test]
fn annotate_writes_the_same_to_a_file_whatever_the_format() {
    let place = Place::new();
    let first = place.run(&["annotate", &fixture("csr_f32_gzip.h5ad")]).stdout;
    for input in [
        "small_csc_i4.h5ad",
        "cells_by_genes.tsv.gz",
        "genes_by_cells.csv.gz",
        "scaled_beside_counts.h5ad",
    ] {
        place
            .run(&["annotate", &fixture(input), "-o", &place.text("out.csv")])
            .assert_code(0);
        assert_eq!(fs::read_to_string(place.path("out.csv")).unwrap(), first, "{input}");
    }
    assert_eq!(place.results(), ["out.csv"]);
}

#[test]
fn cells_under_the_threshold_are_unassigned_and_none_at_all_exits_with_1() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let ran = place.run(&["annotate", &input, "--min-probability", "0.9"]);
    ran.assert_code(1);
    assert_eq!(ran.stdout.lines().filter(|line| line.contains(",unassigned,0.8")).count(), 11);
    assert!(
        ran.stderr.contains(": unassigned 11, without a known gene 1\n"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("nothing could be annotated"), "{}", ran.stderr);
    place.run(&["annotate", &input, "--min-probability", "0.5"]).assert_code(0);
    place
        .run(&["annotate", &input, "--min-probability", "1.5"])
        .assert_error(&["min_probability", "1.5"]);
}

#[test]
fn embed_writes_csv_and_npy_with_the_same_numbers() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    place.run(&["embed", &input, "-o", &place.text("e.csv")]).assert_code(0);
    let ran = place.run(&["embed", &input, "-o", &place.text("e.NPY")]);
    ran.assert_code(0);
    fs::rename(place.path("e.NPY"), place.path("e.npy")).unwrap();
    assert!(ran.stderr.contains("12 cells × 16 numbers"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("1 cells have no gene that the model knows"),
        "{}",
        ran.stderr
    );

    let csv = fs::read_to_string(place.path("e.csv")).unwrap();
    assert!(csv.starts_with("cell,e0,e1,") && csv.lines().count() == 13);
    let of_csv: Vec<f32> = csv
        .lines()
        .skip(1)
        .flat_map(|line| line.split(',').skip(1).map(|x| x.parse().unwrap()))
        .collect();
    let npy = fs::read(place.path("e.npy")).unwrap();
    let header = String::from_utf8_lossy(&npy[10..128]);
    assert_eq!(
        header.trim_end(),
        "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 16), }"
    );
    let of_npy: Vec<f32> = npy[128..].as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
    assert_eq!((of_csv.len(), of_csv), (12 * 16, of_npy));
}

struct Input {
    gene_ids: Vec<i64>,
    values: Vec<f32>,
    masked: Option<Vec<u8>>,
    shape: Vec<usize>,
}

impl Input {
    fn of(cells: &[Cell]) -> Self {
        Self {
            gene_ids: cells
                .iter()
                .flat_map(|cell| cell.gene_ids.iter().map(|&id| i64::from(id)))
                .collect(),
            values: cells.iter().flat_map(|cell| cell.values.clone()).collect(),
            masked: Some(
                cells
                    .iter()
                    .flat_map(|cell| cell.masked.iter().map(|&mask| u8::from(mask)))
                    .collect(),
            ),
            shape: vec![cells.len(), cells[0].gene_ids.len()],
        }
    }

    fn write(&self, path: &Path, ids: Dtype) {
        let gene_ids: Vec<u8> = match ids {
            Dtype::I32 => self
                .gene_ids
                .iter()
                .flat_map(|&id| i32::try_from(id).unwrap().to_le_bytes())
                .collect(),
            _ => self.gene_ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
        };
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = |dtype, data| TensorView::new(dtype, self.shape.clone(), data).unwrap();
        let mut views = vec![("gene_ids", view(ids, &gene_ids)), ("values", view(Dtype::F32, &values))];
        views.extend(self.masked.as_ref().map(|masked| ("masked", view(Dtype::U8, masked))));
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }
}

fn cells() -> Vec<Cell> {
    (0..3).map(|seed| Cell::random(seed, &sizes(), 9, 0.3, 0.2)).collect()
}

#[test]
fn forward_gives_every_tensor_of_the_reference() {
    let place = Place::bare();
    let cells = cells();
    let model = Model::new(sizes(), SEED);
    let mut answers = Vec::new();
    for ids in [Dtype::I32, Dtype::I64] {
        Input::of(&cells).write(&place.path("in.safetensors"), ids);
        let arguments = [
            "forward",
            "--input",
            &place.text("in.safetensors"),
            "-o",
            &place.text("out.safetensors"),
            "--attention",
        ];
        place.run(&arguments).assert_code(0);
        answers.push(fs::read(place.path("out.safetensors")).unwrap());
    }
    assert_eq!(answers[0], answers[1]);
    let file = SafeTensors::deserialize(&answers[0]).unwrap();
    assert_eq!(file.len(), 5);
    let (b, l, d, v) = (3, 9, 16, 32);
    let shapes = [
        ("latent", vec![b, d]),
        ("hidden", vec![b, l, d]),
        ("gene_logits", vec![b, l, v]),
        ("values", vec![b, l]),
        ("attention", vec![b, 2, 2, l + 1, l + 1]),
    ];
    for (name, shape) in shapes {
        let tensor = file.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, shape.as_slice()), "{name}");
        let found: Vec<f64> = tensor
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&x| f64::from(f32::from_le_bytes(x)))
            .collect();
        let wanted: Vec<f64> = cells
            .iter()
            .flat_map(|cell| {
                let answer = model.forward(cell);
                match name {
                    "latent" => answer.latent.data,
                    "hidden" => answer.hidden.data,
                    "gene_logits" => answer.gene_logits.data,
                    "values" => answer.values,
                    _ => answer.attention.into_iter().flat_map(|map| map.data).collect(),
                }
            })
            .collect();
        assert_eq!(found.len(), wanted.len(), "{name}");
        let rms = |x: &mut dyn Iterator<Item = f64>| (x.map(|x| x * x).sum::<f64>() / wanted.len() as f64).sqrt();
        let error = rms(&mut found.iter().zip(&wanted).map(|(a, b)| a - b)) / rms(&mut wanted.iter().copied());
        assert!(error < 2e-4, "{name}: relative error {error}");
    }
}

#[test]
fn forward_without_attention_and_masks_leaves_them_out() {
    let place = Place::bare();
    let input = Input {
        masked: None,
        ..Input::of(&cells())
    };
    input.write(&place.path("in.safetensors"), Dtype::I32);
    let arguments = [
        "forward",
        "--input",
        &place.text("in.safetensors"),
        "-o",
        &place.text("out.safetensors"),
    ];
    place.run(&arguments).assert_code(0);
    let bytes = fs::read(place.path("out.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(names, ["gene_logits", "hidden", "latent", "values"]);
}

#[test]
fn forward_refuses_batches_with_a_fault() {
    let place = Place::bare();
    let refuse = |input: &Input, ids: Dtype, parts: &[&str]| {
        input.write(&place.path("in.safetensors"), ids);
        let arguments = [
            "forward",
            "--input",
            &place.text("in.safetensors"),
            "-o",
            &place.text("out.safetensors"),
        ];
        place.run(&arguments).assert_error(&[&["in.safetensors: "], parts].concat());
        assert_eq!(place.results(), ["in.safetensors"]);
    };
    let change = |change: &dyn Fn(&mut Input)| {
        let mut input = Input::of(&cells());
        change(&mut input);
        input
    };
    refuse(
        &change(&|input| input.gene_ids[10] = 32),
        Dtype::I64,
        &["gene_ids: 32 at [1, 1], but the vocabulary has 32 ids"],
    );
    refuse(
        &change(&|input| input.gene_ids[0] = -1),
        Dtype::I32,
        &["gene_ids: -1 at [0, 0]"],
    );
    refuse(
        &change(&|input| input.values[20] = f32::NAN),
        Dtype::I32,
        &["values: NaN at [2, 2]"],
    );
    refuse(
        &change(&|input| input.masked.as_mut().unwrap()[3] = 7),
        Dtype::I32,
        &["masked: 7 at [0, 3], wanted 0 or 1"],
    );
    let long: Vec<Cell> = vec![Cell::random(1, &sizes(), 17, 0.0, 0.0)];
    refuse(
        &Input::of(&long),
        Dtype::I32,
        &["gene_ids: 17 genes a cell, but the model takes 16"],
    );
    refuse(
        &change(&|input| input.shape = vec![27]),
        Dtype::I32,
        &["gene_ids: shape [27], wanted [B, L]"],
    );
    refuse(&change(&|_| ()), Dtype::U64, &["gene_ids: type U64, wanted [I32, I64]"]);

    let data = vec![0; 8];
    let view = |dtype| TensorView::new(dtype, vec![1, 2], &data).unwrap();
    let cases = [
        (vec![("values", view(Dtype::F32))], "gene_ids: missing"),
        (vec![("gene_ids", view(Dtype::I32))], "values: missing"),
        (
            vec![("gene_ids", view(Dtype::I32)), ("values", view(Dtype::I32))],
            "values: type I32, wanted [F32]",
        ),
        (
            vec![
                ("gene_ids", view(Dtype::I32)),
                ("values", view(Dtype::F32)),
                ("mask", view(Dtype::F32)),
            ],
            "mask: not a tensor of a batch",
        ),
    ];
    let arguments = [
        "forward",
        "--input",
        &place.text("in.safetensors"),
        "-o",
        &place.text("out.safetensors"),
    ];
    for (views, problem) in cases {
        fs::write(place.path("in.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        place.run(&arguments).assert_error(&["in.safetensors: ", problem]);
    }
    fs::write(place.path("in.safetensors"), b"short").unwrap();
    place
        .run(&arguments)
        .assert_error(&["in.safetensors: header: the file has 5 bytes"]);
}

#[test]
fn broken_matrices_exit_with_2_and_name_file_and_place() {
    let place = Place::new();
    let text = |name: &str, text: &str| {
        fs::write(place.path(name), text).unwrap();
        place.text(name)
    };
    let whole = fs::read(fixture("csr_f32_gzip.h5ad")).unwrap();
    fs::write(place.path("cut.h5ad"), &whole[..20_000]).unwrap();
    let cases = [
        (place.text("nowhere.h5ad"), "nowhere.h5ad: "),
        (place.text("cut.h5ad"), "cut.h5ad: byte 20000: the file is cut off"),
        (
            fixture("broken/shape.h5ad"),
            "shape.h5ad: X: 21 columns, but var has 20 names",
        ),
        (fixture("broken/text.h5ad"), "text.h5ad: X/data: numbers of type string"),
        (fixture("broken/filter_zfp.h5ad"), "filter_zfp.h5ad: X: compressed with ZFP"),
        (fixture("broken/no_cells.h5ad"), "no_cells.h5ad: X: 0 cells × 20 genes"),
        (
            text("nan.csv", "c,GENE0,GENE1\na,1,nan\n"),
            "nan.csv: line 2, column 3 (a, GENE1): `nan` is not finite",
        ),
        (
            text("negative.csv", "c,GENE0,GENE1\na,1,-2\n"),
            "negative.csv: cells × genes: cell a (row 0), gene GENE1 (column 1): -2 is negative",
        ),
        (
            text("words.csv", "c,GENE0,GENE1\na,1,many\n"),
            "words.csv: line 2, column 3 (a, GENE1): `many` is not a number",
        ),
        (
            text("mouse.csv", "c,Xkr4,Rp1\na,1,2\n"),
            "mouse.csv: names of columns and rows: neither the columns (Xkr4, Rp1, …)",
        ),
    ];
    for (input, problem) in cases {
        place
            .run(&["annotate", &input, "-o", &place.text("out.csv")])
            .assert_error(&[problem]);
        place
            .run(&["embed", &input, "-o", &place.text("out.npy")])
            .assert_error(&[problem]);
    }
    let left: Vec<String> = place.results().into_iter().filter(|name| name.contains("out")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn broken_models_exit_with_2_and_name_file_and_place() {
    let input = fixture("csr_f32_gzip.h5ad");
    let place = Place::bare();
    place.run(&["annotate", &input]).assert_error(&["vocab.tsv: missing"]);
    place
        .run(&["embed", &input, "-o", &place.text("e.npy")])
        .assert_error(&["vocab.tsv: missing"]);

    let place = Place::new();
    place
        .run(&["annotate", &input, "--head", "other"])
        .assert_error(&["head: other, wanted one of types"]);
    fs::rename(place.path("heads"), place.path("no heads")).unwrap();
    place
        .run(&["annotate", &input])
        .assert_error(&["head: none given, but the model has no heads/NAME.safetensors"]);
    fs::rename(place.path("no heads"), place.path("heads")).unwrap();
    fs::write(place.path("vocab.tsv"), "id\tsymbol\tensembl_id\tentropy\n32\tA\t\t0.5\n").unwrap();
    place
        .run(&["annotate", &input])
        .assert_error(&["vocab.tsv: line 2: id 32 is past the model's vocab_size, 32"]);
    let weights = fs::read(place.path("model.safetensors")).unwrap();
    fs::write(place.path("model.safetensors"), &weights[..weights.len() - 8]).unwrap();
    place
        .run(&["info"])
        .assert_error(&["model.safetensors: tensor data: ", "cut off"]);
    fs::write(place.path("model.safetensors"), &weights).unwrap();
    fs::write(place.path("config.json"), "{}").unwrap();
    place.run(&["info"]).assert_error(&["config.json: "]);
    run(&["info", "--model", &place.text("nowhere"), "--device", "cpu"]).assert_error(&["nowhere"]);
}

#[test]
fn info_names_device_and_model() {
    let place = Place::new();
    let ran = place.run(&["info"]);
    ran.assert_code(0);
    for part in [
        "device: cpu, ",
        "model: random, ",
        "2 layers of width 16, 2 heads",
        "20 genes, up to 16 a cell",
        "heads: types",
    ] {
        assert!(ran.stdout.contains(part), "`{part}` is not in {}", ran.stdout);
    }
    let ran = place.run(&["info", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&ran.assert_code(0).stdout).unwrap();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&info["device"]["kind"], &info["model"]["config"]["hidden_size"]),
        (&"cpu".into(), &16.into())
    );
    assert_eq!(info["model"]["heads"], serde_json::json!(["types"]));
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    for arguments in [
        &[][..],
        &["annotate"],
        &["annotate", "a.h5ad", "--demo"],
        &["embed", "a.h5ad"],
        &["forward", "-o", "x"],
        &["info", "--device", "abacus"],
        // What opens no device takes none.
        &["inspect", "a.h5ad", "--device", "cpu"],
        &["merge", "a", "-o", "b.csv", "--precision", "f16"],
        &["fly"],
    ] {
        run(arguments).assert_code(2);
    }
    let help = run(&["--help"]);
    help.assert_code(0);
    for part in [
        "annotate",
        "embed",
        "forward",
        "info",
        "Exit codes: 0 done, 1 nothing could be annotated, 2 error",
    ] {
        assert!(help.stdout.contains(part), "`{part}` is not in {}", help.stdout);
    }
    run(&["--version"]).assert_code(0);
    for (command, has_device) in [
        ("annotate", true),
        ("embed", true),
        ("fit", true),
        ("info", true),
        ("merge", false),
        ("inspect", false),
    ] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.assert_code(0).stdout.contains("--device"), has_device, "{command}");
        assert!(help.stdout.contains("--model"), "{command}");
    }
    assert!(!run(&["merge", "--help"]).stdout.contains("saved head"));
}

#[test]
fn outputs_are_refused_before_anything_is_computed() {
    let place = Place::new();
    let input = place.text("in.csv");
    fs::write(&input, "c,GENE0,GENE1\na,1,2\n").unwrap();
    place
        .run(&["embed", &input, "-o", &place.text("e.txt")])
        .assert_error(&["e.txt; wanted a name that ends with .csv or .npy"]);
    place
        .run(&["embed", &input, "-o", &place.text("no/e.npy")])
        .assert_error(&["no/e.npy: "]);
    place
        .run(&["annotate", &input, "-o", &place.text("heads")])
        .assert_error(&["heads: "]);
    place
        .run(&["annotate", &input, "-o", &input])
        .assert_error(&["in.csv is the input; wanted another file"]);
    let (folder, other) = (place.text("new/"), place.text("other.csv"));
    fs::write(&other, "c,GENE0,GENE1\nb,1,2\n").unwrap();
    for arguments in [
        &["annotate", &input, &other, "--together", "-o", &folder][..],
        &["annotate", "--demo", "-o", &folder],
        &["embed", &input, "-o", &place.text("new.csv/")],
        &["annotate", &input, "-o", &folder, "--shard", "1/1"],
    ] {
        let ran = place.run(arguments);
        ran.assert_error(&["/ is a folder; wanted the name of a file"]);
        assert!(!ran.stderr.contains("device: "), "{arguments:?}");
    }
    // A store is all that is in its folder.
    let store = place.text("store.zarr");
    fs::create_dir_all(place.path("store.zarr/X")).unwrap();
    fs::write(place.path("store.zarr/.zgroup"), "{}").unwrap();
    for name in [
        "store.zarr/out.csv",
        "store.zarr/X/out.csv",
        "store.zarr/../store.zarr/out.csv",
    ] {
        place
            .run(&["annotate", &store, "-o", &place.text(name)])
            .assert_error(&["out.csv is inside the input, ", "store.zarr; wanted another folder"]);
    }
    fs::remove_dir_all(store).unwrap();
    // The name of a file is not one of a folder.
    for name in ["all.h5ad", "all.CSV", "other.csv"] {
        place
            .run(&["annotate", &input, &other, "-o", &place.text(name)])
            .assert_error(&["2 inputs and ", name, "a file; wanted `--together`", "or a folder"]);
    }
    fs::remove_file(other).unwrap();
    assert_eq!(fs::read_to_string(&input).unwrap(), "c,GENE0,GENE1\na,1,2\n");
    assert_eq!(place.results(), ["in.csv"]);
}

/// Not the matrix alone: a result takes the place of nothing that the run was given.
#[test]
fn what_a_run_reads_is_never_its_output() {
    let place = Place::new();
    let at = |name: &str| place.text(name);
    for (fixture_name, name) in [("columns.h5ad", "ref.h5ad"), ("csr_f32_gzip.h5ad", "in.h5ad")] {
        fs::copy(fixture(fixture_name), at(name)).unwrap();
    }
    let mtx = "%%MatrixMarket matrix coordinate integer general\n20 2 2\n1 1 3\n2 2 4\n";
    let genes: String = (0..20).map(|gene| format!("ENSG{gene:011}\tGENE{gene}\n")).collect();
    fs::create_dir_all(at("t1/filtered")).unwrap();
    for folder in ["t1", "t1/filtered"] {
        fs::write(at(&format!("{folder}/genes.tsv")), &genes).unwrap();
        fs::write(at(&format!("{folder}/barcodes.tsv")), "a\nb\n").unwrap();
    }
    fs::write(at("t1/matrix.mtx"), mtx).unwrap();
    let text = "c,GENE0,GENE1\na,1,2\n";
    fs::create_dir(at("t2")).unwrap();
    fs::write(at("t2/in.csv"), text).unwrap();
    fs::copy(at("heads/types.safetensors"), at("own.safetensors")).unwrap();
    place
        .run(&["embed", &at("t2"), "-o", &at("part"), "--shard", "1/1"])
        .assert_code(0);

    let cases: [(&[&str], &str); 15] = [
        (
            &["annotate", "in.h5ad", "--reference", "ref.h5ad", "--label-key", "group"],
            "ref.h5ad",
        ),
        (&["annotate", "in.h5ad"], "vocab.tsv"),
        (&["annotate", "in.h5ad", "t2/in.csv", "--together"], "vocab.tsv"),
        (&["annotate", "in.h5ad", "--shard", "1/1"], "heads/types.safetensors"),
        (
            &["annotate", "in.h5ad", "--head", "own.safetensors", "--shard", "1/1"],
            "own.safetensors",
        ),
        (&["embed", "in.h5ad", "--shard", "1/1"], "model.safetensors"),
        (&["forward", "--input", "own.safetensors"], "model.safetensors"),
        (&["merge", "part"], "vocab.tsv"),
        (&["merge", "part", "--input", "t1"], "t1/genes.tsv"),
        (&["annotate", "t1"], "t1/barcodes.tsv"),
        (&["annotate", "t1"], "t1/filtered/genes.tsv"),
        (&["annotate", "t1/matrix.mtx"], "t1/genes.tsv"),
        (&["annotate", "t1", "--shard", "1/1"], "t1/matrix.mtx"),
        (&["embed", "t2"], "t2/in.csv"),
        (&["annotate", "t2"], "t2/in.csv"),
    ];
    for (arguments, output) in cases {
        let mut command = place.command(&[arguments, &["-o", output]].concat());
        let before = fs::read(at(output)).unwrap();
        let ran = Ran::of(command.current_dir(place.path("")));
        ran.assert_error(&["output: ", output, " is the input; wanted another file"]);
        assert!(!ran.stderr.contains("device: "), "{arguments:?}");
        assert!(fs::read(at(output)).unwrap() == before, "{arguments:?}");
    }
    let new = at("new.safetensors");
    let learn = ["--reference", &at("ref.h5ad"), "--label-key", "group", "--save-head", &new];
    place
        .run(&[&["annotate", &at("in.h5ad"), "--shard", "1/1", "-o", &new], &learn[..]].concat())
        .assert_error(&["new.safetensors is where --save-head goes; wanted another file"]);
    // What is beside a matrix and no part of it is replaced as anywhere.
    for _ in 0..2 {
        place
            .run(&["annotate", &at("t1/matrix.mtx"), "-o", &at("t1/out.csv")])
            .assert_code(0);
    }
}

/// A link stays a link, and a device is written to, not replaced.
#[cfg(unix)]
#[test]
fn links_and_devices_are_written_through() {
    let place = Place::new();
    let input = fixture("small_csr_f4.h5ad");
    fs::write(place.path("real.csv"), "old").unwrap();
    std::os::unix::fs::symlink(place.path("real.csv"), place.path("link.csv")).unwrap();
    place.run(&["annotate", &input, "-o", &place.text("link.csv")]).assert_code(0);
    assert!(fs::symlink_metadata(place.path("link.csv")).unwrap().is_symlink());
    assert!(fs::read_to_string(place.path("real.csv")).unwrap().starts_with(TABLE));
    place.run(&["annotate", &input, "-o", "/dev/null"]).assert_code(0);
    use std::os::unix::fs::FileTypeExt;
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// What is written beside a file has a name of its own, and what takes its place has its permissions.
#[cfg(unix)]
#[test]
fn a_result_that_is_there_keeps_its_permissions_and_is_not_replaced_where_it_is_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    let set_mode = |name: &str, mode| fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    // What another process writes at the same time.
    fs::write(place.path(".out.csv.part"), "another's").unwrap();
    fs::write(place.path("out.csv"), "old").unwrap();
    set_mode("out.csv", 0o600);
    place.run(&["annotate", &input, "-o", &place.text("out.csv")]).assert_code(0);
    assert!(fs::read_to_string(place.path("out.csv")).unwrap().starts_with(TABLE));
    assert_eq!(mode("out.csv"), 0o600);
    assert_eq!(fs::read_to_string(place.path(".out.csv.part")).unwrap(), "another's");

    fs::copy(&input, place.path("in.h5ad")).unwrap();
    for (name, arguments) in [
        ("kept.csv", &["annotate", &input, "-o", &place.text("kept.csv")][..]),
        ("kept.npy", &["embed", &input, "-o", &place.text("kept.npy")]),
        ("kept", &["annotate", &input, "-o", &place.text("kept"), "--shard", "1/1"]),
        ("in.h5ad", &["annotate", &place.text("in.h5ad"), "--in-place"]),
    ] {
        if name != "in.h5ad" {
            fs::write(place.path(name), "old").unwrap();
        }
        let before = fs::read(place.path(name)).unwrap();
        set_mode(name, 0o444);
        let ran = place.run(arguments);
        // Before anything is computed, and before the device is opened.
        ran.assert_error(&[name, "the file is read-only"]);
        assert!(!ran.stderr.contains("device: "), "{}", ran.stderr);
        assert!(fs::read(place.path(name)).unwrap() == before);
    }
}

/// A terminal that is gone, or a full disk under a log, does not end the run.
#[cfg(target_os = "linux")]
#[test]
fn results_and_exit_codes_are_the_same_where_nobody_listens() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let output = place.text("out.csv");
    let closed = || std::process::Stdio::from(std::io::pipe().unwrap().1);
    let full = || std::process::Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let nowhere = place.text("nowhere.h5ad");
    let cases: [(&[&str], i32); 3] = [
        (&["annotate", &input, "-o", &output], 0),
        (&["annotate", &input, "-o", &output, "--min-probability", "0.9"], 1),
        (&["annotate", &nowhere, "-o", &output], 2),
    ];
    for (arguments, code) in cases {
        for stderr in [closed(), full()] {
            let status = place.command(arguments).stderr(stderr).status().unwrap();
            assert_eq!(status.code(), Some(code), "{arguments:?}");
            assert_eq!(place.path("out.csv").exists(), code < 2);
            let _gone = fs::remove_file(place.path("out.csv"));
        }
    }
    // What is about a file is about it, also where it was given to two streams.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let both = writer.try_clone().unwrap();
    let status = place.command(&["info"]).stdout(writer).stderr(both).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// As under `| head -1`: who reads has what was wanted.
#[cfg(unix)]
#[test]
fn a_pipe_that_is_closed_is_no_error() {
    let place = Place::new();
    let table = place.text("in.csv");
    // More than a writer keeps, so that not only its end is refused.
    let rows: String = (0..2_000).map(|cell| format!("cell_{cell},1,2\n")).collect();
    fs::write(&table, format!("c,GENE0,GENE1\n{rows}")).unwrap();
    for input in [table, fixture("csr_f32_gzip.h5ad")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = place.command(&["annotate", &input]).stdout(writer).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(0), "{said}");
        assert!(!said.contains("error: "), "{said}");
    }
}

#[test]
fn the_demo_runs_without_any_file() {
    let ran = run(&["annotate", "--demo", "--device", "cpu"]);
    ran.assert_code(0);
    assert_eq!(ran.stdout.lines().count(), 241);
    assert!(
        ran.stderr.contains("simulated: no cell in it was ever measured"),
        "{}",
        ran.stderr
    );
}

/// Ctrl-C in the middle of a run.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_half_written() {
    use std::io::{BufRead, BufReader};
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("out.csv"), "old").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_scdiva"))
        .args(["annotate", "--demo", "--device", "cpu", "-o"])
        .arg(place.path().join("out.csv"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    // The last line before the long part.
    lines.find(|line| line.contains("values: counts")).unwrap();
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(lines.last().as_deref(), Some("cancelled"));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_to_string(place.path().join("out.csv")).unwrap(), "old");
    assert_eq!(place.path().read_dir().unwrap().count(), 1);
}
