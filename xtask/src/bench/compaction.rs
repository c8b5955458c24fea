//! A topic with many updates of few keys, which is compacted once.
//!
//! Always holds: it is written without compaction, and told to be compacted when the measurement begins; so the cleaner meets all of it at
//! once, on either side. What is left has every key, and hardly more than that beside the segment that is written to.

use anyhow::{Context, Result, ensure};

use super::{disk, measured::Measured, probe::Memory, scenario::Compaction, window::Window, work::Worker};

/// The last segment is not compacted: it must be a small part.
const SEGMENT_BYTES: u64 = 64 << 20;

impl Worker<'_> {
    pub(super) fn compact(&mut self, compaction: &Compaction) -> Result<Measured> {
        let topic = self.subject.new_topic();
        let configs = [
            format!("segment.bytes={SEGMENT_BYTES}"),
            "cleanup.policy=delete".to_owned(),
        ];
        self.subject.create_with(&topic, 1, 1, &configs)?;
        let written = self
            .subject
            .drive(&topic, &compaction.fill_arguments())?
            .complete()?;
        let bytes = written
            .bytes
            .context("a producer counts the bytes of its batches")?;
        disk::settle(&self.subject.log_dir()?)?;
        let (least, most) = bounds(bytes, compaction.times);
        let arguments = ["compact", "--below", &most.to_string()].map(str::to_owned);
        let mut driver = self.subject.drive(&topic, &arguments)?;
        driver.reach("ready")?;
        let pid = self.subject.pid()?;
        Memory::forget_peak(pid)?;
        let measured = Window::open(pid)?.over(driver)?;
        let left = measured.done.as_ref().and_then(|done| done.bytes);
        let left = left.context("what is compacted has a size")?;
        ensure!(
            left >= least,
            "{left} bytes are left, every key once takes {least}"
        );
        self.subject.delete(&topic, 1)?;
        Ok(measured)
    }
}

/// What there may be at the end, of so many bytes in which each key was written so often: at least each key once, at most also
/// the segment that is not compacted.
fn bounds(bytes: u64, times: u64) -> (u64, u64) {
    let once = bytes / times;
    (once * 95 / 100, once * 110 / 100 + SEGMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stays_once() {
        let (least, most) = bounds(1_000_000_000, 10);
        assert!(least < 100_000_000 && most > 100_000_000 + SEGMENT_BYTES);
        assert!(most < 300_000_000);
    }
}
