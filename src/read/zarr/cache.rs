//! Decoded chunks that may be wanted again: blocks of rows end inside chunks, and a row of a dense matrix crosses many.

use std::collections::HashMap;
use std::sync::Arc;

/// What is kept, in bytes, beside the newest chunk.
const MAX_SIZE: usize = if usize::BITS == 32 { 1 << 25 } else { 1 << 26 };

/// A path of an array, and the place of a chunk in it; of a shard's list of chunks the path ends with a `/`.
pub(super) type Key = (Arc<str>, Vec<u64>);

#[derive(Default)]
pub(super) struct Cache {
    chunks: HashMap<Key, (Arc<Vec<u8>>, u64)>,
    size: usize,
    uses: u64,
}

impl Cache {
    pub(super) fn get(&mut self, key: &Key) -> Option<Arc<Vec<u8>>> {
        self.uses += 1;
        let (chunk, last_use) = self.chunks.get_mut(key)?;
        *last_use = self.uses;
        Some(Arc::clone(chunk))
    }

    /// Keeps a chunk, and forgets those that were used longest ago.
    pub(super) fn put(&mut self, key: Key, chunk: Arc<Vec<u8>>) {
        while self.size + chunk.len() > MAX_SIZE && !self.chunks.is_empty() {
            let oldest = self.chunks.iter().min_by_key(|(_, (_, last_use))| last_use);
            let oldest = oldest.map(|(key, _)| key.clone());
            if let Some((forgotten, _)) = oldest.and_then(|oldest| self.chunks.remove(&oldest)) {
                self.size -= forgotten.len();
            }
        }
        self.uses += 1;
        self.size += chunk.len();
        if let Some((replaced, _)) = self.chunks.insert(key, (chunk, self.uses)) {
            self.size -= replaced.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunks_that_were_used_last_are_kept() {
        let mut cache = Cache::default();
        let key = |place: u64| -> Key { ("X".into(), vec![place]) };
        for place in 0..5 {
            cache.put(key(place), Arc::new(vec![0; MAX_SIZE / 4]));
            assert!(cache.get(&key(0)).is_some(), "used again and again");
        }
        let kept: Vec<u64> = (0..5).filter(|&place| cache.get(&key(place)).is_some()).collect();
        assert_eq!(kept, [0, 2, 3, 4]);
        cache.put(key(9), Arc::new(vec![0; 2 * MAX_SIZE]));
        assert!(cache.get(&key(9)).is_some() && cache.get(&key(4)).is_none());
        assert_eq!(cache.size, 2 * MAX_SIZE);
    }
}
