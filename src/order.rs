//! The order of things: one sort for all places where it is not what takes time. Every kind of things that is sorted by itself adds six kilobytes to
//! the module that a browser downloads.

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
