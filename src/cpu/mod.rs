//! The operations on the CPU: all cores natively, vectors everywhere (AVX-512, AVX2, Neon, wasm's simd128), memory used again.

mod attention;
mod backend;
mod buffers;
mod linear;
pub(crate) mod nearest;
mod rows;
mod simd;
mod tile;
mod weight;

use crate::backend::PackedRows;
use buffers::Pool;
use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use std::sync::Arc;

pub use buffers::Tensor;
pub use weight::Weight;

/// The CPU of this machine.
#[derive(Debug, Default)]
pub struct Cpu {
    pool: Arc<Pool>,
}

/// A batch in memory, checked.
#[derive(Debug)]
pub struct Batch {
    rows: PackedRows,
    max_gene_id: u32,
    max_position: u32,
}

impl Cpu {
    /// All threads of the global rayon pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Threads and vectors in use, for people.
    ///
    /// ```
    /// let text = scdiva::cpu::Cpu::new().describe();
    /// assert!(text.contains("thread") && text.contains("f32"), "{text}");
    /// ```
    #[must_use]
    pub fn describe(&self) -> String {
        let n = crate::parallel::current_num_threads();
        format!("{n} thread{}, {}", if n == 1 { "" } else { "s" }, Self::vectors())
    }

    /// Vectors in use: what numbers depend on. They are the same on any number of threads.
    #[must_use]
    pub fn vectors() -> String {
        struct Vectors;
        impl SimdOp for Vectors {
            type Output = String;
            fn eval<I: Isa>(self, isa: I) -> String {
                // The type of the instruction set is the only thing that knows its name.
                let path = std::any::type_name::<I>();
                let name = path.rsplit("::").next().unwrap_or(path).trim_end_matches("Isa");
                format!("{name}, {} f32 at once", isa.f32().len())
            }
        }
        Vectors.dispatch()
    }
}
