//! The stored answer of the self-test is that of the reference, and every kernel of a GPU gives it.

mod reference;
mod support {
    pub(crate) mod skip;
}

use reference::Mat;
use reference::model::{Cell, Model, Sizes};
use scdiva::gpu::{Gpu, GpuOptions, LinearKernel, Precision};
use scdiva::model::self_test::{self, ANSWER, Tokens, files};
use scdiva::model::{Checkpoint, tensor_shapes};

#[test]
fn the_stored_answer_is_that_of_the_reference() {
    let checkpoint = Checkpoint::open(&files().unwrap()).unwrap();
    let config = &checkpoint.config;
    let mut model = Model::new(
        Sizes {
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            num_layers: config.num_layers,
            num_heads: config.num_heads,
            intermediate_size: config.intermediate_size,
            max_genes: config.max_genes,
            rope_theta: config.rope_theta,
        },
        0,
    );
    for (name, shape) in tensor_shapes(config) {
        let mut numbers = vec![0.0; shape.iter().product()];
        checkpoint.tensors.read_f32(&name, 0..numbers.len(), &mut numbers).unwrap();
        let (n_rows, n_cols) = if shape.len() == 2 {
            (shape[0], shape[1])
        } else {
            (1, shape[0])
        };
        model.given.insert(name, Mat::from_f32(n_rows, n_cols, &numbers));
    }
    let answers: Vec<_> = Tokens::new()
        .cells()
        .map(|cell| {
            let n_genes = cell.gene_ids.len();
            model.forward(&Cell {
                gene_ids: cell.gene_ids.to_vec(),
                values: cell.values.to_vec(),
                attended: cell.attended.map_or(vec![true; n_genes], <[bool]>::to_vec),
                masked: cell.masked.map_or(vec![false; n_genes], <[bool]>::to_vec),
            })
        })
        .into();
    let latent = answers.iter().flat_map(|answer| answer.latent.data.clone());
    let values = answers.iter().flat_map(|answer| answer.values.clone());
    let answer: Vec<f64> = latent.chain(values).collect();
    let printed: Vec<String> = answer.iter().map(|x| format!("{x:.6}")).collect();
    assert_eq!(answer.len(), ANSWER.len());
    for (i, (got, stored)) in answer.iter().zip(ANSWER).enumerate() {
        assert!(
            (got - f64::from(stored)).abs() < 6e-6,
            "{i}: stored {stored}, the reference gives {got}; all of it:\n{}",
            printed.join(", ")
        );
    }
}

/// What a device is trusted by, with each kernel of `linear` that it may choose. (Heads of 10 are plain `attention`'s; `gpu_ops` has the others.)
#[test]
fn a_gpu_proves_itself_with_every_kernel() {
    use LinearKernel::{F16, Matrix, MatrixSmall, Tile32, Tile64, Tile128};
    let f32s = [Tile32, Tile64, Tile128].map(|linear| (linear, Precision::F32, false));
    let f16s = [Tile32, Tile64, Tile128, F16, Matrix, MatrixSmall].map(|linear| (linear, Precision::F16, false));
    let imitated = [Matrix, MatrixSmall].map(|linear| (linear, Precision::F16, true));
    for (linear, precision, imitate_matrix) in f32s.into_iter().chain(f16s).chain(imitated) {
        let gpu = pollster::block_on(Gpu::open(GpuOptions {
            linear: Some(linear),
            precision,
            imitate_matrix,
            ..GpuOptions::default()
        }))
        .unwrap();
        let is_matrix = matches!(linear, Matrix | MatrixSmall);
        if gpu.linear_kernels() != [linear; 3] {
            // What the adapter cannot run gives way to what it can.
            assert!(is_matrix && gpu.info().matrix_side == 0 || linear == F16 && !gpu.info().f16_arithmetic);
            support::skip::not_tested(format_args!("{linear:?}, which {} cannot run", gpu.info().adapter));
        }
        pollster::block_on(self_test::prove(gpu)).unwrap();
    }
}
