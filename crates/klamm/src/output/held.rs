//! What is printed and held, until it is sent off to a reader who may keep it waiting.
//!
//! Always holds: sending can be given up at any moment, as a write into a full pipe cannot; what was taken until then was written,
//! and nothing else.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PIPE_BUF;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What is written at once where nobody can keep it waiting.
const AT_ONCE: usize = 64 * 1024;

/// See the head of the file.
pub(super) struct Held {
    /// What is printed.
    pub(super) bytes: Vec<u8>,
    to: To,
}

enum To {
    /// A file, which takes all.
    File(io::Stdout),
    /// A pipe, a terminal or a socket.
    Reader(AsyncFd<io::Stdout>),
}

impl Held {
    /// For standard output, within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the process never closes its standard output, nor puts another file in its place.
        let reader = unsafe { AsyncFd::register_with_interest(io::stdout(), Interest::WRITABLE) };
        let to = match reader.map_err(io::Error::from) {
            Ok(reader) => To::Reader(reader),
            Err(error) if is_of_a_file(&error) => To::File(io::stdout()),
            // Written to without a wait, a pipe could keep whoever prints.
            Err(error) => return Err(error),
        };
        Ok(Self {
            bytes: Vec::new(),
            to,
        })
    }

    /// Sends off all that is held. Who gives this up drops the rest.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (stdout, most) = match &self.to {
                To::File(stdout) => (stdout, AT_ONCE),
                To::Reader(reader) => {
                    wait(reader).await?;
                    // So much a pipe that is ready takes without a wait.
                    (reader.get_ref(), PIPE_BUF)
                }
            };
            match rustix::io::write(stdout, &rest[..rest.len().min(most)]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes = bytes;
        self.bytes.clear();
        Ok(())
    }
}

/// Whether the system refuses to wait because nobody has to: it is always ready.
fn is_of_a_file(refused: &io::Error) -> bool {
    Errno::from_io_error(refused) == Some(Errno::PERM)
}

/// Waits until there is room.
async fn wait(reader: &AsyncFd<io::Stdout>) -> io::Result<()> {
    loop {
        let mut ready = reader.writable().await?;
        if has_room(reader.get_ref())? {
            ready.retain_ready();
            return Ok(());
        }
        ready.clear_ready();
    }
}

/// Whether a write does not wait. One to a reader who has gone fails at once.
fn has_room(stdout: &impl AsFd) -> io::Result<bool> {
    let mut waited = [PollFd::new(stdout, PollFlags::OUT)];
    match poll(&mut waited, Some(&Timespec::default())) {
        Ok(_) => Ok(!waited[0].revents().is_empty()),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::epoll;

    use super::*;

    #[test]
    fn only_what_is_always_ready_is_written_to_without_a_wait() {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let file = tempfile::tempfile().unwrap();
        let refused = epoll::add(
            &queue,
            &file,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::OUT,
        );
        assert!(is_of_a_file(&refused.unwrap_err().into()));
        for errno in [Errno::NOSPC, Errno::NOMEM, Errno::BADF] {
            assert!(!is_of_a_file(&errno.into()), "{errno}");
        }
    }
}
