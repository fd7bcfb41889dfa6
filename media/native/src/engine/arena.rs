//! Slots with keys that outlive their entry without ever naming another one.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Names an entry of an [`Arena`]; stale once the entry is removed.
pub struct Key<T> {
    index: u32,
    generation: u32,
    entry: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    fn parts(self) -> (u32, u32) {
        (self.index, self.generation)
    }

    /// The key as a number, for those who only hand it back.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`Self::to_bits`] gave.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
            entry: PhantomData,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(index: u32) -> Self {
        Self {
            index,
            generation: 0,
            entry: PhantomData,
        }
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

/// Entries in reused slots: no allocation in the steady state, iteration in slot order.
///
/// Entries are large, and found by the thousand in turn: so what finds one lies close together, and
/// an entry stays where it is when there come more.
pub(crate) struct Arena<T> {
    /// By slot.
    generations: Vec<u32>,
    /// By slot.
    entries: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            generations: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    pub(crate) fn insert(&mut self, entry: T) -> Key<T> {
        let index = self.free.pop().unwrap_or_else(|| {
            let slots = self.entries.len();
            self.entries.push(None);
            self.generations.push(0);
            u32::try_from(slots).expect("tables are bounded far below 2^32")
        });
        self.entries[index as usize] = Some(Box::new(entry));
        self.key(index as usize)
    }

    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let index = self.slot(key)?;
        let entry = self.entries[index].take()?;
        let generation = &mut self.generations[index];
        *generation = generation.wrapping_add(1);
        self.free.push(key.index);
        Some(*entry)
    }

    #[inline]
    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        let index = self.slot(key)?;
        self.entries.get(index)?.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let index = self.slot(key)?;
        self.entries.get_mut(index)?.as_deref_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| Some((self.key(index), entry.as_deref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().filter_map(Option::as_deref_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(Option::as_deref)
    }

    /// The slot of a key that is not stale.
    #[inline]
    fn slot(&self, key: Key<T>) -> Option<usize> {
        let index = key.index as usize;
        (self.generations.get(index) == Some(&key.generation)).then_some(index)
    }

    fn key(&self, index: usize) -> Key<T> {
        Key {
            index: index as u32,
            generation: self.generations[index],
            entry: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_key_never_names_the_next_entry_of_its_slot() {
        let mut arena = Arena::default();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }
}
