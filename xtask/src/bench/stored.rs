//! A topic that holds much, and one that holds little, under the same load.
//!
//! Always holds: both have the same batches, as many as are read, at the same offsets and in the page cache. In the one they stand at the
//! heads of a hundred segments of a GiB, in the other in one such segment; what is behind them in a segment are holes, which
//! no request comes to. So what differs is what the broker has to find its way through, and not what it reads.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{
    disk,
    measured::Measured,
    scenario::{Amount, Load},
    subject::Side,
    window::Window,
    work::{Filled, Worker},
};

/// What every segment is made to hold.
const SEGMENT_BYTES: u64 = 1 << 30;
/// Records between two places that are read: of as many whole batches as fit in a MiB.
pub(super) const STRIDE: u64 = 1_008;
/// Segments of the topic that holds much.
const SEGMENTS: u64 = 100;

impl Worker<'_> {
    pub(super) fn stored(&mut self, load: &Load) -> Result<Measured> {
        let topic = self.storing()?;
        let mut driver = self.subject.drive(&topic, &load.arguments())?;
        driver.reach("ready")?;
        Window::open(self.subject.pid()?)?.over(driver)
    }

    /// The topic, made when it is not there yet.
    fn storing(&mut self) -> Result<String> {
        if let Some(filled) = &self.filled {
            return Ok(filled.topic.clone());
        }
        let much = self.subject.side == Side::KlammFull;
        let bytes: u64 = if much { 1 << 20 } else { SEGMENTS << 20 };
        let topic = self.subject.new_topic();
        self.subject
            .create_with(&topic, 1, 1, &[format!("segment.bytes={bytes}")])?;
        let load = Load {
            traced: None,
            topics: 1,
            partitions: 1,
            fill: None,
            command: "produce --connections 1 --in-flight 5 --record-bytes 1024 --batch-records 16 --codec none",
            amount: Amount::Megabytes(110),
        };
        self.subject.drive(&topic, &load.arguments())?.complete()?;
        let all = format!("segment.bytes={SEGMENT_BYTES}");
        let arguments = ["configure", "--config", &all].map(str::to_owned);
        self.subject.drive(&topic, &arguments)?.complete()?;
        let folder = self.subject.log_dir()?;
        let broker = self.subject.broker()?;
        broker.terminate()?;
        let sealed = stretch(&disk::segments(&folder, &topic)?)?;
        let expected = if much { SEGMENTS } else { 1 };
        ensure!(
            sealed >= expected,
            "{sealed} segments are full, {expected} were to be"
        );
        broker.restart()?;
        self.filled = Some(Filled {
            topic: topic.clone(),
            written: None,
        });
        Ok(topic)
    }
}

/// Lets all segments but the last one be of their full size; says how many these are. They must begin at places that are read,
/// as a request that begins before the end of one would come to a hole.
fn stretch(segments: &[PathBuf]) -> Result<u64> {
    let (_, sealed) = segments.split_last().context("a topic has a segment")?;
    let is_many = sealed.len() > 1;
    for path in sealed {
        let base = base_offset(path)?;
        ensure!(
            !is_many || base.is_multiple_of(STRIDE),
            "a segment begins at offset {base}, which is no multiple of {STRIDE}"
        );
        let file = File::options().write(true).open(path)?;
        file.set_len(SEGMENT_BYTES)?;
    }
    Ok(sealed.len() as u64)
}

fn base_offset(path: &Path) -> Result<u64> {
    let name = path.file_stem().context("a segment has a name")?;
    Ok(name.to_string_lossy().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_last_segment_grow_and_take_no_room() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let make = |base: u64| {
            let path = folder.path().join(format!("{base:020}.log"));
            std::fs::write(&path, "batches").unwrap();
            path
        };
        let segments = [make(0), make(STRIDE), make(2 * STRIDE)];
        assert_eq!(stretch(&segments).unwrap(), 2);
        let sizes: Vec<u64> = segments
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .collect();
        assert_eq!(sizes, [SEGMENT_BYTES, SEGMENT_BYTES, 7]);
        assert!(segments[0].metadata().unwrap().blocks() * 512 < 1 << 20);
        assert!(stretch(&[make(5), make(9), make(10)]).is_err());
    }
}
