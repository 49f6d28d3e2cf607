//! Finding, reading and checking the file.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    config::suggest,
    job::settings::{Free, MINIMUM_BUDGET, PoolEncryption, PoolSettings, Settings, SourceSettings},
    unit::{Binary, ByteCount},
};

/// The environment variable that names the file.
pub const VARIABLE: &str = "TAPEVAULT_CONFIG";
/// Looked for in the current folder.
const LOCAL: &str = "tapevault.toml";
/// Looked for last.
const SYSTEM: &str = "/etc/tapevault/tapevault.toml";
/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// A config that passed every check.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Where it was found.
    pub path: PathBuf,
    /// What it says, with paths made absolute.
    pub settings: Settings,
}

/// What is wrong with the config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none.
    #[error("no config: neither ./{LOCAL} nor {SYSTEM} is there")]
    Missing,
    /// The one in the current folder might be somebody else's.
    #[error("{} is not trusted: {why}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// It is not TOML, or says something unknown.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what, in the parser's words.
        message: String,
        /// A name that may have been meant.
        suggestion: Option<String>,
    },
    /// A value breaks a rule.
    #[error("{}: {key} {rule}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which one, `jobs.nightly.pool`.
        key: String,
        /// The rule.
        rule: String,
        /// A name that may have been meant.
        suggestion: Option<String>,
    },
}

/// Which file to read: the one that was named, or the first that is there.
///
/// # Errors
///
/// When there is none, or the one in the current folder could have been put there by others.
pub fn locate(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let local = Path::new(LOCAL);
    if let Ok(found) = fs::metadata(local) {
        let path = local.to_owned();
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(ConfigError::Untrusted { path, why: "it belongs to another user" });
        }
        if found.mode() & OTHERS_WRITE != 0 {
            return Err(ConfigError::Untrusted { path, why: "others can write it" });
        }
        return Ok(path);
    }
    if Path::new(SYSTEM).exists() {
        return Ok(SYSTEM.into());
    }
    Err(ConfigError::Missing)
}

/// Reads and checks the file.
///
/// # Errors
///
/// When it cannot be read, or any of it is not understood.
pub fn read(path: &Path) -> Result<Loaded, ConfigError> {
    let at = |cause| ConfigError::Read { path: path.to_owned(), cause };
    let path_absolute = std::path::absolute(path).map_err(at)?;
    let text = fs::read_to_string(path).map_err(at)?;
    let mut settings: Settings = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        suggestion: suggest::for_message(error.message()),
        message: error.to_string().trim_end().to_owned(),
    })?;
    let folder = path_absolute.parent().unwrap_or(Path::new("/"));
    make_absolute(&mut settings, folder);
    check(&settings).map_err(|(key, rule, suggestion)| ConfigError::Value {
        path: path.to_owned(),
        key,
        rule,
        suggestion,
    })?;
    Ok(Loaded { path: path_absolute, settings })
}

fn make_absolute(settings: &mut Settings, folder: &Path) {
    let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
    resolve(&mut settings.catalog.path);
    resolve(&mut settings.staging.dir);
    if let Some(emulator) = &mut settings.emulator {
        resolve(&mut emulator.dir);
    }
    if let Some(keys) = &mut settings.keys {
        resolve(&mut keys.file);
        keys.identity.iter_mut().chain(&mut keys.passphrase_file).for_each(resolve);
    }
    for source in settings.sources.values_mut() {
        match source {
            SourceSettings::Directory(directory) => resolve(&mut directory.path),
            SourceSettings::S3(_) => {}
        }
    }
}

type Broken = (String, String, Option<String>);

fn broken<T>(key: impl Into<String>, rule: impl Into<String>) -> Result<T, Broken> {
    Err((key.into(), rule.into(), None))
}

fn check(settings: &Settings) -> Result<(), Broken> {
    let minimum = MINIMUM_BUDGET / settings.scale();
    if settings.staging.budget < ByteCount(minimum) {
        return broken(
            "staging.budget",
            format!(
                "is {}, but must be at least {}",
                Binary(settings.staging.budget.0),
                Binary(minimum)
            ),
        );
    }
    check_devices(settings)?;
    for (name, pool) in &settings.pools {
        let block = pool.block_size.0;
        if !block.is_power_of_two() || !(64 << 10..=1 << 20).contains(&block) {
            return broken(
                format!("pools.{name}.block_size"),
                "must be a power of two from 64 KiB to 1 MiB",
            );
        }
    }
    check_keys(settings)?;
    check_jobs(settings)?;
    for (name, source) in &settings.sources {
        let SourceSettings::S3(s3) = source else { continue };
        if s3.profile.is_some() == s3.key_variables.is_some() {
            return broken(
                format!("sources.{name}"),
                "needs either profile or key_variables, so that no other credentials are used by \
                 accident",
            );
        }
        if !(1..=256).contains(&s3.concurrency) {
            return broken(format!("sources.{name}.concurrency"), "must be from 1 to 256");
        }
    }
    Ok(())
}

fn check_devices(settings: &Settings) -> Result<(), Broken> {
    let mut devices = BTreeSet::new();
    let emulated_changer =
        settings.library.as_ref().is_some_and(|library| library.changer == "emulated");
    if emulated_changer && settings.emulator.is_none() {
        return broken("library.changer", "is emulated, but there is no [emulator]");
    }
    for (name, drive) in &settings.drives {
        let key = format!("drives.{name}.device");
        if !devices.insert(&drive.device) {
            return broken(key, "is the device of another drive, too");
        }
        if let Some(number) = drive.device.strip_prefix("emulated:") {
            if number.parse::<u16>().is_err() {
                return broken(key, "must be emulated:0, emulated:1, …");
            }
            if settings.emulator.is_none() {
                return broken(key, "is emulated, but there is no [emulator]");
            }
        } else if !drive.device.starts_with('/') {
            return broken(key, "must be a path such as /dev/nst0, or emulated:0");
        }
    }
    Ok(())
}

fn check_keys(settings: &Settings) -> Result<(), Broken> {
    let Some(keys) = &settings.keys else {
        let encrypted = |pool: &&PoolSettings| pool.encryption != PoolEncryption::Off;
        return match settings.pools.iter().find(|(_, pool)| encrypted(pool)) {
            Some((name, _)) => broken(
                format!("pools.{name}.encryption"),
                "wants keys, but there is no [keys] that says where they are",
            ),
            None => Ok(()),
        };
    };
    if keys.identity.is_some() && keys.passphrase_file.is_some() {
        return broken("keys.passphrase_file", "stands beside keys.identity; only one can be");
    }
    if keys.identity.is_none() && !keys.recipients.is_empty() {
        return broken("keys.recipients", "only go with keys.identity, as age has it");
    }
    Ok(())
}

fn check_jobs(settings: &Settings) -> Result<(), Broken> {
    for (name, job) in &settings.jobs {
        if !settings.pools.contains_key(&job.pool) {
            let names = settings.pools.keys().map(|pool| pool.as_str());
            let suggestion = suggest::nearest(job.pool.as_str(), names);
            let rule = format!("names the pool {}, which is not there", job.pool);
            return Err((format!("jobs.{name}.pool"), rule, suggestion));
        }
        for source in &job.sources {
            if !settings.sources.contains_key(source) {
                let names = settings.sources.keys().map(|source| source.as_str());
                let suggestion = suggest::nearest(source.as_str(), names);
                let rule = format!("names the source {source}, which is not there");
                return Err((format!("jobs.{name}.sources"), rule, suggestion));
            }
        }
        if job.sources.is_empty() {
            return broken(format!("jobs.{name}.sources"), "must name at least one source");
        }
        if !(1..=4).contains(&job.copies) {
            return broken(format!("jobs.{name}.copies"), "must be from 1 to 4");
        }
        if settings.staging.free == Free::Verified && !job.verify {
            return broken(
                format!("jobs.{name}.verify"),
                "must be true while staging.free is \"verified\", or nothing would ever be freed",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{commented, rehearsal};

    fn read_text(text: &str) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tapevault.toml");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = rehearsal(Path::new("/usr/share/doc"));
        let loaded = read_text(&text).unwrap();
        assert!(loaded.settings.catalog.rehearsal);
        read_text(commented()).unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let good = rehearsal(Path::new("/usr/share/doc"));
        for (from, to, expected) in [
            ("budget", "buget", "unknown field `buget`"),
            ("2 GiB", "63 MiB", "staging.budget is 63 MiB, but must be at least 64 MiB"),
            ("2 GiB", "lots", "\"lots\" is not an amount of data"),
            ("pool = \"rehearsal\"", "pool = \"rehersal\"", "names the pool rehersal"),
            ("emulated:0", "nst0", "must be a path such as /dev/nst0"),
            ("type = \"directory\"", "type = \"dir\"", "unknown variant `dir`"),
            ("ring =", "free = \"verify\"\nring =", "unknown variant `verify`, expected `flushed`"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = read_text(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(expected), "{from} → {to}: {error}");
        }
        let late = good.replacen("ring =", "free = \"verified\"\nring =", 1);
        assert_eq!(read_text(&late).unwrap().settings.staging.free, Free::Verified);
        let error = read_text(&format!("{late}verify = false\n")).unwrap_err();
        assert!(error.to_string().contains("jobs.rehearsal.verify must be true"), "{error}");
        let real = good.replace("rehearsal = true", "rehearsal = false");
        let error = read_text(&real.replacen("2 GiB", "1 GiB", 1)).unwrap_err();
        assert!(error.to_string().contains("must be at least 2 GiB"), "{error}");
        let error = read_text(&good.replacen("budget", "buget", 1)).unwrap_err();
        let ConfigError::Syntax { suggestion, .. } = error else { panic!("{error}") };
        assert_eq!(suggestion.as_deref(), Some("budget"));
    }
}
