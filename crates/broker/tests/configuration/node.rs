//! Who the node is, where its data lies, and how many files it keeps open.

use klamm_protocol::messages::{DescribeClusterRequest, MetadataRequest};

use crate::client::batch;
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
