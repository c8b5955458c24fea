//! Which bytes of a segment may be sent as they are in memory, and which must be compared with their checksums first.
//!
//! Always holds: what this process wrote is trusted, and what it compared since it opened the segment, as far as one run of bytes
//! tells; all else is not, whether it is in memory or not: a walk over headers, the system's reading ahead and another process
//! bring bytes into memory that nobody has compared. After damage was found nothing is trusted. What leaves memory has to be compared again
//! when it comes back: that is for who looks whether it is there ([`FileRange`](crate::FileRange)).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// See the head of the file. Positions are below 2 GiB, as in a segment.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// What is below was there when the segment was opened.
    found: AtomicU32,
    /// What was compared: the first byte in the upper half, the end in the lower.
    compared: AtomicU64,
    is_lost: AtomicBool,
}

impl Trust {
    /// So many bytes were there when the segment was opened.
    pub(crate) fn found(&self, bytes: u32) {
        self.found.store(bytes, Ordering::Relaxed);
    }

    /// These bytes were compared with their checksums. A run that does not touch the one that is known takes its place.
    pub(crate) fn verified(&self, position: u64, len: u64) {
        let (from, to) = (narrow(position), narrow(position + len));
        let (known_from, known_to) = self.compared();
        let joined = match from <= known_to && to >= known_from {
            true => (from.min(known_from), to.max(known_to)),
            false => (from, to),
        };
        let packed = u64::from(joined.0) << 32 | u64::from(joined.1);
        self.compared.store(packed, Ordering::Relaxed);
    }

    /// Damage was found.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// Whether all these bytes are trusted.
    pub(crate) fn covers(&self, position: u64, len: u64) -> bool {
        if self.is_lost.load(Ordering::Relaxed) {
            return false;
        }
        let foreign_to = (position + len).min(u64::from(self.found.load(Ordering::Relaxed)));
        if position >= foreign_to {
            return true;
        }
        let (from, to) = self.compared();
        u64::from(from) <= position && foreign_to <= u64::from(to)
    }

    fn compared(&self) -> (u32, u32) {
        let packed = self.compared.load(Ordering::Relaxed);
        (narrow(packed >> 32), narrow(packed & u64::from(u32::MAX)))
    }
}

/// A position in a segment; none is larger.
fn narrow(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_bytes_and_compared_ones_are_trusted() {
        let trust = Trust::default();
        assert!(trust.covers(0, 100), "all of it is of this process");
        trust.found(1000);
        let covered = |trust: &Trust| {
            [(0, 10), (90, 20), (500, 100), (990, 20), (1000, 5)].map(|(at, len)| trust.covers(at, len))
        };
        assert_eq!(covered(&trust), [false, false, false, false, true]);
        trust.verified(0, 100);
        assert_eq!(covered(&trust), [true, false, false, false, true]);
        trust.verified(100, 900);
        assert_eq!(
            covered(&trust),
            [true, true, true, true, true],
            "two runs that touch are one"
        );
        trust.verified(0, 50);
        assert_eq!(covered(&trust), [true; 5], "what is known stays known");
        trust.lose();
        assert_eq!(covered(&trust), [false; 5]);
    }

    #[test]
    fn one_run_is_known() {
        let trust = Trust::default();
        trust.found(1000);
        trust.verified(0, 100);
        trust.verified(500, 100);
        assert!(!trust.covers(0, 10) && trust.covers(500, 100) && !trust.covers(100, 10));
    }
}
