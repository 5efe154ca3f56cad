//! The host side of each kernel: its description and its launch.

pub(super) mod add_gene_embedding;
pub(super) mod attention;
pub(super) mod attention_weights;
pub(super) mod cell_mean;
pub(super) mod encode_values;
pub(super) mod latent_rows;
pub(super) mod layer_norm_relu;
pub(super) mod linear;
pub(super) mod mask_rows;
pub(super) mod nearest;
pub(super) mod rms_norm;
pub(super) mod rows;
pub(super) mod set_latent_rows;

use super::kernel::{Kernel, wgsl};

/// What the kernels without workgroup memory are made of.
const PRODUCTS: &str = wgsl!("parts/products.wgsl");
/// What stands for matrix units where they are imitated.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const MATRIX_IMITATED: &str = wgsl!("parts/matrix_imitated.wgsl");

/// Every kernel, for tests and tools.
#[must_use]
pub fn kernels() -> Vec<&'static Kernel> {
    let linear = linear::VARIANTS.iter().map(|variant| &variant.kernel);
    ONE_OF_A_KIND.iter().copied().chain(linear).collect()
}

const ONE_OF_A_KIND: &[&Kernel] = &[
    &add_gene_embedding::KERNEL,
    &attention::KERNEL,
    &attention::REGISTERS,
    #[cfg(not(target_arch = "wasm32"))]
    &attention::BROADCAST,
    &attention::TILE_64,
    #[cfg(not(target_arch = "wasm32"))]
    &attention::MATRIX_16,
    #[cfg(not(target_arch = "wasm32"))]
    &attention::MATRIX_8,
    &attention_weights::KERNEL,
    &cell_mean::KERNEL,
    &encode_values::KERNEL,
    &latent_rows::KERNEL,
    &layer_norm_relu::KERNEL,
    &mask_rows::KERNEL,
    &nearest::KERNEL,
    &rms_norm::KERNEL,
    &rows::KERNEL,
    &set_latent_rows::KERNEL,
];
