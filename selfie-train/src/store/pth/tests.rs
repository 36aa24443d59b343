//! Files of `torch.save` as it writes them (`xtask/golden/torch_save.py`), and hostile ones.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use candle_core::Device;

use super::*;

const WRITTEN: &[u8] = include_bytes!("../../../tests/golden/torch_save.pth");

/// An archive with `program` as its pickle and four floats as storage 0.
fn archive(program: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in [("a/data.pkl", program), ("a/byteorder", b"little"), ("a/data/0", &[0; 16])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Reads every tensor of a file.
fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let (pth, mut budget) = (Pth::index(bytes)?, 2 * bytes.len());
    let names = pth.shapes().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    names.into_iter().map(|name| Ok((name.clone(), pth.read(bytes, &name, &mut budget)?))).collect()
}

fn refused(program: &[u8], words: &str) {
    let reason = read(&archive(program, CompressionMethod::Stored)).unwrap_err();
    assert!(reason.contains(words), "{reason}");
}

/// A state_dict with one tensor `x`: values of its storage, its offset, shape and strides.
fn one_tensor(numbers: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let text = |text: &str| [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat();
    let list = |numbers: &[u8]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|&n| [b'K', n]).collect();
        [b"(".as_slice(), &numbers, b"t"].concat()
    };
    let mut program = b"\x80\x02}".to_vec();
    program.extend(text("x"));
    program.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    program.extend(text("storage"));
    program.extend(b"ctorch\nFloatStorage\n");
    program.extend([text("0"), text("cpu")].concat());
    program.extend([b'K', numbers, b't', b'Q', b'K', offset]);
    program.extend([list(shape), list(strides)].concat());
    program.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    program
}

#[test]
fn every_kind_of_tensor_is_read_as_torch_wrote_it() {
    let read = read(WRITTEN).unwrap();
    let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/torch_save.safetensors");
    let expected = candle_core::safetensors::load(expected, &Device::Cpu).unwrap();
    assert_eq!(read.len(), expected.len());
    for (name, tensor) in &expected {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let got = &read[&format!("state_dict.module.{name}")];
        assert_eq!(got.dims(), tensor.dims(), "{name}");
        assert_eq!(values(got), values(tensor), "{name}");
    }
}

#[test]
fn a_hostile_pickle_is_refused_by_what_it_names() {
    let witness = std::env::temp_dir().join(format!("selfie-pickle-{}", std::process::id()));
    let command = format!("touch {}", witness.display());
    let mut program = b"\x80\x02cposix\nsystem\nX".to_vec();
    program.extend((command.len() as u32).to_le_bytes());
    program.extend(command.as_bytes());
    program.extend(b"\x85R.");
    refused(&program, "posix.system");
    assert!(!witness.exists());
    refused(b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval");
    refused(b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes");
    refused(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "op-code 0x8c"); // protocol 4 names by STACK_GLOBAL
    refused(b"(S'ls'\nios\nsystem\n.", "op-code 0x53"); // protocol 0 by INST
    let reason = read(&program).unwrap_err(); // without the archive
    assert!(reason.contains("bare pickle"), "{reason}");
}

#[test]
fn a_tensor_takes_no_more_than_its_storage_contains() {
    let good = read(&archive(&one_tensor(4, 0, &[2, 2], &[1, 2]), CompressionMethod::Stored)).unwrap();
    assert_eq!(good["x"].dims(), [2, 2]);
    let repeated = read(&archive(&one_tensor(4, 1, &[3, 2], &[0, 1]), CompressionMethod::Stored)).unwrap();
    assert_eq!(repeated["x"].dims(), [3, 2]); // as torch.save writes an expanded tensor
    refused(&one_tensor(4, 1, &[2, 2], &[2, 1]), "its storage has 4 values");
    refused(&one_tensor(5, 0, &[5], &[1]), "16 bytes, expected 5 values");
    refused(&one_tensor(4, 0, &[255, 255, 255, 255], &[0, 0, 0, 0]), "more than the file contains");
    refused(&one_tensor(4, 0, &[2], &[2, 1]), "strides");
}

#[test]
fn a_program_that_does_not_end_well_is_refused() {
    refused(b"\x80\x02X\xff\xff\xff\xffabc.", "ends in the middle");
    refused(b"\x80\x02}q\x00", "ends in the middle");
    refused(b"", "ends in the middle");
    refused(b"\x80\x02}h\x07.", "object 7");
    refused(b"\x80\x02t.", "mark");
    refused(b"\x80\x02R.", "missing");
    refused(b"\x80\x02K\x01)R.", "not a name");
    refused(b"\x80\x02}K\x01a.", "not a list");
    refused(b"\x80\x02]K\x01K\x02s.", "not a dictionary");
}

#[test]
fn objects_nested_or_shared_without_end_take_no_time() {
    let nested = [&b"\x80\x02]"[..], &b"]".repeat(900_000), &b"a".repeat(899_999), b"."].concat();
    refused(&nested, "contains no tensor");
    let doubling = [&b"\x80\x02K\x01"[..], &b"q\x00h\x00\x86".repeat(40), b"."].concat();
    refused(&doubling, "refer to each other too often");
    refused(b"\x80\x02]q\x00h\x00a.", "contains no tensor"); // a list that contains itself
    refused(&[&b"\x80\x02"[..], &b"N".repeat(1_000_001)].concat(), "more than 1000000 objects");
}

#[test]
fn what_is_not_a_state_dict_is_refused() {
    refused(b"\x80\x02]q\x00.", "contains no tensor");
    let packed = read(&archive(b"\x80\x02}.", CompressionMethod::Deflated)).unwrap_err();
    assert!(packed.contains("compressed"), "{packed}");
    for length in [WRITTEN.len() / 2, WRITTEN.len() - 1, 30] {
        assert!(read(&WRITTEN[..length]).unwrap_err().contains("zip archive"));
    }
}
