//! What single messages, headers and records do: defaults, refusals, and bytes that Kafka itself was seen to write.

use bytes::Bytes;
use klamm_protocol::messages::{
    ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest, ShareFetchResponse,
};
use klamm_protocol::messages::{fetch_request, fetch_response, metadata_request, share_fetch_response};
use klamm_protocol::record_frame::{
    RecordFrame, coordinator_key_type, decode_coordinator_value, decode_record, encode_coordinator_key,
    encode_coordinator_value, encode_record,
};
use klamm_protocol::schema::Direction;
use klamm_protocol::{
    ApiKey, ByteString, DecodeError, EncodeError, Message, Piece, RawTaggedField, Reader, Records, Request,
    RequestHeader, ResponseHeader, Writer, encode_request, encode_response, fuzz_decode, schema,
};

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn fields_that_a_version_lacks_are_set_to_their_defaults() {
    let default = FetchRequest::default();
    assert_eq!(
        (default.max_bytes, default.replica_id, default.session_epoch),
        (i32::MAX, -1, -1)
    );
    let old = FetchRequest::default().to_bytes(4).expect("nothing is set");
    let mut reused = FetchRequest {
        session_id: 7,
        session_epoch: 8,
        rack_id: "rack".into(),
        cluster_id: Some("cluster".into()),
        forgotten_topics_data: vec![fetch_request::ForgottenTopic::default()],
        unknown_tagged_fields: vec![RawTaggedField {
            tag: 9,
            data: Bytes::new(),
        }],
        ..FetchRequest::default()
    };
    reused
        .decode_into(&mut Reader::new(old), 4)
        .expect("it was just encoded");
    assert_eq!(reused, FetchRequest::default());
}

#[test]
fn what_a_version_cannot_say_is_refused_unless_it_may_be_lost() {
    let request = FetchRequest {
        rack_id: "rack".into(),
        session_id: 7,
        ..FetchRequest::default()
    };
    let read = FetchRequest::decode(
        &mut Reader::new(request.to_bytes(4).expect("both are ignorable")),
        4,
    );
    assert_eq!(read, Ok(FetchRequest::default()));

    let forgotten = FetchRequest {
        forgotten_topics_data: vec![fetch_request::ForgottenTopic::default()],
        ..FetchRequest::default()
    };
    let refused = EncodeError::FieldNotInVersion {
        field: "ForgottenTopicsData",
        version: 6,
    };
    assert_eq!(forgotten.to_bytes(6), Err(refused.clone()));
    assert_eq!(
        refused.to_string(),
        "attempted to write a non-default ForgottenTopicsData at version 6"
    );

    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    assert_eq!(
        all.to_bytes(0),
        Err(EncodeError::Null {
            field: "Topics",
            version: 0
        })
    );
    assert!(all.to_bytes(1).is_ok());

    let partition = share_fetch_response::PartitionData::default();
    let topic = share_fetch_response::ShareFetchableTopicResponse {
        partitions: vec![partition],
        ..share_fetch_response::ShareFetchableTopicResponse::default()
    };
    let response = ShareFetchResponse {
        responses: vec![topic],
        ..ShareFetchResponse::default()
    };
    assert_eq!(
        response.to_bytes(1),
        Err(EncodeError::Null {
            field: "Records",
            version: 1
        })
    );

    let tagged = FetchRequest {
        unknown_tagged_fields: vec![RawTaggedField {
            tag: 9,
            data: Bytes::new(),
        }],
        ..FetchRequest::default()
    };
    assert_eq!(
        tagged.to_bytes(11),
        Err(EncodeError::TagsNotInVersion { version: 11 })
    );

    let long = "x".repeat(32_768);
    let long = FetchRequest {
        rack_id: long.into(),
        ..FetchRequest::default()
    };
    assert_eq!(
        long.to_bytes(18),
        Err(EncodeError::StringTooLong {
            field: "RackId",
            length: 32_768
        })
    );
    let unsupported = EncodeError::UnsupportedVersion {
        message: "ProduceRequest",
        version: 2,
    };
    assert_eq!(ProduceRequest::default().to_bytes(2), Err(unsupported));
}

#[test]
fn malformed_metadata_requests_are_refused() {
    let cases: &[(i16, &[u8], DecodeError)] = &[
        (
            0,
            &[],
            DecodeError::UnexpectedEnd {
                needed: 4,
                remaining: 0,
            },
        ),
        (0, &[0xff; 4], DecodeError::Null { field: "Topics" }),
        (
            1,
            &[0, 0, 0, 3, 0, 0],
            DecodeError::ArrayBeyondFrame {
                field: "Topics",
                count: 3,
                remaining: 2,
            },
        ),
        (
            1,
            &[0x7f, 0xff, 0xff, 0xff],
            DecodeError::ArrayTooLong {
                field: "Topics",
                count: 0x7fff_ffff,
            },
        ),
        (1, &[0, 0, 0, 1, 0xff, 0xff], DecodeError::Null { field: "Name" }),
        (
            1,
            &[0, 0, 0, 1, 0, 9, b'a'],
            DecodeError::UnexpectedEnd {
                needed: 9,
                remaining: 1,
            },
        ),
        (
            1,
            &[0, 0, 0, 1, 0, 1, 0xc0],
            DecodeError::NotUtf8 { field: "Name" },
        ),
        (9, &[0xff; 5], DecodeError::VarintTooLong),
        (
            9,
            &[1, 0, 0, 0, 0xff, 0xff, 0x7f],
            DecodeError::TooManyTaggedFields(0x1f_ffff),
        ),
        (
            9,
            &[1, 0, 0, 0, 1, 5, 9],
            DecodeError::UnexpectedEnd {
                needed: 9,
                remaining: 0,
            },
        ),
        (
            14,
            &[],
            DecodeError::UnsupportedVersion {
                message: "MetadataRequest",
                version: 14,
            },
        ),
        (
            -1,
            &[],
            DecodeError::UnsupportedVersion {
                message: "MetadataRequest",
                version: -1,
            },
        ),
    ];
    for (version, bytes, error) in cases {
        assert_eq!(
            MetadataRequest::decode(&mut reader(bytes), *version),
            Err(*error),
            "{version} {bytes:02x?}"
        );
    }
    let read = MetadataRequest::decode(&mut reader(&[0, 1, 0, 1, 5, 2, b'h', b'i']), 12);
    let unknown = vec![RawTaggedField {
        tag: 5,
        data: Bytes::from_static(b"hi"),
    }];
    let expected = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: true,
        unknown_tagged_fields: unknown,
        ..MetadataRequest::default()
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn tagged_fields_are_checked_for_version_and_size() {
    let mut valid = FetchRequest::default()
        .to_bytes(12)
        .expect("nothing is set")
        .to_vec();
    assert_eq!(valid.pop(), Some(0), "the number of tagged fields");
    let tail = |tag: &[u8]| [&valid[..], &[1], tag].concat();
    let wrong_version = DecodeError::TagNotInVersion { tag: 1, version: 12 };
    assert_eq!(
        FetchRequest::decode(&mut reader(&tail(&[1, 0])), 12),
        Err(wrong_version)
    );
    let wrong_size = DecodeError::TagSize {
        tag: 0,
        announced: 3,
        taken: 2,
    };
    assert_eq!(
        FetchRequest::decode(&mut reader(&tail(&[0, 3, 2, b'a', 0])), 12),
        Err(wrong_size)
    );
    let read = FetchRequest::decode(&mut reader(&tail(&[0, 2, 2, b'a'])), 12).expect("it is valid");
    assert_eq!(read.cluster_id.as_deref(), Some("a"));
}

#[test]
fn what_is_decoded_is_a_slice_of_the_frame() {
    let topic = metadata_request::MetadataRequestTopic {
        name: Some("topic".into()),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        ..MetadataRequest::default()
    };
    let frame = request.to_bytes(12).expect("it is valid");
    let read = MetadataRequest::decode(&mut Reader::new(frame.clone()), 12).expect("it is valid");
    let name = read.topics.expect("it was set")[0]
        .name
        .clone()
        .expect("it was set");
    assert!(frame.as_ptr_range().contains(&name.as_bytes().as_ptr()));
}

#[test]
fn headers_follow_the_version_of_the_message() {
    let client_id = ByteString::from_static("me");
    let cases: &[(i16, &[u8])] = &[
        (11, &[0, 1, 0, 11, 0, 0, 0, 5, 0, 2, b'm', b'e']),
        (12, &[0, 1, 0, 12, 0, 0, 0, 5, 0, 2, b'm', b'e', 0]),
    ];
    for (version, header) in cases {
        let mut w = Writer::new();
        encode_request(&mut w, 5, Some(&client_id), *version, &FetchRequest::default()).expect("it is valid");
        let length = i32::from_be_bytes(w.buffer()[..4].try_into().expect("four bytes"));
        assert_eq!(length as usize, w.buffer().len() - 4);
        assert_eq!(&w.buffer()[4..4 + header.len()], *header);
        let mut r = reader(&w.buffer()[4..]);
        let read = RequestHeader::decode(&mut r).expect("it was just encoded");
        assert_eq!(
            (read.api_key, read.api_version, read.correlation_id),
            (ApiKey::Fetch, *version, 5)
        );
        assert_eq!(read.client_id.as_ref(), Some(&client_id));
        assert_eq!(
            FetchRequest::decode(&mut r, *version),
            Ok(FetchRequest::default())
        );
        r.finish().expect("nothing follows");
    }
    assert_eq!(
        RequestHeader::decode(&mut reader(&[0x7f, 0, 0, 0, 0, 0, 0, 1])),
        Err(DecodeError::UnknownApi(0x7f00))
    );
    for (api, version, tags) in [
        (ApiKey::ApiVersions, 4, false),
        (ApiKey::Fetch, 11, false),
        (ApiKey::Fetch, 12, true),
    ] {
        assert_eq!(ResponseHeader::has_tags(api, version), tags, "{api} {version}");
    }
    let mut w = Writer::new();
    encode_response(&mut w, ApiKey::ApiVersions, 9, 3, &ApiVersionsResponse::default()).expect("it is valid");
    assert_eq!(w.buffer(), [0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn an_answer_that_cannot_be_written_leaves_nothing_behind() {
    let mut w = Writer::new();
    encode_response(&mut w, ApiKey::Fetch, 1, 11, &FetchResponse::default()).expect("it is valid");
    let before = w.buffer().to_vec();
    let diverging_epoch = fetch_response::EpochEndOffset {
        epoch: 1,
        ..Default::default()
    };
    let records = Records::External { token: 1, len: 10 };
    let partition = fetch_response::PartitionData {
        diverging_epoch,
        records,
        ..Default::default()
    };
    let topic = fetch_response::FetchableTopicResponse {
        partitions: vec![partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..FetchResponse::default()
    };
    let refused = EncodeError::FieldNotInVersion {
        field: "DivergingEpoch",
        version: 11,
    };
    assert_eq!(
        encode_response(&mut w, ApiKey::Fetch, 2, 11, &response),
        Err(refused)
    );
    assert_eq!((w.buffer(), w.holes()), (&before[..], &[][..]));
    encode_response(&mut w, ApiKey::Fetch, 2, 12, &response).expect("version 12 has the field");
    assert_eq!(w.holes().len(), 1);
}

#[test]
fn any_decoder_is_driven_by_number() {
    let decoded = fuzz_decode(3, 1, Direction::Request, &[0, 0, 0, 0]);
    assert_eq!(decoded, Ok(Ok(Bytes::from_static(&[0, 0, 0, 0]))));
    assert_eq!(
        fuzz_decode(-5, 1, Direction::Request, &[]),
        Err(DecodeError::UnknownApi(-5))
    );
}

#[test]
fn records_of_a_response_are_sent_from_where_they_lie() {
    let partition = |records| fetch_response::PartitionData {
        records,
        ..Default::default()
    };
    let batches = Bytes::from(vec![1; 4000]);
    let topic = fetch_response::FetchableTopicResponse {
        partitions: vec![
            partition(Records::External {
                token: 8,
                len: 100_000,
            }),
            partition(Records::Bytes(batches.clone())),
            partition(Records::Null),
        ],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..FetchResponse::default()
    };
    let mut w = Writer::new();
    encode_response(&mut w, ApiKey::Fetch, 1, 17, &response).expect("it is valid");
    let mut frame = Vec::new();
    for piece in w.pieces() {
        match piece {
            Piece::Buffer(bytes) => frame.extend_from_slice(bytes),
            Piece::Bytes(bytes) => {
                assert_eq!(bytes.as_ptr(), batches.as_ptr());
                frame.extend_from_slice(bytes);
            }
            Piece::External { token: 8, len } => frame.extend(vec![8; len]),
            Piece::External { .. } => panic!("there is no other token"),
        }
    }
    assert_eq!(frame.len(), w.total_len());
    let mut r = reader(&frame[4..]);
    ResponseHeader::decode(&mut r, ApiKey::Fetch, 17).expect("it was just encoded");
    let read = FetchResponse::decode(&mut r, 17).expect("it was just encoded");
    let records: Vec<_> = read.responses[0]
        .partitions
        .iter()
        .map(|p| p.records.clone())
        .collect();
    assert_eq!(
        records,
        [
            Records::Bytes(vec![8; 100_000].into()),
            Records::Bytes(batches),
            Records::Null
        ]
    );
}

#[test]
fn records_have_the_frames_of_kafka() {
    use klamm_protocol::coordinator_records::{OffsetCommitKey, OffsetCommitValue};
    use klamm_protocol::metadata_records::RemoveTopicRecord;

    let removed = RemoveTopicRecord::default();
    let mut w = Writer::contiguous();
    encode_record(&mut w, 0, &removed).expect("it is valid");
    assert_eq!(w.buffer(), [&[1, 9, 0][..], &[0; 16], &[0]].concat());
    let mut r = reader(w.buffer());
    assert_eq!(
        RecordFrame::decode(&mut r),
        Ok(RecordFrame {
            record_type: 9,
            version: 0
        })
    );
    assert_eq!(decode_record(&mut r, 0), Ok(removed));
    let with_more = [w.buffer(), &[0]].concat();
    let mut r = reader(&with_more);
    RecordFrame::decode(&mut r).expect("it is valid");
    assert_eq!(
        decode_record::<RemoveTopicRecord>(&mut r, 0),
        Err(DecodeError::TrailingBytes(1))
    );
    for (bytes, what, value) in [([0, 9, 0], "frame version", 0), ([2, 9, 0], "frame version", 2)] {
        assert_eq!(
            RecordFrame::decode(&mut reader(&bytes)),
            Err(DecodeError::UnknownRecord { what, value })
        );
    }
    let too_large = DecodeError::UnknownRecord {
        what: "type",
        value: 32_768,
    };
    assert_eq!(
        RecordFrame::decode(&mut reader(&[1, 0x80, 0x80, 2, 0])),
        Err(too_large)
    );

    let key = OffsetCommitKey {
        group: "g".into(),
        topic: "t".into(),
        partition: 3,
    };
    let written = |write: &dyn Fn(&mut Writer) -> Result<(), EncodeError>| {
        let mut w = Writer::contiguous();
        write(&mut w).expect("it is valid");
        w.into_bytes()
    };
    let bytes = written(&|w| encode_coordinator_key(w, &key));
    assert_eq!(bytes[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
    let mut r = Reader::new(bytes);
    assert_eq!(coordinator_key_type(&mut r), Ok(1));
    assert_eq!(OffsetCommitKey::decode(&mut r, 0), Ok(key));
    let value = OffsetCommitValue {
        offset: 4,
        ..Default::default()
    };
    let bytes = written(&|w| encode_coordinator_value(w, 3, &value));
    assert_eq!(bytes[..2], [0, 3]);
    assert_eq!(decode_coordinator_value(&mut Reader::new(bytes)), Ok(value));
    let newer = DecodeError::UnsupportedVersion {
        message: "OffsetCommitValue",
        version: 9,
    };
    assert_eq!(
        decode_coordinator_value::<OffsetCommitValue>(&mut reader(&[0, 9])),
        Err(newer)
    );
}

#[test]
fn records_that_kafka_wrote_are_read() {
    let golden = include_str!("golden/records-4.4.0.txt");
    let mut lines = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let [group, name, version, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hexadecimal");
        let bytes: Bytes = (0..hex.len()).step_by(2).map(byte).collect();
        let found = schema::messages()
            .iter()
            .find(|s| (s.group, s.name) == (group, name));
        let found = found.unwrap_or_else(|| panic!("{name} is not generated"));
        let version = version.parse().expect("it is a number");
        assert_eq!(
            (found.recode)(&mut Reader::new(bytes.clone()), version),
            Ok(Ok(bytes)),
            "{line}"
        );
        lines += 1;
    }
    assert!(lines > 70, "{lines}");
}

#[test]
fn the_table_of_apis_agrees_with_the_messages() {
    fn agrees<R: Request>() {
        assert_eq!(Some(R::KEY.to_i16()), R::API_KEY);
        assert_eq!(R::KEY.versions(), R::VERSIONS);
        assert_eq!(R::KEY.versions(), R::Response::VERSIONS);
        for version in R::VERSIONS {
            assert_eq!(
                R::KEY.is_flexible(version),
                R::is_flexible(version),
                "{} {version}",
                R::NAME
            );
        }
    }
    agrees::<ProduceRequest>();
    agrees::<FetchRequest>();
    agrees::<MetadataRequest>();
    for api in ApiKey::ALL {
        assert_eq!(ApiKey::from_i16(api.to_i16()), Some(api));
    }
    assert_eq!(ApiKey::from_i16(-1), None);
    assert_eq!(ApiKey::InitProducerId.stable_versions(), 0..=5);
    assert!(ApiKey::Produce.on_broker() && !ApiKey::Produce.on_controller());
}
