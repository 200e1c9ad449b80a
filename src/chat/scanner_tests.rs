//! The scanner, compared with a split of the whole input.

use std::iter;

use super::*;

/// Scans, and joins the slices of each piece: `Ok` is a complete piece, `Err` the tail.
/// The next terminator is set when a piece is found.
fn scanned(chunks: &[&[u8]], terminators: &[Terminator]) -> Vec<Result<Vec<u8>, Vec<u8>>> {
    let mut scanner = Scanner::default();
    let mut next = terminators.iter().cycle();
    scanner.set_terminator(next.next().unwrap().clone());
    let (mut pieces, mut piece) = (Vec::new(), Vec::new());
    // A count of 0 needs no input.
    for chunk in iter::once(&&[][..]).chain(chunks) {
        scanner.begin(chunk.len());
        while let Some(step) = scanner.step(chunk) {
            let ends = matches!(step, Step::Last(_) | Step::Found);
            match step {
                Step::Collect(bytes) | Step::Last(bytes) => {
                    assert!(!bytes.is_empty());
                    piece.extend_from_slice(&bytes);
                }
                Step::Found => {}
                // The chat ends.
                Step::Endless => return pieces,
            }
            if ends {
                pieces.push(Ok(mem::take(&mut piece)));
                scanner.set_terminator(next.next().unwrap().clone());
            }
        }
        assert_eq!(scanner.left, 0);
        scanner.end();
    }
    piece.extend(scanner.take_held());
    pieces.push(Err(piece));
    pieces
}

/// Splits the whole of the data: the model.
fn split(mut data: &[u8], terminators: &[Terminator]) -> Vec<Result<Vec<u8>, Vec<u8>>> {
    let mut pieces = Vec::new();
    let mut empty_in_a_row = 0;
    for terminator in terminators.iter().cycle() {
        let cut = match (terminator.as_bytes(), terminator.as_count()) {
            (Some(bytes), _) => data
                .windows(bytes.len())
                .position(|window| window == bytes)
                .map(|at| (at, at + bytes.len())),
            (_, Some(count)) => {
                let count = count as usize;
                (count <= data.len()).then_some((count, count))
            }
            _ => None,
        };
        let Some((end, next)) = cut else { break };
        empty_in_a_row = if next == 0 { empty_in_a_row + 1 } else { 0 };
        if empty_in_a_row > MOST_EMPTY {
            return pieces;
        }
        pieces.push(Ok(data[..end].to_vec()));
        data = &data[next..];
    }
    pieces.push(Err(data.to_vec()));
    pieces
}

/// Numbers from a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
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
        match self.below(5) {
            0 => Terminator::count(self.below(9) as u64),
            1 => Terminator::bytes("a".repeat(len)),
            _ => Terminator::bytes(self.bytes(len)),
        }
    }
}

#[test]
fn any_chunking_gives_the_pieces_of_a_whole_buffer_split() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let len = random.below(60);
        let data = random.bytes(len);
        let count = 1 + random.below(4);
        let terminators: Vec<_> = (0..count).map(|_| random.terminator()).collect();
        let mut chunks = Vec::new();
        let mut rest = &data[..];
        let longest = 1 + random.below(8);
        while !rest.is_empty() {
            let n = (1 + random.below(longest)).min(rest.len());
            chunks.push(&rest[..n]);
            rest = &rest[n..];
        }
        assert_eq!(
            scanned(&chunks, &terminators),
            split(&data, &terminators),
            "seed {seed}: {:?} cut at {terminators:?} in chunks {chunks:?}",
            String::from_utf8_lossy(&data),
        );
    }
}

#[test]
fn a_terminator_changed_while_part_of_it_was_seen_loses_nothing() {
    let mut scanner = Scanner::default();
    scanner.set_terminator("abc".into());
    let chunk = b"xab";
    scanner.begin(chunk.len());
    let step = scanner.step(chunk);
    assert_eq!(step, Some(Step::Collect(b"x"[..].into())));
    assert_eq!(scanner.step(chunk), None);
    scanner.set_terminator("b".into());
    assert_eq!(scanner.take_unscanned(), b"ab");
    assert_eq!(scanner.take_held(), b"");
}

#[test]
fn input_held_back_is_the_terminators_own_however_long_that_is() {
    let terminator = "a".repeat(100_000) + "b";
    let mut scanner = Scanner::default();
    scanner.set_terminator(Terminator::bytes(&terminator));
    // One byte at a time: each is looked at about once, or this takes hours.
    for byte in terminator.as_bytes().chunks(1) {
        scanner.begin(1);
        let step = scanner.step(byte);
        let last = byte == b"b";
        assert_eq!(step, last.then_some(Step::Found));
    }
    assert!(scanner.held.is_empty());
}
