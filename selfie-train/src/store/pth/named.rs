//! Tensors of a pickle under their full names: the keys of all dictionaries above them, joined by dots.

use std::collections::BTreeMap;

use super::object::{Id, Object, Pickle};
use super::tensor::Described;

/// Deepest nesting of dictionaries and lists that is searched.
const DEEPEST: usize = 32;
/// Most objects that are visited; a file of many references to few objects would not end otherwise.
const MOST_VISITS: usize = 4_000_000;

/// Hint for files that contain more than tensors: writes the same file with its dictionaries and tensors alone.
pub(super) const SAVE_AGAIN: &str = "\nhint: if you trust the file, this writes its tensors alone: python3 -c 'import torch; \
    s = lambda v: v.state_dict() if hasattr(v, \"state_dict\") else v; \
    keep = lambda d: {k: keep(s(v)) if isinstance(s(v), dict) else v for k, v in s(d).items() \
    if isinstance(s(v), (dict, torch.Tensor))}; \
    torch.save(keep(torch.load(\"FILE\", map_location=\"cpu\", weights_only=False)), \"NEW.pth\")'";

/// Returns every tensor that can be reached through dictionaries and lists.
///
/// # Errors
/// Returns the reason in words if the search does not end within its limits.
pub(super) fn tensors(pickle: &Pickle) -> Result<BTreeMap<String, Described>, String> {
    let mut search = Search { pickle, found: BTreeMap::new(), visits: 0 };
    search.visit(pickle.root(), &mut Vec::new())?;
    Ok(search.found)
}

struct Search<'a> {
    pickle: &'a Pickle<'a>,
    found: BTreeMap<String, Described>,
    visits: usize,
}

impl Search<'_> {
    fn visit(&mut self, object: &Object, path: &mut Vec<String>) -> Result<(), String> {
        self.visits += 1;
        if self.visits > MOST_VISITS {
            return Err("its objects refer to each other too often, expected a file of tensors".to_owned());
        }
        match object {
            Object::Tensor(tensor) => {
                self.found.entry(path.join(".")).or_insert_with(|| (**tensor).clone());
            }
            Object::Dict(entries) if path.len() < DEEPEST => {
                for (key, value) in entries {
                    if let Some(key) = self.key(*key) {
                        self.below(key, *value, path)?;
                    }
                }
            }
            Object::List(items) | Object::Tuple(items) if path.len() < DEEPEST => {
                for (i, item) in items.iter().enumerate() {
                    self.below(i.to_string(), *item, path)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn below(&mut self, key: String, value: Id, path: &mut Vec<String>) -> Result<(), String> {
        // Plain values are most of an optimizer's state: no key is stored for them.
        let pickle = self.pickle;
        let object = pickle.get(value);
        if matches!(object, Object::Tensor(_) | Object::Dict(_) | Object::List(_) | Object::Tuple(_)) {
            path.push(key);
            self.visit(object, path)?;
            path.pop();
        }
        Ok(())
    }

    fn key(&self, id: Id) -> Option<String> {
        match self.pickle.get(id) {
            Object::Int(number) => Some(number.to_string()),
            _ => self.pickle.text(id),
        }
    }
}
