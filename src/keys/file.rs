//! The key file: JSON, encrypted with age.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    iter,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use age::{Decryptor, Encryptor, Identity, Recipient, scrypt, secrecy::SecretString, x25519};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    clock::Timestamp,
    ident::{PoolName, Volser},
    keys::{
        secret::{DataKey, KeyId},
        settings::KeySettings,
        words::check_words,
    },
    printable::Printable,
};

const FORMAT: u32 = 1;
/// The longest file that is read, in bytes: some thousands of keys.
const FILE_MAX: u64 = 16 << 20;
/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// Why a key cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no key file.
    #[error("there is no key file {}", Printable::from(path.as_path()))]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file does not open with what the config names, or what was typed.
    #[error("key file {} does not open: {why}", Printable::from(path.as_path()))]
    Locked {
        /// The file.
        path: PathBuf,
        /// What was tried.
        why: &'static str,
    },
    /// Others can read what must be secret.
    #[error("{} can be read by others", Printable::from(path.as_path()))]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{} is not {what}", Printable::from(path.as_path()))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The system refuses.
    #[error("cannot {operation} {}", Printable::from(path.as_path()))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No such key is in the file.
    #[error("key {id} is not in {}", Printable::from(path.as_path()))]
    Unknown {
        /// Which.
        id: KeyId,
        /// The file.
        path: PathBuf,
    },
    /// No key was made for this pool or volume.
    #[error("there is no key for {owner}")]
    None {
        /// For what.
        owner: Owner,
    },
    /// There is a key, and nobody has shown that it is on paper.
    #[error("key {id} was not proven to be on paper")]
    Unproven {
        /// Which.
        id: KeyId,
    },
    /// What was typed is not what stands on paper.
    #[error("these are not the check words of key {id}")]
    Words {
        /// Of which key.
        id: KeyId,
    },
}

/// What a key is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Every volume of a pool that is labelled while it is the newest.
    Pool(PoolName),
    /// One volume.
    Volume(PoolName, Volser),
}

/// A key with what is known of it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    key: DataKey,
    /// What it is for.
    pub owner: Owner,
    /// When it was made, or typed in.
    pub made: Timestamp,
    /// When somebody showed that it is on paper.
    pub proven: Option<Timestamp>,
}

/// All keys, from the file, with what opens it.
pub struct KeyRing {
    path: PathBuf,
    lock: Lock,
    keys: Vec<StoredKey>,
}

/// What opens the file and closes it again.
enum Lock {
    Passphrase(SecretString),
    Identity(x25519::Identity, Vec<x25519::Recipient>),
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    keys: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: KeyId,
    key: String,
    owner: Owner,
    made: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proven: Option<Timestamp>,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl StoredKey {
    /// A key that nobody has proven.
    pub fn new(key: DataKey, owner: Owner, made: Timestamp) -> Self {
        Self { key, owner, made, proven: None }
    }

    /// The same key, known to be on paper since `when`.
    #[must_use]
    pub fn on_paper(self, when: Timestamp) -> Self {
        Self { proven: Some(when), ..self }
    }

    /// The key.
    pub fn key(&self) -> &DataKey {
        &self.key
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.key.id()
    }
}

impl KeyRing {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not open.
    pub fn open(settings: &KeySettings) -> Result<Self, KeyError> {
        let path = settings.file.clone();
        let sealed = match read(&path, FILE_MAX) {
            Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(KeyError::Missing { path });
            }
            other => other?,
        };
        let lock = Lock::of(settings, "Passphrase of the key file")?;
        let opened = lock.open(&path, &sealed)?;
        let stored: Stored = serde_json::from_slice(&opened)
            .map_err(|_| KeyError::Damaged { path: path.clone(), what: "a key file" })?;
        let damaged =
            || KeyError::Damaged { path: path.clone(), what: "a key file of this version" };
        if stored.format != FORMAT {
            return Err(damaged());
        }
        let mut keys = Vec::with_capacity(stored.keys.len());
        for row in &stored.keys {
            let key = DataKey::from_hex(&row.key).filter(|key| key.id() == row.id);
            let key = key.ok_or_else(damaged)?;
            keys.push(StoredKey {
                key,
                owner: row.owner.clone(),
                made: row.made,
                proven: row.proven,
            });
        }
        Ok(Self { path, lock, keys })
    }

    /// Opens the file, or makes an empty ring when there is none.
    ///
    /// # Errors
    ///
    /// When it is there and does not open.
    pub fn open_or_new(settings: &KeySettings) -> Result<Self, KeyError> {
        match Self::open(settings) {
            Err(KeyError::Missing { path }) => {
                let lock = Lock::of(settings, "New passphrase for the key file")?;
                if let (Lock::Passphrase(first), true) = (&lock, asks(settings)) {
                    let Lock::Passphrase(again) = Lock::of(settings, "The same once more")? else {
                        unreachable!("the settings are the same");
                    };
                    if age::secrecy::ExposeSecret::expose_secret(first)
                        != age::secrecy::ExposeSecret::expose_secret(&again)
                    {
                        let why = "the two passphrases differ";
                        return Err(KeyError::Locked { path, why });
                    }
                }
                Ok(Self { path, lock, keys: Vec::new() })
            }
            other => other,
        }
    }

    /// All keys, the oldest first.
    pub fn keys(&self) -> &[StoredKey] {
        &self.keys
    }

    /// The key with this id.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn get(&self, id: KeyId) -> Result<&StoredKey, KeyError> {
        let found = self.keys.iter().find(|key| key.id() == id);
        found.ok_or_else(|| KeyError::Unknown { id, path: self.path.clone() })
    }

    /// The key for a volume that is about to be labelled: the newest of this owner that was proven.
    ///
    /// # Errors
    ///
    /// When there is none, or none was proven.
    pub fn for_label(&self, owner: &Owner) -> Result<&StoredKey, KeyError> {
        let mut newest = None;
        for key in self.keys.iter().rev().filter(|key| key.owner == *owner) {
            if key.proven.is_some() {
                return Ok(key);
            }
            newest = newest.or(Some(key.id()));
        }
        Err(match newest {
            Some(id) => KeyError::Unproven { id },
            None => KeyError::None { owner: owner.clone() },
        })
    }

    /// Adds a key, and writes the file. Of one that is there already, at most the proof is new.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; the key is not used then.
    pub fn add(&mut self, key: StoredKey) -> Result<KeyId, KeyError> {
        let id = key.id();
        match self.keys.iter_mut().find(|known| known.id() == id) {
            Some(known) => known.proven = known.proven.or(key.proven),
            None => self.keys.push(key),
        }
        self.save()?;
        Ok(id)
    }

    /// Notes that a key is on paper, if these are the words that stand there.
    ///
    /// # Errors
    ///
    /// When they are not, or there is no such key.
    pub fn prove(&mut self, id: KeyId, words: &str, now: Timestamp) -> Result<(), KeyError> {
        let known = self.get(id)?;
        let typed: Vec<String> = words.split_whitespace().map(str::to_ascii_lowercase).collect();
        if typed != check_words(known.key()) {
            return Err(KeyError::Words { id });
        }
        if let Some(key) = self.keys.iter_mut().find(|key| key.id() == id) {
            key.proven = Some(now);
        }
        self.save()
    }

    /// Puts the file in its place at once: whole or not at all.
    fn save(&self) -> Result<(), KeyError> {
        let rows = self.keys.iter().map(|stored| Row {
            id: stored.id(),
            key: stored.key.hex().to_string(),
            owner: stored.owner.clone(),
            made: stored.made,
            proven: stored.proven,
        });
        let stored = Stored { format: FORMAT, keys: rows.collect() };
        let mut text = Zeroizing::new(Vec::with_capacity(256 * (self.keys.len() + 1)));
        serde_json::to_writer_pretty(&mut *text, &stored).expect("keys are JSON");
        let failed = |operation| {
            let path = self.path.clone();
            move |source| KeyError::Io { operation, path, source }
        };
        let sealed = self.lock.close(&text).map_err(failed("encrypt"))?;
        let fresh = self.path.with_extension("age-new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("replace")(error));
            }
            Ok(()) | Err(_) => {}
        }
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        write_private(&fresh, &sealed)
            .and_then(|()| fs::rename(&fresh, &self.path))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(failed("write"))
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("path", &self.path).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pool(pool) => write!(f, "pool {pool}"),
            Self::Volume(pool, volser) => write!(f, "volume {volser} of pool {pool}"),
        }
    }
}

fn asks(settings: &KeySettings) -> bool {
    settings.identity.is_none() && settings.passphrase_file.is_none()
}

impl Lock {
    fn of(settings: &KeySettings, question: &str) -> Result<Self, KeyError> {
        if let Some(path) = &settings.identity {
            let text = private_text(path)?;
            let mut lines = text.lines().filter(|line| line.starts_with("AGE-SECRET-KEY-1"));
            let identity = lines.next().and_then(|line| line.trim().parse().ok());
            let what = "a file with an age identity (AGE-SECRET-KEY-1…)";
            let identity: x25519::Identity =
                identity.ok_or_else(|| KeyError::Damaged { path: path.clone(), what })?;
            let mut recipients = vec![identity.to_public()];
            for recipient in &settings.recipients {
                let path = settings.file.clone();
                let why = "keys.recipients has one that is no age recipient (age1…)";
                let parsed = recipient.parse().map_err(|_| KeyError::Locked { path, why })?;
                recipients.push(parsed);
            }
            return Ok(Self::Identity(identity, recipients));
        }
        let passphrase = match (&settings.passphrase_file, settings.ask) {
            (Some(path), _) => {
                let text = private_text(path)?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            (None, Some(ask)) => {
                let question = format!("{question} {}", settings.file.display());
                ask(&question).map_err(|source| KeyError::Io {
                    operation: "ask for the passphrase of",
                    path: settings.file.clone(),
                    source,
                })?
            }
            (None, None) => Zeroizing::default(),
        };
        if passphrase.is_empty() {
            let why =
                "it needs keys.identity, keys.passphrase_file, or somebody to type a passphrase";
            return Err(KeyError::Locked { path: settings.file.clone(), why });
        }
        Ok(Self::Passphrase(SecretString::from(passphrase.to_string())))
    }

    fn open(&self, path: &Path, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let locked = |why| KeyError::Locked { path: path.to_owned(), why };
        let decryptor = Decryptor::new(sealed)
            .map_err(|_| KeyError::Damaged { path: path.to_owned(), what: "an age file" })?;
        let scrypt;
        let (identity, why): (&dyn Identity, _) = match self {
            Self::Passphrase(passphrase) => {
                scrypt = scrypt::Identity::new(passphrase.clone());
                (&scrypt, "the passphrase is wrong, or it was made for an identity")
            }
            Self::Identity(identity, _) => (identity, "it was not made for this identity"),
        };
        let mut reader = decryptor.decrypt(iter::once(identity)).map_err(|_| locked(why))?;
        let mut text = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut text).map_err(|_| locked("it is damaged"))?;
        Ok(text)
    }

    fn close(&self, text: &[u8]) -> io::Result<Vec<u8>> {
        let scrypt;
        let recipients: Vec<&dyn Recipient> = match self {
            Self::Passphrase(passphrase) => {
                scrypt = scrypt::Recipient::new(passphrase.clone());
                vec![&scrypt]
            }
            Self::Identity(_, recipients) => {
                recipients.iter().map(|recipient| recipient as &dyn Recipient).collect()
            }
        };
        let encryptor =
            Encryptor::with_recipients(recipients.into_iter()).map_err(io::Error::other)?;
        let mut sealed = Vec::new();
        let mut writer = encryptor.wrap_output(&mut sealed)?;
        writer.write_all(text)?;
        writer.finish()?;
        Ok(sealed)
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Io { operation: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A small text file that nobody else can read.
fn private_text(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = |source| KeyError::Io { operation: "read", path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.mode();
    if mode & OTHERS != 0 {
        return Err(KeyError::Open { path: path.to_owned() });
    }
    let bytes = Zeroizing::new(read(path, 64 << 10)?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| KeyError::Damaged { path: path.to_owned(), what: "text" })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> KeySettings {
        let identity = folder.join("identity");
        let secret =
            age::secrecy::ExposeSecret::expose_secret(&x25519::Identity::generate().to_string())
                .to_owned();
        if !identity.exists() {
            write_private(&identity, format!("# made for a test\n{secret}\n").as_bytes()).unwrap();
        }
        KeySettings {
            file: folder.join("keys.age"),
            identity: Some(identity),
            passphrase_file: None,
            recipients: Vec::new(),
            ask: None,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_parts(1_800_000_000, 0)
    }

    fn pool(name: &str) -> Owner {
        Owner::Pool(name.parse().unwrap())
    }

    #[test]
    fn keys_are_kept_encrypted_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        assert!(matches!(KeyRing::open(&settings), Err(KeyError::Missing { .. })));
        let mut ring = KeyRing::open_or_new(&settings).unwrap();
        let key = DataKey::new();
        let id = ring.add(StoredKey::new(key.clone(), pool("offsite"), now())).unwrap();
        assert_eq!(fs::metadata(&settings.file).unwrap().mode() & 0o777, 0o600);
        let sealed = fs::read(&settings.file).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1"));
        let hex = key.hex();
        assert!(!sealed.windows(16).any(|window| window == &hex.as_bytes()[..16]));
        let again = KeyRing::open(&settings).unwrap();
        assert_eq!(again.get(id).unwrap().key(), &key);
        assert!(matches!(again.get(DataKey::new().id()), Err(KeyError::Unknown { .. })));
    }

    #[test]
    fn only_a_proven_key_may_begin_a_volume() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = KeyRing::open_or_new(&settings(folder.path())).unwrap();
        let owner = pool("offsite");
        assert!(matches!(ring.for_label(&owner), Err(KeyError::None { .. })));
        let first = StoredKey::new(DataKey::new(), owner.clone(), now());
        let words = check_words(first.key()).join(" ");
        let id = ring.add(first).unwrap();
        assert!(matches!(ring.for_label(&owner), Err(KeyError::Unproven { .. })));
        assert!(matches!(
            ring.prove(id, "four other words here", now()),
            Err(KeyError::Words { .. })
        ));
        ring.prove(id, &words.to_uppercase(), now()).unwrap();
        assert_eq!(ring.for_label(&owner).unwrap().id(), id);
        // A newer one counts from its own proof on.
        let second = StoredKey::new(DataKey::new(), owner.clone(), now());
        let words = check_words(second.key()).join(" ");
        let newer = ring.add(second).unwrap();
        assert_eq!(ring.for_label(&owner).unwrap().id(), id);
        ring.prove(newer, &words, now()).unwrap();
        assert_eq!(ring.for_label(&owner).unwrap().id(), newer);
        assert!(matches!(ring.for_label(&pool("other")), Err(KeyError::None { .. })));
    }

    #[test]
    fn what_opens_the_file_must_be_right_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let with_identity = settings(folder.path());
        let mut ring = KeyRing::open_or_new(&with_identity).unwrap();
        ring.add(StoredKey::new(DataKey::new(), pool("offsite"), now())).unwrap();
        let passphrase = folder.path().join("passphrase");
        write_private(&passphrase, b"correct horse\n").unwrap();
        let with_passphrase = KeySettings {
            identity: None,
            passphrase_file: Some(passphrase.clone()),
            ..with_identity.clone()
        };
        assert!(matches!(KeyRing::open(&with_passphrase), Err(KeyError::Locked { .. })));
        let nobody = KeySettings { passphrase_file: None, ..with_passphrase.clone() };
        assert!(matches!(KeyRing::open(&nobody), Err(KeyError::Locked { .. })));
        fs::remove_file(&with_identity.file).unwrap();
        let mut ring = KeyRing::open_or_new(&with_passphrase).unwrap();
        let id = ring.add(StoredKey::new(DataKey::new(), pool("offsite"), now())).unwrap();
        assert!(KeyRing::open(&with_passphrase).unwrap().get(id).is_ok());
        assert!(matches!(KeyRing::open(&with_identity), Err(KeyError::Locked { .. })));
        let mut mode = fs::metadata(&passphrase).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o640);
        fs::set_permissions(&passphrase, mode).unwrap();
        assert!(matches!(KeyRing::open(&with_passphrase), Err(KeyError::Open { .. })));
    }
}
