//! A case as the Rust peers read, time and report it; `case.py` is the same for the Python ones.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What goes wrong in a program of this workspace.
pub type Failure = Box<dyn Error + Send + Sync>;

/// `FOLDER CASE [--threads N] [--seconds S] [--NAME VALUE]…`
#[derive(Debug)]
pub struct Options {
    /// What `make.py` wrote.
    pub folder: PathBuf,
    /// Name of the case.
    pub case: String,
    /// For the computation on a CPU.
    pub threads: usize,
    /// For the repetitions.
    pub seconds: f64,
    /// What only some peers know.
    pub more: Map<String, Value>,
}

impl Options {
    /// Reads this program's arguments.
    pub fn from_arguments() -> Result<Self, Failure> {
        let (mut places, mut more) = (Vec::new(), Map::new());
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some(name) => {
                    let value = arguments.next().ok_or_else(|| format!("{argument}: a value is missing"))?;
                    more.insert(name.to_owned(), value.into());
                }
                None => places.push(argument),
            }
        }
        let [folder, case] = <[String; 2]>::try_from(places).map_err(|_| "wanted FOLDER CASE")?;
        let mut number = |name, default: f64| match more.remove(name) {
            Some(value) => value.as_str().unwrap_or_default().parse(),
            None => Ok(default),
        };
        Ok(Self {
            folder: folder.into(),
            case,
            threads: number("threads", 2.0)? as usize,
            seconds: number("seconds", 2.0)?,
            more,
        })
    }

    /// What was said for an option that only some peers know.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.more.get(name).and_then(Value::as_str)
    }
}

/// The sizes that the forward passes written by hand need.
#[derive(Debug, Deserialize)]
pub struct Sizes {
    pub hidden_size: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub max_genes: usize,
    pub rope_theta: f64,
    pub norm_eps: f64,
}

impl Sizes {
    /// Of `config.json`.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        Ok(serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?)
    }

    /// Cosines and sines of the rotary embedding, `[max_genes + 1, head_size / 2]`.
    pub fn rope_tables(&self) -> [Vec<f32>; 2] {
        let head_size = self.hidden_size / self.num_heads;
        let angles = (0..=self.max_genes).flat_map(|position| {
            (0..head_size / 2).map(move |i| position as f64 * self.rope_theta.powf(-2.0 * i as f64 / head_size as f64))
        });
        let angles: Vec<f64> = angles.collect();
        [f64::cos, f64::sin].map(|f: fn(f64) -> f64| angles.iter().map(|&angle| f(angle) as f32).collect())
    }
}

/// Tokens padded to the longest cell, and what comes out when everything is right.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    /// Genes of each cell.
    pub lengths: Vec<usize>,
    /// Genes of the longest cell.
    pub width: usize,
    /// `[n_cells, width]`.
    pub gene_ids: Vec<i32>,
    /// `[n_cells, width]`.
    pub values: Vec<f32>,
    /// `[n_cells, hidden_size]`.
    pub embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Listed {
    cases: Vec<ListedCase>,
}

#[derive(Deserialize)]
struct ListedCase {
    name: String,
    n_genes: Vec<usize>,
}

impl Case {
    pub fn read(folder: &Path, name: &str) -> Result<Self, Failure> {
        let listed: Listed = serde_json::from_slice(&std::fs::read(folder.join("cases.json"))?)?;
        let case = listed.cases.into_iter().find(|case| case.name == name);
        let lengths = case.ok_or_else(|| format!("no case {name}"))?.n_genes;
        let bytes = |kind| std::fs::read(folder.join("cases").join(format!("{name}.{kind}")));
        Ok(Self {
            name: name.to_owned(),
            width: lengths.iter().copied().max().unwrap_or_default(),
            lengths,
            gene_ids: numbers(&bytes("gene_ids.i32")?, i32::from_le_bytes),
            values: numbers(&bytes("values.f32")?, f32::from_le_bytes),
            embedding: numbers(&bytes("embedding.f32")?, f32::from_le_bytes),
        })
    }

    /// Whether cells differ in length, so that there is padding.
    pub fn is_masked(&self) -> bool {
        self.lengths.iter().any(|&n_genes| n_genes < self.width)
    }

    /// `[n_cells, width]`: 1 for a gene, 0 for padding.
    pub fn attended(&self) -> Vec<f32> {
        let of_cell = |&n_genes: &usize| (0..self.width).map(move |i| f32::from(u8::from(i < n_genes)));
        self.lengths.iter().flat_map(of_cell).collect()
    }
}

fn numbers<T>(bytes: &[u8], read: fn([u8; 4]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&four| read(four)).collect()
}

/// Who computes.
#[derive(Debug)]
pub struct Peer {
    pub name: String,
    pub version: String,
    pub device: String,
    pub threads: usize,
}

/// `load` gives the peer and the function that computes the embeddings; prints one line of JSON.
pub fn report<F>(case: &Case, seconds: f64, load: impl FnOnce() -> Result<(Peer, F), Failure>) -> Result<(), Failure>
where
    F: FnMut() -> Result<Vec<f32>, Failure>,
{
    let start = Instant::now();
    let (peer, mut run) = load()?;
    let load_s = start.elapsed().as_secs_f64();
    let mut answer = Vec::new();
    let mut timed = || -> Result<f64, Failure> {
        let start = Instant::now();
        answer = run()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let first_s = timed()?;
    let (mut times, mut total) = (Vec::new(), 0.0);
    // At least 3, but only one of those that take very long.
    while times.len() < 50 && (total < seconds || (times.len() < 3 && total < 5.0 * seconds)) {
        let time = timed()?;
        total += time;
        times.push(time);
    }
    times.sort_by(f64::total_cmp);
    if answer.len() != case.embedding.len() {
        return Err(format!("{} numbers came out, wanted {}", answer.len(), case.embedding.len()).into());
    }
    // A NaN is the worst of all, and JSON has none.
    let errors = answer.iter().zip(&case.embedding).map(|(got, wanted)| (got - wanted).abs());
    let max_abs_error = errors.fold(0.0, |most, error| if error <= most { most } else { error });
    println!(
        "{}",
        json!({
            "peer": peer.name,
            "version": peer.version,
            "device": peer.device,
            "threads": peer.threads,
            "case": case.name,
            "n_cells": case.lengths.len(),
            "n_genes": case.lengths.iter().sum::<usize>(),
            "load_s": load_s,
            "first_s": first_s,
            "best_s": times[0],
            "median_s": (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0,
            "n_runs": times.len(),
            "peak_memory_bytes": peak_memory(),
            "max_abs_error": max_abs_error,
        })
    );
    Ok(())
}

/// The most memory that this process ever had, in bytes; Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
