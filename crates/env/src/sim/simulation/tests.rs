use std::future::poll_fn;
use std::io::IoSlice;
use std::path::Path;

use bytes::BytesMut;

use super::*;
use crate::files::OpenMode;
use crate::network::Stream;
use crate::sim::CrashMode;

const PORT: u16 = 9092;

async fn write_all(stream: &mut dyn Stream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await?;
        bytes = &bytes[n..];
    }
    Ok(())
}

async fn read_exact(stream: &mut dyn Stream, len: usize) -> std::io::Result<Vec<u8>> {
    let mut buffer = BytesMut::with_capacity(len);
    while buffer.len() < len {
        // Never more than is wanted.
        let mut piece = BytesMut::with_capacity(len - buffer.len());
        if poll_fn(|cx| stream.poll_read(cx, &mut piece)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&piece);
    }
    Ok(buffer.to_vec())
}

/// Takes messages of 1,000 bytes into a file, synced, and answers each out of that file.
async fn keep_and_echo(env: Env) -> Ended {
    let path = Path::new("/data/echo");
    env.files().create_dir_all(Path::new("/data"))?;
    let file = env.files().open(path, OpenMode::Create)?;
    env.files().sync_dir(Path::new("/data"))?;
    env.files().sync_dir(Path::new("/"))?;
    let listener = env.network().listen("", PORT).await?;
    loop {
        let mut stream = listener.accept().await?;
        let (env2, file) = (env.clone(), file.clone());
        env.spawn(async move {
            while let Ok(message) = read_exact(&mut *stream, 1_000).await {
                let offset = file.len()?;
                file.write_at(&[IoSlice::new(&message)], offset)?;
                let synced = file.clone();
                env2.blocking(move || synced.sync_data()).await?;
                let mut sent = 0;
                while sent < 1_000 {
                    sent +=
                        poll_fn(|cx| stream.poll_send_file(cx, &*file, offset + sent as u64, 1_000 - sent))
                            .await?;
                }
            }
            poll_fn(|cx| stream.poll_shutdown(cx)).await
        });
    }
}

/// Sends messages until `count` were answered, over new connections when one fails.
async fn ask(env: Env, count: usize, answered: Arc<Mutex<Vec<Vec<u8>>>>) -> Ended {
    let mut done = 0;
    while done < count {
        let attempt = async {
            let mut stream = env.network().connect("server", PORT).await?;
            while done < count {
                let mut message = vec![0; 1_000];
                env.fill_random(&mut message);
                write_all(&mut *stream, &message).await?;
                let answer = read_exact(&mut *stream, 1_000).await?;
                assert_eq!(answer, message);
                answered.lock().push(message);
                done += 1;
            }
            std::io::Result::Ok(())
        };
        let _ = env.timeout(Duration::from_secs(1), attempt).await;
        env.sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Two clients, a server that loses power in between; what was answered must be in its file.
fn scenario(simulation: &mut Simulation) -> usize {
    let answered: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    simulation.host("server", keep_and_echo);
    for client in ["one", "two"] {
        let answered = answered.clone();
        simulation.client(client, |env| ask(env, 20, answered));
    }
    let rng = simulation.world().rng("crashes");
    for _ in 0..3 {
        simulation
            .run_for(Duration::from_millis(50 + rng.below(100)))
            .unwrap();
        simulation.crash("server", CrashMode::Torn { seed: rng.next() });
        simulation.run_for(Duration::from_millis(20)).unwrap();
        simulation.start("server");
    }
    simulation.run().unwrap();
    simulation.crash("server", CrashMode::DropUnsynced);
    let disk = simulation.world().disk("server");
    let file = crate::Files::read(&disk, Path::new("/data/echo"), 1 << 20).unwrap();
    let answered = answered.lock();
    for message in answered.iter() {
        let is_there = file.windows(1_000).any(|window| window == message);
        assert!(is_there, "answered and lost");
    }
    answered.len()
}

#[test]
fn one_seed_gives_one_trace_and_nothing_answered_is_lost() {
    for seed in 0..3 {
        let (first, second) = (run(seed, scenario), run(seed, scenario));
        assert_eq!(first.lines, second.lines);
        assert_eq!(first, second);
        assert_eq!(first.value, 40);
        assert!(first.events > 240, "six or more for each message");
        assert_ne!(first.digest, run(seed + 100, scenario).digest);
    }
}

/// Says that it was dropped.
struct Farewell(usize, Arc<Mutex<Vec<usize>>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.1.lock().push(self.0);
    }
}

#[test]
fn a_crash_ends_tasks_in_one_order_however_many_the_process_started_before() {
    let order = |started_before: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (0..started_before).for_each(|_| drop(runtime.spawn(async {})));
        let gone: Arc<Mutex<Vec<usize>>> = Arc::default();
        let seen = gone.clone();
        run(1, move |simulation| {
            simulation.host("server", move |env| {
                let farewells = (0..20).map(|task| Farewell(task, seen.clone()));
                for farewell in farewells {
                    drop(env.spawn(async move {
                        let _farewell = farewell;
                        std::future::pending::<()>().await;
                    }));
                }
                std::future::pending()
            });
            simulation.run_for(Duration::from_millis(5)).unwrap();
            simulation.crash("server", CrashMode::KeepPageCache);
        });
        let gone = gone.lock().clone();
        assert_eq!(gone.len(), 20);
        gone
    };
    let first = order(0);
    (1..4).for_each(|started_before| assert_eq!(order(started_before), first));
}

#[test]
fn a_host_that_fails_has_stopped_and_can_be_started_again() {
    run(1, |simulation| {
        simulation.host("server", |env| async move {
            env.sleep(Duration::from_millis(5)).await;
            env.files().create_dir_all(Path::new("/data"))?;
            Err("no more".into())
        });
        assert_eq!(simulation.ended("server"), None);
        simulation.run_for(Duration::from_millis(20)).unwrap();
        assert_eq!(simulation.ended("server"), Some(Err("no more".to_owned())));
        assert!(!simulation.is_running("server"));
        simulation.world().disk("server").power_off();
        simulation.start("server");
        assert_eq!(simulation.ended("server"), None);
        let ended = |world: &World| world.trace().lines().iter().any(|line| line.contains("is down"));
        assert!(simulation.run_until(Duration::from_secs(1), ended).unwrap());
    });
}

#[test]
fn a_panic_in_a_task_that_nobody_waits_for_fails_the_step() {
    run(1, |simulation| {
        simulation.host("server", |env| async move {
            env.sleep(Duration::from_millis(5)).await;
            env.spawn(async { panic!("on purpose") });
            std::future::pending().await
        });
        let error = simulation.run_for(Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, SimulationError::Panicked { .. }));
    });
}

#[test]
fn a_client_that_fails_fails_the_run() {
    run(1, |simulation| {
        simulation.client("one", |env| async move {
            let refused = env.network().connect("nobody", PORT).await.err();
            assert_eq!(refused.unwrap().kind(), std::io::ErrorKind::NotFound);
            Err("as expected".into())
        });
        let error = simulation.run().unwrap_err();
        assert!(matches!(error, SimulationError::Failed(text) if text.contains("as expected")));
    });
}

#[test]
fn a_cut_link_carries_nothing_until_it_is_repaired() {
    run(1, |simulation| {
        let answered: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        simulation.host("server", keep_and_echo);
        let seen = answered.clone();
        simulation.client("one", |env| ask(env, 1, seen));
        simulation.partition("one", "server");
        simulation.run_for(Duration::from_secs(10)).unwrap();
        assert!(answered.lock().is_empty());
        simulation.repair("one", "server");
        simulation.run().unwrap();
        assert_eq!(answered.lock().len(), 1);
    });
}

#[test]
fn a_wall_clock_jumps_and_time_stands_still_between_steps() {
    run(1, |simulation| {
        simulation.host("server", |_| std::future::pending());
        simulation.run_for(Duration::from_millis(10)).unwrap();
        let env = simulation.world().env("server");
        let before = (env.now(), env.monotonic());
        assert_eq!(before.1, Duration::from_millis(10));
        simulation.jump_clock("server", -3_600_000);
        assert_eq!(env.now(), before.0.plus_ms(-3_600_000));
        assert_eq!(env.monotonic(), before.1);
    });
}

#[test]
fn maps_of_a_simulation_are_walked_in_one_order() {
    let walk = || {
        run(5, |_| {
            let map: crate::hash::Map<u32, ()> = (0..100).map(|key| (key, ())).collect();
            map.into_keys().collect::<Vec<u32>>()
        })
    };
    assert_eq!(walk().value, walk().value);
}

#[test]
fn outside_of_a_simulation_there_is_no_network() {
    let env = World::new(1).env("alone");
    let listening = futures_now(env.network().listen("", PORT));
    assert_eq!(listening.err().unwrap().kind(), std::io::ErrorKind::Unsupported);
}

/// The output of a future that does not wait.
fn futures_now<T>(future: crate::network::BoxFuture<'_, T>) -> T {
    let mut future = future;
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
