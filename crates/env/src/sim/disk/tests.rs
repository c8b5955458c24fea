//! What survives what.

use std::io::IoSlice;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::files::{File, Files, OpenMode};

const ALL: u64 = 1 << 20;

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn put(disk: &Disk, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(path(name), OpenMode::Create).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file
}

fn contents(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    disk.read(path(name), ALL).ok()
}

/// Does `steps` on a new disk and says what is in `/d/a` and `/d/b` after `crash`.
fn after(crash: CrashMode, steps: fn(&Disk)) -> [Option<String>; 2] {
    let disk = Disk::default();
    disk.create_dir_all(path("/d")).unwrap();
    disk.sync_all();
    steps(&disk);
    disk.crash(crash);
    let text = |name| contents(&disk, name).map(|bytes| String::from_utf8(bytes).unwrap());
    [text("/d/a"), text("/d/b")]
}

#[test]
fn what_survives_which_crash() {
    type Case = (
        &'static str,
        fn(&Disk),
        [Option<&'static str>; 2],
        [Option<&'static str>; 2],
    );
    // What there is after the loss of the process, and after that of power with nothing unsynced left.
    let cases: [Case; 9] = [
        (
            "never synced",
            |disk| drop(put(disk, "/d/a", b"1")),
            [Some("1"), None],
            [None, None],
        ),
        (
            "contents synced, name not",
            |disk| put(disk, "/d/a", b"1").sync_data().unwrap(),
            [Some("1"), None],
            [None, None],
        ),
        (
            "name synced, contents not",
            |disk| {
                put(disk, "/d/a", b"1");
                disk.sync_dir(path("/d")).unwrap();
            },
            [Some("1"), None],
            [Some(""), None],
        ),
        (
            "both synced, then overwritten and made longer",
            |disk| {
                let file = put(disk, "/d/a", b"12");
                file.sync_data().unwrap();
                disk.sync_dir(path("/d")).unwrap();
                file.write_at(&[IoSlice::new(b"345")], 1).unwrap();
            },
            [Some("1345"), None],
            [Some("12"), None],
        ),
        (
            "cut, without a sync",
            |disk| {
                put(disk, "/d/a", b"12");
                disk.sync_all();
                let file = disk.open(path("/d/a"), OpenMode::Write).unwrap();
                file.set_len(1).unwrap();
            },
            [Some("1"), None],
            [Some("12"), None],
        ),
        (
            "renamed over another, without a sync",
            |disk| {
                put(disk, "/d/a", b"old");
                put(disk, "/d/b", b"new");
                disk.sync_all();
                disk.rename(path("/d/b"), path("/d/a")).unwrap();
            },
            [Some("new"), None],
            [Some("old"), Some("new")],
        ),
        (
            "renamed over another, folder synced",
            |disk| {
                put(disk, "/d/a", b"old");
                put(disk, "/d/b", b"new");
                disk.sync_all();
                disk.rename(path("/d/b"), path("/d/a")).unwrap();
                disk.sync_dir(path("/d")).unwrap();
            },
            [Some("new"), None],
            [Some("new"), None],
        ),
        (
            "removed, without a sync",
            |disk| {
                put(disk, "/d/a", b"1");
                disk.sync_all();
                disk.remove_file(path("/d/a")).unwrap();
            },
            [None, None],
            [Some("1"), None],
        ),
        (
            "written as a whole",
            |disk| {
                put(disk, "/d/a", b"old");
                disk.sync_all();
                disk.write_atomically(path("/d/a"), b"new").unwrap();
            },
            [Some("new"), None],
            [Some("new"), None],
        ),
    ];
    for (name, steps, process, power) in cases {
        let owned = |texts: [Option<&str>; 2]| texts.map(|text| text.map(str::to_owned));
        assert_eq!(
            after(CrashMode::KeepPageCache, steps),
            owned(process),
            "{name}: process"
        );
        assert_eq!(
            after(CrashMode::DropUnsynced, steps),
            owned(power),
            "{name}: power"
        );
    }
}

#[test]
fn a_killed_process_leaves_data_that_power_can_still_take() {
    let disk = Disk::default();
    put(&disk, "/a", b"1");
    disk.crash(CrashMode::KeepPageCache);
    assert_eq!(contents(&disk, "/a").unwrap(), b"1");
    assert!(disk.has_unsynced_data());
    disk.crash(CrashMode::DropUnsynced);
    assert_eq!(contents(&disk, "/a"), None);
}

#[test]
fn torn_writes_take_every_shape() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let disk = Disk::default();
        let file = put(&disk, "/a", &[1; 8192]);
        disk.sync_all();
        file.write_at(&[IoSlice::new(&[2; 8192])], 0).unwrap();
        file.write_at(&[IoSlice::new(&[3; 512])], 8192).unwrap();
        disk.crash(CrashMode::Torn { seed });
        let bytes = contents(&disk, "/a").unwrap();
        assert!(bytes.len() == 8192 || bytes.len() == 8704);
        for sector in bytes.chunks(512) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "a sector is never torn"
            );
        }
        let shape = |page: &[u8]| (page.contains(&1), page.contains(&2));
        let tail = bytes.get(8192).copied();
        seen.insert((shape(&bytes[..4096]), shape(&bytes[4096..8192]), tail));
    }
    // Each page old, new or mixed; the tail absent, a hole or there.
    assert_eq!(seen.len(), 27);
}

#[test]
fn a_page_may_show_any_state_since_the_last_sync() {
    let seen: BTreeSet<Vec<u8>> = (0..200)
        .map(|seed| {
            let disk = Disk::default();
            let file = put(&disk, "/a", b"0");
            disk.sync_all();
            for byte in [b"1", b"2", b"3"] {
                file.write_at(&[IoSlice::new(byte)], 0).unwrap();
            }
            disk.crash(CrashMode::Torn { seed });
            contents(&disk, "/a").unwrap()
        })
        .collect();
    assert_eq!(seen, [b"0", b"1", b"2", b"3"].map(|byte| byte.to_vec()).into());
}

#[test]
fn a_truncation_that_is_there_has_cut_and_one_that_is_not_has_not() {
    let seen: BTreeSet<Vec<u8>> = (0..200)
        .map(|seed| {
            let disk = Disk::default();
            let file = put(&disk, "/a", b"abcd");
            disk.sync_all();
            file.set_len(2).unwrap();
            file.write_at(&[IoSlice::new(b"X")], 3).unwrap();
            disk.crash(CrashMode::Torn { seed });
            contents(&disk, "/a").unwrap()
        })
        .collect();
    // Not cut; cut; cut and made longer, with what was written or a hole.
    let expected: [&[u8]; 4] = [b"abcd", b"ab", b"ab\0X", b"ab\0\0"];
    assert_eq!(seen, expected.map(<[u8]>::to_vec).into());
}

#[test]
fn of_two_changes_of_one_name_the_later_is_never_there_alone() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let disk = Disk::default();
        put(&disk, "/new", b"new").sync_data().unwrap();
        put(&disk, "/other", b"").sync_data().unwrap();
        disk.rename(path("/new"), path("/a")).unwrap();
        disk.crash(CrashMode::Torn { seed });
        let names: Vec<String> = disk
            .read_dir(path("/"))
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        if names.iter().any(|name| name == "a") {
            assert_eq!(contents(&disk, "/a").unwrap(), b"new");
            assert!(!names.iter().any(|name| name == "new"), "a rename is one change");
        }
        seen.insert(names);
    }
    assert_eq!(
        seen.len(),
        6,
        "each of the two files is there or not, under one of its names"
    );
}

#[test]
fn a_sync_of_a_folder_brings_what_its_changes_build_on() {
    let disk = Disk::default();
    disk.create_dir_all(path("/d")).unwrap();
    disk.create_dir_all(path("/e")).unwrap();
    disk.sync_all();
    put(&disk, "/d/a", b"1").sync_data().unwrap();
    disk.rename(path("/d/a"), path("/e/b")).unwrap();
    put(&disk, "/d/c", b"2").sync_data().unwrap();
    disk.sync_dir(path("/e")).unwrap();
    disk.crash(CrashMode::DropUnsynced);
    assert_eq!(contents(&disk, "/e/b").unwrap(), b"1");
    assert_eq!(
        disk.read_dir(path("/d")).unwrap(),
        [],
        "neither the old name nor another file"
    );
}

#[test]
fn a_folder_that_is_lost_takes_its_files_along() {
    let disk = Disk::default();
    disk.create_dir_all(path("/d/e")).unwrap();
    put(&disk, "/d/e/a", b"1").sync_data().unwrap();
    disk.sync_dir(path("/d/e")).unwrap();
    disk.sync_dir(path("/d")).unwrap();
    disk.crash(CrashMode::DropUnsynced);
    assert_eq!(disk.entry(path("/d")).unwrap(), None);
}

#[test]
fn a_renamed_folder_keeps_its_files() {
    let disk = Disk::default();
    disk.create_dir_all(path("/d")).unwrap();
    let file = put(&disk, "/d/a", b"1");
    disk.sync_all();
    disk.rename(path("/d"), path("/e")).unwrap();
    file.write_at(&[IoSlice::new(b"2")], 1).unwrap();
    assert_eq!(contents(&disk, "/e/a").unwrap(), b"12");
    disk.crash(CrashMode::DropUnsynced);
    assert_eq!(contents(&disk, "/d/a").unwrap(), b"1");
}

#[test]
fn handles_and_locks_die_with_their_machine() {
    let disk = Disk::default();
    let file = put(&disk, "/a", b"1");
    let lock = disk.lock(path("/"), ".lock", "first").ok().unwrap();
    let taken = disk.lock(path("/"), ".lock", "second").err().unwrap();
    assert_eq!(taken.unwrap(), "first");
    disk.crash(CrashMode::KeepPageCache);
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.sync_data().is_err() && file.len().is_err());
    let again = disk.lock(path("/"), ".lock", "third").ok().unwrap();
    drop(lock);
    let taken = disk.lock(path("/"), ".lock", "fourth").err().unwrap();
    assert_eq!(taken.unwrap(), "third", "a lock of the former life frees nothing");
    drop(again);
    assert!(disk.lock(path("/"), ".lock", "fifth").is_ok());
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    let disk = Disk::default();
    disk.limit(Some(8192));
    let file = put(&disk, "/a", &[1; 8192]);
    disk.sync_all();
    disk.remove_file(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(file.read_at(&mut [0; 10], 0).unwrap(), 10);
    drop(file);
    put(&disk, "/b", &[1; 4096]);
    disk.remove_file(path("/b")).unwrap();
    let space = disk.space(path("/")).unwrap();
    assert_eq!(
        (space.total_bytes, space.usable_bytes),
        (8192, 4096),
        "b may come back, a not"
    );
}

#[test]
fn injected_faults_strike_the_call_they_name() {
    let disk = Disk::default();
    disk.inject(Fault::nth(Operation::Write, 1).on("/a"));
    let file = put(&disk, "/a", b"1");
    put(&disk, "/b", b"1");
    let error = file.write_at(&[IoSlice::new(b"2")], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_eq!(contents(&disk, "/a").unwrap(), b"1");
    file.write_at(&[IoSlice::new(b"3")], 0).unwrap();
    disk.inject(Fault::always(Operation::Create).with(Failure::NoSpace));
    for _ in 0..2 {
        let error = disk.open(path("/c"), OpenMode::Create).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    disk.clear_faults();
    disk.open(path("/c"), OpenMode::Create).unwrap();
}

#[test]
fn a_failed_sync_cannot_be_repeated() {
    let disk = Disk::default();
    let file = put(&disk, "/a", &[1; 5000]);
    disk.sync_all();
    file.write_at(&[IoSlice::new(&[2; 5000])], 0).unwrap();
    disk.inject(Fault::nth(Operation::SyncData, 0));
    file.sync_data().unwrap_err();
    file.write_at(&[IoSlice::new(&[3; 1])], 4999).unwrap();
    file.sync_data().unwrap();
    assert_eq!(
        contents(&disk, "/a").unwrap()[..4999],
        [2; 4999],
        "the cache still has it"
    );
    disk.crash(CrashMode::DropUnsynced);
    let bytes = contents(&disk, "/a").unwrap();
    assert_eq!(bytes[..4096], [1; 4096], "never reached the device");
    assert_eq!(bytes[4096..4999], [2; 903], "its page was written again");
    assert_eq!(bytes[4999], 3);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = Disk::default();
    disk.limit(Some(3 * 4096));
    let file = put(&disk, "/a", &[1; 4096]);
    file.set_len(1 << 30).unwrap();
    let pieces = [IoSlice::new(&[2; 5000]), IoSlice::new(&[3; 5000])];
    let error = file.write_at(&pieces, 4096).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let mut bytes = vec![9; 10_000];
    file.read_exact_at(&mut bytes, 4096).unwrap();
    let expected = [vec![2; 5000], vec![3; 8192 - 5000], vec![0; 10_000 - 8192]].concat();
    assert_eq!(bytes, expected, "what fitted, then a hole");
    assert_eq!(disk.space(path("/")).unwrap().usable_bytes, 0);
    file.write_at(&[IoSlice::new(&[4; 4096])], 0).unwrap();
}

#[test]
fn a_read_only_disk_gives_and_does_not_take() {
    let disk = Disk::default();
    let file = put(&disk, "/a", b"1");
    disk.set_read_only(true);
    assert_eq!(contents(&disk, "/a").unwrap(), b"1");
    let changes = [
        file.write_at(&[IoSlice::new(b"2")], 0),
        file.set_len(0),
        disk.rename(path("/a"), path("/b")),
        disk.create_dir_all(path("/d")),
        disk.open(path("/a"), OpenMode::Write).map(drop),
    ];
    for change in changes {
        assert_eq!(change.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn names_obey_the_rules_of_the_system() {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound};
    let disk = Disk::default();
    disk.create_dir_all(path("/d/e")).unwrap();
    disk.create_dir_all(path("/empty")).unwrap();
    let file = put(&disk, "/a", b"1");
    let read_only = disk.open(path("/a"), OpenMode::Read).unwrap();
    let kinds = [
        (disk.open(path("/b"), OpenMode::Read).map(drop), NotFound),
        (disk.open(path("/b"), OpenMode::Write).map(drop), NotFound),
        (disk.open(path("/no/b"), OpenMode::Create).map(drop), NotFound),
        (
            disk.open(path("/a"), OpenMode::CreateNew).map(drop),
            AlreadyExists,
        ),
        (disk.open(path("/a/b"), OpenMode::Create).map(drop), NotADirectory),
        (disk.open(path("/d"), OpenMode::Read).map(drop), IsADirectory),
        (disk.create_dir_all(path("/a")), AlreadyExists),
        (disk.rename(path("/b"), path("/c")), NotFound),
        (disk.rename(path("/a"), path("/d")), IsADirectory),
        (disk.rename(path("/d"), path("/a")), NotADirectory),
        (disk.rename(path("/empty"), path("/d")), DirectoryNotEmpty),
        (disk.remove_file(path("/d")), IsADirectory),
        (disk.remove_file(path("/b")), NotFound),
        (disk.remove_dir_all(path("/b")), NotFound),
        (disk.read_dir(path("/b")).map(drop), NotFound),
        (disk.read_dir(path("/a")).map(drop), NotADirectory),
        (disk.sync_dir(path("/b")), NotFound),
    ];
    for (n, (result, kind)) in kinds.into_iter().enumerate() {
        assert_eq!(result.unwrap_err().kind(), kind, "case {n}");
    }
    assert!(read_only.write_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.write_at(&[IoSlice::new(b"x")], u64::MAX).is_err());
    assert_eq!(disk.entry(path("/a/b")).unwrap(), None);
    disk.remove_dir_all(path("/d")).unwrap();
    let names: Vec<String> = disk
        .read_dir(path("/"))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["a", "empty"]);
}

#[test]
fn what_memory_forgot_is_not_resident() {
    let disk = Disk::default();
    let file = put(&disk, "/a", &[7; 10_000]);
    let mut buffer = [0; 6000];
    assert_eq!(file.read_at_resident(&mut buffer, 0).unwrap(), Some(6000));
    disk.evict_page_cache();
    assert_eq!(
        file.read_at_resident(&mut buffer, 0).unwrap(),
        Some(6000),
        "unsynced data cannot be forgotten"
    );
    file.sync_data().unwrap();
    disk.evict_page_cache();
    assert_eq!(file.read_at_resident(&mut buffer, 0).unwrap(), None);
    assert_eq!(file.read_at(&mut buffer[..10], 0).unwrap(), 10);
    assert_eq!(
        file.read_at_resident(&mut buffer, 96).unwrap(),
        Some(4000),
        "up to the next cold page"
    );
    assert_eq!(file.read_at_resident(&mut buffer, 10_000).unwrap(), Some(0));
}

/// A file written as a whole has its old or its new contents, wherever the crash falls.
#[test]
fn an_atomic_write_survives_a_crash_after_every_change() {
    let mut both = BTreeSet::new();
    let mut places = 0;
    for seed in 0..20 {
        for changes in 0.. {
            let disk = Disk::default();
            put(&disk, "/a", b"old");
            disk.sync_all();
            disk.crash_after(changes);
            let result = disk.write_atomically(path("/a"), &[b'n'; 9000]);
            let was_down = disk.is_down();
            disk.crash(CrashMode::Torn { seed });
            let bytes = contents(&disk, "/a").unwrap();
            assert!(
                bytes == b"old" || bytes == [b'n'; 9000],
                "after {changes} changes"
            );
            assert!(
                result.is_err() || bytes != b"old",
                "what was reported done is there"
            );
            both.insert(bytes);
            if !was_down {
                places = changes;
                break;
            }
        }
    }
    assert_eq!(both.len(), 2);
    assert_eq!(places, 6, "create, cut, write, sync, rename, sync of the folder");
}

/// One random call on one of two files.
#[derive(Clone, Debug)]
enum Step {
    Write(bool, u64, Vec<u8>),
    Cut(bool, u64),
    Sync(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![0..200_u64, 4000..4200_u64, 0..20_000_u64];
    let bytes = || (1_u8..255, 1..6000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        4 => (any::<bool>(), offset(), bytes()).prop_map(|(which, at, bytes)| Step::Write(which, at, bytes)),
        2 => (any::<bool>(), offset()).prop_map(|(which, len)| Step::Cut(which, len)),
        1 => any::<bool>().prop_map(Step::Sync),
    ]
}

/// A disk that keeps two copies of everything.
#[derive(Default)]
struct Model {
    cache: [Vec<u8>; 2],
    device: [Vec<u8>; 2],
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(which, at, bytes) => {
                let file = &mut self.cache[usize::from(*which)];
                let end = *at as usize + bytes.len();
                file.resize(file.len().max(end), 0);
                file[*at as usize..end].copy_from_slice(bytes);
            }
            Step::Cut(which, len) => self.cache[usize::from(*which)].resize(*len as usize, 0),
            Step::Sync(which) => {
                let which = usize::from(*which);
                self.device[which] = self.cache[which].clone();
            }
        }
    }
}

fn play(steps: &[Step]) -> (Disk, Model) {
    let (disk, mut model) = (Disk::default(), Model::default());
    let files = [put(&disk, "/0", b""), put(&disk, "/1", b"")];
    disk.sync_all();
    for step in steps {
        match step {
            Step::Write(which, at, bytes) => {
                files[usize::from(*which)]
                    .write_at(&[IoSlice::new(bytes)], *at)
                    .unwrap();
            }
            Step::Cut(which, len) => files[usize::from(*which)].set_len(*len).unwrap(),
            Step::Sync(which) => files[usize::from(*which)].sync_data().unwrap(),
        }
        model.apply(step);
    }
    (disk, model)
}

fn both(disk: &Disk) -> [Vec<u8>; 2] {
    ["/0", "/1"].map(|name| contents(disk, name).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reads_see_every_write_and_power_loss_leaves_the_synced(steps in prop::collection::vec(step(), 0..20)) {
        let (disk, model) = play(&steps);
        prop_assert!(both(&disk) == model.cache);
        disk.crash(CrashMode::KeepPageCache);
        prop_assert!(both(&disk) == model.cache);
        disk.crash(CrashMode::DropUnsynced);
        prop_assert!(both(&disk) == model.device);
    }

    #[test]
    fn a_torn_disk_holds_only_bytes_that_were_there(
        steps in prop::collection::vec(step(), 0..20),
        seed in any::<u64>(),
    ) {
        let (disk, _) = play(&steps);
        disk.crash(CrashMode::Torn { seed });
        let torn = both(&disk);
        let (again, _) = play(&steps);
        again.crash(CrashMode::Torn { seed });
        prop_assert!(torn == both(&again), "the seed decides");
        // Since the last sync of a file, each length and each byte of each sector was so at some moment.
        for (which, torn) in torn.iter().enumerate() {
            let last_sync = steps.iter().rposition(|step| matches!(step, Step::Sync(at) if usize::from(*at) == which));
            let mut model = Model::default();
            let mut states = vec![model.cache[which].clone()];
            for (at, step) in steps.iter().enumerate() {
                model.apply(step);
                if last_sync == Some(at) {
                    states.clear();
                }
                states.push(model.cache[which].clone());
            }
            prop_assert!(states.iter().any(|state| state.len() == torn.len()));
            for (at, byte) in torn.iter().enumerate() {
                let was = |state: &Vec<u8>| state.get(at).copied().unwrap_or(0) == *byte;
                prop_assert!(states.iter().any(was), "byte {at}");
            }
        }
    }

    #[test]
    fn synced_data_survives_torn_crashes(
        steps in prop::collection::vec(step(), 0..12),
        seed in any::<u64>(),
    ) {
        let (disk, model) = play(&steps);
        disk.sync_all();
        disk.crash(CrashMode::Torn { seed });
        prop_assert!(both(&disk) == model.cache);
        prop_assert!(!disk.has_unsynced_data());
    }
}

#[test]
fn a_file_knows_when_it_changed() {
    let time = SimTime::default();
    let start = TimestampMs(1_000_000);
    let disk = Disk::new("disk", HostClock::new(time.clone(), start), Trace::default());
    let file = disk.open(path("/f"), OpenMode::CreateNew).unwrap();
    let after = |ms: i64| start.plus_ms(ms);
    assert_eq!(disk.modified(path("/f")).unwrap(), after(0));
    time.advance(Duration::from_millis(5));
    file.write_at(&[IoSlice::new(b"x")], 0).unwrap();
    time.advance(Duration::from_millis(5));
    disk.rename(path("/f"), path("/g")).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.modified(path("/g")).unwrap(), after(5));
    file.set_len(0).unwrap();
    assert_eq!(disk.modified(path("/g")).unwrap(), after(10));
    assert!(disk.modified(path("/f")).is_err());
}
