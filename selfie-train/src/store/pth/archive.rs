//! Zip layout of `torch.save`, since PyTorch 1.6: `NAME/data.pkl` and one member `NAME/data/KEY` per storage.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::object::Pickle;
use super::pickle;

/// Longest pickle that is read, in bytes; the pickle of a ResNet-50 has 40 kB.
const LONGEST: usize = 16 << 20;

/// Reads the pickle and the places of the storages.
pub(super) fn parts(bytes: &[u8]) -> Result<(Pickle<'_>, HashMap<String, Range<usize>>), String> {
    let members = members(bytes)?;
    let (folder, program) = the_pickle(&members)?;
    let order = members.get(format!("{folder}byteorder").as_str());
    if order.is_some_and(|order| &bytes[order.clone()] != b"little") {
        return Err("its numbers are big-endian, expected little-endian".to_owned());
    }
    let code = format!("{folder}code");
    if members.keys().any(|name| *name == code || name.starts_with(&format!("{code}/"))) {
        return Err("is a TorchScript program, expected a state_dict\n\
                    hint: torch.save(torch.jit.load(FILE, map_location=\"cpu\").state_dict(), NEW) writes one"
            .to_owned());
    }
    if program.len() > LONGEST {
        return Err(format!("its pickle has {} bytes, expected at most {LONGEST}", program.len()));
    }
    let storage = |(name, place): (&String, &Range<usize>)| {
        let key = name.strip_prefix(&folder)?.strip_prefix("data/")?;
        Some((key.to_owned(), place.clone()))
    };
    let storages = members.iter().filter_map(storage).collect();
    Ok((pickle::read(&bytes[program])?, storages))
}

/// Returns the folder of the one member `data.pkl`, and its place.
fn the_pickle(members: &HashMap<String, Range<usize>>) -> Result<(String, Range<usize>), String> {
    let mut found = members.iter().filter(|(name, _)| name.ends_with("/data.pkl"));
    if let (Some((name, place)), None) = (found.next(), found.next()) {
        return Ok((name.trim_end_matches("data.pkl").to_owned(), place.clone()));
    }
    let mut names: Vec<_> = members.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.truncate(4);
    let names = names.join(", ");
    Err(format!("is a zip archive of {names}, expected one member data.pkl, as torch.save writes it"))
}

/// Returns the place of every member, each checked against its checksum.
///
/// `torch.save` stores members uncompressed. After `torch.serialization.set_crc32_options(False)` it writes 0 for every
/// checksum, so 0 means that there is none; `torch.load` itself checks none.
fn members(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    let wrong = |error| format!("not a complete zip archive: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(wrong)?;
    let mut places = HashMap::new();
    for i in 0..archive.len() {
        let member = archive.by_index_raw(i).map_err(wrong)?;
        if member.is_dir() {
            continue;
        }
        let name = member.name().map_err(wrong)?.into_owned();
        let (size, start) = (member.compressed_size() as usize, member.data_start().unwrap_or(u64::MAX) as usize);
        let Some(content) = start.checked_add(size).and_then(|end| bytes.get(start..end)) else {
            return Err(format!("not a complete zip archive: member {name} ends behind the file"));
        };
        if member.compression() != CompressionMethod::Stored {
            return Err(format!("member {name}: is compressed, expected it stored, as torch.save writes it"));
        }
        if member.crc32() != 0 && crc32fast::hash(content) != member.crc32() {
            return Err(format!("damaged: member {name} does not have its checksum"));
        }
        places.insert(name, start..start + size);
    }
    Ok(places)
}
