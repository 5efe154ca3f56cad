//! Gzip files and zip archives, whole and broken ones.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// One member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive of stored or deflated entries, as the specification has it.
pub(crate) fn zip(files: &[(String, Vec<u8>)], flags: u16, wrong_size: bool) -> Vec<u8> {
    let (mut archive, mut list) = (Vec::new(), Vec::new());
    for (i, (name, bytes)) in files.iter().enumerate() {
        let packed = gzip(bytes);
        let (method, data) = if i % 2 == 0 {
            (8_u16, &packed[10..packed.len() - 8])
        } else {
            (0, bytes.as_slice())
        };
        let size = bytes.len() - usize::from(wrong_size && method == 8);
        let mut head = Vec::new();
        for number in [20, flags, method, 0, 0x21] {
            head.extend(number.to_le_bytes());
        }
        head.extend(&packed[packed.len() - 8..packed.len() - 4]);
        head.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        head.extend(u32::try_from(size).unwrap().to_le_bytes());
        head.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        head.extend([0, 0]);
        let place = u32::try_from(archive.len()).unwrap();
        archive.extend(b"PK\x03\x04");
        archive.extend(&head);
        archive.extend(name.as_bytes());
        archive.extend(data);
        list.extend(b"PK\x01\x02\x14\x00");
        list.extend(&head);
        list.extend([0; 10]);
        list.extend(place.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let (place, len, n) = (archive.len(), list.len(), u16::try_from(files.len()).unwrap());
    archive.extend(&list);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([n.to_le_bytes(), n.to_le_bytes()].concat());
    archive.extend(u32::try_from(len).unwrap().to_le_bytes());
    archive.extend(u32::try_from(place).unwrap().to_le_bytes());
    archive.extend([0, 0]);
    archive
}
