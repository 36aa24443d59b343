//! Images that are read best in stretches: the blocks of a source, and the blocks in memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::spans::Spans;
use super::storage::{Fault, read_range};

/// Bytes of one window of blocks, about: two windows are in memory while one goes over into the next.
const WINDOW_BYTES: u64 = 128 << 20;

/// Consecutive images that lie together, and how many of these blocks are read at a time.
///
/// A shuffled epoch permutes the blocks, then the images of each window of blocks, so that every block is read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) spans: Spans,
    /// Blocks a window, at least 1.
    pub(super) window: usize,
}

impl Blocks {
    /// Blocks of which the largest takes `most` bytes in memory.
    pub(super) fn new(spans: Spans, most: u64) -> Self {
        Self { spans, window: (WINDOW_BYTES / most.max(1)).clamp(1, 64) as usize }
    }
}

/// The blocks that were used last. Each is loaded once, by the first thread that needs it, while others wait.
pub(super) struct BlockCache<T> {
    slots: Mutex<VecDeque<Slot<T>>>, // the last used one in front
    capacity: usize,
}

struct Slot<T> {
    block: usize,
    content: Arc<OnceLock<T>>,
}

impl<T> BlockCache<T> {
    /// Room for two windows.
    pub(super) fn new(window: usize) -> Self {
        Self { slots: Mutex::default(), capacity: 2 * window }
    }

    /// The place of a block's content, and whether it is asked for the first time since it was dropped.
    pub(super) fn slot(&self, block: usize) -> (Arc<OnceLock<T>>, bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|slot| slot.block == block).and_then(|at| slots.remove(at));
        let is_new = known.is_none();
        let slot = known.unwrap_or_else(|| Slot { block, content: Arc::default() });
        let content = Arc::clone(&slot.content);
        slots.push_front(slot);
        slots.truncate(self.capacity);
        (content, is_new)
    }

    /// Drops a block, so that it is loaded again the next time.
    pub(super) fn forget(&self, block: usize) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).retain(|slot| slot.block != block);
    }
}

/// Reads pieces of files. The first piece of a block is read alone; from the second one on the whole block is, in one go.
pub(super) struct PieceReader {
    cache: BlockCache<Result<Vec<u8>, Fault>>,
}

impl PieceReader {
    pub(super) fn new(blocks: &Blocks) -> Self {
        Self { cache: BlockCache::new(blocks.window) }
    }

    /// The bytes `piece` of `file`, which lie in the stretch of block `block`.
    pub(super) fn read(
        &self,
        block: usize,
        stretch: Range<u64>,
        file: &Path,
        piece: Range<u64>,
    ) -> Result<Vec<u8>, Fault> {
        let (slot, is_first) = self.cache.slot(block);
        if is_first {
            return read_range(file, piece);
        }
        let whole = slot.get_or_init(|| read_range(file, stretch.clone()));
        match whole {
            Ok(bytes) => {
                let within = (piece.start - stretch.start) as usize..(piece.end - stretch.start) as usize;
                bytes.get(within).map(<[u8]>::to_vec).ok_or_else(|| Fault::File("lies outside of its block".to_owned()))
            }
            // Perhaps only the end is missing, or the system is well again.
            Err(fault) => {
                if fault.is_of_system() {
                    self.cache.forget(block);
                }
                read_range(file, piece)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_many_blocks_as_fit() {
        let window = |most| Blocks::new(Spans::default(), most).window;
        assert_eq!((window(0), window(11 << 20), window(1 << 40)), (64, 11, 1));
    }

    #[test]
    fn blocks_are_loaded_once_until_others_push_them_out() {
        let cache = BlockCache::<usize>::new(1);
        let load = |block| {
            let (slot, is_new) = cache.slot(block);
            (*slot.get_or_init(|| block * 10), is_new)
        };
        assert_eq!([load(1), load(2), load(1)], [(10, true), (20, true), (10, false)]);
        assert_eq!([load(3), load(2)], [(30, true), (20, true)]); // room for two
    }

    #[test]
    fn pieces_are_the_same_alone_and_out_of_their_block() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), (0..100).collect::<Vec<u8>>()).unwrap();
        let reader = PieceReader::new(&Blocks::new(Spans::default(), 1));
        for _ in 0..3 {
            assert_eq!(reader.read(0, 10..50, file.path(), 12..15).unwrap(), [12, 13, 14]);
        }
        let text = String::from(reader.read(1, 90..120, file.path(), 95..105).unwrap_err());
        assert!(text.contains("5 of 10 bytes at 95"), "{text}");
        assert!(reader.read(1, 90..120, file.path(), 95..105).is_err());
        assert_eq!(reader.read(1, 90..120, file.path(), 95..100).unwrap(), [95, 96, 97, 98, 99]);
    }
}
