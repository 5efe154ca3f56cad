//! One label for a group of cells: what most of its cells were called. A cell's own label is noisy, its group's less so.

use crate::error::{Error, Result};
use crate::model::Prediction;
use crate::order::order;

/// How groups vote.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VoteOptions {
    /// Cells whose most probable label is less probable than this do not vote, but get their group's label.
    pub min_probability: f32,
    /// A group in which fewer than this share of the cells have the winning label gets no label: it is heterogeneous.
    pub min_share: f32,
}

/// What a group is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupVote {
    /// The label that most cells have, `None` when no cell votes or too few agree; of equally frequent ones that with the higher sum of
    /// probabilities, then the first.
    pub label: Option<usize>,
    /// Cells with the most frequent label as a share of *all* cells of the group, also of those that do not vote; 0 when none votes.
    pub share: f32,
    /// All its cells.
    pub n_cells: usize,
    /// Those that vote.
    pub n_voters: usize,
}

/// The votes of all groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Votes {
    /// `[n_groups]`
    pub groups: Vec<GroupVote>,
    /// `[n_cells]`: the group of each cell, `None` for a cell that is in none and gets no vote.
    pub group_of: Vec<Option<u32>>,
}

impl Votes {
    /// The vote that a cell gets; `None` for a cell in no group.
    #[must_use]
    pub fn of(&self, cell: usize) -> Option<&GroupVote> {
        let group = (*self.group_of.get(cell)?)?;
        self.groups.get(group as usize)
    }
}

/// Lets each of `n_groups` groups of cells vote. `groups` `[n_cells]` come from [`cluster`](super::cluster()) or are the categories of a
/// column, `None` for a cell in none; `predictions` `[n_cells]`, `None` for a cell without one.
///
/// Every vote counts the same: weighing it by its probability was no better on labelled cells at any resolution, and worse at some.
///
/// ```
/// use scdiva::model::Prediction;
/// use scdiva::tasks::{VoteOptions, vote};
/// let called = |label| Some(Prediction { label, probability: 0.6, second_label: 0, second_probability: 0.2, entropy: 0.9 });
/// let predictions = [called(4), called(7), called(7), None];
/// let votes = vote(&[Some(0); 4], 1, &predictions, &VoteOptions::default())?;
/// assert_eq!((votes.groups[0].label, votes.groups[0].share), (Some(7), 0.5));
/// # Ok::<(), scdiva::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] when the lengths differ, a group is not below `n_groups`, or a share or a probability is not from 0 to 1.
pub fn vote(groups: &[Option<u32>], n_groups: usize, predictions: &[Option<Prediction>], options: &VoteOptions) -> Result<Votes> {
    let error = |argument, problem: String| Err(Error::argument("vote", argument, problem));
    if groups.len() != predictions.len() {
        return error(
            "groups",
            format!("{} cells, but {} predictions", groups.len(), predictions.len()),
        );
    }
    if let Some(group) = groups.iter().flatten().find(|&&group| group as usize >= n_groups) {
        return error("groups", format!("group {group}, but there are {n_groups}"));
    }
    for (name, x) in [("min_probability", options.min_probability), ("min_share", options.min_share)] {
        if !(0.0..=1.0).contains(&x) {
            return error(name, format!("{x}, wanted 0 to 1"));
        }
    }
    // By group, in a group by label: what belongs together is counted in one run.
    let ballots: Vec<(u32, Option<Prediction>)> = groups
        .iter()
        .zip(predictions)
        .filter_map(|(group, prediction)| Some(((*group)?, prediction.filter(|p| p.probability >= options.min_probability))))
        .collect();
    let key = |i: usize| (ballots[i].0, ballots[i].1.map(|p| p.label));
    let order = order(ballots.len(), &|a, b| key(a).cmp(&key(b)));
    let ballots: Vec<_> = order.into_iter().map(|i| ballots[i]).collect();
    let mut votes = vec![GroupVote::NOBODY; n_groups];
    for ballots in ballots.chunk_by(|a, b| a.0 == b.0) {
        votes[ballots[0].0 as usize] = count(ballots, options.min_share);
    }
    Ok(Votes {
        groups: votes,
        group_of: groups.to_vec(),
    })
}

impl GroupVote {
    /// A group without cells.
    const NOBODY: Self = Self {
        label: None,
        share: 0.0,
        n_cells: 0,
        n_voters: 0,
    };
}

/// The vote of one group, whose ballots are sorted by label.
#[expect(clippy::cast_possible_truncation, reason = "a share is f32")]
fn count(ballots: &[(u32, Option<Prediction>)], min_share: f32) -> GroupVote {
    let voters: Vec<Prediction> = ballots.iter().filter_map(|(_, prediction)| *prediction).collect();
    let mut best = (0, 0.0, None);
    for voters in voters.chunk_by(|a, b| a.label == b.label) {
        let sum: f64 = voters.iter().map(|p| f64::from(p.probability)).sum();
        if voters.len() > best.0 || (voters.len() == best.0 && sum > best.1) {
            best = (voters.len(), sum, Some(voters[0].label));
        }
    }
    let share = (best.0 as f64 / ballots.len() as f64) as f32;
    GroupVote {
        label: best.2.filter(|_| share >= min_share),
        share,
        n_cells: ballots.len(),
        n_voters: voters.len(),
    }
}
