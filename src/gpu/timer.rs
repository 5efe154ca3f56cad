//! The time of every dispatch by itself, from the GPU's own clock: for benchmarks. Each gets a pass of its own, and every submit is waited for, so
//! that the whole is slower than without.

use super::Gpu;
use super::pool::lock;
use std::collections::BTreeMap;

/// Timestamps of one query set, two a dispatch: half of what WebGPU guarantees.
const N_QUERIES: u32 = 2 * MOST;
/// Dispatches between two submits.
const MOST: u32 = 1024;

/// What the dispatches of one kernel took together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KernelTime {
    /// Dispatches.
    pub n: usize,
    /// On the GPU's clock.
    pub seconds: f64,
    /// Floating-point operations, as the host counts them; 0 for kernels that only move numbers.
    pub flops: u64,
}

pub(super) struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Seconds of one tick.
    period: f64,
    /// Of the passes since the last submit.
    passes: Vec<(&'static str, u64)>,
    times: BTreeMap<&'static str, KernelTime>,
}

impl Timer {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(N_QUERIES) * 8,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: N_QUERIES,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period: f64::from(queue.get_timestamp_period()) * 1e-9,
            passes: Vec::new(),
            times: BTreeMap::new(),
        }
    }

    /// The pass of the next dispatch.
    pub(super) fn next_pass(&mut self, kernel: &'static str, flops: u64) -> wgpu::ComputePassDescriptor<'_> {
        let n = self.n_queries();
        self.passes.push((kernel, flops));
        wgpu::ComputePassDescriptor {
            label: Some(kernel),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: Some(n),
                end_of_pass_write_index: Some(n + 1),
            }),
        }
    }

    fn n_queries(&self) -> u32 {
        2 * super::kernel::count(self.passes.len()).min(MOST - 1)
    }

    /// Has the timestamps copied to where they can be read, as the last thing of a submit.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let n = 2 * super::kernel::count(self.passes.len());
        if n > 0 {
            encoder.resolve_query_set(&self.queries, 0..n, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, u64::from(n) * 8);
        }
    }

    /// Waits for the submit and adds its times up. A device that fails says so at the next download.
    pub(super) fn collect(&mut self, device: &wgpu::Device, index: &wgpu::SubmissionIndex) {
        let passes = std::mem::take(&mut self.passes);
        let bytes = passes.len() as u64 * 16;
        if bytes == 0 {
            return;
        }
        self.staging.map_async(wgpu::MapMode::Read, 0..bytes, |_| {});
        let waited = device.poll(wgpu::PollType::Wait {
            submission_index: Some(index.clone()),
            timeout: None,
        });
        if waited.is_ok()
            && let Ok(view) = self.staging.get_mapped_range(0..bytes)
        {
            let ticks: Vec<u64> = view
                .chunks_exact(8)
                .map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
                .collect();
            for ((kernel, flops), ends) in passes.into_iter().zip(ticks.chunks_exact(2)) {
                let time = self.times.entry(kernel).or_default();
                time.n += 1;
                time.flops += flops;
                time.seconds += ends[1].saturating_sub(ends[0]) as f64 * self.period;
            }
        }
        self.staging.unmap();
    }
}

impl Gpu {
    /// From now on every dispatch is timed by itself. False, and nothing changes, where the adapter has no timestamps.
    pub fn start_timer(&self) -> bool {
        let device = &self.opened.device;
        let has = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if has {
            let mut recorder = lock(&self.recorder);
            recorder.submit(device, &self.opened.queue);
            recorder.timer = Some(Timer::new(device, &self.opened.queue));
        }
        has
    }

    /// Ends the timing; what each kernel took since it began, by name. Empty without a timer.
    pub fn stop_timer(&self) -> BTreeMap<&'static str, KernelTime> {
        let mut recorder = lock(&self.recorder);
        recorder.submit(&self.opened.device, &self.opened.queue);
        recorder.timer.take().map(|timer| timer.times).unwrap_or_default()
    }
}
