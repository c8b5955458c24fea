//! What one run of a scenario gave, and the figures that are read off it.
//!
//! Always holds: a figure is lower-is-better or higher-is-better by its goal alone; a figure that a run cannot give is
//! absent, never 0.

use serde::Serialize;

use super::{disk::Written, driver::Done, probe::Memory};

/// One run.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Measured {
    /// Wall time of the measured part.
    pub(super) seconds: f64,
    /// CPU time of the broker in the measured part.
    pub(super) cpu_seconds: f64,
    /// Of the broker, at its end.
    pub(super) memory: Memory,
    /// By how much the broker's anonymous memory grew in it, in bytes.
    pub(super) grown: i64,
    /// What there were of: connections, partitions, groups, records of offsets, members that came or went.
    pub(super) count: u32,
    /// CPU seconds a second, with everything set up and nobody asking.
    pub(super) idle: Option<f64>,
    /// The share of the machine that others used in the measured part.
    pub(super) foreign: f64,
    /// What the load program said, where there is one.
    pub(super) done: Option<Done>,
    /// What a second one said, that worked at the same time.
    pub(super) beside: Option<Done>,
    /// What went to the device, with what was behind the load.
    pub(super) written: Option<Written>,
    /// Until all partitions of a process that started answered.
    pub(super) served_seconds: Option<f64>,
    /// The same as `seconds`, of a process that held less.
    pub(super) earlier_seconds: Option<f64>,
}

impl Measured {
    fn done(&self) -> Option<&Done> {
        self.done.as_ref()
    }

    /// Of keys and values before compression, and of batches where the load program does not know those (a fetch).
    fn gigabytes(&self) -> Option<f64> {
        let done = self.done()?;
        let bytes = done.payload_bytes.or(done.bytes)?;
        Some(bytes as f64 / 1e9)
    }

    fn requests(&self) -> Option<f64> {
        Some(self.done()?.requests? as f64)
    }

    pub(super) fn cpu_per_gigabyte(&self) -> Option<f64> {
        Some(self.cpu_seconds / self.gigabytes()?)
    }

    pub(super) fn megabytes_per_second(&self) -> Option<f64> {
        Some(self.gigabytes()? * 1e3 / self.seconds)
    }

    pub(super) fn cpu_us_per_request(&self) -> Option<f64> {
        Some(self.cpu_seconds * 1e6 / self.requests()?)
    }

    pub(super) fn requests_per_second(&self) -> Option<f64> {
        Some(self.requests()? / self.seconds)
    }

    /// The share of one processor, in percent.
    pub(super) fn cpu_percent(&self) -> Option<f64> {
        Some(self.cpu_seconds * 100.0 / self.seconds)
    }

    pub(super) fn idle_cpu_percent(&self) -> Option<f64> {
        Some(self.idle? * 100.0)
    }

    pub(super) fn cpu_us_each(&self) -> Option<f64> {
        Some(self.cpu_seconds * 1e6 / f64::from(self.count))
    }

    /// None when nothing came: something else was given back meanwhile, and that is not what they take.
    pub(super) fn grown_kib_each(&self) -> Option<f64> {
        (self.grown > 0).then(|| self.grown as f64 / 1024.0 / f64::from(self.count))
    }

    pub(super) fn resident_mb(&self) -> Option<f64> {
        Some(self.memory.resident as f64 / 1e6)
    }

    pub(super) fn milliseconds(&self) -> Option<f64> {
        Some(self.seconds * 1e3)
    }

    pub(super) fn seen_p50(&self) -> Option<f64> {
        Some(self.done()?.end_to_end_us?.p50 / 1e3)
    }

    pub(super) fn seen_p99(&self) -> Option<f64> {
        Some(self.done()?.end_to_end_us?.p99 / 1e3)
    }

    pub(super) fn seen_p999(&self) -> Option<f64> {
        Some(self.done()?.end_to_end_us?.p999 / 1e3)
    }

    pub(super) fn commit_p50(&self) -> Option<f64> {
        Some(self.done()?.commit_us?.p50 / 1e3)
    }

    pub(super) fn commit_p99(&self) -> Option<f64> {
        Some(self.done()?.commit_us?.p99 / 1e3)
    }

    pub(super) fn transaction_p50(&self) -> Option<f64> {
        Some(self.done()?.transaction_us?.p50 / 1e3)
    }

    pub(super) fn transaction_p99(&self) -> Option<f64> {
        Some(self.done()?.transaction_us?.p99 / 1e3)
    }

    pub(super) fn rebalance_p50(&self) -> Option<f64> {
        Some(self.done()?.rebalance_us?.p50 / 1e3)
    }

    pub(super) fn cpu_ms_each(&self) -> Option<f64> {
        Some(self.cpu_us_each()? / 1e3)
    }

    pub(super) fn records_per_second(&self) -> Option<f64> {
        Some(self.done()?.records? as f64 / self.seconds)
    }

    pub(super) fn cpu_seconds_used(&self) -> Option<f64> {
        Some(self.cpu_seconds)
    }

    pub(super) fn seconds_passed(&self) -> Option<f64> {
        Some(self.seconds)
    }

    pub(super) fn peak_mb(&self) -> Option<f64> {
        Some(self.memory.peak as f64 / 1e6)
    }

    /// By byte of batches that were acknowledged.
    pub(super) fn device_bytes_per_byte(&self) -> Option<f64> {
        Some(self.written?.device? as f64 / self.done()?.bytes? as f64)
    }

    /// The same, as the kernel charges the process.
    pub(super) fn process_bytes_per_byte(&self) -> Option<f64> {
        Some(self.written?.process as f64 / self.done()?.bytes? as f64)
    }

    pub(super) fn served_ms(&self) -> Option<f64> {
        Some(self.served_seconds? * 1e3)
    }

    pub(super) fn earlier_ms(&self) -> Option<f64> {
        Some(self.earlier_seconds? * 1e3)
    }

    /// How many times as long as earlier it took.
    pub(super) fn growth(&self) -> Option<f64> {
        Some(self.seconds / self.earlier_seconds?)
    }

    pub(super) fn beside_ack_p50(&self) -> Option<f64> {
        Some(self.beside.as_ref()?.ack_us?.p50 / 1e3)
    }

    pub(super) fn beside_ack_p99(&self) -> Option<f64> {
        Some(self.beside.as_ref()?.ack_us?.p99 / 1e3)
    }

    pub(super) fn ack_p50(&self) -> Option<f64> {
        Some(self.done()?.ack_us?.p50 / 1e3)
    }

    pub(super) fn ack_p99(&self) -> Option<f64> {
        Some(self.done()?.ack_us?.p99 / 1e3)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::driver::Quantiles;

    /// A second that cost 0.5 s of CPU.
    pub(in crate::bench) fn measured(done: Done) -> Measured {
        Measured {
            seconds: 2.0,
            cpu_seconds: 0.5,
            memory: Memory {
                resident: 30_000_000,
                ..Memory::default()
            },
            grown: 4096,
            count: 100,
            idle: Some(0.02),
            done: Some(done),
            ..Measured::default()
        }
    }

    #[test]
    fn figures_of_a_log_are_read_in_their_units() {
        let ack_us = Some(Quantiles {
            p50: 500.0,
            p99: 2_000.0,
            ..Quantiles::default()
        });
        let run = Measured {
            written: Some(Written {
                device: Some(2_100),
                process: 1_900,
            }),
            served_seconds: Some(3.0),
            earlier_seconds: Some(1.6),
            beside: Some(Done {
                ack_us,
                ..Done::default()
            }),
            memory: Memory {
                peak: 40_000_000,
                ..Memory::default()
            },
            ..measured(Done {
                records: Some(3_000),
                bytes: Some(1_000),
                ..Done::default()
            })
        };
        for (name, figure, expected) in [
            ("records/s", run.records_per_second(), Some(1_500.0)),
            ("CPU s", run.cpu_seconds_used(), Some(0.5)),
            ("s", run.seconds_passed(), Some(2.0)),
            ("peak", run.peak_mb(), Some(40.0)),
            ("device", run.device_bytes_per_byte(), Some(2.1)),
            ("process", run.process_bytes_per_byte(), Some(1.9)),
            ("served", run.served_ms(), Some(3_000.0)),
            ("earlier", run.earlier_ms(), Some(1_600.0)),
            ("growth", run.growth(), Some(1.25)),
            ("beside p50", run.beside_ack_p50(), Some(0.5)),
            ("beside p99", run.beside_ack_p99(), Some(2.0)),
        ] {
            assert_eq!(figure, expected, "{name}");
        }
        let without = measured(Done::default());
        assert_eq!((without.growth(), without.device_bytes_per_byte()), (None, None));
    }

    #[test]
    fn figures_are_read_in_their_units() {
        let run = measured(Done {
            requests: Some(1_000),
            bytes: Some(500_000_000),
            payload_bytes: Some(2_000_000_000),
            end_to_end_us: Some(Quantiles {
                p50: 250.0,
                p99: 3_000.0,
                p999: 9_000.0,
                ..Quantiles::default()
            }),
            commit_us: Some(Quantiles {
                p50: 500.0,
                p99: 4_000.0,
                ..Quantiles::default()
            }),
            transaction_us: Some(Quantiles {
                p50: 2_000.0,
                p99: 8_000.0,
                ..Quantiles::default()
            }),
            rebalance_us: Some(Quantiles {
                p50: 501_500.0,
                ..Quantiles::default()
            }),
            ..Done::default()
        });
        for (name, figure, expected) in [
            ("CPU s/GB", run.cpu_per_gigabyte(), Some(0.25)),
            ("MB/s", run.megabytes_per_second(), Some(1_000.0)),
            ("us/request", run.cpu_us_per_request(), Some(500.0)),
            ("requests/s", run.requests_per_second(), Some(500.0)),
            ("%", run.cpu_percent(), Some(25.0)),
            ("idle %", run.idle_cpu_percent(), Some(2.0)),
            ("us each", run.cpu_us_each(), Some(5_000.0)),
            ("KiB each", run.grown_kib_each(), Some(0.04)),
            ("MB", run.resident_mb(), Some(30.0)),
            ("ms", run.milliseconds(), Some(2_000.0)),
            ("p50", run.seen_p50(), Some(0.25)),
            ("p99", run.seen_p99(), Some(3.0)),
            ("p99.9", run.seen_p999(), Some(9.0)),
            ("commit p50", run.commit_p50(), Some(0.5)),
            ("commit p99", run.commit_p99(), Some(4.0)),
            ("transaction p50", run.transaction_p50(), Some(2.0)),
            ("transaction p99", run.transaction_p99(), Some(8.0)),
            ("rebalance p50", run.rebalance_p50(), Some(501.5)),
            ("ms each", run.cpu_ms_each(), Some(5.0)),
            ("ack p50", run.ack_p50(), None),
        ] {
            assert_eq!(figure, expected, "{name}");
        }
    }

    #[test]
    fn memory_that_shrank_is_no_figure() {
        for grown in [0, -4096] {
            let run = Measured {
                grown,
                ..measured(Done::default())
            };
            assert_eq!(run.grown_kib_each(), None, "{grown}");
        }
    }

    #[test]
    fn a_fetch_counts_the_bytes_on_the_wire() {
        let run = measured(Done {
            bytes: Some(500_000_000),
            ..Done::default()
        });
        assert_eq!(run.cpu_per_gigabyte(), Some(1.0));
    }

    #[test]
    fn without_a_load_program_there_is_no_rate() {
        let run = Measured {
            done: None,
            ..measured(Done::default())
        };
        assert_eq!(run.requests_per_second(), None);
        assert_eq!(run.milliseconds(), Some(2_000.0));
    }
}
