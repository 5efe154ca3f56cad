//! What runs side by side. Loops over all threads of the machine: rayon. In wasm, where there is one thread, the same loops one after another, by the same names:
//! rayon's own machinery would be a twentieth of the module and do nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use many::{in_turn, threads_for};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use rayon::{current_num_threads, prelude};

#[cfg(target_arch = "wasm32")]
pub(crate) use single::{current_num_threads, in_turn, prelude, threads_for};

#[cfg(not(target_arch = "wasm32"))]
mod many {
    use std::sync::{Mutex, PoisonError};

    /// How many threads some work is worth: waking one takes about as long as this many operations.
    pub(crate) fn threads_for(n_operations: usize) -> usize {
        const WORTH: usize = 4_000_000;
        if n_operations < WORTH {
            1
        } else {
            rayon::current_num_threads()
        }
    }

    /// Does all tasks: each of so many threads takes the first that is left whenever it is done with one. So the threads end together where
    /// tasks are equal, or the long ones stand first.
    pub(crate) fn in_turn<T: Send>(tasks: Vec<T>, n_threads: usize, work: impl Fn(T) + Sync) {
        let n_threads = n_threads.min(tasks.len());
        if n_threads < 2 {
            return tasks.into_iter().for_each(work);
        }
        let tasks = Mutex::new(tasks.into_iter());
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let take_turns = || {
            while let Some(task) = next() {
                work(task);
            }
        };
        rayon::scope(|scope| {
            for _ in 1..n_threads {
                scope.spawn(|_| take_turns());
            }
            take_turns();
        });
    }
}

/// A future that was polled once: what it hands to a device by then runs from now on.
pub(crate) enum Started<F: Future> {
    Running(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Started<F> {
    pub(crate) async fn start(future: F) -> Self {
        let mut future = Box::pin(future);
        match std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            Poll::Ready(output) => Self::Done(output),
            Poll::Pending => Self::Running(future),
        }
    }

    pub(crate) async fn finish(self) -> F::Output {
        match self {
            Self::Running(future) => future.await,
            Self::Done(output) => output,
        }
    }
}

/// Does `work` on a thread of its own while the future runs on this one.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) async fn meanwhile<T: Send, R>(work: impl FnOnce() -> T + Send, future: impl Future<Output = R>) -> (T, R) {
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        let result = pollster::block_on(future);
        match work.join() {
            Ok(work) => (work, result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Does `work` while the device has what the future gave it.
#[cfg(target_arch = "wasm32")]
pub(crate) async fn meanwhile<T, R>(work: impl FnOnce() -> T, future: impl Future<Output = R>) -> (T, R) {
    let started = Started::start(future).await;
    let work = work();
    (work, started.finish().await)
}

#[cfg(target_arch = "wasm32")]
mod single {
    pub(crate) const fn current_num_threads() -> usize {
        1
    }

    pub(crate) const fn threads_for(_n_operations: usize) -> usize {
        1
    }

    pub(crate) fn in_turn<T>(tasks: Vec<T>, _n_threads: usize, work: impl Fn(T)) {
        tasks.into_iter().for_each(work);
    }

    pub(crate) mod prelude {
        pub(crate) trait IntoLoop: IntoIterator + Sized {
            fn into_par_iter(self) -> Self::IntoIter {
                self.into_iter()
            }
        }

        impl<T: IntoIterator> IntoLoop for T {}

        pub(crate) trait Loop: Iterator + Sized {
            fn with_min_len(self, _n: usize) -> Self {
                self
            }

            fn map_init<S, R>(self, init: impl Fn() -> S, map: impl Fn(&mut S, Self::Item) -> R) -> impl Iterator<Item = R> {
                let mut state = init();
                self.map(move |item| map(&mut state, item))
            }
        }

        impl<T: Iterator> Loop for T {}

        pub(crate) trait SliceLoop<T> {
            fn par_iter(&self) -> std::slice::Iter<'_, T>;
            fn par_chunks(&self, len: usize) -> std::slice::Chunks<'_, T>;
            fn par_chunks_mut(&mut self, len: usize) -> std::slice::ChunksMut<'_, T>;
        }

        impl<T> SliceLoop<T> for [T] {
            fn par_iter(&self) -> std::slice::Iter<'_, T> {
                self.iter()
            }

            fn par_chunks(&self, len: usize) -> std::slice::Chunks<'_, T> {
                self.chunks(len)
            }

            fn par_chunks_mut(&mut self, len: usize) -> std::slice::ChunksMut<'_, T> {
                self.chunks_mut(len)
            }
        }
    }
}
