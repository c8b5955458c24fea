//! A range of a log is found and probed, as a fetch does before the kernel sends it.

use std::hint::black_box;

use anyhow::{Result, ensure};
use klamm_log::{LogCell, ReadRequest};
use klamm_model::Offset;

use crate::Work;
use crate::appending::Partition;
use crate::inputs::{NOW, batch};

/// Bytes of one read: small, as in the scenario with many consumers.
const READ_BYTES: usize = 64 * 1024;
/// Batches of about 17 KiB in the log.
const BATCHES: usize = 256;

pub(crate) fn plan() -> Result<Box<dyn Work>> {
    let mut partition = Partition::new()?;
    let batch = batch(150)?;
    for _ in 0..BATCHES {
        partition.append(&batch)?;
    }
    let end = partition.log.with(|log| {
        let end = log.log_end_offset();
        log.update_high_watermark(end);
        end
    });
    let mut plan = Plan {
        partition,
        at: Offset(0),
        end,
    };
    // Opens what a first read must open.
    let request = plan.request();
    klamm_log::read::read_blocking(&plan.partition.log, &request, NOW)?;
    plan.run(1);
    ensure!(plan.at > Offset(0), "nothing was read");
    Ok(Box::new(plan))
}

/// A consumer that reads on, and begins again at the end.
struct Plan {
    partition: Partition,
    at: Offset,
    end: Offset,
}

impl Plan {
    fn request(&self) -> ReadRequest {
        ReadRequest {
            offset: self.at,
            max_bytes: READ_BYTES,
            upper_bound: self.end,
            min_one: true,
        }
    }
}

impl Work for Plan {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            if self.at == self.end {
                self.at = Offset(0);
            }
            let request = self.request();
            let read = self
                .partition
                .log
                .lock()
                .read(&request)
                .expect("a log that is open");
            let range = read.range.expect("below the end there is something");
            black_box(range.is_resident());
            self.at = read.next_offset;
        }
    }
}
