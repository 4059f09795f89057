//! A set of small numbers that gives its least element at once: a bitmap of three levels, allocated in chunks.
//!
//! Made for moving nodes between score buckets: insert, remove and least cost a few nanoseconds whatever the size, and a chunk of
//! 4096 numbers takes memory only while it has members.

#[derive(Default)]
pub struct RankSet {
    chunks: Vec<Option<Box<Chunk>>>,
    /// One bit for every chunk that has members.
    summary: Vec<u64>,
    len: usize,
}

struct Chunk {
    summary: u64,
    words: [u64; 64],
}

impl RankSet {
    pub fn insert(&mut self, rank: u32) {
        let (chunk, word, bit) = split(rank);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
            self.summary.resize(chunk / 64 + 1, 0);
        }
        let slot = self.chunks[chunk].get_or_insert_with(|| {
            Box::new(Chunk {
                summary: 0,
                words: [0; 64],
            })
        });
        let mask = 1 << bit;
        if slot.words[word] & mask == 0 {
            slot.words[word] |= mask;
            slot.summary |= 1 << word;
            self.summary[chunk / 64] |= 1 << (chunk % 64);
            self.len += 1;
        }
    }

    pub fn remove(&mut self, rank: u32) {
        let (chunk, word, bit) = split(rank);
        let Some(Some(slot)) = self.chunks.get_mut(chunk) else {
            return;
        };
        let mask = 1 << bit;
        if slot.words[word] & mask == 0 {
            return;
        }
        self.len -= 1;
        slot.words[word] &= !mask;
        if slot.words[word] == 0 {
            slot.summary &= !(1 << word);
        }
        if slot.summary == 0 {
            self.chunks[chunk] = None;
            self.summary[chunk / 64] &= !(1 << (chunk % 64));
        }
    }

    pub fn least(&self) -> Option<u32> {
        let (index, bits) = self
            .summary
            .iter()
            .enumerate()
            .find(|(_, bits)| **bits != 0)?;
        let chunk = index * 64 + bits.trailing_zeros() as usize;
        let slot = self.chunks[chunk].as_ref()?;
        let word = slot.summary.trailing_zeros() as usize;
        let bit = slot.words[word].trailing_zeros() as usize;
        u32::try_from(chunk * 4096 + word * 64 + bit).ok()
    }

    /// The least element above the least one.
    pub fn second(&self) -> Option<u32> {
        let first = self.least()?;
        let (chunk, word, bit) = split(first);
        let slot = self.chunks[chunk].as_ref()?;
        // Twice shifted, so that bit 63 leaves nothing.
        let rest = slot.words[word] & (u64::MAX << bit << 1);
        let at = |chunk: usize, word: usize, bits: u64| {
            u32::try_from(chunk * 4096 + word * 64 + bits.trailing_zeros() as usize).ok()
        };
        if rest != 0 {
            return at(chunk, word, rest);
        }
        let words = slot.summary & (u64::MAX << word << 1);
        if words != 0 {
            let word = words.trailing_zeros() as usize;
            return at(chunk, word, slot.words[word]);
        }
        let next = self.chunks.iter().enumerate().skip(chunk + 1);
        let (chunk, slot) = next
            .filter_map(|(chunk, slot)| Some((chunk, slot.as_ref()?)))
            .next()?;
        let word = slot.summary.trailing_zeros() as usize;
        at(chunk, word, slot.words[word])
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.chunks.iter().enumerate().flat_map(|(chunk, slot)| {
            slot.iter().flat_map(move |slot| {
                slot.words.iter().enumerate().flat_map(move |(word, bits)| {
                    (0..64)
                        .filter(move |bit| bits >> bit & 1 == 1)
                        .map(move |bit| (chunk * 4096 + word * 64 + bit) as u32)
                })
            })
        })
    }
}

fn split(rank: u32) -> (usize, usize, usize) {
    let rank = rank as usize;
    (rank / 4096, rank / 64 % 64, rank % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_an_ordered_set(steps in prop::collection::vec((0_u32..300_000, any::<bool>()), 1..200)) {
            let (mut set, mut model) = (RankSet::default(), BTreeSet::new());
            for (rank, insert) in steps {
                if insert {
                    set.insert(rank);
                    model.insert(rank);
                } else {
                    let victim = model.range(rank..).next().copied().unwrap_or(rank);
                    set.remove(victim);
                    model.remove(&victim);
                }
                prop_assert_eq!(set.least(), model.first().copied());
                prop_assert_eq!(set.second(), model.iter().nth(1).copied());
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert!(set.iter().eq(model));
        }
    }
}
