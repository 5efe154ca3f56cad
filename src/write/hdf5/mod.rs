//! HDF5 as the writer of `.h5ad` files needs it. Objects are added at the end of a file, nothing that stands in it is changed, and the last
//! write, of the superblock, makes them part of it: a file is the old one or the new one at every moment, and memory does not grow with
//! what the file holds. Old objects are read with hdf5-reader; the format is described in the HDF5 File Format Specification 3.0.
//!
//! No crate writes like this: `hdf5-pure` 0.47 edits paths only (so not in wasm), holds a whole file in memory when it begins as h5py writes
//! it, and streams one-dimensional data alone; `hdf5-writer` 0.12 makes new files and holds their data in memory.

mod chunks;
mod existing;
mod group;
mod heap;
mod object;
mod space;
mod superblock;

pub(super) use chunks::ChunkWriter;
pub(super) use existing::{Existing, SAVE_AGAIN};
pub(super) use group::{Group, Target};
pub(super) use object::{Array, Attribute, Type, dataset, text, text_array};
pub(super) use space::Space;
pub(super) use superblock::Root;

use std::io;

// Numbers go to the file as they lie in memory.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "HDF5 is written on little-endian machines only"
);

/// An address that points nowhere.
const UNDEFINED: u64 = u64::MAX;

/// The [`io::ErrorKind::InvalidInput`] of this module.
pub(super) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem.into())
}
