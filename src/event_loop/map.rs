//! The map of channels by descriptor number.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::RawFd;

use super::Channel;

/// The map that a loop serves: asyncore's `socket_map`.
pub(super) type ChannelMap = HashMap<RawFd, Box<dyn Channel>, FdHash>;

/// Hashes descriptor numbers in one multiplication. The kernel gives out the lowest free
/// number, so a peer cannot choose numbers that collide.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FdHash(u64);

/// The low bits of a hash choose the bucket: they are those of the number, so that neighbours lie
/// side by side. The highest seven of a usize tell entries apart before they are compared: 2^32
/// divided by the golden ratio, as a factor of the higher bits, spreads neighbours over them.
const SPREAD: u64 = 1 | 0x9E37_79B9
    << if usize::BITS > 32 {
        32
    } else {
        usize::BITS - 7
    };

impl BuildHasher for FdHash {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for FdHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_i32(&mut self, fd: RawFd) {
        self.0 = u64::from(fd as u32).wrapping_mul(SPREAD);
    }

    fn write(&mut self, bytes: &[u8]) {
        // Unreachable for integer keys, but correct.
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}
