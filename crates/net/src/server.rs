//! Accepts connections on one listener, runs each as a task, closes what is idle, and stops in order.
//!
//! Always holds: while requests wait for memory, a client that owes the rest of a frame, or leaves a large answer unread, for
//! [`PATIENCE`] is let go, the one that has done so for longest first, until there is as much as is waited for: half frames,
//! unread answers and silence cannot hold up the others. When [`Server::stop`] returns, no task of the server is left.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use klamm_env::{Env, Listener, Stream, Task, task};
use parking_lot::Mutex;
use tracing::{Instrument, debug, debug_span, info, warn};

use crate::activity::{Activity, IdleWatch};
use crate::admission::{Admission, AdmissionLimits};
use crate::connection::{self, End, Surroundings};
use crate::memory::RequestMemory;
use crate::service::{ConnectionInfo, Service};
use crate::stop::{Stop, Stopping};

/// How long a client may owe the rest of a frame, or leave an answer unread, while others wait for memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often this is looked at while somebody waits.
const RELIEF_INTERVAL: Duration = Duration::from_secs(1);

/// How a [`Server`] treats its connections.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `socket.request.max.bytes`.
    pub max_request_bytes: usize,
    /// `connections.max.idle.ms`.
    pub max_idle: Duration,
    /// How many connections there may be.
    pub admission: AdmissionLimits,
}

/// The listeners of a node and their connections. A clone is the same server.
pub struct Server<S: Service> {
    shared: Arc<Shared<S>>,
}

impl<S: Service> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<S> {
    env: Env,
    config: ServerConfig,
    service: S,
    memory: RequestMemory,
    admission: Admission,
    next_id: AtomicU64,
    connections: Mutex<BTreeMap<u64, Running>>,
    tasks: Mutex<Vec<Task<()>>>,
    stop: Arc<Stop>,
}

struct Running {
    task: Task<()>,
    activity: Arc<Activity>,
    idle: IdleWatch,
    listener: Arc<str>,
    peer: std::net::SocketAddr,
}

impl<S: Service> Server<S> {
    /// A server without listeners yet.
    pub fn new(env: Env, config: ServerConfig, memory: RequestMemory, service: S) -> Self {
        let shared = Arc::new(Shared {
            env,
            admission: Admission::new(config.admission.clone()),
            config,
            service,
            memory,
            next_id: AtomicU64::new(1),
            connections: Mutex::default(),
            tasks: Mutex::default(),
            stop: Arc::default(),
        });
        let server = Self { shared };
        let (idle, relief) = (server.clone(), server.clone());
        server.spawn("closes idle connections", async move { idle.close_idle().await });
        server.spawn("frees memory", async move { relief.relieve().await });
        server
    }

    /// Accepts the connections of `listener` from now on.
    pub fn serve(&self, name: Arc<str>, listener: Box<dyn Listener>) {
        let server = self.clone();
        self.spawn("accepts connections", async move {
            server.accept(name, listener).await;
        });
    }

    /// Starts a task that the server cannot do without.
    fn spawn(&self, does: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let server = self.clone();
        let told = task::telling_of_panic(future, move |why| server.shared.service.panicked(does, why));
        let task = self.shared.env.spawn(told);
        self.shared.tasks.lock().push(task);
    }

    /// Changes how many connections there may be; those that are open stay.
    pub fn limit(&self, limits: AdmissionLimits) {
        self.shared.admission.limit(limits);
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.connections.lock().len()
    }

    /// Accepts no more, lets every connection finish the requests it has read, and ends after `limit` in any case.
    pub async fn stop(&self, limit: Duration) {
        self.shared.stop.tell();
        let tasks = std::mem::take(&mut *self.shared.tasks.lock());
        end_all(tasks).await;
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        let mut tasks: Vec<_> = connections.into_values().map(|running| running.task).collect();
        let drained = async {
            for task in &mut tasks {
                task.await;
            }
        };
        if self.shared.env.timeout(limit, drained).await.is_err() {
            tasks.retain(|task| !task.is_finished());
            warn!(
                connections = tasks.len(),
                "connections were still busy at the end of the time to stop"
            );
            end_all(tasks).await;
        }
    }

    /// Ends all tasks without waiting for anything: for a node that is dropped without being stopped.
    pub fn abort(&self) {
        self.shared.stop.tell();
        self.shared.tasks.lock().drain(..).for_each(|task| task.abort());
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.values().for_each(|running| running.task.abort());
    }

    async fn accept(&self, name: Arc<str>, listener: Box<dyn Listener>) {
        loop {
            match listener.accept().await {
                Ok(stream) => self.admit(&name, stream),
                Err(error) => {
                    // Out of file handles, mostly: the next moment may be better, and a hot loop helps nobody.
                    warn!(listener = %name, %error, "could not accept a connection");
                    self.shared.env.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(&self, name: &Arc<str>, stream: Box<dyn Stream>) {
        let shared = &self.shared;
        let peer = stream.peer_addr();
        let metrics = shared.service.metrics();
        if let Err(why) = shared.admission.enter(peer.ip()) {
            metrics.refused(name, &why);
            info!(listener = %name, %peer, %why, "connection refused");
            return;
        }
        metrics.opened(name);
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let info = ConnectionInfo {
            listener: name.clone(),
            peer,
            local: stream.local_addr(),
            id,
            stopping: Stopping::of(&shared.stop),
        };
        let activity = Arc::new(Activity::default());
        // Registered under the lock before the task can end, so that its end always finds it.
        let mut connections = shared.connections.lock();
        let task = self.run(info, stream, activity.clone());
        connections.insert(
            id,
            Running {
                task,
                activity,
                idle: IdleWatch::new(shared.env.monotonic()),
                listener: name.clone(),
                peer,
            },
        );
    }

    fn run(&self, info: ConnectionInfo, stream: Box<dyn Stream>, activity: Arc<Activity>) -> Task<()> {
        let shared = self.shared.clone();
        let span = debug_span!("connection", id = info.id, peer = %info.peer);
        let future = async move {
            let context = Surroundings {
                env: shared.env.clone(),
                memory: shared.memory.for_connection(),
                max_request_bytes: shared.config.max_request_bytes,
                shutdown: shared.stop.clone(),
                activity,
            };
            let _guard = Leaving {
                shared: shared.clone(),
                info: info.clone(),
            };
            let mut handler = shared.service.connect(info.clone());
            let end = connection::run(stream, &mut handler, &context, shared.service.metrics()).await;
            match &end {
                End::Misbehaved(why) | End::Unanswered(why) => {
                    warn!(listener = %info.listener, peer = %info.peer, reason = %why, "connection closed");
                }
                _ => debug!(reason = %end, "connection ended"),
            }
        };
        self.shared.env.spawn(future.instrument(span))
    }

    async fn close_idle(&self) {
        let max_idle = self.shared.config.max_idle;
        let interval = (max_idle / 10).clamp(Duration::from_millis(50), Duration::from_secs(10));
        loop {
            self.shared.env.sleep(interval).await;
            let now = self.shared.env.monotonic();
            for running in self.shared.connections.lock().values_mut() {
                if running.idle.look(&running.activity, now) > max_idle {
                    debug!(peer = %running.peer, listener = %running.listener, "idle connection closed");
                    running.task.abort();
                }
            }
        }
    }

    /// Lets go of clients that keep memory while others wait for it.
    async fn relieve(&self) {
        let memory = &self.shared.memory;
        loop {
            memory.contended().await;
            self.shared.env.sleep(RELIEF_INTERVAL).await;
            let mut wanted = memory.wanted();
            if wanted == 0 {
                continue;
            }
            let now = self.shared.env.monotonic();
            let connections = self.shared.connections.lock();
            let mut owing: Vec<_> = connections
                .values()
                .filter_map(|running| {
                    running
                        .activity
                        .owed()
                        .map(|(since, bytes)| (since, bytes, running))
                })
                .filter(|(since, bytes, _)| *bytes > 0 && now.saturating_sub(*since) >= PATIENCE)
                .collect();
            owing.sort_by_key(|(since, ..)| *since);
            for (since, bytes, running) in owing {
                let reason = format!(
                    "the rest of a request, or room for an answer, was awaited for {} s while others wait for memory",
                    now.saturating_sub(since).as_secs()
                );
                warn!(listener = %running.listener, peer = %running.peer, %reason, "connection closed");
                running.task.abort();
                wanted = wanted.saturating_sub(bytes);
                if wanted == 0 {
                    break;
                }
            }
        }
    }
}

/// Ends tasks and waits until each has.
async fn end_all(tasks: impl IntoIterator<Item = Task<()>>) {
    let tasks: Vec<_> = tasks.into_iter().collect();
    tasks.iter().for_each(Task::abort);
    for task in tasks {
        task.await;
    }
}

/// Counts a connection out when its task ends, however it ends.
struct Leaving<S: Service> {
    shared: Arc<Shared<S>>,
    info: ConnectionInfo,
}

impl<S: Service> Drop for Leaving<S> {
    fn drop(&mut self) {
        self.shared.admission.leave(self.info.peer.ip());
        self.shared.service.metrics().closed(&self.info.listener);
        self.shared.connections.lock().remove(&self.info.id);
    }
}
