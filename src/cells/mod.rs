//! From a count matrix to tokens: spec section 4.
//!
//! A reader gives a [`CellMatrix`]; [`Vocabulary`] says which genes a model knows; [`Tokenizer`] matches the one to the other,
//! normalises, ranks, and gives [`Tokens`]. Every decision on the way stands in the [`InputReport`]; [`inspect()`] says what can be said
//! about any matrix, also one that cannot be used.

mod droplets;
mod expression;
mod genes;
mod inspect;
mod matrix;
mod names;
mod normalise;
mod report;
mod samples;
mod serialize;
mod species;
mod tokens;
mod values;
mod vocabulary;

pub use droplets::{MIN_BARCODES, without_empty_droplets};
pub use expression::{CellQc, Expression};
pub use genes::{GeneMatch, GeneReport, MIN_SHARE, MatchOptions, NameColumn, NameKind, NameList};
pub use inspect::{CellColumnReport, Inspection, inspect};
pub(crate) use matrix::check_rows;
pub use matrix::{CellColumn, CellEmbedding, CellMatrix, Droplets, GeneColumn, SparseRows};
pub use normalise::{Conversion, Preprocess};
pub use report::{DropletReport, InputReport};
pub use samples::Samples;
pub use serialize::{Serialization, Tokens};
pub use species::{Recognition, Species};
pub use tokens::Tokenizer;
pub(crate) use values::sample_kind;
pub use values::{MAX_LOG_VALUE, ValueKind, ValueReport};
pub use vocabulary::{Gene, Vocabulary};
