//! The names under which answers about cells are written, defined once: columns of `obs`, which are the columns of every table, keys of
//! `obsm`, and the key of `uns`. They begin so that no column of the user has one of them, and keep the rules of `CELLxGENE`.

/// The best cell type: texts.
pub const CELL_TYPE: &str = "scdiva_cell_type";
/// The Cell Ontology's id of [`CELL_TYPE`], such as `CL:0000236`: texts.
pub const CELL_TYPE_ONTOLOGY_TERM_ID: &str = "scdiva_cell_type_ontology_term_id";
/// The probability of [`CELL_TYPE`]: numbers.
pub const CONFIDENCE: &str = "scdiva_confidence";
/// The second best cell type: texts.
pub const SECOND_BEST: &str = "scdiva_second_best";
/// The probability of [`SECOND_BEST`]: numbers.
pub const SECOND_CONFIDENCE: &str = "scdiva_second_confidence";
/// The entropy of all probabilities of the cell: numbers.
pub const ENTROPY: &str = "scdiva_entropy";
/// Whether the answer is too uncertain to be used: truths.
pub const REJECTED: &str = "scdiva_rejected";
/// The group of cells that voted together: texts.
pub const CLUSTER: &str = "scdiva_cluster";
/// What the cells of [`CLUSTER`] agreed on: texts.
pub const VOTED: &str = "scdiva_voted";
/// The share of cells of [`CLUSTER`] that voted for [`VOTED`]: numbers.
pub const VOTE_SHARE: &str = "scdiva_vote_share";

/// Every column, in the order in which they are written.
pub const ALL: [&str; 10] = [
    CELL_TYPE,
    CELL_TYPE_ONTOLOGY_TERM_ID,
    CONFIDENCE,
    SECOND_BEST,
    SECOND_CONFIDENCE,
    ENTROPY,
    REJECTED,
    CLUSTER,
    VOTED,
    VOTE_SHARE,
];

/// In `obsm`: the embeddings of the cells.
pub const EMBEDDING: &str = "X_scdiva";
/// In `obsm`: two dimensions of [`EMBEDDING`].
pub const EMBEDDING_UMAP: &str = "X_scdiva_umap";

/// In `uns`: what made the answers.
pub const RUN: &str = "scdiva";
/// In `uns/scdiva`: the names of what was written, so that a later run can tell its own columns from the user's.
pub const RUN_COLUMNS: &str = "columns";

/// Whether a name may be one of ours.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with("scdiva_") || name.starts_with("X_scdiva")
}
