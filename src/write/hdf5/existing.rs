//! A file to which something is to be added: what stands in it, as far as it must be known.

use super::group::Link;
use super::object::dataspace;
use super::{Attribute, Group, Root, Space, Target};
use crate::error::{Error, Result};
use hdf5_reader::btree_v1::collect_btree_v1_leaves_storage;
use hdf5_reader::btree_v2::{BTreeV2Header, BTreeV2Record, collect_btree_v2_records_storage};
use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::fractal_heap::FractalHeap;
use hdf5_reader::global_heap::GlobalHeapCollection;
use hdf5_reader::io::Cursor;
use hdf5_reader::local_heap::LocalHeap;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::dataspace::{DataspaceMessage, DataspaceType};
use hdf5_reader::messages::datatype::Datatype;
use hdf5_reader::messages::link::{self, LinkMessage, LinkTarget};
use hdf5_reader::messages::link_info::LinkInfoMessage;
use hdf5_reader::messages::symbol_table_msg::SymbolTableMessage;
use hdf5_reader::symbol_table::SymbolTableNode;
use hdf5_reader::{Hdf5File, Storage, StorageBuffer};
use std::fmt::{self, Debug, Display, Formatter};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The only sizes of addresses and lengths that are written today.
const ADDRESS_SIZE: u8 = 8;
/// No group of an `AnnData` file has as many; what declares more is broken.
const MAX_LINKS: usize = 1 << 20;

/// An open file as hdf5-reader wants it.
struct Shared<F>(Mutex<F>);

impl<F: Read + Seek + Send> Storage for Shared<F> {
    fn len(&self) -> u64 {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::End(0)).unwrap_or(0)
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let available = file.seek(SeekFrom::End(0))?.saturating_sub(offset);
        // Checked before anything of a size that the file gives is allocated.
        if available < len as u64 {
            return Err(Hdf5Error::UnexpectedEof {
                offset,
                needed: len as u64,
                available,
            });
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}

/// An HDF5 file that is read, before it is written to.
pub(crate) struct Existing<F> {
    name: String,
    file: Hdf5File,
    shared: Arc<Shared<F>>,
    root: Root,
    end: u64,
}

impl<F> Debug for Existing<F> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Existing").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Read + Write + Seek + Send + 'static> Existing<F> {
    /// Opens a file; `name` is what the user calls it.
    pub(crate) fn open(name: &str, file: F) -> Result<Self> {
        let shared = Arc::new(Shared(Mutex::new(file)));
        let explain = |error: Hdf5Error| Error::file(name, "HDF5 superblock", error);
        let file = Hdf5File::from_storage(Arc::clone(&shared) as Arc<dyn Storage>).map_err(explain)?;
        let superblock = file.superblock();
        let refuse = |problem: &str| Err(Error::file(name, "HDF5 superblock", format!("{problem}; {SAVE_AGAIN}")));
        if superblock.base_address != 0 {
            return refuse("the file does not begin with HDF5, but with something else of its writer");
        }
        if superblock.offset_size != ADDRESS_SIZE || superblock.length_size != ADDRESS_SIZE {
            return refuse("addresses are not of 8 bytes");
        }
        // Version 3 marks files that are being written, or whose writer died.
        if superblock.version == 3 && superblock.consistency_flags != 0 {
            return refuse("the file is open in another program, or was not closed");
        }
        if superblock.extension_address.is_some() {
            return refuse("the file manages its free space itself (an extension of the superblock)");
        }
        if superblock.version < 2 && superblock.driver_info_address != u64::MAX {
            return refuse("the file is one of several (a driver of its own)");
        }
        let size = shared.len();
        if size < superblock.eof_address {
            let problem = format!("the file is cut off: {size} bytes of {}", superblock.eof_address);
            return Err(Error::file(name, format_args!("byte {size}"), problem));
        }
        let root = match superblock.version {
            0 => Root::Entry(40),
            1 => Root::Entry(44),
            _ => {
                let mut start = [0; 28];
                let bytes = shared.read_range(0, start.len()).map_err(explain)?;
                start.copy_from_slice(&bytes);
                Root::Header(start)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            end: size,
            file,
            shared,
            root,
        })
    }

    /// The root group.
    pub(crate) fn root(&self) -> Result<Group> {
        let root = self.file.root_group().map_err(|error| self.explain("/", error))?;
        self.group_at("/", &root)
    }

    /// A group below the root, or `None` when there is nothing.
    pub(crate) fn group(&self, parent: &Group, path: &str) -> Result<Option<Group>> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match parent.target(name) {
            None => Ok(None),
            Some(Target::Hard(_)) => {
                let group = self.file.group(path).map_err(|error| self.explain(path, error))?;
                self.group_at(path, &group).map(Some)
            }
            Some(_) => Err(self.wrong(
                path,
                format_args!("a link to another place, not a group of its own; {SAVE_AGAIN}"),
            )),
        }
    }

    /// Whether a dataset stands at a path.
    pub(crate) fn is_dataset(&self, path: &str) -> bool {
        self.file.dataset(path).is_ok()
    }

    /// The length of a list.
    pub(crate) fn len(&self, path: &str) -> Result<u64> {
        let dataset = self.file.dataset(path).map_err(|error| self.explain(path, error))?;
        match dataset.shape() {
            &[len] => Ok(len),
            shape => Err(self.wrong(path, format_args!("shape {shape:?}; wanted one number a row"))),
        }
    }

    /// The texts of an attribute, in whichever way they are stored.
    pub(crate) fn texts(&self, path: &str, attribute: &Attribute) -> Result<Vec<String>> {
        let place = format!("{path}, attribute {}", attribute.name);
        let explain = |error| self.explain(&place, error);
        // anndata writes a list of no texts as a list of no numbers.
        if attribute.data.is_empty() {
            return Ok(Vec::new());
        }
        let datatype = hdf5_reader::messages::datatype::parse(&mut Cursor::new(&attribute.datatype), attribute.datatype.len());
        let of_bytes = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map_err(|_| self.wrong(&place, "a text that is not UTF-8"))?;
            Ok(text.trim_end_matches(['\0', ' ']).to_owned())
        };
        match datatype.map_err(explain)?.datatype {
            Datatype::VarLen { .. } => attribute
                .data
                .chunks_exact(16)
                .map(|reference| {
                    let (len, address, index) = heap_reference(reference);
                    if len == 0 {
                        return Ok(String::new());
                    }
                    let storage = self.shared.as_ref();
                    let collection =
                        GlobalHeapCollection::parse_at_storage(storage, address, ADDRESS_SIZE, ADDRESS_SIZE).map_err(explain)?;
                    let object = collection.get_object(index);
                    let bytes = object.and_then(|object| object.data.get(..len));
                    of_bytes(bytes.ok_or_else(|| self.wrong(&place, "a text that is not there"))?)
                })
                .collect(),
            Datatype::String {
                size: hdf5_reader::StringSize::Fixed(size),
                ..
            } if size > 0 => attribute.data.chunks_exact(size as usize).map(of_bytes).collect(),
            other => Err(self.wrong(place, format_args!("{other:?}; wanted texts"))),
        }
    }

    /// The file to write to, and how its root is replaced.
    pub(crate) fn into_space(self) -> Result<(Root, Space<F>)> {
        drop(self.file);
        let shared = Arc::try_unwrap(self.shared).map_err(|_| Error::file(&self.name, "HDF5", "still being read"))?;
        let file = shared.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((self.root, Space::new(file, self.end)))
    }

    /// A [`Error::File`] in this file.
    pub(crate) fn wrong(&self, place: impl Display, problem: impl Display) -> Error {
        Error::file(&self.name, place, problem)
    }

    fn explain(&self, place: impl Display, error: Hdf5Error) -> Error {
        Error::file(&self.name, place, error)
    }

    fn group_at(&self, path: &str, group: &hdf5_reader::group::Group) -> Result<Group> {
        let explain = |error| self.explain(path, error);
        let header = self.file.get_or_parse_header(group.address()).map_err(explain)?;
        // Written anew it would be another group in its second place.
        let counted = |message: &HdfMessage| matches!(message, HdfMessage::ReferenceCount(count) if *count > 1);
        if header.reference_count > 1 || header.messages.iter().any(counted) {
            return Err(self.wrong(path, format_args!("a group that stands in two places; {SAVE_AGAIN}")));
        }
        let mut found = Group::default();
        for message in &header.messages {
            match message {
                HdfMessage::SymbolTable(table) => found.links.extend(self.old_links(table).map_err(explain)?),
                HdfMessage::Link(link) => found.links.push(own(link)),
                HdfMessage::LinkInfo(info) => {
                    found.next_order = info.max_creation_index;
                    found.links.extend(self.dense_links(info).map_err(explain)?);
                }
                HdfMessage::Nil
                | HdfMessage::Attribute(_)
                | HdfMessage::AttributeInfo(_)
                | HdfMessage::GroupInfo(_)
                | HdfMessage::ModificationTime(_)
                | HdfMessage::Continuation(_)
                | HdfMessage::ObjectHeaderContinuation
                | HdfMessage::ReferenceCount(_) => {}
                // A comment, a shared message: nothing of anndata's, and nothing that may be lost.
                other => return Err(self.wrong(path, format_args!("{other:?} is not known; {SAVE_AGAIN}"))),
            }
        }
        if found.links.iter().any(|link| link.name.contains('\u{FFFD}')) {
            return Err(self.wrong(path, format_args!("a name that is not UTF-8; {SAVE_AGAIN}")));
        }
        for attribute in group.raw_attributes().map_err(explain)? {
            let (message, datatype) = attribute.into_parts();
            found.attributes.push(Attribute {
                dataspace: shape(&message.dataspace).map_err(|source| Error::Io {
                    file: self.name.clone(),
                    source,
                })?,
                name: message.name,
                datatype,
                data: message.raw_data,
            });
        }
        Ok(found)
    }

    /// Links of a group as HDF5 1.6 makes them, which h5py still does.
    fn old_links(&self, table: &SymbolTableMessage) -> hdf5_reader::error::Result<Vec<Link>> {
        let storage = self.shared.as_ref();
        let heap = LocalHeap::parse_at_storage(storage, table.heap_address, ADDRESS_SIZE, ADDRESS_SIZE)?;
        let leaves = collect_btree_v1_leaves_storage(storage, table.btree_address, ADDRESS_SIZE, ADDRESS_SIZE, None, &[], None)?;
        let mut links = Vec::new();
        for (_, address) in leaves {
            // Signature, version, one reserved byte, number of entries; an entry has 40 bytes.
            let head = storage.read_range(address, 8)?;
            let n_entries = usize::from(u16::from_le_bytes([head[6], head[7]]));
            let node = storage.read_range(address, 8 + 40 * n_entries)?;
            let node = SymbolTableNode::parse(&mut Cursor::new(&node), ADDRESS_SIZE, ADDRESS_SIZE)?;
            for entry in node.entries {
                let target = if entry.cache_type == 2 {
                    let [a, b, c, d, ..] = entry.scratch;
                    Target::Soft(heap.get_string_storage(u64::from(u32::from_le_bytes([a, b, c, d])), storage)?)
                } else {
                    Target::Hard(entry.object_header_address)
                };
                links.push(Link {
                    name: heap.get_string_storage(entry.link_name_offset, storage)?,
                    target,
                    order: None,
                });
            }
            if links.len() > MAX_LINKS {
                return Err(Hdf5Error::InvalidData(format!("more than {MAX_LINKS} links")));
            }
        }
        Ok(links)
    }

    /// Links that stand in a heap of their own: groups of more than eight in files of `libver="latest"`.
    fn dense_links(&self, info: &LinkInfoMessage) -> hdf5_reader::error::Result<Vec<Link>> {
        if info.fractal_heap_address == super::UNDEFINED {
            return Ok(Vec::new());
        }
        let storage = self.shared.as_ref();
        let heap = FractalHeap::parse_at_storage(storage, info.fractal_heap_address, ADDRESS_SIZE, ADDRESS_SIZE)?;
        let tree = BTreeV2Header::parse_at_storage(storage, info.btree_name_index_address, ADDRESS_SIZE, ADDRESS_SIZE)?;
        let records = collect_btree_v2_records_storage(storage, &tree, ADDRESS_SIZE, ADDRESS_SIZE, None, &[], None)?;
        let mut links = Vec::new();
        for record in records {
            let BTreeV2Record::LinkNameHash { heap_id, .. } = record else {
                return Err(Hdf5Error::InvalidData(
                    "an index of links that holds something else".to_owned(),
                ));
            };
            let bytes = heap.get_object_storage(&heap_id, storage, ADDRESS_SIZE, ADDRESS_SIZE)?;
            let link = link::parse(&mut Cursor::new(&bytes), ADDRESS_SIZE, ADDRESS_SIZE, bytes.len())?;
            links.push(own(&link));
        }
        // By name, as h5py lists them; the heap has no order.
        links.sort_by(|a, b| a.order.cmp(&b.order).then_with(|| a.name.cmp(&b.name)));
        Ok(links)
    }
}

/// What the user can do where a file cannot be added to.
pub(crate) const SAVE_AGAIN: &str =
    "save it with a current anndata first (anndata.read_h5ad(…).write_h5ad(…)), or write the results as .csv or .parquet";

/// Length, address of the collection and index of the object.
fn heap_reference(reference: &[u8]) -> (usize, u64, u16) {
    let mut padded = [0; 16];
    padded.copy_from_slice(reference);
    let [a, b, c, d, address @ .., i, j, _, _] = padded;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u64::from_le_bytes(address),
        u16::from_le_bytes([i, j]),
    )
}

fn own(link: &LinkMessage) -> Link {
    Link {
        name: link.name.clone(),
        target: match &link.target {
            LinkTarget::Hard { address } => Target::Hard(*address),
            LinkTarget::Soft { path } => Target::Soft(path.clone()),
            LinkTarget::External { filename, path } => Target::External {
                file: filename.clone(),
                path: path.clone(),
            },
        },
        order: link.creation_order,
    }
}

fn shape(space: &DataspaceMessage) -> std::io::Result<Vec<u8>> {
    match space.dataspace_type {
        DataspaceType::Null => dataspace(None, None),
        DataspaceType::Scalar => dataspace(Some(&[]), None),
        DataspaceType::Simple => dataspace(Some(&space.dims), space.max_dims.as_deref()),
    }
}
