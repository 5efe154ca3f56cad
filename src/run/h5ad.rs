//! The results of a run inside an `.h5ad` file.

use super::results::{Columns, Results};
use crate::error::{Error, Result};
use crate::write::h5ad::{Additions, H5adWriter};
use crate::write::{ResultColumn, ResultEmbedding, TableWriter, columns};
use serde_json::{Map, Value, json};
use std::io::{Read, Seek, Write};

/// The columns of other tables, and what they are called in `obs`.
const NAMES: [(&str, &str); 10] = [
    ("label", columns::CELL_TYPE),
    ("ontology_term_id", columns::CELL_TYPE_ONTOLOGY_TERM_ID),
    ("probability", columns::CONFIDENCE),
    ("second_label", columns::SECOND_BEST),
    ("second_probability", columns::SECOND_CONFIDENCE),
    ("entropy", columns::ENTROPY),
    ("rejected", columns::REJECTED),
    ("cluster", columns::CLUSTER),
    ("voted_label", columns::VOTED),
    ("vote_share", columns::VOTE_SHARE),
];

/// What an `.h5ad` will get: with a vote its columns, with a layout its places. `replace_own`: [`Additions::replace_own`].
#[must_use]
pub fn h5ad_additions(with_votes: bool, with_umap: bool, replace_own: bool) -> Additions {
    let n_columns = if with_votes { NAMES.len() } else { NAMES.len() - 3 };
    let mut embeddings = vec![columns::EMBEDDING.to_owned()];
    embeddings.extend(with_umap.then(|| columns::EMBEDDING_UMAP.to_owned()));
    Additions {
        columns: NAMES[..n_columns].iter().map(|(_, name)| (*name).to_owned()).collect(),
        embeddings,
        replace_own,
    }
}

/// What `uns/scdiva/parameters` says of results. `votes_of`: `clusters`, or the column whose groups voted.
#[must_use]
pub fn h5ad_parameters(min_probability: f32, min_share: f32, votes_of: Option<&str>, with_umap: bool) -> Map<String, Value> {
    let parameters = json!({
        "min_probability": min_probability,
        "min_share": min_share,
        "votes_of": votes_of,
        "umap": with_umap,
    });
    parameters.as_object().cloned().unwrap_or_default()
}

impl<F: Read + Write + Seek> Results<F> {
    /// Writes all that is known of the cells into a file that was opened for [`h5ad_additions`], and gives it back; `file` is its name.
    /// `parameters` go to `uns/scdiva/parameters`.
    ///
    /// # Errors
    /// [`Error::File`] when the file has other cells; [`Error::Io`]; what [`super::Journal::read`] says.
    pub fn write_h5ad<G: Read + Write + Seek + Send + 'static>(
        &mut self,
        file: &str,
        mut writer: H5adWriter<G>,
        parameters: Map<String, Value>,
    ) -> Result<G> {
        let failed = |source| Error::Io {
            file: file.to_owned(),
            source,
        };
        let header = self.header().clone();
        if writer.n_cells() != header.input.n_cells as u64 {
            let problem = format!("{} cells; wanted the {} of the run", writer.n_cells(), header.input.n_cells);
            return Err(Error::file(file, "obs", problem));
        }
        let mut run = Map::new();
        run.insert("version".to_owned(), header.version.into());
        let (name, hash, head) = (header.model.name, header.model.hash, header.model.head);
        run.insert("model".to_owned(), json!({"name": name, "hash": hash, "head": head}));
        run.insert("device".to_owned(), header.device.into());
        run.insert("input".to_owned(), input(header.input.report));
        run.insert("parameters".to_owned(), Value::Object(parameters));
        writer.set_run(run);

        let (n_cols, umap) = (header.model.n_embedding, self.umap.take());
        let written = self.each_block(Columns::All, |cells, columns, block| {
            let renamed: Vec<ResultColumn> = columns
                .into_iter()
                .filter_map(|column| {
                    let (_, name) = NAMES.iter().find(|(short, _)| *short == column.name)?;
                    Some(ResultColumn {
                        name: (*name).to_owned(),
                        values: column.values,
                    })
                })
                .collect();
            writer.write_block(cells, &renamed).map_err(failed)?;
            let embedding = ResultEmbedding {
                name: columns::EMBEDDING,
                n_cols,
                values: &block.embedding,
            };
            writer.write_embedding(&embedding).map_err(failed)?;
            if let Some(layout) = &umap {
                let places = &layout[block.cells.clone()];
                let embedding = ResultEmbedding {
                    name: columns::EMBEDDING_UMAP,
                    n_cols: 2,
                    values: places.as_flattened(),
                };
                writer.write_embedding(&embedding).map_err(failed)?;
            }
            Ok(())
        });
        self.umap = umap;
        written?;
        writer.complete().map_err(failed)
    }
}

/// What was found in the input and decided about it. Where it lay is nobody's business.
fn input(mut report: Value) -> Value {
    if let Some(file) = report.get_mut("file") {
        let name = file.as_str().and_then(|path| path.rsplit(['/', '\\']).next());
        *file = name.unwrap_or_default().into();
    }
    storable(report).unwrap_or_else(|| json!({}))
}

/// What has a place in `uns`: texts, numbers, truths, lists of one of these, and what holds them.
fn storable(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(entries) => {
            let entries = entries.into_iter().filter_map(|(key, value)| Some((key, storable(value)?)));
            Some(Value::Object(entries.collect()))
        }
        Value::Array(items) => {
            let alike = items.iter().all(Value::is_string) || items.iter().all(Value::is_number);
            (alike && !items.is_empty()).then_some(Value::Array(items))
        }
        plain => Some(plain),
    }
}
