//! Long runs: killed and continued, split and joined, several at once. What comes out is the same to the byte.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
}

use scdiva::run::{RunHeader, RunInput, RunModel};
use scdiva::tasks::TissueDecision;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::command::{Place, Ran, fixture, run};

/// A table of many cells, each with counts of its own.
fn many_cells(n_cells: usize) -> String {
    other_cells(n_cells, 1)
}

/// As [`many_cells`], with the counts of another seed.
fn other_cells(n_cells: usize, seed: u64) -> String {
    let mut text = "cell".to_owned();
    (0..20).for_each(|gene| write!(text, ",GENE{gene}").unwrap());
    let mut state = seed;
    for cell in 0..n_cells {
        write!(text, "\ncell_{cell}").unwrap();
        for _ in 0..20 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let random = state >> 33;
            write!(text, ",{}", if random.is_multiple_of(3) { random % 50 } else { 0 }).unwrap();
        }
    }
    text
}

/// A place with an input of `n_cells` cells, `in.csv`, and the results of an undisturbed run.
fn place(n_cells: usize) -> (Place, String) {
    let place = Place::telling();
    fs::write(place.path("in.csv"), many_cells(n_cells)).unwrap();
    let input = place.text("in.csv");
    (place, input)
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap()
}

#[test]
fn a_run_that_was_killed_ten_times_ends_as_one_that_was_not() {
    let (place, input) = place(20_000);
    let start = Instant::now();
    place
        .run(&["annotate", &input, "-o", &place.text("whole.csv")])
        .assert_code(0);
    let whole_time = start.elapsed();
    let answers: std::collections::HashSet<String> = String::from_utf8(read(&place, "whole.csv"))
        .unwrap()
        .lines()
        .map(|line| line.split_once(',').unwrap().1.to_owned())
        .collect();
    assert!(
        answers.len() > 1_000,
        "{} different answers: the test could not tell",
        answers.len()
    );

    let output = place.text("out.csv");
    let arguments = ["annotate", &input, "-o", &output, "--resume"];
    let mut n_interrupted = 0;
    for i in 0..10_u32 {
        let mut child = place.start(&arguments);
        // At moments spread over the run, in no order.
        std::thread::sleep(whole_time * (2 + 7 * i % 10) / 20 + Duration::from_micros(u64::from(i) * 731));
        child.kill().unwrap();
        child.wait().unwrap();
        if !place.path("out.csv").exists() {
            n_interrupted += 1;
        } else {
            assert_eq!(read(&place, "out.csv"), read(&place, "whole.csv"), "after {i} kills");
            fs::remove_file(place.path("out.csv")).unwrap();
        }
    }
    assert!(n_interrupted >= 5, "only {n_interrupted} of ten runs were still going");
    place.run(&arguments).assert_code(0);
    assert_eq!(read(&place, "out.csv"), read(&place, "whole.csv"));
    assert!(!place.path("out.csv.partial").exists());
}

/// Rows are read from the file that was opened, whatever its name leads to later.
#[test]
fn an_input_that_is_replaced_during_the_run_gets_no_results_and_the_answers_are_kept() {
    let (place, table) = place(6_000);
    let other = place.text("other.csv");
    fs::write(&other, other_cells(6_000, 2)).unwrap();
    for (from, to) in [(&table, "in.h5ad"), (&other, "other.h5ad")] {
        place
            .run(&["annotate", from, "-o", &place.text(to), "--no-umap"])
            .assert_code(0);
    }
    let h5ad = place.text("in.h5ad");
    let [made_h5ad, made_csv, part] = ["out.h5ad", "out.csv", "part"].map(|name| place.text(name));
    let cases = [
        (
            "in.h5ad",
            "other.h5ad",
            "in.h5ad.partial",
            vec!["annotate", &h5ad, "--in-place", "--replace", "--no-umap"],
        ),
        (
            "in.h5ad",
            "other.h5ad",
            "out.h5ad.partial",
            vec!["annotate", &h5ad, "-o", &made_h5ad, "--replace", "--no-umap"],
        ),
        (
            "in.csv",
            "other.csv",
            "out.csv.partial",
            vec!["annotate", &table, "-o", &made_csv],
        ),
        (
            "in.csv",
            "other.csv",
            "part.partial",
            vec!["annotate", &table, "-o", &part, "--shard", "1/1"],
        ),
    ];
    for (name, new, journal, arguments) in cases {
        let (was, is) = (read(&place, name), read(&place, new));
        let child = place
            .command(&arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !place.path(journal).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::write(place.path("moved"), &is).unwrap();
        fs::rename(place.path("moved"), place.path(name)).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("{name}: content: not what it was when the run began")),
            "{said}"
        );
        assert!(read(&place, name) == is, "{arguments:?}");
        assert!(!place.path("out.h5ad").exists() && !place.path("out.csv").exists() && !place.path("part").exists());
        // The answers are those of the old content, and are of use when it comes back.
        fs::write(place.path(name), &was).unwrap();
        let ran = place.run(&[&arguments[..], &["--resume"]].concat());
        ran.assert_code(0);
        assert!(ran.stderr.contains("6000 cells are done already"), "{}", ran.stderr);
        for made in ["out.h5ad", "out.csv", "part"] {
            let _gone = fs::remove_file(place.path(made));
        }
        fs::write(place.path(name), &was).unwrap();
    }
}

#[test]
fn whatever_a_kill_leaves_of_a_journal_the_run_goes_on() {
    let (place, input) = place(1_000);
    let [whole, part] = ["whole.scdiva", "part.scdiva"].map(|name| place.text(name));
    place
        .run(&["annotate", &input, "-o", &whole, "--shard", "1/1"])
        .assert_code(0);
    let journal = read(&place, "whole.scdiva");
    let header = usize::try_from(u32::from_le_bytes(journal[13..17].try_into().unwrap())).unwrap() + 13 + 8;
    let mut left: Vec<Vec<u8>> = [
        0,
        // Cut inside the header, nothing of which can be used.
        5,
        13,
        15,
        17,
        header / 2,
        header - 1,
        header,
        header + 1,
        header + 3_000,
        journal.len() / 2,
        journal.len() - 1,
        journal.len(),
    ]
    .map(|len| journal[..len].to_vec())
    .to_vec();
    // A damaged block is computed again, and so are those behind it.
    let mut damaged = journal.clone();
    damaged[journal.len() / 2] ^= 1;
    left.push(damaged);
    for left in left {
        fs::write(place.path("part.scdiva.partial"), &left).unwrap();
        place
            .run(&["annotate", &input, "-o", &part, "--shard", "1/1", "--resume"])
            .assert_code(0);
        assert!(read(&place, "part.scdiva") == journal, "{} bytes", left.len());
        assert!(!place.path("part.scdiva.partial").exists());
    }
}

#[test]
fn parts_join_to_the_whole_in_any_order() {
    let (place, input) = place(1_300);
    place
        .run(&["annotate", &input, "-o", &place.text("whole.tsv")])
        .assert_code(0);
    place.run(&["embed", &input, "-o", &place.text("whole.npy")]).assert_code(0);
    let mut parts = vec![];
    for task in ["annotate", "embed"] {
        for shard in ["3/4", "1/4", "4/4", "2/4"] {
            let part = place.text(&format!("{task}_{}.scdiva", &shard[..1]));
            place.run(&[task, &input, "-o", &part, "--shard", shard]).assert_code(0);
            parts.push(part);
        }
    }
    let merge = |parts: &[String], output: &str| {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        place.run(&[&["merge"], parts.as_slice(), &["-o", &place.text(output)]].concat())
    };
    merge(&parts[..4], "out.tsv").assert_code(0);
    assert_eq!(read(&place, "out.tsv"), read(&place, "whole.tsv"));
    merge(&parts[4..], "out.npy").assert_code(0);
    assert_eq!(read(&place, "out.npy"), read(&place, "whole.npy"));

    merge(&parts[..3], "no.tsv").assert_error(&["annotate_3.scdiva", "no part has cells"]);
    merge(&[parts[0].clone(), parts[0].clone()], "no.tsv").assert_error(&["annotate_3.scdiva"]);
    merge(&[&parts[..4], &parts[..1]].concat(), "no.tsv").assert_error(&["annotate_3.scdiva", "in another part too"]);
    merge(&[&parts[..3], &parts[4..5]].concat(), "no.tsv").assert_error(&["embed_3.scdiva", "head", "another run"]);
    merge(std::slice::from_ref(&input), "no.tsv").assert_error(&["in.csv", "not the results of a run"]);
    assert!(!place.path("no.tsv").exists());
}

/// Machines of a cluster differ in their cores, and a run may go on with others than it began with.
/// Nothing is lost with the result: not when it cannot be written, and not when the map is interrupted.
#[cfg(unix)]
#[test]
fn answers_are_kept_when_the_result_cannot_be_written() {
    let (place, input) = place(3_000);
    let output = place.text("out.csv");
    let arguments = ["annotate", &input, "-o", &output, "--umap"];
    let whole = place.text("whole.csv");
    place.run(&["annotate", &input, "-o", &whole, "--umap"]).assert_code(0);
    let kept = "out.csv.partial: all cells are done and kept; `--resume` writes the results";
    let begin = || {
        let child = place.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
        (child, lines)
    };
    let (mut child, mut lines) = begin();
    lines.find(|line| line.starts_with("UMAP")).unwrap();
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let said: Vec<String> = lines.collect();
    assert!(said.iter().any(|line| line.ends_with(kept)), "{said:?}");
    assert_eq!(child.wait().unwrap().code(), Some(130));

    place.run(&[&arguments[..], &["--resume"]].concat()).assert_code(0);
    assert_eq!(read(&place, "out.csv"), read(&place, "whole.csv"));
    fs::remove_file(&output).unwrap();
    let (mut child, mut lines) = begin();
    lines.find(|line| line.starts_with("neighbours")).unwrap();
    fs::create_dir(&output).unwrap();
    let said: Vec<String> = lines.collect();
    assert!(said.iter().any(|line| line.ends_with(kept)), "{said:?}");
    assert_eq!(child.wait().unwrap().code(), Some(2));
    fs::remove_dir(&output).unwrap();
    place.run(&[&arguments[..], &["--resume"]].concat()).assert_code(0);
    assert_eq!(read(&place, "out.csv"), read(&place, "whole.csv"));
}

/// A part that has its name was complete once.
#[test]
fn a_damaged_part_is_not_said_to_be_under_way() {
    let (place, input) = place(512);
    let [part, output] = ["part", "out.csv"].map(|name| place.text(name));
    place.run(&["annotate", &input, "-o", &part, "--shard", "1/1"]).assert_code(0);
    let journal = read(&place, "part");
    let header = usize::try_from(u32::from_le_bytes(journal[13..17].try_into().unwrap())).unwrap() + 13 + 8;
    let mut flipped = journal.clone();
    flipped[header + 2_000] ^= 1;
    let cases = [
        (flipped, "0 of 512 cells are whole, and what follows is damaged or cut off"),
        (
            journal[..journal.len() - 1].to_vec(),
            "256 of 512 cells are whole, and what follows is damaged or cut off",
        ),
        (
            journal[..header].to_vec(),
            "0 of 512 cells are done; `--resume` goes on with it",
        ),
        (
            journal[..header - 3].to_vec(),
            "nothing of the run can be used, so remove this file",
        ),
    ];
    for (bytes, problem) in cases {
        fs::write(&part, &bytes).unwrap();
        place.run(&["merge", &part, "-o", &output]).assert_error(&["part", problem]);
    }
    // Nor is it begun anew: of a damaged header the length, a letter, its CRC.
    for (place_of_bit, bit) in [(14, 0x40), (30, 0x80), (header - 1, 1)] {
        let mut damaged = journal.clone();
        damaged[place_of_bit] ^= bit;
        for bytes in [&damaged, &b"scdiva-run 2\nand more".to_vec()] {
            fs::write(place.path("part.partial"), bytes).unwrap();
            place
                .run(&["annotate", &input, "-o", &part, "--shard", "1/1", "--resume"])
                .assert_error(&["part.partial"]);
            assert!(read(&place, "part.partial") == *bytes, "byte {place_of_bit}");
        }
    }
}

#[test]
fn the_number_of_threads_is_not_part_of_a_run() {
    let (place, input) = place(600);
    let run = |n_threads: &str, arguments: &[&str]| {
        let ran = Ran::of(place.command(arguments).env("RAYON_NUM_THREADS", n_threads));
        let plural = if n_threads == "1" { "" } else { "s" };
        assert!(
            ran.stderr.contains(&format!("device: cpu, {n_threads} thread{plural}, ")),
            "{}",
            ran.stderr
        );
        ran.assert_code(0);
    };
    let output = |name: &str| place.text(name);
    run("2", &["annotate", &input, "-o", &output("whole.csv")]);
    run("1", &["annotate", &input, "-o", &output("1"), "--shard", "1/2"]);
    run("2", &["annotate", &input, "-o", &output("2"), "--shard", "2/2"]);
    place
        .run(&["merge", &output("1"), &output("2"), "-o", &output("out.csv")])
        .assert_code(0);
    assert_eq!(read(&place, "out.csv"), read(&place, "whole.csv"));

    run("1", &["annotate", &input, "-o", &output("all"), "--shard", "1/1"]);
    let journal = read(&place, "all");
    fs::write(place.path("all.partial"), &journal[..journal.len() - 5]).unwrap();
    run("2", &["annotate", &input, "-o", &output("all"), "--shard", "1/1", "--resume"]);
    assert!(read(&place, "all") == journal);
}

#[test]
fn merged_parts_of_a_table_with_genes_in_rows_make_an_h5ad() {
    let place = Place::telling();
    let input = fixture("genes_by_cells.csv.gz");
    let part = place.text("part");
    place.run(&["annotate", &input, "-o", &part, "--shard", "1/1"]).assert_code(0);
    let (merged, whole) = (place.text("merged.h5ad"), place.text("whole.h5ad"));
    let merge = ["merge", &part, "-o", &merged];
    place
        .run(&merge)
        .assert_error(&["an .h5ad needs the input", "`--input INPUT`"]);
    place.run(&[&merge[..], &["--input", &input]].concat()).assert_code(0);
    place.run(&["annotate", &input, "-o", &whole]).assert_code(0);
    assert_eq!(read(&place, "merged.h5ad"), read(&place, "whole.h5ad"));
    place
        .run(&[&merge[..], &["--input", &fixture("cells_by_genes.csv")]].concat())
        .assert_error(&["cells_by_genes.csv", "not the matrix that the parts are of"]);
}

#[test]
fn a_journal_of_another_run_is_refused_and_kept() {
    let (place, input) = place(600);
    let output = place.text("out");
    place
        .run(&["annotate", &input, "-o", &output, "--shard", "1/1"])
        .assert_code(0);
    let journal = read(&place, "out");
    fs::write(place.path("out.partial"), &journal[..journal.len() - 5]).unwrap();
    let refused = |arguments: &[&str], parts: &[&str]| {
        place.run(arguments).assert_error(parts);
        assert_eq!(read(&place, "out.partial"), journal[..journal.len() - 5], "{arguments:?}");
    };
    refused(
        &["annotate", &input, "-o", &output, "--shard", "1/1"],
        &["out.partial", "512 of 600 cells", "`--resume` goes on"],
    );
    refused(
        &[
            "annotate",
            &input,
            "-o",
            &output,
            "--shard",
            "1/1",
            "--resume",
            "--min-probability",
            "0.5",
        ],
        &["out.partial", "min_probability", "0 there, 0.5 here"],
    );
    fs::write(place.path("other.csv"), many_cells(601)).unwrap();
    refused(
        &[
            "annotate",
            &place.text("other.csv"),
            "-o",
            &output,
            "--shard",
            "1/1",
            "--resume",
        ],
        &["out.partial", "input", "600 cells", "601 cells"],
    );
    refused(
        &["annotate", &input, "-o", &output, "--shard", "1/2", "--resume"],
        &["out.partial", "cells 0 to 600 there, 0 to 256 here"],
    );
    fs::write(place.path("out.partial"), "something else").unwrap();
    place
        .run(&["annotate", &input, "-o", &output, "--shard", "1/1", "--resume"])
        .assert_error(&["out.partial", "not the results of a run"]);
    assert_eq!(read(&place, "out.partial"), b"something else");
}

/// Everything that answers depend on, and how it is told.
#[test]
fn whatever_differs_between_two_runs_is_named_with_both_values() {
    let header = RunHeader {
        version: "1".to_owned(),
        input: RunInput {
            file: "a.h5ad".to_owned(),
            fingerprint: "f1".to_owned(),
            n_cells: 10,
            report: json!({"file": "a.h5ad", "matrix": "X", "genes": {"column": "symbol", "n": 20}, "notes": ["one"]}),
        },
        model: RunModel {
            name: "mini".to_owned(),
            hash: "m1".to_owned(),
            head: Some("types".to_owned()),
            head_hash: Some("h1".to_owned()),
            labels: vec!["B".to_owned()],
            ontology_ids: Vec::new(),
            n_embedding: 16,
        },
        device: "cpu, Avx2".to_owned(),
        min_probability: 0.5,
        tissue: TissueDecision::default(),
        cells: 0..10,
    };
    let mut same = header.clone();
    same.cells = 3..7;
    same.input.file = "b.h5ad".to_owned();
    same.input.report["file"] = "b.h5ad".into();
    assert!(header.expect_same_run("part", &same).is_ok());

    type Change = fn(&mut RunHeader);
    let cases: [(Change, &str); 16] = [
        (
            |h| h.version = "2".to_owned(),
            "version: belongs to another run: 2 there, 1 here",
        ),
        (
            |h| h.input.fingerprint = "f2".to_owned(),
            "input: belongs to another run: 10 cells, f2 there, 10 cells, f1 here",
        ),
        (
            |h| h.input.n_cells = 11,
            "input: belongs to another run: 11 cells, f1 there, 10 cells, f1 here",
        ),
        (
            |h| h.model.name = "maxi".to_owned(),
            "model: belongs to another run: maxi m1 there, mini m1 here",
        ),
        (
            |h| h.model.hash = "m2".to_owned(),
            "model: belongs to another run: mini m2 there, mini m1 here",
        ),
        (
            |h| h.model.head_hash = Some("h2".to_owned()),
            "head: belongs to another run: types h2 there, types h1 here",
        ),
        (
            |h| (h.model.head, h.model.head_hash) = (None, None),
            "head: belongs to another run: none there, types h1 here",
        ),
        (
            |h| h.device = "gpu, A card".to_owned(),
            "device: belongs to another run: gpu, A card there, cpu, Avx2 here",
        ),
        (
            |h| h.min_probability = 0.25,
            "min_probability: belongs to another run: 0.25 there, 0.5 here",
        ),
        (
            |h| h.tissue.name = Some("blood".to_owned()),
            "tissue: belongs to another run: blood there, any here",
        ),
        (
            |h| h.model.n_embedding = 0,
            "embeddings: belongs to another run: 0 there, 16 here",
        ),
        (
            |h| h.input.report["matrix"] = "raw/X".into(),
            "how the input is read: matrix: belongs to another run: \"raw/X\" there, \"X\" here",
        ),
        (
            |h| h.input.report["genes"]["n"] = 19.into(),
            "how the input is read: genes: n: belongs to another run: 19 there, 20 here",
        ),
        (
            |h| h.input.report["genes"]["more"] = true.into(),
            "how the input is read: genes: more: belongs to another run: true there, null here",
        ),
        (
            |h| h.input.report["genes"] = Value::Null,
            "how the input is read: genes: belongs to another run: null there, ",
        ),
        (
            |h| h.input.report["notes"] = json!(["one", "two"]),
            "how the input is read: notes: belongs to another run: [\"one\",\"two\"] there, [\"one\"] here",
        ),
    ];
    for (change, problem) in cases {
        let mut other = header.clone();
        change(&mut other);
        let error = header.expect_same_run("part", &other).unwrap_err().to_string();
        assert!(error.starts_with(&format!("part: {problem}")), "{error}\nis not {problem}");
    }
}

/// A run that was killed before its first answer leaves nothing that anyone would want to go on with, whatever it was of.
#[test]
fn a_journal_without_an_answer_is_begun_anew() {
    let (place, input) = place(600);
    let [part, output] = ["part", "out.csv"].map(|name| place.text(name));
    place.run(&["annotate", &input, "-o", &part, "--shard", "1/1"]).assert_code(0);
    let journal = read(&place, "part");
    let header = usize::try_from(u32::from_le_bytes(journal[13..17].try_into().unwrap())).unwrap() + 13 + 8;
    for length in [header / 2, header] {
        for arguments in [
            &["--min-probability", "0.5"][..],
            &["--min-probability", "0.5", "--resume"],
            &[],
        ] {
            fs::write(place.path("out.csv.partial"), &journal[..length]).unwrap();
            let ran = place.run(&[&["annotate", &input, "-o", &output], arguments].concat());
            ran.assert_code(0);
            assert_eq!(String::from_utf8(read(&place, "out.csv")).unwrap().lines().count(), 601);
            assert!(!place.path("out.csv.partial").exists());
        }
    }
    // One answer is one that may be wanted, and is found before the device is opened.
    fs::write(place.path("out.csv.partial"), &journal[..journal.len() - 5]).unwrap();
    let ran = place.run(&["annotate", &input, "-o", &output]);
    ran.assert_error(&["out.csv.partial: journal: an earlier run ended after 512 of 600 cells"]);
    assert!(!ran.stderr.contains("device: "), "{}", ran.stderr);
    let ran = place.run(&["annotate", &place.text("nowhere.csv"), "-o", &part]);
    ran.assert_error(&["nowhere.csv"]);
    assert!(!ran.stderr.contains("device: "), "{}", ran.stderr);
}

/// Two inputs of one name have one result in one folder, if they are not annotated together.
#[test]
fn what_is_replaced_is_said_and_a_finished_part_of_something_else_is_not() {
    let (place, input) = place(600);
    let said = "replaced\n";
    for folder in ["s1", "s2"] {
        fs::create_dir(place.path(folder)).unwrap();
        fs::copy(&input, place.path(&format!("{folder}/f.csv"))).unwrap();
    }
    let results = place.text("res/");
    for (sample, expected) in [("s1/f.csv", false), ("s2/f.csv", true)] {
        for more in [&[][..], &["--format", "h5ad", "--no-umap"]] {
            let ran = place.run(&[&["annotate", &place.text(sample), "-o", &results], more].concat());
            ran.assert_code(0);
            assert_eq!(ran.stderr.contains(said), expected, "{}", ran.stderr);
        }
    }
    for expected in [false, true] {
        let ran = place.run(&["embed", &input, "-o", &place.text("e.npy")]);
        assert_eq!(ran.assert_code(0).stderr.contains("e.npy: replaced\n"), expected);
    }
    // What is added to a file in place is no other file.
    let ran = place.run(&["annotate", &place.text("res/f.h5ad"), "--in-place", "--replace", "--no-umap"]);
    assert!(!ran.assert_code(0).stderr.contains(said), "{}", ran.stderr);

    let part = place.text("part");
    let shard = |shard: &str, more: &[&str]| place.run(&[&["annotate", &input, "-o", &part, "--shard", shard], more].concat());
    shard("2/3", &[]).assert_code(0);
    let finished = read(&place, "part");
    shard("1/3", &[]).assert_error(&[
        "part: cells: a finished part of cells 256 to 512; cells 0 to 256",
        "another name",
    ]);
    shard("2/3", &["--min-probability", "0.5"]).assert_error(&["part: min_probability", "another run", "another name"]);
    assert!(read(&place, "part") == finished && !place.path("part.partial").exists());
    let ran = shard("2/3", &[]);
    assert!(ran.assert_code(0).stderr.contains("part: replaced\n"), "{}", ran.stderr);
    assert!(read(&place, "part") == finished);
}

/// Limits of the system are said with what the user can do about them, and by names that the user knows.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_the_system_comes_with_advice() {
    let (place, input) = place(300);
    let limited = |limit: &str, arguments: &[&str]| {
        let plain = place.command(arguments);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("trap '' XFSZ; ulimit {limit}; exec \"$@\""), "sh"]);
        command.arg(plain.get_program()).args(plain.get_args());
        Ran::of(command.env("TMPDIR", place.path("")))
    };
    let folder = place.text("");
    limited("-f 0", &["annotate", &input]).assert_error(&[
        &folder,
        "the temporary folder",
        "TMPDIR",
        "`-o FILE`",
        "File too large",
    ]);

    let part = place.text("part");
    place.run(&["embed", &input, "-o", &part, "--shard", "1/1"]).assert_code(0);
    let parts = vec![part.as_str(); 40];
    limited("-n 30", &[&["merge"], &parts[..], &["-o", &place.text("out.npy")]].concat())
        .assert_error(&["part: Too many open files", "raise `ulimit -n`"]);
}

#[test]
fn parts_of_a_small_matrix_may_be_empty_and_shards_are_checked() {
    let (place, input) = place(10);
    for shard in ["1/2", "2/2"] {
        let part = place.text(&shard[..1]);
        place.run(&["annotate", &input, "-o", &part, "--shard", shard]).assert_code(0);
    }
    place
        .run(&["merge", &place.text("2"), &place.text("1"), "-o", &place.text("out.csv")])
        .assert_code(0);
    assert_eq!(String::from_utf8(read(&place, "out.csv")).unwrap().lines().count(), 11);
    for shard in ["0/2", "3/2", "1", "a/b", "1/0"] {
        let ran = place.run(&["annotate", &input, "-o", "x", "--shard", shard]);
        ran.assert_code(2);
        assert!(ran.stderr.contains("wanted i/n"), "{}", ran.stderr);
    }
    place
        .run(&["annotate", &input, "--shard", "1/2"])
        .assert_error(&["shard", "`-o FILE`"]);
    place
        .run(&["annotate", &input, "--resume"])
        .assert_error(&["resume", "`-o FILE`"]);
}

#[test]
fn several_inputs_get_a_result_each_and_one_bad_does_not_stop_the_others() {
    let place = Place::telling();
    let inputs = [
        fixture("csr_f32_gzip.h5ad"),
        fixture("genes_by_cells.tsv"),
        fixture("broken/no_x.h5ad"),
    ];
    let good = [&["annotate"], &inputs[..2].iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    place.run(&good).assert_error(&["2 inputs", "`-o FOLDER`"]);
    let results = place.text("results");
    place.run(&[&good[..], &["-o", &results]].concat()).assert_code(0);
    let first = read(&place, "results/csr_f32_gzip.csv");
    assert_eq!(first, read(&place, "results/genes_by_cells.csv"));
    assert!(first.starts_with(b"cell,label,probability,"));

    let ran = place.run(&[&good[..1], &[&inputs[2], &inputs[0]], &["-o", &results, "--format", "tsv"]].concat());
    ran.assert_error(&["1 of 2 inputs failed"]);
    assert!(ran.stderr.contains("no_x.h5ad: "), "{}", ran.stderr);
    assert!(read(&place, "results/csr_f32_gzip.tsv").starts_with(b"cell\tlabel\tprobability\t"));
    assert_eq!(fs::read_dir(place.path("results")).unwrap().count(), 3);
}

#[test]
fn several_inputs_never_share_a_result() {
    let (place, table) = place(20);
    for folder in ["c", "c/s1", "c/s2"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    let names = ["c/s1/counts.csv", "c/s2/counts.csv", "c/s1_counts.csv", "c/s1_counts.tsv"];
    let inputs = names.map(|name| place.text(name));
    for input in &inputs {
        fs::copy(&table, input).unwrap();
    }
    let results = place.text("results");
    let mut arguments = vec!["annotate", "-o", &results];
    arguments.extend(inputs.iter().map(String::as_str));
    place.run(&arguments).assert_code(0);
    assert_eq!(fs::read_dir(place.path("results")).unwrap().count(), 4);

    // Two formats of one name are two files; one file by two names is one.
    let other = place.text("c/../c/s1_counts.csv");
    place
        .run(&["annotate", &inputs[2], &other, "-o", &results])
        .assert_error(&["s1_counts.csv is given twice, the second time as ", "c/../c/s1_counts.csv"]);
}

#[test]
fn what_is_asked_for_is_done_or_refused() {
    let (place, input) = place(300);
    let path = |name: &str| place.text(name);
    let refused = |arguments: &[&str], parts: &[&str]| {
        let ran = place.run(arguments);
        ran.assert_error(parts);
        assert!(!ran.stderr.contains("device: "), "before anything long: {arguments:?}");
    };
    let tsv = place.run(&["annotate", &input, "--format", "tsv", "-o", "-"]);
    assert!(tsv.assert_code(0).stdout.starts_with("cell\tlabel\t"), "{}", tsv.stdout);
    assert_eq!(place.run(&["annotate", &input, "--format", "tsv"]).stdout, tsv.stdout);
    place
        .run(&["annotate", &input, "--format", "tsv", "-o", &path("plain")])
        .assert_code(0);
    assert_eq!(read(&place, "plain"), tsv.stdout.as_bytes());

    let made = path("made.csv");
    refused(
        &["annotate", &input, "--format", "h5ad", "-o", &made],
        &["format: h5ad, but the name of the output ends with .csv"],
    );
    refused(
        &["annotate", &input, "--format", "parquet"],
        &["format: parquet", "`-o FILE`"],
    );
    refused(
        &["annotate", &input, "--in-place", "--format", "csv"],
        &["format: csv, but --in-place adds to an .h5ad"],
    );
    for name in ["sh.csv", "sh.tsv", "sh.parquet", "sh.h5ad", "sh.NPY"] {
        for task in ["annotate", "embed"] {
            refused(
                &[task, &input, "--shard", "1/1", "-o", &path(name)],
                &[name, "a part is no .", "such as ", "sh.scdiva"],
            );
        }
    }
    refused(&["annotate", &input, "--shard", "1/1", "-o", "-"], &["shard", "`-o FILE`"]);
    refused(
        &["annotate", &input, "--shard", "1/1", "-o", &path("part"), "--vote"],
        &["vote: not with --shard", "`merge`"],
    );
    refused(&["embed", &input, "-o", "-"], &["-; wanted"]);
    refused(
        &["embed", &input, "--shard", "1/1", "-o", "-"],
        &["output: -, which is not the name of a file", "`./-`"],
    );
    place
        .run(&["embed", &input, "--shard", "1/1", "-o", &path("part")])
        .assert_code(0);
    for option in [
        &["--vote"][..],
        &["--umap"],
        &["--all-columns"],
        &["--min-share", "0.5"],
        &["--groups", "x"],
    ] {
        refused(
            &[&["merge", &path("part"), "-o", &path("merged.npy")], option].concat(),
            &[&option[0][2..], "not for parts of `embed`"],
        );
    }
    assert!(!place.path("merged.npy").exists() && !place.path("made.csv").exists());
}

#[test]
fn endings_tell_the_format_and_unknown_ones_are_refused() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let output = place.text("out.tsv");
    place
        .run(&["annotate", &input, "-o", &output, "--all-columns"])
        .assert_code(0);
    let text = fs::read_to_string(output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "cell\tlabel\tprobability\tsecond_label\tsecond_probability\tontology_term_id\tentropy\trejected"
    );
    // The probabilities are e³, e¹ and e⁰ over their sum: the entropy is 0.53 nats.
    assert!(
        lines[1].starts_with("cell-00\tT, naive\t0.84") && lines[1].ends_with("\tfalse"),
        "{}",
        lines[1]
    );
    assert!(lines[1].contains("\t0.52") || lines[1].contains("\t0.53"), "{}", lines[1]);
    place
        .run(&["annotate", &input, "-o", &place.text("out.xlsx")])
        .assert_error(&["out.xlsx", ".csv, .tsv, .parquet or .h5ad"]);
}

#[test]
fn groups_of_the_file_vote_and_cells_in_none_get_no_vote() {
    let place = Place::new();
    let input = fixture("columns.h5ad");
    let ran = place.run(&["annotate", &input, "--groups", "group"]);
    ran.assert_code(0);
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.rsplitn(4, ',').collect()).collect();
    assert_eq!(rows[0][..3], ["vote_share", "voted_label", "cluster"]);
    // The label itself has a comma, so it is in quotes, and split here.
    for (cell, row) in rows[1..].iter().enumerate() {
        if cell % 4 == 0 {
            assert_eq!(row[..3], ["", "", ""], "cell {cell}");
        } else {
            assert_eq!(row[..2], ["1", " naive\""], "cell {cell}");
            let group = if cell % 3 == 0 { "T cell" } else { "B cell" };
            assert!(
                row[3].contains(&format!(",{group}")) || row[3].ends_with(group),
                "cell {cell}: {row:?}"
            );
        }
    }
    for (column, part) in [
        ("score", "holds numbers"),
        ("nothing", "no obs column nothing; it has batch, group, "),
    ] {
        place
            .run(&["annotate", &input, "--groups", column])
            .assert_error(&["groups", "columns.h5ad", part]);
    }
    place
        .run(&["annotate", &input, "--groups", "group", "--min-share", "2"])
        .assert_error(&["min_share", "2, wanted 0 to 1"]);
}

#[test]
fn clusters_vote_and_cells_are_laid_out_the_same_every_time_and_when_joined() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/pbmc_simulated.h5ad");
    let whole = ["--vote", "--umap", "--device", "cpu", "-o"];
    run(&[&["annotate", demo], &whole[..], &[&path("a.csv")]].concat()).assert_code(0);
    run(&["annotate", demo, "--device", "cpu", "--shard", "1/1", "-o", &path("part")]).assert_code(0);
    run(&[&["merge", &path("part")], &whole[..2], &["-o", &path("b.csv")]].concat()).assert_code(0);
    let text = fs::read_to_string(path("a.csv")).unwrap();
    assert_eq!(text, fs::read_to_string(path("b.csv")).unwrap());
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0][5..], ["cluster", "voted_label", "vote_share", "umap_1", "umap_2"]);
    let n_agree = rows[1..].iter().filter(|row| row[1] == row[6]).count();
    assert!(n_agree > 200, "{n_agree} of 240 cells are called as their cluster");
    for row in &rows[1..] {
        let numbers: Vec<f32> = row[7..].iter().map(|x| x.parse().unwrap()).collect();
        assert!(
            numbers[0] > 0.0 && numbers[0] <= 1.0 && numbers[1..].iter().all(|x| x.is_finite()),
            "{row:?}"
        );
    }
}
