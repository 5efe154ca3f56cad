//! Which kernel computes an operation, by adapter and shape.

use super::device::GpuInfo;

/// The kernels of `linear` and `linear_add`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinearKernel {
    /// `shaders/linear.wgsl`: tiles of 64 × 64 in workgroup memory; takes every shape.
    Tile64,
    /// `shaders/linear_registers.wgsl`: without workgroup memory and barriers.
    Registers,
    /// `shaders/linear_broadcast.wgsl`: the same, a subgroup shares what its threads load; needs subgroups of at least 8 threads.
    #[cfg(not(target_arch = "wasm32"))]
    Broadcast,
}

/// The kernels of `attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionKernel {
    /// `shaders/attention.wgsl`: tiles in workgroup memory; takes every shape.
    Tile32,
    /// `shaders/attention_registers.wgsl`: without workgroup memory and barriers.
    Registers,
}

/// What an open device uses, where the shape allows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) linear: LinearKernel,
    pub(super) attention: AttentionKernel,
}

impl Choice {
    /// What is known to be best without a measurement. A software adapter keeps workgroup memory in ordinary memory, and a barrier cuts a
    /// shader into coroutines there.
    pub(super) fn default_of(info: &GpuInfo) -> Self {
        if !info.software {
            return Self {
                linear: LinearKernel::Tile64,
                attention: AttentionKernel::Tile32,
            };
        }
        #[cfg(not(target_arch = "wasm32"))]
        if info.subgroup_size >= 8 {
            return Self {
                linear: LinearKernel::Broadcast,
                attention: AttentionKernel::Registers,
            };
        }
        Self {
            linear: LinearKernel::Registers,
            attention: AttentionKernel::Registers,
        }
    }
}
