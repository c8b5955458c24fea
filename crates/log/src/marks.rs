//! Where batches begin that will be asked for next: what was appended, synced and read last.
//!
//! Always holds: a mark (segment, offset, position) says that the first batch at or after `offset` begins at `position`.
//! Marks of segments that are gone do no harm, because a segment's base offset is part of the mark; where compaction puts
//! another segment at a base offset, the marks of it are dropped, and after a truncation all are.
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

/// The marks of one log.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    appends: Ring<APPENDS>,
    reads: Ring<READS>,
}

/// The newest `N`, with memory for as many as there were.
#[derive(Debug, Default)]
struct Ring<const N: usize> {
    marks: Vec<Mark>,
    /// Where the oldest is, once there are `N`.
    next: u8,
}

impl<const N: usize> Ring<N> {
    fn find(&self, segment: Offset, offset: Offset) -> Option<&Mark> {
        self.marks
            .iter()
            .find(|mark| mark.offset == offset && mark.segment == segment)
    }

    fn keep_from(&mut self, first: Offset) {
        // The oldest first again.
        self.marks.rotate_left(usize::from(self.next));
        self.next = 0;
        self.marks.retain(|mark| mark.segment >= first);
    }

    fn push(&mut self, mark: Mark) {
        let count = self.marks.len();
        if count == N {
            self.marks[usize::from(self.next)] = mark;
            self.next = (self.next + 1) % N as u8;
            return;
        }
        if count == self.marks.capacity() {
            self.marks.reserve_exact(count.clamp(1, N - count));
        }
        self.marks.push(mark);
    }
}

impl Marks {
    /// Keeps the marks of the segments from `first` on.
    pub(crate) fn keep_from(&mut self, first: Offset) {
        self.appends.keep_from(first);
        self.reads.keep_from(first);
    }

    pub(crate) fn get(&self, segment: Offset, offset: Offset) -> Option<u32> {
        let read = self.reads.find(segment, offset);
        read.or_else(|| self.appends.find(segment, offset))
            .map(|mark| mark.position)
    }

    /// An append ended here.
    pub(crate) fn appended(&mut self, segment: Offset, offset: Offset, position: u32) {
        self.appends.push(Mark {
            segment,
            offset,
            position,
        });
    }

    /// A read or a sync ended here: it is where a reader goes on, or has to end.
    pub(crate) fn expect(&mut self, segment: Offset, offset: Offset, position: u32) {
        if self.reads.find(segment, offset).is_none() {
            self.reads.push(Mark {
                segment,
                offset,
                position,
            });
        }
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
        marks.keep_from(Offset(5));
        assert_eq!(
            marks.get(Offset(0), Offset(99)),
            None,
            "of a segment that was replaced"
        );
        assert_eq!(marks.get(Offset(5), Offset(99)), Some(1));
        for n in 0..100 {
            marks.expect(Offset(5), Offset(n), n as u32);
        }
        assert_eq!(marks.get(Offset(5), Offset(76)), Some(76));
        assert_eq!(marks.get(Offset(5), Offset(75)), None);
    }
}
