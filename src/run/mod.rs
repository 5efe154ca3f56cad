//! Runs that survive a kill: answers are kept block by block in a [`Journal`], from which a run goes on where it ended, parts of a matrix
//! that were computed apart are joined ([`Parts`]), and results are written out in any format ([`Results`]).

mod h5ad;
mod header;
mod journal;
mod parts;
mod results;
mod whole;

pub use h5ad::{h5ad_additions, h5ad_parameters};
pub use header::{RunHeader, RunInput, RunModel};
pub use journal::Journal;
pub use parts::{Parts, Shard};
pub use results::{Columns, Results, Summary, Votes};
pub use whole::{Groups, OnStage, Stage, WholeOptions};
