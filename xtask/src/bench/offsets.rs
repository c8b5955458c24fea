//! How many records a broker says it holds: the second opinion on what the load program counted.
//!
//! Always holds: one ListOffsets request at version 1, the oldest that is served and the simplest to write by hand, for all
//! partitions of one topic, over a connection of its own. Bytes of the answer never size anything.

use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// Neither broker needs longer to say it.
const LIMIT: Duration = Duration::from_secs(30);
/// An answer names at most some thousands of partitions.
const LARGEST_ANSWER: u32 = 16 << 20;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// The records of a topic's partitions `0..partitions`.
pub(super) fn records(address: &str, topic: &str, partitions: u16) -> Result<u64> {
    let mut stream = connect(address)?;
    let latest = ask(&mut stream, topic, 0..partitions, LATEST)?;
    let earliest = ask(&mut stream, topic, 0..partitions, EARLIEST)?;
    latest
        .checked_sub(earliest)
        .context("the log ends before it begins")
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Waits for partitions to answer, at little cost to who is asked.
pub(super) struct Looking<'a> {
    stream: TcpStream,
    topic: &'a str,
    partitions: u16,
}

impl<'a> Looking<'a> {
    pub(super) fn new(address: &str, topic: &'a str, partitions: u16) -> Result<Self> {
        let stream = connect(address)?;
        Ok(Looking {
            stream,
            topic,
            partitions,
        })
    }

    /// An error when there is a partition that does not answer. The last one is asked before all are.
    pub(super) fn look(&mut self) -> Result<()> {
        let last = self.partitions.saturating_sub(1);
        self.ask(last..self.partitions)?;
        self.ask(0..self.partitions)
    }

    fn ask(&mut self, partitions: Range<u16>) -> Result<()> {
        ask(&mut self.stream, self.topic, partitions, LATEST).map(drop)
    }
}

/// The sum of the offsets of some partitions.
fn ask(stream: &mut TcpStream, topic: &str, partitions: Range<u16>, timestamp: i64) -> Result<u64> {
    let count = partitions.len();
    stream.write_all(&request(topic, partitions, timestamp)?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    ensure!(length <= LARGEST_ANSWER, "an answer of {length} bytes");
    let mut answer = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut answer)?;
    sum(&answer, count)
}

fn request(topic: &str, partitions: Range<u16>, timestamp: i64) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    // API key 2, version 1, correlation id, no client id.
    body.extend([0, 2, 0, 1, 0, 0, 0, 7, 0xFF, 0xFF]);
    // From no replica, one topic.
    body.extend((-1_i32).to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(i16::try_from(topic.len())?.to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(i32::try_from(partitions.len())?.to_be_bytes());
    for partition in partitions {
        body.extend(i32::from(partition).to_be_bytes());
        body.extend(timestamp.to_be_bytes());
    }
    let mut frame = u32::try_from(body.len())?.to_be_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

/// Reads an answer without its length.
fn sum(answer: &[u8], partitions: usize) -> Result<u64> {
    let mut rest = answer;
    // The correlation id, and that there is one topic.
    take::<4>(&mut rest)?;
    take::<4>(&mut rest)?;
    let name = u16::from_be_bytes(take(&mut rest)?);
    rest = rest.get(usize::from(name)..).context("a cut answer")?;
    let count = i32::from_be_bytes(take(&mut rest)?);
    ensure!(
        usize::try_from(count) == Ok(partitions),
        "an answer for {count} partitions"
    );
    let mut sum = 0_u64;
    for _ in 0..count {
        let partition = i32::from_be_bytes(take(&mut rest)?);
        let error = i16::from_be_bytes(take(&mut rest)?);
        ensure!(error == 0, "partition {partition} has error {error}");
        take::<8>(&mut rest)?;
        let offset = u64::try_from(i64::from_be_bytes(take(&mut rest)?)).context("a negative offset")?;
        sum = sum
            .checked_add(offset)
            .context("more records than there can be")?;
    }
    Ok(sum)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, left) = rest.split_first_chunk().context("a cut answer")?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answer(partitions: &[(i16, i64)]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 1, b't'];
        bytes.extend((partitions.len() as i32).to_be_bytes());
        for (index, (error, offset)) in partitions.iter().enumerate() {
            bytes.extend((index as i32).to_be_bytes());
            bytes.extend(error.to_be_bytes());
            bytes.extend((-1_i64).to_be_bytes());
            bytes.extend(offset.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn offsets_are_summed() {
        assert_eq!(sum(&answer(&[(0, 40), (0, 2)]), 2).unwrap(), 42);
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let whole = answer(&[(0, 40), (0, 2)]);
        for (bytes, why) in [
            (answer(&[(0, 40), (6, -1)]), "error 6"),
            (answer(&[(0, 40)]), "1 partitions"),
            (answer(&[(0, 40), (0, -1)]), "negative"),
        ] {
            let error = sum(&bytes, 2).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for cut in 0..whole.len() {
            assert!(sum(&whole[..cut], 2).is_err(), "{cut}");
        }
    }

    #[test]
    fn all_partitions_are_asked_when_the_last_one_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let replies = [
            vec![(3, 0)],
            vec![(0, 0)],
            vec![(0, 0), (3, 0)],
            vec![(0, 0)],
            vec![(0, 0); 2],
        ];
        let broker = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for reply in replies {
                let asked = request("t", 0..reply.len() as u16, LATEST).unwrap();
                let mut frame = vec![0; asked.len()];
                stream.read_exact(&mut frame).unwrap();
                let reply = answer(&reply);
                stream.write_all(&(reply.len() as u32).to_be_bytes()).unwrap();
                stream.write_all(&reply).unwrap();
            }
        });
        let mut looking = Looking::new(&address, "t", 2).unwrap();
        for expected in [false, false, true] {
            assert_eq!(looking.look().is_ok(), expected);
        }
        broker.join().unwrap();
    }

    #[test]
    fn the_request_names_every_partition() {
        let frame = request("ab", 0..2, LATEST).unwrap();
        assert_eq!(frame.len(), 4 + 10 + 4 + 4 + 2 + 2 + 4 + 2 * 12);
        assert_eq!(frame[..4], ((frame.len() - 4) as u32).to_be_bytes());
        assert!(frame.ends_with(&[0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255]));
    }
}
