//! Entries with keys that outlive them without ever naming another one.

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

/// Where the entry of a key lies, if its generation is the key's.
#[derive(Clone, Copy)]
struct Place {
    generation: u32,
    at: u32,
}

/// Entries side by side, found by keys: no allocation in the steady state.
///
/// What says where an entry lies, and whether it is there, is eight bytes in a table of its own. So to
/// look one up touches no line of the entry.
pub(crate) struct Arena<T> {
    places: Vec<Place>,
    free: Vec<u32>,
    entries: Vec<T>,
    /// Beside each entry: the index of its key.
    owners: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            entries: Vec::new(),
            owners: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    pub(crate) fn insert(&mut self, entry: T) -> Key<T> {
        let at = u32::try_from(self.entries.len()).expect("tables are bounded far below 2^32");
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, at });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.at = at;
        self.entries.push(entry);
        self.owners.push(index);
        Key {
            index,
            generation: place.generation,
            entry: PhantomData,
        }
    }

    /// Takes an entry out; the last one moves to its place.
    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let at = self.position(key)?;
        let place = &mut self.places[key.index as usize];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        self.owners.swap_remove(at);
        if let Some(&moved) = self.owners.get(at) {
            self.places[moved as usize].at = at as u32;
        }
        Some(self.entries.swap_remove(at))
    }

    /// Where an entry lies; no key of a free place has its generation.
    fn position(&self, key: Key<T>) -> Option<usize> {
        let place = self.places.get(key.index as usize)?;
        (place.generation == key.generation).then_some(place.at as usize)
    }

    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        self.entries.get(self.position(key)?)
    }

    pub(crate) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let at = self.position(key)?;
        self.entries.get_mut(at)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All entries, in the order of their keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(index, place)| {
            let index = index as u32;
            let at = place.at as usize;
            let key = Key {
                index,
                generation: place.generation,
                entry: PhantomData,
            };
            let entry = self.entries.get(at)?;
            (self.owners[at] == index).then_some((key, entry))
        })
    }

    /// All entries, in any order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut()
    }

    /// All entries, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries().map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_key_never_names_the_next_entry_of_its_index() {
        let mut arena = Arena::default();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn entries_are_found_wherever_removals_have_moved_them() {
        let mut arena = Arena::default();
        let mut keys: Vec<_> = (0..100)
            .map(|number| (number, arena.insert(number)))
            .collect();
        for step in 0..500 {
            let (number, key) = keys.swap_remove(step * 37 % keys.len());
            assert_eq!(arena.remove(key), Some(number));
            assert_eq!(arena.get(key), None);
            keys.push((step + 1000, arena.insert(step + 1000)));
            assert!(
                keys.iter()
                    .all(|&(number, key)| arena.get(key) == Some(&number))
            );
            assert_eq!(arena.get_mut(keys[0].1), Some(&mut keys[0].0));
        }
        keys.sort_by_key(|&(_, key)| key);
        let walked: Vec<_> = arena
            .entries()
            .map(|(key, &number)| (number, key))
            .collect();
        assert_eq!(walked, keys);
        assert!(arena.iter().eq(keys.iter().map(|(number, _)| number)));
        assert_eq!((arena.len(), arena.iter_mut().count()), (100, 100));
    }
}
