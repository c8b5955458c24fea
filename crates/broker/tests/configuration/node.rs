//! Who the node is, where its data lies, and how many files it keeps open.

use klamm_protocol::messages::{DescribeClusterRequest, MetadataRequest};

use crate::client::{Client, batch};
use crate::fixture::Fixture;

#[tokio::test(start_paused = true)]
async fn clients_are_told_who_the_node_is() {
    for (set, id, rack) in [
        (&[][..], 1, None),
        (
            &[("node.id", "17"), ("broker.rack", "zone-b")],
            17,
            Some("zone-b"),
        ),
    ] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        let metadata = client.ask(12, &MetadataRequest::default()).await.unwrap();
        let told = (metadata.brokers[0].node_id, metadata.brokers[0].rack.as_deref());
        assert_eq!(told, (id, rack));
        let request = DescribeClusterRequest {
            endpoint_type: 1,
            ..Default::default()
        };
        let cluster = client.ask(1, &request).await.unwrap();
        assert_eq!(
            (cluster.brokers[0].broker_id, cluster.brokers[0].rack.as_deref()),
            (id, rack)
        );
        assert!(
            fixture
                .text("meta.properties")
                .contains(&format!("node.id={id}\n"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn data_lies_where_it_should() {
    for (set, folders, metadata) in [
        (&[("log.dirs", "/one,/two")][..], &["/one", "/two"][..], "/one"),
        (&[("log.dir", "/three")], &["/three"], "/three"),
        (
            &[("log.dirs", "/four"), ("metadata.log.dir", "/five")],
            &["/four"],
            "/five",
        ),
    ] {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 4, &[]).await;
        for folder in folders {
            let names = fixture.names_in(folder);
            let partitions = names.iter().filter(|name| name.starts_with("t-")).count();
            assert_eq!(partitions, 4 / folders.len(), "{set:?}: {names:?}");
        }
        let names = fixture.names_in(metadata);
        assert!(
            names.iter().any(|name| name == "klamm-metadata"),
            "{set:?}: {names:?}"
        );
        assert!(fixture.names_in("/elsewhere").is_empty() && fixture.names("").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_bytes_of_decisions_are_followed_by_a_snapshot() {
    let key = "metadata.log.max.record.bytes.between.snapshots";
    for (set, is_taken) in [(&[][..], false), (&[(key, "500")], true)] {
        let fixture = Fixture::start(set).await;
        fixture.connect().create("t", 4, &[]).await;
        fixture.connect().create("u", 4, &[]).await;
        fixture.pass(1_000).await;
        let names = fixture.names("klamm-metadata");
        let snapshots = names.iter().filter(|name| name.ends_with(".snapshot"));
        assert_eq!(snapshots.count() > 0, is_taken, "{set:?}: {names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_files_stay_open() {
    for (set, opens_again) in [(&[][..], false), (&[("klamm.open.files.max", "6")], true)] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client
            .create("t", 10, &[("klamm.durability", "page-cache")])
            .await;
        for round in 0..2 {
            let before = fixture.calls("Open", "/t-");
            for index in 0..10 {
                assert_eq!(
                    client
                        .produce_to("t", index, batch(fixture.now(), 10))
                        .await
                        .error_code,
                    0
                );
            }
            let opened = fixture.calls("Open", "/t-") - before;
            assert!(round == 0 || (opened > 0) == opens_again, "{set:?}: {opened}");
        }
    }
}

/// Produces a batch to all of ten partitions of `t` in one request.
async fn produce_to_all(fixture: &Fixture, client: &mut Client) {
    let request_to = |index| Client::produce_request("t", index, batch(fixture.now(), 10));
    let mut request = request_to(0);
    for index in 1..10 {
        let more = request_to(index).topic_data.remove(0).partition_data;
        request.topic_data[0].partition_data.extend(more);
    }
    let answer = client.ask(11, &request).await.unwrap();
    let answers = &answer.responses[0].partition_responses;
    assert!(answers.len() == 10 && answers.iter().all(|answer| answer.error_code == 0));
}

#[tokio::test(start_paused = true)]
async fn many_partitions_commit_by_journal_files_of_so_many_bytes() {
    const FIRST: &str = "klamm.journal/00000000000000000000.journal";
    for (set, bytes) in [
        (&[][..], 1_048_576),
        (&[("klamm.journal.file.bytes", "2097152")], 2_097_152),
        (&[("klamm.journal.max.bytes", "1000")], 0),
    ] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 10, &[]).await;
        for _ in 0..3 {
            produce_to_all(&fixture, &mut client).await;
            fixture.pass(10).await;
        }
        let has_journal = fixture.names("").iter().any(|name| name == "klamm.journal");
        assert_eq!(has_journal, bytes > 0, "{set:?}");
        if has_journal {
            assert_eq!(fixture.len(FIRST), bytes, "{set:?}");
        }
        let (syncs, rounds) = (fixture.calls("SyncData", "/t-"), fixture.calls("Write", FIRST));
        produce_to_all(&fixture, &mut client).await;
        let direct = fixture.calls("SyncData", "/t-") - syncs;
        let journaled = fixture.calls("Write", FIRST) - rounds;
        assert_eq!(
            (direct == 0, journaled > 0),
            (has_journal, has_journal),
            "{set:?}: {direct} {journaled}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_the_journal_has_is_there_after_a_power_cut() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 10, &[]).await;
    for _ in 0..5 {
        produce_to_all(&fixture, &mut client).await;
        fixture.pass(10).await;
    }
    let again = fixture.cut_power(&[]).await;
    let mut client = again.connect();
    let answer = client.produce_to("t", 9, batch(again.now(), 10)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 5));
}
