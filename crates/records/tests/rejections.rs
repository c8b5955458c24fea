//! What a broker takes from a producer, one case for each rule. The verdicts are those of Apache Kafka 4.4, except where
//! a case says that it differs.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::RejectionKind::*;
use klamm_records::{
    Batch, BatchBuilder, BatchHeader, Codec, Compression, EndTransactionMarker, Origin, RejectionKind, Rules,
    Scratch, TimestampType, Validated, validate, validate_briefly, verify_crc,
};

const NOW: i64 = 1_700_000_100_000;
const THEN: i64 = 1_700_000_000_000;

struct Case {
    name: String,
    version: i16,
    rules: Rules,
    bytes: Vec<u8>,
    expected: Result<(), RejectionKind>,
    /// Why Kafka's verdict is another one.
    differs: Option<&'static str>,
}

fn rules() -> Rules {
    Rules::defaults(Origin::Client { produce_version: 9 }, TimestampMs(NOW))
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Result<(), RejectionKind>) -> Case {
    Case {
        name: name.into(),
        version: 9,
        rules: rules(),
        bytes: bytes.into(),
        expected,
        differs: None,
    }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self
    }

    fn at_version(mut self, produce_version: i16) -> Self {
        self.version = produce_version;
        self.rules.origin = Origin::Client { produce_version };
        self
    }

    fn unlike_kafka(mut self, reason: &'static str) -> Self {
        self.differs = Some(reason);
        self
    }
}

/// A batch of three records; the second is the newest, the third has no key.
fn good(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression);
    builder.append(
        TimestampMs(THEN),
        Some(b"key"),
        Some(b"value"),
        &[(b"h", Some(b"1")), (b"h", None)],
    );
    builder.append(TimestampMs(THEN + 7), Some(b""), None, &[]);
    builder.append(TimestampMs(THEN + 7), None, Some(&[7; 300]), &[]);
    builder.build(Offset(0)).unwrap().to_vec()
}

fn keyed(timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    builder.append(TimestampMs(timestamp), Some(b"key"), None, &[]);
    builder.build(Offset(0)).unwrap().to_vec()
}

/// `bytes` with a changed header and a checksum that is right again.
fn header(bytes: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    with_body(bytes, &bytes[61..], change)
}

fn with_body(bytes: &[u8], body: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(bytes).unwrap();
    header.batch_length = i32::try_from(body.len() + 49).unwrap();
    change(&mut header);
    header.seal(body);
    [&header.to_bytes()[..], body].concat()
}

/// An uncompressed batch of one record with these bytes.
fn one_record(record: &[u8]) -> Vec<u8> {
    let length = u8::try_from(record.len() * 2).unwrap();
    assert!(length < 0x80);
    with_body(&keyed(THEN), &[&[length], record].concat(), |_| {})
}

/// `bytes` with some of them overwritten; the checksum stays what it was.
fn patched(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// The records of [`good`], as they are before packing.
fn plain() -> Vec<u8> {
    good(Compression::None)[61..].to_vec()
}

fn framing() -> Vec<Case> {
    let good = good(Compression::None);
    let length = |length: i32| patched(&good, 8, &length.to_be_bytes());
    let actual = i32::try_from(good.len() - 12).unwrap();
    let short =
        |size: usize| patched(&good, 8, &i32::try_from(size - 12).unwrap().to_be_bytes())[..size].to_vec();
    vec![
        case("good", good.clone(), Ok(())),
        case("nothing", [], Err(InvalidRecord)),
        case("11 bytes", &good[..11], Err(InvalidRecord)),
        case("16 bytes", &good[..16], Err(InvalidRecord)),
        case("header alone", &good[..61], Err(InvalidRecord)),
        case("last byte cut", &good[..good.len() - 1], Err(InvalidRecord)),
        case("length too large", length(actual + 1), Err(InvalidRecord)),
        case("length largest", length(i32::MAX), Err(InvalidRecord))
            .unlike_kafka("Kafka overflows: UNKNOWN_SERVER_ERROR"),
        case("length 13", length(13), Err(CorruptMessage)),
        case("length 0", length(0), Err(CorruptMessage)),
        case("length -1", length(-1), Err(CorruptMessage)),
        case("length smallest", length(i32::MIN), Err(CorruptMessage)),
        case("length 13 in 16 bytes", &length(13)[..16], Err(CorruptMessage)),
        case("less than a header, 26 bytes", short(26), Err(CorruptMessage))
            .unlike_kafka("Kafka reads beyond it: UNKNOWN_SERVER_ERROR"),
        case("less than a header, 60 bytes", short(60), Err(CorruptMessage)),
        case("magic 0", patched(&good, 16, &[0]), Err(InvalidRecord)),
        case("magic 1", patched(&good, 16, &[1]), Err(InvalidRecord)),
        case("magic 9", patched(&good, 16, &[9]), Err(CorruptMessage)),
        case("magic -1", patched(&good, 16, &[255]), Err(CorruptMessage)),
        case(
            "wrong crc",
            patched(&good, 17, &[1, 2, 3, 4]),
            Err(CorruptMessage),
        ),
        case(
            "flipped byte",
            patched(&good, 80, &[good[80] ^ 1]),
            Err(CorruptMessage),
        ),
        case("two batches", [&good[..], &good].concat(), Err(InvalidRecord)),
        case(
            "a second batch cut",
            [&good[..], &good[..good.len() - 1]].concat(),
            Ok(()),
        ),
        case("five bytes behind", [&good[..], &[1; 5]].concat(), Ok(())),
        case(
            "zeros behind",
            [&good[..], &[0; 30]].concat(),
            Err(CorruptMessage),
        ),
        case(
            "base offset 1",
            patched(&good, 0, &1_i64.to_be_bytes()),
            Err(InvalidRecord),
        ),
        case(
            "base offset and wrong crc",
            patched(&patched(&good, 0, &[1]), 17, &[0; 4]),
            Err(InvalidRecord),
        ),
        case("too large", good.clone(), Err(MessageTooLarge))
            .with(|rules| rules.max_message_bytes = good.len() - 1),
        case("just not too large", good.clone(), Ok(())).with(|rules| rules.max_message_bytes = good.len()),
    ]
}

fn headers() -> Vec<Case> {
    let good = good(Compression::None);
    let with = |change: fn(&mut BatchHeader)| header(&good, change);
    let marker = EndTransactionMarker {
        committed: true,
        coordinator_epoch: 1,
    };
    let control = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), marker, TimestampMs(THEN));
    let control = control.build(Offset(0)).unwrap();
    let sequence = |sequence| {
        with_body(&good, &good[61..], |header| {
            header.producer_id = 5;
            header.producer_epoch = 0;
            header.base_sequence = sequence;
        })
    };
    vec![
        case(
            "count one more",
            with(|h| h.record_count += 1),
            Err(InvalidRecord),
        ),
        case(
            "count one less",
            with(|h| h.record_count -= 1),
            Err(InvalidRecord),
        ),
        case("count 0", with(|h| h.record_count = 0), Err(InvalidRecord)),
        case("count -1", with(|h| h.record_count = -1), Err(InvalidRecord)),
        case(
            "count largest",
            with(|h| h.record_count = i32::MAX),
            Err(InvalidRecord),
        ),
        case(
            "count and delta largest",
            with(|h| (h.record_count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1)),
            Err(InvalidRecord),
        ),
        case(
            "delta one more",
            with(|h| h.last_offset_delta += 1),
            Err(InvalidRecord),
        ),
        case("delta -1", with(|h| h.last_offset_delta = -1), Err(InvalidRecord)),
        case(
            "no record at all",
            with_body(&good, &[], |h| (h.record_count, h.last_offset_delta) = (0, -1)),
            Err(InvalidRecord),
        ),
        case("control from a client", control.to_vec(), Err(InvalidRecord)),
        case("sequence 0", sequence(0), Ok(())),
        case("sequence -1", sequence(-1), Err(InvalidRecord)),
        case(
            "max timestamp wrong",
            with(|h| h.max_timestamp = TimestampMs(5)),
            Ok(()),
        ),
        case("delete horizon", with(|h| h.attributes |= 0x40), Ok(())),
        case("unused attributes", with(|h| h.attributes |= 0x7f80), Ok(())),
        case("leader epoch", with(|h| h.partition_leader_epoch = 77), Ok(())),
    ]
}

fn codecs() -> Vec<Case> {
    let mut cases = Vec::new();
    for codec in Compression::ALL {
        let packed = good(codec);
        let body = &packed[61..];
        let flipped: Vec<u8> = body.iter().map(|byte| byte ^ 0xff).collect();
        cases.push(case(format!("good {codec}"), packed.clone(), Ok(())));
        cases.push(case(
            format!("record missing, {codec}"),
            header(&packed, |h| (h.record_count, h.last_offset_delta) = (4, 3)),
            Err(InvalidRecord),
        ));
        cases.push(case(
            format!("record too many, {codec}"),
            header(&packed, |h| (h.record_count, h.last_offset_delta) = (2, 1)),
            Err(InvalidRecord),
        ));
        let none = codec == Compression::None;
        let damaged = with_body(&packed, &flipped, |_| {});
        let mut other = case(
            format!("other bytes, {codec}"),
            damaged,
            Err(if none { InvalidRecord } else { Unknown }),
        );
        if none {
            other = other.unlike_kafka("Kafka fails over the record's length: UNKNOWN_SERVER_ERROR");
        }
        cases.push(other);
        let no_stream = Err(if none || codec == Compression::Zstd {
            InvalidRecord
        } else {
            Unknown
        });
        cases.push(case(
            format!("empty body, {codec}"),
            with_body(&packed, &[], |_| {}),
            no_stream,
        ));
        for target in Compression::ALL {
            cases.push(
                case(format!("{codec} to {target}"), packed.clone(), Ok(()))
                    .with(|rules| rules.target = Some(target.into())),
            );
        }
        cases.push(
            case(
                format!("{codec}, an hour ahead"),
                packed.clone(),
                Err(InvalidTimestamp),
            )
            .with(|rules| rules.timestamp_before_max_ms = 1),
        );
        cases.push(
            case(format!("{codec}, compacted"), packed.clone(), Err(InvalidRecord))
                .with(|rules| rules.compacted = true),
        );
        cases.push(
            case(format!("{codec}, leader's time"), packed.clone(), Ok(()))
                .with(|rules| rules.timestamp_type = TimestampType::LogAppendTime),
        );
    }
    let cut = |codec, keep: usize| with_body(&good(codec), &good(codec)[61..][..keep], |_| {});
    let zstd = good(Compression::Zstd);
    let as_snappy = |body: &[u8]| with_body(&good(Compression::Snappy), body, |_| {});
    let raw = snap_block(&plain());
    let gzip = &good(Compression::Gzip)[61..];
    let lz4 = &good(Compression::Lz4)[61..];
    let as_lz4 = |body: &[u8]| with_body(&good(Compression::Lz4), body, |_| {});
    cases.extend(Compression::ALL[1..].iter().map(|codec| {
        let noise: Vec<u8> = (0..200_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let mut builder = BatchBuilder::new(*codec);
        builder.append(TimestampMs(THEN), Some(b"key"), Some(&noise), &[]);
        let packed = builder.build(Offset(0)).unwrap();
        let half = with_body(&packed, &packed[61..packed.len() / 2], |_| {});
        case(format!("half of {codec}"), half, Err(Unknown)).with(|rules| rules.max_message_bytes = 2_000_000)
    }));
    cases.extend([
        case(
            "codec 5",
            header(&good(Compression::None), |h| h.attributes = 5),
            Err(Unknown),
        ),
        case(
            "codec 7",
            header(&good(Compression::None), |h| h.attributes = 7),
            Err(Unknown),
        ),
        case(
            "codec 5 at version 3",
            header(&good(Compression::None), |h| h.attributes = 5),
            Err(Unknown),
        )
        .at_version(3),
        case("zstd at version 3", zstd.clone(), Err(UnsupportedCompression)).at_version(3),
        case("zstd at version 6", zstd.clone(), Err(UnsupportedCompression)).at_version(6),
        case("zstd at version 7", zstd, Ok(())).at_version(7),
        case("gzip header cut", cut(Compression::Gzip, 9), Err(Unknown)),
        case("gzip body cut", cut(Compression::Gzip, 20), Err(Unknown)),
        case("lz4 header cut", cut(Compression::Lz4, 6), Err(Unknown)),
        case("lz4 body cut", cut(Compression::Lz4, 30), Err(Unknown)),
        case("snappy block cut", cut(Compression::Snappy, 30), Err(Unknown)),
        case("zstd cut", cut(Compression::Zstd, 12), Err(Unknown)),
        case("bare snappy", as_snappy(&raw), Ok(())),
        case("bare snappy, cut", as_snappy(&raw[..raw.len() - 1]), Err(Unknown)),
        case(
            "gzip, zeros behind",
            with_body(&good(Compression::Gzip), &[gzip, &[0; 9]].concat(), |_| {}),
            Ok(()),
        ),
        case(
            "gzip, trailer wrong",
            with_body(
                &good(Compression::Gzip),
                &patched(gzip, gzip.len() - 8, &[1, 2, 3]),
                |_| {},
            ),
            Err(Unknown),
        ),
        case(
            "gzip in two members",
            with_body(
                &good(Compression::Gzip),
                &[gzip_of(&plain()[..9]), gzip_of(&plain()[9..])].concat(),
                |_| {},
            ),
            Ok(()),
        ),
        case("lz4, zeros behind", as_lz4(&[lz4, &[0; 9]].concat()), Ok(())),
        case(
            "lz4, header checksum wrong",
            as_lz4(&patched(lz4, 6, &[lz4[6] ^ 1])),
            Err(Unknown),
        ),
        case(
            "lz4, linked blocks",
            as_lz4(&patched(lz4, 4, &[0x40, 0x40, 0xc0])),
            Err(Unknown),
        ),
        case("lz4, no end mark", as_lz4(&lz4[..lz4.len() - 4]), Err(Unknown)),
    ]);
    cases
}

fn records() -> Vec<Case> {
    let one = |name: &str, record: &[u8], expected| case(name, one_record(record), expected);
    vec![
        one("record good", &[0, 0, 0, 2, b'k', 2, b'v', 0], Ok(())),
        one("record attributes", &[0xff, 0, 0, 2, b'k', 2, b'v', 0], Ok(())),
        one("key length -2", &[0, 0, 0, 3, 2, b'v', 0], Ok(())),
        one(
            "key too long",
            &[0, 0, 0, 40, b'k', 2, b'v', 0],
            Err(InvalidRecord),
        ),
        one(
            "value too long",
            &[0, 0, 0, 2, b'k', 40, b'v', 0],
            Err(InvalidRecord),
        ),
        one(
            "header count -1",
            &[0, 0, 0, 2, b'k', 2, b'v', 1],
            Err(InvalidRecord),
        ),
        one(
            "header count too high",
            &[0, 0, 0, 2, b'k', 2, b'v', 4, 0, 0],
            Err(InvalidRecord),
        ),
        one(
            "header key null",
            &[0, 0, 0, 2, b'k', 2, b'v', 2, 1, 0],
            Err(InvalidRecord),
        ),
        one("header value null", &[0, 0, 0, 2, b'k', 2, b'v', 2, 0, 1], Ok(())),
        one(
            "a byte too many",
            &[0, 0, 0, 2, b'k', 2, b'v', 0, 0],
            Err(InvalidRecord),
        ),
        one(
            "varint too long",
            &[
                0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 1, 1, 0,
            ],
            Err(InvalidRecord),
        ),
        one("nothing in it", &[], Err(InvalidRecord)),
        case(
            "record length negative",
            with_body(&keyed(THEN), &[1], |_| {}),
            Err(InvalidRecord),
        ),
        case(
            "record length varint too long",
            with_body(&keyed(THEN), &[0xff; 6], |_| {}),
            Err(InvalidRecord),
        )
        .unlike_kafka("Kafka: UNKNOWN_SERVER_ERROR"),
        one(
            "offset delta 1",
            &[0, 0, 2, 2, b'k', 2, b'v', 0],
            Err(InvalidRecord),
        )
        .unlike_kafka("Kafka keeps an offset that does not exist"),
    ]
}

fn timestamps() -> Vec<Case> {
    let at = |name: &str, timestamp: i64, expected| case(name, keyed(timestamp), expected);
    let marked = header(&keyed(THEN), |h| {
        h.set_timestamp_type(TimestampType::LogAppendTime)
    });
    let hour = 3_600_000;
    let day_back = |rules: &mut Rules| rules.timestamp_before_max_ms = 24 * hour;
    let leaders = |rules: &mut Rules| rules.timestamp_type = TimestampType::LogAppendTime;
    vec![
        at("an hour ahead", NOW + hour, Ok(())),
        at("more than an hour ahead", NOW + hour + 1, Err(InvalidTimestamp)),
        at("largest timestamp", i64::MAX, Err(InvalidTimestamp)),
        at("timestamp 0", 0, Ok(())),
        at("timestamp -1", -1, Ok(())),
        at("a day back", NOW - 24 * hour, Ok(())).with(day_back),
        at("more than a day back", NOW - 24 * hour - 1, Err(InvalidTimestamp)).with(day_back),
        at("timestamp -1, a day back", -1, Ok(())).with(day_back),
        at("leader's time, any timestamp", NOW + 2 * hour, Ok(())).with(leaders),
        case("marked with the leader's time", marked.clone(), Ok(())),
        case(
            "marked with the leader's time, on such a topic",
            marked,
            Err(InvalidTimestamp),
        )
        .with(leaders),
        case(
            "no key and too old",
            good(Compression::None),
            Err(InvalidTimestamp),
        )
        .with(|rules| {
            rules.compacted = true;
            rules.timestamp_before_max_ms = 1;
        }),
    ]
}

fn snap_block(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packer =
        klamm_records::compression::Compressor::new(Compression::Gzip.into(), Vec::new()).unwrap();
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn cases() -> Vec<Case> {
    [framing(), headers(), codecs(), records(), timestamps()]
        .into_iter()
        .flatten()
        .collect()
}

fn stored(validated: &Validated) -> Bytes {
    [&validated.header.to_bytes()[..], &validated.body]
        .concat()
        .into()
}

#[test]
fn every_batch_gets_its_verdict() {
    let mut scratch = Scratch::new();
    for case in cases() {
        let verdict = validate(&case.bytes.clone().into(), &case.rules, &mut scratch);
        let kind = verdict.as_ref().map(drop).map_err(|rejection| rejection.kind());
        let Case { name, differs, .. } = &case;
        assert_eq!(
            kind, case.expected,
            "{name} at version {}: {verdict:?}, {differs:?}",
            case.version
        );
        if let Ok(validated) = verdict {
            let bytes = stored(&validated);
            assert!(verify_crc(&bytes), "{}", case.name);
            assert_eq!(bytes.len(), validated.header.size_in_bytes(), "{}", case.name);
            let records = Batch::parse(&bytes).unwrap().records(1 << 20).unwrap();
            let newest = records.map(|record| record.unwrap().timestamp).max().unwrap();
            assert_eq!(
                validated.max_timestamp,
                newest.max(TimestampMs(-1)),
                "{}",
                case.name
            );
        }
    }
}

/// Kafka looks at the framing when it reads the request, and measures and sums up the batch before it knows the log.
#[test]
fn the_log_start_is_told_of_what_is_found_at_the_append() {
    let mut scratch = Scratch::new();
    let framing: Vec<_> = framing().into_iter().map(|case| case.name).collect();
    for case in cases() {
        let Err(rejection) = validate(&case.bytes.clone().into(), &case.rules, &mut scratch) else {
            continue;
        };
        let at_the_append = match rejection.kind() {
            CorruptMessage | MessageTooLarge | UnsupportedCompression => false,
            InvalidTimestamp | Unknown => true,
            InvalidRecord => !framing.contains(&case.name) || case.name.starts_with("base offset"),
        };
        assert_eq!(rejection.tells_log_start(), at_the_append, "{}", case.name);
    }
}

#[test]
fn an_untouched_batch_keeps_its_bytes_in_place() {
    for codec in Compression::ALL {
        let bytes = Bytes::from(good(codec));
        let validated = validate(&bytes, &rules(), &mut Scratch::new()).unwrap();
        assert_eq!(validated.body.as_ptr(), bytes[61..].as_ptr());
        assert_eq!(validated.offset_delta_of_max_timestamp, Some(1));
        assert_eq!(validated.max_timestamp, TimestampMs(THEN + 7));
    }
}

#[test]
fn another_codec_keeps_the_records() {
    let records = |bytes: &Bytes| {
        Batch::parse(bytes)
            .unwrap()
            .records(1 << 20)
            .unwrap()
            .collect::<Vec<_>>()
    };
    for source in Compression::ALL {
        for target in Compression::ALL {
            let bytes = Bytes::from(good(source));
            let rules = Rules {
                target: Some(Codec::with_level(target, 9)),
                ..rules()
            };
            let validated = validate(&bytes, &rules, &mut Scratch::new()).unwrap();
            assert_eq!(validated.header.compression(), Ok(target));
            assert_eq!(
                records(&stored(&validated)),
                records(&bytes),
                "{source} to {target}"
            );
        }
    }
}

#[test]
fn a_batch_that_outgrows_the_topic_when_packed_anew_is_refused() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.append(TimestampMs(THEN), None, Some(&vec![0; 1 << 20]), &[]);
    let bytes = builder.build(Offset(0)).unwrap();
    let rules = Rules {
        target: Some(Compression::None.into()),
        max_message_bytes: 10_000,
        ..rules()
    };
    let rejection = validate(&bytes, &rules, &mut Scratch::new()).unwrap_err();
    assert_eq!(rejection.kind(), MessageTooLarge);
}

#[test]
fn the_records_at_fault_are_named() {
    let rules = Rules {
        compacted: true,
        ..rules()
    };
    let rejection = validate(&good(Compression::Lz4).into(), &rules, &mut Scratch::new()).unwrap_err();
    let named: Vec<_> = rejection
        .record_errors()
        .iter()
        .map(|e| (e.index, e.reason.to_string()))
        .collect();
    assert_eq!(
        named,
        [(2, "Compacted topic cannot accept message without key".to_owned())]
    );

    let rules = Rules {
        timestamp_before_max_ms: 99_995,
        ..self::rules()
    };
    let rejection = validate(&good(Compression::None).into(), &rules, &mut Scratch::new()).unwrap_err();
    let named: Vec<_> = rejection
        .record_errors()
        .iter()
        .map(|e| (e.index, e.reason.to_string()))
        .collect();
    let text = "Timestamp 1700000000000 of message with offset 0 is out of range. \
                The timestamp should be within [1700000000005, 1700003700000]";
    assert_eq!(named, [(0, text.to_owned())]);
}

#[test]
fn coordinators_write_markers_whatever_the_topic_asks_for() {
    let marker = EndTransactionMarker {
        committed: false,
        coordinator_epoch: 1,
    };
    let builder = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), marker, TimestampMs(THEN));
    let bytes = builder.build(Offset(0)).unwrap();
    let rules = Rules {
        origin: Origin::Coordinator,
        target: Some(Compression::Zstd.into()),
        compacted: true,
        ..rules()
    };
    let validated = validate(&bytes, &rules, &mut Scratch::new()).unwrap();
    assert_eq!(stored(&validated), bytes);
}

#[test]
fn a_record_above_the_limit_is_refused_where_it_is_unpacked() {
    for codec in Compression::ALL {
        let mut rules = rules();
        rules.limits.record_bytes = 299;
        let verdict = validate(&good(codec).into(), &rules, &mut Scratch::new())
            .map(drop)
            .map_err(|e| e.kind());
        let expected = if codec == Compression::None {
            Ok(())
        } else {
            Err(InvalidRecord)
        };
        assert_eq!(verdict, expected, "{codec}");
    }
}

#[test]
fn what_has_to_be_packed_anew_is_brief_up_to_a_sixteenth() {
    let mut builder = BatchBuilder::new(Compression::Lz4);
    builder.append(TimestampMs(1), None, Some(&[7; 100_000]), &[]);
    let bytes = builder.build(Offset(0)).unwrap();
    let mut rules = Rules::defaults(Origin::Client { produce_version: 13 }, TimestampMs(1));
    for (target, is_brief) in [
        (None, true),
        (Some(Compression::Lz4), true),
        (Some(Compression::Zstd), false),
    ] {
        rules.target = target.map(Into::into);
        let briefly = validate_briefly(&bytes, &rules, 1 << 20, &mut Scratch::new());
        assert_eq!(briefly.is_some(), is_brief, "{target:?}");
    }
}
