//! The keys whose effect is on the process itself: its threads, its sockets, its address for metrics.
//!
//! Always holds: each test compares a server that has the key set with one that has not. What a socket holds is measured
//! while the server is stopped by a signal: then nothing but the kernel's buffers and queues takes anything.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};

/// How long a kernel that has nothing more to do is waited for.
const QUIET: Duration = Duration::from_millis(200);
/// How long a server that runs is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(set: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
        command.arg("serve").arg("--data").arg(folder.path());
        command.args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"]);
        if !set.iter().any(|(key, _)| *key == "klamm.http.listener") {
            command.args(["--set", "klamm.http.listener="]);
        }
        for (key, value) in set {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut address, mut metrics) = (None, None);
        // The last thing it prints is what to do next.
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, told)) = line.split_once("is listening on ") {
                address = Some(told.trim().parse().unwrap());
            } else if let Some((_, told)) = line.split_once("http://") {
                metrics = Some(told.trim_end_matches("/metrics").parse().unwrap());
            } else if line.contains("klamm consume") {
                break;
            }
        }
        Self {
            process,
            address: address.expect("the server says where it listens"),
            metrics,
            _folder: folder,
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Stops all of its threads: a signal that was sent has not yet done so.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.process.id());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            // One that has ended meanwhile does nothing either. The state stands behind the name in brackets.
            stat.map_or(true, |stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
        };
        while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// A connection whose own buffers are small, so that the server's count.
    fn connect(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&self.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(QUIET)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// ApiVersions, version 0: ten bytes, answered by some hundreds.
const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

/// What is asked at once: less than the 4 KiB that a small buffer takes.
const REQUESTS: usize = 280;

/// Waits until the server has taken the connection and serves it; the bytes of an answer.
fn ask(stream: &mut TcpStream) -> usize {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&REQUEST).unwrap();
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut answer).unwrap();
    len.len() + answer.len()
}

/// How many bytes a stopped server's socket takes.
fn taken(server: &Server) -> usize {
    let mut stream = server.connect();
    ask(&mut stream);
    server.stop();
    let mut taken = 0;
    loop {
        match stream.write(&[0; 1024]) {
            Ok(bytes) => taken += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return taken;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// How many bytes a stopped server's socket still gives, at most: it may be stopped before it has filled it. More than
/// `enough` is enough.
fn given(server: &Server, enough: usize) -> usize {
    let mut stream = server.connect();
    // Few enough that the requests fit into this end's buffer, whether or not the server reads.
    let answers = REQUESTS * ask(&mut stream);
    assert!(answers > enough, "more than enough: {answers}");
    let mut most = 0;
    for _ in 0..20 {
        stream.write_all(&REQUEST.repeat(REQUESTS)).unwrap();
        // The first answers are here: the server is about to fill the socket, if it has not.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.peek(&mut [0]).unwrap();
        server.stop();
        stream.set_read_timeout(Some(QUIET)).unwrap();
        let (mut given, mut buffer) = (0, vec![0; 1 << 16]);
        while let Ok(bytes) = stream.read(&mut buffer) {
            given += bytes;
        }
        server.signal(Signal::CONT);
        most = most.max(given);
        if most > enough {
            break;
        }
        // The rest of the answers, so that the next round begins like this one.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut vec![0; answers - given]).unwrap();
    }
    most
}

/// How many connections a stopped server's listener takes, up to twelve.
fn queued(server: &Server) -> usize {
    server.stop();
    let connect = |_: &usize| TcpStream::connect_timeout(&server.address, QUIET).ok();
    let held: Vec<_> = (0..12).map_while(|place| connect(&place)).collect();
    held.len()
}

#[test]
fn the_sockets_are_as_configured() {
    let default = Server::start(&[]);
    let small = Server::start(&[
        ("socket.receive.buffer.bytes", "4096"),
        ("socket.send.buffer.bytes", "4096"),
        ("socket.listen.backlog.size", "2"),
    ]);
    let sent = (given(&small, 35_000), given(&default, 35_000));
    assert!(sent.0 < 30_000 && sent.1 > 2 * sent.0, "send buffers: {sent:?}");
    let received = (taken(&small), taken(&default));
    assert!(
        received.0 < 40_000 && received.1 > 50_000,
        "receive buffers: {received:?}"
    );
    // Linux takes one more than it is told.
    assert_eq!((queued(&small), queued(&default)), (3, 12), "backlog");
}

#[test]
fn so_many_threads_work() {
    let threads = |server: &Server| {
        let tasks = format!("/proc/{}/task", server.process.id());
        std::fs::read_dir(tasks).unwrap().count()
    };
    let few = threads(&Server::start(&[("klamm.workers", "1")]));
    let many = threads(&Server::start(&[("klamm.workers", "60")]));
    assert!(few < 60 && many >= 60, "{few}, {many}");
}

#[test]
fn metrics_are_served_where_configured() {
    assert_eq!(Server::start(&[]).metrics, None);
    let server = Server::start(&[("klamm.http.listener", "127.0.0.2:0")]);
    let address = server.metrics.unwrap();
    assert_eq!(address.ip().to_string(), "127.0.0.2");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200") && answer.contains("klamm_"),
        "{answer:.200}"
    );
}
