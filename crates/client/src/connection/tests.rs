use super::*;
use crate::testing::{self, Frames, answer};
use crate::versions::VersionError;
use klamm_env::sim;
use klamm_protocol::RequestHeader;
use klamm_protocol::messages::metadata_request::MetadataRequest;
use klamm_protocol::messages::metadata_response::MetadataResponse;

fn options() -> ConnectionOptions {
    ConnectionOptions {
        client_id: "test".into(),
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(2),
    }
}

#[test]
fn an_older_broker_is_asked_again_in_the_version_it_has() {
    for newest in 0..=*ApiKey::ApiVersions.stable_versions().end() {
        let broker = testing::broker(&[]);
        broker.lock().versions.insert(ApiKey::ApiVersions, (0, newest));
        testing::with_broker(&broker, |env| async move {
            let connection = Connection::open(&env, &testing::address(), &options())
                .await
                .unwrap();
            assert_eq!(
                connection.versions().served(ApiKey::ApiVersions),
                Some(0..=newest)
            );
        });
    }
}

#[test]
fn an_api_without_a_common_version_names_both_ranges() {
    let broker = testing::broker(&[]);
    broker.lock().versions.insert(ApiKey::Metadata, (90, 95));
    testing::with_broker(&broker, |env| async move {
        let connection = Connection::open(&env, &testing::address(), &options())
            .await
            .unwrap();
        let error = connection.send(&MetadataRequest::default()).await.unwrap_err();
        let ConnectionError::Version {
            source: VersionError::Disjoint { theirs, .. },
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(theirs.to_string(), "90-95");
    });
}

/// Runs `test` against a server that is given each frame after ApiVersions and answers with these bytes.
fn with_server<F>(serve: fn(RequestHeader, usize) -> Option<Bytes>, test: impl FnOnce(klamm_env::Env) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let run = sim::run(3, |simulation| {
        simulation.host("broker", move |env| async move {
            let listener = env.network().listen("0.0.0.0", testing::PORT).await?;
            loop {
                let mut frames = Frames::new(listener.accept().await?);
                let mut asked = 0;
                while let Some(frame) = frames.read().await {
                    let header = RequestHeader::decode(&mut Reader::new(frame))?;
                    if header.api_key == ApiKey::ApiVersions {
                        let mut response = ApiVersionsResponse::default();
                        let api = klamm_protocol::messages::api_versions_response::ApiVersion {
                            api_key: ApiKey::Metadata.to_i16(),
                            max_version: 12,
                            ..Default::default()
                        };
                        response.api_keys.push(api);
                        let version = header.api_version;
                        frames
                            .write(answer(header.api_key, header.correlation_id, version, &response))
                            .await;
                        continue;
                    }
                    asked += 1;
                    match serve(header, asked) {
                        Some(bytes) => frames.write(bytes).await,
                        None => break,
                    }
                }
            }
        });
        simulation.run_for(testing::UP).unwrap();
        simulation.client("client", |env| {
            let test = test(env);
            async move {
                test.await;
                Ok(())
            }
        });
        simulation.run()
    });
    run.value.unwrap();
}

fn good(header: &RequestHeader) -> Bytes {
    answer(
        header.api_key,
        header.correlation_id,
        header.api_version,
        &MetadataResponse::default(),
    )
}

#[test]
fn bad_answers_end_the_connection_and_say_why() {
    type Serve = fn(RequestHeader, usize) -> Option<Bytes>;
    let cases: [(Serve, &str); 6] = [
        (|_, _| None, "ended: the broker closed it"),
        (|_, _| Some(Bytes::new()), "did not answer Metadata within 2s"),
        (
            |_, _| Some(Bytes::from_static(b"\x7f\xff\xff\xff")),
            "impossible length",
        ),
        (
            |_, _| Some(Bytes::from_static(b"HTTP/1.1 400")),
            "impossible length",
        ),
        (
            |mut header, _| {
                header.correlation_id += 1;
                Some(good(&header))
            },
            "answered out of order",
        ),
        (
            |header, _| {
                let mut bytes = good(&header).to_vec();
                bytes.truncate(12);
                bytes[..4].copy_from_slice(&8i32.to_be_bytes());
                Some(bytes.into())
            },
            "does not answer as a Kafka broker does",
        ),
    ];
    for (serve, words) in cases {
        with_server(serve, |env| async move {
            let connection = Connection::open(&env, &testing::address(), &options())
                .await
                .unwrap();
            let error = connection.send(&MetadataRequest::default()).await.unwrap_err();
            assert!(
                error.to_string().contains(words),
                "{error} does not say '{words}'"
            );
            env.sleep(Duration::from_millis(10)).await;
            assert!(connection.is_closed());
            let error = connection.send(&MetadataRequest::default()).await.unwrap_err();
            assert!(matches!(error, ConnectionError::Closed { .. }), "{error}");
        });
    }
}

#[test]
fn requests_are_pipelined_and_answered_in_order() {
    let serve = |header: RequestHeader, _| Some(good(&header));
    with_server(serve, |env| async move {
        let connection = Connection::open(&env, &testing::address(), &options())
            .await
            .unwrap();
        let mut pending = Vec::new();
        for _ in 0..200 {
            pending.push(connection.submit(12, &MetadataRequest::default()).await.unwrap());
        }
        for pending in pending {
            pending.answer().await.unwrap();
        }
        assert!(!connection.is_closed());
    });
}

#[test]
fn nobody_listening_is_said_with_the_address() {
    let broker = testing::broker(&[]);
    testing::with_broker(&broker, |env| async move {
        let address: HostPort = "broker:1".parse().unwrap();
        let error = Connection::open(&env, &address, &options()).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Connect { .. }));
        assert!(
            error.to_string().starts_with("cannot connect to broker:1: "),
            "{error}"
        );
    });
}
