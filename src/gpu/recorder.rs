//! Records dispatches, submits them, and waits.

use super::Gpu;
use super::kernel::{Access, Kernel};
use super::pool::{Buffer, lock, size_class};
#[cfg(not(target_arch = "wasm32"))]
use super::timer::Timer;
use crate::error::{Error, Result};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

/// WebGPU guarantees that uniform offsets may be multiples of this.
const SLOT: u64 = 256;
/// What every buffer but staging is used for.
const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::COPY_SRC);
/// Work of a submit at the least, where there is so much: a tenth of a second of an adapter that computes on the CPU.
const LEAST_FLOPS: u64 = 500_000_000;
/// And at the most, however quick an adapter is said to be.
const MOST_FLOPS: u64 = 10_000_000_000_000;
/// Dispatches between two submits at the most.
const N_SLOTS: u64 = 1024;
/// More bind groups than this would mean that sizes never repeat; then keeping them is no use.
const MOST_BIND_GROUPS: usize = 8192;

/// What a device was asked to do since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels launched.
    pub n_dispatches: u64,
    /// Submits of recorded work.
    pub n_submits: u64,
    /// Bytes written to the device: weights, batches.
    pub bytes_up: u64,
    /// Bytes read back.
    pub bytes_down: u64,
}

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
    /// By what that is divided: [`super::GpuOptions::caution`].
    caution: u64,
    layouts: HashMap<&'static str, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    pipelines: HashMap<(&'static str, Vec<u64>), wgpu::ComputePipeline>,
    bind_groups: HashMap<(&'static str, Vec<u64>), wgpu::BindGroup>,
    /// Error scopes that were closed and not yet asked.
    verdicts: Vec<(String, Verdict)>,
    pub(super) counters: Counters,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) timer: Option<Timer>,
}

impl Recorder {
    pub(super) fn new(device: &wgpu::Device, software: bool, caution: u32) -> Self {
        let mut recorder = Self {
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
            most_flops: LEAST_FLOPS,
            caution: u64::from(caution.max(1)),
            layouts: HashMap::new(),
            pipelines: HashMap::new(),
            bind_groups: HashMap::new(),
            verdicts: Vec::new(),
            counters: Counters::default(),
            #[cfg(not(target_arch = "wasm32"))]
            timer: None,
        };
        recorder.set_most_flops(if software { LEAST_FLOPS } else { 50_000_000_000 });
        recorder
    }

    /// Submits work of about a tenth of a second, on a device that was measured to do so much in one.
    pub(super) fn expect_speed(&mut self, flops: u64) {
        self.set_most_flops(flops / 10);
    }

    /// Whether what is recorded has to be submitted before so much more is.
    const fn is_enough_with(&self, flops: u64) -> bool {
        self.flops > 0 && self.flops.saturating_add(flops) > self.most_flops
    }

    fn set_most_flops(&mut self, flops: u64) {
        // What a measurement says may be wrong, where a clock is or a file.
        self.most_flops = (flops / self.caution).clamp(LEAST_FLOPS, MOST_FLOPS);
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

    /// Drops what is recorded, and what keeps buffers alive.
    fn forget(&mut self) {
        drop(self.pass.take());
        self.encoder = None;
        self.params_bytes.clear();
        self.flops = 0;
        self.bind_groups.clear();
    }

    /// Submits what is recorded; tells until when that would have to be waited for.
    pub(super) fn submit(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> Option<wgpu::SubmissionIndex> {
        drop(self.pass.take());
        #[cfg_attr(target_arch = "wasm32", expect(unused_mut, reason = "only a timer writes more"))]
        let mut encoder = self.encoder.take()?;
        queue.write_buffer(&self.params, 0, &self.params_bytes);
        self.params_bytes.clear();
        self.flops = 0;
        self.counters.n_submits += 1;
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(timer) = &mut self.timer {
            timer.resolve(&mut encoder);
        }
        let index = self.scoped(device, "submit", |_| queue.submit([encoder.finish()]));
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(timer) = &mut self.timer {
            timer.collect(device, &index);
        }
        Some(index)
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
        if recorder.params_bytes.len() as u64 == SLOT * N_SLOTS || recorder.is_enough_with(flops) {
            recorder.submit(device, &self.opened.queue);
        }
        self.prepare(recorder, kernel, constants, buffers)?;
        let Recorder {
            encoder,
            pass,
            pipelines,
            bind_groups,
            params_bytes,
            #[cfg(not(target_arch = "wasm32"))]
            timer,
            ..
        } = recorder;
        let pipeline_key = (kernel.name, constants.iter().map(|c| c.to_bits()).collect());
        let group_key = (kernel.name, buffers.iter().map(|b| b.id()).collect());
        let (Some(pipeline), Some(bind_group)) = (pipelines.get(&pipeline_key), bind_groups.get(&group_key)) else {
            return Err(self.error(kernel.name, "the pipeline is gone"));
        };
        let encoder = encoder.get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
        #[cfg(not(target_arch = "wasm32"))]
        let descriptor = match timer {
            Some(timer) => {
                // A pass each: timestamps stand at the ends of passes.
                drop(pass.take());
                timer.next_pass(kernel.name, flops)
            }
            None => wgpu::ComputePassDescriptor::default(),
        };
        #[cfg(target_arch = "wasm32")]
        let descriptor = wgpu::ComputePassDescriptor::default();
        let pass = pass.get_or_insert_with(|| encoder.begin_compute_pass(&descriptor).forget_lifetime());
        let offset = params_bytes.len();
        params_bytes.extend_from_slice(bytemuck::bytes_of(params));
        // The ring holds N_SLOTS · SLOT bytes, far below 2^32.
        params_bytes.resize(offset + usize::try_from(SLOT).unwrap_or(256), 0);
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bind_group, &[super::kernel::count(offset)]);
        pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
        recorder.flops += flops;
        recorder.counters.n_dispatches += 1;
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
                let module = module(device, kernel, self.source_of(kernel));
                let constants: Vec<(&str, f64)> = kernel.overrides.iter().copied().zip(constants.iter().copied()).collect();
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(kernel.name),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some(kernel.entry_point()),
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
            let group = recorder.scoped(device, kernel.name, |recorder| {
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
                device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(kernel.name),
                    layout: &group_layout,
                    entries: &entries,
                })
            });
            recorder.bind_groups.insert(group_key, group);
        }
        Ok(())
    }

    fn source_of(&self, kernel: &Kernel) -> String {
        #[cfg(not(target_arch = "wasm32"))]
        if self.opened.imitates_matrix && kernel.needs.contains(&super::kernel::Feature::Matrix) {
            return super::imitate::matrix(&kernel.source());
        }
        kernel.source()
    }

    /// A buffer for storage, from the pool.
    pub(super) fn buffer(&self, size: usize) -> Buffer {
        let size = size as u64;
        self.pooled(self.class(size), STORAGE)
    }

    /// A size to ask for, no larger than what may be bound.
    fn class(&self, size: u64) -> u64 {
        let most = self.opened.info.max_buffer_size.min(self.opened.info.max_binding_size) / 4 * 4;
        size_class(size).min(most.max(size.next_multiple_of(4)))
    }

    /// A buffer for storage of just this size: weights stay, so rounding them up would only waste memory.
    pub(super) fn exact_buffer(&self, size: usize) -> Buffer {
        self.pooled((size as u64).next_multiple_of(4), STORAGE)
    }

    fn pooled(&self, size: u64, usage: wgpu::BufferUsages) -> Buffer {
        let device = &self.opened.device;
        Buffer::take(&self.pool, size, usage, |size, is_refused| {
            let mut recorder = lock(&self.recorder);
            let what = format!("allocate {size} bytes");
            if is_refused {
                let source = "more than the limit".into();
                let refusal = std::future::ready(Some(wgpu::Error::OutOfMemory { source }));
                recorder.verdicts.push((what.clone(), Box::pin(refusal)));
            }
            recorder.scoped(device, what, |_| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: None,
                    size,
                    // Without a usage it is as unreal as one for which there was no memory.
                    usage: if is_refused { wgpu::BufferUsages::empty() } else { usage },
                    mapped_at_creation: false,
                })
            })
        })
    }

    /// Writes to a buffer before whatever is recorded next. What was recorded so far is submitted first: a write takes effect
    /// at the start of a submit, and the pool may have handed out a buffer that recorded work still reads.
    pub(super) fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        let mut recorder = lock(&self.recorder);
        recorder.submit(&self.opened.device, &self.opened.queue);
        recorder.counters.bytes_up += bytes.len() as u64;
        if let Some(raw) = buffer.raw() {
            recorder.scoped(&self.opened.device, "upload", |_| {
                self.opened.queue.write_buffer(raw, offset, bytes);
            });
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
        let index = self.opened.queue.submit([]);
        self.wait("upload", Some(index))
    }

    /// Natively: until a submission is done. In a browser the event loop does that.
    fn wait(&self, operation: &str, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let timeout = None;
        match self.opened.device.poll(wgpu::PollType::Wait {
            submission_index,
            timeout,
        }) {
            Ok(_) => Ok(()),
            Err(e) => {
                self.check_alive()?;
                Err(self.error(operation, e))
            }
        }
    }

    /// Reads the first `size` bytes of a buffer back, and the verdict of everything that was done before. When this is first polled all is
    /// submitted; the wait begins at the second time, so that a caller may submit more work in between.
    pub(super) async fn read(&self, buffer: &Buffer, size: usize) -> Result<Vec<u8>> {
        self.check_alive()?;
        let bytes = size as u64;
        let staging = self.pooled(self.class(bytes), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let (Some(from), Some(to)) = (buffer.raw(), staging.raw()) else {
            return Err(self.error("download", "the buffer is gone"));
        };
        let (done, mapped) = futures_channel::oneshot::channel();
        let (index, verdicts) = {
            let mut recorder = lock(&self.recorder);
            drop(recorder.pass.take());
            let device = &self.opened.device;
            let encoder = recorder
                .encoder
                .get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
            encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
            recorder.counters.bytes_down += bytes;
            let index = recorder.submit(device, &self.opened.queue);
            recorder.scoped(device, "download", |_| {
                to.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
                    // The receiver is gone only when the caller gave up on the download.
                    let _ = done.send(result);
                });
            });
            (index, Unjudged::of(self, &mut recorder))
        };
        // Also when the caller gives up: the pool may hand the buffer out again.
        let _unmap = Unmap(to, &self.opened.device);
        #[cfg(not(target_arch = "wasm32"))]
        others_first().await;
        let waited = self.wait("download", index);
        // First: a submit that was refused cannot be waited for, and here is why.
        self.judge(verdicts).await?;
        waited?;
        let problem = match mapped.await {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        if let Some(problem) = problem {
            // A device that is lost ends a mapping too, and a browser may say that first.
            self.check_alive()?;
            return Err(self.error("download", problem));
        }
        let view = to.get_mapped_range(0..bytes).map_err(|e| self.error("download", e))?;
        Ok(view.to_vec())
    }

    /// Says what went wrong with everything that was asked of the device so far and not yet told of.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::Device`], [`Error::DeviceLost`].
    pub async fn arrived(&self) -> Result<()> {
        self.check_alive()?;
        let verdicts = Unjudged::of(self, &mut lock(&self.recorder));
        self.judge(verdicts).await
    }

    /// What went wrong first; or that memory ran out, which makes other things go wrong.
    async fn judge(&self, mut unjudged: Unjudged<'_>) -> Result<()> {
        let (mut refused, mut first) = (None, None);
        while let Some((operation, verdict)) = unjudged.verdicts.front_mut() {
            match verdict.await {
                None => {}
                Some(wgpu::Error::OutOfMemory { .. }) => refused = refused.or(Some(std::mem::take(operation))),
                Some(error) => first = first.or(Some((std::mem::take(operation), error))),
            }
            unjudged.verdicts.pop_front();
        }
        self.check_alive()?;
        let uncaptured = lock(&self.opened.uncaptured).take();
        if let Some(operation) = refused {
            lock(&self.recorder).forget();
            lock(&self.pool).start_afresh();
            let problem = format_args!("{operation}: it has no more memory");
            return Err(Error::memory(&self.opened.info.adapter, problem));
        }
        if let Some((operation, error)) = first {
            return Err(self.error(operation, error));
        }
        match uncaptured {
            Some(error) => Err(self.error("run", error)),
            None => Ok(()),
        }
    }

    /// Work of about a tenth of a second.
    pub(super) fn most_flops(&self) -> u64 {
        lock(&self.recorder).most_flops
    }

    /// How much was launched and moved since the device was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        lock(&self.recorder).counters
    }
}

/// Verdicts that somebody waits for. Those that were not heard when that ends go back, for whoever asks next, unless memory was found to have
/// run out meanwhile: nothing of that time is in use any more.
struct Unjudged<'a> {
    verdicts: VecDeque<(String, Verdict)>,
    gpu: &'a Gpu,
    generation: u32,
}

impl<'a> Unjudged<'a> {
    fn of(gpu: &'a Gpu, recorder: &mut Recorder) -> Self {
        Self {
            verdicts: std::mem::take(&mut recorder.verdicts).into(),
            gpu,
            generation: lock(&gpu.pool).generation(),
        }
    }
}

impl Drop for Unjudged<'_> {
    fn drop(&mut self) {
        if !self.verdicts.is_empty() && lock(&self.gpu.pool).generation() == self.generation {
            let mut recorder = lock(&self.gpu.recorder);
            let later = std::mem::take(&mut recorder.verdicts);
            recorder.verdicts = self.verdicts.drain(..).chain(later).collect();
        }
    }
}

/// Ends a mapping when it goes.
struct Unmap<'a>(&'a wgpu::Buffer, &'a wgpu::Device);

impl Drop for Unmap<'_> {
    fn drop(&mut self) {
        // A buffer for which there was no memory cannot be unmapped, and that was told before.
        let scope = self.1.push_error_scope(wgpu::ErrorFilter::Validation);
        self.0.unmap();
        drop(scope.pop());
    }
}

/// Waits once, so that whoever polls several futures comes to the next.
#[cfg(not(target_arch = "wasm32"))]
async fn others_first() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Bytes of a kernel's `Params`: members are 4 bytes each, and a uniform struct is bound in multiples of 16.
fn params_size(kernel: &Kernel) -> u64 {
    (kernel.params.len() as u64 * 4).next_multiple_of(16)
}

/// A kernel's shader, with wgpu's checks of every index but without its counters in every loop, which keep compilers from unrolling: BENCHMARKS.md
/// says what that costs. In browsers neither is wgpu's.
fn module(device: &wgpu::Device, kernel: &Kernel, source: String) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(kernel.name),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    };
    let mut checks = wgpu::ShaderRuntimeChecks::checked();
    checks.force_loop_bounding = false;
    #[expect(unsafe_code, reason = "there is no safe way to leave one of the checks out")]
    // SAFETY: every loop of the shaders counts up or down, or halves, until a bound that it does not change; sizes and counts end at 2^31 (`count`),
    // so that no step goes past the largest u32.
    unsafe {
        device.create_shader_module_trusted(descriptor, checks)
    }
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

#[cfg(test)]
mod tests {
    use super::{LEAST_FLOPS, MOST_FLOPS, Recorder};
    use crate::gpu::{Gpu, GpuOptions};

    #[test]
    fn a_submit_has_work_of_a_tenth_of_a_second_within_bounds() {
        let gpu = pollster::block_on(Gpu::open(GpuOptions::default())).expect("an adapter");
        let mut recorder = Recorder::new(&gpu.opened.device, false, 4);
        assert_eq!(recorder.most_flops, 12_500_000_000);
        for (speed, most) in [(1_000_000_000_000, 25_000_000_000), (1, LEAST_FLOPS), (u64::MAX, MOST_FLOPS)] {
            recorder.expect_speed(speed);
            assert_eq!(recorder.most_flops, most);
        }
        // What would be too much together goes one after the other; what is by itself goes all the same.
        recorder.flops = MOST_FLOPS / 2;
        assert!(recorder.is_enough_with(MOST_FLOPS / 2 + 1) && !recorder.is_enough_with(MOST_FLOPS / 2));
        recorder.flops = 0;
        assert!(!recorder.is_enough_with(2 * MOST_FLOPS));
    }
}
