//! From nothing to the first answer, in a process of its own.

use crate::forward::Tokens;
use scdiva::model::Want;
use scdiva::{DeviceChoice, ModelFiles, ScDiVa};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Seconds from the beginning of a process.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Start {
    /// Until the device has proved itself and has the weights.
    pub(crate) loaded: f64,
    /// Until the first cell of 128 genes is answered: pipelines are compiled in between.
    pub(crate) first: f64,
}

/// What a process does that was started by [`run`]: prints a [`Start`].
pub(crate) fn child(device: &str, model: &str) -> Result<String, String> {
    let start = Instant::now();
    let text = |e: scdiva::Error| e.to_string();
    let files = match model {
        "mini" => ModelFiles::embedded(),
        folder => ModelFiles::from_folder(Path::new(folder)).map_err(text)?,
    };
    let device: DeviceChoice = device.parse().map_err(text)?;
    let mut scdiva = pollster::block_on(ScDiVa::open(files, device)).map_err(text)?;
    let loaded = start.elapsed().as_secs_f64();
    let tokens = Tokens::new(scdiva.config(), &[128]);
    pollster::block_on(scdiva.forward(&tokens.inputs(), Want::default())).map_err(text)?;
    let first = start.elapsed().as_secs_f64();
    serde_json::to_string(&Start { loaded, first }).map_err(|e| e.to_string())
}

/// Starts this program anew. Without `driver_cache` Mesa forgets the pipelines that it compiled before; other drivers do not ask.
pub(crate) fn run(device: &str, model: &str, driver_cache: bool) -> Result<Start, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(["--start", device, model]);
    if !driver_cache {
        command.env("MESA_SHADER_CACHE_DISABLE", "true");
    }
    let output = command.output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("cold start: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cold start: {e}"))
}
