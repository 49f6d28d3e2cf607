//! The file: making it, opening it, its connections and its transactions.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::{
    catalog::types::Mode,
    clock::{Clock, Timestamp},
    ident::{CatalogId, RunId},
};

/// The schema that this program writes, and the only one that it reads.
pub const SCHEMA: i32 = 2;

/// Marks the file as a catalog of ours: "TVCT".
const APPLICATION: i32 = 0x5456_4354;
/// How long a call waits for another writer before it says that the catalog is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// Page cache of the writer and of each reader, in KiB.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
const READER_CACHE_KIB: i64 = 4 * 1024;
/// Readers kept open between uses.
const READERS_KEPT: usize = 4;

/// The catalog. Cheap to clone; every clone is the same catalog.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(in crate::catalog) store: Arc<Store>,
}

/// The connections behind a [`Catalog`].
#[derive(Debug)]
pub(in crate::catalog) struct Store {
    path: PathBuf,
    id: CatalogId,
    mode: Mode,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

/// Why the catalog did not answer, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is none: make one, or rebuild it from the cartridges.
    #[error("there is no catalog at {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// One is to be made where one is.
    #[error("there is something at {} already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another program.
    #[error("{} is a database, but not a catalog", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program made it, or an older one: use that one, or rebuild it.
    #[error("catalog {} has schema {found}, and this program knows {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i32,
    },
    /// Its content contradicts itself: rebuild it.
    #[error(
        "catalog {} is damaged, found at: {operation}; `tapevault catalog rebuild` makes it anew from the cartridges",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process holds it: try again later.
    #[error("catalog {} is in use by another process, tried to {operation}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
    },
    /// Its disk is full: make room, then run the same job again.
    #[error("no room left on the disk of catalog {}, tried to {operation}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
    },
    /// It cannot be read or written: permission, I/O error.
    #[error("cannot {operation} in catalog {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The call names something that the catalog does not hold.
    #[error("the catalog has no {what}")]
    Unknown {
        /// Kind and name.
        what: String,
    },
    /// The call contradicts what the catalog holds. Nothing was changed.
    #[error("refused by the catalog: {what}")]
    Conflict {
        /// The contradiction.
        what: String,
    },
    /// A run is known only as a change of another run, which is on none of the volumes that the
    /// catalog was rebuilt from.
    #[error(
        "run {run} cannot be told in full: it builds on run {base}, which no volume read so far holds"
    )]
    BaseUnknown {
        /// The run.
        run: RunId,
        /// The one that it builds on.
        base: RunId,
    },
}

/// Why a step inside a transaction failed: SQLite, or our own refusal.
#[derive(Debug)]
pub(in crate::catalog) enum Fault {
    Sql(rusqlite::Error),
    /// Stored bytes that do not decode.
    Damaged(String),
    Refused(CatalogError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<CatalogError> for Fault {
    fn from(error: CatalogError) -> Self {
        Self::Refused(error)
    }
}

impl Fault {
    pub(in crate::catalog) fn conflict(what: impl Into<String>) -> Self {
        Self::Refused(CatalogError::Conflict { what: what.into() })
    }

    pub(in crate::catalog) fn unknown(what: impl Into<String>) -> Self {
        Self::Refused(CatalogError::Unknown { what: what.into() })
    }
}

impl Catalog {
    /// Makes an empty catalog at `path` and opens it. Appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Exists`] when something is there.
    pub fn create(path: &Path, mode: Mode, clock: &dyn Clock) -> Result<Self, CatalogError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(CatalogError::Exists { path: path.to_owned() });
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let io_error = |operation| {
            let path = path.to_owned();
            move |cause: io::Error| CatalogError::Io { path, operation, cause: cause.into() }
        };
        match fs::remove_file(&unfinished) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("remove an unfinished catalog")(error)),
        }
        fill(&unfinished, mode, clock.now())
            .map_err(|error| classify(path, "make a catalog", error))?;
        crate::crash::point("catalog.create.rename");
        fs::rename(&unfinished, path).map_err(io_error("put a new catalog in place"))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("sync the folder"))?;
        Self::open(path)
    }

    /// Opens the catalog at `path`.
    ///
    /// # Errors
    ///
    /// When there is none, or it is another program's, newer than this program, damaged, or locked.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        const OPERATION: &str = "open it";
        if let Err(error) = fs::metadata(path) {
            let path = path.to_owned();
            return Err(if error.kind() == io::ErrorKind::NotFound {
                CatalogError::Missing { path }
            } else {
                CatalogError::Io { path, operation: OPERATION, cause: error.into() }
            });
        }
        let classify = |error| classify(path, OPERATION, error);
        let writer = connect(path, WRITER_CACHE_KIB).map_err(classify)?;
        let number = |pragma| writer.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
        if number("application_id").map_err(classify)? != APPLICATION {
            return Err(CatalogError::Foreign { path: path.to_owned() });
        }
        let found = number("user_version").map_err(classify)?;
        if found != SCHEMA {
            return Err(CatalogError::Schema { path: path.to_owned(), found });
        }
        let meta = |key: &str| -> Result<String, rusqlite::Error> {
            writer.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        };
        let damaged = |what: &str| CatalogError::Corrupt {
            path: path.to_owned(),
            operation: OPERATION,
            cause: what.into(),
        };
        let id = meta("id").map_err(classify)?.parse().map_err(|_| damaged("its id"))?;
        let mode = match meta("mode").map_err(classify)?.as_str() {
            "rehearsal" => Mode::Rehearsal,
            "real" => Mode::Real,
            _ => return Err(damaged("its mode")),
        };
        let store = Store {
            path: path.to_owned(),
            id,
            mode,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
        };
        Ok(Self { store: Arc::new(store) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.store.path
    }

    /// What this catalog is called.
    pub fn id(&self) -> CatalogId {
        self.store.id
    }

    /// What this catalog is for.
    pub fn mode(&self) -> Mode {
        self.store.mode
    }
}

/// Makes the file with its schema, closed again when this returns.
fn fill(path: &Path, mode: Mode, now: Timestamp) -> Result<(), rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA page_size = 4096; PRAGMA synchronous = FULL;")?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(include_str!("schema.sql"))?;
    let mode = match mode {
        Mode::Rehearsal => "rehearsal",
        Mode::Real => "real",
    };
    for (key, value) in [
        ("id", CatalogId::new().to_string()),
        ("mode", mode.to_owned()),
        ("created", now.to_string()),
    ] {
        connection.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (key, value))?;
    }
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", SCHEMA)?;
    connection.execute_batch("COMMIT")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}

fn connect(path: &Path, cache_kib: i64) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

impl Store {
    /// Runs `act` in one immediate transaction and commits it.
    pub(in crate::catalog) fn write<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, CatalogError> {
        let mut writer = self.writer();
        let run = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|fault| self.error(operation, fault))
    }

    /// The writing connection, for as long as the guard lives.
    pub(in crate::catalog) fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread left at most an open transaction, which was rolled back.
        self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs `act` on a connection that reads. Several calls may run at once, also within each
    /// other.
    pub(in crate::catalog) fn read<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, CatalogError> {
        let run = || {
            let kept = self.readers.lock().expect("no holder panics").pop();
            let connection = match kept {
                Some(connection) => connection,
                None => {
                    let connection = connect(&self.path, READER_CACHE_KIB)?;
                    connection.pragma_update(None, "query_only", true)?;
                    connection
                }
            };
            let value = act(&connection);
            let mut readers = self.readers.lock().expect("no holder panics");
            if readers.len() < READERS_KEPT {
                readers.push(connection);
            }
            value
        };
        run().map_err(|fault| self.error(operation, fault))
    }

    pub(in crate::catalog) fn error(&self, operation: &'static str, fault: Fault) -> CatalogError {
        match fault {
            Fault::Sql(error) => classify(&self.path, operation, error),
            Fault::Damaged(what) => {
                CatalogError::Corrupt { path: self.path.clone(), operation, cause: what.into() }
            }
            Fault::Refused(error) => error,
        }
    }
}

/// What an error of SQLite asks of the caller.
fn classify(path: &Path, operation: &'static str, error: rusqlite::Error) -> CatalogError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            CatalogError::Busy { path, operation }
        }
        Some(ErrorCode::DiskFull) => CatalogError::DiskFull { path, operation },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            CatalogError::Corrupt { path, operation, cause: error.into() }
        }
        Some(_) => CatalogError::Io { path, operation, cause: error.into() },
        // Not from SQLite: a stored value has the wrong type or does not parse.
        None => CatalogError::Corrupt { path, operation, cause: error.into() },
    }
}
