//! Groups: links by name, and attributes. A group that is changed is written anew, and its parent then links to the new one.

use super::object::{Attribute, Messages};
use super::space::Space;
use super::{UNDEFINED, invalid};
use std::io::{self, Read, Seek, Write};

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An object, by the address of its header.
    Hard(u64),
    Soft(String),
    External {
        file: String,
        path: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) target: Target,
    /// In groups that keep the order in which links were made.
    pub(super) order: Option<u64>,
}

/// A group in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(super) links: Vec<Link>,
    pub(super) attributes: Vec<Attribute>,
    /// The order that the next link gets, in groups that keep it.
    pub(super) next_order: Option<u64>,
}

impl Group {
    /// What stands under a name.
    pub(crate) fn target(&self, name: &str) -> Option<&Target> {
        self.links.iter().find(|link| link.name == name).map(|link| &link.target)
    }

    /// The names of all links.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|link| link.name.as_str())
    }

    /// Links to an object, in the place of what had the name.
    pub(crate) fn link(&mut self, name: &str, address: u64) -> io::Result<()> {
        if name.is_empty() || name == "." || name.contains(['/', '\0']) {
            return Err(invalid(format!("{name:?} cannot be a name in an HDF5 file")));
        }
        let target = Target::Hard(address);
        if let Some(link) = self.links.iter_mut().find(|link| link.name == name) {
            link.target = target;
            return Ok(());
        }
        self.links.push(Link {
            name: name.to_owned(),
            target,
            order: self.next_order,
        });
        self.next_order = self.next_order.map(|order| order + 1);
        Ok(())
    }

    /// Forgets what stands under a name.
    pub(crate) fn unlink(&mut self, name: &str) {
        self.links.retain(|link| link.name != name);
    }

    /// An attribute by its name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Sets an attribute, in the place of one with its name.
    pub(crate) fn set(&mut self, attribute: Attribute) {
        match self.attributes.iter_mut().find(|old| old.name == attribute.name) {
            Some(old) => *old = attribute,
            None => self.attributes.push(attribute),
        }
    }

    /// Writes the group; gives the address of its header.
    pub(crate) fn write<F: Read + Write + Seek>(&self, space: &mut Space<F>) -> io::Result<u64> {
        let mut messages = Messages::default();
        // Link info: no heap of links, for they all stand in the header.
        let mut info = vec![0, u8::from(self.next_order.is_some())];
        info.extend(self.next_order.into_iter().flat_map(u64::to_le_bytes));
        info.extend_from_slice(&UNDEFINED.to_le_bytes());
        info.extend_from_slice(&UNDEFINED.to_le_bytes());
        messages.push(0x02, &info)?;
        messages.push(0x0A, &[0, 0])?;
        messages.attributes(&self.attributes)?;
        for link in &self.links {
            messages.push(0x06, &link.message()?)?;
        }
        messages.write(space)
    }
}

impl Link {
    fn message(&self) -> io::Result<Vec<u8>> {
        let len = |text: &str| u16::try_from(text.len()).map(u16::to_le_bytes).map_err(io::Error::other);
        // Lengths of names have two bytes, the kind of link and the character set (UTF-8) are given.
        let mut bytes = vec![1, 0x19 | if self.order.is_some() { 4 } else { 0 }];
        bytes.push(match self.target {
            Target::Hard(_) => 0,
            Target::Soft(_) => 1,
            Target::External { .. } => 64,
        });
        bytes.extend(self.order.into_iter().flat_map(u64::to_le_bytes));
        bytes.push(1);
        bytes.extend_from_slice(&len(&self.name)?);
        bytes.extend_from_slice(self.name.as_bytes());
        match &self.target {
            Target::Hard(address) => bytes.extend_from_slice(&address.to_le_bytes()),
            Target::Soft(path) => {
                bytes.extend_from_slice(&len(path)?);
                bytes.extend_from_slice(path.as_bytes());
            }
            Target::External { file, path } => {
                let both = format!("\0{file}\0{path}\0");
                bytes.extend_from_slice(&len(&both)?);
                bytes.extend_from_slice(both.as_bytes());
            }
        }
        Ok(bytes)
    }
}
