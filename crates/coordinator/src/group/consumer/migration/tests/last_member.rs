//! The last member of the consumer protocol goes, and what it had is shared out.

use crate::group::config::MigrationPolicy;
use crate::group::consumer::testing::{joining, quiet};
use crate::group::driver::{join, leave};
use klamm_model::ErrorCode;
use klamm_protocol::data_records::ConsumerProtocolSubscription;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::{World, embed, gives, had, of_instance, wants};

#[test]
fn what_the_last_consumer_member_had_is_shared_out_after_a_crash_too() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    world.beat(joining("new", &["t"]));
    world.join(join(&classic).saying(&wants(&[0, 1])));
    world.beat(quiet("new", -1));
    world.driver.reload();
    assert_eq!(world.listed(), ["classic", "PreparingRebalance"]);
    assert_eq!(world.alive(2, &classic), ErrorCode::RebalanceInProgress);
    let joined = world.join(join(&classic).saying(&wants(&[0, 1])));
    assert_eq!((joined.generation_id, &*joined.leader), (3, &*classic));
}

#[test]
fn what_the_last_consumer_member_had_is_shared_out_when_the_group_does_not_go_over() {
    let mut world = World::new();
    world.driver.config.consumer_migration_policy = MigrationPolicy::Upgrade;
    world.beat(joining("new", &["t"]));
    let mut members = world.classic_beside("new", 2);
    assert_eq!(had(&members).len(), 3);
    world.beat(quiet("new", -1));
    assert_eq!(world.listed(), ["consumer", "Assigning"]);
    world.obey(&mut members, 3);
    assert_eq!(had(&members), [0, 1, 2, 3]);
    let written = world.driver.written();
    world.obey(&mut members, 1);
    assert_eq!(
        world.driver.written(),
        written,
        "nobody is told to join for nothing"
    );

    // Nobody else looks for new partitions.
    world.cluster.grow("t", 6);
    world.driver.change(world.cluster.image());
    world.obey(&mut members, 3);
    assert_eq!(had(&members), [0, 1, 2, 3, 4, 5]);
    world.driver.reload();
    let written = world.driver.written();
    world.obey(&mut members, 1);
    assert_eq!(world.driver.written(), written);
}

#[test]
fn the_last_consumer_member_goes_from_a_group_that_is_too_large_to_go_over() {
    let long = |name: &str, bytes: usize| {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![name.into()],
            user_data: Some(vec![0; bytes].into()),
            ..Default::default()
        };
        embed(3, &subscription)
    };
    // (how much each member says, whether the last one comes back as a classic one, what the group is then)
    let table = [
        (100_000, false, "consumer"),
        (100_000, true, "consumer"),
        (10_000, false, "classic"),
        (10_000, true, "classic"),
    ];
    for (bytes, comes_back, kind) in table {
        let mut world = World::new();
        world.beat(ConsumerGroupHeartbeatRequest {
            instance_id: Some("i".into()),
            ..joining("new", &["t"])
        });
        for _ in 0..8 {
            world.join(join("").version(3).saying(&long("t", bytes)));
        }
        if comes_back {
            world.driver.ask(join("").instance("i").saying(&long("t", bytes)));
        } else {
            assert_eq!(world.beat(of_instance("new", -1, &[])).error_code, 0);
        }
        assert_eq!(world.listed()[0], kind, "{bytes} {comes_back}");
        if let Some(group) = world.driver.shard.groups["g"].consumer() {
            assert!(group.member("new").is_none());
        }
    }
}

#[test]
fn what_a_classic_member_had_is_shared_out_while_the_only_consumer_member_is_away() {
    let mut world = World::new();
    world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    });
    let mut members = world.classic_beside("new", 2);
    world.beat(of_instance("new", -2, &[]));
    members.sort_by_key(|member| member.has.len());
    let gone = members.pop().unwrap();
    assert_eq!(gone.has.len(), 2);
    world.driver.at_once(leave(&[(&*gone.id, None)]));
    assert_eq!(world.listed(), ["consumer", "Assigning"]);
    world.driver.config.consumer_assignment_interval = std::time::Duration::from_secs(9);
    assert_eq!(
        world.alive(members[0].generation, &members[0].id),
        ErrorCode::None,
        "it may not be made yet"
    );
    world.driver.pass(8_000);
    world.obey(&mut members, 1);
    assert_eq!(had(&members).len(), 1);
    world.driver.pass(1_000);
    world.obey(&mut members, 3);
    assert_eq!(had(&members).len(), 2);
}

#[test]
fn the_last_consumer_member_goes_however_it_goes() {
    for how in 0..3 {
        let mut world = World::new();
        let classic = world.classic(gives(&[0, 1, 2, 3], None));
        world.beat(joining("new", &["t"]));
        match how {
            0 => {
                world.beat(quiet("new", -1));
            }
            1 => {
                world.driver.at_once(leave(&[("new", None)]));
            }
            _ => {
                for _ in 0..9 {
                    world.driver.pass(5_000);
                    world.alive(1, &classic);
                }
            }
        }
        assert_eq!(world.listed(), ["classic", "PreparingRebalance"], "{how}");
        // Without the policy it stays what it is.
        let mut world = World::new();
        world.classic(gives(&[0, 1, 2, 3], None));
        world.driver.config.consumer_migration_policy = MigrationPolicy::Upgrade;
        world.beat(joining("new", &["t"]));
        world.beat(quiet("new", -1));
        assert_eq!(world.listed()[0], "consumer");
    }
}
