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
        // The low bits choose the bucket: as they are, so that neighbours lie side by
        // side. The highest seven of a usize tell entries apart before they are compared:
        // 2^64 divided by the golden ratio spreads neighbours over them.
        const AS_IT_IS: u64 = if usize::BITS > 32 {
            u32::MAX as u64
        } else {
            (1 << (usize::BITS - 7)) - 1
        };
        let number = u64::from(fd as u32);
        let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread & !AS_IT_IS | number & AS_IT_IS;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Unreachable for integer keys, but correct.
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}
