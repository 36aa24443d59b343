//! Images in consecutive groups: the files of a folder, the members of a shard, the rows of a row group.

use std::ops::Range;

/// Group sizes, kept as the number of images before the end of each group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    ends: Vec<u32>,
}

impl Spans {
    /// From the ends themselves; `None` where they go down.
    pub(super) fn from_ends(ends: Vec<u32>) -> Option<Self> {
        ends.is_sorted().then_some(Self { ends })
    }

    /// Adds a group of `count` images; `None` where their number outgrows 32 bits.
    #[must_use]
    pub(super) fn push(&mut self, count: usize) -> Option<()> {
        let end = u32::try_from(count).ok()?.checked_add(self.total())?;
        self.ends.push(end);
        Some(())
    }

    /// Images in all groups.
    pub(super) fn total(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Number of groups, empty ones too.
    pub(super) fn groups(&self) -> usize {
        self.ends.len()
    }

    /// The images of a group.
    pub(super) fn range(&self, group: usize) -> Range<u32> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        start..self.ends[group]
    }

    /// The group that holds image `i`, which is below the total.
    pub(super) fn group_of(&self, i: u32) -> usize {
        self.ends.partition_point(|&end| end <= i)
    }

    /// The ends, for a file.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_its_group_and_empty_groups_hold_none() {
        let mut spans = Spans::default();
        for count in [2, 0, 3, 0] {
            spans.push(count).unwrap();
        }
        let groups: Vec<_> = (0..spans.total()).map(|i| spans.group_of(i)).collect();
        assert_eq!(groups, [0, 0, 2, 2, 2]);
        assert_eq!((spans.range(0), spans.range(1), spans.range(2), spans.range(3)), (0..2, 2..2, 2..5, 5..5));
        assert_eq!(Spans::from_ends(spans.ends().to_vec()), Some(spans));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut spans = Spans::default();
        spans.push(u32::MAX as usize).unwrap();
        assert_eq!(spans.push(1), None);
        assert_eq!(Spans::from_ends(vec![3, 2]), None);
    }
}
