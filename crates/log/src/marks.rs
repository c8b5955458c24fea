//! Where batches begin that will be asked for next: what was appended, synced and read last.
//!
//! Always holds: a mark (segment, offset, position) says that the first batch at or after `offset` begins at `position`.
//! Marks of segments that are gone do no harm, because a segment's base offset is part of the mark; after a truncation
//! all marks are dropped.
//!
//! They make the reads at the tail free of any search: a consumer goes on where its last read ended, and the high
//! watermark stands where some append ended.

use klamm_model::Offset;

const APPENDS: usize = 8;
const READS: usize = 24;

#[derive(Clone, Copy, Debug)]
struct Mark {
    segment: Offset,
    offset: Offset,
    position: u32,
}

const NONE: Mark = Mark {
    segment: Offset(-1),
    offset: Offset(-1),
    position: 0,
};

/// The marks of one log.
#[derive(Debug)]
pub(crate) struct Marks {
    appends: [Mark; APPENDS],
    reads: [Mark; READS],
    next_append: u8,
    next_read: u8,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            appends: [NONE; APPENDS],
            reads: [NONE; READS],
            next_append: 0,
            next_read: 0,
        }
    }
}

impl Marks {
    pub(crate) fn get(&self, segment: Offset, offset: Offset) -> Option<u32> {
        self.reads
            .iter()
            .chain(&self.appends)
            .find(|mark| mark.offset == offset && mark.segment == segment)
            .map(|mark| mark.position)
    }

    /// An append ended here.
    pub(crate) fn appended(&mut self, segment: Offset, offset: Offset, position: u32) {
        self.appends[usize::from(self.next_append)] = Mark {
            segment,
            offset,
            position,
        };
        self.next_append = (self.next_append + 1) % APPENDS as u8;
    }

    /// A read or a sync ended here: it is where a reader goes on, or has to end.
    pub(crate) fn expect(&mut self, segment: Offset, offset: Offset, position: u32) {
        if self
            .reads
            .iter()
            .any(|mark| mark.offset == offset && mark.segment == segment)
        {
            return;
        }
        self.reads[usize::from(self.next_read)] = Mark {
            segment,
            offset,
            position,
        };
        self.next_read = (self.next_read + 1) % READS as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_marks_are_kept() {
        let mut marks = Marks::default();
        for n in 0..100 {
            marks.expect(Offset(0), Offset(n), n as u32 * 10);
            marks.expect(Offset(0), Offset(n), n as u32 * 10);
        }
        assert_eq!(marks.get(Offset(0), Offset(99)), Some(990));
        assert_eq!(marks.get(Offset(0), Offset(76)), Some(760));
        assert_eq!(marks.get(Offset(0), Offset(75)), None);
        assert_eq!(marks.get(Offset(5), Offset(99)), None, "of another segment");
        marks.appended(Offset(5), Offset(99), 1);
        assert_eq!(marks.get(Offset(5), Offset(99)), Some(1));
    }
}
