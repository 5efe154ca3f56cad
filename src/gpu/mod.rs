//! The operations in WGSL; the only user of wgpu.
//!
//! Operations are recorded into one compute pass and submitted together. Parameters of a dispatch are a slot of one uniform
//! buffer, bind groups are kept, buffers come from a pool: in the steady state a dispatch allocates nothing.

mod backend;
mod choose;
mod device;
#[cfg(not(target_arch = "wasm32"))]
mod imitate;
mod kernel;
mod kernels;
#[cfg(not(target_arch = "wasm32"))]
mod measure;
mod pool;
mod recorder;
#[cfg(not(target_arch = "wasm32"))]
mod timer;

pub use choose::{AttentionKernel, LinearKernel, Tuning};
pub use device::{GpuInfo, GpuOptions, Precision};
pub use kernel::{Access, Feature, Kernel};
pub use kernels::kernels;
pub use recorder::Counters;
#[cfg(not(target_arch = "wasm32"))]
pub use timer::KernelTime;

use crate::backend::{CellRows, Matrix};
use crate::error::{Error, Result};
use choose::Choice;
use pool::{Buffer, Pool, lock};
use recorder::Recorder;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A GPU, opened.
pub struct Gpu {
    opened: device::Opened,
    pool: Arc<Mutex<Pool>>,
    recorder: Mutex<Recorder>,
    choice: Choice,
    precision: Precision,
    /// Whether matrices that only products read are kept as f16.
    half: bool,
    tuning: Option<Tuning>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("info", &self.opened.info).finish_non_exhaustive()
    }
}

/// A matrix on the GPU.
pub struct Tensor {
    n_rows: usize,
    n_cols: usize,
    buffer: Buffer,
}

/// A weight matrix on the GPU, in as many buffers as the limit on one binding asks for.
pub struct Weight {
    n_rows: usize,
    n_cols: usize,
    /// Kept as f16; `n_cols` is a multiple of 4 then.
    half: bool,
    slices: Vec<Slice>,
}

struct Slice {
    rows: Range<usize>,
    buffer: Buffer,
}

/// A batch on the GPU.
pub struct Batch {
    cells: Vec<CellRows>,
    n_rows: usize,
    max_gene_id: u32,
    max_position: u32,
    gene_ids: Buffer,
    values: Buffer,
    masked: Buffer,
    positions: Buffer,
    /// `[n_cells, 4]`: first row, rows, keys, 0.
    cell_rows: Buffer,
    /// Query tiles of [`kernels::attention`] over all rows.
    tiles: Vec<kernels::attention::Tiles>,
    /// The same over the `[LAT]` rows.
    latent_tiles: Vec<kernels::attention::Tiles>,
}

macro_rules! opaque_debug {
    ($($name:ident),+) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("n_rows", &self.n_rows).finish_non_exhaustive()
            }
        })+
    };
}
opaque_debug!(Tensor, Weight, Batch);

impl Matrix for Tensor {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_cols(&self) -> usize {
        self.n_cols
    }
}

impl Matrix for Weight {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_cols(&self) -> usize {
        self.n_cols
    }
}

impl Weight {
    /// The one buffer of a weight that is small by nature: a vector or the rotary table.
    fn whole(&self) -> Result<&Buffer> {
        match self.slices.as_slice() {
            [slice] if !self.half => Ok(&slice.buffer),
            slices => Err(Error::argument(
                "gpu",
                "weight",
                format_args!(
                    "{} slices of [{}, {}] where one of f32 is taken",
                    slices.len(),
                    self.n_rows,
                    self.n_cols
                ),
            )),
        }
    }
}

impl Gpu {
    /// Opens an adapter: the most capable of those that `options` allows.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when there is none, [`Error::Device`] when it cannot be opened.
    pub async fn open(options: GpuOptions) -> Result<Self> {
        let opened = device::open(&options).await?;
        let recorder = Mutex::new(Recorder::new(&opened.device, opened.info.software, options.caution));
        let default = Choice::default_of(&opened.info, &options);
        let mut gpu = Self {
            choice: default,
            opened,
            pool: Arc::default(),
            recorder,
            precision: options.precision,
            half: options.precision == Precision::F16,
            tuning: None,
        };
        let key = choose::key(&gpu.opened.info, gpu.precision);
        let is_free = options.linear.is_none() && options.attention.is_none();
        let tuning = options.tunings.into_iter().find(|tuning| is_free && tuning.key == key);
        // What is best on a CPU is known, and measuring there would take longer than it gains; nor do browsers measure.
        let is_measured = cfg!(not(target_arch = "wasm32")) && !gpu.opened.info.software && is_free;
        if tuning.is_some() || !is_measured {
            gpu.settle_choice(tuning).await?;
        }
        // Nothing was kept, or it does not hold any more.
        #[cfg(not(target_arch = "wasm32"))]
        if is_measured && gpu.tuning.is_none() {
            gpu.choice = default;
            let candidates = measure::Candidates::of(&gpu.opened.info);
            let tuning = gpu.measured(key, &candidates).await?;
            gpu.settle_choice(tuning).await?;
        }
        Ok(gpu)
    }

    /// What is known of the adapter.
    #[must_use]
    pub const fn info(&self) -> &GpuInfo {
        &self.opened.info
    }

    /// Destroys the device, as a driver reset would: whatever comes next fails with [`Error::DeviceLost`]. For tests of recovery.
    pub fn destroy(&self) {
        self.opened.device.destroy();
        lock(&self.opened.lost).get_or_insert("destroyed".to_owned());
    }

    /// Allows no more than `bytes` beside the buffers in use, as where other programs have the rest. For tests of recovery.
    pub fn limit_memory(&self, bytes: u64) {
        lock(&self.pool).limit(bytes);
    }

    fn check_alive(&self) -> Result<()> {
        match lock(&self.opened.lost).as_ref() {
            None => Ok(()),
            Some(reason) => Err(Error::DeviceLost {
                device: self.opened.info.adapter.clone(),
                reason: reason.clone(),
            }),
        }
    }

    fn error(&self, operation: impl Into<String>, problem: impl std::fmt::Display) -> Error {
        Error::Device {
            device: self.opened.info.adapter.clone(),
            operation: operation.into(),
            problem: problem.to_string(),
        }
    }
}
