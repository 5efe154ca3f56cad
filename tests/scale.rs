//! The job files of `docs/scale.md`, with two workers on this machine: they give what one run gives.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
    pub mod python;
}

use std::fmt::Write;
use std::fs;
use std::process::Command;
use support::command::Place;
use support::python;

const N_SHARDS: usize = 4;

/// A matrix of five blocks, and what a single run makes of it.
fn place() -> (Place, String, String) {
    let place = Place::telling();
    let mut text = "cell".to_owned();
    (0..20).for_each(|gene| write!(text, ",GENE{gene}").unwrap());
    for cell in 0..1_200 {
        write!(text, "\ncell_{cell}").unwrap();
        (0..20).for_each(|gene| write!(text, ",{}", (cell * 7 + gene * gene * 5) % 11).unwrap());
    }
    fs::write(place.path("in.csv"), text).unwrap();
    let input = place.text("in.csv");
    place
        .run(&["annotate", &input, "-o", &place.text("whole.csv")])
        .assert_code(0);
    let whole = fs::read_to_string(place.path("whole.csv")).unwrap();
    (place, input, whole)
}

#[test]
fn the_dask_job_gives_what_one_run_gives() {
    let (place, input, whole) = place();
    let (output, model) = (place.text("out.csv"), place.text(""));
    let arguments = [
        &[
            &input,
            "-o",
            &output,
            "--shards",
            "4",
            "--workers",
            "2",
            "--scdiva",
            env!("CARGO_BIN_EXE_scdiva"),
        ][..],
        &["--", "--device", "cpu", "--model", &model],
    ]
    .concat();
    let printed = python::run_file("docs/scale/dask_job.py", &arguments);
    assert!(printed.contains("4 of 4 parts"), "{printed}");
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
    // Given again it computes what is missing: nothing, and then one part.
    let part = place.path("out.csv.parts/part-00002.scdiva");
    let before = fs::read(&part).unwrap();
    fs::remove_file(&part).unwrap();
    python::run_file("docs/scale/dask_job.py", &arguments);
    assert_eq!(fs::read(&part).unwrap(), before);
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
}

/// The lines between the quotes of a process, with its variables filled in.
fn script(nextflow: &str, process: &str, variables: &[(&str, &str)]) -> String {
    let body = nextflow.split(&format!("process {process} {{")).nth(1).unwrap();
    let mut script = body.split("\"\"\"").nth(1).unwrap().trim().to_owned();
    for (name, value) in variables {
        script = script.replace(&format!("${{{name}}}"), value);
    }
    assert!(!script.contains("${"), "{script}");
    script
}

/// Nextflow itself is not needed for this: its processes are shell scripts.
#[cfg(unix)]
#[test]
fn the_scripts_of_the_nextflow_file_give_what_one_run_gives() {
    let (place, input, whole) = place();
    let nextflow = include_str!("../docs/scale/annotate.nf");
    let options = format!("--device cpu --model {}", place.text(""));
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_scdiva")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).env("PATH", &path).current_dir(place.path(""));
        shell
    };
    let mut parts = vec![];
    for pair in [[1, 2], [3, 4]] {
        let running = pair.map(|shard| {
            parts.push(format!("part-{shard}.scdiva"));
            let (shard, shards) = (shard.to_string(), N_SHARDS.to_string());
            let variables = [
                ("matrix", input.as_str()),
                ("shard", &shard),
                ("params.shards", &shards),
                ("params.options", &options),
            ];
            shell(&script(nextflow, "annotate", &variables)).spawn().unwrap()
        });
        for mut child in running {
            assert!(child.wait().unwrap().success());
        }
    }
    let variables = [
        ("matrix", input.as_str()),
        ("parts", &parts.join(" ")),
        ("params.out", "out.csv"),
        ("params.merge_options", ""),
    ];
    assert!(shell(&script(nextflow, "merge", &variables)).status().unwrap().success());
    assert_eq!(fs::read_to_string(place.path("out.csv")).unwrap(), whole);
}
