//! What a wall clock that is set back does to a node: nothing.

use crate::client::{batch, batch_count, bytes_of};
use crate::fixture::Fixture;

const HOUR_MS: u64 = 3_600_000;
/// Segments with one batch each, which are looked at often, and go after half an hour.
const KEYS: [(&str, &str); 3] = [
    ("log.retention.check.interval.ms", "5000"),
    ("log.retention.ms", "1800000"),
    ("log.roll.ms", "600000"),
];

/// That all are there, one batch in an answer.
async fn are_there(fixture: &Fixture, offsets: std::ops::Range<i64>) {
    let mut client = fixture.connect();
    assert_eq!(client.start_offset().await, offsets.start);
    for offset in offsets {
        let read = client.fetch(offset).await;
        assert_eq!(
            (read.error_code, batch_count(bytes_of(&read))),
            (0, 1),
            "{offset}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_an_hour_takes_no_record_and_keeps_none_for_ever() {
    for stamped in ["CreateTime", "LogAppendTime"] {
        let configs = [
            ("internal.segment.bytes", "1000"),
            ("message.timestamp.type", stamped),
        ];
        let fixture = Fixture::start(&KEYS).await;
        let mut client = fixture.connect();
        client.create("t", 1, &configs).await;
        for _ in 0..3 {
            client.produce(batch(fixture.now(), 600)).await;
        }
        fixture.jump_back(HOUR_MS);
        fixture.pass(20_000).await;
        for _ in 0..3 {
            client.produce(batch(fixture.now(), 600)).await;
        }
        fixture.pass(20_000).await;
        are_there(&fixture, 0..6).await;
        assert_eq!(
            fixture.count("t-0", ".log"),
            6,
            "{stamped}: a segment for each batch"
        );

        let fixture = fixture.start_again(&KEYS).await;
        are_there(&fixture, 0..6).await;
        fixture.connect().produce(batch(fixture.now(), 600)).await;
        are_there(&fixture, 0..7).await;

        // Right again, and half an hour later.
        fixture.jump(HOUR_MS + HOUR_MS / 2 + 60_000);
        fixture.pass(20_000).await;
        assert_eq!(fixture.connect().start_offset().await, 7, "{stamped}");
    }
}
