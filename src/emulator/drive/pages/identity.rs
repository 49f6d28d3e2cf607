//! Who the drive is and what it can do: INQUIRY, block limits, densities, operation codes.

use crate::emulator::{
    answer::{Answer, deliver, invalid_field},
    drive::{EmulatedDrive, data::BLOCK_LIMIT},
    generation::{Compatibility, Format, compatibility, product, protection_methods},
};
use crate::scsi::density::{self, Density, Generation};
use crate::scsi::{
    cdb::{OpcodeQuery, U24, opcode},
    inquiry::{DeviceType, Standard, vpd},
    limits::BlockLimits,
    protection::Offer,
};
use crate::transport::Transfer;

/// What every emulated machine says of its maker.
pub(crate) const VENDOR: &str = "TAPEVLT";
/// Firmware.
pub(crate) const REVISION: &str = "0001";

/// Who a drive is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) generation: Generation,
    pub(crate) serial: String,
    /// Its place in a library.
    pub(crate) element: Option<u16>,
}

impl Identity {
    pub(crate) fn product(&self) -> String {
        product(self.generation)
    }
}

/// A binary name that no other device has: locally assigned, made from the serial number.
pub(crate) fn local_name(serial: &str) -> vpd::Designator {
    let digest = crate::digest::Digest::of(serial.as_bytes());
    let mut name = digest.0[..8].to_vec();
    // NAA 3h, locally assigned.
    name[0] = 0x30 | (name[0] & 0x0F);
    vpd::Designator { code_set: 1, association: 0, kind: 3, name }
}

impl EmulatedDrive {
    pub(crate) fn inquiry(
        &mut self,
        page: Option<u8>,
        allocation: u16,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let identity = &self.identity;
        let code = DeviceType::Tape.code();
        let Some(page) = page else {
            let standard = Standard {
                qualifier: 0,
                device_type: DeviceType::Tape,
                removable: true,
                version: 6,
                vendor: VENDOR.to_owned(),
                product: identity.product(),
                revision: REVISION.to_owned(),
            };
            return Ok(deliver(transfer, allocation, &standard.encode()));
        };
        let page = match page {
            vpd::SUPPORTED => vpd::Page::of_supported(&[
                vpd::SUPPORTED,
                vpd::SERIAL,
                vpd::IDENTIFICATION,
                vpd::SEQUENTIAL,
                vpd::MANUFACTURER_SERIAL,
                vpd::TAPE_ALERT,
                vpd::ELEMENT,
                vpd::BLOCK_PROTECTION,
            ]),
            vpd::SERIAL | vpd::MANUFACTURER_SERIAL => {
                vpd::Page::of_text(page, &format!("{:<10}", identity.serial))
            }
            vpd::IDENTIFICATION => vpd::Page::of_designators(&[
                vpd::Designator::t10(VENDOR, &identity.product(), &identity.serial),
                local_name(&identity.serial),
            ]),
            vpd::SEQUENTIAL => vpd::Page::of_sequential(true),
            vpd::BLOCK_PROTECTION => {
                let offers: Vec<Offer> = protection_methods(identity.generation)
                    .iter()
                    .map(|method| Offer {
                        method: method.code(),
                        length: 4,
                        on_write: true,
                        on_read: true,
                    })
                    .collect();
                vpd::Page { code: page, body: Offer::encode_all(&offers) }
            }
            vpd::TAPE_ALERT => vpd::Page { code: page, body: vec![0xFF; 8] },
            vpd::ELEMENT => {
                let address = identity.element.unwrap_or(0).to_be_bytes();
                vpd::Page { code: page, body: address.to_vec() }
            }
            _ => return Err(invalid_field(2)),
        };
        Ok(deliver(transfer, allocation, &page.encode(code)))
    }

    pub(crate) fn block_limits(&mut self, transfer: &mut Transfer<'_>) -> Answer {
        let longest = U24::try_from(BLOCK_LIMIT).expect("8 MiB fit 24 bits");
        let limits = BlockLimits { granularity: 0, longest, shortest: 1 };
        Ok(deliver(transfer, u64::MAX, &limits.encode()))
    }

    pub(crate) fn report_luns(&mut self, allocation: u32, transfer: &mut Transfer<'_>) -> Answer {
        // One logical unit, number 0.
        let bytes = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Ok(deliver(transfer, allocation, &bytes))
    }

    pub(crate) fn densities(
        &mut self,
        medium_types: bool,
        of_medium: bool,
        allocation: u16,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        if medium_types {
            return Err(invalid_field(1));
        }
        let generation = self.identity.generation;
        let of_medium = if of_medium { Some(self.usable()?.cartridge.density) } else { None };
        let formats = Format::taken_by(generation)
            .filter(|format| of_medium.is_none_or(|density| density == format.density));
        let densities: Vec<Density> = formats
            .map(|format| Density {
                primary: format.density,
                secondary: format.density,
                writable: compatibility(generation, format.density) == Compatibility::Writes,
                default: format.density == generation.density(),
                bits_per_mm: format.bits_per_mm,
                width: 127,
                tracks: format.tracks,
                megabytes: format.capacity_mb,
                organisation: "LTO-CVE".to_owned(),
                name: format.name.to_owned(),
                description: "Ultrium, emulated".to_owned(),
            })
            .collect();
        Ok(deliver(transfer, allocation, &density::encode(&densities)))
    }

    pub(crate) fn operation_codes(
        &mut self,
        timeouts: bool,
        query: OpcodeQuery,
        allocation: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let bytes = match query {
            OpcodeQuery::All => {
                let mut rows = Vec::new();
                for (code, action) in SUPPORTED {
                    let length = opcode::length(*code).and_then(|n| u8::try_from(n).ok());
                    let serves = u8::from(action.is_some());
                    let [high, low] = action.unwrap_or(0).to_be_bytes();
                    let flags = (u8::from(timeouts) << 1) | serves;
                    rows.extend([*code, 0, high, low, 0, flags, 0, length.unwrap_or(6)]);
                    if timeouts {
                        rows.extend(timeout_row(*code));
                    }
                }
                let mut bytes =
                    u32::try_from(rows.len()).expect("some 50 commands").to_be_bytes().to_vec();
                bytes.extend(rows);
                bytes
            }
            OpcodeQuery::One(code) => one_command(code, None, timeouts),
            OpcodeQuery::WithAction(code, action) => one_command(code, Some(action), timeouts),
        };
        Ok(deliver(transfer, allocation, &bytes))
    }
}

/// The reply about one command: whether it is supported, and how long its block is.
fn one_command(code: u8, action: Option<u16>, timeouts: bool) -> Vec<u8> {
    let known = SUPPORTED.contains(&(code, action));
    let length = opcode::length(code).filter(|_| known).unwrap_or(0);
    let flags = if known { 0x03 } else { 0x01 };
    let with_timeouts = timeouts && known;
    let mut bytes = vec![0, flags | (u8::from(with_timeouts) << 7), 0];
    bytes.push(u8::try_from(length).unwrap_or(0));
    let mut usage = vec![0xFF; length];
    if let Some(first) = usage.first_mut() {
        *first = code;
    }
    bytes.extend(usage);
    if with_timeouts {
        bytes.extend(timeout_row(code));
    }
    bytes
}

/// A command timeouts descriptor, in seconds: those of an LTO-8 drive of full height.
fn timeout_row(code: u8) -> [u8; 12] {
    let recommended: u32 = match code {
        opcode::ERASE_6 => 54_896,
        opcode::FORMAT_MEDIUM => 3000,
        opcode::LOAD_UNLOAD => 960,
        opcode::LOCATE_10 | opcode::LOCATE_16 | opcode::SPACE_6 | opcode::SPACE_16 => 2880,
        opcode::READ_6 => 2280,
        opcode::REWIND => 600,
        opcode::VERIFY_6 => 47_700,
        opcode::WRITE_6 => 1500,
        opcode::WRITE_FILEMARKS_6 => 1620,
        opcode::SEND_DIAGNOSTIC => 2100,
        _ => 60,
    };
    let mut row = [0; 12];
    row[1] = 0x0A;
    row[8..].copy_from_slice(&recommended.to_be_bytes());
    row
}

/// The commands of the drive, with the service action where there is one.
const SUPPORTED: &[(u8, Option<u16>)] = &[
    (opcode::TEST_UNIT_READY, None),
    (opcode::REWIND, None),
    (opcode::REQUEST_SENSE, None),
    (opcode::FORMAT_MEDIUM, None),
    (opcode::READ_BLOCK_LIMITS, None),
    (opcode::READ_6, None),
    (opcode::WRITE_6, None),
    (opcode::SET_CAPACITY, None),
    (opcode::WRITE_FILEMARKS_6, None),
    (opcode::SPACE_6, None),
    (opcode::INQUIRY, None),
    (opcode::VERIFY_6, None),
    (opcode::MODE_SELECT_6, None),
    (opcode::RESERVE_6, None),
    (opcode::RELEASE_6, None),
    (opcode::ERASE_6, None),
    (opcode::MODE_SENSE_6, None),
    (opcode::LOAD_UNLOAD, None),
    (opcode::SEND_DIAGNOSTIC, None),
    (opcode::PREVENT_ALLOW, None),
    (opcode::LOCATE_10, None),
    (opcode::READ_POSITION, None),
    (opcode::REPORT_DENSITY_SUPPORT, None),
    (opcode::LOG_SELECT, None),
    (opcode::LOG_SENSE, None),
    (opcode::MODE_SELECT_10, None),
    (opcode::MODE_SENSE_10, None),
    (opcode::PERSISTENT_RESERVE_IN, Some(0)),
    (opcode::PERSISTENT_RESERVE_IN, Some(1)),
    (opcode::PERSISTENT_RESERVE_IN, Some(2)),
    (opcode::PERSISTENT_RESERVE_IN, Some(3)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(0)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(1)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(2)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(3)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(4)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(5)),
    (opcode::PERSISTENT_RESERVE_OUT, Some(6)),
    (opcode::ALLOW_OVERWRITE, None),
    (opcode::READ_ATTRIBUTE, Some(0)),
    (opcode::READ_ATTRIBUTE, Some(1)),
    (opcode::READ_ATTRIBUTE, Some(3)),
    (opcode::READ_ATTRIBUTE, Some(5)),
    (opcode::WRITE_ATTRIBUTE, None),
    (opcode::SPACE_16, None),
    (opcode::LOCATE_16, None),
    (opcode::REPORT_LUNS, None),
    (opcode::SECURITY_PROTOCOL_IN, None),
    (opcode::SECURITY_PROTOCOL_OUT, None),
    (opcode::MAINTENANCE_IN, Some(0x0C)),
];
