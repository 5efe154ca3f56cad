//! The operations on the CPU.
pub use crate::gpu::Gpu as Cpu;

impl Cpu {
    /// Stands in until the CPU has operations of its own.
    #[cfg(not(target_arch = "wasm32"))]
    #[expect(clippy::unwrap_used, reason = "stands in for a day")]
    pub fn new() -> Self {
        pollster::block_on(Self::open(crate::gpu::GpuOptions::default())).unwrap()
    }
}
