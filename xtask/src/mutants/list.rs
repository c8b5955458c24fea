//! The breaks: what is taken out of the code, and the test that must notice.
//!
//! Always: each is something that an honest hand could get wrong and that no compiler sees: an answer before its sync, a step
//! of a replay that is left out, a cut that cuts too little.

use anyhow::{Result, ensure};

/// A break of the code.
pub(super) struct Mutant {
    /// What is wrong then.
    pub(super) name: &'static str,
    /// Where.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) from: &'static str,
    /// What stands there instead.
    pub(super) to: &'static str,
    /// The test that fails, with its package and what of that is built.
    pub(super) package: &'static str,
    pub(super) target: &'static [&'static str],
    pub(super) test: &'static str,
}

impl Mutant {
    /// The text with the break.
    pub(super) fn break_it(&self, text: &str) -> Result<String> {
        let places = text.matches(self.from).count();
        ensure!(
            places == 1,
            "{} has {places} places like this, not one:\n{}",
            self.file,
            self.from
        );
        Ok(text.replacen(self.from, self.to, 1))
    }
}

const fn in_log(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    test: &'static str,
) -> Mutant {
    Mutant {
        name,
        file,
        from,
        to,
        package: "klamm-log",
        target: &["--lib"],
        test,
    }
}

const FLUSH: &str = "crates/log/src/flush.rs";
const RECOVERY: &str = "crates/log/src/recovery.rs";
const OPEN: &str = "crates/log/src/open.rs";
const TRUNCATE: &str = "crates/log/src/truncate.rs";
const RETENTION: &str = "crates/log/src/retention.rs";
const DIR: &str = "crates/log/src/dir/journaled.rs";
const MAKE: &str = "crates/log/src/make.rs";

pub(super) fn mutants() -> &'static [Mutant] {
    &MUTANTS
}

static MUTANTS: [Mutant; 14] = [
    in_log(
        "an answer before the sync",
        FLUSH,
        "let result = self.parts().try_for_each(|part| part.file.sync());",
        "let result: Result<(), LogError> = Ok(());",
        "crashes::tests::appends_and_commits_survive_a_crash_anywhere",
    ),
    in_log(
        "a sync that failed is taken for a success the next time",
        FLUSH,
        "            self.home.dir.fail(error);\n        }\n        result",
        "            tracing::error!(%error, \"not synced\");\n        }\n        result",
        "crashes::tests::a_sync_that_failed_is_never_a_success_later",
    ),
    in_log(
        "the recovery point rises without a sync",
        FLUSH,
        "    if let Some(ticket) = &plan.ticket {\n        ticket.sync_inside()?;\n    }\n",
        "",
        "crashes::tests::a_roll_survives_a_crash_anywhere",
    ),
    in_log(
        "a torn tail stays in the file",
        RECOVERY,
        "file.set_len(kept).map_err(LogError::io(&path))?;",
        "let _ = (&file, kept, &path);",
        "crashes::tests::appends_and_commits_survive_a_crash_anywhere",
    ),
    in_log(
        "recovery does not look at checksums",
        RECOVERY,
        "batch.and_then(|bytes| check_crc(bytes).map(|header| (header, bytes)))",
        "batch.and_then(|bytes| BatchHeader::parse(bytes).map(|header| (header, bytes)))",
        "recovery::tests::a_crash_at_any_moment_loses_nothing_durable",
    ),
    in_log(
        "segments behind the cut come back",
        RECOVERY,
        "removed.iter().try_for_each(|segment| segment.files.remove_all())",
        "Ok(drop(removed))",
        "crashes::tests::a_roll_survives_a_crash_anywhere",
    ),
    in_log(
        "what recovery kept is not synced",
        RECOVERY,
        "for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {",
        "for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {",
        "recovery::tests::a_crash_at_any_moment_loses_nothing_durable",
    ),
    in_log(
        "recovery does not replay the aborted transactions",
        RECOVERY,
        "segment.note_aborted(aborted);",
        "drop(aborted);",
        "crashes::tests::transactions_survive_a_crash_anywhere",
    ),
    in_log(
        "the producers are not replayed",
        OPEN,
        "let _ = log.producers.take_in(&header, &bytes[HEADER_BYTES..]);",
        "let _ = HEADER_BYTES;",
        "crashes::tests::transactions_survive_a_crash_anywhere",
    ),
    in_log(
        "a truncation is not on the device",
        TRUNCATE,
        "        log.sync_data().map_err(LogError::io(&path))?;\n",
        "",
        "crashes::tests::a_truncation_survives_a_crash_anywhere",
    ),
    in_log(
        "a truncation leaves the segments behind it",
        TRUNCATE,
        "        removed\n            .iter()\n            .try_for_each(|segment| segment.files.remove_all())?;\n",
        "        drop(removed);\n",
        "crashes::tests::a_truncation_survives_a_crash_anywhere",
    ),
    in_log(
        "two segments are removed at once",
        RETENTION,
        "home.dir.sync_folder(&home.folder())?;",
        "let _ = home.folder();",
        "crashes::tests::the_removal_of_segments_survives_a_crash_anywhere",
    ),
    in_log(
        "a checkpoint still promises what a truncation takes",
        DIR,
        "Some(point) if *point > to => *point = to,",
        "Some(point) if *point > to => return Ok(()),",
        "crashes::tests::a_truncation_survives_a_crash_anywhere",
    ),
    in_log(
        "the names of a new partition's files are not synced",
        MAKE,
        "        segment.create(kind)?;\n    }\n    dir.sync_folder(folder)\n",
        "        segment.create(kind)?;\n    }\n    let _ = (dir, folder);\n    Ok(())\n",
        "crashes::tests::appends_and_commits_survive_a_crash_anywhere",
    ),
];
