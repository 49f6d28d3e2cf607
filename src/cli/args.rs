//! The command line as clap understands it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    clock::Timestamp,
    config,
    ident::{Barcode, JobName, PoolName, SourceName, Volser},
    keys::KeyId,
};

/// Copies a cloud account out of the cloud's reach, on LTO tape.
#[derive(Debug, Parser)]
#[command(name = "tapevault", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The config file [default: ./tapevault.toml if it is yours, else /etc/tapevault/tapevault.toml]
    #[arg(long, global = true, env = config::VARIABLE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write one JSON event a line to standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more to standard error: -v for debug, -vv for every SCSI command
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 done with findings, 2 usage or config, 3 an \
operator is needed, 4 no medium that can be used, 5 a device failed, 6 a source or the network \
failed, 7 staging or catalog failed, 70 a bug.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rehearse the whole way with a directory, on an emulated library
    Quickstart(Quickstart),
    /// Write a commented tapevault.toml
    Init {
        /// Where to
        #[arg(default_value = "tapevault.toml")]
        path: PathBuf,
    },
    /// Say whether config, credentials, drives, library, staging, media and clock are fit to run
    Check,
    /// Run a job: list, plan, fetch, seal, write, flush, commit, verify, eject
    Archive(Archive),
    /// Run a job's first half: list, plan, fetch, seal. Opens no device
    Export(Export),
    /// Run a job's second half: write what is sealed, verify, eject. Opens no socket
    Write(Archive),
    /// Read volumes back and compare with their own digests and with the catalog
    Verify(Verify),
    /// Search the catalog
    Find(Find),
    /// Bring files back from tape
    Restore(Restore),
    /// Cartridges: label, list, show, remove, vault, recall, retire, erase
    #[command(subcommand)]
    Media(Media),
    /// Keys for encryption in the drive: new, list, export, prove, import
    #[command(subcommand)]
    Key(KeyCommand),
    /// Drives: list, status, health, commission
    #[command(subcommand)]
    Drive(DriveCommand),
    /// The library: list, status, inventory, load, unload, import, export, clean
    #[command(subcommand)]
    Library(Library),
    /// The catalog: rebuild, check
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// The emulated library: make one, add cartridges, take them out
    #[command(subcommand)]
    Emulator(Emulator),
    /// Make a small emulated library, to be served to the kernel
    #[command(hide = true)]
    EmulatorMake {
        /// The folder
        dir: PathBuf,
    },
    /// Serve a drive or the changer of an emulated library to the kernel through TCM-user
    #[command(hide = true)]
    EmulatorServe {
        /// The folder of the library
        dir: PathBuf,
        /// `drive0` or `changer`
        unit: String,
        /// The uio node
        uio: PathBuf,
        /// Something that goes wrong, as an entry of `faults.json` (may be repeated)
        #[arg(long, value_name = "JSON")]
        fault: Vec<String>,
    },
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// Arguments of `quickstart`.
#[derive(Debug, Args)]
pub struct Quickstart {
    /// The directory to archive
    pub directory: PathBuf,
    /// The folder for all that it makes
    #[arg(long, default_value = "tapevault-rehearsal", value_name = "DIR")]
    pub home: PathBuf,
}

/// Arguments of `archive` and `write`.
#[derive(Debug, Args)]
pub struct Archive {
    /// The job, as the config names it
    pub job: JobName,
    /// On how many volumes each segment goes, instead of what the config says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub copies: Option<u8>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Use this drive
    #[arg(long, value_name = "NAME")]
    pub drive: Option<String>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The job, as the config names it
    pub job: JobName,
    /// Say what would be fetched, and fetch nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Which volumes [default: the one in the drive]
    pub volumes: Vec<Volser>,
    /// Those that were not verified for this many days
    #[arg(long, value_name = "DAYS", conflicts_with = "volumes")]
    pub due: Option<u32>,
    /// Read only this many segments of each, spread over the volume
    #[arg(long, value_name = "SEGMENTS")]
    pub sample: Option<u32>,
    /// Use this drive
    #[arg(long, value_name = "NAME")]
    pub drive: Option<String>,
}

/// How a query is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Matching {
    /// The text anywhere in the key
    #[default]
    Substring,
    /// A pattern with `*`, `?` and `[…]` over the whole key; `**` crosses slashes
    Glob,
    /// The key begins so
    Prefix,
    /// The key is exactly this
    Exact,
    /// The digest of the content begins so
    Digest,
}

/// Which items are meant, for `find` and `restore`.
#[derive(Debug, Args)]
pub struct Query {
    /// What to look for [default: everything]
    #[arg(default_value = "")]
    pub query: String,
    /// How the query is meant
    #[arg(long = "match", value_enum, default_value_t, value_name = "HOW")]
    pub matching: Matching,
    /// Upper and lower case are alike
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Only this source (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub source: Vec<SourceName>,
    /// Only what has a copy on this volume (may be repeated)
    #[arg(long, value_name = "VOLSER")]
    pub volume: Vec<Volser>,
    /// Only what was modified at or after this date
    #[arg(long, value_name = "DATE")]
    pub modified_since: Option<Timestamp>,
    /// Only what was modified before the end of this date
    #[arg(long, value_name = "DATE", value_parser = Timestamp::end_of)]
    pub modified_until: Option<Timestamp>,
    /// As each source was at the end of this date, by its newest complete run until then
    #[arg(long, value_name = "DATE", value_parser = Timestamp::end_of)]
    pub as_of: Option<Timestamp>,
}

/// Arguments of `find`.
#[derive(Debug, Args)]
pub struct Find {
    /// Which items
    #[command(flatten)]
    pub query: Query,
    /// Print only how many there are
    #[arg(long)]
    pub count: bool,
    /// Print at most this many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Which items
    #[command(flatten)]
    pub query: Query,
    /// The folder to restore into; it is made when it is not there
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// One stored item, by the place that `find` prints (may be repeated)
    #[arg(long, value_name = "PLACE")]
    pub item: Vec<String>,
    /// Every version, and not only what was current
    #[arg(long)]
    pub all_versions: bool,
    /// Replace what is there already
    #[arg(long)]
    pub overwrite: bool,
    /// Give files their owners back (needs root)
    #[arg(long)]
    pub owners: bool,
    /// Restore set-id bits, devices, and security.* and trusted.* attributes, too
    #[arg(long)]
    pub privileged: bool,
    /// Keep what can be read of files that no copy gives whole, as NAME.damaged, zeros for the rest
    #[arg(long)]
    pub salvage: bool,
    /// Say which cartridges would be read, and read none
    #[arg(long)]
    pub dry_run: bool,
    /// Use this drive
    #[arg(long, value_name = "NAME")]
    pub drive: Option<String>,
}

/// What to do with cartridges.
#[derive(Debug, Subcommand)]
pub enum Media {
    /// Label a blank cartridge, so that it may be written
    Label {
        /// The volser it gets
        volser: Volser,
        /// The pool it joins
        #[arg(long)]
        pool: PoolName,
        /// Use this drive
        #[arg(long, value_name = "NAME")]
        drive: Option<String>,
    },
    /// List all volumes
    List,
    /// Show one volume and what is on it
    Show {
        /// Which
        volser: Volser,
    },
    /// Record that a cartridge was taken out of drive and library
    Remove {
        /// Which, by the barcode that was read off it
        barcode: Barcode,
    },
    /// Record that a cartridge went to an off-site place
    Vault {
        /// Which
        volser: Volser,
        /// Where to
        #[arg(long)]
        place: String,
    },
    /// Record that a cartridge came back from its off-site place
    Recall {
        /// Which
        volser: Volser,
    },
    /// Never write a volume again
    Retire {
        /// Which
        volser: Volser,
    },
    /// Destroy what is on a volume, so that it may be labelled anew
    Erase {
        /// Which
        volser: Volser,
        /// Its volser once more, instead of typing it when asked
        #[arg(long, value_name = "VOLSER")]
        confirm: Option<Volser>,
        /// Use this drive
        #[arg(long, value_name = "NAME")]
        drive: Option<String>,
    },
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key. It is not used before it was proven to be on paper
    New {
        /// For the volumes of this pool
        #[arg(long)]
        pool: PoolName,
        /// For this volume alone
        #[arg(long, value_name = "VOLSER")]
        volume: Option<Volser>,
    },
    /// List all keys, without the keys themselves
    List,
    /// Write a key as a page to be printed: the key, its check words, and a code to scan
    Export {
        /// Which
        id: KeyId,
        /// A new file; one that ends in .html is HTML, any other text [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Show that a key is on paper, by typing the four words of its page
    Prove {
        /// Which
        id: KeyId,
        /// The four words, instead of typing them when asked
        words: Vec<String>,
    },
    /// Take a key from its printed page: asks for its four lines, or for what a scanner read
    Import {
        /// The pool whose volumes it opens
        #[arg(long)]
        pool: PoolName,
        /// The volume that it opens, if it is that one's alone
        #[arg(long, value_name = "VOLSER")]
        volume: Option<Volser>,
        /// Refuse any other key than this
        #[arg(long)]
        id: Option<KeyId>,
    },
}

/// What to do with drives.
#[derive(Debug, Subcommand)]
pub enum DriveCommand {
    /// List the drives of the config
    List,
    /// Say what a drive is and can do, how it is set, and what is in it
    Status {
        /// Which [default: the only one]
        drive: Option<String>,
    },
    /// Say how a drive is, and what to do about it: TapeAlert, errors, wear, cleaning
    Health {
        /// Which [default: the only one]
        drive: Option<String>,
    },
    /// Prove that a drive, with its cable and host adapter, can do what jobs will ask of it
    Commission {
        /// Which [default: the only one]
        drive: Option<String>,
        /// Write over what is on the cartridge. One that the catalog knows is never taken
        #[arg(long)]
        erase: bool,
        /// How much is written and read each time, such as "4 GB"
        #[arg(long, value_name = "AMOUNT", default_value = "1 GiB")]
        amount: String,
    },
}

/// What to do with the library.
#[derive(Debug, Subcommand)]
pub enum Library {
    /// Say which library the config names
    List,
    /// Say how the library stands: room, drives, cartridges, and what is wrong
    Status,
    /// List drives, slots and mail slots with what is in them, and note that in the catalog
    Inventory,
    /// Put a cartridge into a drive
    Load {
        /// Which
        barcode: Barcode,
        /// Into which drive
        #[arg(long, value_name = "NAME")]
        drive: Option<String>,
    },
    /// Take the cartridge out of a drive, into the slot that it came from
    Unload {
        /// Out of which drive
        #[arg(long, value_name = "NAME")]
        drive: Option<String>,
    },
    /// Take in what stands in the mail slots
    Import {
        /// Which cartridges [default: all]
        barcodes: Vec<Barcode>,
    },
    /// Put cartridges into mail slots, to be taken out
    Export {
        /// Which cartridges
        #[arg(required = true)]
        barcodes: Vec<Barcode>,
    },
    /// Clean a drive with a cleaning cartridge of the library
    Clean {
        /// Which drive
        #[arg(long, value_name = "NAME")]
        drive: Option<String>,
    },
}

/// What to do with the catalog.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Make the catalog anew from cartridges alone, or add what it does not know
    Rebuild {
        /// Which cartridges [default: all that the library holds, or the one in the drive]
        barcodes: Vec<Barcode>,
        /// Use this drive
        #[arg(long, value_name = "NAME")]
        drive: Option<String>,
    },
    /// Check the catalog's own soundness
    Check,
}

/// What to do with the emulated library.
#[derive(Debug, Subcommand)]
pub enum Emulator {
    /// Make an empty library
    Create {
        /// How many drives
        #[arg(long, default_value_t = 1)]
        drives: u16,
        /// How many slots
        #[arg(long, default_value_t = 8)]
        slots: u16,
        /// How many mail slots
        #[arg(long, default_value_t = 1)]
        mail_slots: u16,
        /// The drives' generation, 5 to 10
        #[arg(long, default_value_t = 8)]
        generation: u8,
    },
    /// Put a new, blank cartridge into a slot
    Cartridge {
        /// Its barcode
        barcode: Barcode,
        /// Its capacity instead of the generation's, such as "2 GB"
        #[arg(long)]
        capacity: Option<String>,
    },
    /// Take a cartridge out of its mail slot, as an operator's hand would
    Take {
        /// Which
        barcode: Barcode,
    },
    /// Put a cartridge that was taken out back into a slot
    Insert {
        /// Which
        barcode: Barcode,
    },
    /// Set or clear a cartridge's write-protect switch
    Protect {
        /// Which
        barcode: Barcode,
        /// Clear it
        #[arg(long)]
        off: bool,
    },
}
