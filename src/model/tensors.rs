//! A safetensors file, read tensor by tensor and row by row: the file is never in memory as a whole.

use crate::error::{Error, Result};
use crate::read::Source;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Headers are a few kB; 100 MB is also what the format's own library refuses.
const MAX_HEADER_SIZE: u64 = 100_000_000;

/// An open safetensors file.
#[derive(Clone)]
pub struct TensorFile {
    name: String,
    source: Arc<dyn Source>,
    data_start: u64,
    header: Arc<Metadata>,
}

impl std::fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TensorFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TensorFile {
    /// Reads and checks the header; `name` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::File`] when this is no safetensors file or one that was cut off.
    pub fn open(name: &str, source: Arc<dyn Source>) -> Result<Self> {
        let size = source.size();
        let broken = |problem: String| Error::file(name, "header", problem);
        let io = |source| Error::Io {
            file: name.to_owned(),
            source,
        };
        let mut length = [0; 8];
        if size < 8 {
            return Err(broken(format!("the file has {size} bytes, too few for a safetensors file")));
        }
        source.read_at(0, &mut length).map_err(io)?;
        let header_size = u64::from_le_bytes(length);
        if header_size > MAX_HEADER_SIZE || header_size > size - 8 {
            return Err(broken(format!(
                "declares a header of {header_size} bytes in a file of {size}: cut off, or no safetensors file"
            )));
        }
        let mut header = vec![0; usize::try_from(header_size).map_err(|e| broken(e.to_string()))?];
        source.read_at(8, &mut header).map_err(io)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|e| broken(e.to_string()))?;
        let data_start = 8 + header_size;
        let found = size - data_start;
        if header.data_len() as u64 != found {
            return Err(Error::file(
                name,
                "tensor data",
                format_args!(
                    "{found} bytes, wanted {}: the file was cut off or has something appended",
                    header.data_len()
                ),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            source,
            data_start,
            header: Arc::new(header),
        })
    }

    /// The file's name as given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of all tensors, in file order.
    #[must_use]
    pub fn tensor_names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// The text entries of the header.
    #[must_use]
    pub fn metadata(&self) -> HashMap<String, String> {
        self.header.metadata().clone().unwrap_or_default()
    }

    /// Shape and type of a tensor.
    ///
    /// # Errors
    /// [`Error::File`] when there is none of this name.
    pub fn info(&self, tensor: &str) -> Result<&TensorInfo> {
        self.header
            .info(tensor)
            .ok_or_else(|| Error::file(&self.name, tensor, "missing"))
    }

    /// Checks the shape of a tensor.
    ///
    /// # Errors
    /// [`Error::File`] with the shape found and the shape wanted.
    pub fn expect_shape(&self, tensor: &str, shape: &[usize]) -> Result<()> {
        let found = &self.info(tensor)?.shape;
        if found != shape {
            return Err(Error::file(
                &self.name,
                tensor,
                format_args!("shape {found:?}, wanted {shape:?}"),
            ));
        }
        Ok(())
    }

    /// Reads elements `range` of a tensor (row-major) as f32 into `out`, whose length is that of `range`.
    ///
    /// # Errors
    /// [`Error::File`] when the type is none of f32, f16, bf16, or a number is not finite; [`Error::Io`].
    pub fn read_f32(&self, tensor: &str, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let info = self.info(tensor)?;
        let first = range.start;
        match info.dtype {
            Dtype::F32 => {
                self.read_bytes(tensor, range, bytemuck::cast_slice_mut(out))?;
                if cfg!(target_endian = "big") {
                    out.iter_mut().for_each(|x| *x = f32::from_bits(x.to_bits().swap_bytes()));
                }
            }
            Dtype::F16 => self.read_halves(tensor, range, out, |bits| f16::from_bits(bits).to_f32())?,
            Dtype::BF16 => self.read_halves(tensor, range, out, |bits| bf16::from_bits(bits).to_f32())?,
            other => {
                return Err(Error::file(
                    &self.name,
                    tensor,
                    format_args!("type {other:?}, wanted F32, F16 or BF16"),
                ));
            }
        }
        match out.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::file(
                &self.name,
                tensor,
                format_args!(
                    "{} at {:?}, wanted finite numbers",
                    out[at],
                    index_of(first + at, &info.shape)
                ),
            )),
        }
    }

    /// Reads a whole tensor of whole numbers (u8, bool, i32, i64).
    ///
    /// # Errors
    /// [`Error::File`] for another type, [`Error::Io`].
    pub fn read_i64(&self, tensor: &str) -> Result<Vec<i64>> {
        let info = self.info(tensor)?;
        let len = info.shape.iter().product::<usize>();
        let width = info.dtype.bitsize() / 8;
        let mut bytes = vec![0; len * width];
        match info.dtype {
            Dtype::U8 | Dtype::BOOL | Dtype::I32 | Dtype::I64 => self.read_bytes(tensor, 0..len, &mut bytes)?,
            other => {
                return Err(Error::file(
                    &self.name,
                    tensor,
                    format_args!("type {other:?}, wanted I32, I64, U8 or BOOL"),
                ));
            }
        }
        Ok(bytes
            .chunks_exact(width)
            .map(|number| match *number {
                [a] => i64::from(a),
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => 0,
            })
            .collect())
    }

    fn read_halves(&self, tensor: &str, range: Range<usize>, out: &mut [f32], convert: fn(u16) -> f32) -> Result<()> {
        let mut bits = vec![0_u16; out.len()];
        self.read_bytes(tensor, range, bytemuck::cast_slice_mut(&mut bits))?;
        for (out, bits) in out.iter_mut().zip(bits) {
            *out = convert(u16::from_le(bits));
        }
        Ok(())
    }

    fn read_bytes(&self, tensor: &str, range: Range<usize>, out: &mut [u8]) -> Result<()> {
        let info = self.info(tensor)?;
        let width = info.dtype.bitsize() / 8;
        let (start, end) = info.data_offsets;
        if range.len() * width != out.len() || start + range.end * width > end {
            return Err(Error::argument(
                "read tensor",
                "range",
                format_args!("{range:?} of {tensor} {:?}", info.shape),
            ));
        }
        self.source
            .read_at(self.data_start + (start + range.start * width) as u64, out)
            .map_err(|source| Error::Io {
                file: self.name.clone(),
                source,
            })
    }
}

/// The indices along each axis of element `at` of a row-major tensor.
fn index_of(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&n| {
            let i = at % n.max(1);
            at /= n.max(1);
            i
        })
        .collect();
    index.reverse();
    index
}
