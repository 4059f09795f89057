//! Equal values share one small number.
//!
//! Invariant: an id is valid while it has references; a freed id is reused, so nothing may keep an id that it does not count.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;

pub struct Interner<T> {
    ids: HashMap<Arc<T>, u32>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    value: Option<Arc<T>>,
    references: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Hash + Eq> Interner<T> {
    /// The value's id with one more reference, and whether it is new.
    pub fn acquire(&mut self, value: T) -> (u32, bool) {
        if let Some(&id) = self.ids.get(&value) {
            self.slots[id as usize].references += 1;
            return (id, false);
        }
        let value = Arc::new(value);
        let slot = Slot {
            value: Some(value.clone()),
            references: 1,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 distinct values")
            }
        };
        self.ids.insert(value, id);
        (id, true)
    }

    /// How many references there are.
    pub fn references(&self, id: u32) -> u32 {
        self.slots[id as usize].references
    }

    /// One reference more to an id that has some.
    pub fn retain(&mut self, id: u32) {
        self.slots[id as usize].references += 1;
    }

    /// One reference less; the value when that was the last.
    pub fn release(&mut self, id: u32) -> Option<Arc<T>> {
        let slot = &mut self.slots[id as usize];
        slot.references -= 1;
        if slot.references > 0 {
            return None;
        }
        let value = slot.value.take().expect("a referenced slot has a value");
        self.ids.remove(&value);
        self.free.push(id);
        Some(value)
    }

    pub fn get(&self, id: u32) -> &Arc<T> {
        self.slots[id as usize]
            .value
            .as_ref()
            .expect("ids are used only while referenced")
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<T>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(id, slot)| Some((id as u32, slot.value.as_ref()?)))
    }

    /// One more than the largest id ever given out.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shared_counted_and_reused() {
        let mut interner = Interner::default();
        let (a, new) = interner.acquire("a");
        assert!(new);
        assert_eq!(interner.acquire("a"), (a, false));
        assert!(interner.release(a).is_none());
        assert_eq!(interner.release(a).as_deref(), Some(&"a"));
        assert_eq!(interner.acquire("b"), (a, true));
        assert_eq!(interner.len(), 1);
    }
}
