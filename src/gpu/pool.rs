//! Buffers that are used again: in the steady state nothing is allocated.
//!
//! A buffer goes back when its last owner is dropped, and may be handed out at once: commands run in the order in which they
//! were recorded, so the next use cannot overtake the last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Free memory above this is returned to the device.
const MOST_FREE: u64 = 1 << 30;

/// A size, and what buffers of it are for.
type Key = (u64, wgpu::BufferUsages);

struct Free {
    id: u64,
    raw: wgpu::Buffer,
    /// When it was given back, in buffers that were.
    since: u64,
}

#[derive(Default)]
pub(super) struct Pool {
    /// Of each kind those that were given back last stand last.
    free: HashMap<Key, Vec<Free>>,
    free_size: u64,
    n_given_back: u64,
    /// Bytes of all buffers, free or in use.
    size: u64,
    /// The most bytes that there may be, where a test wants less than the device has.
    limit: Option<u64>,
    next_id: u64,
    /// Buffers of an earlier one are not used again.
    generation: u32,
    /// Bind groups keep buffers alive, so they must go when a buffer is to be freed.
    pub(super) evicted: bool,
}

impl Pool {
    /// From now on there are no more than `bytes` beside the buffers in use.
    pub(super) const fn limit(&mut self, bytes: u64) {
        self.limit = Some(self.size - self.free_size + bytes);
    }

    /// Another number after each [`Pool::start_afresh`].
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Keeps nothing of what there is for later: some buffers may not be real because memory ran out, and what is free may be needed in
    /// other sizes.
    pub(super) fn start_afresh(&mut self) {
        // A browser would keep what is only dropped until it next collects garbage.
        self.free
            .drain()
            .flat_map(|(_, buffers)| buffers)
            .for_each(|free| free.raw.destroy());
        self.size -= self.free_size;
        self.free_size = 0;
        self.generation += 1;
        self.evicted = true;
    }

    /// Keeps a buffer for later, and returns what lay idle longest where that is too much: the next matrix may have other sizes.
    fn keep(&mut self, key: Key, id: u64, raw: wgpu::Buffer) {
        // By itself too much: all others would have to go for it.
        if key.0 > MOST_FREE {
            self.size -= key.0;
            self.evicted = true;
            return;
        }
        self.n_given_back += 1;
        self.free_size += key.0;
        let since = self.n_given_back;
        self.free.entry(key).or_default().push(Free { id, raw, since });
        while self.free_size > MOST_FREE {
            let idle = self
                .free
                .iter()
                .filter_map(|(key, buffers)| Some((buffers.first()?.since, *key)));
            let Some((_, oldest)) = idle.min_by_key(|(since, _)| *since) else {
                return;
            };
            if let Some(buffers) = self.free.get_mut(&oldest) {
                buffers.remove(0);
            }
            self.free_size -= oldest.0;
            self.size -= oldest.0;
            self.evicted = true;
        }
    }
}

/// A buffer of the pool, at least as large as was asked for.
pub(crate) struct Buffer {
    raw: Option<wgpu::Buffer>,
    id: u64,
    key: Key,
    generation: u32,
    pool: Arc<Mutex<Pool>>,
}

/// A poisoned lock only says that another thread panicked; the pool's own state is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    /// Takes a free buffer, or has one made by `create(size, whether it is to fail)`. `size` is rounded up by [`size_class`] before.
    pub(super) fn take(
        pool: &Arc<Mutex<Pool>>,
        size: u64,
        usage: wgpu::BufferUsages,
        create: impl FnOnce(u64, bool) -> wgpu::Buffer,
    ) -> Self {
        let key = (size, usage);
        let mut state = lock(pool);
        let generation = state.generation;
        let (id, raw) = match state.free.get_mut(&key).and_then(Vec::pop) {
            Some(found) => {
                state.free_size -= key.0;
                drop(state);
                (found.id, found.raw)
            }
            None => {
                state.next_id += 1;
                state.size += key.0;
                let (id, is_refused) = (state.next_id, state.limit.is_some_and(|limit| state.size > limit));
                // Elsewhere the recorder, which is locked to make one, is locked before the pool.
                drop(state);
                (id, create(key.0, is_refused))
            }
        };
        Self {
            raw: Some(raw),
            id,
            key,
            generation,
            pool: Arc::clone(pool),
        }
    }

    /// Tells buffers apart, for the bind group cache.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) const fn raw(&self) -> Option<&wgpu::Buffer> {
        self.raw.as_ref()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(raw) = self.raw.take() else { return };
        let mut pool = lock(&self.pool);
        if self.generation == pool.generation {
            return pool.keep(self.key, self.id, raw);
        }
        pool.evicted = true;
        pool.size -= self.key.0;
        raw.destroy();
    }
}

/// Rounds up to an eighth of a power of two, so that batches of nearly the same size share buffers and at most an eighth is wasted.
pub(super) fn size_class(size: u64) -> u64 {
    let step = (size.max(256).next_power_of_two() / 8).max(256);
    size.max(1).div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::{lock, size_class};
    use crate::gpu::{Gpu, GpuOptions};

    #[test]
    fn what_lay_idle_longest_goes_where_too_much_is_free() {
        let gpu = pollster::block_on(Gpu::open(GpuOptions::default())).expect("an adapter");
        lock(&gpu.pool).start_afresh();
        let free = || {
            let pool = lock(&gpu.pool);
            let mut sizes: Vec<u64> = (pool.free.iter())
                .flat_map(|((size, _), buffers)| buffers.iter().map(move |_| size >> 20))
                .collect();
            sizes.sort_unstable();
            assert_eq!(sizes.iter().sum::<u64>(), pool.free_size >> 20);
            sizes
        };
        // Given back in this order; in MiB, of which 1,024 may be free.
        let [first, second, third] = [384, 448, 512].map(|size| gpu.exact_buffer(size << 20));
        drop(first);
        drop(second);
        assert_eq!(free(), [384, 448]);
        drop(third);
        assert_eq!(free(), [448, 512]);
        // One that is too much by itself drives nothing away.
        drop(gpu.exact_buffer(1_100 << 20));
        assert_eq!(free(), [448, 512]);
        let pool = lock(&gpu.pool);
        assert_eq!(pool.size, pool.free_size);
    }

    #[test]
    fn classes_hold_what_is_asked_and_waste_little() {
        for size in [1, 255, 256, 257, 5_000, 1 << 20, (1 << 20) + 1, 100_000_001] {
            let class = size_class(size);
            assert!(
                class >= size && class.is_multiple_of(256) && (size < 4096 || class < size + size / 4),
                "{size} -> {class}"
            );
        }
    }
}
