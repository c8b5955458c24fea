//! What disks do to a node: one that is not mounted, one that is full, one that is read-only, one with damage on it.

use std::io::IoSlice;
use std::path::Path;
use std::time::Duration;

use klamm_env::sim::disk::Disk;
use klamm_env::{Files, OpenMode};
use klamm_model::ErrorCode;

use crate::client::{batch, batch_count, bytes_of};
use crate::fixture::{DATA, Fixture, Settings};

/// As if the disk of the folder were not mounted: there is an empty folder.
fn unmount(disk: &Disk, folder: &str) {
    disk.remove_dir_all(Path::new(folder)).unwrap();
    disk.create_dir_all(Path::new(folder)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_dir_that_may_not_be_mounted_is_not_made_anew() {
    const TWO: (&str, &str) = ("log.dirs", "/one,/two");
    const APART: (&str, &str) = ("metadata.log.dir", "/meta");
    const FORMAT: (&str, &str) = ("klamm.log.dirs.unformatted", "format");
    // (settings, the folder that is lost, settings then, what the start says, whether all can be used)
    let says = "there is no metadata log in /meta/klamm-metadata, but ";
    let cases: [(Settings<'_>, &str, Settings<'_>, Result<bool, &str>); 4] = [
        (&[TWO], "/two", &[TWO], Ok(false)),
        (&[TWO], "/two", &[TWO, FORMAT], Ok(true)),
        (&[("log.dirs", "/one")], "/two", &[TWO], Ok(false)),
        (&[TWO, APART], "/meta", &[TWO, APART], Err(says)),
    ];
    for (set, lost, then, says) in cases {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 4, &[]).await;
        let meanwhile = |disk: &Disk| {
            if disk.entry(Path::new(lost)).unwrap().is_some() {
                unmount(disk, lost);
            }
        };
        let started = fixture.restart(meanwhile, then).await;
        match (started, says) {
            (Ok(fixture), Ok(all)) => {
                let page = fixture.node.observer().metrics().await;
                let offline = format!("klamm_log_dirs_offline {}\n", u8::from(!all));
                assert!(page.contains(&offline), "{then:?}: {page}");
                let formatted = fixture
                    .names_in("/two")
                    .iter()
                    .any(|name| name == "meta.properties");
                assert_eq!(formatted, all, "{then:?}");
            }
            (Err(error), Err(says)) => assert!(error.to_string().starts_with(says), "{error}"),
            (Ok(_), Err(says)) => panic!("{then:?}: started, instead of saying: {says}"),
            (Err(error), Ok(_)) => panic!("{then:?}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_start_that_was_cut_short_goes_on() {
    let fixture = Fixture::start(&[("log.dirs", "/one")]).await;
    let cut_short = |disk: &Disk| disk.remove_dir_all(Path::new("/one/klamm-metadata")).unwrap();
    let set: Settings<'_> = &[("log.dirs", "/one,/two")];
    let fixture = fixture.restart(cut_short, set).await.unwrap();
    fixture.connect().create("t", 4, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_costs_what_is_new_and_nothing_else() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    client.produce(batch(fixture.now(), 100)).await;

    fixture.disk().limit(Some(0));
    let storage = ErrorCode::KafkaStorageError.code();
    assert_eq!(client.try_produce(batch(fixture.now(), 100_000)).await, storage);
    assert_eq!(client.try_create("u", 1, 1, &[]).await.0, storage);
    let read = client.fetch(0).await;
    assert_eq!((read.error_code, batch_count(bytes_of(&read))), (0, 1));

    fixture.disk().limit(None);
    client.produce(batch(fixture.now(), 100)).await;
    client.create("u", 1, &[]).await;
    let fixture = fixture.restart(|_| {}, &[]).await.unwrap();
    let read = fixture.connect().fetch(0).await;
    assert_eq!((read.error_code, batch_count(bytes_of(&read))), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_written_stops_the_start_with_its_name() {
    for (full, says) in [
        (true, "/data: 0 bytes are free"),
        (false, "/data: Read-only file system"),
    ] {
        let fixture = Fixture::start(&[]).await;
        let meanwhile = |disk: &Disk| match full {
            true => disk.limit(Some(0)),
            false => disk.set_read_only(true),
        };
        let error = fixture.restart(meanwhile, &[]).await.err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Nothing is served of it, nothing is written over it, and the others are as before.
#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_opened_says_so() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 2, &[]).await;
    for index in [0, 1] {
        let answer = client.produce_to("t", index, batch(fixture.now(), 100)).await;
        assert_eq!(answer.error_code, 0);
    }
    let damage = |disk: &Disk| {
        // What was known to be on the device is gone, and the end was not in order.
        let path = format!("{DATA}/t-0/00000000000000000000.log");
        let file = disk.open(Path::new(&path), OpenMode::Write).unwrap();
        file.write_at(&[IoSlice::new(&[0xff; 40])], 0).unwrap();
        disk.remove_file(Path::new(&format!("{DATA}/.kafka_cleanshutdown")))
            .unwrap();
    };
    let fixture = fixture.restart(damage, &[]).await.unwrap();
    let mut client = fixture.connect();
    let storage = ErrorCode::KafkaStorageError.code();
    assert_eq!(client.fetch(0).await.error_code, storage);
    assert_eq!(client.try_produce(batch(fixture.now(), 100)).await, storage);
    assert_eq!(
        client
            .produce_to("t", 1, batch(fixture.now(), 100))
            .await
            .error_code,
        0
    );
    let page = fixture.node.observer().metrics().await;
    assert!(page.contains("klamm_partitions_offline 1\n"), "{page}");
}

/// How long it takes, on the simulated clock, until a topic of so many partitions can be used.
async fn time_to_create(partitions: i32) -> Duration {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    let began = tokio::time::Instant::now();
    client.create("many", partitions, &[]).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn partitions_of_one_topic_are_opened_side_by_side() {
    // Every piece of work that may block takes a simulated millisecond.
    let (one, many) = (time_to_create(1).await, time_to_create(160).await);
    assert!(
        many < one + Duration::from_millis(40),
        "{many:?}, and {one:?} for one"
    );
}

/// It may be mended, by hand or from a copy: nothing takes its place before its topic is deleted, and then it is kept.
#[tokio::test(start_paused = true)]
async fn a_folder_that_does_not_say_of_which_topic_it_is_is_left_alone() {
    let path = Path::new("/data/t-0/partition.metadata");
    for damage in [None, Some("version: 0\ntop")] {
        let mut fixture = Fixture::start(&[]).await;
        let mut client = fixture.connect();
        client.create("t", 2, &[]).await;
        for index in 0..2 {
            let written = client.produce_to("t", index, batch(fixture.now(), 100)).await;
            assert_eq!(written.error_code, 0);
        }
        let files = fixture.names("t-0");
        let size = fixture.len("t-0/00000000000000000000.log");
        for round in 0..2 {
            let meanwhile = |disk: &Disk| {
                if round == 0 {
                    disk.remove_file(path).unwrap();
                    if let Some(text) = damage {
                        let file = disk.open(path, OpenMode::Create).unwrap();
                        file.write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
                    }
                }
            };
            fixture = fixture.restart(meanwhile, &[]).await.unwrap();
            let mut client = fixture.connect();
            for (index, expected) in [(0, ErrorCode::KafkaStorageError), (1, ErrorCode::None)] {
                let written = client.produce_to("t", index, batch(fixture.now(), 100)).await;
                assert_eq!(written.error_code, expected.code(), "{damage:?} {round} {index}");
            }
            assert_eq!(fixture.len("t-0/00000000000000000000.log"), size);
            assert!(
                fixture.names("t-0").len() + 1 >= files.len(),
                "{damage:?} {round}"
            );
        }
        let mut client = fixture.connect();
        client.delete("t").await;
        client.create("t", 2, &[]).await;
        let written = client.produce_to("t", 0, batch(fixture.now(), 100)).await;
        assert_eq!(written.error_code, 0, "{damage:?}");
        let strays = fixture.names_in(DATA);
        let strays: Vec<_> = strays.iter().filter(|name| name.ends_with("-stray")).collect();
        assert!(
            matches!(&strays[..], [stray] if fixture.len(&format!("{stray}/00000000000000000000.log")) == size),
            "{damage:?}: {strays:?}"
        );
    }
}
