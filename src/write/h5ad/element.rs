//! Elements as anndata's on-disk format knows them.

use super::super::hdf5::{Attribute, Group, Space, Type, dataset, text_array};
use std::io::{self, Read, Seek, Write};

/// Writes a categorical column, whose codes stand in the file; gives its address.
pub(super) fn categorical<F: Read + Write + Seek>(space: &mut Space<F>, codes: u64, names: &[String]) -> io::Result<u64> {
    let mut group = Group::default();
    encode(space, &mut group, "categorical", "0.2.0")?;
    group.set(Attribute::truth("ordered", false)?);
    group.link("codes", codes)?;
    group.link("categories", string_array(space, names)?)?;
    group.write(space)
}

pub(super) fn string_array<F: Read + Write + Seek>(space: &mut Space<F>, texts: &[String]) -> io::Result<u64> {
    let attributes = encoding(space, "string-array", "0.2.0")?;
    text_array(space, texts, &attributes)
}

pub(super) fn number_array<F: Read + Write + Seek>(
    space: &mut Space<F>,
    datatype: Type,
    dims: &[u64],
    data: &[u8],
) -> io::Result<u64> {
    let attributes = encoding(space, "array", "0.2.0")?;
    dataset(space, datatype, dims, data, &attributes)
}

/// The two attributes by which anndata knows what it reads.
pub(super) fn encoding<F: Read + Write + Seek>(space: &mut Space<F>, kind: &str, version: &str) -> io::Result<[Attribute; 2]> {
    Ok([
        Attribute::text(space, "encoding-type", kind)?,
        Attribute::text(space, "encoding-version", version)?,
    ])
}

pub(super) fn encode<F: Read + Write + Seek>(
    space: &mut Space<F>,
    group: &mut Group,
    kind: &str,
    version: &str,
) -> io::Result<()> {
    encoding(space, kind, version)?
        .into_iter()
        .for_each(|attribute| group.set(attribute));
    Ok(())
}
