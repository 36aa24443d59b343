//! Buffers of floats that are used again, step after step.
//!
//! A training step needs the same maps every time, hundreds of megabytes of them. Given back to the allocator they go
//! back to the system, and every page comes anew, cleared: more than a third of a step. A dropped [`Buffer`] waits
//! here instead and serves the next request for the same length. When a length is asked for that is not there (another
//! batch size, evaluation between training), what lies idle is freed once it outweighs what is in use.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Floats whose contents are arbitrary until they are written.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<f32>);

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Vec<f32>>,
    idle_floats: usize,
    used_floats: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { idle: Vec::new(), idle_floats: 0, used_floats: 0 });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    /// `len` floats of any value.
    pub(crate) fn new(len: usize) -> Self {
        let mut pool = pool();
        pool.used_floats += len;
        if let Some(at) = pool.idle.iter().rposition(|b| b.len() == len) {
            pool.idle_floats -= len;
            return Self(pool.idle.swap_remove(at));
        }
        if pool.idle_floats > pool.used_floats {
            pool.idle.clear();
            pool.idle_floats = 0;
        }
        drop(pool);
        Self(vec![0.0; len])
    }

    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.0);
        buffer
    }

    /// The first `len` floats, of any value, after growing where there are fewer.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len() < len {
            *self = Self::new(len);
        }
        &mut self.0[..len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let mut pool = pool();
        pool.used_floats -= buffer.len();
        if !buffer.is_empty() {
            pool.idle_floats += buffer.len();
            pool.idle.push(buffer);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_serves_the_next_request_of_its_length() {
        const ODD: usize = 123_457; // a length that no other test asks for
        let mut first = Buffer::new(ODD);
        first[7] = 42.0;
        let place = first.as_ptr();
        drop(first);
        let second = Buffer::new(ODD);
        assert_eq!((second.as_ptr(), second[7]), (place, 42.0));
        assert_ne!(Buffer::new(ODD).as_ptr(), place);
        assert!(Buffer::zeros(ODD).iter().all(|&x| x == 0.0));
    }
}
