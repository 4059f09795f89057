//! Which of two nodes with the same score is taken: the one of the lower row, or, with a seed, an order that the seed gives.
//!
//! The order is a one-to-one map of rows to ranks that keeps them dense, as [`crate::rankset`] wants them. Invariant:
//! `node(rank(row)) == row`, and equal seeds give equal orders.

use crate::cluster::NodeId;

/// Rows are mixed within blocks of so many, and blocks among sixteen.
const BLOCK: u32 = 4096;
const BLOCKS: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ties {
    factor: u32,
    inverse: u32,
    offset: u32,
    block: u32,
}

impl Default for Ties {
    fn default() -> Self {
        Self {
            factor: 1,
            inverse: 1,
            offset: 0,
            block: 0,
        }
    }
}

impl Ties {
    pub fn seeded(seed: u64) -> Self {
        let bits = mix(seed);
        let factor = bits as u32 | 1;
        // Newton's method: each turn doubles the number of right bits, and an odd number is its own inverse modulo 8.
        let mut inverse = factor;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2_u32.wrapping_sub(factor.wrapping_mul(inverse)));
        }
        Self {
            factor,
            inverse,
            offset: (bits >> 32) as u32 % BLOCK,
            block: (bits >> 48) as u32 % BLOCKS,
        }
    }

    /// Among equals the least rank wins.
    pub fn rank(self, node: NodeId) -> u32 {
        let (block, row) = (node / BLOCK, node % BLOCK);
        let row = row.wrapping_mul(self.factor).wrapping_add(self.offset) % BLOCK;
        (block ^ self.block) * BLOCK + row
    }

    pub fn node(self, rank: u32) -> NodeId {
        let (block, row) = (rank / BLOCK, rank % BLOCK);
        let row = row.wrapping_sub(self.offset).wrapping_mul(self.inverse) % BLOCK;
        (block ^ self.block) * BLOCK + row
    }
}

/// SplitMix64: neighbouring seeds have nothing in common.
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_are_one_to_one_and_dense(seed in any::<u64>(), node in 0_u32..5_000_000) {
            let ties = Ties::seeded(seed);
            prop_assert_eq!(ties.node(ties.rank(node)), node);
            prop_assert_eq!(ties.rank(node) / (BLOCK * BLOCKS), node / (BLOCK * BLOCKS));
            prop_assert_eq!(Ties::default().rank(node), node);
        }
    }

    #[test]
    fn seeds_give_different_orders() {
        let first = |seed: u64| (0..5).min_by_key(|node| Ties::seeded(seed).rank(*node));
        let firsts: std::collections::BTreeSet<_> = (0..100).map(first).collect();
        assert_eq!(firsts.len(), 5);
    }
}
