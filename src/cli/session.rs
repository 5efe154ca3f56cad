//! What commands share: the model, the device, the progress.

use super::{interrupt, tuning};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use scdiva::tasks::Progress;
use scdiva::{DeviceChoice, DeviceInfo, DeviceOptions, Error, ModelFiles, Result, ScDiVa, gpu};
use std::fs;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Session {
    /// Folder of a model: config.json, model.safetensors, vocab.tsv, heads/ [default: the one inside this program]
    #[arg(long, global = true, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// What computes, for the commands that compute with the model.
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    /// What computes; `auto` takes a real GPU, or the CPU where there is none
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
    /// How exactly a GPU computes: `f16` keeps weights in half the memory and may be quicker, with errors of about a thousandth; `auto` is f32
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Precision {
    Auto,
    F32,
    F16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Device {
    Auto,
    Gpu,
    Cpu,
}

impl Session {
    /// The files of the model.
    pub(super) fn model_files(&self) -> Result<ModelFiles> {
        match &self.model {
            Some(folder) => ModelFiles::from_folder(folder),
            None => Ok(ModelFiles::embedded()),
        }
    }

    /// The paths of what the model is read from; nothing for the one inside this program.
    pub(super) fn model_paths(&self) -> Vec<PathBuf> {
        let Some(folder) = &self.model else {
            return Vec::new();
        };
        let own = ["config.json", "model.safetensors", "vocab.tsv", "orthologs_mouse.tsv.gz"];
        let heads = fs::read_dir(folder.join("heads")).into_iter().flatten();
        let heads = heads.filter_map(|head| Some(head.ok()?.path()));
        let heads = heads.filter(|head| head.extension().is_some_and(|ending| ending == "safetensors"));
        own.iter().map(|name| folder.join(name)).chain(heads).collect()
    }

    /// Opens the model on the device and says which.
    pub(super) async fn open(&self, on: &DeviceArgs) -> Result<ScDiVa> {
        let files = self.model_files()?;
        let device = match on.device {
            Device::Auto => DeviceChoice::Auto,
            Device::Gpu => DeviceChoice::Gpu,
            Device::Cpu => DeviceChoice::Cpu,
        };
        let precision = match on.precision {
            Precision::Auto => gpu::Precision::Auto,
            Precision::F32 => gpu::Precision::F32,
            Precision::F16 => gpu::Precision::F16,
        };
        let place = tuning::path();
        let kept = tuning::read(place.as_deref());
        let options = DeviceOptions {
            device,
            precision,
            tunings: kept.clone(),
        };
        let scdiva = ScDiVa::open(files, options).await?;
        if let Some(found) = scdiva.tuning()
            && !kept.contains(found)
        {
            tuning::keep(place.as_deref(), found);
        }
        say!("device: {}", describe(&scdiva.info().device));
        Ok(scdiva)
    }
}

/// A device in one line.
pub(super) fn describe(device: &DeviceInfo) -> String {
    let mut text = format!("{}, {}", device.kind, device.name);
    if let Some(gpu) = &device.gpu {
        text.push_str(&format!(" ({})", gpu.backend));
    }
    if let Some(reason) = &device.reason {
        text.push_str(&format!("; {reason}"));
    }
    text
}

/// A bar on stderr when that is a terminal.
pub(super) fn progress_bar(n_cells: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(n_cells as u64);
    // A template that does not parse leaves the bar as it comes.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} cells  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// Moves the bar on from `n_before`, until Ctrl-C.
pub(super) fn show(bar: &ProgressBar, n_before: usize) -> impl FnMut(Progress) -> ControlFlow<()> {
    move |progress| {
        bar.set_position((n_before + progress.n_done) as u64);
        if interrupt::requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// An [`Error::Io`] about a file that is written.
pub(super) fn io_error(path: &Path) -> impl Fn(std::io::Error) -> Error {
    |source| Error::Io {
        file: path.display().to_string(),
        source,
    }
}
