//! Opening an adapter, and what is known of it.

use super::choose::{AttentionKernel, LinearKernel, Tuning};
use super::pool::lock;
use crate::error::{Error, Result};
use serde::Serialize;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

/// How exactly products are computed. Sums, norms, softmax and activations are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// [`Precision::F32`]: that f16 is safe has not been shown for every model.
    #[default]
    Auto,
    /// Weights and products in f32.
    F32,
    /// Weights kept as f16: half the memory, errors of about a thousandth a product, which grow to a hundredth or some in deep models. Where the adapter has f16 arithmetic, products may be f16 too, in
    /// sums of 16 at the most, or by matrix units in sums of f32; activations past 65,504 then end in an error, never in an answer.
    F16,
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            other => {
                let problem = format_args!("{other:?}, wanted auto, f32 or f16");
                Err(Error::argument("open", "precision", problem))
            }
        }
    }
}

/// Which adapter to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuOptions {
    /// Whether an adapter that computes on the CPU (llvmpipe, `SwiftShader`, WARP) will do.
    pub allow_software: bool,
    /// Bind no more bytes than this at a time, whatever the adapter allows; the guaranteed 128 MiB is the WebGPU default.
    pub max_binding_size: u64,
    /// How exactly products are computed.
    pub precision: Precision,
    /// What [`super::Gpu::tuning`] said before; that for this adapter and precision, where it is among them, stands for a measurement.
    pub tunings: Vec<Tuning>,
    /// Use this kernel for every product whose shape it takes, instead of the one chosen for the adapter: for tests and measurements.
    pub linear: Option<LinearKernel>,
    /// The same for attention.
    pub attention: Option<AttentionKernel>,
    /// By what the work of a submit is divided: for a device that was taken away before.
    pub caution: u32,
    /// With f16 on an adapter with such arithmetic: imitate matrix units of 16 × 16 squares in plain WGSL. For tests of the kernels that need them, since
    /// it is very slow; not in browsers.
    pub imitate_matrix: bool,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            allow_software: true,
            max_binding_size: u64::MAX,
            precision: Precision::Auto,
            tunings: Vec::new(),
            linear: None,
            attention: None,
            caution: 1,
            imitate_matrix: false,
        }
    }
}

/// An adapter, and what of it is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuInfo {
    /// The adapter's name.
    pub adapter: String,
    /// Vulkan, Metal, Dx12 or `BrowserWebGpu`.
    pub backend: String,
    /// Driver and its version, where the system tells.
    pub driver: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub device_type: String,
    /// Whether it computes on the CPU.
    pub software: bool,
    /// WebGPU features in use.
    pub features: Vec<String>,
    /// The fewest threads of a subgroup; 0 where subgroups are not in use.
    pub subgroup_size: u32,
    /// Whether arithmetic in f16 is in use.
    pub f16_arithmetic: bool,
    /// The side of the squares of f16 whose products matrix units sum up in f32; 0 where none are in use.
    pub matrix_side: u32,
    /// Bytes of workgroup memory, as used: at least 16 KiB.
    pub workgroup_memory: u32,
    /// The most bytes of one storage binding, as used.
    pub max_binding_size: u64,
    /// The most bytes of one buffer, as used.
    pub max_buffer_size: u64,
}

/// A device with what it says when something goes wrong.
pub(super) struct Opened {
    pub(super) info: GpuInfo,
    /// Whether kernels for matrix units have to be rewritten.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) imitates_matrix: bool,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Why the device was lost, once it is.
    pub(super) lost: Arc<Mutex<Option<String>>>,
    /// The first error that no scope caught.
    pub(super) uncaptured: Arc<Mutex<Option<String>>>,
}

/// Features that are used where they are to be had: timestamps for measurements, and subgroups, which wgpu does not have in browsers.
const WANTED: wgpu::Features = if cfg!(target_arch = "wasm32") {
    wgpu::Features::empty()
} else {
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::SUBGROUP)
};

pub(super) async fn open(options: &GpuOptions) -> Result<Opened> {
    let adapter = choose(options).await?;
    let about = adapter.get_info();
    let limits = limits(&adapter.limits(), options);
    let f16 = if options.precision == Precision::F16 {
        wgpu::Features::SHADER_F16
    } else {
        wgpu::Features::empty()
    };
    let plain = adapter.features() & WANTED.union(f16);
    let imitates_matrix = options.imitate_matrix && plain.contains(wgpu::Features::SHADER_F16);
    let side = if imitates_matrix { 0 } else { matrix_side(&adapter, plain) };
    let with_matrix = plain | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let opened = match side {
        0 => None,
        _ => request(&adapter, with_matrix, &limits).await.ok(),
    };
    let ((device, queue), features, matrix_side) = match opened {
        Some(opened) => (opened, with_matrix, side),
        // Also where a driver does not keep its word.
        None => (
            request(&adapter, plain, &limits).await?,
            plain,
            if imitates_matrix { 16 } else { 0 },
        ),
    };
    let info = GpuInfo {
        adapter: name_of(&adapter),
        backend: format!("{:?}", about.backend),
        driver: format!("{} {}", about.driver, about.driver_info).trim().to_owned(),
        device_type: format!("{:?}", about.device_type),
        software: about.device_type == wgpu::DeviceType::Cpu,
        features: features.iter_names().map(|(name, _)| name.to_owned()).collect(),
        subgroup_size: if features.contains(wgpu::Features::SUBGROUP) {
            about.subgroup_min_size
        } else {
            0
        },
        f16_arithmetic: features.contains(wgpu::Features::SHADER_F16),
        matrix_side,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        max_binding_size: limits.max_storage_buffer_binding_size.min(options.max_binding_size),
        max_buffer_size: limits.max_buffer_size.min(options.max_binding_size),
    };
    let lost = Arc::new(Mutex::new(None));
    let uncaptured = Arc::new(Mutex::new(None));
    let (on_lost, on_error) = (Arc::clone(&lost), Arc::clone(&uncaptured));
    device.set_device_lost_callback(move |reason, message| {
        lock(&on_lost).get_or_insert(format!("{reason:?} {message}").trim().to_owned());
    });
    // Without a handler wgpu panics.
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        lock(&on_error).get_or_insert(error.to_string());
    }));
    Ok(Opened {
        info,
        #[cfg(not(target_arch = "wasm32"))]
        imitates_matrix,
        device,
        queue,
        lost,
        uncaptured,
    })
}

/// What an adapter is called, also where a browser does not tell.
fn name_of(adapter: &wgpu::Adapter) -> String {
    let name = adapter.get_info().name;
    if name.is_empty() { "WebGPU adapter".to_owned() } else { name }
}

async fn request(
    adapter: &wgpu::Adapter,
    features: wgpu::Features,
    limits: &wgpu::Limits,
) -> Result<(wgpu::Device, wgpu::Queue)> {
    let has_matrix = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("scdiva"),
        required_features: features,
        required_limits: limits.clone(),
        experimental_features: experimental_features(has_matrix),
        ..Default::default()
    };
    adapter.request_device(&descriptor).await.map_err(|e| Error::Device {
        device: name_of(adapter),
        operation: "open".to_owned(),
        problem: e.to_string(),
    })
}

/// The side of the squares that `linear_matrix` and `attention_matrix` can use; 0 where they cannot. They are written for subgroups of one size.
fn matrix_side(adapter: &wgpu::Adapter, features: wgpu::Features) -> u32 {
    use wgpu::CooperativeScalarType::{F16, F32};
    let about = adapter.get_info();
    let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let has_all = features.contains(wanted) && adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    if !has_all || about.subgroup_min_size != about.subgroup_max_size {
        return 0;
    }
    let memory = adapter.limits().max_compute_workgroup_storage_size;
    let kinds = adapter.cooperative_matrix_properties();
    let has = |side| {
        kinds.iter().any(|kind| {
            let shape = [kind.m_size, kind.n_size, kind.k_size];
            shape == [side; 3] && (kind.ab_type, kind.cr_type) == (F16, F32) && !kind.saturating_accumulation
        })
    };
    // Squares, threads of a subgroup, bytes of workgroup memory: NVIDIA's, and those of Mesa's lavapipe.
    [(16, 32, 40_960), (8, 8, 32_768)]
        .into_iter()
        .find(|&(side, lanes, bytes)| has(side) && about.subgroup_max_size == lanes && memory >= bytes)
        .map_or(0, |(side, ..)| side)
}

/// Cooperative matrices are wgpu's only experiment that is used.
fn experimental_features(are_wanted: bool) -> wgpu::ExperimentalFeatures {
    if !are_wanted {
        return wgpu::ExperimentalFeatures::disabled();
    }
    #[expect(
        unsafe_code,
        reason = "wgpu may have bugs there: the kernels that use it are opted into with f16, and have to give the right answer first"
    )]
    // SAFETY: the kernels load and store squares in workgroup arrays of constant size, at places within them.
    unsafe {
        wgpu::ExperimentalFeatures::enabled()
    }
}

/// The WebGPU defaults, with larger buffers and more workgroup memory where the adapter has them: that more is needed is said with a kernel.
fn limits(adapter: &wgpu::Limits, options: &GpuOptions) -> wgpu::Limits {
    // Indices into a buffer are u32, so nothing past 4 GiB of f32 could be reached.
    const MOST: u64 = 1 << 31;
    let defaults = wgpu::Limits::default();
    const MOST_WORKGROUP_MEMORY: u32 = 48 << 10;
    let raised = |default: u64, has: u64| has.min(MOST).min(options.max_binding_size).max(default);
    wgpu::Limits {
        max_storage_buffer_binding_size: raised(
            defaults.max_storage_buffer_binding_size,
            adapter.max_storage_buffer_binding_size,
        ),
        max_buffer_size: raised(defaults.max_buffer_size, adapter.max_buffer_size),
        max_compute_workgroup_storage_size: adapter
            .max_compute_workgroup_storage_size
            .clamp(defaults.max_compute_workgroup_storage_size, MOST_WORKGROUP_MEMORY),
        ..defaults
    }
}

#[cfg(not(target_arch = "wasm32"))]
async fn choose(options: &GpuOptions) -> Result<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let rank = |adapter: &wgpu::Adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    adapters.sort_by_key(rank);
    let names: Vec<String> = adapters
        .iter()
        .map(|a| format!("{} ({:?})", a.get_info().name, a.get_info().device_type))
        .collect();
    adapters
        .into_iter()
        .find(|adapter| options.allow_software || rank(adapter) < 4)
        .ok_or_else(|| match names.as_slice() {
            [] => Error::NoDevice("no Vulkan, Metal or DX12 adapter was found".to_owned()),
            names => Error::NoDevice(format!("only software adapters were found: {}", names.join(", "))),
        })
}

#[cfg(target_arch = "wasm32")]
async fn choose(options: &GpuOptions) -> Result<wgpu::Adapter> {
    // Asked first because an instance panics where there is no WebGPU at all, as in Node.
    if !wgpu::util::is_browser_webgpu_supported().await {
        return Err(Error::NoDevice("no WebGPU adapter is offered here".to_owned()));
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance
        .request_adapter(&wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        })
        .await
        .map_err(|e| Error::NoDevice(format!("this browser offers no WebGPU adapter ({e})")))?;
    if !options.allow_software && adapter.get_info().device_type == wgpu::DeviceType::Cpu {
        return Err(Error::NoDevice(format!(
            "only a software adapter was found: {}",
            adapter.get_info().name
        )));
    }
    Ok(adapter)
}
