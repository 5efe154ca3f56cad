//! `.parquet` files, which pandas, polars, R and databases read.

use super::{ResultColumn, ResultEmbedding, ResultValues, TableWriter, check_lengths};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array, Int32Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Write};
use std::sync::Arc;

/// What is gathered in memory before a group of rows is written.
const ROW_GROUP_SIZE: usize = 32 << 20;

/// Writes the cells' names under `cell`, then the columns in the order of the first block: texts as dictionaries, which pandas reads as
/// categories; numbers as f32, null where there is none; truths. Groups of rows go to the file as they fill, compressed with Snappy.
pub struct ParquetTable<W: Write + Send> {
    /// `None` once there is an [`ArrowWriter`].
    out: Option<W>,
    writer: Option<ArrowWriter<W>>,
}

impl<W: Write + Send> Debug for ParquetTable<W> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("ParquetTable").finish_non_exhaustive()
    }
}

impl<W: Write + Send> ParquetTable<W> {
    /// Nothing is written before the first block.
    pub fn new(out: W) -> Self {
        Self {
            out: Some(out),
            writer: None,
        }
    }

    /// Writes the next cells with embeddings beside their columns, each as one list of fixed length a cell.
    ///
    /// # Errors
    /// As [`TableWriter::write_block`]; also when an embedding has not `n_cols` numbers a cell.
    pub fn write_block_with(
        &mut self,
        cells: &[String],
        columns: &[ResultColumn],
        embeddings: &[ResultEmbedding<'_>],
    ) -> io::Result<()> {
        check_lengths(cells, columns)?;
        let mut fields = vec![Field::new("cell", DataType::Utf8, false)];
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(cells))];
        for ResultColumn { name, values } in columns {
            let (array, is_nullable) = array(values)?;
            fields.push(Field::new(name, array.data_type().clone(), is_nullable));
            arrays.push(array);
        }
        for embedding in embeddings {
            let array = list_array(cells.len(), embedding)?;
            fields.push(Field::new(embedding.name, array.data_type().clone(), false));
            arrays.push(Arc::new(array));
        }
        let schema = Arc::new(Schema::new(fields));
        let writer = self.writer(&schema)?;
        // Another schema than the first block's is refused here.
        writer
            .write(&RecordBatch::try_new(schema, arrays).map_err(invalid)?)
            .map_err(invalid)?;
        if writer.in_progress_size() > ROW_GROUP_SIZE {
            writer.flush()?;
        }
        Ok(())
    }

    fn writer(&mut self, schema: &Arc<Schema>) -> io::Result<&mut ArrowWriter<W>> {
        if let Some(out) = self.out.take() {
            // Names of cells and numbers all differ, so that a dictionary of them costs and gives nothing.
            let mut properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_dictionary_enabled(false);
            for field in schema.fields() {
                if matches!(field.data_type(), DataType::Dictionary(..)) {
                    properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), true);
                }
            }
            let properties = properties.build();
            self.writer = Some(ArrowWriter::try_new(out, Arc::clone(schema), Some(properties))?);
        }
        self.writer
            .as_mut()
            .ok_or_else(|| io::Error::other("the file could not be begun"))
    }
}

impl<W: Write + Send> TableWriter for ParquetTable<W> {
    fn write_block(&mut self, cells: &[String], columns: &[ResultColumn]) -> io::Result<()> {
        self.write_block_with(cells, columns, &[])
    }

    /// A table without a block has the column `cell` alone.
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.writer.is_none() {
            self.write_block(&[], &[])?;
        }
        match self.writer {
            Some(writer) => Ok(writer.into_inner()?.flush()?),
            None => Ok(()),
        }
    }
}

/// The values, and whether some may be missing.
fn array(values: &ResultValues) -> io::Result<(ArrayRef, bool)> {
    Ok(match values {
        ResultValues::Categories { codes, names } => {
            let code = |code: Option<u32>| code.map(i32::try_from).transpose().map_err(invalid);
            let keys: Int32Array = codes.iter().map(|&of_cell| code(of_cell)).collect::<io::Result<_>>()?;
            let names: ArrayRef = Arc::new(StringArray::from_iter_values(names.iter()));
            // A code past the names is refused here.
            (
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, names).map_err(invalid)?),
                true,
            )
        }
        ResultValues::Numbers(numbers) => {
            let numbers = numbers.iter().map(|&number| (!number.is_nan()).then_some(number));
            (Arc::new(numbers.collect::<Float32Array>()), true)
        }
        ResultValues::Truths(truths) => (Arc::new(BooleanArray::from(truths.clone())), false),
    })
}

fn list_array(n_cells: usize, embedding: &ResultEmbedding<'_>) -> io::Result<FixedSizeListArray> {
    let ResultEmbedding { name, n_cols, values } = *embedding;
    if values.len() != n_cells * n_cols {
        return Err(invalid(format!(
            "{name}: {} numbers for {n_cells} cells of {n_cols}",
            values.len()
        )));
    }
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let n_cols = i32::try_from(n_cols).map_err(invalid)?;
    let numbers = Arc::new(Float32Array::from(values.to_vec()));
    FixedSizeListArray::try_new(item, n_cols, numbers, None).map_err(invalid)
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}
