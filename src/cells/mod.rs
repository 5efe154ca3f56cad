//! From a count matrix to tokens: spec section 4.
//!
//! A reader gives a [`CellMatrix`]; [`Vocabulary`] says which genes a model knows; [`Tokenizer`] matches the one to the other,
//! normalises, ranks, and gives [`Tokens`]. Every decision on the way stands in the [`InputReport`].

mod genes;
mod matrix;
mod normalise;
mod serialize;
mod tokens;

pub use genes::{Gene, GeneMatch, MIN_SHARE, Vocabulary};
pub(crate) use matrix::check_rows;
pub use matrix::{CellColumn, CellEmbedding, CellMatrix, GeneColumn, SparseRows};
pub use normalise::{MAX_LOG_VALUE, Preprocess, ValueKind};
pub use serialize::{Serialization, Tokens};
pub(crate) use tokens::sample_kind;
pub use tokens::{InputReport, Tokenizer};
