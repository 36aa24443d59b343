//! Interpreter of pickles, limited to the op-codes of `torch.load(weights_only=True)`.
//!
//! A pickle is a program that may name any function of Python and call it. This interpreter calls nothing. It builds plain
//! objects, and rejects the whole file if it contains a name outside of [`names`]. Objects lie in one list and refer to each
//! other by their places in it, so that no pickle can overflow the stack, and building one takes memory in proportion to the
//! pickle's length.

use std::collections::HashMap;

use super::names::{self, Name};
use super::object::{Id, Object, Pickle};
use super::tensor::Described;

/// Most objects of one pickle; a state_dict of 320 tensors with its optimizer has some 50,000.
const MOST_OBJECTS: usize = 1_000_000;

/// Runs the program at the start of `bytes`.
///
/// # Errors
/// Returns the reason and the place in words.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine = Machine {
        pickle: Pickle { program: bytes, objects: Vec::new(), root: 0, end: 0 },
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    loop {
        let at = machine.at;
        let done = machine.step().map_err(|reason| format!("its pickle, at byte {at}: {reason}"))?;
        if done {
            machine.pickle.end = machine.at;
            return Ok(machine.pickle);
        }
    }
}

/// State of the interpreter.
struct Machine<'a> {
    pickle: Pickle<'a>,
    at: usize,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Pairs that were copied from lists into dictionaries.
    copied: usize,
}

impl Machine<'_> {
    /// Runs one op-code; returns whether it was the last one.
    fn step(&mut self) -> Result<bool, String> {
        match self.take(1)?[0] {
            b'.' => {
                self.pickle.root = self.pop()?;
                return Ok(true);
            }
            0x80 => drop(self.take(1)?),
            b'c' => self.name()?,
            // Constants.
            b'N' | 0x88 | 0x89 => self.push(Object::Other)?,
            b')' => self.push(Object::Tuple(Vec::new()))?,
            b']' => self.push(Object::List(Vec::new()))?,
            b'}' => self.push(Object::Dict(Vec::new()))?,
            0x8f => self.push(Object::Other)?, // a set
            b'K' => self.int(1, false)?,
            b'M' => self.int(2, false)?,
            b'J' => self.int(4, true)?,
            0x8a => {
                let length = self.take(1)?[0] as usize;
                self.int(length, true)?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Object::Other)?;
            }
            b'X' => {
                let length = self.number(4)? as usize;
                self.string(length)?;
            }
            b'U' => {
                let length = self.take(1)?[0] as usize;
                self.string(length)?;
            }
            // Containers.
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Object::Tuple(items))?;
            }
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(items)?;
            }
            // Memory.
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            // Objects of classes.
            b'Q' => self.storage()?,
            b'R' | 0x81 => self.call()?,
            b'b' => {
                self.pop()?; // attributes, such as the versions in a state_dict's `_metadata`
                self.top()?;
            }
            other => {
                return Err(format!(
                    "op-code 0x{other:02x}, which torch.load(weights_only=True) does not accept{}",
                    super::named::SAVE_AGAIN
                ));
            }
        }
        Ok(false)
    }

    fn name(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        match names::accepted(&module, &name) {
            Some(known) => self.push(Object::Name(known)),
            None => Err(format!(
                "it names {module}.{name}, which torch.load(weights_only=True) does not accept; nothing was run{}",
                super::named::SAVE_AGAIN
            )),
        }
    }

    /// Replaces a name and its arguments by what the call would build.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Object::Name(name) = *self.pickle.get(callable) else {
            return Err("it calls something that is not a name".to_owned());
        };
        let Object::Tuple(arguments) = self.pickle.get(arguments) else {
            return Err("it calls a name without a tuple of arguments".to_owned());
        };
        // (function, class, arguments, attributes): the function is called instead.
        let inner = match (name, arguments.as_slice()) {
            (Name::Wrapped, [function, _, inner, ..]) => match (self.pickle.get(*function), self.pickle.get(*inner)) {
                (Object::Name(name), Object::Tuple(inner)) => Some((*name, inner.as_slice())),
                _ => None,
            },
            _ => Some((name, arguments.as_slice())),
        };
        let Some((name, arguments)) = inner else { return self.push(Object::Other) };
        let object = match (name, arguments.first()) {
            (Name::Dict, None) => Object::Dict(Vec::new()),
            (Name::Dict, Some(first)) if matches!(self.pickle.get(*first), Object::List(_)) => self.dict_of(*first)?,
            (Name::Dict | Name::Tuple | Name::FirstArgument, Some(first)) => {
                self.stack.push(*first);
                return Ok(());
            }
            (Name::Tensor | Name::TypedTensor, _) => {
                let tensor = Described::of(&self.pickle, arguments, name == Name::TypedTensor);
                tensor.map_or(Object::Other, |tensor| Object::Tensor(Box::new(tensor)))
            }
            _ => Object::Other,
        };
        self.push(object)
    }

    /// Returns a dictionary of the pairs in the list at `id`.
    fn dict_of(&mut self, id: Id) -> Result<Object, String> {
        let Object::List(pairs) = self.pickle.get(id) else { return Ok(Object::Other) };
        let pairs: Vec<_> = pairs.iter().filter_map(|id| self.pair(*id)).collect();
        self.copied += pairs.len();
        if self.copied > MOST_OBJECTS {
            return Err(too_many());
        }
        Ok(Object::Dict(pairs))
    }

    fn pair(&self, id: Id) -> Option<(Id, Id)> {
        match self.pickle.get(id) {
            Object::Tuple(pair) | Object::List(pair) => Some((*pair.first()?, *pair.get(1)?)),
            _ => None,
        }
    }

    /// Builds the reference that the tuple ("storage", class, key, device, number of values, view) stands for.
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let wrong = "a reference that is not to a storage";
        let Object::Tuple(parts) = self.pickle.get(id) else { return Err(wrong.to_owned()) };
        let [kind, class, key, _, numbers, rest @ ..] = parts.as_slice() else { return Err(wrong.to_owned()) };
        let Object::Name(class) = self.pickle.get(*class) else { return Err(wrong.to_owned()) };
        if self.pickle.text(*kind).as_deref() != Some("storage") || self.pickle.text(*key).is_none() {
            return Err(wrong.to_owned());
        }
        // In files before PyTorch 1.6: (key, offset, number of values), or None.
        let view = match rest.first().map(|id| self.pickle.get(*id)) {
            Some(Object::Tuple(view)) => view.get(1).and_then(|offset| self.pickle.whole(*offset)),
            _ => None,
        };
        let object = match (class, self.pickle.whole(*numbers)) {
            (Name::Element(element), Some(numbers)) => {
                Object::Storage(*element, *key, numbers, view.unwrap_or_default())
            }
            _ => Object::Other,
        };
        self.push(object)
    }

    fn push(&mut self, object: Object) -> Result<(), String> {
        if self.pickle.objects.len() >= MOST_OBJECTS {
            return Err(too_many());
        }
        self.stack.push(self.pickle.objects.len() as Id);
        self.pickle.objects.push(object);
        Ok(())
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(|| "an object is missing".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Object::Tuple(items))
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.pickle.objects[top as usize] {
            Object::List(list) => list.extend(items),
            _ => return Err("it appends to something that is not a list".to_owned()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.pickle.objects[top as usize] {
            Object::Dict(entries) => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err("it sets an entry of something that is not a dictionary".to_owned()),
        }
        Ok(())
    }

    fn remember(&mut self, width: usize) -> Result<(), String> {
        let (place, top) = (self.number(width)?, self.top()?);
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), String> {
        let place = self.number(width)?;
        let id = *self.memo.get(&place).ok_or_else(|| format!("object {place} is used before it is made"))?;
        self.stack.push(id);
        Ok(())
    }

    /// Pushes a little-endian whole number of `length` bytes; one of more than eight bytes has no use here.
    fn int(&mut self, length: usize, is_signed: bool) -> Result<(), String> {
        let bytes = self.take(length)?;
        let is_negative = is_signed && bytes.last().is_some_and(|last| *last >= 0x80);
        let mut whole = [if is_negative { 0xff } else { 0 }; 8];
        let object = match whole.get_mut(..length) {
            Some(start) => {
                start.copy_from_slice(bytes);
                Object::Int(i64::from_le_bytes(whole))
            }
            None => Object::Other,
        };
        self.push(object)
    }

    fn string(&mut self, length: usize) -> Result<(), String> {
        self.take(length)?;
        self.push(Object::Text(self.at - length..self.at))
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let taken = self.at.checked_add(count).and_then(|end| self.pickle.program.get(self.at..end));
        let taken = taken.ok_or("it ends in the middle")?;
        self.at += count;
        Ok(taken)
    }

    /// Reads a little-endian number of one or four bytes.
    fn number(&mut self, width: usize) -> Result<u32, String> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| (number << 8) | u32::from(byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.pickle.program[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("it ends in the middle")?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }
}

fn too_many() -> String {
    format!("more than {MOST_OBJECTS} objects, expected a file of tensors")
}
