//! Cost as the work grows: simulated matrices on disk, read in a stream by the command.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// One run of the command.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct GrowthRow {
    pub(crate) model: String,
    pub(crate) n_cells: usize,
    pub(crate) n_genes: usize,
    pub(crate) seconds: f64,
    pub(crate) cells_per_s: f64,
    /// Of the whole process.
    pub(crate) peak_memory: Option<u64>,
}

/// Writes a matrix of `n_cells` cells with `n_genes` expressed genes each with the Python script beside this file.
pub(crate) fn simulate(python: &str, path: &Path, n_cells: usize, n_genes: usize) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/speed/simulate.py");
    let vocabulary = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/vocab.tsv");
    let status = Command::new(python)
        .arg(script)
        .args([path, vocabulary.as_path()])
        .args([n_cells.to_string(), n_genes.to_string()])
        .status()
        .map_err(|e| format!("{python}: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("simulate.py failed ({status}): h5py is needed, see SCDIVA_PYTHON")),
    }
}

/// `scdiva embed` on the CPU, with the embedded model or the model of a folder.
pub(crate) fn run(model: Option<&Path>, matrix: &Path, n_cells: usize, n_genes: usize) -> Result<GrowthRow, String> {
    let output = matrix.with_extension("npy");
    let mut command = Command::new(env!("CARGO_BIN_EXE_scdiva"));
    command
        .arg("embed")
        .arg(matrix)
        .arg("-o")
        .arg(&output)
        .args(["--device", "cpu"]);
    if let Some(folder) = model {
        command.arg("--model").arg(folder);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let mut peak_memory = None;
    let status = loop {
        if let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id()))
            && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM:"))
        {
            peak_memory = line
                .split_whitespace()
                .nth(1)
                .and_then(|n| n.parse::<u64>().ok())
                .map(|n| n * 1024);
        }
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None => sleep(Duration::from_millis(20)),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("scdiva embed of {n_cells} cells failed ({status})"));
    }
    fs::remove_file(&output).map_err(|e| e.to_string())?;
    Ok(GrowthRow {
        model: if model.is_some() { "tiny" } else { "mini" }.to_owned(),
        n_cells,
        n_genes,
        seconds,
        cells_per_s: n_cells as f64 / seconds,
        peak_memory,
    })
}
