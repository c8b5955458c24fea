//! The calls of a simulated disk, with the answers that Linux would give.
//!
//! Always holds: a call is noted, counted and perhaps refused ([`Disk::begin`]) before it looks at anything it may change.

use std::io;
use std::path::Path;
use std::sync::Arc;

use klamm_model::TimestampMs;

use super::file::{SimFile, SimLock};
use super::{Disk, Operation, UNLIMITED_BYTES, power_is_off};
use crate::files::{DirEntry, File, Files, FolderLock, OpenMode, Space};

impl Disk {
    fn open_file(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        // Whether this makes a file decides what kind of call it is.
        let exists = self.state().names.find(path).is_ok();
        let operation = match mode {
            OpenMode::Create | OpenMode::CreateNew if !exists => Operation::Create,
            _ => Operation::Open,
        };
        let mut state = self.begin(operation, path, format_args!(" {mode:?}"))?;
        let inode = match operation {
            Operation::Create => {
                let place = state.names.place(path)?;
                // Another thread may have made it since the look above.
                match state.names.at(&place) {
                    Some(inode) if mode == OpenMode::Create => inode,
                    Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                    None => state.new_file(place, self.now()),
                }
            }
            _ if mode == OpenMode::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => state.names.find(path)?,
        };
        let is_writable = mode != OpenMode::Read;
        if is_writable && state.is_read_only {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        let handle = state.file(inode)?.handles.clone();
        Ok(SimFile::new(
            self.clone(),
            path,
            inode,
            state.generation,
            is_writable,
            handle,
        ))
    }

    fn try_lock(&self, folder: &Path, name: &str, owner: &str) -> io::Result<Result<SimLock, String>> {
        let path = folder.join(name);
        // Who it is stays out of the trace: the number of this process is another in every run.
        let mut state = self.begin(Operation::Lock, &path, format_args!(""))?;
        let place = state.names.place(&path)?;
        let inode = match state.names.at(&place) {
            Some(inode) => inode,
            None => state.new_file(place, self.now()),
        };
        let is_taken = state.locks.contains(&inode);
        let contents = &mut state.file(inode)?.contents;
        if is_taken {
            let mut text = vec![0; usize::try_from(contents.len()).unwrap_or(0)];
            contents.read(&mut text, 0);
            return Ok(Err(String::from_utf8_lossy(&text).into_owned()));
        }
        contents.set_len(0);
        contents.write(owner.as_bytes(), 0);
        state.locks.insert(inode);
        Ok(Ok(SimLock::new(self.clone(), inode, state.generation)))
    }
}

impl Files for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        for folder in path.ancestors().collect::<Vec<&Path>>().into_iter().rev() {
            let found = {
                let state = self.state();
                if state.is_down {
                    return Err(power_is_off());
                }
                state.names.find(folder).map(|inode| state.names.is_folder(inode))
            };
            match found {
                Ok(true) => continue,
                Ok(false) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => {}
            }
            let mut state = self.begin(Operation::CreateDir, folder, format_args!(""))?;
            let place = state.names.place(folder)?;
            let inode = state.new_inode();
            state.names.add_folder(place, inode);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Rename, from, format_args!(" -> {}", to.display()))?;
        let (from, to) = (state.names.place(from)?, state.names.place(to)?);
        let inode = state.names.at(&from).ok_or(io::ErrorKind::NotFound)?;
        let moves_folder = state.names.is_folder(inode);
        match state.names.at(&to) {
            Some(same) if same == inode => return Ok(()),
            Some(other) if state.names.is_folder(other) => {
                if !moves_folder {
                    return Err(io::Error::from_raw_os_error(libc::EISDIR));
                }
                if !state.names.list(other)?.is_empty() {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
            }
            Some(_) if moves_folder => return Err(io::ErrorKind::NotADirectory.into()),
            Some(_) | None => {}
        }
        state.names.rename(from, to, inode);
        state.was_removed();
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Remove, path, format_args!(""))?;
        let place = state.names.place(path)?;
        let inode = state.names.at(&place).ok_or(io::ErrorKind::NotFound)?;
        state.file(inode)?;
        state.names.remove(place);
        state.was_removed();
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        // One call for each name, as on a real disk: a crash can fall between them.
        for entry in self.read_dir(path)? {
            let below = path.join(&entry.name);
            if entry.is_dir {
                self.remove_dir_all(&below)?;
            } else {
                self.remove_file(&below)?;
            }
        }
        let mut state = self.begin(Operation::Remove, path, format_args!(""))?;
        let place = state.names.place(path)?;
        state.names.remove(place);
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.begin(Operation::List, path, format_args!(""))?;
        let names = state.names.list(state.names.find(path)?)?;
        Ok(names
            .iter()
            .map(|(name, inode)| state.dir_entry(name, *inode))
            .collect())
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        let state = self.begin(Operation::List, path, format_args!(""))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match state.names.find(path) {
            Ok(inode) => Ok(Some(state.dir_entry(&name, inode))),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        let mut state = self.begin(Operation::List, path, format_args!(" modified"))?;
        let inode = state.names.find(path)?;
        Ok(state.file(inode)?.modified)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::SyncDir, path, format_args!(""))?;
        let folder = state.names.find(path)?;
        state.names.list(folder)?;
        state.names.sync(folder);
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let mut state = self.begin(Operation::List, path, format_args!(" space"))?;
        state.names.find(path)?;
        Ok(Space {
            total_bytes: state.capacity_bytes.unwrap_or(UNLIMITED_BYTES),
            usable_bytes: state.free_bytes().unwrap_or(UNLIMITED_BYTES),
        })
    }

    fn lock(
        &self,
        folder: &Path,
        name: &str,
        owner: &str,
    ) -> Result<Box<dyn FolderLock>, Result<String, io::Error>> {
        match self.try_lock(folder, name, owner) {
            Ok(Ok(lock)) => Ok(Box::new(lock)),
            Ok(Err(holder)) => Err(Ok(holder)),
            Err(error) => Err(Err(error)),
        }
    }
}
