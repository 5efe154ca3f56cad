//! The released 94.5 M-parameter shapes load, run, and take no more host memory than the file and 64 MB.
//!
//! One test in a process of its own, because it looks at the memory of the whole process.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use scdiva::model::{CellInput, Config, Want, tensor_shapes};
use scdiva::{DeviceChoice, ModelFiles, ScDiVa};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes f32 tensors of the released shapes and returns the size of the file; `config.json` is left out, as in the release.
fn write_checkpoint(folder: &Path) -> u64 {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    let shapes = tensor_shapes(&Config::released());
    for (name, shape) in &shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    let path = folder.join("model.safetensors");
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(&path).unwrap());
    out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    out.write_all(&header).unwrap();
    let mut state = 1_u32;
    for (name, shape) in &shapes {
        let is_norm = name.contains("norm");
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = (state >> 8) as f32 / 8_388_608.0 - 1.0;
            let number = if is_norm { 1.0 } else { 0.05 * uniform };
            out.write_all(&number.to_le_bytes()).unwrap();
        }
    }
    out.flush().unwrap();
    path.metadata().unwrap().len()
}

/// The most memory that this process ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn released_shapes_load_within_the_size_of_the_file_and_64_mb() {
    let folder = tempfile::tempdir().unwrap();
    let size = write_checkpoint(folder.path());
    let files = ModelFiles::from_folder(folder.path()).unwrap();
    let before = peak_memory();
    // A software adapter: what the device holds is host memory too, and counts here.
    let mut scdiva = pollster::block_on(ScDiVa::open(files, DeviceChoice::Gpu)).unwrap();
    let used = peak_memory() - before;
    eprintln!("file {} MB, peak while loading {} MB", size >> 20, used >> 20);
    assert_eq!(scdiva.info().model.n_parameters, 94_482_433);
    assert!(used < size + (64 << 20), "{used} bytes for a file of {size}");

    let gene_ids: Vec<u32> = (0..8).map(|i| 2 + 5_000 * i).collect();
    let cell = CellInput {
        gene_ids: &gene_ids,
        values: &[1.0; 8],
        ..CellInput::default()
    };
    let output = pollster::block_on(scdiva.forward(&[cell], Want::default())).unwrap();
    assert_eq!(output.latent.len(), 512);
    // final_norm's weight is 1, so the embedding has an RMS of 1.
    let rms = (output.latent.iter().map(|x| x * x).sum::<f32>() / 512.0).sqrt();
    assert!((rms - 1.0).abs() < 1e-3, "{rms}");
}
