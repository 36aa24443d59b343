//! Looks over a pickle before anything is made of it: only what tensors need may stand in it.
//!
//! A pickle is a program that may name any function of Python and call it. Nothing here calls anything, and neither does Candle's
//! reader, but a file that asks for more than tensors is not one to trust: it is refused whole, with the name that it asks for.
//! The walk also bounds how deep objects are nested and how much is copied, so that the reader behind it ends.

use std::collections::HashMap;

/// The names that `torch.save` of tensors writes.
const NAMES: [(&str, &str); 12] = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "FloatStorage"),
    ("torch", "DoubleStorage"),
    ("torch", "HalfStorage"),
    ("torch", "BFloat16Storage"),
    ("torch", "LongStorage"),
    ("torch", "IntStorage"),
    ("torch", "ShortStorage"),
    ("torch", "ByteStorage"),
    ("torch", "BoolStorage"),
];
/// Objects in objects; a state_dict has some five.
const DEEPEST: u32 = 32;
/// Objects and characters that may be copied; a state_dict of 320 tensors has some fifty thousand.
const MOST_WORK: u64 = 20_000_000;

/// What an object is like: how deep, and how much.
#[derive(Clone, Copy)]
struct Measure {
    depth: u32,
    size: u64,
}

/// The reader's stack, with measures for objects; none is a mark.
#[derive(Default)]
struct Walk {
    stack: Vec<Option<Measure>>,
    memo: HashMap<u32, Measure>,
    work: u64,
}

/// Whether `program` only builds tensors and plain values.
///
/// # Errors
/// What stands in it, and where.
pub(super) fn check(program: &[u8]) -> Result<(), String> {
    let mut rest = program;
    let mut walk = Walk::default();
    loop {
        let at = program.len() - rest.len();
        let code = take(&mut rest, 1)?[0];
        if code == b'.' {
            return Ok(());
        }
        walk.step(code, &mut rest).map_err(|reason| format!("its pickle, at byte {at}: {reason}"))?;
    }
}

impl Walk {
    fn step(&mut self, code: u8, rest: &mut &[u8]) -> Result<(), String> {
        match code {
            0x80 => drop(take(rest, 1)?),
            b'c' => {
                let (module, name) = (line(rest)?, line(rest)?);
                if !NAMES.contains(&(module.as_str(), name.as_str())) {
                    return Err(format!(
                        "it asks for {module}.{name}, which is no part of a tensor; nothing was run, expected a state_dict alone"
                    ));
                }
                self.push(0, 1);
            }
            b'X' => {
                let length = number(rest, 4)?;
                take(rest, length as usize)?;
                self.push(0, 1 + u64::from(length));
            }
            b'K' => self.atom(rest, 1)?,
            b'M' => self.atom(rest, 2)?,
            b'J' => self.atom(rest, 4)?,
            b'G' => self.atom(rest, 8)?,
            0x8a => {
                let length = number(rest, 1)?;
                if length > 8 {
                    return Err(format!("a number of {length} bytes, expected at most 8"));
                }
                self.atom(rest, length as usize)?;
            }
            b'N' | b')' | b']' | b'}' | 0x88 | 0x89 => self.push(0, 1),
            b'(' => self.stack.push(None),
            b'q' | b'r' => {
                let id = number(rest, if code == b'q' { 1 } else { 4 })?;
                let top = self.top()?;
                self.memo.insert(id, top);
                self.copied(top)?;
            }
            b'h' | b'j' => {
                let id = number(rest, if code == b'h' { 1 } else { 4 })?;
                let object = *self.memo.get(&id).ok_or_else(|| format!("object {id} is used before it is made"))?;
                self.copied(object)?;
                self.push(object.depth, object.size);
            }
            b'Q' | 0x85 => self.wrap(1)?,
            0x86 | b'R' => self.wrap(2)?,
            0x87 => self.wrap(3)?,
            b't' => {
                let inner = self.pop_to_mark()?;
                self.push(inner.depth + 1, inner.size + 1);
            }
            b'a' | b'b' => self.put(1)?,
            b's' => self.put(2)?,
            b'u' | b'e' => {
                let inner = self.pop_to_mark()?;
                self.grow(inner)?;
            }
            other => return Err(format!("op-code 0x{other:02x}, which no tensor needs")),
        }
        match self.stack.last() {
            Some(Some(top)) if top.depth > DEEPEST => Err(format!("objects nested more than {DEEPEST} deep")),
            _ => Ok(()),
        }
    }

    fn push(&mut self, depth: u32, size: u64) {
        self.stack.push(Some(Measure { depth, size }));
    }

    fn atom(&mut self, rest: &mut &[u8], bytes: usize) -> Result<(), String> {
        take(rest, bytes)?;
        self.push(0, 1);
        Ok(())
    }

    fn top(&self) -> Result<Measure, String> {
        self.stack.last().copied().flatten().ok_or_else(|| "an object is missing".to_owned())
    }

    fn pop(&mut self) -> Result<Measure, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Makes one object of the last `count`.
    fn wrap(&mut self, count: usize) -> Result<(), String> {
        let mut inner = Measure { depth: 0, size: 1 };
        for _ in 0..count {
            let object = self.pop()?;
            inner = Measure { depth: inner.depth.max(object.depth), size: inner.size + object.size };
        }
        self.push(inner.depth + 1, inner.size);
        Ok(())
    }

    /// Puts the last `count` objects into the one before them.
    fn put(&mut self, count: usize) -> Result<(), String> {
        let mut inner = Measure { depth: 0, size: 0 };
        for _ in 0..count {
            let object = self.pop()?;
            inner = Measure { depth: inner.depth.max(object.depth), size: inner.size + object.size };
        }
        self.grow(inner)
    }

    fn grow(&mut self, inner: Measure) -> Result<(), String> {
        let outer = self.pop()?;
        self.push(outer.depth.max(inner.depth + 1), outer.size + inner.size);
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Measure, String> {
        let mut inner = Measure { depth: 0, size: 0 };
        loop {
            match self.stack.pop() {
                None => return Err("a mark is missing".to_owned()),
                Some(None) => return Ok(inner),
                Some(Some(object)) => {
                    inner = Measure { depth: inner.depth.max(object.depth), size: inner.size + object.size };
                }
            }
        }
    }

    fn copied(&mut self, object: Measure) -> Result<(), String> {
        self.work += object.size;
        if self.work > MOST_WORK {
            return Err("objects are copied too often for a file of tensors".to_owned());
        }
        Ok(())
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(count).ok_or("its pickle ends in the middle")?;
    *rest = left;
    Ok(taken)
}

/// A little-endian number of one or four bytes.
fn number(rest: &mut &[u8], bytes: usize) -> Result<u32, String> {
    Ok(take(rest, bytes)?.iter().rev().fold(0, |number, &byte| (number << 8) | u32::from(byte)))
}

fn line(rest: &mut &[u8]) -> Result<String, String> {
    let length = rest.iter().position(|&byte| byte == b'\n').ok_or("its pickle ends in the middle")?;
    let text = take(rest, length + 1)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(program: &[u8], words: &str) {
        let reason = check(program).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn plain_values_pass() {
        check(b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b]q\x01(K\x02K\x03eu.").unwrap();
    }

    #[test]
    fn a_call_of_anything_else_is_refused_by_name() {
        refused(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "os.system");
        refused(b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval");
        refused(b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes");
        refused(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "op-code 0x8c"); // protocol 4 names by STACK_GLOBAL
        refused(b"(S'ls'\nios\nsystem\n.", "op-code 0x53"); // protocol 0 by INST
    }

    #[test]
    fn a_program_that_would_not_end_well_is_refused() {
        refused(&[&b"\x80\x02)"[..], &b"\x85".repeat(100), b"."].concat(), "nested more than 32");
        refused(b"\x80\x02X\xff\xff\xff\xffabc.", "ends in the middle");
        refused(b"\x80\x02}h\x07.", "object 7");
        refused(b"\x80\x02t.", "mark");
        refused(b"\x80\x02R.", "missing");
        refused(b"\x80\x02\x8a\xff.", "255 bytes");
        let doubling = [&b"\x80\x02K\x01"[..], &b"q\x00h\x00\x86".repeat(30), b"."].concat();
        refused(&doubling, "too often");
        refused(b"", "ends in the middle");
    }
}
