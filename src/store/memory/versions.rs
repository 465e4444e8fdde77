//! A map that can be read as it was at one moment while it changes.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

pub struct Versions<K, V> {
    now: BTreeMap<K, V>,
    /// Those who read a snapshot: each is given what it would have read before it is changed.
    readers: Vec<Weak<Mutex<Kept<K, V>>>>,
}

/// What was changed since a snapshot began, as it was then; None for what was not there.
type Kept<K, V> = BTreeMap<K, Option<V>>;

/// Where a reader is in its snapshot.
pub struct Reader<K, V> {
    kept: Arc<Mutex<Kept<K, V>>>,
    from: Bound<K>,
}

impl<K, V> Default for Versions<K, V> {
    fn default() -> Self {
        Versions { now: BTreeMap::new(), readers: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Versions<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.now.get(key)
    }

    /// With None it is removed.
    pub fn put(&mut self, key: &K, value: Option<V>) {
        let before = match value {
            Some(value) => self.now.insert(key.clone(), value),
            None => self.now.remove(key),
        };
        self.readers.retain(|reader| {
            let Some(kept) = reader.upgrade() else { return false };
            locked(&kept).entry(key.clone()).or_insert_with(|| before.clone());
            true
        });
    }

    /// Begins to read what is there now, from a key on.
    pub fn read(&mut self, from: Bound<K>) -> Reader<K, V> {
        let kept = Arc::default();
        self.readers.push(Arc::downgrade(&kept));
        Reader { kept, from }
    }
}

impl<K: Ord + Clone, V: Clone> Reader<K, V> {
    /// The next ones of the snapshot, of this many keys that are there or were; and whether these were the last.
    pub fn next(&mut self, map: &Versions<K, V>, looks: usize) -> (Vec<(K, V)>, bool) {
        let mut kept = locked(&self.kept);
        let mut found = Vec::new();
        for _ in 0..looks {
            let Some((key, value)) = next_of(&map.now, &kept, &self.from) else { return (found, true) };
            self.from = Bound::Excluded(key.clone());
            found.extend(value.map(|value| (key, value)));
        }
        if let Bound::Excluded(last) = &self.from {
            *kept = kept.split_off(last);
        }
        (found, false)
    }
}

/// The next one as the snapshot has it: what was kept of it, or what is there.
fn next_of<K: Ord + Clone, V: Clone>(
    now: &BTreeMap<K, V>,
    kept: &Kept<K, V>,
    from: &Bound<K>,
) -> Option<(K, Option<V>)> {
    let range = (from.as_ref(), Bound::Unbounded);
    let there = now.range::<K, _>(range).next();
    let before = kept.range::<K, _>(range).next();
    match (there, before) {
        (Some((key, value)), None) => Some((key.clone(), Some(value.clone()))),
        (Some((key, value)), Some((other, _))) if key < other => Some((key.clone(), Some(value.clone()))),
        (_, Some((key, value))) => Some((key.clone(), value.clone())),
        (None, None) => None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
