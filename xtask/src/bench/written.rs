//! A load, and all that goes to the device because of it.
//!
//! Always holds: nothing waits to be written when the count begins, and nothing of the load when it ends: what a broker leaves to
//! the page cache costs the device as much as what it syncs itself.

use anyhow::{Context, Result};

use super::{
    disk::{self, Counting},
    here,
    measured::Measured,
    scenario::Load,
    window::Window,
    work::Worker,
};

impl Worker<'_> {
    pub(super) fn written(&mut self, load: &Load) -> Result<Measured> {
        let (topic, driver) = self.ready(load)?;
        let (pid, folder) = (self.subject.pid()?, self.subject.log_dir()?);
        disk::settle(&folder)?;
        let counting = Counting::begin(pid, &folder)?;
        let mut measured = Window::open(pid)?.over(driver)?;
        disk::settle(&folder)?;
        measured.written = Some(counting.end()?);
        let bytes = measured.done.as_ref().and_then(|done| done.bytes);
        here::fits_quarter(bytes.context("a producer counts the bytes of its batches")?)?;
        self.finish(load, &topic, measured.done.as_ref())?;
        Ok(measured)
    }
}
