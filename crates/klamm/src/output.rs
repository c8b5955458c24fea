//! Standard output: as a table for people, as JSON or YAML for programs.
//!
//! Always holds: all data of a command goes through here, and is on its way when the command ends; colours only on a
//! terminal.
//!
//! Next: `output/table.rs`, `output/printable.rs` for names that somebody else chose, `output/held.rs` for what is printed to a reader
//! who may keep it waiting.

mod held;
mod printable;
mod table;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anyhow::Context;
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::failure::colours;
use held::Held;

pub(crate) use printable::{argument, printable};
pub(crate) use table::{Table, or_dash};

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// What a command shows.
pub(crate) trait Show: Serialize {
    /// The tables that people see, each perhaps with a title.
    fn tables(&self) -> Vec<Table>;
}

/// Standard output.
pub(crate) struct Output {
    format: Format,
    colours: bool,
    /// Columns of the terminal; `None` when it is none, and lines may be as long as they are.
    width: Option<u16>,
    writer: Writer,
    values: usize,
}

/// Where data goes.
enum Writer {
    Stdout(BufWriter<StdoutLock<'static>>),
    Held(Held),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Held(held) => held.bytes.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Held(_) => Ok(()),
        }
    }
}

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

impl Output {
    /// The process's standard output.
    pub(crate) fn stdout(format: Format) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| width.0);
        Self {
            format,
            colours: colours(is_terminal),
            width: width.filter(|_| is_terminal),
            writer: Writer::Stdout(BufWriter::with_capacity(BUFFER_BYTES, stdout.lock())),
            values: 0,
        }
    }

    /// How data is written.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Shows a value.
    pub(crate) fn show(&mut self, value: &impl Show) -> anyhow::Result<()> {
        match self.format {
            Format::Table => {
                for (place, table) in value.tables().iter().enumerate() {
                    if place > 0 {
                        writeln!(self.writer)?;
                    }
                    table.write(&mut self.writer, self.width, self.colours)?;
                }
                Ok(())
            }
            Format::Json => {
                serde_json::to_writer_pretty(&mut self.writer, value).map_err(io::Error::from)?;
                Ok(writeln!(self.writer)?)
            }
            Format::Yaml => self.yaml(value),
        }
    }

    /// Shows one of many values: in JSON a line, in YAML a document. There is no table of them.
    pub(crate) fn show_one(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        if self.format == Format::Yaml {
            if self.values > 0 {
                writeln!(self.writer, "---")?;
            }
            self.values += 1;
            return self.yaml(value);
        }
        serde_json::to_writer(&mut self.writer, value).map_err(io::Error::from)?;
        Ok(writeln!(self.writer)?)
    }

    fn yaml(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_saphyr::to_string(value).context("cannot write YAML")?;
        self.writer.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            writeln!(self.writer)?;
        }
        Ok(())
    }

    /// Where bytes go that are not a value.
    pub(crate) fn raw(&mut self) -> &mut impl Write {
        &mut self.writer
    }

    /// Whether whoever read this has stopped, which a write would notice only when there is something to write.
    pub(crate) fn is_abandoned(&self) -> bool {
        let stdout = io::stdout();
        let mut waited = [PollFd::new(&stdout, PollFlags::empty())];
        let polled = poll(&mut waited, Some(&Timespec::default()));
        polled.is_ok() && waited[0].revents().contains(PollFlags::ERR)
    }

    /// From now on, within a runtime, what is shown is held until it is [sent](Self::send).
    pub(crate) fn hold(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        let held = Held::new().context("cannot wait for whoever reads standard output")?;
        self.writer = Writer::Held(held);
        Ok(())
    }

    /// Sends off what is held. Who gives this up, because something else has happened meanwhile, drops the rest.
    pub(crate) async fn send(&mut self) -> anyhow::Result<()> {
        match &mut self.writer {
            Writer::Stdout(stdout) => Ok(stdout.flush()?),
            Writer::Held(held) => Ok(held.send().await?),
        }
    }

    /// Sends off what was gathered.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.writer.flush()?)
    }

    /// Sends off the rest.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()
    }
}
