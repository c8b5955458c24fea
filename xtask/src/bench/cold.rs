//! A reader of old data beside a writer.
//!
//! Always holds: the page cache has forgotten what is read, and the kernel says that it came from the device; the reader is at work
//! for as long as the writer is. The writer has a topic of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    disk,
    driver::Done,
    here,
    measured::Measured,
    scenario::{Amount, Cold},
    window::Window,
    work::{Worker, read_what_was_written},
};

/// What of the data must come from the device. The rest is what others read, or the kernel had read ahead.
const COLD_SHARE: f64 = 0.9;
/// How much of the writer's time the reader must fill.
const BESIDE_SHARE: f64 = 0.8;

impl Worker<'_> {
    pub(super) fn cold(&mut self, cold: &Cold) -> Result<Measured> {
        let folder = self.subject.log_dir()?;
        if let Some(most) = cold.memory_mb {
            here::has_at_most(most * 1_000_000)?;
        }
        let (fill, written) = (cold.reader.fill_arguments(), cold.reader.fill);
        if let Some((_, Amount::Megabytes(megabytes))) = written
            && self.filled.is_none()
        {
            // Each side keeps its own.
            here::has_room(&folder, 2 * megabytes * 1_000_000)?;
        }
        let fill = fill.context("what is read must be written before")?;
        let old = self.filled(&cold.reader, &fill)?;
        let new = self.subject.new_topic();
        self.subject.create(&new, 1, cold.writer.partitions)?;
        disk::settle(&folder)?;
        disk::forget(&folder, &old.topic)?;
        let mut reader = self.subject.drive(&old.topic, &cold.reader.arguments())?;
        reader.reach("ready")?;
        let mut writer = self.subject.drive(&new, &cold.writer.arguments())?;
        writer.reach("ready")?;
        let pid = self.subject.pid()?;
        let (read, window) = (disk::read_by(pid)?, Window::open(pid)?);
        reader.go()?;
        writer.go()?;
        let beside = writer.done()?;
        let done = reader.done()?;
        let drivers = Duration::try_from_secs_f64(done.driver_cpu_seconds + beside.driver_cpu_seconds)?;
        let mut measured = window.close(Some(done.clone()), 1)?;
        measured.foreign = window.foreign(drivers)?;
        was_cold(&done, disk::read_by(pid)?.saturating_sub(read))?;
        was_beside(&done, &beside)?;
        writer.end()?;
        reader.end()?;
        if let Some(written) = &old.written {
            read_what_was_written(&done, written, cold.reader.amount)?;
        }
        self.compare_counts(&cold.writer, &new, &beside)?;
        self.subject.delete(&new, 1)?;
        measured.beside = Some(beside);
        Ok(measured)
    }
}

/// An error when less came from the device than was read.
fn was_cold(read: &Done, from_device: u64) -> Result<()> {
    let bytes = read.bytes.context("a reader counts bytes")?;
    ensure!(
        from_device as f64 >= bytes as f64 * COLD_SHARE,
        "of {bytes} bytes that were read, the device gave {from_device}: the rest was in memory"
    );
    Ok(())
}

/// An error when the writer worked alone for a while.
fn was_beside(read: &Done, wrote: &Done) -> Result<()> {
    ensure!(
        read.seconds >= wrote.seconds * BESIDE_SHARE,
        "all was read after {:.1} s, the writer wrote for {:.1} s: its times are those without a reader",
        read.seconds,
        wrote.seconds
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_memory_is_no_cold_read() {
        let read = Done {
            bytes: Some(1_000),
            ..Done::default()
        };
        assert!(was_cold(&read, 900).is_ok());
        assert!(was_cold(&read, 899).is_err());
        assert!(was_cold(&Done::default(), 900).is_err());
    }

    #[test]
    fn a_writer_that_was_alone_is_not_one_beside_a_reader() {
        let lasted = |seconds| Done {
            seconds,
            ..Done::default()
        };
        assert!(was_beside(&lasted(8.0), &lasted(10.0)).is_ok());
        assert!(was_beside(&lasted(7.9), &lasted(10.0)).is_err());
    }
}
