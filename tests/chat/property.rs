//! Whatever the input, its terminators and the chunks it arrives in: the pieces of
//! a chat are those of a split of the whole.

use crate::common::chat::model::Case;
use fdloop::{Backend, EventLoop, Terminator};

/// Cases for each backend. Each has some dozen system calls.
const CASES: u64 = 10_000;

#[test]
fn any_chunking_and_any_terminators_give_the_pieces_of_a_split_of_the_whole() {
    for &backend in Backend::ALL {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        for seed in 0..CASES {
            let case = Random::new(seed).case();
            let heard = case.heard(&mut event_loop).unwrap();
            assert_eq!(heard, case.expected(), "{backend}, seed {seed}: {case:?}");
        }
    }
}

/// Numbers from a seed, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far from each other.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// From 0 to below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// Bytes of a small alphabet, in which terminators are likely, and likely to
    /// overlap themselves.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b"aab"[self.below(3)]).collect()
    }

    fn terminator(&mut self) -> Terminator {
        let len = 1 + self.below(6);
        match self.below(12) {
            0 => Terminator::none(),
            1 | 2 => Terminator::count(self.below(9) as u64),
            3 | 4 => Terminator::bytes("a".repeat(len)),
            _ => Terminator::bytes(self.bytes(len)),
        }
    }

    fn case(&mut self) -> Case {
        let mut input = Vec::new();
        let longest = 2 + self.below(12);
        for _ in 0..1 + self.below(10) {
            let change = (input.is_empty() || self.below(4) == 0).then(|| self.terminator());
            let len = 1 + self.below(longest);
            input.push((change, self.bytes(len)));
        }
        let count = 1 + self.below(4);
        Case {
            input,
            terminators: (0..count).map(|_| self.terminator()).collect(),
            in_buffer_size: 1 + self.below(16),
        }
    }
}
