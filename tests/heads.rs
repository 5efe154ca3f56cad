//! What a head says about itself, and what the command makes of it.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
}

use scdiva::cells::MatchOptions;
use scdiva::tasks::{AnnotateOptions, CellLabels, FitOptions};
use scdiva::{DeviceChoice, ModelFiles, ScDiVa, read};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use support::command::{Place, Ran, fixture};

#[test]
fn the_threshold_is_the_heads_own_unless_another_is_given() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let n_unassigned = |stdout: &str| stdout.lines().filter(|line| line.contains(",unassigned,")).count();
    // Every cell gets a label with a probability of 0.84.
    place.describe_head(&[("min_probability", "0.9")]);
    let ran = place.run(&["annotate", &input]);
    ran.assert_code(1);
    assert_eq!(n_unassigned(&ran.stdout), 11);
    for part in ["threshold: 0.9, which head `types` asks for", "11 of 12 cells are unassigned"] {
        assert!(ran.stderr.contains(part), "`{part}` is not in {}", ran.stderr);
    }
    let ran = place.run(&["annotate", &input, "--min-probability", "0"]);
    ran.assert_code(0);
    assert_eq!(n_unassigned(&ran.stdout), 0);
    assert!(!ran.stderr.contains("threshold"), "{}", ran.stderr);

    place.describe_head(&[("min_probability", "nine")]);
    place
        .run(&["annotate", &input])
        .assert_error(&["heads/types.safetensors: metadata min_probability", "nine"]);
}

#[test]
fn a_run_does_not_go_on_with_another_head() {
    let place = Place::telling();
    let input = fixture("csr_f32_gzip.h5ad");
    let output = place.text("out");
    let arguments = ["annotate", &input, "-o", &output, "--shard", "1/1"];
    place.run(&arguments).assert_code(0);
    fs::rename(&output, place.path("out.partial")).unwrap();
    place.describe_head(&[("reference", "something else")]);
    place
        .run(&[&arguments[..], &["--resume"]].concat())
        .assert_error(&["out.partial", "belongs to another run"]);
}

/// Every cell's logits are 0, 3 and 1, so its probabilities 0.042 (B), 0.844 (T, naive) and 0.114 (NK).
#[test]
fn a_tissue_is_recognised_when_hardly_anything_looks_like_another() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    place.describe_head(&[("tissues", r#"{"blood": ["T, naive", "NK"], "spleen": ["B"]}"#)]);
    let said = "Tissue: blood (recognised: 4.2 % of a probe of 11 cells looked like other tissue); --tissue any lifts it";
    let ran = place.run(&["annotate", &input]);
    ran.assert_code(0);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    // 1 / (1 + e⁻²) and the rest; no entropy of a third label.
    let of_blood = |text: &str| text.contains("cell-00,\"T, naive\",0.88079") && text.contains(",NK,0.1192");
    assert!(of_blood(&ran.stdout), "{}", ran.stdout);
    let named = place.run(&["annotate", &input, "--tissue", "blood", "--all-columns"]);
    assert!(of_blood(&named.assert_code(0).stdout) && named.stderr.contains("Tissue: blood (as was asked)"));
    let entropy: f64 = named
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .rsplit(',')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!((entropy - 0.365_333).abs() < 1e-5, "{entropy}");
    for arguments in [&["--tissue", "spleen"][..], &["--tissue", "any"]] {
        let ran = place.run(&[&["annotate", &input][..], arguments].concat());
        let wanted = if arguments[1] == "spleen" {
            "cell-00,B,1,"
        } else {
            "cell-00,\"T, naive\",0.84379"
        };
        assert!(ran.assert_code(0).stdout.contains(wanted), "{}", ran.stdout);
    }
    place
        .run(&["annotate", &input, "--tissue", "lung"])
        .assert_error(&["tissue: \"lung\", wanted auto, any or one of blood, spleen"]);

    // What is easily confused with the tissue's own labels says nothing against it.
    let tissues = ("tissues", r#"{"blood": ["B", "T, naive"]}"#);
    place.describe_head(&[tissues]);
    let ran = place.run(&["annotate", &input]);
    let said = "Tissue: any (none recognised: blood is nearest, but 11.4 % of a probe of 11 cells looked like other tissue)";
    assert!(ran.assert_code(0).stderr.contains(said), "{}", ran.stderr);
    place.describe_head(&[tissues, ("tissue_ambiguous", r#"{"blood": ["NK"]}"#)]);
    let ran = place.run(&["annotate", &input]);
    assert!(
        ran.assert_code(0).stderr.contains("Tissue: blood (recognised: 0.0 %"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_head_without_tissues_says_nothing_of_them_and_takes_none() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let ran = place.run(&["annotate", &input]);
    assert!(!ran.assert_code(0).stderr.contains("Tissue"), "{}", ran.stderr);
    place.run(&["annotate", &input, "--tissue", "any"]).assert_code(0);
    place
        .run(&["annotate", &input, "--tissue", "blood"])
        .assert_error(&["tissue: \"blood\", but head \"types\" tells no tissues apart"]);
}

#[test]
fn parts_agree_on_the_tissue_and_a_run_keeps_it() {
    let place = Place::telling();
    place.describe_head(&[
        ("tissues", r#"{"blood": ["T, naive", "NK"]}"#),
        ("tissue_ambiguous", r#"{"blood": ["B"]}"#),
    ]);
    let mut text = "cell".to_owned();
    (0..20).for_each(|gene| text.push_str(&format!(",GENE{gene}")));
    for cell in 0..900_usize {
        text.push_str(&format!("\ncell_{cell}"));
        (0..20).for_each(|gene| text.push_str(&format!(",{}", (cell * 31 + gene * 17) % 7)));
    }
    fs::write(place.path("in.csv"), text).unwrap();
    let input = place.text("in.csv");
    place
        .run(&["annotate", &input, "-o", &place.text("whole.csv")])
        .assert_code(0);
    let whole = fs::read_to_string(place.path("whole.csv")).unwrap();
    assert!(!whole.contains(",B,"), "a label of another tissue was given");
    let parts = ["1/3", "2/3", "3/3"].map(|shard| {
        let part = place.text(&format!("part_{}", &shard[..1]));
        let ran = place.run(&["annotate", &input, "-o", &part, "--shard", shard]);
        assert!(ran.assert_code(0).stderr.contains("a probe of 512 cells"), "{}", ran.stderr);
        part
    });
    let output = place.text("out.csv");
    place
        .run(&["merge", &parts[0], &parts[1], &parts[2], "-o", &output])
        .assert_code(0);
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
    let other = place.text("other");
    place
        .run(&["annotate", &input, "-o", &other, "--shard", "3/3", "--tissue", "any"])
        .assert_code(0);
    place
        .run(&["merge", &parts[0], &parts[1], &other, "-o", &output])
        .assert_error(&["tissue", "belongs to another run", "blood", "any"]);
}

/// The command on the CPU, with a folder of saved heads.
fn with_heads(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_scdiva"))
        .args(arguments)
        .args(["--device", "cpu"])
        .env("SCDIVA_HEADS", folder)
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/pbmc_simulated.h5ad");
const FIT: [&str; 6] = ["fit", DEMO, "--label-key", "simulated_from", "--reference-cells", "10"];

#[test]
fn a_reference_teaches_its_types_and_what_was_learned_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let heads = folder.path().join("heads");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let with = |arguments: &[&str]| with_heads(&heads, arguments);

    let learn = [&["annotate", DEMO, "--reference", DEMO], &FIT[2..]].concat();
    let ran = with(&[&learn[..], &["--save-head", "mine", "-o", &path("a.csv")]].concat());
    ran.assert_code(0);
    for part in [
        "simulated_from: 80 cells of 8 types",
        "held out: accuracy ",
        "saved: ",
        "`--head mine`",
    ] {
        assert!(ran.stderr.contains(part), "`{part}` is not in {}", ran.stderr);
    }
    let first = fs::read_to_string(path("a.csv")).unwrap();

    // The same again, byte for byte, from what was saved and from a file.
    with(&["annotate", DEMO, "--head", "mine", "-o", &path("b.csv")]).assert_code(0);
    assert_eq!(fs::read_to_string(path("b.csv")).unwrap(), first);
    let file = path("own.safetensors");
    with(&[&FIT[..], &["--save-head", &file]].concat()).assert_code(0);
    with(&["annotate", DEMO, "--head", &file, "-o", &path("c.csv")]).assert_code(0);
    assert_eq!(fs::read_to_string(path("c.csv")).unwrap(), first);
    let model_folder = fs::read_dir(&heads).unwrap().next().unwrap().unwrap().path();
    let saved = fs::read(model_folder.join("mine.safetensors")).unwrap();
    assert!(saved == fs::read(&file).unwrap(), "the same reference gave another head");
    assert_eq!(model_folder.file_name().unwrap().len(), 16);

    let info = with(&["info"]).assert_code(0).stdout.clone();
    for part in [
        "saved heads: mine\n    mine: 8 labels, threshold 0.",
        "; fitted on pbmc_simulated.h5ad, obs/simulated_from: 80 cells of 8 types; on 16 held out: accuracy ",
    ] {
        assert!(info.contains(part), "`{part}` is not in {info}");
    }
    with(&["annotate", DEMO, "--head", "yours"]).assert_error(&["head: yours, wanted one of cell_types, mine"]);
    for place in ["mine", &file] {
        with(&[&FIT[..], &["--save-head", place]].concat()).assert_error(&["there is one already", "--replace"]);
    }
    with(&[&FIT[..5], &["9", "--save-head", "mine", "--replace"]].concat()).assert_code(0);
    assert!(fs::read(model_folder.join("mine.safetensors")).unwrap() != saved);
    // Only a head is replaced by one.
    let (table, tensors) = (path("a.csv"), path("weights.safetensors"));
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/mini/config.json"), &tensors).unwrap();
    for (what, part) in [
        (&table, "wanted a file that ends with .safetensors"),
        (&tensors, "what is there is not a head"),
    ] {
        let before = fs::read(what).unwrap();
        with(&[&FIT[..], &["--save-head", what, "--replace"]].concat()).assert_error(&[what, part]);
        assert!(fs::read(what).unwrap() == before);
    }
    with(&[&FIT[..], &["--save-head", "cell_types"]].concat()).assert_error(&["cell_types", "a head of the model"]);
    with(&[&FIT[..], &["--save-head", "a:b"]].concat()).assert_error(&["\"a:b\"", "wanted letters"]);

    // It belongs to the model that it was fitted on.
    let other = Place::new();
    other
        .run(&["annotate", &fixture("csr_f32_gzip.h5ad"), "--head", &file])
        .assert_error(&["own.safetensors: metadata model_hash", "another model"]);
}

#[test]
fn labels_of_a_reference_must_be_a_column_of_texts() {
    let place = Place::telling();
    let reference = fixture("columns.h5ad");
    let fit = |reference: &str, column: &str| {
        let head = place.text("own.safetensors");
        place.run(&["fit", reference, "--label-key", column, "--save-head", &head])
    };
    fit(&reference, "nothing").assert_error(&["label column", "columns.h5ad: no obs column nothing; it has batch, group"]);
    fit(&reference, "score").assert_error(&["obs/score holds numbers"]);
    fit(&fixture("genes_by_cells.tsv"), "group").assert_error(&["no obs column group; it has none"]);
    let ran = place.run(&["annotate", &reference, "--label-key", "group"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--reference"), "{}", ran.stderr);
    assert!(!place.path("own.safetensors").exists());
}

#[test]
fn a_run_on_a_reference_goes_on_with_the_same_one_only() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.scdiva");
    let run = |cells: &str, more: &[&str]| {
        let learn = ["annotate", DEMO, "--reference", DEMO, "--label-key", "simulated_from"];
        let output = ["--reference-cells", cells, "--shard", "1/1", "-o", output.to_str().unwrap()];
        with_heads(folder.path(), &[&learn[..], &output, more].concat())
    };
    run("20", &[]).assert_code(0);
    let whole = fs::read(&output).unwrap();
    fs::write(folder.path().join("out.scdiva.partial"), &whole[..whole.len() - 9]).unwrap();
    run("15", &["--resume"]).assert_error(&["head", "belongs to another run"]);
    run("20", &["--resume"]).assert_code(0);
    assert!(fs::read(&output).unwrap() == whole);
}

/// The head is saved before the run begins, which may be what was ended.
#[test]
fn a_run_that_saved_its_head_goes_on_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (output, file) = (path("out.scdiva"), path("own.safetensors"));
    for place in ["mine", &file] {
        let learn = [
            "annotate",
            DEMO,
            "--reference",
            DEMO,
            "--label-key",
            "simulated_from",
            "--save-head",
            place,
        ];
        let run = |cells: &str, more: &[&str]| {
            let output = ["--reference-cells", cells, "--shard", "1/1", "-o", &output];
            with_heads(folder.path(), &[&learn[..], &output, more].concat())
        };
        run("10", &["--resume"]).assert_code(0);
        let whole = fs::read(&output).unwrap();
        fs::write(path("out.scdiva.partial"), &whole[..whole.len() - 9]).unwrap();
        run("9", &["--resume"]).assert_error(&["head: there is one already, and not of this reference", "--replace"]);
        let ran = run("10", &["--resume"]);
        assert!(ran.assert_code(0).stderr.contains(": saved already\n"), "{}", ran.stderr);
        assert!(fs::read(&output).unwrap() == whole);
        run("10", &[]).assert_error(&["there is one already; `--replace` replaces it"]);
        fs::remove_file(&output).unwrap();
    }
}

/// The true types of the demo, and the answers.
#[test]
fn a_head_of_a_reference_tells_its_types_and_gives_ids_that_the_model_knows() {
    let files = read::Files::from_path(Path::new(DEMO)).unwrap();
    let mut scdiva = pollster::block_on(ScDiVa::open(ModelFiles::embedded(), DeviceChoice::Cpu)).unwrap();
    let matrix = read::open(&files, &Default::default(), scdiva.vocabulary()).unwrap();
    let mut labels = CellLabels::of_column(matrix.as_ref(), "simulated_from").unwrap();
    // Every fifth cell is hidden from the fit, one way or another, and so is a type of which too few are left.
    labels.names.extend(["NA", "few"].map(str::to_owned));
    let n_names = u32::try_from(labels.names.len()).unwrap();
    let (na, few) = (n_names - 2, n_names - 1);
    let truth = labels.codes.clone();
    for (i, code) in labels.codes.iter_mut().enumerate().filter(|(i, _)| i % 5 == 0) {
        *code = [None, Some(na)][i / 5 % 2];
    }
    labels.codes[..4].fill(Some(few));
    let options = FitOptions {
        name: "own".to_owned(),
        most_cells: 25,
        ..FitOptions::default()
    };
    let matching = MatchOptions::default();
    let mut go_on = |_| ControlFlow::Continue(());
    let fit = scdiva.fit_head(matrix.as_ref(), &matching, &labels, &options, &mut go_on);
    let fitted = pollster::block_on(fit).unwrap();
    assert_eq!(
        fitted
            .report
            .left_out
            .iter()
            .map(|kind| (kind.label.as_str(), kind.n_cells))
            .collect::<Vec<_>>(),
        [("few", 4)]
    );
    // Cell 0 is one of the few.
    assert_eq!(fitted.report.n_unlabelled, 47);
    assert!(
        fitted.report.types.iter().all(|kind| kind.n_used == kind.n_cells.min(25)),
        "{}",
        fitted.report
    );
    assert!(fitted.report.accuracy > 0.9, "{}", fitted.report);
    let (own, said) = (fitted.head.min_probability, fitted.report.min_probability);
    assert!((f64::from(own) - said).abs() < 1e-6, "{own} and {said}");

    let model = scdiva.head(Some("cell_types")).unwrap();
    for (label, id) in fitted.head.labels.iter().zip(&fitted.head.ontology_ids) {
        let known = model.labels.iter().position(|known| known == label);
        assert_eq!(id, known.map_or("", |place| &model.ontology_ids[place]), "{label}");
    }
    assert!(fitted.head.ontology_ids.iter().any(|id| id.starts_with("CL:")));

    scdiva.add_head(fitted.head).unwrap();
    assert_eq!(scdiva.info().model.own_heads, ["own"]);
    assert!(scdiva.add_head(model).is_err());
    let options = AnnotateOptions {
        head: Some("own".to_owned()),
        min_probability: Some(0.0),
        ..AnnotateOptions::default()
    };
    let annotate = scdiva.annotate(matrix.as_ref(), &matching, &options, &mut go_on);
    let annotation = pollster::block_on(annotate).unwrap();
    let hidden = (5..240).step_by(5);
    let is_right = |&cell: &usize| annotation.label(cell) == truth[cell].map(|code| labels.names[code as usize].as_str());
    let n_right = hidden.clone().filter(is_right).count();
    assert!(
        n_right >= 43,
        "{n_right} of {} cells that the fit did not see",
        hidden.count()
    );
}
