//! What was made lately, for a while and within a bound.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A cache of things that are good for a time.
///
/// The time is the wall clock's, as it is about the validity of certificates: a clock that was set makes things anew.
pub(super) struct Recent<K, V> {
    entries: Mutex<HashMap<K, Entry<V>>>,
    most: usize,
    good_for: Duration,
}

struct Entry<V> {
    value: V,
    made: SystemTime,
    used: SystemTime,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(most: usize, good_for: Duration) -> Self {
        Self { entries: Mutex::default(), most, good_for }
    }

    /// Gives what was made for the key, or makes it; the one that wasn't used for longest goes when there are too many.
    pub(super) fn get<Q, E>(
        &self,
        key: &Q,
        now: SystemTime,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // Nothing below can panic halfway through a change, so what a poisoned lock guards is still whole.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(key)
            && now.duration_since(entry.made).is_ok_and(|age| age < self.good_for)
        {
            entry.used = now;
            return Ok(entry.value.clone());
        }
        let value = make()?;
        if entries.len() >= self.most && !entries.contains_key(key) {
            evict(&mut entries);
        }
        entries.insert(key.to_owned(), Entry { value: value.clone(), made: now, used: now });
        Ok(value)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Drops a quarter, those that weren't used for longest: looking through all of them for each new one would be a cost
/// that whoever asks for many names could impose.
fn evict<K: Eq + Hash, V>(entries: &mut HashMap<K, Entry<V>>) {
    let mut used: Vec<SystemTime> = entries.values().map(|entry| entry.used).collect();
    used.sort_unstable();
    let Some(&limit) = used.get(used.len() / 4) else { return };
    entries.retain(|_, entry| entry.used > limit);
}
