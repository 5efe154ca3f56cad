//! How fast scdiva is on this machine: `cargo xtask bench`. Each kernel, whole batches, the first answer, and how cost grows with the matrix.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a benchmark speaks to its terminal; sizes are small"
)]

mod forward;
mod growth;
mod kernels;
mod measure;
#[path = "../../tests/reference/mod.rs"]
mod reference;
mod report;
mod start;
#[path = "../../tests/support/checkpoint.rs"]
mod support_checkpoint;

use forward::{Counted, ForwardRow, Lengths};
use reference::model::Sizes;
use report::{DeviceReport, Report};
use safetensors::Dtype;
use scdiva::cpu::Cpu;
use scdiva::gpu::{Gpu, GpuOptions, Precision};
use scdiva::model::{Checkpoint, Config};
use scdiva::{Error, ModelFiles};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HELP: &str = "\
cargo xtask bench [OPTION…]

  --device cpu|gpu       only this one (both)
  --precision f32|f16    of the GPU (f32)
  --only PART            kernels, forward, start or growth; may be given again (all but growth)
  --seconds N            time for each line of a table (2)
  --cells N              cells of the largest matrix of growth (10000)
  --json FILE            also write all numbers (target/bench/speed.json)
";

/// What is asked for.
struct Options {
    devices: Vec<String>,
    precision: Precision,
    parts: Vec<String>,
    budget: Duration,
    n_cells: usize,
    json: PathBuf,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--help"] => Ok(HELP.to_owned()),
        ["--start", device, model] => start::child(device, model),
        _ => options(&arguments).and_then(|options| run(&options)),
    };
    match result {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::exit(1);
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        devices: vec![],
        precision: Precision::F32,
        parts: vec![],
        budget: Duration::from_secs(2),
        n_cells: 10_000,
        json: target().join("speed.json"),
    };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} has no value\n\n{HELP}", pair[0]));
        };
        let number = || value.parse::<u32>().map_err(|e| format!("{name} {value}: {e}"));
        match (name.as_str(), value.as_str()) {
            ("--device", "cpu" | "gpu") => options.devices.push(value.clone()),
            ("--precision", _) => options.precision = value.parse().map_err(|e: Error| e.to_string())?,
            ("--only", "kernels" | "forward" | "start" | "growth") => options.parts.push(value.clone()),
            ("--seconds", _) => options.budget = Duration::from_secs(number()?.into()),
            ("--cells", _) => options.n_cells = number()? as usize,
            ("--json", _) => options.json = value.into(),
            _ => return Err(format!("cannot do {name} {value}\n\n{HELP}")),
        }
    }
    if options.devices.is_empty() {
        options.devices = vec!["cpu".to_owned(), "gpu".to_owned()];
    }
    if options.parts.is_empty() {
        options.parts = ["kernels", "forward", "start"].map(str::to_owned).into();
    }
    Ok(options)
}

/// Where files are kept that take long to make.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

/// A model of the released sizes with random weights, made once.
fn released() -> Result<PathBuf, String> {
    let sizes = Sizes {
        vocab_size: 41_818,
        hidden_size: 512,
        num_layers: 12,
        num_heads: 8,
        intermediate_size: 2_048,
        max_genes: 1_200,
        rope_theta: 10_000.0,
    };
    model("released", &sizes)
}

fn model(name: &str, sizes: &Sizes) -> Result<PathBuf, String> {
    let folder = target().join(name);
    if !folder.join("model.safetensors").exists() {
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        support_checkpoint::write(&folder, sizes, 1, Dtype::F32);
    }
    Ok(folder)
}

fn run(options: &Options) -> Result<String, String> {
    let wants = |part: &str| options.parts.iter().any(|wanted| wanted == part);
    let mut report = Report::new();
    for device in &options.devices {
        let opened = match device.as_str() {
            "cpu" => {
                let cpu = Cpu::new();
                let name = cpu.describe();
                measured(options, name, String::new(), false, kernels::TOLERANCE, || Ok(Cpu::new()))
            }
            _ => {
                let wanted = GpuOptions {
                    precision: options.precision,
                    ..GpuOptions::default()
                };
                let open = || pollster::block_on(Gpu::open(wanted.clone()));
                match open() {
                    Ok(gpu) => {
                        let info = gpu.info().clone();
                        let (name, tolerance) = match options.precision {
                            Precision::F16 => (format!("{}, f16", info.adapter), kernels::TOLERANCE_F16),
                            _ => (info.adapter, kernels::TOLERANCE),
                        };
                        measured(options, name, info.driver, info.software, tolerance, open)
                    }
                    Err(error @ Error::NoDevice(_)) => {
                        report.missing.push(format!("gpu: {error}"));
                        continue;
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
        };
        let mut measured = opened?;
        if wants("start") {
            let folder = released()?;
            for (name, model) in [("mini", "mini"), ("released", &*folder.to_string_lossy())] {
                for driver_cache in [false, true] {
                    if device == "cpu" && driver_cache {
                        continue;
                    }
                    let start = start::run(device, model, driver_cache)?;
                    measured.starts.push((name.to_owned(), driver_cache, start));
                }
            }
        }
        report.devices.push(measured);
    }
    if wants("growth") {
        report.growth = grow(options)?;
    }
    let json = serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?;
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    }
    std::fs::write(&options.json, json).map_err(|e| format!("{}: {e}", options.json.display()))?;
    Ok(report.to_string())
}

fn measured<B: Counted>(
    options: &Options,
    name: String,
    driver: String,
    software: bool,
    tolerance: f64,
    open: impl Fn() -> scdiva::Result<B>,
) -> Result<DeviceReport, String> {
    let text = |e: Error| e.to_string();
    let wants = |part: &str| options.parts.iter().any(|wanted| wanted == part);
    // A GPU that is a program takes seconds for what a real one does in a hundredth.
    let n_rows = if software { 129 } else { 1_201 };
    let mut report = DeviceReport::new(name, driver);
    if wants("kernels") {
        report.kernels = kernels::run(&open().map_err(text)?, n_rows, tolerance, options.budget)?;
    }
    if wants("forward") {
        let mut batches = vec![Lengths::equal(1, 128)];
        let mini = ModelFiles::embedded().config().map_err(text)?;
        let mut of_mini = vec![Lengths::equal(16, mini.max_genes)];
        if !software {
            let released = Config::released();
            batches.extend([(1, 512), (1, 1_200), (8, 128), (6, 1_200)].map(|(n, genes)| Lengths::equal(n, genes)));
            batches.push(Lengths::blood(&released));
            of_mini.push(Lengths::blood(&mini));
        }
        let mut forward: Vec<ForwardRow> = vec![];
        let checkpoint = Checkpoint::open(&ModelFiles::embedded()).map_err(text)?;
        forward.extend(forward::run(
            "mini",
            open().map_err(text)?,
            checkpoint,
            &of_mini,
            options.budget,
        )?);
        let files = ModelFiles::from_folder(&released()?).map_err(text)?;
        let checkpoint = Checkpoint::open(&files).map_err(text)?;
        forward.extend(forward::run(
            "released",
            open().map_err(text)?,
            checkpoint,
            &batches,
            options.budget,
        )?);
        report.forward = forward;
    }
    Ok(report)
}

/// The embedded model on as many cells as it does in a minute or so, and a tiny one, whose arithmetic is nothing, on up to all of them: so the
/// time of the road to the model, and the memory, are seen.
fn grow(options: &Options) -> Result<Vec<growth::GrowthRow>, String> {
    let python = std::env::var("SCDIVA_PYTHON").unwrap_or_else(|_| "target/python/bin/python".to_owned());
    let folder = tempfile::tempdir_in(target().parent().unwrap_or(Path::new("."))).map_err(|e| e.to_string())?;
    let tiny = tiny()?;
    let mut rows = vec![];
    let mut one = |model: Option<&Path>, n_cells: usize, n_genes: usize| -> Result<(), String> {
        eprintln!("growth: {n_cells} cells of {n_genes} genes");
        let matrix = folder.path().join("simulated.h5ad");
        growth::simulate(&python, &matrix, n_cells, n_genes)?;
        rows.push(growth::run(model, &matrix, n_cells, n_genes)?);
        std::fs::remove_file(&matrix).map_err(|e| e.to_string())
    };
    for n_genes in [200, 400, 800, 1_200] {
        one(None, 1_000, n_genes)?;
    }
    for n_cells in [2_000, 4_000, 8_000] {
        one(None, n_cells, 400)?;
    }
    let mut n_cells = 1_000;
    while n_cells <= options.n_cells {
        one(Some(&tiny), n_cells, 1_000)?;
        n_cells *= 10;
    }
    Ok(rows)
}

/// A model of width 8 with the vocabulary of the embedded one.
fn tiny() -> Result<PathBuf, String> {
    let mini = ModelFiles::embedded().config().map_err(|e| e.to_string())?;
    let sizes = Sizes {
        vocab_size: mini.vocab_size,
        hidden_size: 8,
        num_layers: 1,
        num_heads: 1,
        intermediate_size: 8,
        max_genes: 1_200,
        rope_theta: 10_000.0,
    };
    let folder = model("tiny", &sizes)?;
    let vocabulary = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/vocab.tsv");
    std::fs::copy(vocabulary, folder.join("vocab.tsv")).map_err(|e| e.to_string())?;
    Ok(folder)
}
