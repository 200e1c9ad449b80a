//! Whatever the input, its terminators and the chunks it arrives in: the pieces of
//! a chat are those of a split of the whole.

use super::random::Random;
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

impl Random {
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
