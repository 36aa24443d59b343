//! Memory of a parquet file with one large row group, as Polars 2.1.0 and DuckDB 2.0.1 write it: bounded by its pages.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use peak_alloc::PeakAlloc;
use selfie_train::{Dataset, Split};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Rows of 100 kB, 150 MB in all: three windows of blocks.
const ROWS: usize = 1500;
const ROW: usize = 100_000;

/// A BMP file of one pixel of this color, and bytes that no decoder looks at.
fn image(i: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ROW);
    bytes.extend(b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0");
    bytes.extend([0; 24]);
    bytes.extend([7, (i / 256) as u8, i as u8, 0]);
    bytes.resize(ROW, i as u8);
    bytes
}

fn write(path: &Path, dictionary: bool) {
    let schema = parse_message_type("message m { required binary image; }").unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(dictionary)
        .set_compression(Compression::UNCOMPRESSED)
        .set_write_batch_size(1)
        .build();
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), Arc::new(schema), properties.into()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    for i in 0..ROWS {
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(image(i))], None, None).unwrap();
    }
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn a_large_row_group_is_read_a_few_pages_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    for dictionary in [false, true] {
        let path = folder.path().join("one.parquet");
        write(&path, dictionary);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let data = Dataset::open(&format!("parquet:{}", path.display()), Split::Train).unwrap();
        for i in [0, 1, 700, 1499, 1, 701] {
            assert_eq!(data.load(i).unwrap().pixel(0, 0), [i as u8, (i / 256) as u8, 7]);
        }
        let peak = ALLOCATOR.peak_usage() - before;
        assert!(peak < 24 << 20, "{peak} bytes for four stretches of 4 MiB, dictionary {dictionary}");
    }
}
