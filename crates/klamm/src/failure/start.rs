//! What to try next when a node does not start.

use std::io::ErrorKind;
use std::path::Path;

use klamm_broker::StartError;
use klamm_log::{LogError, names};

const OTHER_FOLDER: &str = "klamm serve --data DIR starts on another folder";

/// What to try after a start that failed.
pub(super) fn of_start(error: &StartError) -> String {
    match error {
        _ if error.is_newer_format() => {
            "start the version that wrote it, or a later one; klamm serve --data DIR starts on another folder"
                .to_owned()
        }
        StartError::Log(error) => of_log_dir(error),
        StartError::Full { folder, .. } => of_full(Path::new(folder)),
        StartError::Dirs(_) => {
            "klamm serve --set node.id=ID starts the node that the folder belongs to, --data DIR another folder"
                .to_owned()
        }
        StartError::Missing(_) => "findmnt shows which disks are mounted".to_owned(),
        StartError::Quorum(_) => {
            "ls -l on the folder shows its files; klamm serve --data DIR starts on another one".to_owned()
        }
        StartError::Listen { name, error, .. } => of_listener(name, error.kind()),
        StartError::Join(_) => "RUST_LOG=klamm=debug klamm serve shows what happened before".to_owned(),
    }
}

fn of_listener(name: &str, kind: ErrorKind) -> String {
    let other =
        format!("klamm serve --set listeners={name}://HOST:PORT listens elsewhere; port 0 finds a free one");
    match kind {
        ErrorKind::AddrInUse => format!("ss -ltnp shows which process listens there\n{other}"),
        ErrorKind::AddrNotAvailable => format!("ip address shows the addresses of this machine\n{other}"),
        ErrorKind::PermissionDenied => format!("ports below 1024 are not for every user\n{other}"),
        _ => other,
    }
}

fn of_log_dir(error: &LogError) -> String {
    let other = OTHER_FOLDER;
    match error {
        LogError::Locked { holder, .. } => match process(holder) {
            Some(id) => format!("kill {id} ends that process in order\n{other}"),
            None => other.to_owned(),
        },
        LogError::Io { path, source } => match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => of_full(path),
            _ => format!("ls -ld {} shows whose it is\n{other}", existing(path).display()),
        },
        LogError::NotOurs { .. }
        | LogError::NewerFormat { .. }
        | LogError::DirFailed(_)
        | LogError::Retired
        | LogError::Superseded => other.to_owned(),
        LogError::Corrupt { path, .. } => {
            let name = path.file_name().map(|name| name.to_string_lossy());
            let look = match name.and_then(|name| names::parse_file(&name)) {
                Some(_) => "klamm log dump",
                None => "cat",
            };
            format!("{look} {} shows what it holds\n{other}", path.display())
        }
    }
}

fn of_full(path: &Path) -> String {
    let folder = existing(path).display();
    format!("df -h {folder} shows the room that there is\n{OTHER_FOLDER}")
}

/// The number of the process in `klamm, process 7`.
fn process(holder: &str) -> Option<u32> {
    holder.rsplit_once("process ")?.1.trim().parse().ok()
}

/// The path, or the folder above it that there is.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line looks at its own files"
)]
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| std::fs::symlink_metadata(path).is_ok())
        .unwrap_or(path)
}
