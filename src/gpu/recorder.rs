//! Records dispatches, submits them, and waits.

use super::Gpu;
use super::kernel::{Access, Kernel};
use super::pool::{Buffer, lock, size_class};
use crate::error::Result;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

/// WebGPU guarantees that uniform offsets may be multiples of this.
const SLOT: u64 = 256;
/// What every buffer but staging is used for.
const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::COPY_SRC);
/// Dispatches between two submits at the most.
const N_SLOTS: u64 = 1024;
/// More bind groups than this would mean that sizes never repeat; then keeping them is no use.
const MOST_BIND_GROUPS: usize = 8192;

#[cfg(not(target_arch = "wasm32"))]
type Verdict = Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>;
#[cfg(target_arch = "wasm32")]
type Verdict = Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;

/// What is recorded and not yet submitted, and everything that is kept between submits.
pub(super) struct Recorder {
    encoder: Option<wgpu::CommandEncoder>,
    /// Of `encoder`; dropped before that is finished.
    pass: Option<wgpu::ComputePass<'static>>,
    params: wgpu::Buffer,
    params_bytes: Vec<u8>,
    flops: u64,
    /// Bytes uploaded since the driver last freed its copies.
    unsettled: u64,
    /// Work between two submits: about a tenth of a second, so that no watchdog takes a slow device away.
    most_flops: u64,
    layouts: HashMap<&'static str, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    pipelines: HashMap<(&'static str, Vec<u64>), wgpu::ComputePipeline>,
    bind_groups: HashMap<(&'static str, Vec<u64>), wgpu::BindGroup>,
    /// Error scopes that were closed and not yet asked.
    verdicts: Vec<(String, Verdict)>,
}

impl Recorder {
    pub(super) fn new(device: &wgpu::Device, software: bool) -> Self {
        Self {
            encoder: None,
            pass: None,
            params: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size: SLOT * N_SLOTS,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            params_bytes: Vec::new(),
            flops: 0,
            unsettled: 0,
            most_flops: if software { 500_000_000 } else { 50_000_000_000 },
            layouts: HashMap::new(),
            pipelines: HashMap::new(),
            bind_groups: HashMap::new(),
            verdicts: Vec::new(),
        }
    }

    /// Runs `f` inside error scopes; their verdict is asked at the next download.
    fn scoped<T>(&mut self, device: &wgpu::Device, what: impl Into<String>, f: impl FnOnce(&mut Self) -> T) -> T {
        let filters = [
            wgpu::ErrorFilter::Validation,
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Internal,
        ];
        let scopes = filters.map(|filter| device.push_error_scope(filter));
        let result = f(self);
        let what = what.into();
        // Scopes are a stack: the last one opened is closed first.
        for scope in scopes.into_iter().rev() {
            self.verdicts.push((what.clone(), Box::pin(scope.pop())));
        }
        result
    }

    fn submit(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) {
        drop(self.pass.take());
        let Some(encoder) = self.encoder.take() else { return };
        queue.write_buffer(&self.params, 0, &self.params_bytes);
        self.params_bytes.clear();
        self.flops = 0;
        self.scoped(device, "submit", |_| queue.submit([encoder.finish()]));
    }
}

impl Gpu {
    /// Records one dispatch. `constants` are the values of the kernel's overrides, `flops` its share of the work of a submit.
    pub(super) fn launch<P: bytemuck::Pod>(
        &self,
        kernel: &'static Kernel,
        constants: &[f64],
        params: &P,
        buffers: &[&Buffer],
        grid: [u32; 3],
        flops: u64,
    ) -> Result<()> {
        self.check_alive()?;
        let device = &self.opened.device;
        let mut guard = lock(&self.recorder);
        let recorder = &mut *guard;
        if recorder.params_bytes.len() as u64 == SLOT * N_SLOTS || recorder.flops > recorder.most_flops {
            recorder.submit(device, &self.opened.queue);
        }
        self.prepare(recorder, kernel, constants, buffers)?;
        let Recorder {
            encoder,
            pass,
            pipelines,
            bind_groups,
            params_bytes,
            ..
        } = recorder;
        let pipeline_key = (kernel.name, constants.iter().map(|c| c.to_bits()).collect());
        let group_key = (kernel.name, buffers.iter().map(|b| b.id()).collect());
        let (Some(pipeline), Some(bind_group)) = (pipelines.get(&pipeline_key), bind_groups.get(&group_key)) else {
            return Err(self.error(kernel.name, "the pipeline is gone"));
        };
        let encoder = encoder.get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
        let pass = pass.get_or_insert_with(|| {
            encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor::default())
                .forget_lifetime()
        });
        let offset = params_bytes.len();
        params_bytes.extend_from_slice(bytemuck::bytes_of(params));
        // The ring holds N_SLOTS · SLOT bytes, far below 2^32.
        params_bytes.resize(offset + usize::try_from(SLOT).unwrap_or(256), 0);
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bind_group, &[super::kernel::count(offset)]);
        pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
        recorder.flops += flops;
        Ok(())
    }

    /// Makes the pipeline and the bind group of a launch, where they are not there yet.
    fn prepare(&self, recorder: &mut Recorder, kernel: &'static Kernel, constants: &[f64], buffers: &[&Buffer]) -> Result<()> {
        let device = &self.opened.device;
        if kernel.buffers.len() != buffers.len() || kernel.overrides.len() != constants.len() {
            return Err(self.error(kernel.name, "launched with the wrong number of buffers or constants"));
        }
        recorder.layouts.entry(kernel.name).or_insert_with(|| layouts(device, kernel));
        let Some((group_layout, pipeline_layout)) = recorder.layouts.get(kernel.name).cloned() else {
            return Err(self.error(kernel.name, "no layout"));
        };
        let pipeline_key = (kernel.name, constants.iter().map(|c| c.to_bits()).collect::<Vec<_>>());
        if !recorder.pipelines.contains_key(&pipeline_key) {
            let pipeline = recorder.scoped(device, kernel.name, |_| {
                let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(kernel.name),
                    source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
                });
                let constants: Vec<(&str, f64)> = kernel.overrides.iter().copied().zip(constants.iter().copied()).collect();
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(kernel.name),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some(kernel.name),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &constants,
                        // Every kernel writes its workgroup memory before it reads it.
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: None,
                })
            });
            recorder.pipelines.insert(pipeline_key, pipeline);
        }
        if std::mem::take(&mut lock(&self.pool).evicted) || recorder.bind_groups.len() > MOST_BIND_GROUPS {
            recorder.bind_groups.clear();
        }
        let group_key = (kernel.name, buffers.iter().map(|b| b.id()).collect::<Vec<_>>());
        if !recorder.bind_groups.contains_key(&group_key) {
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &recorder.params,
                    offset: 0,
                    size: std::num::NonZeroU64::new(params_size(kernel)),
                }),
            }];
            for (binding, buffer) in (1..).zip(buffers) {
                let Some(raw) = buffer.raw() else { continue };
                entries.push(wgpu::BindGroupEntry {
                    binding,
                    resource: raw.as_entire_binding(),
                });
            }
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.name),
                layout: &group_layout,
                entries: &entries,
            });
            recorder.bind_groups.insert(group_key, group);
        }
        Ok(())
    }

    /// A buffer for storage, from the pool.
    pub(super) fn buffer(&self, size: usize) -> Buffer {
        let size = size as u64;
        self.pooled(size_class(size).min(self.opened.info.max_buffer_size.max(size)), STORAGE)
    }

    /// A buffer for storage of just this size: weights stay, so rounding them up would only waste memory.
    pub(super) fn exact_buffer(&self, size: usize) -> Buffer {
        self.pooled((size as u64).next_multiple_of(4), STORAGE)
    }

    fn pooled(&self, size: u64, usage: wgpu::BufferUsages) -> Buffer {
        let device = &self.opened.device;
        Buffer::take(&self.pool, size, usage, |size| {
            let mut recorder = lock(&self.recorder);
            recorder.scoped(device, format!("allocate {size} bytes"), |_| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: None,
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            })
        })
    }

    /// Writes to a buffer before whatever is recorded next. What was recorded so far is submitted first: a write takes effect
    /// at the start of a submit, and the pool may have handed out a buffer that recorded work still reads.
    pub(super) fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        lock(&self.recorder).submit(&self.opened.device, &self.opened.queue);
        if let Some(raw) = buffer.raw() {
            self.opened.queue.write_buffer(raw, offset, bytes);
        }
    }

    /// Counts bytes of large uploads and, every few of them, lets the driver free the copies that it kept.
    pub(super) fn settle(&self, bytes: u64) -> Result<()> {
        const MOST: u64 = 8 << 20;
        let unsettled = {
            let mut recorder = lock(&self.recorder);
            recorder.unsettled += bytes;
            recorder.unsettled
        };
        if unsettled < MOST {
            return Ok(());
        }
        lock(&self.recorder).unsettled = 0;
        self.opened.queue.submit([]);
        self.wait("upload")
    }

    /// Natively: until everything submitted is done. In a browser the event loop does that.
    fn wait(&self, operation: &str) -> Result<()> {
        match self.opened.device.poll(wgpu::PollType::wait_indefinitely()) {
            Ok(_) => Ok(()),
            Err(e) => {
                self.check_alive()?;
                Err(self.error(operation, e))
            }
        }
    }

    /// Reads the first `size` bytes of a buffer back, and the verdict of everything that was done before.
    pub(super) async fn read(&self, buffer: &Buffer, size: usize) -> Result<Vec<u8>> {
        self.check_alive()?;
        let bytes = size as u64;
        let staging = self.pooled(size_class(bytes), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let (Some(from), Some(to)) = (buffer.raw(), staging.raw()) else {
            return Err(self.error("download", "the buffer is gone"));
        };
        let verdicts = {
            let mut recorder = lock(&self.recorder);
            drop(recorder.pass.take());
            let device = &self.opened.device;
            let encoder = recorder
                .encoder
                .get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
            encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
            recorder.submit(device, &self.opened.queue);
            std::mem::take(&mut recorder.verdicts)
        };
        let (done, mapped) = futures_channel::oneshot::channel();
        to.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            // The receiver is gone only when the caller gave up on the download.
            let _ = done.send(result);
        });
        self.wait("download")?;
        let mapped = mapped.await;
        for (operation, verdict) in verdicts {
            if let Some(error) = verdict.await {
                self.check_alive()?;
                return Err(self.error(operation, error));
            }
        }
        self.check_alive()?;
        if let Some(error) = lock(&self.opened.uncaptured).take() {
            return Err(self.error("run", error));
        }
        match mapped {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(self.error("download", e)),
            Err(e) => return Err(self.error("download", e)),
        }
        let view = to.get_mapped_range(0..bytes).map_err(|e| self.error("download", e))?;
        let copy = view.to_vec();
        drop(view);
        to.unmap();
        Ok(copy)
    }
}

/// Bytes of a kernel's `Params`: members are 4 bytes each, and a uniform struct is bound in multiples of 16.
fn params_size(kernel: &Kernel) -> u64 {
    (kernel.params.len() as u64 * 4).next_multiple_of(16)
}

fn layouts(device: &wgpu::Device, kernel: &Kernel) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entry = |binding, ty, has_dynamic_offset, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size: size,
        },
        count: None,
    };
    let mut entries = vec![entry(
        0,
        wgpu::BufferBindingType::Uniform,
        true,
        std::num::NonZeroU64::new(params_size(kernel)),
    )];
    for (binding, (_, access)) in (1..).zip(kernel.buffers) {
        let read_only = *access == Access::Read;
        entries.push(entry(binding, wgpu::BufferBindingType::Storage { read_only }, false, None));
    }
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name),
        entries: &entries,
    });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.name),
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    });
    (group, pipeline)
}
