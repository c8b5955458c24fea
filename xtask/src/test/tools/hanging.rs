//! A transaction that nobody will end: it is open in its partition, and its coordinator knows nothing of it.
//!
//! Every write in a transaction is checked against its coordinator, so that no client can make such a one. Here a producer dies
//! in its transaction, and then the topic goes in which the coordinator kept it.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Tools,
    rows::{TOPICS, TRANSACTIONS},
};
use crate::{
    broker::{Broker, program},
    process,
    test::check::Checks,
};

const TOPIC: &str = "tools-hanging";
const ID: &str = "tools-hanging-id";
/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// `find-hanging`, of what has been open for any time.
const FIND: &[&str] = &["find-hanging", "--topic", TOPIC, "--max-transaction-timeout", "0"];

/// Every check of this scenario.
pub(super) fn run(tools: &Tools, broker: &Broker, checks: &mut Checks) -> Result<()> {
    let hanging = Hanging {
        tools,
        broker,
        program: program()?,
    };
    hanging.make()?;
    checks.check("what its coordinator knows does not hang", || {
        hanging.is_found(false)
    });
    hanging.forget()?;
    checks.check("find-hanging", || hanging.is_found(true));
    checks.check("abort", || hanging.abort());
    checks.check("what is aborted hangs no more", || hanging.is_found(false));
    checks.check("what follows is read", || hanging.read_on());
    Ok(())
}

struct Hanging<'a> {
    tools: &'a Tools,
    broker: &'a Broker,
    /// The command line of Klamm.
    program: PathBuf,
}

impl Hanging<'_> {
    /// A producer that dies in its transaction.
    fn make(&self) -> Result<()> {
        self.tools.tool(
            self.broker,
            TOPICS,
            &["--create", "--topic", TOPIC, "--partitions", "1"],
        )?;
        let mut producer = self.producer()?;
        let is_open = wait_for("a record in the transaction", || {
            let described = self.klamm(&format!("transaction describe {ID} -o json"))?;
            ensure!(described.contains("\"start_offset\": 0"), "{described}");
            Ok(())
        });
        producer.kill()?;
        producer.wait()?;
        is_open
    }

    fn producer(&self) -> Result<Child> {
        let mut producer = self.tools.command(
            self.broker,
            "org.apache.kafka.tools.ProducerPerformance",
            &[
                "--topic",
                TOPIC,
                "--num-records",
                "1000000",
                "--record-size",
                "10",
                "--throughput",
                "20",
                "--transactional-id",
                ID,
                "--transaction-duration-ms",
                "600000",
                "--producer-props",
                // Its coordinator does not end it before it is gone.
                "transaction.timeout.ms=600000",
            ],
        );
        process::end_with_us(&mut producer);
        producer
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run java")
    }

    /// Takes the transaction away from its coordinator.
    fn forget(&self) -> Result<()> {
        self.tools.tool(
            self.broker,
            TOPICS,
            &["--delete", "--topic", "__transaction_state"],
        )?;
        wait_for("the transactional id to be forgotten", || {
            let listed = self.klamm("transaction list -o json")?;
            ensure!(!listed.contains(ID), "{listed}");
            Ok(())
        })
    }

    /// Both tools find it, or neither does.
    fn is_found(&self, is_hanging: bool) -> Result<()> {
        let printed = self.tools.tool(self.broker, TRANSACTIONS, FIND)?;
        ensure!(printed.contains(TOPIC) == is_hanging, "{printed}");
        let printed = self.klamm(&format!("transaction find-hanging -t {TOPIC} --max-timeout 0s"))?;
        ensure!(printed.contains(TOPIC) == is_hanging, "{printed}");
        Ok(())
    }

    fn abort(&self) -> Result<()> {
        let place = ["--topic", TOPIC, "--partition", "0", "--start-offset", "0"];
        let arguments: Vec<&str> = ["abort"].into_iter().chain(place).collect();
        self.tools.tool(self.broker, TRANSACTIONS, &arguments).map(drop)
    }

    /// Who reads what is committed was kept waiting by it, and is no more.
    fn read_on(&self) -> Result<()> {
        let mut produce = self.command(&format!("produce {TOPIC}"));
        let mut child = produce
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run klamm")?;
        let mut stdin = child.stdin.take().context("standard input is piped")?;
        std::io::Write::write_all(&mut stdin, b"after\n")?;
        drop(stdin);
        ensure!(child.wait()?.success(), "nothing can be written");
        let read = self.klamm(&format!("consume {TOPIC} --from beginning --until end"))?;
        ensure!(read == "after\n", "{read}");
        Ok(())
    }

    fn klamm(&self, arguments: &str) -> Result<String> {
        process::output(&mut self.command(arguments))
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments.split(' '))
            .env("KLAMM_BOOTSTRAP", self.broker.address())
            .env_remove("KLAMM_PROFILE")
            .env_remove("RUST_LOG");
        command
    }
}

/// Asks until it is so.
fn wait_for(what: &str, is_so: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match is_so() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("waited for {what}")));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
