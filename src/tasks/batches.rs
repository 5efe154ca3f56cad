//! Cells in batches that fill the device, one of them always ahead.

use super::BLOCK;
use crate::cells::Tokens;
use crate::error::{Error, Result};
use crate::model::{CellInput, Output, Want};
use crate::parallel::Started;
use std::ops::Range;

/// Runs batches on whatever device there is.
pub(crate) trait Runner {
    /// The most rows (genes and one `[LAT]` a cell) of one batch.
    fn max_rows(&self) -> usize;
    /// The forward pass. On a GPU all of it is submitted when the future is first polled.
    async fn forward(&self, cells: &[CellInput<'_>], want: Want) -> Result<Output>;
    /// After `error`: makes the device ready to go on, or gives the error back.
    async fn recover(&mut self, error: Error) -> Result<()>;
}

/// Some consecutive cells that are computed together.
struct Batch<'a> {
    cells: Range<usize>,
    inputs: Vec<CellInput<'a>>,
}

/// The forward pass of all cells, in order; `take` gets each batch: which of the cells, and what was computed. No batch crosses a multiple of
/// [`BLOCK`]. A GPU has the next batch before the answer of the one before is waited for, so that it never waits for the host.
pub(crate) async fn run_batches(
    runner: &mut impl Runner,
    tokens: &[Tokens],
    want: Want,
    take: &mut dyn FnMut(Range<usize>, Output) -> Result<()>,
) -> Result<()> {
    let mut n_done = 0;
    while n_done < tokens.len() {
        let batches = batches(tokens, n_done, runner.max_rows());
        let mut is_refused = false;
        let mut count = |cells: Range<usize>, output| {
            n_done = cells.end;
            let taken = take(cells, output);
            is_refused = taken.is_err();
            taken
        };
        if let Err(error) = run_ahead(runner, &batches, want, &mut count).await {
            // Not the device's: what was computed would be lost.
            if is_refused {
                return Err(error);
            }
            runner.recover(error).await?;
        }
    }
    Ok(())
}

/// The batches up to the first error.
async fn run_ahead(
    runner: &impl Runner,
    batches: &[Batch<'_>],
    want: Want,
    take: &mut dyn FnMut(Range<usize>, Output) -> Result<()>,
) -> Result<()> {
    let mut before = None;
    for batch in batches {
        let started = Started::start(runner.forward(&batch.inputs, want)).await;
        if let Some((cells, started)) = before.take() {
            take(cells, Started::finish(started).await?)?;
        }
        match started {
            // Nothing runs beside us, as on the CPU.
            Started::Done(output) => take(batch.cells.clone(), output?)?,
            started @ Started::Running(_) => before = Some((batch.cells.clone(), started)),
        }
    }
    match before {
        Some((cells, started)) => take(cells, started.finish().await?),
        None => Ok(()),
    }
}

/// All cells from `first` on.
fn batches(tokens: &[Tokens], mut first: usize, max_rows: usize) -> Vec<Batch<'_>> {
    let mut batches = Vec::new();
    while first < tokens.len() {
        let block = (first / BLOCK + 1) * BLOCK;
        let end = first + batch_len(&tokens[first..block.min(tokens.len())], max_rows);
        batches.push(Batch {
            cells: first..end,
            inputs: tokens[first..end].iter().map(input).collect(),
        });
        first = end;
    }
    batches
}

fn input(tokens: &Tokens) -> CellInput<'_> {
    CellInput {
        gene_ids: &tokens.gene_ids,
        values: &tokens.values,
        ..CellInput::default()
    }
}

/// How many of the next cells fit one batch; at least one.
fn batch_len(tokens: &[Tokens], max_rows: usize) -> usize {
    let mut n_rows = 0;
    let fitting = tokens.iter().take_while(|tokens| {
        n_rows += tokens.len() + 1;
        n_rows <= max_rows
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::ops::ControlFlow;

    /// A device that says what it was asked, in the order in which it heard of it, and fails once.
    struct Device {
        heard: RefCell<Vec<String>>,
        fails_at: RefCell<Option<u32>>,
        at_once: bool,
    }

    impl Device {
        fn run(fails_at: Option<u32>, at_once: bool, stop_after: usize) -> (Vec<String>, Vec<Range<usize>>, Result<()>) {
            let tokens: Vec<Tokens> = (2..5).map(of).collect();
            let mut device = Self {
                heard: RefCell::default(),
                fails_at: RefCell::new(fails_at),
                at_once,
            };
            let mut taken = Vec::new();
            let result = pollster::block_on(run_batches(&mut device, &tokens, Want::default(), &mut |cells, output| {
                assert_eq!(output.latent, [(cells.start + 2) as f32]);
                taken.push(cells);
                match taken.len() == stop_after {
                    true => Err(Error::Cancelled),
                    false => Ok(()),
                }
            }));
            (device.heard.into_inner(), taken, result)
        }
    }

    impl Runner for Device {
        fn max_rows(&self) -> usize {
            1
        }

        async fn forward(&self, cells: &[CellInput<'_>], _want: Want) -> Result<Output> {
            let id = cells[0].gene_ids[0];
            self.heard.borrow_mut().push(format!("start {id}"));
            if !self.at_once {
                // Pending when first polled, as a GPU is.
                let mut polls = ControlFlow::Continue(());
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    match std::mem::replace(&mut polls, ControlFlow::Break(())) {
                        ControlFlow::Continue(()) => std::task::Poll::Pending,
                        ControlFlow::Break(()) => std::task::Poll::Ready(()),
                    }
                })
                .await;
            }
            self.heard.borrow_mut().push(format!("end {id}"));
            if self.fails_at.borrow_mut().take_if(|at| *at == id).is_some() {
                return Err(Error::NoDevice("gone".to_owned()));
            }
            Ok(Output {
                latent: vec![id as f32],
                ..Output::default()
            })
        }

        async fn recover(&mut self, error: Error) -> Result<()> {
            match error {
                Error::NoDevice(_) => Ok(()),
                error => Err(error),
            }
        }
    }

    fn of(id: u32) -> Tokens {
        Tokens {
            gene_ids: vec![id],
            values: vec![1.0],
        }
    }

    #[test]
    fn the_next_batch_is_there_before_the_one_before_is_waited_for() {
        let (heard, taken, result) = Device::run(None, false, 9);
        assert_eq!(heard, ["start 2", "start 3", "end 2", "start 4", "end 3", "end 4"]);
        assert_eq!(taken, [0..1, 1..2, 2..3]);
        assert!(result.is_ok());
    }

    #[test]
    fn a_device_that_answers_at_once_is_not_asked_ahead() {
        let (heard, taken, result) = Device::run(None, true, 2);
        assert_eq!(heard, ["start 2", "end 2", "start 3", "end 3"]);
        assert_eq!(taken, [0..1, 1..2]);
        assert!(matches!(result, Err(Error::Cancelled)));
    }

    #[test]
    fn after_a_failure_that_can_be_mended_the_batch_and_those_after_it_are_done_again() {
        let (heard, taken, result) = Device::run(Some(3), false, 9);
        assert_eq!(
            heard,
            [
                "start 2", "start 3", "end 2", "start 4", "end 3", "start 3", "start 4", "end 3", "end 4"
            ]
        );
        assert_eq!(taken, [0..1, 1..2, 2..3]);
        assert!(result.is_ok());
    }

    /// Has memory for one row at a time, which it learns when it is asked for more.
    struct Small {
        max_rows: usize,
    }

    impl Runner for Small {
        fn max_rows(&self) -> usize {
            self.max_rows
        }

        async fn forward(&self, cells: &[CellInput<'_>], _want: Want) -> Result<Output> {
            match cells {
                [cell] => Ok(Output {
                    latent: vec![cell.gene_ids[0] as f32],
                    ..Output::default()
                }),
                _ => Err(Error::memory("device", self.max_rows)),
            }
        }

        async fn recover(&mut self, error: Error) -> Result<()> {
            self.max_rows /= 2;
            if self.max_rows == 0 { Err(error) } else { Ok(()) }
        }
    }

    #[test]
    fn where_memory_runs_out_the_cells_that_are_left_are_cut_into_smaller_batches() {
        let tokens: Vec<Tokens> = (2..7).map(of).collect();
        let mut found = Vec::new();
        let mut take = |cells: Range<usize>, output: Output| {
            found.extend(cells.zip(output.latent));
            Ok(())
        };
        pollster::block_on(run_batches(&mut Small { max_rows: 8 }, &tokens, Want::default(), &mut take)).unwrap();
        assert_eq!(found, [(0, 2.0), (1, 3.0), (2, 4.0), (3, 5.0), (4, 6.0)]);
    }

    #[test]
    fn where_the_one_who_takes_has_no_memory_nothing_is_tried_again() {
        let tokens: Vec<Tokens> = (2..4).map(of).collect();
        let mut n_taken = 0;
        let mut take = |_, _| {
            n_taken += 1;
            Err(Error::memory("names", "do not fit"))
        };
        let result = pollster::block_on(run_batches(&mut Small { max_rows: 1 }, &tokens, Want::default(), &mut take));
        assert!(matches!(result, Err(Error::Memory { .. })));
        assert_eq!(n_taken, 1);
    }

    #[test]
    fn no_batch_crosses_a_block_wherever_they_begin() {
        let tokens = vec![of(2); 2 * BLOCK + 3];
        let cut = |first, max_rows| -> Vec<Range<usize>> {
            let batches = batches(&tokens, first, max_rows);
            batches.into_iter().map(|batch| batch.cells).collect()
        };
        assert_eq!(cut(0, 9999), [0..256, 256..512, 512..515]);
        assert_eq!(cut(250, 9999), [250..256, 256..512, 512..515]);
        assert_eq!(cut(511, 4), [511..512, 512..514, 514..515]);
        assert!(cut(515, 4).is_empty());
    }

    #[test]
    fn batches_fill_up_to_the_limit_and_take_one_cell_at_least() {
        let of = |len| Tokens {
            gene_ids: vec![2; len],
            values: vec![1.0; len],
        };
        let tokens = [of(3), of(3), of(0), of(9)];
        assert_eq!(batch_len(&tokens, 9), 3);
        assert_eq!(batch_len(&tokens, 7), 1);
        assert_eq!(batch_len(&tokens[3..], 5), 1);
    }
}
