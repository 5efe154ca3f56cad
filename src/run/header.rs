//! What a run is: everything that its answers depend on.

use crate::error::{Error, Result};
use crate::tasks::TissueDecision;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;

/// What a journal starts with. Two journals belong to one run when all of it is the same but the cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Version of the program.
    pub version: String,
    /// The matrix.
    pub input: RunInput,
    /// The model.
    pub model: RunModel,
    /// The device that computes: kind, and a GPU's name or the vectors of a CPU. Devices differ in the last digits of a number.
    pub device: String,
    /// Cells whose best label is less probable than this are unassigned.
    pub min_probability: f32,
    /// The tissue whose labels are given, and why.
    pub tissue: TissueDecision,
    /// The cells of this journal.
    pub cells: Range<usize>,
}

/// The matrix of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInput {
    /// The file's name as the user gave it.
    pub file: String,
    /// [`crate::read::Files::fingerprint`].
    pub fingerprint: String,
    /// All cells of the matrix.
    pub n_cells: usize,
    /// The [`crate::cells::InputReport`]: layer, genes, values, all that was decided.
    pub report: Value,
}

/// The model of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunModel {
    /// Its name.
    pub name: String,
    /// [`crate::model::ModelFiles::hash`].
    pub hash: String,
    /// The head; `None` for embeddings alone.
    pub head: Option<String>,
    /// [`crate::model::Head::hash`].
    pub head_hash: Option<String>,
    /// Its labels; empty without a head.
    pub labels: Vec<String>,
    /// Their Cell Ontology ids; empty where there are none.
    pub ontology_ids: Vec<String>,
    /// D, where the embeddings are kept; 0 where they are not.
    pub n_embedding: usize,
}

impl RunHeader {
    /// Refuses to join or continue what is not of this run. `file` is the journal that `other` comes from.
    ///
    /// # Errors
    /// [`Error::File`] with the first thing that differs, as it was and as it is.
    pub fn expect_same_run(&self, file: &str, other: &Self) -> Result<()> {
        let model = |header: &Self| format!("{} {}", header.model.name, header.model.hash);
        let head = |header: &Self| match (&header.model.head, &header.model.head_hash) {
            (Some(name), Some(hash)) => format!("{name} {hash}"),
            _ => "none".to_owned(),
        };
        let tissue = |header: &Self| header.tissue.name.clone().unwrap_or_else(|| "any".to_owned());
        let different = [
            ("version", other.version.clone(), self.version.clone()),
            (
                "input",
                format!("{} cells, {}", other.input.n_cells, other.input.fingerprint),
                format!("{} cells, {}", self.input.n_cells, self.input.fingerprint),
            ),
            ("model", model(other), model(self)),
            ("head", head(other), head(self)),
            ("device", other.device.clone(), self.device.clone()),
            (
                "min_probability",
                other.min_probability.to_string(),
                self.min_probability.to_string(),
            ),
            ("tissue", tissue(other), tissue(self)),
            (
                "embeddings",
                other.model.n_embedding.to_string(),
                self.model.n_embedding.to_string(),
            ),
        ]
        .into_iter()
        .find(|(_, was, is)| was != is);
        let different = different.map(|(what, was, is)| (what.to_owned(), was, is));
        let read = || difference(&other.input.report, &self.input.report, "how the input is read");
        match different.or_else(read) {
            None => Ok(()),
            Some((what, was, is)) => Err(Error::file(
                file,
                what,
                format_args!("belongs to another run: {was} there, {is} here"),
            )),
        }
    }
}

/// The first place where two reports differ, and what each has there. The file's name is no difference: the same matrix may lie elsewhere.
fn difference(was: &Value, is: &Value, place: &str) -> Option<(String, String, String)> {
    match (was, is) {
        (Value::Object(was_in), Value::Object(is_in)) => {
            let mut keys = was_in.keys().chain(is_in.keys()).filter(|key| *key != "file");
            keys.find_map(|key| {
                let [was, is] = [was_in, is_in].map(|entries| entries.get(key).unwrap_or(&Value::Null));
                difference(was, is, &format!("{place}: {key}"))
            })
        }
        _ => (was != is).then(|| (place.to_owned(), was.to_string(), is.to_string())),
    }
}
