//! Files of `torch.save` as it writes them (`xtask/golden/torch_save.py`), and hostile ones.

use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

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

fn refused(program: &[u8], words: &str) {
    let reason = read(&archive(program, CompressionMethod::Stored)).unwrap_err();
    assert!(reason.contains(words), "{reason}");
}

/// A state_dict with one tensor `x`: numbers of its storage, its offset, size and stride.
fn one_tensor(numbers: u8, offset: u8, size: &[u8], stride: &[u8]) -> Vec<u8> {
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
    program.extend([list(size), list(stride)].concat());
    program.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    program
}

#[test]
fn every_kind_of_tensor_is_read_as_torch_wrote_it() {
    let read = read(WRITTEN).unwrap();
    let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/torch_save.safetensors");
    let expected = candle_core::safetensors::load(expected, &Device::Cpu).unwrap();
    assert_eq!(read.len(), expected.len());
    for (name, tensor) in &read {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(tensor.dims(), expected[name].dims(), "{name}");
        assert_eq!(values(tensor), values(&expected[name]), "{name}");
    }
}

#[test]
fn a_hostile_pickle_is_refused_by_what_it_asks_for() {
    let witness = std::env::temp_dir().join(format!("selfie-pickle-{}", std::process::id()));
    let command = format!("touch {}", witness.display());
    let mut program = b"\x80\x02cposix\nsystem\nX".to_vec();
    program.extend((command.len() as u32).to_le_bytes());
    program.extend(command.as_bytes());
    program.extend(b"\x85R.");
    refused(&program, "posix.system");
    assert!(!witness.exists());
    refused(b"\x80\x02cargparse\nNamespace\n)R.", "argparse.Namespace");
    let reason = read(&program).unwrap_err(); // without the archive
    assert!(reason.contains("bare pickle"), "{reason}");
}

#[test]
fn a_tensor_takes_no_more_than_its_storage_holds() {
    let good = read(&archive(&one_tensor(4, 0, &[2, 2], &[1, 2]), CompressionMethod::Stored)).unwrap();
    assert_eq!(good["x"].dims(), [2, 2]);
    refused(&one_tensor(4, 1, &[2, 2], &[2, 1]), "its storage has 4 numbers");
    refused(&one_tensor(5, 0, &[5], &[1]), "16 bytes, expected 5 numbers");
    refused(&one_tensor(4, 0, &[255, 255, 255, 255], &[0, 0, 0, 0]), "more than the file holds");
    refused(&one_tensor(4, 0, &[2], &[2, 1]), "strides");
    refused(b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n)Rs.", "tensor x");
}

#[test]
fn what_is_no_state_dict_is_told() {
    refused(b"\x80\x02]q\x00.", "no dictionary");
    refused(b"\x80\x02}q\x00.", "holds no tensor");
    refused(b"\x80\x02}q\x00", "ends in the middle");
    let packed = read(&archive(b"\x80\x02}.", CompressionMethod::Deflated)).unwrap_err();
    assert!(packed.contains("packed"), "{packed}");
    for length in [WRITTEN.len() / 2, WRITTEN.len() - 1, 30] {
        assert!(read(&WRITTEN[..length]).unwrap_err().contains("zip archive"));
    }
}
