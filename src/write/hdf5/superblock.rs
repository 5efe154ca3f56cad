//! The superblock, specification section II.A: the one place of a file that is changed, in one write.

use super::space::Space;
use hdf5_reader::checksum::jenkins_lookup3;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// How the file says where its root group stands.
#[derive(Debug, Clone)]
pub(crate) enum Root {
    /// Versions 0 and 1: at this place, in a symbol table entry.
    Entry(u64),
    /// Versions 2 and 3, whose first 28 bytes stay as they are.
    Header([u8; 28]),
}

const SIZE: u64 = 48;

impl Root {
    /// Of a new file, which is none before [`Root::publish`].
    pub(crate) fn new<F: Read + Write + Seek>(file: F) -> (Self, Space<F>) {
        let mut start = [0; 28];
        // Version 2; addresses and lengths of eight bytes; no flags; the file begins at 0; no extension.
        start[..12].copy_from_slice(b"\x89HDF\r\n\x1a\n\x02\x08\x08\0");
        start[20..].copy_from_slice(&[0xFF; 8]);
        (Self::Header(start), Space::new(file, SIZE))
    }

    /// Makes `group` the root of the file.
    pub(crate) fn publish<F: Read + Write + Seek>(&self, space: Space<F>, group: u64) -> io::Result<F> {
        let (mut file, end) = space.finish()?;
        let (at, bytes) = match self {
            Self::Entry(at) => {
                // The end of the file and, 16 bytes on, the entry: no name, the group, nothing cached.
                let mut bytes = end.to_le_bytes().to_vec();
                bytes.extend_from_slice(&[0xFF; 8]);
                bytes.extend_from_slice(&[0; 8]);
                bytes.extend_from_slice(&group.to_le_bytes());
                bytes.extend_from_slice(&[0; 24]);
                (*at, bytes)
            }
            Self::Header(start) => {
                let mut bytes = start.to_vec();
                bytes.extend_from_slice(&end.to_le_bytes());
                bytes.extend_from_slice(&group.to_le_bytes());
                let checksum = jenkins_lookup3(&bytes);
                bytes.extend_from_slice(&checksum.to_le_bytes());
                (0, bytes)
            }
        };
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&bytes)?;
        file.flush()?;
        Ok(file)
    }
}
