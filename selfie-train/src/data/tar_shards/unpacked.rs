//! Compressed shards: images are read from any place of a shard, which compression does not allow.
//!
//! A shard compressed by gzip is unpacked once into the user's cache folder ([`super::super::index_cache::folder`]) and read from
//! there until its size or time changes. It takes as many bytes there as it unpacks to; the folder may be deleted at any time.
//! Shards compressed otherwise are refused with the command that unpacks them.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::error::{DataError, DataResult};
use super::super::index_cache::{self, file_state};

/// The first bytes of compressed files that are not read, what compressed them, and what unpacks them.
const OTHERS: [(&[u8], &str, &str); 6] = [
    (b"BZh", "bzip2", "bzip2 -dk"),
    (b"\xfd7zXZ\0", "xz", "xz -dk"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dk"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dk"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
];

const GZIP: &[u8] = b"\x1f\x8b";

/// The plain archive for `shard`: itself, or what it unpacks to in the folder `cache`.
pub(super) fn plain(shard: &Path, cache: Option<&Path>) -> DataResult<PathBuf> {
    let mut start = Vec::new();
    let file = File::open(shard).map_err(DataError::io(shard))?;
    file.take(8).read_to_end(&mut start).map_err(DataError::io(shard))?;
    if let Some((_, by, command)) = OTHERS.iter().find(|(magic, ..)| start.starts_with(magic)) {
        let reason = format!(
            "compressed by {by}, expected tar, plain or compressed by gzip\nhint: unpack it: {command} {}",
            shard.display()
        );
        return Err(DataError::format(shard, reason));
    }
    if !start.starts_with(GZIP) {
        return Ok(shard.to_path_buf());
    }
    let Some(cache) = cache else {
        let reason = format!(
            "compressed by gzip, expected plain tar if there is no cache folder to unpack it to\nhint: unpack it: gzip -dk {}",
            shard.display()
        );
        return Err(DataError::format(shard, reason));
    };
    unpack(shard, cache)
}

/// Unpacks a shard into the cache, unless it is there already.
fn unpack(shard: &Path, cache: &Path) -> DataResult<PathBuf> {
    let (size, time) = file_state(shard).map_err(DataError::io(shard))?;
    let shard = std::path::absolute(shard).map_err(DataError::io(shard))?;
    let base = index_cache::file_for(cache, "unpacked", &shard).with_extension("");
    let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = cache.join(format!("{name}-{size:x}-{time:x}.tar"));
    if target.is_file() {
        return Ok(target);
    }
    std::fs::create_dir_all(cache).map_err(DataError::io(cache))?;
    // Several processes may open the same data at once; one of them unpacks.
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(DataError::io(&lock_path))?;
    lock.lock().map_err(DataError::io(&lock_path))?;
    if target.is_file() {
        return Ok(target);
    }
    drop_older(cache, &name);
    let temporary = target.with_extension("tmp");
    write(&shard, size, &temporary).inspect_err(|_| drop(std::fs::remove_file(&temporary)))?;
    std::fs::rename(&temporary, &target).map_err(DataError::io(&target))?;
    Ok(target)
}

/// Removes what earlier versions of the same shard unpacked to.
fn drop_older(cache: &Path, name: &str) {
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let is_older = file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        if is_older && (file.ends_with(".tar") || file.ends_with(".tmp")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn write(shard: &Path, size: u64, target: &Path) -> DataResult<()> {
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("unpacking {msg} {wide_bar} {bytes} of {total_bytes}, {eta}") {
        bar.set_style(style);
    }
    bar.set_message(shard.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string());
    tracing::info!("unpacking {} to {}", shard.display(), target.display());
    let file = File::open(shard).map_err(DataError::io(shard))?;
    let mut input = MultiGzDecoder::new(BufReader::with_capacity(1 << 20, bar.wrap_read(file)));
    let mut output = File::create(target).map_err(DataError::io(target))?;
    let mut buffer = vec![0; 1 << 20];
    let mut is_first = true;
    loop {
        let read = fill(&mut input, &mut buffer).map_err(|error| damaged(shard, &error))?;
        if std::mem::take(&mut is_first) && !is_tar(&buffer[..read]) {
            return Err(DataError::format(shard, "compressed by gzip, but not a tar archive, expected one"));
        }
        if read == 0 {
            break;
        }
        output.write_all(&buffer[..read]).map_err(DataError::io(target))?;
    }
    output.sync_all().map_err(DataError::io(target))?;
    bar.finish_and_clear();
    Ok(())
}

fn damaged(shard: &Path, error: &io::Error) -> DataError {
    DataError::format(shard, format!("compressed by gzip, and damaged or cut off: {error}"))
}

/// Fills `buffer` as far as there is input.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether an archive begins here, by the sum of its first header; zeros are an empty one.
fn is_tar(start: &[u8]) -> bool {
    let Some(block) = start.first_chunk::<512>() else { return false };
    let header = tar::Header::from_byte_slice(block);
    let sum = |signed: bool| -> i64 {
        let of = |(i, &byte): (usize, &u8)| match i {
            148..156 => 32,
            _ if signed => i64::from(byte as i8),
            _ => i64::from(byte),
        };
        block.iter().enumerate().map(of).sum()
    };
    let told = header.cksum().ok().map(i64::from);
    block.iter().all(|&byte| byte == 0) || told == Some(sum(false)) || told == Some(sum(true))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn tar_of(content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, "1.png", content).unwrap();
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_shard_is_unpacked_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (shard, cache) = (folder.path().join("a.tar.gz"), folder.path().join("cache"));
        let tar = tar_of(b"one");
        // Two members of gzip, as pigz and bgzip write them.
        let (first, second) = tar.split_at(700);
        std::fs::write(&shard, [gzip(first), gzip(second)].concat()).unwrap();
        let unpacked = plain(&shard, Some(&cache)).unwrap();
        assert_eq!(std::fs::read(&unpacked).unwrap(), tar);
        let time = std::fs::metadata(&unpacked).unwrap().modified().unwrap();
        assert_eq!(plain(&shard, Some(&cache)).unwrap(), unpacked);
        assert_eq!(std::fs::metadata(&unpacked).unwrap().modified().unwrap(), time);
        let other = tar_of(&[2; 2000]);
        std::fs::write(&shard, gzip(&other)).unwrap();
        let again = plain(&shard, Some(&cache)).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), other);
        assert!(!unpacked.exists(), "what the old shard unpacked to is still there");
    }

    #[test]
    fn what_cannot_be_unpacked_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (shard, cache) = (folder.path().join("a.tgz"), folder.path().join("cache"));
        let error = |bytes: &[u8]| {
            std::fs::write(&shard, bytes).unwrap();
            plain(&shard, Some(&cache)).unwrap_err().to_string()
        };
        let whole = gzip(&tar_of(&(0..3000u32).map(|i| (i * i) as u8).collect::<Vec<_>>()));
        assert!(error(&whole[..whole.len() - 40]).contains("a.tgz: compressed by gzip, and damaged or cut off"));
        assert!(error(&gzip(&[7; 3000])).contains("not a tar archive"));
        assert!(
            error(b"BZh91AY")
                .contains("compressed by bzip2, expected tar, plain or compressed by gzip\nhint: unpack it: bzip2 -dk")
        );
        assert!(error(b"\xfd7zXZ\0\0").contains("compressed by xz"));
        assert!(error(b"\x28\xb5\x2f\xfd\0\0").contains("compressed by zstd"));
        let left: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".lock")), "{left:?}");
        std::fs::write(&shard, &whole).unwrap();
        assert!(plain(&shard, None).unwrap_err().to_string().contains("hint: unpack it: gzip -dk"));
    }
}
