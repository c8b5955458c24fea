//! Profiles of the command line: which cluster, under a name, in `profiles.toml`.
//!
//! ```toml
//! default = "local"            # used when nothing else says which
//!
//! [profile.local]
//! bootstrap = "127.0.0.1:9092" # or a list
//! client-id = "me"             # optional
//! output = "json"              # optional
//! ```
//!
//! Always holds: the command line wins over the environment, that over the profile. A key that is not known is an error:
//! it would otherwise be believed to act.
#![allow(clippy::disallowed_methods)] // the command line reads its own files

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use klamm_client::HostPort;
use serde::Deserialize;

use crate::failure::{Hinted, nearest};
use crate::output::Format;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Raw>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    bootstrap: Addresses,
    client_id: Option<String>,
    output: Option<Format>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Addresses {
    One(String),
    Many(Vec<String>),
}

/// What a profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) bootstrap: Vec<HostPort>,
    pub(crate) client_id: Option<String>,
    pub(crate) output: Option<Format>,
}

/// The profile of this name; without one the file's default, if there are a file and a default.
pub(crate) fn load(name: Option<&str>) -> anyhow::Result<Option<Profile>> {
    let path = path();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && name.is_none() => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Hinted::error(
                format!(
                    "there is no profile '{}': {} does not exist",
                    name.unwrap_or_default(),
                    path.display()
                ),
                "it holds, for instance:\n[profile.NAME]\nbootstrap = \"127.0.0.1:9092\"",
            ));
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    choose(&text, name, &path)
}

fn choose(text: &str, name: Option<&str>, path: &Path) -> anyhow::Result<Option<Profile>> {
    let profiles: Profiles = toml::from_str(text).with_context(|| path.display().to_string())?;
    let Some(name) = name.or(profiles.default.as_deref()) else {
        return Ok(None);
    };
    let Some(raw) = profiles.profile.get(name).cloned() else {
        let names: Vec<&str> = profiles.profile.keys().map(String::as_str).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("it has: {}", names.join(", ")),
        };
        return Err(Hinted::error(
            format!("there is no profile '{name}' in {}", path.display()),
            hint,
        ));
    };
    let bootstrap = match raw.bootstrap {
        Addresses::One(text) => text,
        Addresses::Many(texts) => texts.join(","),
    };
    let bootstrap = HostPort::parse_list(&bootstrap)
        .with_context(|| format!("profile '{name}' in {}", path.display()))?;
    Ok(Some(Profile {
        bootstrap,
        client_id: raw.client_id,
        output: raw.output,
    }))
}

/// Where profiles stand, by the XDG rules.
fn path() -> PathBuf {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    base.or_else(home)
        .unwrap_or_else(|| PathBuf::from("."))
        .join("klamm/profiles.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        default = "local"
        [profile.local]
        bootstrap = "127.0.0.1:9092"
        [profile.production]
        bootstrap = ["a:1", "b:2"]
        client-id = "ops"
        output = "json"
    "#;

    #[test]
    fn profiles_are_chosen_by_name_or_default() {
        let cases = [
            (FILE, None, Ok(Some("127.0.0.1:9092"))),
            (FILE, Some("production"), Ok(Some("a:1,b:2"))),
            (FILE, Some("productoin"), Err("there is no profile 'productoin'")),
            ("", None, Ok(None)),
            ("[profile.a]\nbootstrap = 'x:y'", Some("a"), Err("profile 'a'")),
            (
                "[profile.a]\nbootstrap = 'x:1'\nboostrap = 'y'",
                Some("a"),
                Err("p.toml"),
            ),
        ];
        for (text, name, expected) in cases {
            let seen = choose(text, name, Path::new("p.toml"));
            match (seen, expected) {
                (Ok(profile), Ok(bootstrap)) => {
                    let list = |profile: Profile| {
                        let texts: Vec<String> = profile.bootstrap.iter().map(ToString::to_string).collect();
                        texts.join(",")
                    };
                    assert_eq!(profile.map(list).as_deref(), bootstrap);
                }
                (Err(error), Err(words)) => assert!(format!("{error:#}").contains(words), "{error:#}"),
                (seen, expected) => panic!("{seen:?} is not {expected:?}"),
            }
        }
    }

    #[test]
    fn the_rest_of_a_profile_is_read() {
        let profile = choose(FILE, Some("production"), Path::new("p")).unwrap().unwrap();
        assert_eq!(
            (profile.client_id.as_deref(), profile.output),
            (Some("ops"), Some(Format::Json))
        );
    }
}
