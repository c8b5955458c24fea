//! Frames on a stream, as the broker of the tests reads and writes them.

use std::future::poll_fn;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use klamm_env::Stream;

/// Frames on a stream.
pub(crate) struct Frames {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
}

impl Frames {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<4>() {
                let whole = 4 + i32::from_be_bytes(*length) as usize;
                if self.buffer.len() >= whole {
                    let mut frame = self.buffer.split_to(whole).freeze();
                    frame.advance(4);
                    return Some(frame);
                }
            }
            self.buffer.reserve(64 * 1024);
            let read = poll_fn(|cx| self.stream.poll_read(cx, &mut self.buffer)).await;
            if matches!(read, Ok(0) | Err(_)) {
                return None;
            }
        }
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| self.stream.poll_write(cx, &[IoSlice::new(&bytes)])).await;
            match write {
                Ok(n) => bytes.advance(n),
                Err(_) => return,
            }
        }
    }
}
