//! Envelopes as they should be, and with one thing wrong.

use std::sync::Arc;

use futures_util::FutureExt;
use klamm_net::RequestMemory;
use klamm_protocol::messages::CreateTopicsRequest;
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::{MemoryPool, Reader};

use super::*;

/// A pool without a bottom.
struct Pool;

impl MemoryPool for Pool {
    fn try_charge(&self, _: usize) -> bool {
        true
    }

    fn release(&self, _: usize) {}
}

fn body() -> Body {
    Body::new(
        Bytes::new(),
        RequestMemory::new(usize::MAX).charge(),
        Arc::new(Pool),
    )
}

fn opened(envelope: EnvelopeRequest, body: &mut Body) -> Result<Opened, ErrorCode> {
    open(envelope, OWN, body).now_or_never().unwrap()
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
        let mut body = body();
        let opened = opened(envelope, &mut body).ok().unwrap();
        assert_eq!(opened.asked, asked(host));
        assert_eq!(opened.header.api_key, CreateTopicsRequest::KEY);
        let decoded = body.decode(|reader| {
            let found = CreateTopicsRequest::decode(reader, 5)?;
            reader.finish().map(|()| found)
        });
        assert_eq!(decoded.now_or_never().unwrap().unwrap(), request());
    }
}

#[test]
fn without_a_broker_the_controllers_own_was_asked() {
    let mut envelope = seal(&request(), &asked("::1")).unwrap();
    envelope.unknown_tagged_fields.clear();
    assert_eq!(opened(envelope, &mut body()).ok().unwrap().asked.broker, OWN);
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
        assert_eq!(opened(envelope, &mut body()).err(), Some(*expected), "{name}");
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
