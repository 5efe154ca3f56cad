//! The numbers as tables.

use crate::forward::ForwardRow;
use crate::growth::GrowthRow;
use crate::kernels::KernelRow;
use crate::start::Start;
use std::fmt::{self, Display, Formatter};

/// Everything that was measured.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    version: &'static str,
    system: String,
    pub(crate) devices: Vec<DeviceReport>,
    pub(crate) growth: Vec<GrowthRow>,
    /// Devices that are not there, and why.
    pub(crate) missing: Vec<String>,
}

/// Of one device.
#[derive(Debug, serde::Serialize)]
pub(crate) struct DeviceReport {
    name: String,
    driver: String,
    pub(crate) kernels: Vec<KernelRow>,
    pub(crate) forward: Vec<ForwardRow>,
    /// Model, whether the driver had compiled the pipelines before, times.
    pub(crate) starts: Vec<(String, bool, Start)>,
}

impl DeviceReport {
    pub(crate) const fn new(name: String, driver: String) -> Self {
        Self {
            name,
            driver,
            kernels: vec![],
            forward: vec![],
            starts: vec![],
        }
    }

    /// The best product of two matrices that was seen on it.
    fn ceiling(&self) -> f64 {
        let products = self.kernels.iter().filter(|row| row.kernel.starts_with("linear"));
        products.map(|row| row.gflops).fold(0.0, f64::max)
    }

    fn copy(&self) -> f64 {
        let copies = self.kernels.iter().filter(|row| row.kernel.starts_with("rows"));
        copies.map(|row| row.gbytes_per_s).fold(0.0, f64::max)
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            system: format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH),
            devices: vec![],
            growth: vec![],
            missing: vec![],
        }
    }
}

/// Three digits.
fn short(x: f64) -> String {
    match x {
        0.0 => "–".to_owned(),
        x if x < 0.1 => format!("{x:.4}"),
        x if x < 10.0 => format!("{x:.2}"),
        x if x < 100.0 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

fn share(part: f64, whole: f64) -> String {
    if part == 0.0 || whole == 0.0 {
        return "–".to_owned();
    }
    format!("{:.0} %", 100.0 * part / whole)
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or("–".to_owned(), |bytes| (bytes >> 20).to_string())
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "scdiva {}, {}", self.version, self.system)?;
        for missing in &self.missing {
            writeln!(out, "\nnot measured: {missing}")?;
        }
        for device in &self.devices {
            write!(out, "{device}")?;
        }
        if !self.growth.is_empty() {
            writeln!(out, "\n## Growth\n\n`scdiva embed` on the CPU, a matrix on disk.\n")?;
            writeln!(
                out,
                "| model | cells | genes a cell | s | cells/s | peak MB |\n|---|---|---|---|---|---|"
            )?;
        }
        for row in &self.growth {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                row.model,
                row.n_cells,
                row.n_genes,
                short(row.seconds),
                short(row.cells_per_s),
                megabytes(row.peak_memory)
            )?;
        }
        Ok(())
    }
}

impl Display for DeviceReport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n## {} {}", self.name, self.driver)?;
        if !self.kernels.is_empty() {
            writeln!(
                out,
                "\n| kernel | shape | ms | GFLOP/s | of the best | GB/s | of a copy | error |"
            )?;
            writeln!(out, "|---|---|---|---|---|---|---|---|")?;
        }
        for row in &self.kernels {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {:.0e} |",
                row.kernel,
                row.shape,
                short(row.times.best * 1e3),
                short(row.gflops),
                share(row.gflops, self.ceiling()),
                short(row.gbytes_per_s),
                share(row.gbytes_per_s, self.copy()),
                row.error
            )?;
        }
        if !self.forward.is_empty() {
            writeln!(
                out,
                "\n| model | cells | rows | best ms | median ms | cells/s | GFLOP/s | of the best | dispatches | submits | kB up | kB down | peak MB |"
            )?;
            writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        }
        for row in &self.forward {
            let gpu = match &row.gpu {
                Some(gpu) => format!(
                    "{} | {} | {} | {}",
                    gpu.n_dispatches,
                    gpu.n_submits,
                    gpu.bytes_up.div_ceil(1024),
                    gpu.bytes_down.div_ceil(1024)
                ),
                None => "– | – | – | –".to_owned(),
            };
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {gpu} | {} |",
                row.model,
                row.cells,
                row.n_rows,
                short(row.times.best * 1e3),
                short(row.times.median * 1e3),
                short(row.cells_per_s),
                short(row.gflops),
                share(row.gflops, self.ceiling()),
                megabytes(row.peak_memory)
            )?;
        }
        for row in &self.forward {
            let Some(gpu) = row.gpu.as_ref().filter(|gpu| !gpu.kernels.is_empty()) else {
                continue;
            };
            let all: f64 = gpu.kernels.values().map(|kernel| kernel.seconds).sum();
            writeln!(out, "\nOn the GPU's clock, {}, {}:\n", row.model, row.cells)?;
            writeln!(out, "| kernel | dispatches | ms | of all | GFLOP/s |\n|---|---|---|---|---|")?;
            for (name, kernel) in &gpu.kernels {
                writeln!(
                    out,
                    "| {name} | {} | {} | {} | {} |",
                    kernel.n,
                    short(kernel.seconds * 1e3),
                    share(kernel.seconds, all),
                    short(kernel.gflops)
                )?;
            }
        }
        if !self.starts.is_empty() {
            writeln!(
                out,
                "\n| first answer | pipelines | loaded, s | first cell, s |\n|---|---|---|---|"
            )?;
        }
        for (model, driver_cache, start) in &self.starts {
            writeln!(
                out,
                "| {model} | {} | {} | {} |",
                if *driver_cache { "as the driver kept them" } else { "new" },
                short(start.loaded),
                short(start.first)
            )?;
        }
        Ok(())
    }
}
