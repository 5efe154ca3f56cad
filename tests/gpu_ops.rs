//! Every operation in WGSL against the reference, on whatever adapter there is. No adapter is a failure, not a skip.
#![expect(clippy::expect_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod ops;
    pub(crate) mod skip;
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
    use LinearKernel::{Any, Broadcast, F16, Matrix, MatrixSmall, Registers, Tile32, Tile64, Tile128};
    for precision in [Precision::F32, Precision::F16] {
        for linear in [Any, Tile32, Tile64, Tile128, Registers, Broadcast, F16, Matrix, MatrixSmall] {
            let gpu = open(GpuOptions {
                linear: Some(linear),
                precision,
                ..GpuOptions::default()
            });
            let cannot = match linear {
                Broadcast => gpu.info().subgroup_size < 8,
                F16 => !gpu.info().f16_arithmetic,
                Matrix | MatrixSmall => gpu.info().matrix_side == 0,
                // Takes no weights that are f16.
                Any => precision == Precision::F16,
                _ => false,
            };
            if cannot {
                // CI runs this on lavapipe, which can do all but the last two (those too from Mesa 26 on): what makes sense is not passed over there.
                let makes_sense = !matches!(
                    (linear, precision),
                    (Any, Precision::F16) | (F16 | Matrix | MatrixSmall, Precision::F32)
                );
                let can_all = gpu.info().adapter.contains("llvmpipe") && !matches!(linear, Matrix | MatrixSmall);
                assert!(!(can_all && makes_sense), "{linear:?} was not run with {precision:?}");
                if makes_sense {
                    support::skip::not_tested(format_args!(
                        "{linear:?} with {precision:?}, which {} cannot run",
                        gpu.info().adapter
                    ));
                }
                continue;
            }
            linear_agrees(&gpu, linear);
        }
    }
}

/// That this kernel is the one in use, that it is run, and right.
fn linear_agrees(gpu: &Gpu, linear: LinearKernel) {
    use LinearKernel::{Any, Broadcast, F16, Matrix, MatrixSmall, Registers, Tile32, Tile64, Tile128};
    assert_eq!(gpu.linear_kernels(), [linear; 3]);
    // Products in f16 keep 11 bits of each factor, and not by matrix units of each sum of up to 16.
    let tolerance = match linear {
        F16 => 2e-2,
        Matrix | MatrixSmall => 3e-3,
        _ => support::ops::TOLERANCE,
    };
    let name = match linear {
        Any => "linear",
        Tile32 => "linear_32",
        Tile64 => "linear_64",
        Tile128 => "linear_128",
        Registers => "linear_registers",
        Broadcast => "linear_broadcast",
        F16 => "linear_f16",
        Matrix | MatrixSmall => "linear_matrix",
    };
    let timed = gpu.start_timer();
    support::ops::linear_within(gpu, tolerance);
    support::ops::linear_epilogues_within(gpu, tolerance);
    let ran = gpu.stop_timer();
    let is_small = linear == MatrixSmall;
    let has_run = (ran.keys()).any(|kernel| kernel.split('.').next() == Some(name) && kernel.ends_with("_small") == is_small);
    assert!(has_run || !timed, "{linear:?}: {:?}", ran.keys());
    support::ops::no_number_stays_none(gpu);
    if matches!(linear, F16 | Matrix | MatrixSmall) {
        support::ops::overflow_is_no_number(gpu);
    }
}

#[test]
fn every_kernel_of_attention_agrees_with_the_reference() {
    use AttentionKernel::{Broadcast, Matrix, Registers, Tile32, Tile64};
    for attention in [Tile32, Tile64, Registers, Broadcast, Matrix] {
        let gpu = open(GpuOptions {
            attention: Some(attention),
            precision: if attention == Matrix { Precision::F16 } else { Precision::F32 },
            ..GpuOptions::default()
        });
        let cannot = match attention {
            Broadcast => gpu.info().subgroup_size < 8,
            Tile64 => gpu.info().workgroup_memory < 32 << 10,
            Matrix => gpu.info().matrix_side == 0,
            _ => false,
        };
        if cannot {
            // As with linear.
            let can_all = gpu.info().adapter.contains("llvmpipe") && attention != Matrix;
            assert!(!can_all, "{attention:?} was not run");
            support::skip::not_tested(format_args!("{attention:?}, which {} cannot run", gpu.info().adapter));
            continue;
        }
        attention_agrees(&gpu, attention);
    }
}

/// That this kernel is the one in use, that it is run, and right.
fn attention_agrees(gpu: &Gpu, attention: AttentionKernel) {
    use AttentionKernel::{Broadcast, Matrix, Registers, Tile32, Tile64};
    assert_eq!(gpu.attention_kernel(), attention);
    let (name, tolerance) = match attention {
        Tile32 => ("attention", support::ops::TOLERANCE),
        Tile64 => ("attention_64", support::ops::TOLERANCE),
        Registers => ("attention_registers", support::ops::TOLERANCE),
        Broadcast => ("attention_broadcast", support::ops::TOLERANCE),
        // q, k, v and the weights are f16.
        Matrix => ("attention_matrix", 1e-2),
    };
    let timed = gpu.start_timer();
    support::ops::attention_within(gpu, tolerance);
    let ran = gpu.stop_timer();
    let has_run = ran.keys().any(|kernel| kernel.split('.').next() == Some(name));
    assert!(has_run || !timed, "{attention:?}: {:?}", ran.keys());
}

/// The kernels for matrix units of 16 × 16 squares, where there are none.
#[test]
fn kernels_for_imitated_matrix_units_agree_with_the_reference() {
    let opened = |linear, attention| {
        open(GpuOptions {
            precision: Precision::F16,
            imitate_matrix: true,
            linear,
            attention,
            ..GpuOptions::default()
        })
    };
    for linear in [LinearKernel::MatrixSmall, LinearKernel::Matrix] {
        let gpu = opened(Some(linear), None);
        if gpu.info().matrix_side == 0 {
            assert!(!gpu.info().adapter.contains("llvmpipe"), "{:?}", gpu.info());
            support::skip::not_tested(format_args!("{linear:?}, imitated on {} without f16", gpu.info().adapter));
            return;
        }
        linear_agrees(&gpu, linear);
    }
    attention_agrees(&opened(None, Some(AttentionKernel::Matrix)), AttentionKernel::Matrix);
}
