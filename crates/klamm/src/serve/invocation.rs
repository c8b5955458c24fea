//! How this program is called from a shell: `klamm` where the search path leads to it, its path where it does not.
//!
//! Always holds: what is returned can be pasted into a POSIX shell, whatever the path is made of.

use std::env;
use std::path::{Path, PathBuf};

/// The name that the search path may know.
const NAME: &str = "klamm";

/// How to call the program that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    /// What to type.
    pub(super) command: String,
    /// The folder that it has to be typed in; `None` where any will do.
    pub(super) folder: Option<PathBuf>,
}

impl Invocation {
    /// How to call the process's own program.
    pub(super) fn of_this_process() -> Self {
        let by_name = Self {
            command: NAME.to_owned(),
            folder: None,
        };
        // A system that does not say where the program is leaves the name that it should have.
        let Ok(program) = env::current_exe() else {
            return by_name;
        };
        let path = env::var_os("PATH").unwrap_or_default();
        match found(env::split_paths(&path)) {
            Some(found) if is_same(&found, &program) => by_name,
            _ => Self::by_path(&program, env::current_dir().ok()),
        }
    }

    /// How to call `program` from `here`: by the shorter of its paths.
    fn by_path(program: &Path, here: Option<PathBuf>) -> Self {
        let below = here.as_deref().and_then(|here| program.strip_prefix(here).ok());
        match below {
            // A name without a slash would be looked for on the search path.
            Some(below) if below.components().count() == 1 => Self {
                command: quoted(&format!("./{}", below.display())),
                folder: here,
            },
            Some(below) => Self {
                command: quoted(&below.to_string_lossy()),
                folder: here,
            },
            None => Self {
                command: quoted(&program.to_string_lossy()),
                folder: None,
            },
        }
    }
}

/// What a shell would run for the name.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line looks for its own program"
)]
fn found(folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders
        .map(|folder| folder.join(NAME))
        .find(|candidate| candidate.is_file())
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// `text` as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_program_is_called_by_its_shorter_path() {
        let cases = [
            ("/src/target/release/klamm", "/src", "target/release/klamm", true),
            ("/src/klamm", "/src", "./klamm", true),
            ("/opt/klamm", "/src", "/opt/klamm", false),
            ("/srcs/klamm", "/src", "/srcs/klamm", false),
            ("/src/my builds/klamm", "/src", "'my builds/klamm'", true),
        ];
        for (program, here, command, is_relative) in cases {
            let seen = Invocation::by_path(Path::new(program), Some(here.into()));
            let folder = is_relative.then(|| here.into());
            let command = command.to_owned();
            assert_eq!(seen, Invocation { command, folder }, "{program} from {here}");
        }
    }

    #[test]
    fn only_the_program_that_the_search_path_leads_to_is_called_by_name() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let search = || folders.iter().map(|folder| folder.path().to_owned());
        assert_eq!(found(search()), None);
        let second = folders[1].path().join(NAME);
        std::fs::write(&second, "").unwrap();
        assert_eq!(found(search()).as_ref(), Some(&second));
        // A link is the program that it leads to; a copy is another one.
        let first = folders[0].path().join(NAME);
        std::os::unix::fs::symlink(&second, &first).unwrap();
        let found = found(search()).unwrap();
        assert_eq!(found, first);
        assert!(is_same(&found, &second));
        std::fs::remove_file(&first).unwrap();
        std::fs::write(&first, "").unwrap();
        assert!(!is_same(&first, &second));
    }

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        for word in [
            "/a/b-c_d.e",
            "",
            "a b",
            "it's",
            "$HOME `x` \"y\" \\ * ; #",
            "ä",
            "~",
        ] {
            let script = format!("printf %s {}", quoted(word));
            let printed = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), word);
        }
    }
}
