//! The Leiden algorithm: nodes move between communities, communities are refined into parts that hang together, parts become the nodes of
//! the next level. Source: Traag 2019, Sci Rep 9:5233; as in leidenalg, a part takes the best move rather than a random one, and the whole is
//! done twice.
//!
//! Ours rather than a crate's: `leiden-rs` 0.8 pulls rand with its operating-system source, which fails in a browser, and can be neither
//! watched nor cancelled; `single-clustering` needs an index and linear algebra of its own.

use crate::error::Result;
use crate::tasks::graph::Graph;
use crate::tasks::random::Random;
use std::collections::VecDeque;

/// Times that the whole is done, each from the communities of the last.
const ROUNDS: usize = 2;

/// Nodes looked at between two calls of the caller.
const PATIENCE: usize = 1 << 14;

/// A clustering of a graph, on its way.
pub(super) struct Leiden {
    graph: Graph,
    resolution: f64,
    random: Random,
    /// `[n_nodes]`: of each node of the graph its community, below `n_nodes`.
    membership: Vec<u32>,
}

/// Told how many nodes are done.
type Tell<'a> = dyn FnMut(usize) -> Result<()> + 'a;

impl Leiden {
    /// Every node a community of its own.
    pub(super) fn new(graph: Graph, resolution: f64, seed: u64) -> Self {
        let membership = (0..).take(graph.n_nodes()).collect();
        Self {
            graph,
            resolution,
            random: Random::new(seed),
            membership,
        }
    }

    pub(super) fn membership(&self) -> &[u32] {
        &self.membership
    }

    pub(super) fn run(&mut self, tell: &mut Tell<'_>) -> Result<()> {
        let n_nodes = self.graph.n_nodes();
        let mut n_done = 0;
        for round in 0..ROUNDS {
            // Later levels count from zero again, which nobody wants to see.
            self.round(&mut |n_looked_at| {
                n_done = n_done.max((round * n_nodes + n_looked_at.min(n_nodes)) / ROUNDS);
                tell(n_done)
            })?;
        }
        Ok(())
    }

    fn round(&mut self, tell: &mut Tell<'_>) -> Result<()> {
        let mut level = Level::new(&self.graph);
        // Of each node of the graph its node in the level.
        let mut place: Vec<u32> = (0..).take(self.graph.n_nodes()).collect();
        let mut communities = Communities::new(&level, std::mem::take(&mut self.membership));
        loop {
            let moved = communities.move_nodes(&level, self.resolution, &mut self.random, tell)?;
            let parts = communities.refine(&level, self.resolution, &mut self.random);
            let (parts, n_parts) = numbered(&parts);
            if n_parts == level.graph.n_nodes() {
                // Nothing was merged; what moved last is the answer.
                break;
            }
            let mut of_part = vec![0; n_parts];
            for (&part, &community) in parts.iter().zip(&communities.of) {
                of_part[part as usize] = community;
            }
            for place in &mut place {
                *place = parts[*place as usize];
            }
            level = level.merged(&parts, n_parts);
            // There are as many communities as before, fewer than parts.
            let (of_part, _) = numbered(&of_part);
            communities = Communities::new(&level, of_part);
            if !moved && communities.n_used() == n_parts {
                break;
            }
        }
        self.membership = place.iter().map(|&place| communities.of[place as usize]).collect();
        Ok(())
    }

    /// Modularity of the communities at the resolution.
    pub(super) fn quality(&self) -> f64 {
        let level = Level::new(&self.graph);
        let mut within = 0.0;
        let mut strengths = vec![0.0; level.strengths.len()];
        for node in 0..self.graph.n_nodes() {
            let community = self.membership[node];
            strengths[community as usize] += level.strengths[node];
            let edges = self.graph.edges(node);
            within += edges
                .filter(|edge| self.membership[edge.0 as usize] == community)
                .map(|edge| f64::from(edge.1))
                .sum::<f64>();
        }
        let expected: f64 = strengths.iter().map(|k| k * k).sum::<f64>() / level.total.max(f64::MIN_POSITIVE);
        (within - self.resolution * expected) / level.total.max(f64::MIN_POSITIVE)
    }
}

/// A graph whose nodes are parts of the original one. Edges within a node count in its strength only.
struct Level<'a> {
    graph: std::borrow::Cow<'a, Graph>,
    /// `[n_nodes]`: the weights of a node's edges.
    strengths: Vec<f64>,
    /// Sum of the strengths: twice the weight of all edges.
    total: f64,
}

impl<'a> Level<'a> {
    fn new(graph: &'a Graph) -> Self {
        let strength = |node| graph.edges(node).map(|edge| f64::from(edge.1)).sum();
        let strengths: Vec<f64> = (0..graph.n_nodes()).map(strength).collect();
        Self {
            total: strengths.iter().sum(),
            graph: std::borrow::Cow::Borrowed(graph),
            strengths,
        }
    }

    /// The graph of `n_parts` parts; `parts` are those of the nodes.
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32, summed in f64")]
    fn merged(&self, parts: &[u32], n_parts: usize) -> Level<'static> {
        let mut strengths = vec![0.0; n_parts];
        let mut nodes: Vec<Vec<usize>> = vec![vec![]; n_parts];
        for (node, &part) in parts.iter().enumerate() {
            strengths[part as usize] += self.strengths[node];
            nodes[part as usize].push(node);
        }
        let mut sums = Sums::new(n_parts);
        let mut graph = Graph {
            offsets: vec![0],
            targets: vec![],
            weights: vec![],
        };
        for (part, nodes) in (0..).zip(&nodes) {
            sums.clear();
            for &node in nodes {
                for (other, weight) in self.graph.edges(node) {
                    let other = parts[other as usize];
                    if other != part {
                        sums.add(other, f64::from(weight));
                    }
                }
            }
            sums.touched.sort_unstable();
            graph.targets.extend(&sums.touched);
            graph
                .weights
                .extend(sums.touched.iter().map(|&other| sums.of[other as usize] as f32));
            graph.offsets.push(graph.targets.len());
        }
        Level {
            graph: std::borrow::Cow::Owned(graph),
            strengths,
            total: self.total,
        }
    }
}

/// Sums by community, of which few are not 0.
struct Sums {
    of: Vec<f64>,
    touched: Vec<u32>,
}

impl Sums {
    fn new(n: usize) -> Self {
        Self {
            of: vec![0.0; n],
            touched: vec![],
        }
    }

    fn clear(&mut self) {
        for &i in &self.touched {
            self.of[i as usize] = 0.0;
        }
        self.touched.clear();
    }

    /// `weight` is positive.
    fn add(&mut self, i: u32, weight: f64) {
        let sum = &mut self.of[i as usize];
        if *sum == 0.0 {
            self.touched.push(i);
        }
        *sum += weight;
    }
}

/// Communities of the nodes of a level.
struct Communities {
    /// `[n_nodes]`
    of: Vec<u32>,
    /// `[n_nodes]`, as there are at most as many communities: the strengths of their nodes.
    strengths: Vec<f64>,
    sizes: Vec<u32>,
}

impl Communities {
    fn new(level: &Level<'_>, of: Vec<u32>) -> Self {
        let mut communities = Self {
            strengths: vec![0.0; of.len()],
            sizes: vec![0; of.len()],
            of,
        };
        for (node, &community) in communities.of.iter().enumerate() {
            communities.strengths[community as usize] += level.strengths[node];
            communities.sizes[community as usize] += 1;
        }
        communities
    }

    fn n_used(&self) -> usize {
        self.sizes.iter().filter(|&&size| size > 0).count()
    }

    fn set(&mut self, level: &Level<'_>, node: usize, to: u32) {
        let strength = level.strengths[node];
        let from = std::mem::replace(&mut self.of[node], to);
        self.strengths[from as usize] -= strength;
        self.sizes[from as usize] -= 1;
        self.strengths[to as usize] += strength;
        self.sizes[to as usize] += 1;
    }

    /// Moves nodes to where modularity gains most, until none wants to. Whether any moved.
    fn move_nodes(&mut self, level: &Level<'_>, resolution: f64, random: &mut Random, tell: &mut Tell<'_>) -> Result<bool> {
        let n_nodes = self.of.len();
        let mut order: Vec<u32> = (0..).take(n_nodes).collect();
        random.shuffle(&mut order);
        let mut queue = VecDeque::from(order);
        let mut is_queued = vec![true; n_nodes];
        let mut empty: Vec<u32> = (0..).take(n_nodes).filter(|&c: &u32| self.sizes[c as usize] == 0).collect();
        let mut sums = Sums::new(n_nodes);
        let (mut moved, mut n_looked_at) = (false, 0);
        while let Some(node) = queue.pop_front() {
            let node = node as usize;
            is_queued[node] = false;
            if n_looked_at % PATIENCE == 0 {
                tell(n_looked_at)?;
            }
            n_looked_at += 1;
            sums.clear();
            for (other, weight) in level.graph.edges(node) {
                sums.add(self.of[other as usize], f64::from(weight));
            }
            let own = self.of[node];
            let strength = level.strengths[node];
            let per_strength = resolution * strength / level.total;
            let stay = sums.of[own as usize] - per_strength * (self.strengths[own as usize] - strength);
            let mut best = (own, stay);
            for &community in sums.touched.iter().filter(|&&community| community != own) {
                let gain = sums.of[community as usize] - per_strength * self.strengths[community as usize];
                if gain > best.1 {
                    best = (community, gain);
                }
            }
            // On its own, where that is better than anywhere else.
            if best.1 < 0.0
                && self.sizes[own as usize] > 1
                && let Some(alone) = empty.pop()
            {
                best = (alone, 0.0);
            }
            // Differences that rounding makes would let nodes wander for ever.
            if best.0 == own || best.1 - stay <= 1e-12 * strength {
                continue;
            }
            self.set(level, node, best.0);
            moved = true;
            if self.sizes[own as usize] == 0 {
                empty.push(own);
            }
            for (other, _) in level.graph.edges(node) {
                if self.of[other as usize] != best.0 && !is_queued[other as usize] {
                    is_queued[other as usize] = true;
                    queue.push_back(other);
                }
            }
        }
        Ok(moved)
    }

    /// Parts of the communities: from single nodes on, each is merged where modularity gains most within its community.
    fn refine(&self, level: &Level<'_>, resolution: f64, random: &mut Random) -> Vec<u32> {
        let n_nodes = self.of.len();
        let mut parts = Self::new(level, (0..).take(n_nodes).collect());
        let mut order: Vec<usize> = (0..n_nodes).collect();
        random.shuffle(&mut order);
        let mut sums = Sums::new(n_nodes);
        for node in order {
            let own = parts.of[node];
            if parts.sizes[own as usize] > 1 {
                continue;
            }
            sums.clear();
            for (other, weight) in level.graph.edges(node) {
                if self.of[other as usize] == self.of[node] {
                    sums.add(parts.of[other as usize], f64::from(weight));
                }
            }
            let per_strength = resolution * level.strengths[node] / level.total;
            let mut best = (own, 0.0);
            for &part in &sums.touched {
                let gain = sums.of[part as usize] - per_strength * parts.strengths[part as usize];
                if gain > best.1 {
                    best = (part, gain);
                }
            }
            if best.0 != own {
                parts.set(level, node, best.0);
            }
        }
        parts.of
    }
}

/// The same groups, numbered by their first member; and how many there are.
fn numbered(groups: &[u32]) -> (Vec<u32>, usize) {
    let n_names = groups.iter().max().map_or(0, |&max| max as usize + 1);
    let mut names = vec![None; n_names];
    let mut n_groups = 0;
    let named = groups.iter().map(|&group| {
        *names[group as usize].get_or_insert_with(|| {
            n_groups += 1;
            n_groups - 1
        })
    });
    let named = named.collect();
    (named, n_groups as usize)
}
