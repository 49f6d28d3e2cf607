//! `drive status`.

use serde_json::{Map, Value, json};

use crate::{
    cli::{
        bench::Bench,
        devices::drive::{failed, look, print, state_key, state_words},
        exit::Exit,
        fail::Failure,
    },
    drive::{
        Access, CapacityOrigin, Drive, Encryption, Features, Generation, KeyInDrive, Medium,
        MediumState,
    },
    job::settings::Settings,
    report::Sheet,
    unit::{Binary, ByteCount},
};

/// Says what a drive is and can do, how it is set, and what is in it.
pub(super) fn run(bench: &Bench, name: Option<&str>) -> Result<Exit, Failure> {
    let (name, mut drive) = look(bench, name)?;
    let failed = failed(&name);
    let state = drive.state().map_err(&failed)?;
    let features = drive.features().map_err(&failed)?;
    let medium = match state {
        MediumState::Ready => Some(drive.medium().map_err(&failed)?),
        MediumState::Empty | MediumState::Unloaded | MediumState::Loading => None,
    };
    let mut sheet = Sheet::new();
    about_drive(&mut sheet, &name, &drive, state);
    sheet.fact(
        ("device", "device"),
        bench.settings.drives[&name].device.as_str(),
        bench.settings.drives[&name].device.as_str(),
    );
    if let Some(medium) = &medium {
        let access = features.access(drive.identity().generation, medium.density);
        about_medium(&mut sheet, medium, access);
        about_chip(&mut sheet, medium);
    }
    about_path(&mut sheet, &features, &bench.settings);
    about_abilities(&mut sheet, &features);
    print(bench, "drive-status", &name, &sheet);
    Ok(Exit::Done)
}

fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn about_drive(sheet: &mut Sheet, name: &str, drive: &Drive, state: MediumState) {
    let identity = drive.identity();
    let heading = format!("{name}: {} {}", identity.vendor, identity.product);
    sheet.section("identity", heading, "not told");
    sheet.fact(("state", "state"), state_words(state), state_key(state));
    sheet.fact(("vendor", "vendor"), identity.vendor.as_str(), identity.vendor.as_str());
    sheet.fact(("product", "product"), identity.product.as_str(), identity.product.as_str());
    sheet.fact(("firmware", "firmware"), identity.revision.as_str(), identity.revision.as_str());
    let serial = Some(identity.serial.clone()).filter(|serial| !serial.is_empty());
    sheet.maybe(("serial", "serial"), serial, |serial| serial);
    let generation = identity.generation.map(|own| own.to_string());
    sheet.maybe(("generation", "generation"), generation, |own| own);
    sheet.fact(("emulated", "emulated"), yes_no(identity.emulated), identity.emulated);
}

fn about_medium(sheet: &mut Sheet, medium: &Medium, access: Access) {
    sheet.section("cartridge", "cartridge", "not told");
    let format = medium.generation.map_or_else(
        || format!("unknown, density {:#04x}", medium.density),
        |generation| generation.to_string(),
    );
    sheet.fact(("format", "format"), format.clone(), format);
    let (words, key) = match access {
        Access::Write => ("this drive reads and writes it", "write"),
        Access::Read => ("this drive reads it, and cannot write it", "read"),
        Access::Neither => ("this drive can neither read nor write it", "neither"),
        Access::NotKnown => ("not known", "not-known"),
    };
    sheet.fact(("access", "access"), words, key);
    let protected = medium.write_protected;
    sheet.fact(("write-protected", "write-protected"), yes_no(protected), protected);
    sheet.fact(("worm", "write-once"), yes_no(medium.worm), medium.worm);
    sheet.fact(("partitions", "partitions"), medium.partitions.to_string(), medium.partitions);
    let capacity = medium.capacity;
    // Page 31h counts in MB on some drives and in MiB on others; the lesser is taken.
    let (least, origin) = capacity.map_or(("", ""), |found| match found.origin {
        CapacityOrigin::TapeCapacityPage => ("at least ", ", by log page 31h"),
        CapacityOrigin::VolumeStatisticsPage => ("", ", by log page 17h"),
        CapacityOrigin::Chip => ("", ", by its chip"),
    });
    let left = capacity.map(|found| found.remaining.0);
    sheet
        .maybe(("remaining", "left"), left, |bytes| format!("{least}{}{origin}", ByteCount(bytes)));
    let whole = capacity.and_then(|found| found.maximum).map(|bytes| bytes.0);
    sheet.maybe(("capacity", "capacity"), whole, |bytes| format!("{least}{}", ByteCount(bytes)));
    sheet.maybe(("loads", "loads"), medium.loads, |loads| loads.to_string());
}

fn about_chip(sheet: &mut Sheet, medium: &Medium) {
    sheet.section("chip", "its chip", "none");
    let readable = medium.chip_readable;
    sheet.fact(("readable", "readable"), yes_no(readable), readable);
    let notes = &medium.notes;
    let owner = format!("{} {} {}", notes.vendor, notes.application, notes.version);
    let owner = if notes.is_owned() { owner } else { String::new() };
    for ((key, label), text) in [
        (("serial", "serial"), medium.mam_serial.as_str()),
        (("manufacturer", "manufacturer"), &medium.manufacturer),
        (("owner", "owned by"), owner.trim()),
        (("label", "label"), &notes.user_label),
        (("barcode", "barcode"), &notes.barcode),
        (("pool", "pool"), &notes.pool),
        (("host", "host"), &notes.host),
        (("format-version", "format version"), &notes.format_version),
        (("last-written", "last written"), &notes.last_written),
    ] {
        let text = Some(text.to_owned()).filter(|text| !text.is_empty());
        sheet.maybe((key, label), text, |text| text);
    }
}

fn about_path(sheet: &mut Sheet, features: &Features, settings: &Settings) {
    sheet.section("blocks", "blocks", "without limit");
    let longest = features.longest_block;
    sheet.maybe(("longest", "drive takes up to"), longest, |bytes| {
        Binary(u64::from(bytes)).to_string()
    });
    let shortest = features.shortest_block;
    sheet.fact(("shortest", "and from"), Binary(u64::from(shortest)).to_string(), shortest);
    let transfer = features.max_transfer;
    sheet.fact(
        ("max-transfer", "host adapter takes"),
        format!("up to {} by its own word", Binary(u64::from(transfer))),
        transfer,
    );
    let most = u64::from(transfer.min(longest.unwrap_or(u32::MAX)));
    let (mut words, mut pools) = (Vec::new(), Map::new());
    for (pool, own) in &settings.pools {
        let size = own.block_size.0;
        let fits = size <= most;
        words.push(format!("{} {pool}{}", Binary(size), if fits { "" } else { " (TOO LONG)" }));
        pools.insert(pool.to_string(), json!({ "block": size, "fits": fits }));
    }
    sheet.fact(("pools", "pools write"), words.join(", "), Value::Object(pools));
}

fn about_abilities(sheet: &mut Sheet, features: &Features) {
    sheet.section("abilities", "abilities", "absent");
    let formats = &features.formats;
    let named = |writable: bool| {
        let names = formats.iter().filter(|format| format.writable == writable).map(|format| {
            let known = format.generation.as_ref().map(Generation::to_string);
            known.unwrap_or_else(|| format.name.clone())
        });
        let names: Vec<String> = names.collect();
        Some(names).filter(|names| !names.is_empty())
    };
    let (writes, reads) = (named(true), named(false));
    sheet.maybe(("writes", "writes"), writes, |names| names.join(", "));
    sheet.maybe(("reads-only", "reads only"), reads, |names| names.join(", "));
    sheet.maybe(("compression", "compression"), features.compression, |on| {
        if on { "on".into() } else { "off".into() }
    });
    let distance = features.early_warning.map(|distance| distance.0);
    sheet.maybe(("programmable-early-warning", "programmable early warning"), distance, |bytes| {
        if bytes == 0 { "off".into() } else { format!("{} before early warning", ByteCount(bytes)) }
    });
    sheet.maybe(("append-only", "append-only mode"), features.append_only, |on| {
        if on { "on".into() } else { "off".into() }
    });
    let methods: Vec<String> =
        features.protection.iter().map(|method| method.name().to_owned()).collect();
    let methods = Some(methods).filter(|methods| !methods.is_empty());
    sheet.maybe(("block-protection", "logical block protection"), methods, |all| all.join(", "));
    let now = features.protection_now.map(|method| method.name());
    sheet.fact(("block-protection-now", "protected now by"), now.unwrap_or("nothing"), now);
    let encryption = features.encryption.and_then(|found| match found {
        Encryption::Absent => None,
        Encryption::Managed => Some(("AES-256-GCM, keys from the library alone", "managed")),
        Encryption::Ready { .. } => Some(("AES-256-GCM, keys from the host", "application")),
    });
    let words = encryption.map_or("", |(words, _)| words);
    sheet.maybe(("encryption", "encryption"), encryption.map(|(_, key)| key), |_| words.to_owned());
    let key = match &features.key {
        KeyInDrive::NotTold => None,
        KeyInDrive::None => Some("none".to_owned()),
        KeyInDrive::Set { name: None } => Some("one without a name".to_owned()),
        KeyInDrive::Set { name: Some(name) } => Some(name.clone()),
    };
    sheet.maybe(("key", "key in the drive"), key, |key| key);
}
