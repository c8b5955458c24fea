//! What a node cannot do without: when it breaks, the node says so and ends, instead of letting clients wait for ever.
//!
//! Each case breaks one call of the file system, once the node serves.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::files::{DirEntry, FolderLock, Space};
use klamm_env::{Env, File, Files, OpenMode, Parts, real};
use klamm_model::{Offset, TimestampMs};
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::{CreateTopicsRequest, ProduceRequest};
use klamm_protocol::{Records, Request, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// A sync of a file whose path has this in it panics.
    PanicOfSync(&'static str),
    /// A sync of a file whose path has this in it fails.
    ErrorOfSync(&'static str),
    /// The making of a folder whose path has this in it panics.
    PanicOfFolder(&'static str),
}

type Broken = Arc<Mutex<Option<Break>>>;

/// The file system of the machine, until it is broken.
struct Fragile(Broken);

#[derive(Debug)]
struct FragileFile {
    file: Arc<dyn File>,
    path: PathBuf,
    broken: Broken,
}

fn has(path: &Path, part: &str) -> bool {
    path.to_str().unwrap().contains(part)
}

impl File for FragileFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn read_at_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.file.read_at_resident(buffer, offset)
    }
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_at(pieces, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        let broken = *self.broken.lock().unwrap();
        match broken {
            Some(Break::PanicOfSync(part)) if has(&self.path, part) => panic!("a mistake"),
            Some(Break::ErrorOfSync(part)) if has(&self.path, part) => Err(io::Error::other("worn out")),
            _ => self.file.sync_data(),
        }
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}

impl Files for Fragile {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(FragileFile {
            file: real::files::SystemFiles.open(path, mode)?,
            path: path.to_owned(),
            broken: self.0.clone(),
        }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let broken = *self.0.lock().unwrap();
        match broken {
            Some(Break::PanicOfFolder(part)) if has(path, part) => panic!("a mistake"),
            _ => real::files::SystemFiles.create_dir_all(path),
        }
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        real::files::SystemFiles.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        real::files::SystemFiles.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        real::files::SystemFiles.remove_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        real::files::SystemFiles.read_dir(path)
    }
    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        real::files::SystemFiles.entry(path)
    }
    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        real::files::SystemFiles.modified(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        real::files::SystemFiles.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        real::files::SystemFiles.space(path)
    }
    fn lock(
        &self,
        folder: &Path,
        name: &str,
        owner: &str,
    ) -> Result<Box<dyn FolderLock>, Result<String, io::Error>> {
        real::files::SystemFiles.lock(folder, name, owner)
    }
}

async fn send<R: Request>(client: &mut TcpStream, version: i16, request: &R) {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 1, None, version, request).unwrap();
    client.write_all(&writer.into_bytes()).await.unwrap();
}

async fn create(client: &mut TcpStream, name: &'static str, num_partitions: i32) {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    send(client, 7, &request).await;
}

async fn produce(client: &mut TcpStream, partition: i32) {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.append(TimestampMs(1), None, Some(b"value"), &[]);
    let partition = PartitionProduceData {
        index: partition,
        records: Records::Bytes(batch.build(Offset(0)).unwrap()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    send(client, 9, &request).await;
}

/// The node's reason to end, after `what` broke and clients asked it for everything.
async fn reason(what: Break) -> String {
    let folder = tempfile::tempdir().unwrap();
    let dirs = [folder.path().join("a"), folder.path().join("b")].map(|dir| dir.display().to_string());
    let set = [
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", &dirs.join(",")),
    ];
    let sources = Sources {
        set: set.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Sources::default()
    };
    let (config, _) = BrokerConfig::load(&sources).unwrap();
    let broken = Broken::default();
    let env = Env::new(Parts {
        clock: Box::new(real::clock::SystemClock::default()),
        rng: Box::new(real::clock::SystemRng),
        files: Arc::new(Fragile(broken.clone())),
        network: Box::new(real::network::Sockets::new(real::SocketOptions::default())),
        blocking: klamm_env::task::Blocking::Threads,
    });
    let node = Node::start(env, config, Arc::new(FixedLoggers)).await.unwrap();
    let address = node.addresses()[0].1;
    let mut client = TcpStream::connect(address).await.unwrap();
    // A partition in each log dir.
    create(&mut client, "t", 2).await;
    let mut answered = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut answered)
        .await
        .unwrap();
    *broken.lock().unwrap() = Some(what);
    for partition in 0..2 {
        // Each on a connection of its own: they may not be answered any more.
        let mut client = TcpStream::connect(address).await.unwrap();
        produce(&mut client, partition).await;
    }
    let mut client = TcpStream::connect(address).await.unwrap();
    create(&mut client, "late", 1).await;
    node.failed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_ends_when_a_task_that_it_needs_panics_or_no_log_dir_is_left() {
    for (what, expected) in [
        (
            Break::PanicOfSync("/t-1/"),
            "the task that makes appends durable panicked: a mistake",
        ),
        (
            Break::PanicOfFolder("/late-0"),
            "the task that follows the metadata panicked: a mistake",
        ),
        (
            Break::PanicOfSync(".raft"),
            "the task that writes the metadata log panicked: a mistake",
        ),
        (
            Break::ErrorOfSync("/t-"),
            "all log dirs have failed: a segment file: worn out; a segment file: worn out",
        ),
    ] {
        let why = reason(what).await;
        assert!(why.ends_with(expected), "{what:?}: {why}");
    }
}
