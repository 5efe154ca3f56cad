//! The `.h5` files of 10x Genomics: Cell Ranger 3 and later (`matrix`, with features of several kinds) and 2 (one group a genome).

use super::OpenOptions;
use super::column::Column;
use super::container::{Array, Container, Kind};
use super::features::{OtherKinds, genes_among, of_genes, rows_of_genes};
use crate::cells::{CellMatrix, GeneColumn, SparseRows, check_rows};
use crate::error::Result;
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

/// No organism has as many genes or peaks; what declares more is broken.
const MAX_FEATURES: usize = 1 << 22;

/// A 10x matrix file. Only the features of type `Gene Expression` are genes; [`CellMatrix::notes`] count the others. Names and rows are read by
/// range, so an unfiltered matrix of millions of barcodes costs nothing to open.
pub struct TenxH5 {
    file: Arc<dyn Container>,
    group: String,
    matrices: Vec<String>,
    notes: Vec<String>,
    format: &'static str,
    barcodes: Column,
    data: Arc<dyn Array>,
    indices: Arc<dyn Array>,
    indptr: Arc<dyn Array>,
    n_values: usize,
    n_features: usize,
    /// The gene of each feature, where not all features are genes.
    gene_of: Option<Vec<Option<u32>>>,
    gene_columns: Vec<GeneColumn>,
}

impl Debug for TenxH5 {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("TenxH5")
            .field("file", &self.file.name())
            .field("group", &self.group)
            .field("n_cells", &self.barcodes.len())
            .finish_non_exhaustive()
    }
}

impl TenxH5 {
    /// The groups that hold matrices; none where this is another kind of file.
    pub(super) fn groups(file: &dyn Container) -> Result<Vec<String>> {
        let mut groups = Vec::new();
        for name in file.members("")? {
            let has = |part: &str| Ok::<_, crate::Error>(file.node(&format!("{name}/{part}"))?.is_some());
            if has("barcodes")? && has("indptr")? && (has("genes")? || has("features")?) {
                groups.push(name);
            }
        }
        groups.sort();
        Ok(groups)
    }

    pub(super) fn open(file: Arc<dyn Container>, groups: Vec<String>, options: &OpenOptions) -> Result<Self> {
        let list = groups.join(", ");
        let group = match (&options.layer, groups.as_slice()) {
            (Some(layer), _) if groups.contains(layer) => layer.clone(),
            (Some(layer), _) => return Err(file.wrong(layer, format_args!("no such matrix; the file has {list}"))),
            (None, [group]) => group.clone(),
            (None, _) => {
                let problem = format_args!("one matrix for each of several genomes: {list}; choose one of them as the layer");
                return Err(file.wrong("/", problem));
            }
        };
        let is_new = file.node(&format!("{group}/features"))?.is_some();
        let column = |path: String| match Column::open(file.as_ref(), &path, None)? {
            Some(column) if column.is_text() => Ok(column),
            Some(_) => Err(file.wrong(path, "not texts; wanted names")),
            None => Err(file.wrong(path, "missing, or no list of names")),
        };
        let (ids, names) = if is_new {
            (format!("{group}/features/id"), format!("{group}/features/name"))
        } else {
            (format!("{group}/genes"), format!("{group}/gene_names"))
        };
        let barcodes = column(format!("{group}/barcodes"))?;
        let (ids, names) = (column(ids)?, column(names)?);
        let n_features = ids.len();
        if n_features > MAX_FEATURES {
            let problem = format_args!("{n_features} features; no matrix has more than {MAX_FEATURES}");
            return Err(file.wrong(&group, problem));
        }
        if names.len() != n_features {
            return Err(file.wrong(
                &group,
                format_args!("{n_features} ids of features, but {} names", names.len()),
            ));
        }
        let shape_path = format!("{group}/shape");
        let (shape, n_numbers) = file.list(&shape_path, Kind::Index)?;
        let numbers = shape.indices(0..n_numbers.min(3))?;
        let sizes: Vec<usize> = numbers.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        if sizes != [n_features, barcodes.len()] {
            let problem = format_args!(
                "{numbers:?}; wanted [{n_features}, {}], features and barcodes",
                barcodes.len()
            );
            return Err(file.wrong(shape_path, problem));
        }
        let types = match is_new {
            true => Column::open(file.as_ref(), &format!("{group}/features/feature_type"), None)?,
            false => None,
        };
        let types = match types {
            Some(types) if types.len() == n_features => types.texts(0..n_features)?,
            Some(types) => {
                let place = format!("{group}/features/feature_type");
                return Err(file.wrong(place, format_args!("{} types; wanted {n_features}", types.len())));
            }
            None => Vec::new(),
        };
        let mut others = OtherKinds::default();
        let gene_of = genes_among(&types, &mut others);
        let notes: Vec<String> = others.note().into_iter().collect();
        if gene_of.is_none() && !notes.is_empty() {
            return Err(file.wrong(format_args!("{group}/features"), others.no_genes()));
        }
        let gene_column = |name: &str, column: &Column| -> Result<GeneColumn> {
            Ok(GeneColumn {
                name: name.to_owned(),
                genes: of_genes(column.texts(0..n_features)?, gene_of.as_deref()),
            })
        };
        let gene_columns = vec![gene_column("id", &ids)?, gene_column("name", &names)?];
        let n_genes = gene_columns[0].genes.len();
        if barcodes.len() == 0 || n_genes == 0 {
            let problem = format_args!("{} barcodes × {n_genes} genes; wanted at least one of each", barcodes.len());
            return Err(file.wrong(&group, problem));
        }

        let [data_path, indices_path, indptr_path] = ["data", "indices", "indptr"].map(|part| format!("{group}/{part}"));
        let (data, n_values) = file.list(&data_path, Kind::Value)?;
        let (indices, n_indices) = file.list(&indices_path, Kind::Index)?;
        let (indptr, n_offsets) = file.list(&indptr_path, Kind::Index)?;
        if n_indices != n_values {
            return Err(file.wrong(
                indices_path,
                format_args!("{n_indices} numbers, but {data_path} has {n_values}"),
            ));
        }
        if n_offsets != barcodes.len() + 1 {
            let problem = format_args!("{n_offsets} numbers; wanted {}, one more than barcodes", barcodes.len() + 1);
            return Err(file.wrong(indptr_path, problem));
        }
        let matrix = Self {
            group,
            matrices: groups,
            notes,
            format: if is_new {
                "10x Genomics (.h5, Cell Ranger 3 or later)"
            } else {
                "10x Genomics (.h5, Cell Ranger 2)"
            },
            barcodes,
            data,
            indices,
            indptr,
            n_values,
            n_features,
            gene_of,
            gene_columns,
            file,
        };
        let n_cells = matrix.n_cells();
        let ends = [matrix.offsets(0..0)?, matrix.offsets(n_cells..n_cells)?].concat();
        if ends != [0, n_values] {
            return Err(matrix.file.wrong(
                indptr_path,
                format_args!("runs from {} to {}, but {data_path} has {n_values} numbers", ends[0], ends[1]),
            ));
        }
        Ok(matrix)
    }

    /// Where some cells start, and where the last one ends.
    fn offsets(&self, cells: Range<usize>) -> Result<Vec<usize>> {
        let mut offsets = Vec::new();
        let numbers = self.indptr.indices(cells.start..cells.end + 1)?;
        for (place, number) in (cells.start..).zip(numbers) {
            let before = offsets.last().copied().unwrap_or(0);
            match usize::try_from(number) {
                Ok(offset) if before <= offset && offset <= self.n_values => offsets.push(offset),
                _ => {
                    let problem = format!(
                        "{number} at {place}, after {before}; wanted numbers that rise from 0 to {}",
                        self.n_values
                    );
                    return Err(self.indptr.wrong(&problem));
                }
            }
        }
        Ok(offsets)
    }
}

impl CellMatrix for TenxH5 {
    fn file(&self) -> &str {
        self.file.name()
    }

    fn format(&self) -> &str {
        self.format
    }

    fn matrix(&self) -> &str {
        &self.group
    }

    fn matrices(&self) -> &[String] {
        &self.matrices
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn n_cells(&self) -> usize {
        self.barcodes.len()
    }

    fn n_genes(&self) -> usize {
        self.gene_columns[0].genes.len()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        self.barcodes.texts(cells)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.gene_columns
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        let offsets = self.offsets(cells)?;
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else {
            return Ok(SparseRows::default());
        };
        let values = self.data.values(start..end)?;
        let features = self.indices.indices(start..end)?;
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        for range in offsets.windows(2) {
            for place in range[0] - start..range[1] - start {
                let feature = features[place];
                let found = u32::try_from(feature)
                    .ok()
                    .filter(|&feature| (feature as usize) < self.n_features);
                let Some(feature) = found else {
                    let problem = format!("index {feature} at {}; there are {} features", start + place, self.n_features);
                    return Err(self.indices.wrong(&problem));
                };
                rows.genes.push(feature);
                rows.values.push(values[place]);
            }
            rows.offsets.push(rows.genes.len());
        }
        Ok(rows_of_genes(rows, self.gene_of.as_deref()))
    }
}
