//! Block protection and keys: what a label says of them, done to the drive.

use crate::{
    drive::{BlockKey, DriveError, Encryption, NamedKey, Protection, Safeguards},
    ident::{PoolName, Volser},
    job::{
        JobError,
        rig::Station,
        settings::{BlockProtection, PoolEncryption, PoolSettings},
    },
    keys::{DataKey, KeyError, KeyId, KeyRing, KeySettings, Owner},
    volume::label::{self, Label},
};

/// The key file, opened when a key is first wanted.
#[derive(Debug)]
pub(in crate::job) struct Keys {
    settings: Option<KeySettings>,
    ring: Option<KeyRing>,
}

impl Keys {
    pub(super) fn new(settings: Option<KeySettings>) -> Self {
        Self { settings, ring: None }
    }

    /// `None` when the config names no key file.
    fn ring(&mut self) -> Result<Option<&KeyRing>, KeyError> {
        if let (None, Some(settings)) = (&self.ring, &self.settings) {
            self.ring = Some(KeyRing::open(settings)?);
        }
        Ok(self.ring.as_ref())
    }
}

impl Station {
    /// Sets in the drive what the label of the cartridge in it says: block protection by the best
    /// method that the drive has, and the key. The label itself is read without either.
    ///
    /// # Errors
    ///
    /// [`JobError::Key`] when the key is not at hand; when the drive takes none, or fails.
    pub fn open_up(&mut self, label: &Label) -> Result<(), JobError> {
        let failed =
            |cause| JobError::Drive { drive: self.name.clone(), volser: Some(label.volser), cause };
        let protection = match &label.block_protection {
            Some(_) => self.drive.protection_methods().map_err(&failed)?.first().copied(),
            None => None,
        };
        let Some(encryption) = &label.encryption else {
            return self.drive.safeguard(&Safeguards { protection, key: None }).map_err(failed);
        };
        let cartridge = label.volser.to_string();
        if encryption.method != label::IN_DRIVE {
            return Err(JobError::Cartridge {
                cartridge,
                what: format!("it is encrypted by a method {:?}", encryption.method),
                advice: "a newer program may know that method".into(),
                cause: None,
            });
        }
        let id: KeyId = encryption.key_id.parse().map_err(|cause| JobError::Cartridge {
            cartridge,
            what: "its label names a key that is none of ours".into(),
            advice: "load the key with another program, and read it with stock tools".into(),
            cause: Some(Box::new(cause)),
        })?;
        self.set_key(id, protection, Some(label.volser))
    }

    /// The same for a cartridge whose label cannot be read, by what stands beside the block that
    /// comes next.
    ///
    /// # Errors
    ///
    /// As [`Station::open_up`].
    pub(in crate::job) fn open_up_by_block(&mut self) -> Result<(), JobError> {
        let name = match self.drive.next_block_key().map_err(self.failed(None))? {
            BlockKey::Other { name: Some(name) } => name,
            BlockKey::Other { name: None }
            | BlockKey::Clear
            | BlockKey::Ours { .. }
            | BlockKey::NoBlock
            | BlockKey::NotTold => return Ok(()),
        };
        match name.parse() {
            Ok(id) => self.set_key(id, None, None),
            Err(_) => Ok(()),
        }
    }

    fn set_key(
        &mut self,
        id: KeyId,
        protection: Option<Protection>,
        volser: Option<Volser>,
    ) -> Result<(), JobError> {
        let key = self.key(id, volser)?;
        let name = id.to_string();
        let key = NamedKey { name: &name, key: key.bytes() };
        self.drive
            .safeguard(&Safeguards { protection, key: Some(key) })
            .map_err(|cause| JobError::Drive { drive: self.name.clone(), volser, cause })
    }

    fn key(&mut self, id: KeyId, volser: Option<Volser>) -> Result<DataKey, JobError> {
        let what = match volser {
            Some(volser) => format!("{volser} needs key {id}, which is not at hand"),
            None => format!("the cartridge in {} needs key {id}, which is not at hand", self.name),
        };
        let found = match self.keys.ring() {
            Ok(None) => return Err(JobError::Key { what, cause: None }),
            Ok(Some(ring)) => ring.get(id).map(|stored| stored.key().clone()),
            Err(cause) => Err(cause),
        };
        found.map_err(|cause| JobError::Key { what, cause: Some(cause) })
    }

    /// How blocks of a volume that is about to be labelled are to be protected, as its label says
    /// it.
    ///
    /// # Errors
    ///
    /// When the pool wants protection and the drive has none.
    pub(in crate::job) fn protection_for(
        &mut self,
        settings: &PoolSettings,
    ) -> Result<Option<String>, JobError> {
        let wanted = settings.block_protection;
        if wanted == BlockProtection::Off {
            return Ok(None);
        }
        let methods = self.drive.protection_methods().map_err(self.failed(None))?;
        match methods.first() {
            Some(method) => Ok(Some(method.name().to_owned())),
            None if wanted == BlockProtection::Auto => Ok(None),
            None => Err(JobError::Request {
                what: format!("{} has no block protection, and the pool requires it", self.name),
                advice: Some(
                    "use a drive from LTO-5 on, or set the pool's block_protection to auto".into(),
                ),
            }),
        }
    }

    /// How a volume that is about to be labelled is to be encrypted, as its label says it. Its key
    /// was proven to be on paper.
    ///
    /// # Errors
    ///
    /// [`JobError::Key`] when there is no such key; when the drive takes none.
    pub(in crate::job) fn encryption_for(
        &mut self,
        (pool, volser): (&PoolName, Volser),
        settings: &PoolSettings,
    ) -> Result<Option<label::Encryption>, JobError> {
        let owner = match settings.encryption {
            PoolEncryption::Off => return Ok(None),
            PoolEncryption::PoolKey => Owner::Pool(pool.clone()),
            PoolEncryption::VolumeKey => Owner::Volume(pool.clone(), volser),
        };
        match self.drive.encryption().map_err(self.failed(None))? {
            Encryption::Ready { .. } => {}
            Encryption::Absent => return Err(self.takes_no_key("it cannot encrypt")),
            Encryption::Managed => {
                let what = "its keys come from the library or from its own panel";
                return Err(self.takes_no_key(what));
            }
        }
        let what = format!("no volume of pool {pool} is begun before its key is on paper");
        let found = match self.keys.ring() {
            Ok(None) => return Err(JobError::Key { what, cause: None }),
            Ok(Some(ring)) => ring.for_label(&owner).map(|stored| stored.id()),
            Err(cause) => Err(cause),
        };
        let id = found.map_err(|cause| JobError::Key { what, cause: Some(cause) })?;
        let method = label::IN_DRIVE.to_owned();
        Ok(Some(label::Encryption { method, key_id: id.to_string() }))
    }

    fn takes_no_key(&self, why: &str) -> JobError {
        JobError::Request {
            what: format!("{} takes no key: {why}", self.name),
            advice: Some(
                "set the library to application-managed encryption, use another drive, or turn \
                 the pool's encryption off"
                    .into(),
            ),
        }
    }

    /// What is wrong with the encryption of the block that comes next, if anything is.
    ///
    /// # Errors
    ///
    /// When the drive fails.
    pub(in crate::job) fn wrongly_encrypted(&mut self) -> Result<Option<String>, DriveError> {
        let Some(ours) = self.drive.key_name().map(str::to_owned) else { return Ok(None) };
        Ok(match self.drive.next_block_key()? {
            BlockKey::Ours { name: None } | BlockKey::NotTold => None,
            BlockKey::Ours { name: Some(name) } => (name != ours)
                .then(|| format!("is encrypted with key {ours} and bears the name {name:?}")),
            BlockKey::Clear => Some(format!("is not encrypted, and should be with key {ours}")),
            BlockKey::Other { name } => {
                let name = name.unwrap_or_else(|| "without a name".into());
                Some(format!("is encrypted with key {name:?}, not with {ours}"))
            }
            BlockKey::NoBlock => Some("is no block".to_owned()),
        })
    }
}
