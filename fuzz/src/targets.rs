//! What is fuzzed: a row for each decoder.
//!
//! Always holds: a target is a function of its input: no clock, no real files, nothing kept from the input before.
//! A new decoder gets a row here; then the short run of the tests and `cargo xtask fuzz` have it.

mod config;
mod folder;
mod groups;
mod log;
mod metadata;
mod net;
mod protocol;
mod quorum;
mod records;

use klamm_protocol::schema::sample::Seed;

/// Something that reads bytes which others wrote.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// An input that is valid, or nearly so.
    pub sample: fn(&mut Seed) -> Vec<u8>,
    /// Reads the input. A panic is a finding.
    pub run: fn(&[u8]),
    /// Bytes of memory that an input of this length may take at once.
    pub allowance: fn(usize) -> usize,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// All targets.
pub static ALL: &[Target] = &[
    Target {
        name: "requests",
        about: "the body of every request, in every version",
        sample: protocol::sample_request,
        run: protocol::run_request,
        allowance: protocol::allowance,
    },
    Target {
        name: "responses",
        about: "the body of every response, in every version",
        sample: protocol::sample_response,
        run: protocol::run_response,
        allowance: protocol::allowance,
    },
    Target {
        name: "frames",
        about: "whole requests: header, then the body that it calls for; headers of responses; record frames",
        sample: protocol::sample_frame,
        run: protocol::run_frame,
        allowance: protocol::allowance,
    },
    Target {
        name: "metadata-records",
        about: "every record type of the metadata log",
        sample: protocol::sample_metadata_record,
        run: protocol::run_metadata_record,
        allowance: protocol::allowance,
    },
    Target {
        name: "stored-records",
        about: "keys and values of the coordinators' records, and other structs that are stored",
        sample: protocol::sample_stored_record,
        run: protocol::run_stored_record,
        allowance: protocol::allowance,
    },
    Target {
        name: "decisions",
        about: "decisions of the metadata log, replayed one after another",
        sample: metadata::sample,
        run: metadata::run,
        allowance: |len| 16 * MIB + 64 * len,
    },
    Target {
        name: "group-records",
        about: "what was recorded of groups, replayed, and what is then decided for their members",
        sample: groups::sample_records,
        run: groups::run_records,
        allowance: |len| 8 * MIB + 64 * len,
    },
    Target {
        name: "expressions",
        about: "regular expressions by which members subscribe",
        sample: groups::sample_expression,
        run: groups::run_expression,
        allowance: |len| 8 * MIB + 256 * len,
    },
    Target {
        name: "batches",
        about: "record batches: header, validation under several rules, iteration, walk",
        sample: records::sample_batches,
        run: records::run_batches,
        allowance: records::allowance,
    },
    Target {
        name: "decompress",
        about: "what unpacks records: gzip, snappy, lz4, zstd",
        sample: records::sample_packed,
        run: records::run_packed,
        allowance: records::allowance,
    },
    Target {
        name: "network",
        about: "the bytes of a connection, cut anywhere",
        sample: net::sample,
        run: net::run,
        allowance: |len| MIB + 4 * len,
    },
    Target {
        name: "log-folder",
        about: "all files of a log dir and of a partition in it: opened, recovered, read, appended to",
        sample: log::sample,
        run: log::run,
        allowance: |len| 8 * MIB + 16 * len,
    },
    Target {
        name: "quorum-folder",
        about: "the files of the metadata log: segments, vote, snapshot",
        sample: quorum::sample_folder,
        run: quorum::run_folder,
        allowance: |len| 64 * MIB + 16 * len,
    },
    Target {
        name: "quorum-messages",
        about: "what a voter sends to another",
        sample: quorum::sample_message,
        run: quorum::run_message,
        allowance: |len| 64 * MIB + 16 * len,
    },
    Target {
        name: "quorum-answers",
        about: "what a voter is answered by the others",
        sample: quorum::sample_answer,
        run: quorum::run_answer,
        allowance: |len| 64 * MIB + 16 * len,
    },
    Target {
        name: "config-file",
        about: "a server.properties, environment variables and --set, up to the typed configuration",
        sample: config::sample_file,
        run: config::run_file,
        allowance: |len| 8 * MIB + 256 * len,
    },
    Target {
        name: "config-changes",
        about: "IncrementalAlterConfigs, AlterConfigs, and the description of what came of them",
        sample: config::sample_changes,
        run: config::run_changes,
        allowance: |len| 8 * MIB + 256 * len,
    },
];

/// A runtime for one input, whose time passes when nothing else is to be done.
fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without drivers needs nothing of the system")
}
