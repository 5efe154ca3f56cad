//! A list of numbers that is compressed as it comes, of a length that only its end tells. The tree over its chunks is a B-tree of version 1,
//! specification section III.A.1, which every HDF5 library reads.

use super::object::{Attribute, Layout, Type, dataset_of};
use super::space::Space;
use super::{Array, UNDEFINED};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{self, Read, Seek, Write};

/// Numbers in a chunk.
const CHUNK_LEN: usize = 1 << 16;
/// anndata's level for gzip.
const LEVEL: u32 = 4;
/// Children of a node: twice the K of files that do not say another.
const N_CHILDREN: usize = 64;
const KEY_SIZE: usize = 24;
/// A node has the size of a full one.
const NODE_SIZE: usize = 24 + N_CHILDREN * 8 + (N_CHILDREN + 1) * KEY_SIZE;

/// Writes a one-dimensional dataset, shuffled and deflated.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    datatype: Type,
    /// Of the chunk that is being filled.
    bytes: Vec<u8>,
    len: u64,
    /// Address and size of each chunk.
    chunks: Vec<(u64, u32)>,
}

impl ChunkWriter {
    pub(crate) fn new(datatype: Type) -> Self {
        Self {
            datatype,
            bytes: Vec::new(),
            len: 0,
            chunks: Vec::new(),
        }
    }

    /// Writes the next numbers, as little-endian bytes.
    pub(crate) fn write<F: Read + Write + Seek>(&mut self, space: &mut Space<F>, mut data: &[u8]) -> io::Result<()> {
        self.len += data.len() as u64 / u64::from(self.datatype.size());
        let chunk_size = CHUNK_LEN * usize::from(self.datatype.size());
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(chunk_size - self.bytes.len()));
            self.bytes.extend_from_slice(now);
            data = later;
            if self.bytes.len() == chunk_size {
                self.flush(space)?;
            }
        }
        Ok(())
    }

    fn flush<F: Read + Write + Seek>(&mut self, space: &mut Space<F>) -> io::Result<()> {
        // Shuffled: the first bytes of all numbers, then the second ones.
        let size = usize::from(self.datatype.size());
        let mut shuffled = Vec::with_capacity(self.bytes.len());
        for byte in 0..size {
            shuffled.extend(self.bytes.iter().skip(byte).step_by(size));
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
        encoder.write_all(&shuffled)?;
        let packed = encoder.finish()?;
        let packed_size = u32::try_from(packed.len()).map_err(io::Error::other)?;
        self.chunks.push((space.append(&packed)?, packed_size));
        self.bytes.clear();
        Ok(())
    }

    /// Writes what is left, the tree and the header; gives its address.
    pub(crate) fn finish<F: Read + Write + Seek>(mut self, space: &mut Space<F>, attributes: &[Attribute]) -> io::Result<u64> {
        if self.len == 0 {
            return Array::reserve(space, self.datatype, &[0]).finish(space, attributes);
        }
        let size = usize::from(self.datatype.size());
        // A dataset shorter than a chunk is one chunk of its own length.
        let chunk_len = if self.chunks.is_empty() {
            self.bytes.len() / size
        } else {
            CHUNK_LEN
        };
        if !self.bytes.is_empty() {
            self.bytes.resize(chunk_len * size, 0);
            self.flush(space)?;
        }
        let chunk_len = u32::try_from(chunk_len).map_err(io::Error::other)?;
        let tree = self.tree(space, u64::from(chunk_len))?;
        // Version 2, two filters: shuffle by the size of a number, deflate.
        let mut filters = vec![2, 2];
        for (id, value) in [(2_u16, u32::from(self.datatype.size())), (1, LEVEL)] {
            filters.extend_from_slice(&id.to_le_bytes());
            filters.extend_from_slice(&[0, 0, 1, 0]);
            filters.extend_from_slice(&value.to_le_bytes());
        }
        let layout = Layout::Chunked { tree, chunk_len };
        dataset_of(space, self.datatype, &[self.len], &layout, &filters, attributes)
    }

    /// Writes the tree from its leaves up; gives the address of its root.
    fn tree<F: Read + Write + Seek>(&self, space: &mut Space<F>, chunk_len: u64) -> io::Result<u64> {
        // Size of the chunk, filters left out, its first number, and its first byte in it, which is 0.
        let key = |chunk: usize| {
            let mut bytes = self.chunks.get(chunk).map_or(0, |&(_, size)| size).to_le_bytes().to_vec();
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&(chunk as u64 * chunk_len).to_le_bytes());
            bytes.extend_from_slice(&[0; 8]);
            bytes
        };
        // First chunk and address of each child of the level that is written.
        let mut children: Vec<(usize, u64)> = self.chunks.iter().map(|&(address, _)| address).enumerate().collect();
        let mut level = 0;
        loop {
            let n_nodes = children.len().div_ceil(N_CHILDREN);
            let addresses: Vec<u64> = (0..n_nodes).map(|_| space.reserve(NODE_SIZE as u64)).collect();
            let mut parents = Vec::with_capacity(n_nodes);
            for (node, children_of_node) in children.chunks(N_CHILDREN).enumerate() {
                let beside = |node: Option<usize>| node.and_then(|node| addresses.get(node)).copied().unwrap_or(UNDEFINED);
                let mut bytes = b"TREE\x01".to_vec();
                bytes.push(level);
                let n_children = u16::try_from(children_of_node.len()).map_err(io::Error::other)?;
                bytes.extend_from_slice(&n_children.to_le_bytes());
                bytes.extend_from_slice(&beside(node.checked_sub(1)).to_le_bytes());
                bytes.extend_from_slice(&beside(Some(node + 1)).to_le_bytes());
                for &(chunk, address) in children_of_node {
                    bytes.extend_from_slice(&key(chunk));
                    bytes.extend_from_slice(&address.to_le_bytes());
                }
                let next = children
                    .get((node + 1) * N_CHILDREN)
                    .map_or(self.chunks.len(), |child| child.0);
                bytes.extend_from_slice(&key(next));
                bytes.resize(NODE_SIZE, 0);
                space.write_at(addresses[node], &bytes)?;
                parents.push((children_of_node[0].0, addresses[node]));
            }
            match parents.as_slice() {
                &[(_, root)] => return Ok(root),
                _ => children = parents,
            }
            level += 1;
        }
    }
}
