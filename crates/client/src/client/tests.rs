use super::*;
use crate::testing;
use klamm_env::sim::{self, CrashMode};

#[test]
fn no_broker_at_any_address_is_said_with_each() {
    let broker = testing::broker(&[]);
    testing::with_broker(&broker, |env| async move {
        let addresses = HostPort::parse_list("broker:1,broker:2").unwrap();
        let error = Client::connect(env, ClientConfig::new(addresses))
            .await
            .unwrap_err();
        let ClientError::Unreachable { tried } = &error else {
            panic!("{error}")
        };
        assert_eq!(tried.len(), 2);
        assert!(error.to_string().contains("broker:1") && error.to_string().contains("broker:2"));
    });
}

#[test]
fn one_address_that_answers_is_enough_and_one_connection_is_kept() {
    let broker = testing::broker(&[("t", 2)]);
    testing::with_broker(&broker, |env| async move {
        let addresses = HostPort::parse_list("broker:1,broker:9092").unwrap();
        let client = Client::connect(env, ClientConfig::new(addresses)).await.unwrap();
        let leader = client.leader(&TopicPartition::new("t", 1)).await.unwrap();
        assert_eq!(leader.broker, BrokerId(1));
        client.connection(Target::Broker(leader.broker)).await.unwrap();
        client.connection(Target::Controller).await.unwrap();
    });
    assert_eq!(broker.lock().connections, 1);
}

#[test]
fn what_does_not_exist_is_said_so() {
    let broker = testing::broker(&[("t", 2)]);
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let unknown = client.topic("nope").await.unwrap_err();
        assert_eq!(unknown.to_string(), "there is no topic 'nope'");
        let beyond = client.leader(&TopicPartition::new("t", 2)).await.unwrap_err();
        assert_eq!(
            beyond.to_string(),
            "topic 't' has no partition 2: it has 2, numbered from 0"
        );
        let broker = client.connection(Target::Broker(BrokerId(9))).await.unwrap_err();
        assert_eq!(broker, ClientError::UnknownBroker(BrokerId(9)));
    });
}

#[test]
fn a_new_topic_is_looked_for_a_while() {
    let broker = testing::broker(&[]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let late = async {
            env.sleep(Duration::from_millis(100)).await;
            shared
                .lock()
                .topics
                .insert("late".into(), vec![testing::Log::default()]);
        };
        let (topic, ()) = tokio::join!(client.topic("late"), late);
        assert_eq!(topic.unwrap().partitions.len(), 1);
    });
}

#[test]
fn a_broker_that_comes_back_is_found_again() {
    let broker = testing::broker(&[("t", 1)]);
    sim::run(5, |simulation| {
        let shared = broker.clone();
        simulation.host("broker", move |env| {
            let shared = shared.clone();
            async move { Ok(testing::serve(env, shared).await?) }
        });
        simulation.run_for(testing::UP).unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = calls.clone();
        simulation.client("client", |env| async move {
            let client = testing::client(&env).await;
            for _ in 0..2 {
                let topic = client.lookup("t").await;
                seen.lock().push(topic.is_ok());
                env.sleep(Duration::from_secs(2)).await;
            }
            Ok(())
        });
        let called = |count: usize| {
            let calls = calls.clone();
            move |_: &klamm_env::sim::World| calls.lock().len() >= count
        };
        assert!(simulation.run_until(Duration::from_secs(5), called(1)).unwrap());
        simulation.crash("broker", CrashMode::KeepPageCache);
        simulation.run_for(Duration::from_secs(4)).unwrap();
        simulation.start("broker");
        simulation.run().unwrap();
        assert_eq!(*calls.lock(), [true, true]);
    });
    assert!(broker.lock().connections >= 2);
}
