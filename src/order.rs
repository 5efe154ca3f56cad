//! The order of things: one sort for all places where it is not what takes time. Every kind of things that is sorted by itself adds four kilobytes to
//! a browser's module, one and a half of what is downloaded.

use std::cmp::Ordering;

/// The indices 0 to n − 1 in order; equal ones stay as they are.
pub(crate) fn order(n: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

/// Puts a thing into a short list that is in order, behind those that are equal.
pub(crate) fn insert<T>(list: &mut Vec<T>, new: T, compare: impl Fn(&T, &T) -> Ordering) {
    let place = list.partition_point(|old| compare(old, &new).is_le());
    list.insert(place, new);
}

#[cfg(test)]
mod tests {
    use super::{insert, order};

    #[test]
    fn equal_ones_stay_as_they_are() {
        let things = [(2, 'a'), (1, 'b'), (2, 'c'), (0, 'd'), (1, 'e')];
        let sorted = order(things.len(), &|a, b| things[a].0.cmp(&things[b].0));
        assert_eq!(sorted, [3, 1, 4, 0, 2]);
        let mut list = Vec::new();
        for thing in things {
            insert(&mut list, thing, |a, b| a.0.cmp(&b.0));
        }
        assert_eq!(list.iter().map(|thing| thing.1).collect::<String>(), "dbeac");
    }
}
