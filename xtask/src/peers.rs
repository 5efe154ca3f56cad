//! `bench peers`: builds the programs of `benches/peers`, runs each in a process of its own per case, and prints one table.

use crate::shell::{self, Shell, cargo, npm, program};
use crate::{setup, wasm};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const FOLDER: &str = "target/peers";
const RESULTS: &str = "target/peers/results.json";
const ALL_CASES: &[&str] = &["1x128", "1x512", "1x1200", "8x128", "16xblood"];
/// With what shows a large GPU: 16 long cells take two cores of a processor 12 s.
const GPU_CASES: &[&str] = &["1x128", "8x128", "1x1200", "16x1200", "16xblood"];
/// What a software adapter or a browser on one thread can be asked for in reasonable time.
const SHORT_CASES: &[&str] = &["1x128"];

/// How a peer is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Runner {
    /// A package of the workspace `benches/peers`.
    Rust(&'static str),
    /// A package that is a workspace of its own, in the folder of this name.
    OwnWorkspace(&'static str),
    /// A script, with the packages of `requirements.txt`.
    Python(&'static str),
    /// A script, with the Python that has torch.
    Torch,
    /// `browser/run.js`.
    Browser,
}

/// A peer as it is asked for.
#[derive(Debug)]
struct Peer {
    name: &'static str,
    runner: Runner,
    arguments: &'static [&'static str],
    cases: &'static [&'static str],
    /// What it is compared with: ours on the same device.
    ours: &'static str,
}

const fn peer(
    name: &'static str,
    runner: Runner,
    arguments: &'static [&'static str],
    cases: &'static [&'static str],
    ours: &'static str,
) -> Peer {
    Peer {
        name,
        runner,
        arguments,
        cases,
        ours,
    }
}

const PEERS: [Peer; 19] = [
    peer("ours-cpu", Runner::Rust("ours"), &["--device", "cpu"], ALL_CASES, "ours-cpu"),
    peer(
        "ours-cpu-all-rows",
        Runner::Rust("ours"),
        &["--device", "cpu", "--rows", "all"],
        ALL_CASES,
        "ours-cpu",
    ),
    peer(
        "onnxruntime",
        Runner::Python("run_onnxruntime.py"),
        &[],
        ALL_CASES,
        "ours-cpu",
    ),
    peer(
        "onnxruntime-own",
        Runner::Python("run_onnxruntime.py"),
        &["--operators", "own"],
        ALL_CASES,
        "ours-cpu",
    ),
    peer(
        "onnxruntime-single",
        Runner::Python("run_onnxruntime.py"),
        &["--operators", "own", "--cells", "single"],
        &["8x128", "16xblood"],
        "ours-cpu",
    ),
    peer("rten", Runner::Rust("rten"), &[], ALL_CASES, "ours-cpu"),
    peer("candle", Runner::Rust("candle"), &[], ALL_CASES, "ours-cpu"),
    peer("torch-cpu", Runner::Torch, &["--device", "cpu"], ALL_CASES, "ours-cpu"),
    peer(
        "ours-gpu",
        Runner::Rust("ours"),
        &["--device", "gpu"],
        SHORT_CASES,
        "ours-gpu",
    ),
    peer(
        "ours-gpu-f16",
        Runner::Rust("ours"),
        &["--device", "gpu", "--precision", "f16"],
        SHORT_CASES,
        "ours-gpu",
    ),
    peer("burn", Runner::OwnWorkspace("burn"), &[], SHORT_CASES, "ours-gpu"),
    peer("torch-f32", Runner::Torch, &["--device", "cuda"], GPU_CASES, "ours-gpu"),
    peer(
        "torch-tf32",
        Runner::Torch,
        &["--device", "cuda", "--precision", "tf32"],
        GPU_CASES,
        "ours-gpu",
    ),
    peer(
        "torch-bf16",
        Runner::Torch,
        &["--device", "cuda", "--precision", "bf16"],
        GPU_CASES,
        "ours-gpu",
    ),
    peer(
        "web-ours-wasm",
        Runner::Browser,
        &["--peer", "ours", "--device", "wasm", "--threads", "1"],
        SHORT_CASES,
        "web-ours-wasm",
    ),
    peer(
        "web-onnxruntime-wasm",
        Runner::Browser,
        &["--peer", "onnxruntime-web", "--device", "wasm", "--threads", "1"],
        SHORT_CASES,
        "web-ours-wasm",
    ),
    peer(
        "web-onnxruntime-wasm-threads",
        Runner::Browser,
        &["--peer", "onnxruntime-web", "--device", "wasm"],
        SHORT_CASES,
        "web-ours-wasm",
    ),
    peer(
        "web-ours-webgpu",
        Runner::Browser,
        &["--peer", "ours", "--device", "webgpu"],
        SHORT_CASES,
        "web-ours-webgpu",
    ),
    peer(
        "web-onnxruntime-webgpu",
        Runner::Browser,
        &["--peer", "onnxruntime-web", "--device", "webgpu"],
        SHORT_CASES,
        "web-ours-webgpu",
    ),
];

/// What is asked for.
#[derive(Debug)]
struct Plan {
    peers: Vec<&'static Peer>,
    /// Empty: each peer's own.
    cases: Vec<String>,
    model: &'static str,
    threads: String,
    seconds: String,
    lengths: Option<String>,
    builds: bool,
}

impl Plan {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut plan = Self {
            peers: Vec::new(),
            cases: Vec::new(),
            model: "released",
            threads: std::thread::available_parallelism()?.to_string(),
            seconds: "2".to_owned(),
            lengths: None,
            builds: true,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .cloned()
                    .with_context(|| format!("{argument}: a value is missing"))
            };
            match argument.as_str() {
                "--small" => plan.model = "small",
                "--no-build" => plan.builds = false,
                "--case" => plan.cases.push(value()?),
                "--threads" => plan.threads = value()?,
                "--seconds" => plan.seconds = value()?,
                "--lengths" => plan.lengths = Some(std::path::absolute(value()?)?.display().to_string()),
                name => match PEERS.iter().find(|peer| peer.name == name) {
                    Some(peer) => plan.peers.push(peer),
                    None => bail!(
                        "bench peers: no peer {name}; there are {}",
                        PEERS.map(|peer| peer.name).join(", ")
                    ),
                },
            }
        }
        if plan.peers.is_empty() {
            plan.peers = PEERS.iter().collect();
        }
        Ok(plan)
    }
}

/// `bench peers [--small] [--no-build] [--case CASE]… [--threads N] [--seconds S] [--lengths MATRIX.h5ad] [PEER…]`
pub(crate) fn command(arguments: &[String]) -> Result<()> {
    let plan = Plan::read(arguments)?;
    let python = setup::python_environment(&format!("{FOLDER}/venv"), "benches/peers/requirements.txt")?;
    let folder = format!("{FOLDER}/{}", plan.model);
    let mut make = program(&python).args(["benches/peers/make.py", &folder]);
    make = make.args((plan.model == "small").then_some("--small"));
    make.args(plan.lengths.iter().flat_map(|file| ["--lengths", file])).run()?;

    // All is built before anything is timed; what cannot be built is reported with the others that did not run.
    let mut built = HashMap::new();
    for peer in plan.peers.iter().filter(|_| plan.builds) {
        built.entry(step(peer)).or_insert_with_key(|step| not_built(*step));
    }
    let mut results = Vec::new();
    for peer in &plan.peers {
        let own: Vec<String> = peer.cases.iter().map(|&case| case.to_owned()).collect();
        for case in if plan.cases.is_empty() { &own } else { &plan.cases } {
            let measured = match built.get(&step(peer)) {
                Some(Some(reason)) => Err(reason.clone()),
                _ => run(peer, case, &plan, &python).map_err(|error| format!("{error:#}")),
            };
            let mut line = measured.unwrap_or_else(|said| {
                // Its own last words, without the command line that failed.
                let last = said
                    .lines()
                    .rfind(|line| !line.trim().is_empty())
                    .unwrap_or("no reason given");
                let reason = last.split_once("): ").map_or(last, |(_, reason)| reason);
                Map::from_iter([("case".to_owned(), json!(case)), ("error".to_owned(), json!(reason))])
            });
            line.insert("name".to_owned(), json!(peer.name));
            line.insert("ours".to_owned(), json!(peer.ours));
            eprintln!("{}", json!(line));
            results.push(Value::Object(line));
        }
    }
    let config: Value = serde_json::from_slice(&fs::read(format!("{folder}/config.json"))?)?;
    let listed: Value = serde_json::from_slice(&fs::read(format!("{folder}/cases.json"))?)?;
    let report = json!({"machine": machine(), "model": config, "cases": listed["cases"], "results": results});
    fs::write(RESULTS, serde_json::to_vec_pretty(&report)?).context(RESULTS)?;
    print_table(&report);
    println!("\n{RESULTS}");
    Ok(())
}

/// What several peers have in common to be built: how they are started, and whether it is this repository.
fn step(peer: &Peer) -> (Runner, bool) {
    (peer.runner, peer.arguments.contains(&"ours"))
}

/// Builds what a peer needs and gives the reason when that fails.
fn not_built((runner, is_ours): (Runner, bool)) -> Option<String> {
    let build = |folder: &str, target: &str| cargo(&["build", "--release", "--target-dir", target]).folder(folder);
    let built = match runner {
        Runner::Rust(package) => {
            let build = build("benches/peers", &absolute("build"));
            build.args(["--package", &format!("peer-{package}")]).run()
        }
        Runner::OwnWorkspace(folder) => build(&format!("benches/peers/{folder}"), &absolute(folder)).run(),
        Runner::Python(_) | Runner::Torch => Ok(()),
        Runner::Browser if is_ours => wasm::package(),
        Runner::Browser => {
            let own = || npm(&["ci", "--no-audit", "--no-fund"]).folder("benches/peers/browser").run();
            setup::npm_packages().and_then(|()| own())
        }
    };
    built.err().map(|error| format!("not built: {error:#}"))
}

/// A folder of `target/peers`, for a program that starts in another folder.
fn absolute(folder: &str) -> String {
    shell::root().join(FOLDER).join(folder).display().to_string()
}

fn run(peer: &Peer, case: &str, plan: &Plan, python: &Path) -> Result<Map<String, Value>> {
    let binary = |folder: &str, package: &str| {
        let name = format!("peer-{package}{}", std::env::consts::EXE_SUFFIX);
        program(Path::new(FOLDER).join(folder).join("release").join(name))
    };
    let (started, model) = match peer.runner {
        Runner::Rust(package) => (binary("build", package), format!("{FOLDER}/{}", plan.model)),
        Runner::OwnWorkspace(package) => (binary(package, package), format!("{FOLDER}/{}", plan.model)),
        Runner::Python(script) => (
            program(python).arg(format!("benches/peers/{script}")),
            format!("{FOLDER}/{}", plan.model),
        ),
        Runner::Torch => {
            let python = std::env::var_os("SCDIVA_TORCH_PYTHON").map_or_else(shell::python, |python| Ok(program(python)))?;
            (python.arg("benches/peers/run_torch.py"), format!("{FOLDER}/{}", plan.model))
        }
        Runner::Browser => (program("node").arg("benches/peers/browser/run.js"), plan.model.to_owned()),
    };
    let mut started: Shell = started
        .args([model.as_str(), case, "--seconds", &plan.seconds])
        .args(peer.arguments);
    if !peer.arguments.contains(&"--threads") {
        started = started.args(["--threads", &plan.threads]);
    }
    let said = started
        // candle asks the variable, not the pool.
        .env("RAYON_NUM_THREADS", &plan.threads)
        // The first result is that of a machine which has not seen these shaders.
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .output()?;
    let line = said.lines().last().context("it said nothing")?;
    serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))
}

fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let said = |name: &str, arguments: &[&str]| program(name).args(arguments).output().unwrap_or_default();
    json!({
        "cpu": cpu.map_or(std::env::consts::ARCH, |(_, name)| name),
        "n_cores": std::thread::available_parallelism().map_or(0, usize::from),
        "os": std::env::consts::OS,
        "date": said("date", &["-u", "+%Y-%m-%d"]),
        "commit": said("git", &["describe", "--always", "--dirty"]),
        "rustc": said("rustc", &["--version"]),
        "node": said("node", &["--version"]),
    })
}

/// One row a peer and case. `× ours`: its best time by ours on the same device; over 1 means that ours is faster.
fn print_table(report: &Value) {
    println!(
        "{}\n",
        report["machine"].as_object().map_or_else(String::new, |facts| {
            let facts = facts
                .values()
                .filter_map(|fact| fact.as_str().map_or_else(|| Some(fact.to_string()), |s| Some(s.to_owned())));
            facts.collect::<Vec<_>>().join(", ")
        })
    );
    println!(
        "| case | peer | version | device | threads | load s | first s | best s | median s | n | cells/s | GFLOP/s | × ours | MB | max error |"
    );
    println!("|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let results = report["results"].as_array().map_or(&[][..], Vec::as_slice);
    let mut cases: Vec<&str> = Vec::new();
    for case in results.iter().filter_map(|line| line["case"].as_str()) {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    for case in cases {
        for line in results.iter().filter(|line| line["case"] == case) {
            println!("{}", row(report, results, case, line));
        }
    }
}

fn row(report: &Value, results: &[Value], case: &str, line: &Value) -> String {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    if line["error"].is_string() {
        return format!(
            "| {case} | {} | did not run: {} |",
            text("name"),
            text("error").replace('|', "/")
        );
    }
    let ours = results
        .iter()
        .find(|other| other["case"] == case && other["name"] == line["ours"]);
    let ours = ours
        .and_then(|ours| ours["best_s"].as_f64())
        .map(|ours| number("best_s") / ours);
    let cells = [
        case.to_owned(),
        text("name"),
        text("version"),
        text("device"),
        line["threads"].as_u64().map_or_else(|| "–".to_owned(), |n| n.to_string()),
        format!("{:.2}", number("load_s")),
        format!("{:.3}", number("first_s")),
        format!("{:.4}", number("best_s")),
        format!("{:.4}", number("median_s")),
        line["n_runs"].to_string(),
        format!("{:.2}", number("n_cells") / number("best_s")),
        format!("{:.1}", flops(report, case) / number("best_s") / 1e9),
        ours.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        format!("{:.0}", number("peak_memory_bytes") / 1e6),
        format!("{:.1e}", number("max_abs_error")),
    ];
    format!("| {} |", cells.join(" | "))
}

/// The work of a case without padding: every layer for every token.
fn flops(report: &Value, case: &str) -> f64 {
    let size = |key: &str| report["model"][key].as_f64().unwrap_or(f64::NAN);
    let (n, d, f) = (size("num_layers"), size("hidden_size"), size("intermediate_size"));
    let cases = report["cases"].as_array().map_or(&[][..], Vec::as_slice);
    let lengths = cases
        .iter()
        .filter(|listed| listed["name"] == case)
        .filter_map(|listed| listed["n_genes"].as_array());
    lengths
        .flatten()
        .filter_map(Value::as_f64)
        .map(|n_genes| n_genes + 1.0)
        .map(|t| t * n * (8.0 * d * d + 6.0 * d * f) + 4.0 * n * t * t * d)
        .sum()
}
