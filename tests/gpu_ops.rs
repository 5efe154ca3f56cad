//! Every operation in WGSL against the reference, on whatever adapter there is. No adapter is a failure, not a skip.
#![expect(clippy::expect_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod ops;
}

use scdiva::gpu::{AttentionKernel, Gpu, GpuOptions, LinearKernel};

fn open(options: GpuOptions) -> Gpu {
    pollster::block_on(Gpu::open(options)).expect("an adapter, a software one will do (mesa-vulkan-drivers)")
}

#[test]
fn gpu_operations_agree_with_the_reference() {
    support::ops::check_all(&open(GpuOptions::default()));
}

/// Every kernel of `linear` that the adapter can run, whichever it would choose.
#[test]
fn every_kernel_of_linear_agrees_with_the_reference() {
    for linear in [LinearKernel::Tile64, LinearKernel::Registers, LinearKernel::Broadcast] {
        let gpu = open(GpuOptions {
            linear: Some(linear),
            ..GpuOptions::default()
        });
        if linear == LinearKernel::Broadcast && gpu.info().subgroup_size < 8 {
            continue;
        }
        support::ops::linear(&gpu);
        support::ops::linear_epilogues(&gpu);
    }
}

#[test]
fn every_kernel_of_attention_agrees_with_the_reference() {
    for attention in [AttentionKernel::Tile32, AttentionKernel::Registers] {
        support::ops::attention(&open(GpuOptions {
            attention: Some(attention),
            ..GpuOptions::default()
        }));
    }
}
