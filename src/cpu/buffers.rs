//! Memory of activations, given back when a tensor is dropped and handed out again: a forward pass allocates once.

use crate::backend::Matrix;
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that are not in use, and how many numbers are.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Vec<f32>>,
    /// Numbers in `buffers`.
    idle_len: usize,
    /// Numbers handed out.
    used_len: usize,
    /// The most that were ever handed out at once.
    peak_len: usize,
}

impl Pool {
    /// A buffer of at least `len` numbers, whatever they are.
    fn take(&self, len: usize) -> Result<Vec<f32>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<f32>| (len..=len.saturating_mul(2)).contains(&buffer.len());
        let best = (0..idle.buffers.len())
            .filter(|&i| fits(&idle.buffers[i]))
            .min_by_key(|&i| idle.buffers[i].len());
        let buffer = match best {
            Some(i) => idle.buffers.swap_remove(i),
            None => zeros(len).or_else(|_| {
                // What lies idle is of other sizes.
                (idle.buffers, idle.idle_len) = (Vec::new(), 0);
                zeros(len)
            })?,
        };
        if best.is_some() {
            idle.idle_len -= buffer.len();
        }
        idle.used_len += buffer.len();
        idle.peak_len = idle.peak_len.max(idle.used_len);
        Ok(buffer)
    }

    /// Keeps a buffer for later, unless more would lie idle than was ever needed at once: new memory is slow, because the system
    /// clears it page by page.
    fn give_back(&self, buffer: Vec<f32>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.used_len -= buffer.len();
        if idle.idle_len + buffer.len() <= idle.peak_len {
            idle.idle_len += buffer.len();
            idle.buffers.push(buffer);
        }
    }
}

/// [`Error::Memory`] where there is not as much.
pub(super) fn zeros(len: usize) -> Result<Vec<f32>> {
    let mut trial = Vec::<f32>::new();
    trial.try_reserve_exact(len).map_err(|_| {
        let problem = format_args!("{len} more numbers of 4 bytes do not fit in memory");
        Error::memory("processor", problem)
    })?;
    drop(std::hint::black_box(trial));
    // The system has pages of zeros, which need not be written as those of the trial would have to be.
    Ok(vec![0.0; len])
}

/// An activation matrix in memory.
#[derive(Debug)]
pub struct Tensor {
    /// At least `n_rows · n_cols` numbers; what is behind them is left from earlier use.
    buffer: Vec<f32>,
    n_rows: usize,
    n_cols: usize,
    pool: Arc<Pool>,
}

impl Tensor {
    /// A matrix that holds whatever was in its memory before: every number of it must be written.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn stale(pool: &Arc<Pool>, n_rows: usize, n_cols: usize) -> Result<Self> {
        Ok(Self {
            buffer: pool.take(n_rows * n_cols)?,
            n_rows,
            n_cols,
            pool: Arc::clone(pool),
        })
    }

    /// Row-major.
    pub(super) fn numbers(&self) -> &[f32] {
        &self.buffer[..self.n_rows * self.n_cols]
    }

    /// Row-major.
    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.n_rows * self.n_cols]
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

impl Matrix for Tensor {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_cols(&self) -> usize {
        self.n_cols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        let pool = Arc::new(Pool::default());
        let at = |x: &Tensor| x.numbers().as_ptr();
        let first = Tensor::stale(&pool, 10, 10).unwrap();
        let place = at(&first);
        drop(first);
        let (second, third) = (Tensor::stale(&pool, 9, 11).unwrap(), Tensor::stale(&pool, 10, 10).unwrap());
        assert_eq!(at(&second), place);
        assert_ne!(at(&third), place);
    }

    #[test]
    fn idle_memory_is_bounded_by_what_was_needed() {
        let pool = Arc::new(Pool::default());
        for len in 1..200 {
            drop(Tensor::stale(&pool, len, len).unwrap());
        }
        let idle = pool.0.lock().unwrap();
        assert!(idle.idle_len <= idle.peak_len && idle.peak_len <= 2 * 199 * 199, "{idle:?}");
        assert_eq!(idle.used_len, 0);
    }

    #[test]
    fn more_than_there_is_is_an_error_and_what_lay_idle_is_free() {
        let pool = Arc::new(Pool::default());
        let kept = Tensor::stale(&pool, 3, 3).unwrap();
        drop(Tensor::stale(&pool, 2, 2).unwrap());
        let error = Tensor::stale(&pool, usize::MAX / 8, 1).unwrap_err();
        assert_eq!(error.code(), "memory");
        let idle = pool.0.lock().unwrap();
        assert_eq!((idle.used_len, idle.idle_len, idle.buffers.len()), (kept.buffer.len(), 0, 0));
    }
}
