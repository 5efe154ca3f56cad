//! Every operation in WGSL against the reference, on whatever adapter there is. No adapter is a failure, not a skip.
#![expect(clippy::expect_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod ops;
}

use scdiva::gpu::{AttentionKernel, Gpu, GpuOptions, LinearKernel, Precision};

fn open(options: GpuOptions) -> Gpu {
    pollster::block_on(Gpu::open(options)).expect("an adapter, a software one will do (mesa-vulkan-drivers)")
}

#[test]
fn gpu_operations_agree_with_the_reference() {
    support::ops::check_all(&open(GpuOptions::default()));
}

#[test]
fn what_takes_several_dispatches_agrees_with_the_reference() {
    let gpu = open(GpuOptions::default());
    let n = support::ops::large_linear(&gpu, || gpu.counters().n_dispatches);
    assert_eq!(n > 1, gpu.info().software, "{n} dispatches on {}", gpu.info().adapter);
    // Whichever kernel it is.
    for attention in [None, Some(AttentionKernel::Tile32)] {
        let gpu = open(GpuOptions {
            attention,
            ..GpuOptions::default()
        });
        let n = support::ops::large_attention(&gpu, || gpu.counters().n_dispatches);
        assert_eq!(n > 1, gpu.info().software, "{n} dispatches on {}", gpu.info().adapter);
    }
}

/// Every kernel of `linear` that the adapter can run, whichever it would choose, with weights as f32 and as f16.
#[test]
fn every_kernel_of_linear_agrees_with_the_reference() {
    use LinearKernel::{Any, Broadcast, F16, Matrix, Registers, Tile64, Tile128};
    for precision in [Precision::F32, Precision::F16] {
        for linear in [Any, Tile64, Tile128, Registers, Broadcast, F16, Matrix] {
            let gpu = open(GpuOptions {
                linear: Some(linear),
                precision,
                ..GpuOptions::default()
            });
            let cannot = match linear {
                Broadcast => gpu.info().subgroup_size < 8,
                F16 => !gpu.info().f16_arithmetic,
                Matrix => gpu.info().matrix_side == 0,
                // Takes no weights that are f16.
                Any => precision == Precision::F16,
                _ => false,
            };
            if cannot {
                // CI runs this on lavapipe, which can do all but the last (that too from Mesa 26 on): what makes sense is not passed over there.
                let makes_sense = !matches!((linear, precision), (Any, Precision::F16) | (F16 | Matrix, Precision::F32));
                let can_all = gpu.info().adapter.contains("llvmpipe") && linear != Matrix;
                assert!(!(can_all && makes_sense), "{linear:?} was not run with {precision:?}");
                if makes_sense {
                    println!(
                        "NOT TESTED: {linear:?} with {precision:?}, which {} cannot run",
                        gpu.info().adapter
                    );
                }
                continue;
            }
            assert_eq!(gpu.linear_kernels(), [linear; 2]);
            // Products in f16 keep 11 bits of each factor, and not by matrix units of each sum of up to 16.
            let tolerance = match linear {
                F16 => 2e-2,
                Matrix => 3e-3,
                _ => support::ops::TOLERANCE,
            };
            support::ops::linear_within(&gpu, tolerance);
            support::ops::linear_epilogues_within(&gpu, tolerance);
        }
    }
}

#[test]
fn every_kernel_of_attention_agrees_with_the_reference() {
    use AttentionKernel::{Broadcast, Registers, Tile32};
    for attention in [Tile32, Registers, Broadcast] {
        let gpu = open(GpuOptions {
            attention: Some(attention),
            ..GpuOptions::default()
        });
        if attention != Broadcast || gpu.info().subgroup_size >= 8 {
            assert_eq!(gpu.attention_kernel(), attention);
            support::ops::attention(&gpu);
        } else {
            assert!(!gpu.info().adapter.contains("llvmpipe"), "{attention:?} was not run");
        }
    }
}
