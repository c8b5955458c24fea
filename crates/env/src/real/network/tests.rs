use std::future::poll_fn;
use std::os::fd::BorrowedFd;

use super::*;
use crate::files::{Files, OpenMode};
use crate::real::files::SystemFiles;

type Pair = (Box<dyn Stream>, Box<dyn Stream>);

fn run<T>(future: impl Future<Output = T>) -> T {
    crate::real::runtime(1).unwrap().block_on(future)
}

static NETWORK: Sockets = Sockets {
    options: SocketOptions {
        listen_backlog: 16,
        send_buffer_bytes: None,
        receive_buffer_bytes: None,
    },
};

async fn pair(host: &str) -> Pair {
    let listener = NETWORK.listen(host, 0).await.unwrap();
    let port = listener.local_addr().port();
    let (near, far) = tokio::join!(NETWORK.connect(host, port), listener.accept());
    (near.unwrap(), far.unwrap())
}

async fn read_some(stream: &mut dyn Stream, buffer: &mut BytesMut) -> usize {
    poll_fn(|cx| stream.poll_read(cx, buffer)).await.unwrap()
}

async fn read_to_end(stream: &mut dyn Stream) -> Vec<u8> {
    let mut all = BytesMut::new();
    loop {
        all.reserve(10_000);
        if read_some(stream, &mut all).await == 0 {
            return all.to_vec();
        }
    }
}

async fn send_all(stream: &mut dyn Stream, file: &dyn File, mut offset: u64, mut len: usize) {
    while len > 0 {
        let n = poll_fn(|cx| stream.poll_send_file(cx, file, offset, len))
            .await
            .unwrap();
        assert!(n > 0 && n <= len);
        offset += n as u64;
        len -= n;
    }
    poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
}

/// A file that the kernel knows nothing of.
#[derive(Debug)]
struct NoDescriptor(std::sync::Arc<dyn File>);

impl File for NoDescriptor {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn read_at_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.0.read_at_resident(buffer, offset)
    }
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_at(pieces, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[test]
fn pieces_are_written_and_read() {
    run(async {
        let (mut near, mut far) = pair("127.0.0.1").await;
        assert_eq!(near.peer_addr(), far.local_addr());
        assert_eq!(near.local_addr(), far.peer_addr());
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(poll_fn(|cx| near.poll_write(cx, &pieces)).await.unwrap(), 5);
        let mut buffer = BytesMut::with_capacity(3);
        let room = buffer.capacity();
        let n = read_some(&mut *far, &mut buffer).await;
        assert!(n <= room, "no more than there was room for");
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
        buffer.extend_from_slice(&read_to_end(&mut *far).await);
        assert_eq!(&buffer[..], b"abcde");
    });
}

/// Files longer than the socket's buffers, so that the sender meets a full socket.
#[test]
fn a_range_of_a_file_is_sent_by_the_kernel_or_copied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let contents: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = SystemFiles.open(&path, OpenMode::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(&contents)], 0).unwrap();
    let copied: std::sync::Arc<dyn File> = std::sync::Arc::new(NoDescriptor(file.clone()));
    for file in [file, copied] {
        let (offset, len) = (1_003, 4_900_000);
        let received = run(async {
            let (mut near, mut far) = pair("localhost").await;
            let sender = tokio::spawn(async move { send_all(&mut *near, &*file, offset, len).await });
            let received = read_to_end(&mut *far).await;
            sender.await.unwrap();
            received
        });
        assert!(received == contents[1_003..][..len]);
    }
}

#[test]
fn a_file_that_is_too_short_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = SystemFiles
        .open(&folder.path().join("a"), OpenMode::CreateNew)
        .unwrap();
    let copied: std::sync::Arc<dyn File> = std::sync::Arc::new(NoDescriptor(file.clone()));
    run(async {
        let (mut near, _far) = pair("127.0.0.1").await;
        for file in [file, copied] {
            assert_eq!(
                poll_fn(|cx| near.poll_send_file(cx, &*file, 7, 10))
                    .await
                    .unwrap(),
                0
            );
        }
    });
}

#[test]
fn all_interfaces_take_both_families() {
    run(async {
        for host in ["", "::"] {
            let Ok(listener) = NETWORK.listen(host, 0).await else {
                continue; // no IPv6 here
            };
            let port = listener.local_addr().port();
            for (to, family) in [("127.0.0.1", true), ("::1", false)] {
                if listener.local_addr().is_ipv4() && !family {
                    continue;
                }
                let (near, far) = tokio::join!(NETWORK.connect(to, port), listener.accept());
                assert_eq!(
                    far.unwrap().peer_addr(),
                    near.unwrap().local_addr(),
                    "{host:?} from {to}"
                );
            }
        }
    });
}

#[test]
fn failures_are_told() {
    run(async {
        let taken = NETWORK.listen("127.0.0.1", 0).await.unwrap();
        let port = taken.local_addr().port();
        let again = NETWORK.listen("127.0.0.1", port).await.err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        let refused = NETWORK.connect("127.0.0.1", port).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(NETWORK.listen("no.such.host.invalid", 0).await.is_err());
    });
}

#[test]
fn options_reach_the_socket() {
    run(async {
        let sockets = Sockets::new(SocketOptions {
            listen_backlog: 1,
            send_buffer_bytes: Some(20_000),
            receive_buffer_bytes: Some(20_000),
        });
        let listener = sockets.listen_anywhere("127.0.0.1", 0).await.unwrap();
        // The kernel doubles what it is asked for.
        assert_eq!(
            socket2::SockRef::from(&listener).send_buffer_size().unwrap(),
            40_000
        );
        let (near, far) = tokio::join!(
            sockets.connect_to(listener.local_addr().unwrap()),
            listener.accept()
        );
        for stream in [near.unwrap(), far.unwrap().0] {
            assert_eq!(
                socket2::SockRef::from(&stream).recv_buffer_size().unwrap(),
                40_000
            );
            assert!(
                Tcp::new(stream, listener.local_addr().unwrap())
                    .unwrap()
                    .stream
                    .nodelay()
                    .unwrap()
            );
        }
    });
}
