//! Loops over all threads of the machine: rayon. In wasm, where there is one thread, the same loops one after another, by the same names:
//! rayon's own machinery would be a twentieth of the module and do nothing.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use many::in_turn;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use rayon::{current_num_threads, prelude};

#[cfg(target_arch = "wasm32")]
pub(crate) use single::{current_num_threads, in_turn, prelude};

#[cfg(not(target_arch = "wasm32"))]
mod many {
    use std::sync::{Mutex, PoisonError};

    /// Does all tasks: each thread takes the first that is left whenever it is done with one. So the threads end together where tasks are
    /// equal, or the long ones stand first.
    pub(crate) fn in_turn<T: Send>(tasks: Vec<T>, work: impl Fn(T) + Sync) {
        let n_threads = rayon::current_num_threads().min(tasks.len());
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

#[cfg(target_arch = "wasm32")]
mod single {
    pub(crate) const fn current_num_threads() -> usize {
        1
    }

    pub(crate) fn in_turn<T>(tasks: Vec<T>, work: impl Fn(T)) {
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
