//! Every operation in WGSL against the reference, on whatever adapter there is. No adapter is a failure, not a skip.
#![expect(clippy::expect_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod ops;
}

use scdiva::gpu::{Gpu, GpuOptions};

fn open(options: GpuOptions) -> Gpu {
    pollster::block_on(Gpu::open(options)).expect("an adapter, a software one will do (mesa-vulkan-drivers)")
}

#[test]
fn gpu_operations_agree_with_the_reference() {
    support::ops::check_all(&open(GpuOptions::default()));
}
