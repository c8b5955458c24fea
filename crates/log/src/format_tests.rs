//! The files of a log dir, byte for byte: what `docs/formats` draws. A change here is a change of a format, which other
//! versions, and Apache Kafka's tools, have to read.

use std::fmt::Write;
use std::path::Path;

use klamm_env::Files;
use klamm_model::{LeaderEpoch, Offset};

use crate::config::LogConfig;
use crate::flush::close;
use crate::testing::{Held, NOW, batch, idempotent};

const GOLDEN: &str = include_str!("../tests/golden/log-dir.txt");

/// Two segments, indexes with entries, a producer, two leader epochs.
fn written() -> String {
    let config = LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 100,
        ..LogConfig::default()
    };
    let (disk, held) = Held::new(config);
    held.log.lock().assign_leader_epoch(LeaderEpoch(2));
    held.append(&batch(NOW.0, &["one", "two"])).unwrap();
    held.append(&batch(NOW.0 + 10, &["three"])).unwrap();
    held.append(&idempotent(4000, 1, 0, &["four", "five"])).unwrap();
    held.append(&batch(NOW.0 + 20, &[&"six".repeat(40)])).unwrap();
    held.append(&batch(NOW.0 + 30, &["seven"])).unwrap();
    held.commit().unwrap();
    held.log.lock().advance_log_start_offset(Offset(1)).unwrap();
    close(&held.log).unwrap();
    held.checkpoint().unwrap();
    let mut text = String::new();
    for folder in ["/data", "/data/orders-3"] {
        let mut names: Vec<_> = disk.read_dir(Path::new(folder)).unwrap();
        names.retain(|entry| !entry.is_dir && entry.name != ".lock");
        for entry in names {
            let path = Path::new(folder).join(&entry.name);
            let bytes = disk.read(&path, 1 << 20).unwrap();
            writeln!(text, "{}", path.display()).unwrap();
            for line in bytes.chunks(32) {
                let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(text, "  {hex}").unwrap();
            }
        }
    }
    text
}

#[test]
fn every_file_is_written_as_before() {
    let written = written();
    assert!(written == GOLDEN, "the files are now:\n{written}");
}
