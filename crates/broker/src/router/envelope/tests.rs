//! Envelopes as they should be, and with one thing wrong.

use klamm_protocol::messages::CreateTopicsRequest;
use klamm_protocol::messages::create_topics_request::CreatableTopic;

use super::*;

/// A pool without a bottom.
struct Pool;

impl MemoryPool for Pool {
    fn try_charge(&self, _: usize) -> bool {
        true
    }

    fn release(&self, _: usize) {}
}

const OWN: BrokerId = BrokerId(9);

fn asked(host: &str) -> Asked {
    Asked {
        broker: BrokerId(3),
        version: 5,
        caller: Caller {
            principal: Principal::anonymous(),
            host: Some(host.parse().unwrap()),
        },
    }
}

fn request() -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "t".into(),
            ..Default::default()
        }],
        timeout_ms: 7,
        ..Default::default()
    }
}

#[test]
fn what_is_sealed_is_found() {
    for host in ["10.1.2.3", "2001:db8::1"] {
        let envelope = seal(&request(), &asked(host)).unwrap();
        let mut opened = open(envelope, OWN, Arc::new(Pool)).ok().unwrap();
        assert_eq!(opened.asked, asked(host));
        assert_eq!(opened.header.api_key, CreateTopicsRequest::KEY);
        let found = CreateTopicsRequest::decode(&mut opened.reader, 5).unwrap();
        assert_eq!(found, request());
        opened.reader.finish().unwrap();
    }
}

#[test]
fn without_a_broker_the_controllers_own_was_asked() {
    let mut envelope = seal(&request(), &asked("::1")).unwrap();
    envelope.unknown_tagged_fields.clear();
    assert_eq!(
        open(envelope, OWN, Arc::new(Pool)).ok().unwrap().asked.broker,
        OWN
    );
}

#[test]
fn one_thing_wrong_is_answered_as_kafka_does() {
    type Spoil = fn(&mut EnvelopeRequest);
    let wrongs: &[(&str, Spoil, ErrorCode)] = &[
        (
            "no principal",
            |e| e.request_principal = None,
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            "a cut principal",
            |e| e.request_principal = Some(Bytes::from_static(b"\0\0\x05Us")),
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            "principal before host",
            |e| (e.request_principal, e.client_host_address) = (None, Bytes::new()),
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            "a host of three bytes",
            |e| e.client_host_address = Bytes::from_static(b"abc"),
            ErrorCode::InvalidRequest,
        ),
        (
            "a broker of three bytes",
            |e| e.unknown_tagged_fields[0].data = Bytes::from_static(b"abc"),
            ErrorCode::InvalidRequest,
        ),
        (
            "half a header",
            |e| e.request_data = Bytes::from_static(&[0, 19, 0]),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "an unknown API",
            |e| e.request_data = Bytes::from_static(&[0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            ErrorCode::UnsupportedVersion,
        ),
    ];
    for (name, spoil, expected) in wrongs {
        let mut envelope = seal(&request(), &asked("127.0.0.1")).unwrap();
        spoil(&mut envelope);
        assert_eq!(
            open(envelope, OWN, Arc::new(Pool)).err(),
            Some(*expected),
            "{name}"
        );
    }
}

#[test]
fn an_answer_has_header_and_body_and_no_length() {
    let header = RequestHeader {
        api_key: CreateTopicsRequest::KEY,
        api_version: 5,
        correlation_id: 17,
        client_id: None,
        unknown_tagged_fields: Vec::new(),
    };
    let response = klamm_protocol::messages::CreateTopicsResponse::default();
    let mut reader = Reader::new(seal_answer(&header, &response).unwrap());
    let found = ResponseHeader::decode(&mut reader, header.api_key, 5).unwrap();
    assert_eq!(found.correlation_id, 17);
    let found = klamm_protocol::messages::CreateTopicsResponse::decode(&mut reader, 5).unwrap();
    assert_eq!(found, response);
    reader.finish().unwrap();
}
