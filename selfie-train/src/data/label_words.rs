//! Labels that are words in the data (in a list, in a shard), and the numbers that they become.

use std::collections::{BTreeMap, HashMap};

use super::source::NO_LABEL;

/// The words of images in their order, each kept once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelWords {
    words: Vec<String>,
    number_of: HashMap<String, u32>,
    of_image: Vec<u32>, // a number of `words`
}

impl LabelWords {
    /// From its parts; `None` where a number stands for no word.
    pub(super) fn from_parts(words: Vec<String>, of_image: Vec<u32>) -> Option<Self> {
        let number_of: HashMap<_, _> = words.iter().cloned().zip(0..).collect();
        let fits = of_image.iter().all(|&word| word == NO_LABEL || (word as usize) < words.len());
        (fits && number_of.len() == words.len()).then_some(Self { words, number_of, of_image })
    }

    /// The label of the next image.
    pub(super) fn push(&mut self, word: Option<&str>) {
        let number = word.map_or(NO_LABEL, |word| match self.number_of.get(word) {
            Some(&number) => number,
            None => {
                let number = self.words.len() as u32;
                self.words.push(word.to_owned());
                self.number_of.insert(word.to_owned(), number);
                number
            }
        });
        self.of_image.push(number);
    }

    /// Every word once.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// The word's number for each image.
    pub(super) fn of_images(&self) -> &[u32] {
        &self.of_image
    }

    /// The images' numbers among `classes`; empty where no image has a label.
    pub(super) fn numbered(self, classes: &[String]) -> Vec<u32> {
        if self.words.is_empty() {
            return Vec::new();
        }
        let places: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let place_of: Vec<u32> =
            self.words.iter().map(|w| places.get(w.as_str()).copied().unwrap_or(NO_LABEL)).collect();
        let mut labels = self.of_image;
        labels.iter_mut().for_each(|label| *label = place_of.get(*label as usize).copied().unwrap_or(NO_LABEL));
        labels.shrink_to_fit();
        labels
    }
}

/// The label that `text` names; none if it is empty or -1, the word of many formats for no label.
pub(super) fn some_word(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|word| !word.is_empty() && *word != "-1")
}

/// The classes of the images of several sets: their words, sorted; in the order of the numbers where all are such.
pub(super) fn class_names(sets: &[&LabelWords]) -> Vec<String> {
    let mut names: Vec<String> = sets.iter().flat_map(|set| set.words.iter().cloned()).collect();
    names.sort_unstable();
    names.dedup();
    let numbers: Option<BTreeMap<u64, &String>> = names.iter().map(|name| Some((name.parse().ok()?, name))).collect();
    match numbers {
        // Two spellings of one number ("1", "01") are two names.
        Some(numbers) if numbers.len() == names.len() => numbers.into_values().cloned().collect(),
        _ => names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> LabelWords {
        let mut set = LabelWords::default();
        words.iter().for_each(|word| set.push(Some(word).filter(|word| !word.is_empty()).copied()));
        set
    }

    #[test]
    fn numbers_are_sorted_as_numbers_and_words_as_words() {
        assert_eq!(class_names(&[&words(&["10", "9"]), &words(&["1", "9"])]), ["1", "9", "10"]);
        assert_eq!(class_names(&[&words(&["10", "9", "cat"])]), ["10", "9", "cat"]);
        assert_eq!(class_names(&[&words(&["1", "01"])]), ["01", "1"]);
    }

    #[test]
    fn images_get_the_numbers_of_their_classes() {
        let set = words(&["dog", "", "cat", "dog"]);
        let classes = class_names(&[&set]);
        assert_eq!(set.numbered(&classes), [1, NO_LABEL, 0, 1]);
        assert_eq!(words(&["", ""]).numbered(&[]), [0u32; 0]);
    }
}
