//! Arrays stored and packed.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn npy(header: &str, numbers: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(numbers);
    bytes
}

fn npz(method: CompressionMethod, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const HEADER: &str = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n";

#[test]
fn an_array_is_the_same_stored_packed_and_unpacked_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let path = folder.path().join("a.npz");
        std::fs::write(&path, npz(method, &[("data.npy", &npy(HEADER, &[1, 2, 3, 4, 5, 6]))])).unwrap();
        let array = Array::open(&path, "data", Some(folder.path())).unwrap();
        assert_eq!(array.read().unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(matches!(array.place, Place::File(..)), method == CompressionMethod::Stored);
        let mut archive = Archive::open(File::open(&path).unwrap(), 1 << 20).unwrap();
        let to = folder.path().join("unpacked.npy");
        archive.unpack_to("data", &to).unwrap();
        assert_eq!(std::fs::read(to).unwrap(), npy(HEADER, &[1, 2, 3, 4, 5, 6]));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let find = |bytes: &[u8], name: &str| {
        let mut archive = Archive::open(Cursor::new(bytes), bytes.len() as u64)?;
        archive.find(name).map(|_| ())
    };
    let whole = npz(CompressionMethod::Stored, &[("data.npy", &npy(HEADER, &[0; 6]))]);
    find(&whole, "data").unwrap();
    let text = find(&whole, "labels").unwrap_err();
    assert!(text.contains("labels.npy") && text.contains("met data.npy"), "{text}");
    let short = npz(CompressionMethod::Stored, &[("data.npy", &npy(HEADER, &[0; 5]))]);
    let text = find(&short, "data").unwrap_err();
    assert!(
        text.contains("the array data has 75 bytes, expected 70 and those of [2, 3] numbers of kind |u1"),
        "{text}"
    );
    assert!(find(&whole[..whole.len() / 2], "data").unwrap_err().contains("no .npz archive"));
}
