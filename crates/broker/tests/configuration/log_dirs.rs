//! Nodes with two log dirs, of which one is out of service, comes back, or is taken out of the configuration.

use std::path::Path;

use klamm_env::Files;
use klamm_env::sim::disk::Disk;
use klamm_env::sim::{Fault, Operation};
use klamm_model::ErrorCode;
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::{DescribeLogDirsRequest, MetadataRequest};

use crate::client::{Client, batch};
use crate::fixture::{Fixture, Settings};

const TWO: Settings<'_> = &[("log.dirs", "/one,/two")];
const STORAGE: i16 = ErrorCode::KafkaStorageError.code();

/// The numbers of the partitions of `t` in a log dir.
fn in_dir(fixture: &Fixture, folder: &str) -> Vec<i32> {
    let names = fixture.names_in(folder);
    names
        .iter()
        .filter_map(|name| name.strip_prefix("t-")?.parse().ok())
        .collect()
}

/// What Produce to each of the four partitions of `t` is answered.
async fn produced(fixture: &Fixture, client: &mut Client) -> Vec<i16> {
    let mut codes = Vec::new();
    for index in 0..4 {
        let answer = client.produce_to("t", index, batch(fixture.now(), 10)).await;
        codes.push(answer.error_code);
    }
    codes
}

/// `code` for the partitions in `failed`, 0 for the others.
fn codes(failed: &[i32], code: i16) -> Vec<i16> {
    let of = |index| if failed.contains(&index) { code } else { 0 };
    (0..4).map(of).collect()
}

/// The leaders of the partitions of `t`.
async fn leaders(client: &mut Client) -> Vec<i32> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let mut response = client.ask(12, &request).await.unwrap();
    let mut partitions = response.topics.remove(0).partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions.iter().map(|partition| partition.leader_id).collect()
}

/// The error codes of the log dirs.
async fn described(client: &mut Client) -> Vec<(String, i16)> {
    let response = client.ask(5, &DescribeLogDirsRequest::default()).await.unwrap();
    let dirs = response.results.iter();
    dirs.map(|dir| (dir.log_dir.to_string(), dir.error_code))
        .collect()
}

/// A node with four partitions of `t`, two in each of two log dirs, that have a record each; and which are in the second.
async fn start() -> (Fixture, Vec<i32>) {
    let fixture = Fixture::start(TWO).await;
    let mut client = fixture.connect();
    client.create("t", 4, &[]).await;
    assert_eq!(produced(&fixture, &mut client).await, [0; 4]);
    // The controller is told where they lie.
    fixture.pass(100).await;
    let second = in_dir(&fixture, "/two");
    assert_eq!(second.len(), 2);
    (fixture, second)
}

async fn is_half_served(fixture: &Fixture, second: &[i32], what: &str) {
    let mut client = fixture.connect();
    assert_eq!(
        produced(fixture, &mut client).await,
        codes(second, STORAGE),
        "{what}"
    );
    let led = (0..4).map(|index| if second.contains(&index) { -1 } else { 1 });
    assert_eq!(leaders(&mut client).await, led.collect::<Vec<_>>(), "{what}");
    let page = fixture.node.observer().metrics().await;
    assert!(page.contains("klamm_partitions_offline 2\n"), "{what}: {page}");
}

#[tokio::test(start_paused = true)]
async fn a_log_dir_that_cannot_be_opened_costs_its_partitions_and_no_others() {
    type Harm = fn(&Disk);
    let harms: [(&str, Harm); 5] = [
        ("its disk is broken", |disk| {
            disk.inject(Fault::always(Operation::Lock).on("/two"));
        }),
        ("it cannot be listed", |disk| {
            disk.inject(Fault::always(Operation::List).on("/two"));
        }),
        ("it cannot be read", |disk| {
            disk.inject(Fault::always(Operation::Open).on("/two"));
        }),
        ("its disk is not mounted", |disk| {
            disk.remove_dir_all(Path::new("/two")).unwrap();
            disk.create_dir_all(Path::new("/two")).unwrap();
        }),
        ("its disk is not mounted, nor is there a folder", |disk| {
            disk.remove_dir_all(Path::new("/two")).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let (fixture, second) = start().await;
        let fixture = fixture.restart(harm, TWO).await.unwrap();
        fixture.pass(100).await;
        is_half_served(&fixture, &second, what).await;
        let mut client = fixture.connect();
        let expected = [("/one".to_owned(), 0), ("/two".to_owned(), STORAGE)];
        assert_eq!(described(&mut client).await, expected, "{what}");
        let page = fixture.node.observer().metrics().await;
        assert!(page.contains("klamm_log_dirs_offline 1\n"), "{what}: {page}");
        assert_eq!(in_dir(&fixture, "/one").len(), 2, "{what}: nothing is made anew");
        // What is new goes where there is room for it.
        client.create("u", 4, &[]).await;
        let answer = client.produce_to("u", 3, batch(fixture.now(), 10)).await;
        assert_eq!(answer.error_code, 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_dir_that_comes_back_has_what_it_had() {
    let (fixture, second) = start().await;
    let broken = |disk: &Disk| disk.inject(Fault::always(Operation::Lock).on("/two"));
    let fixture = fixture.restart(broken, TWO).await.unwrap();
    is_half_served(&fixture, &second, "broken").await;
    let fixture = fixture.restart(Disk::clear_faults, TWO).await.unwrap();
    let mut client = fixture.connect();
    assert_eq!(produced(&fixture, &mut client).await, [0; 4]);
    for index in second {
        let answer = client.produce_to("t", index, batch(fixture.now(), 10)).await;
        assert_eq!(answer.base_offset, 2, "the first record is there");
    }
    assert_eq!(leaders(&mut client).await, [1; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_log_dir_that_was_taken_out_of_the_configuration_is_missed() {
    let (fixture, second) = start().await;
    let one: Settings<'_> = &[("log.dirs", "/one")];
    let fixture = fixture.restart(|_| {}, one).await.unwrap();
    is_half_served(&fixture, &second, "taken out").await;
    assert_eq!(in_dir(&fixture, "/one").len(), 2, "nothing is made anew");
    let fixture = fixture.restart(|_| {}, TWO).await.unwrap();
    let mut client = fixture.connect();
    assert_eq!(produced(&fixture, &mut client).await, [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_moved_by_hand_is_found() {
    let (fixture, second) = start().await;
    let name = format!("t-{}", second[0]);
    let (from, to) = (format!("/two/{name}"), format!("/one/{name}"));
    let moved = |disk: &Disk| disk.rename(Path::new(&from), Path::new(&to)).unwrap();
    let fixture = fixture.restart(moved, TWO).await.unwrap();
    let answer = fixture
        .connect()
        .produce_to("t", second[0], batch(fixture.now(), 10))
        .await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    // The cluster knows it by now: the disk where it was is not missed.
    fixture.pass(100).await;
    let one: Settings<'_> = &[("log.dirs", "/one")];
    let fixture = fixture.restart(|_| {}, one).await.unwrap();
    let answers = produced(&fixture, &mut fixture.connect()).await;
    assert_eq!(answers, codes(&second[1..], STORAGE));
}

#[tokio::test(start_paused = true)]
async fn a_log_dir_that_fails_costs_its_partitions_and_no_others() {
    let (fixture, second) = start().await;
    fixture.inject(Fault::always(Operation::SyncData).on("/two"));
    let mut client = fixture.connect();
    assert_eq!(produced(&fixture, &mut client).await, codes(&second, STORAGE));
    fixture.pass(1_000).await;
    is_half_served(&fixture, &second, "failed").await;
    let page = fixture.node.observer().metrics().await;
    assert!(page.contains("klamm_log_dirs_offline 1\n"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_again_while_its_log_dir_was_out_does_not_stop_the_start() {
    let (fixture, second) = start().await;
    let broken = |disk: &Disk| disk.inject(Fault::always(Operation::Lock).on("/two"));
    let fixture = fixture.restart(broken, TWO).await.unwrap();
    let mut client = fixture.connect();
    client.delete("t").await;
    client.create("t", 4, &[]).await;
    assert_eq!(produced(&fixture, &mut client).await, [0; 4]);
    fixture.pass(100).await;
    let fixture = fixture.restart(Disk::clear_faults, TWO).await.unwrap();
    let mut client = fixture.connect();
    for index in 0..4 {
        let answer = client.produce_to("t", index, batch(fixture.now(), 10)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 1), "{index}");
    }
    let strays = fixture
        .names_in("/two")
        .iter()
        .filter(|name| name.ends_with("-stray"))
        .count();
    assert_eq!(strays, second.len(), "the namesakes are kept");
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_topic_cannot_be_read_costs_no_other() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 4, &[]).await;
    assert_eq!(produced(&fixture, &mut client).await, [0; 4]);
    let unreadable = |disk: &Disk| {
        disk.inject(Fault::always(Operation::Open).on("t-2/partition.metadata"));
        disk.inject(Fault::always(Operation::Read).on("t-2/partition.metadata"));
    };
    let fixture = fixture.restart(unreadable, &[]).await.unwrap();
    let answers = produced(&fixture, &mut fixture.connect()).await;
    assert_eq!(answers, codes(&[2], STORAGE));
    let fixture = fixture.restart(Disk::clear_faults, &[]).await.unwrap();
    let answer = fixture
        .connect()
        .produce_to("t", 2, batch(fixture.now(), 10))
        .await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
}

/// Which log dirs DescribeLogDirs calls cordoned.
async fn cordoned(client: &mut Client) -> Vec<String> {
    let response = client.ask(5, &DescribeLogDirsRequest::default()).await.unwrap();
    let dirs = response.results.iter().filter(|dir| dir.is_cordoned);
    dirs.map(|dir| dir.log_dir.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_log_dir_takes_no_new_partitions() {
    const CORDONED: (&str, &str) = ("cordoned.log.dirs", "/two");
    for dynamic in [false, true] {
        let mut set = TWO.to_vec();
        if !dynamic {
            set.push(CORDONED);
        }
        let fixture = Fixture::start(&set).await;
        let mut client = fixture.connect();
        if dynamic {
            client.set(4, "1", CORDONED.0, CORDONED.1).await;
        }
        assert_eq!(cordoned(&mut client).await, ["/two"], "{dynamic}");
        client.create("t", 4, &[]).await;
        assert_eq!(in_dir(&fixture, "/one").len(), 4, "{dynamic}");
        let page = fixture.node.observer().metrics().await;
        assert!(
            page.contains("klamm_log_dir_cordoned{log_dir=\"/two\"} 1\n"),
            "{page}"
        );

        // Where all are, nothing new is placed at all.
        client.set(4, "1", CORDONED.0, "*").await;
        fixture.pass(100).await;
        let refused = ErrorCode::InvalidReplicationFactor.code();
        assert_eq!(client.try_create("u", 1, 1, &[]).await.0, refused, "{dynamic}");
        assert_eq!(
            produced(&fixture, &mut client).await,
            [0; 4],
            "what is there is served"
        );

        client.set(4, "1", CORDONED.0, "").await;
        fixture.pass(100).await;
        client.create("u", 4, &[]).await;
        let names = fixture.names_in("/two");
        assert_eq!(
            names.iter().filter(|name| name.starts_with("u-")).count(),
            4,
            "{dynamic}"
        );
    }
}
