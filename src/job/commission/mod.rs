//! Commissioning a drive: proving, on a scratch cartridge, that drive, cable and host adapter do what
//! jobs will ask of them, before one relies on it.

mod prove;
mod scratch;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    catalog::{self, Catalog},
    drive::Protection,
    job::{
        Desk, JobError,
        commission::prove::{Flaw, Trial},
        rig::Station,
        settings::{BLOCK_SIZE, Settings},
    },
    unit::{Binary, ByteCount},
};

/// Blocks of a trial at least, so that there is a middle to locate.
const BLOCKS_MIN: u64 = 4;

/// What is to be proven.
#[derive(Clone, Debug)]
pub struct Commission {
    /// How much is written and read in each trial.
    pub amount: ByteCount,
    /// Whether foreign data on the cartridge may be destroyed.
    pub erase: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Commissioned {
    /// The drive's name in the config.
    pub drive: String,
    /// Its maker.
    pub vendor: String,
    /// Its model.
    pub product: String,
    /// Its firmware.
    pub firmware: String,
    /// Its serial number.
    pub serial: String,
    /// The cartridge: its sticker, else the number of its chip.
    pub cartridge: String,
    /// The most that one command moves, by the host adapter's own word, in bytes.
    pub max_transfer: u32,
    /// The most that one command moved and that came back right, in bytes.
    pub proven_transfer: u32,
    /// The trials.
    pub trials: Vec<Outcome>,
    /// What is wrong with the drive, if anything is.
    pub flaws: Vec<String>,
}

/// What one trial came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Bytes of a block.
    pub block: u32,
    /// How blocks were protected on their way.
    pub protection: Option<&'static str>,
    /// Bytes written, and read.
    pub bytes: u64,
    /// Bytes a second while writing, with the flush at its end.
    pub write_rate: Option<u64>,
    /// Bytes a second while reading.
    pub read_rate: Option<u64>,
    /// Why it did not pass.
    pub flaw: Option<String>,
}

impl Commissioned {
    /// Whether the drive passed.
    pub fn is_fit(&self) -> bool {
        self.flaws.is_empty()
    }
}

/// Writes and reads blocks of each size that the pools use, without block protection and with, and
/// records in the catalog what came of it. The cartridge is blank afterwards.
///
/// # Errors
///
/// When the cartridge in the drive is no scratch cartridge, or the catalog fails. A drive that does
/// not pass is an outcome.
pub fn commission(
    settings: &Settings,
    catalog: &Catalog,
    station: &mut Station,
    wanted: &Commission,
    desk: &Desk,
) -> Result<Commissioned, JobError> {
    let cartridge = scratch::take(catalog, station, wanted, desk)?;
    let identity = station.drive.identity().clone();
    let mut report = Commissioned {
        drive: station.name.clone(),
        vendor: identity.vendor,
        product: identity.product,
        firmware: identity.revision,
        serial: identity.serial,
        cartridge: cartridge.name,
        max_transfer: station.drive.max_transfer(),
        proven_transfer: 0,
        trials: Vec::new(),
        flaws: Vec::new(),
    };
    let methods = station.drive.protection_methods().map_err(station.failed(None))?;
    let room = wanted.amount.0.min(cartridge.room.0 / 2);
    for (block, pools) in block_sizes(settings) {
        for protection in [None].into_iter().chain(methods.iter().copied().map(Some)) {
            desk.go_on()?;
            let blocks = (room / u64::from(block)).max(BLOCKS_MIN);
            let trial = Trial { block, protection, blocks };
            desk.notice(format!("writing and reading {trial}"));
            if !try_once(station, &trial, &mut report, desk)? {
                let of = if pools.is_empty() { String::new() } else { format!(", of {pools}") };
                let flaw = report.trials.last().and_then(|last| last.flaw.clone());
                report.flaws.push(format!("{trial}{of}: {}", flaw.unwrap_or_default()));
            }
        }
    }
    station.disown(&report.cartridge, desk)?;
    if let Err(flaw) = scratch::leave(station) {
        report.flaws.push(format!("leaving the cartridge blank: {flaw}"));
    }
    let what = if report.is_fit() { "drive.commissioned" } else { "drive.unfit" };
    catalog.record_event(&catalog::Event {
        when: desk.clock.now(),
        what: what.to_owned(),
        volume: None,
        detail: serde_json::to_value(&report).expect("plain data"),
    })?;
    Ok(report)
}

/// Makes one trial and adds what came of it. `false` when the drive did not pass it.
fn try_once(
    station: &mut Station,
    trial: &Trial,
    report: &mut Commissioned,
    desk: &Desk,
) -> Result<bool, JobError> {
    let proven = trial.prove(&mut station.drive, desk);
    let (rates, flaw) = match proven {
        Ok(rates) => (Some(rates), None),
        Err(Flaw::Stopped) => return Err(JobError::Stopped),
        Err(flaw) => {
            // The next trial is to fail by its own fault alone.
            if let Err(error) = station.drive.recover() {
                tracing::warn!(drive = station.name, %error, "it does not come back");
            }
            (None, Some(flaw.words()))
        }
    };
    if flaw.is_none() {
        report.proven_transfer = report.proven_transfer.max(trial.transfer());
    }
    let passed = flaw.is_none();
    report.trials.push(Outcome {
        block: trial.block,
        protection: trial.protection.map(Protection::name),
        bytes: trial.bytes(),
        write_rate: rates.map(|rates| rates.write.0),
        read_rate: rates.map(|rates| rates.read.0),
        flaw,
    });
    Ok(passed)
}

/// The sizes of block that the pools use, the largest last, with the pools that do.
fn block_sizes(settings: &Settings) -> Vec<(u32, String)> {
    let mut sizes: BTreeSet<u64> = settings.pools.values().map(|pool| pool.block_size.0).collect();
    if sizes.is_empty() {
        sizes.insert(BLOCK_SIZE);
    }
    let of = |size: u64| {
        let pools = settings.pools.iter().filter(|(_, pool)| pool.block_size.0 == size);
        pools.map(|(name, _)| format!("pool {name}")).collect::<Vec<_>>().join(" and ")
    };
    let sizes = sizes.into_iter();
    sizes.map(|size| (u32::try_from(size).expect("checked with the config"), of(size))).collect()
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let block = Binary(u64::from(self.block));
        match self.protection {
            None => write!(f, "blocks of {block} without block protection"),
            Some(method) => write!(f, "blocks of {block} with block protection {}", method.name()),
        }
    }
}
