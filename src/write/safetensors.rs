//! `.safetensors` files of f32 tensors that are written piece by piece, in any order.

use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

/// Writes tensors whose shapes are known before their numbers are, so that none of them has to be in memory as a whole.
///
/// ```
/// use scdiva::write::safetensors::SafetensorsWriter;
/// use std::io::Cursor;
/// let mut writer = SafetensorsWriter::new(Cursor::new(Vec::new()), &[("a", vec![2, 2]), ("b", vec![1])])?;
/// writer.write(1, &[5.0])?;
/// writer.write(0, &[1.0, 2.0])?;
/// writer.write(0, &[3.0, 4.0])?;
/// let bytes = writer.finish()?.into_inner();
/// let file = safetensors::SafeTensors::deserialize(&bytes)?;
/// assert_eq!(file.tensor("a")?.shape(), [2, 2]);
/// assert_eq!(file.tensor("a")?.data()[12..], 4.0_f32.to_le_bytes());
/// assert_eq!(file.tensor("b")?.data(), 5.0_f32.to_le_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SafetensorsWriter<W: Write + Seek> {
    out: W,
    tensors: Vec<Tensor>,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    /// Where its next number goes, and where it ends, in bytes from the start of the file.
    next: u64,
    end: u64,
}

impl<W: Write + Seek> SafetensorsWriter<W> {
    /// Writes the header: names and shapes, in the order of the file. Writing starts where `out` stands.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a tensor of more than 2^64 bytes; what `out` says.
    pub fn new(out: W, tensors: &[(&str, Vec<usize>)]) -> io::Result<Self> {
        Self::with_metadata(out, tensors, &BTreeMap::new())
    }

    /// As [`SafetensorsWriter::new`], with texts beside the tensors.
    ///
    /// # Errors
    /// As [`SafetensorsWriter::new`].
    pub fn with_metadata(mut out: W, tensors: &[(&str, Vec<usize>)], metadata: &BTreeMap<&str, String>) -> io::Result<Self> {
        let mut header = Map::new();
        if !metadata.is_empty() {
            header.insert("__metadata__".to_owned(), json!(metadata));
        }
        let mut written = Vec::new();
        let mut end = 0_u64;
        for (name, shape) in tensors {
            let size = shape.iter().try_fold(4_u64, |size, &n| size.checked_mul(n as u64));
            let start = end;
            end = size
                .and_then(|size| start.checked_add(size))
                .ok_or_else(|| invalid(format!("{name} is too large")))?;
            header.insert(
                (*name).to_owned(),
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}),
            );
            written.push(Tensor {
                name: (*name).to_owned(),
                next: start,
                end,
            });
        }
        // Spaces at its end let the numbers start at a multiple of 8.
        let mut header = serde_json::Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let start = out.stream_position()? + 8 + header.len() as u64;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for tensor in &mut written {
            tensor.next += start;
            tensor.end += start;
        }
        Ok(Self { out, tensors: written })
    }

    /// Writes the next numbers of a tensor, by its place in the order of [`SafetensorsWriter::new`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when there is no such tensor or it gets more numbers than its shape says; what `out` says.
    pub fn write(&mut self, tensor: usize, numbers: &[f32]) -> io::Result<()> {
        let tensor = self
            .tensors
            .get_mut(tensor)
            .ok_or_else(|| invalid(format!("there is no tensor {tensor}")))?;
        let after = tensor.next + 4 * numbers.len() as u64;
        if after > tensor.end {
            return Err(invalid(format!("more numbers for {} than its shape says", tensor.name)));
        }
        self.out.seek(SeekFrom::Start(tensor.next))?;
        for number in numbers {
            self.out.write_all(&number.to_le_bytes())?;
        }
        tensor.next = after;
        Ok(())
    }

    /// Flushes and gives the inner writer back.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when numbers are missing; what `out` says.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(tensor) = self.tensors.iter().find(|tensor| tensor.next < tensor.end) {
            return Err(invalid(format!(
                "{} bytes of {} are missing",
                tensor.end - tensor.next,
                tensor.name
            )));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}
