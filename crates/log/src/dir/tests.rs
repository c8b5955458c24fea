use std::io::IoSlice;

use klamm_env::OpenMode;
use klamm_env::sim::disk::{CrashMode, Disk};
use klamm_model::BrokerId;

use klamm_model::Uuid;

use super::*;
use crate::flush::{FlushScope, flush};
use crate::testing::{Held, NOW, TOPIC_ID, batch, expected, open_dir, partition, small};

fn meta() -> Meta {
    Meta {
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".into(),
        node_id: BrokerId(7),
        directory_id: Uuid([0x2a; 16]),
    }
}

fn put(disk: &Disk, path: &str, text: &str) {
    disk.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    let file = disk.open(Path::new(path), OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
}

fn text(disk: &Disk, path: &str) -> String {
    String::from_utf8(disk.read(Path::new(path), 1000).unwrap()).unwrap()
}

#[test]
fn a_formatted_folder_says_whose_it_is() {
    let disk = Disk::default();
    let dir = open_dir(&disk).unwrap();
    assert_eq!((dir.meta(), dir.was_clean()), (None, false));
    dir.format(meta()).unwrap();
    dir.mark_clean(12).unwrap();
    assert_eq!(
        text(&disk, "/data/meta.properties"),
        "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=7\ndirectory.id=KioqKioqKioqKioqKioqKg\n"
    );
    assert_eq!(
        text(&disk, "/data/.kafka_cleanshutdown"),
        "{\"version\":0,\"brokerEpoch\":12}"
    );
    drop(dir);
    disk.crash(CrashMode::DropUnsynced);
    let dir = open_dir(&disk).unwrap();
    assert_eq!((dir.meta(), dir.was_clean()), (Some(meta()), true));
    drop(dir);
    assert!(!open_dir(&disk).unwrap().was_clean(), "it is said once");
}

#[test]
fn one_process_at_a_time_has_the_folder() {
    let disk = Disk::default();
    let dir = open_dir(&disk).unwrap();
    let refused = open_dir(&disk).unwrap_err();
    assert_eq!(refused.to_string(), "/data is in use by a test");
    drop(dir);
    open_dir(&disk).unwrap();
}

#[test]
fn foreign_and_newer_folders_are_refused() {
    let kafka = "#\n#Sat Nov 21 09:00:00 UTC 2026\ncluster.id=x\ndirectory.id=KioqKioqKioqKioqKioqKg\nnode.id=1\nversion=1\n";
    let newer = kafka.replace("version=1", "version=2");
    let cases: [(&[(&str, &str)], &str); 4] = [
        (
            &[("/data/meta.properties", kafka)],
            "/data: a data folder of Apache Kafka, which Klamm does not touch unless told to take it over",
        ),
        (
            &[("/data/klamm.format/version", "3\n")],
            "/data/klamm.format/version: format version 3, this binary knows up to 2",
        ),
        (
            &[
                ("/data/klamm.format/version", "1\n"),
                ("/data/meta.properties", &newer),
            ],
            "/data/meta.properties: format version 2, this binary knows up to 1",
        ),
        (
            &[("/data/log-start-offset-checkpoint", "1\n0\n")],
            "/data/log-start-offset-checkpoint: format version 1, this binary knows up to 0",
        ),
    ];
    for (files, message) in cases {
        let disk = Disk::default();
        files.iter().for_each(|(path, text)| put(&disk, path, text));
        assert_eq!(open_dir(&disk).unwrap_err().to_string(), message);
    }
}

#[test]
fn checkpoints_are_kafka_s_and_damage_is_named() {
    let (disk, held) = Held::new(small());
    held.checkpoint().unwrap();
    let path = "/data/recovery-point-offset-checkpoint";
    assert_eq!(text(&disk, path), "0\n1\norders 3 0\n");
    for (damaged, message) in [
        ("", "the version is no number: ''"),
        ("0\n2\norders 3 0\n", "2 lines announced, 1 there"),
        (
            "0\n1\norders 3\n",
            "a line is no topic, partition, offset: 'orders 3'",
        ),
        (
            "0\n1\norders x 0\n",
            "a line is no topic, partition, offset: 'orders x 0'",
        ),
        (
            "0\n1\norders 3 -1\n",
            "a line is no topic, partition, offset: 'orders 3 -1'",
        ),
        ("0\n99999999999\n", "99999999999 lines announced, 0 there"),
    ] {
        put(&disk, path, damaged);
        let error = checkpoint::read_offsets(&disk, Path::new(path)).unwrap_err();
        assert_eq!(error.to_string(), format!("{path}: {message}"));
    }
}

#[test]
fn a_removed_partition_makes_room_for_one_of_the_same_name() {
    let (disk, held) = Held::new(small());
    held.checkpoint().unwrap();
    let Held { log, dir } = held;
    drop(log);
    let found = FoundPartition {
        partition: partition(),
        topic_id: Some(TOPIC_ID),
        moves: 0,
    };
    assert_eq!(dir.partitions().unwrap(), std::slice::from_ref(&found));
    let retired = dir.retire(&[(partition(), Uuid([1; 16]))]).unwrap().remove(0);
    assert_eq!(dir.partitions().unwrap(), []);
    drop(dir);
    disk.crash(CrashMode::DropUnsynced);

    let held = Held::open(&disk, small()).unwrap();
    assert_eq!(held.dir.partitions().unwrap(), [found]);
    assert!(disk.entry(&retired).unwrap().is_some());
    assert_eq!(held.dir.remove_deleted().unwrap(), 1);
    assert!(disk.entry(&retired).unwrap().is_none());
}

/// Else the next topic of the name begins with records deleted that it never had, or loses those it has.
#[test]
fn what_is_known_of_a_removed_partition_is_forgotten_before_a_crash() {
    for aside in [false, true] {
        let (disk, held) = Held::new(small());
        for n in 0..20 {
            held.append(&batch(NOW.0 + n, &["value"])).unwrap();
        }
        held.commit().unwrap();
        held.log.lock().advance_log_start_offset(Offset(15)).unwrap();
        flush(&held.log, FlushScope::All).unwrap();
        held.checkpoint().unwrap();
        let Held { log, dir } = held;
        drop(log);
        if aside {
            dir.set_aside(&partition(), Uuid([1; 16])).unwrap();
        } else {
            dir.retire(&[(partition(), Uuid([1; 16]))]).unwrap();
        }
        drop(dir);
        disk.crash(CrashMode::KeepPageCache);

        let held = Held::open(&disk, small()).unwrap();
        held.append(&batch(NOW.0, &["a", "b"])).unwrap();
        held.commit().unwrap();
        drop(held);
        disk.crash(CrashMode::DropUnsynced);
        let held = Held::open(&disk, small()).unwrap();
        assert_eq!(held.records(Offset(0)), expected(0, &["a", "b"]), "{aside}");
    }
}

#[test]
fn a_process_killed_while_it_makes_a_partition_leaves_nothing_that_a_power_cut_takes_later() {
    for changes in 0.. {
        let disk = Disk::default();
        drop(open_dir(&disk).unwrap());
        disk.crash_after(changes);
        drop(Held::open(&disk, small()));
        let was_killed = disk.is_down();
        disk.crash(CrashMode::KeepPageCache);
        let held = Held::open(&disk, small()).unwrap();
        held.append(&batch(1, &["a"])).unwrap();
        held.commit().unwrap();
        drop(held);
        disk.crash(CrashMode::DropUnsynced);
        let held = Held::open(&disk, small()).unwrap();
        assert_eq!(held.records(Offset(0)).len(), 1, "after {changes} changes");
        if !was_killed {
            break;
        }
    }
}

#[test]
fn a_process_killed_while_it_makes_the_folder_leaves_nothing_that_a_power_cut_takes_later() {
    for changes in 0.. {
        let disk = Disk::default();
        let path = Path::new("/above/data");
        let open = |disk: &Disk| {
            let handles = Arc::new(HandleCache::new(5));
            LogDir::open(Arc::new(disk.clone()), path, handles, "a test")
        };
        disk.crash_after(changes);
        drop(open(&disk));
        let was_killed = disk.is_down();
        disk.crash(CrashMode::KeepPageCache);
        open(&disk).unwrap().format(meta()).unwrap();
        disk.crash(CrashMode::DropUnsynced);
        assert_eq!(
            open(&disk).unwrap().meta(),
            Some(meta()),
            "after {changes} changes"
        );
        if !was_killed {
            break;
        }
    }
}

/// A partition for whose folder there was no room can be deleted, and costs the others nothing.
#[test]
fn a_partition_without_a_folder_is_removed_without_harm() {
    let disk = Disk::default();
    let dir = open_dir(&disk).unwrap();
    let retired = dir.retire(&[(partition(), Uuid([1; 16]))]).unwrap();
    assert_eq!(retired, Vec::<PathBuf>::new());
    assert_eq!(dir.failure(), None);
    assert!(dir.set_aside(&partition(), Uuid([1; 16])).is_err());
    assert_eq!(dir.failure(), None);
}

#[test]
fn a_checkpoint_of_a_partition_without_a_folder_is_forgotten_when_the_dir_is_opened() {
    let disk = Disk::default();
    disk.create_dir_all(Path::new("/data/here-0")).unwrap();
    // What is no folder may be one again when its disk is there.
    put(&disk, "/data/link-0", "");
    let names = [RECOVERY_POINTS, LOG_STARTS, HIGH_WATERMARKS];
    for name in names {
        put(
            &disk,
            &format!("/data/{name}"),
            "0\n3\ngone 0 7\nhere 0 5\nlink 0 6\n",
        );
    }
    for name in names {
        let dir = open_dir(&disk).unwrap();
        let said = |topic: &str| {
            let positions = dir.positions(&TopicPartition::new(topic, 0));
            [
                positions.recovery_point.0,
                positions.log_start_offset.0,
                positions.high_watermark.0,
            ]
        };
        let all = [said("gone"), said("here"), said("link")];
        assert_eq!(all, [[0; 3], [5; 3], [6; 3]]);
        drop(dir);
        disk.crash(CrashMode::DropUnsynced);
        assert_eq!(
            text(&disk, &format!("/data/{name}")),
            "0\n2\nhere 0 5\nlink 0 6\n",
            "durably"
        );
    }
}
