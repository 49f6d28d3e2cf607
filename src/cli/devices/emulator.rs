//! `emulator`, and an emulated library that is served to the kernel.

use std::{io, path::Path};

use crate::{
    cli::{args::Emulator, bench::Bench, exit::Exit, fail::Failure},
    emulator::{self, Element, ElementKind, Fault, Generation, LibraryPlan, StorageError},
    ident::Barcode,
    job::JobError,
    unit::ByteCount,
};

/// Generations by their number.
const GENERATIONS: [(u8, Generation); 6] = [
    (5, Generation::Lto5),
    (6, Generation::Lto6),
    (7, Generation::Lto7),
    (8, Generation::Lto8),
    (9, Generation::Lto9),
    (10, Generation::Lto10),
];

/// Cartridges of a library that is served to the kernel, with their capacities, and which of them
/// is write-protected.
const SERVED: [(&str, u64); 14] = [
    ("VMT001L8", 64 << 20),
    ("VMT002L8", 64 << 20),
    ("VMT003L8", 64 << 20),
    ("VMT004L8", 20_000_000_000),
    ("TST001L8", 256 << 20),
    ("CLNU01L8", 1 << 20),
    ("CLR001L8", 64 << 20),
    ("CLR002L8", 64 << 20),
    ("CLR003L8", 64 << 20),
    ("CLR004L8", 64 << 20),
    ("ENC001L8", 64 << 20),
    ("ENC002L8", 64 << 20),
    ("ENC003L8", 64 << 20),
    ("ENC004L8", 64 << 20),
];
const PROTECTED: &str = "VMT003L8";

/// Runs a command about the emulated library.
pub(in crate::cli) fn emulator(bench: &Bench, command: &Emulator) -> Result<Exit, Failure> {
    let Some(settings) = &bench.settings.emulator else {
        return Err(Failure::Usage { what: "the config has no [emulator]".into() });
    };
    let dir = settings.dir.as_path();
    match command {
        Emulator::Create { drives, slots, mail_slots, generation } => {
            let plan = LibraryPlan {
                drives: *drives,
                slots: *slots,
                mail_slots: *mail_slots,
                generation: generation_of(*generation)?,
                settings: emulator::Settings::default(),
            };
            emulator::Library::create(dir, &plan).map_err(broken(dir))?;
        }
        Emulator::Cartridge { barcode, capacity } => {
            let medium = barcode.media().and_then(Generation::from_media_identifier);
            let medium =
                if barcode.is_cleaning() { Some((Generation::Lto8, false)) } else { medium };
            let Some((generation, _)) = medium else {
                let what = format!("{barcode} does not end in a media identifier such as L8");
                return Err(Failure::Usage { what });
            };
            let capacity = match capacity {
                Some(text) => ByteCount::parse(text)
                    .map_err(|error| Failure::Usage { what: error.to_string() })?,
                None => generation.capacity(),
            };
            let library = emulator::Library::open(dir).map_err(broken(dir))?;
            library.add_cartridge(*barcode, generation, capacity.0).map_err(broken(dir))?;
        }
        Emulator::Take { barcode } => {
            let library = emulator::Library::open(dir).map_err(broken(dir))?;
            let address = address_of(&library.elements().map_err(broken(dir))?, *barcode)?;
            library.take(address).map_err(broken(dir))?;
        }
        Emulator::Insert { barcode } => {
            let library = emulator::Library::open(dir).map_err(broken(dir))?;
            library.insert(*barcode).map_err(broken(dir))?;
        }
        Emulator::Protect { barcode, off } => {
            let library = emulator::Library::open(dir).map_err(broken(dir))?;
            library
                .change_cartridge(*barcode, |cartridge| cartridge.write_protected = !off)
                .map_err(broken(dir))?;
        }
    }
    Ok(Exit::Done)
}

fn generation_of(number: u8) -> Result<Generation, Failure> {
    let found = GENERATIONS.iter().find(|(known, _)| *known == number);
    found.map(|(_, generation)| *generation).ok_or_else(|| Failure::Usage {
        what: format!("there is no generation {number} here, but 5 to 10"),
    })
}

fn address_of(elements: &[Element], barcode: Barcode) -> Result<u16, Failure> {
    let found = elements
        .iter()
        .find(|element| element.kind == ElementKind::MailSlot && element.barcode == Some(barcode));
    found
        .map(|element| element.address)
        .ok_or_else(|| Failure::Usage { what: format!("{barcode} is in no mail slot") })
}

/// Makes a library to be served to the kernel.
pub(in crate::cli) fn make(dir: &Path) -> Result<Exit, Failure> {
    let plan = LibraryPlan {
        drives: 2,
        slots: 24,
        mail_slots: 4,
        generation: Generation::Lto8,
        settings: emulator::Settings::default(),
    };
    let library = emulator::Library::create(dir, &plan).map_err(broken(dir))?;
    for (barcode, capacity) in SERVED {
        let barcode = barcode.parse().expect("a barcode");
        library.add_cartridge(barcode, Generation::Lto8, capacity).map_err(broken(dir))?;
    }
    let protected = PROTECTED.parse().expect("a barcode");
    library
        .change_cartridge(protected, |cartridge| cartridge.write_protected = true)
        .map_err(broken(dir))?;
    Ok(Exit::Done)
}

/// Serves a drive or the changer of an emulated library to the kernel, under these faults, until
/// its device is gone.
pub(in crate::cli) fn serve(
    (dir, unit): (&Path, &str),
    uio: &Path,
    faults: &[String],
) -> Result<Exit, Failure> {
    let fault = |text: &String| serde_json::from_str::<Fault>(text);
    let faults: Vec<Fault> = faults
        .iter()
        .map(fault)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::Usage { what: format!("--fault: {error}") })?;
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| JobError::File {
        operation: "serve",
        path: Some(uio.to_owned()),
        cause: io::Error::other(error),
    };
    match unit.strip_prefix("drive") {
        Some(number) => {
            let number = number
                .parse()
                .map_err(|_| Failure::Usage { what: format!("{unit} is no drive") })?;
            let mut drive = emulator::drive(dir, number).map_err(|error| failed(error.into()))?;
            if !faults.is_empty() {
                drive.set_faults(faults);
            }
            emulator::serve::serve(uio, &mut drive).map_err(|error| failed(error.into()))?;
        }
        None => {
            let mut changer = emulator::changer(dir).map_err(|error| failed(error.into()))?;
            if !faults.is_empty() {
                changer.set_faults(faults);
            }
            emulator::serve::serve(uio, &mut changer).map_err(|error| failed(error.into()))?;
        }
    }
    Ok(Exit::Done)
}

fn broken(dir: &Path) -> impl Fn(StorageError) -> JobError + use<> {
    let dir = dir.to_owned();
    move |error| JobError::File {
        operation: "use the emulated library in",
        path: Some(dir.clone()),
        cause: io::Error::other(error),
    }
}
