//! The chip of the cartridge: READ ATTRIBUTE and WRITE ATTRIBUTE (SPC).

use crate::emulator::{
    answer::{Answer, deliver, invalid_field, received},
    drive::EmulatedDrive,
    generation::Format,
    tape::{Attribute as Stored, AttributeFormat},
};
use crate::scsi::{
    cdb::AttributeAction,
    mam::{self, Attribute, Format as Kind, id},
    sense::{Code, Key, Sense},
};
use crate::transport::Transfer;
use crate::unit::MIB;

/// Bytes of the chip, and what hosts may fill.
const CHIP_BYTES: u64 = 16_352;
const HOST_BYTES: usize = 4096;
/// Attributes that hosts may write.
const HOST_IDS: std::ops::Range<u16> = 0x0800..0x0C00;

impl EmulatedDrive {
    pub(crate) fn read_attribute(
        &mut self,
        action: AttributeAction,
        (partition, first): (u8, u16),
        allocation: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        self.chip()?;
        if partition != 0 {
            return Err(invalid_field(7));
        }
        let attributes = self.attributes();
        let from = attributes.partition_point(|attribute| attribute.id < first);
        let bytes = match action {
            AttributeAction::Values if from == attributes.len() => return Err(invalid_field(8)),
            AttributeAction::Values => mam::encode(&attributes[from..]),
            AttributeAction::List | AttributeAction::Supported => {
                let ids: Vec<u16> = attributes.iter().map(|attribute| attribute.id).collect();
                mam::encode_ids(&ids)
            }
            // One, and its number is 0.
            AttributeAction::PartitionList | AttributeAction::VolumeList => vec![0, 2, 0, 1],
        };
        Ok(deliver(transfer, allocation, &bytes))
    }

    /// Everything on the chip, in the order of identifiers.
    fn attributes(&self) -> Vec<Attribute> {
        let Some(loaded) = &self.loaded else { return Vec::new() };
        let cartridge = &loaded.cartridge;
        let host_bytes: usize = cartridge.attributes.values().map(|own| own.value.len()).sum();
        let free = HOST_BYTES.saturating_sub(host_bytes) as u64;
        let length = Format::of(cartridge.density).map_or(0, |format| u64::from(format.length_m));
        let number = Attribute::of_number;
        let (remaining, maximum) = self.reported_mib();
        let mut list = vec![
            number(id::REMAINING_CAPACITY, 8, remaining),
            number(id::MAXIMUM_CAPACITY, 8, maximum),
            number(id::TAPE_ALERTS, 8, self.alert_word()),
            number(id::LOAD_COUNT, 8, cartridge.load_count),
            number(id::SPACE_REMAINING, 8, free),
            Attribute::of_text(0x0005, 8, "LTO-CVE"),
            number(id::FORMATTED_DENSITY, 1, u64::from(cartridge.density)),
            number(0x0007, 2, 1),
            number(id::VOLUME_CHANGE_REFERENCE, 4, u64::from(cartridge.change_reference)),
        ];
        for (past, by) in (0_u16..).zip(&cartridge.loaded_by) {
            list.push(Attribute::of_text(id::LAST_LOAD + past, 40, by));
        }
        list.extend([
            number(id::WRITTEN, 8, cartridge.bytes_written / MIB),
            number(id::READ, 8, cartridge.bytes_read / MIB),
            number(0x0222, 8, self.registers.counters.mount_written / MIB),
            number(0x0223, 8, self.registers.counters.mount_read / MIB),
            Attribute::of_text(id::MANUFACTURER, 8, "TAPEVLT"),
            Attribute::of_text(id::SERIAL, 32, &cartridge.serial),
            number(id::LENGTH, 4, length),
            number(id::WIDTH, 4, 127),
            Attribute::of_text(id::ORGANISATION, 8, "LTO-CVE"),
            number(id::DENSITY, 1, u64::from(cartridge.density)),
            Attribute::of_text(id::MANUFACTURE_DATE, 8, "20260101"),
            number(id::MEMORY_CAPACITY, 8, CHIP_BYTES),
            number(id::MEDIUM_TYPE, 1, if cartridge.worm { 0x80 } else { 0 }),
            number(id::MEDIUM_TYPE_INFORMATION, 2, 0),
        ]);
        list.extend(cartridge.attributes.iter().map(|(id, own)| Attribute {
            id: *id,
            read_only: false,
            format: match own.format {
                AttributeFormat::Binary => Kind::Binary,
                AttributeFormat::Ascii => Kind::Ascii,
                AttributeFormat::Text => Kind::Text,
            },
            value: own.value.clone(),
        }));
        list
    }

    pub(crate) fn write_attribute(
        &mut self,
        partition: u8,
        length: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        if partition != 0 {
            return Err(invalid_field(7));
        }
        let bytes = received(transfer, length)?;
        let loaded = self.chip()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let short = (Key::IllegalRequest, Code::PARAMETER_LIST_LENGTH_ERROR);
        let written = mam::decode(bytes).ok_or(short)?;
        let mut attributes = loaded.cartridge.attributes.clone();
        for (row, attribute) in written.iter().enumerate() {
            let in_order = row == 0 || written[row - 1].id < attribute.id;
            let right_length = id::host_length(attribute.id)
                .is_none_or(|length| [0, length].contains(&attribute.value.len()));
            if !HOST_IDS.contains(&attribute.id) || !in_order || !right_length {
                return Err(Sense::invalid_parameter_field(4).into());
            }
            let format = match attribute.format {
                Kind::Binary => AttributeFormat::Binary,
                Kind::Ascii => AttributeFormat::Ascii,
                Kind::Text => AttributeFormat::Text,
                Kind::Reserved => return Err(Sense::invalid_parameter_field(6).into()),
            };
            if attribute.value.is_empty() {
                attributes.remove(&attribute.id);
            } else {
                attributes.insert(attribute.id, Stored { format, value: attribute.value.clone() });
            }
        }
        if attributes.values().map(|own| own.value.len()).sum::<usize>() > HOST_BYTES {
            return Err((Key::MediumError, Code::AUXILIARY_MEMORY_WRITE_ERROR).into());
        }
        loaded.cartridge.attributes = attributes;
        loaded.changed = true;
        self.save_cartridge()?;
        Ok(bytes.len())
    }
}
