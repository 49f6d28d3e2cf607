//! The `tapevault` program.

use std::{env, error::Error, path::Path};
use tapevault::emulator::{self, Generation, Library, LibraryPlan, Settings};
use tapevault::transport::Transport;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["emulator-make", dir] => make(Path::new(dir)),
        ["emulator-serve", dir, unit, node] => serve(Path::new(dir), unit, Path::new(node)),
        _ => Err("no such command".into()),
    }
}

/// Makes a library for tests of the kernel's drivers, with small cartridges, one of them protected.
fn make(dir: &Path) -> Result<(), Box<dyn Error>> {
    let library = Library::create(
        dir,
        &LibraryPlan {
            drives: 2,
            slots: 8,
            mail_slots: 1,
            generation: Generation::Lto8,
            settings: Settings::default(),
        },
    )?;
    for (barcode, capacity) in [
        ("VMT001L8", 64 << 20),
        ("VMT002L8", 64 << 20),
        ("VMT003L8", 64 << 20),
        ("VMT004L8", 20_000_000_000),
        ("TST001L8", 256 << 20),
    ] {
        library.add_cartridge(barcode.parse()?, Generation::Lto8, capacity)?;
    }
    library.change_cartridge("VMT003L8".parse()?, |cartridge| cartridge.write_protected = true)?;
    Ok(())
}

/// Answers for `drive0`, `drive1` or `changer` of a library until the device behind `node` is gone.
fn serve(dir: &Path, unit: &str, node: &Path) -> Result<(), Box<dyn Error>> {
    let mut transport: Box<dyn Transport> = match unit.strip_prefix("drive") {
        Some(number) => Box::new(emulator::drive(dir, number.parse()?)?),
        None => Box::new(emulator::changer(dir)?),
    };
    emulator::serve::serve(node, transport.as_mut())?;
    Ok(())
}
