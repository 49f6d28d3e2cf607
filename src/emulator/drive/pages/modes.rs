//! Mode parameters: what a host may set, and what it may only see.

use serde::{Deserialize, Serialize};

use crate::emulator::{
    answer::{Answer, Check, invalid_field, received},
    drive::{EmulatedDrive, data::BLOCK_LIMIT},
    generation::{Format, protection_methods},
    tape::Cartridge,
};
use crate::scsi::{
    cdb::{PageControl, U24},
    density::Generation,
    mode::{BlockDescriptor, Header, Parameters, RawPage},
    protection::{GUARD, Method},
    sense::{Code, Key, Sense},
};
use crate::transport::Transfer;

const ALL_PAGES: u8 = 0x3F;
const ALL_SUBPAGES: u8 = 0xFF;

/// The mode parameters of a drive. As after power-on unless a host changed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModePages {
    /// Bytes of a block in fixed-block commands; 0 is variable.
    block_length: u32,
    /// Buffered mode: 0 waits for the medium with each write.
    buffered: u8,
    /// Of the loaded cartridge; all zero without one.
    medium_type: u8,
    density: u8,
    write_protected: bool,
    pages: Vec<Stored>,
}

/// The current values of one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    code: u8,
    subpage: u8,
    body: Vec<u8>,
}

/// A page as it is after power-on, and which of its bits a host may change.
struct Template {
    code: u8,
    subpage: u8,
    body: &'static [u8],
    changeable: &'static [u8],
}

const COMPRESSION: (u8, u8) = (0x0F, 0);
const DATA_PROTECTION: (u8, u8) = (0x0A, 0xF0);
const CONFIGURATION: (u8, u8) = (0x10, 0);
const CONFIGURATION_EXTENSION: (u8, u8) = (0x10, 1);
const PARTITIONS: (u8, u8) = (0x11, 0);
const MEDIUM_CONFIGURATION: (u8, u8) = (0x1D, 0);

/// Pages in the order in which MODE SENSE for all pages returns them.
const TEMPLATES: &[Template] = &[
    // Disconnect-reconnect.
    Template { code: 0x02, subpage: 0, body: &[0; 14], changeable: &[0; 14] },
    // Control.
    Template { code: 0x0A, subpage: 0, body: &[0; 10], changeable: &[0; 10] },
    // Control data protection: off; method, length and flags may be changed.
    Template {
        code: DATA_PROTECTION.0,
        subpage: DATA_PROTECTION.1,
        body: &[0; 28],
        changeable: &[
            0xFF, 0x3F, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0,
        ],
    },
    // Data compression: DCE and DCC, DDE, the default algorithm both ways.
    Template {
        code: COMPRESSION.0,
        subpage: COMPRESSION.1,
        body: &[0xC0, 0x80, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
        changeable: &[0x80, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0],
    },
    // Device configuration: LOIS, EEG and SEW, the default compression; SWP may be changed.
    Template {
        code: CONFIGURATION.0,
        subpage: CONFIGURATION.1,
        body: &[0, 0, 0, 0, 0, 0x32, 0x40, 0, 0x18, 0, 0, 0, 1, 0],
        changeable: &[0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0x04, 0, 0, 0, 0xFF, 0],
    },
    // Device configuration extension: write mode and programmable early warning may be changed.
    Template {
        code: CONFIGURATION_EXTENSION.0,
        subpage: CONFIGURATION_EXTENSION.1,
        body: &[0; 28],
        changeable: &[
            0, 0xF0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0,
        ],
    },
    // Medium partition: as many as the cartridge has, and no way to make more; format and partition
    // are recognised.
    Template {
        code: PARTITIONS.0,
        subpage: PARTITIONS.1,
        body: &[0, 0, 0, 3, 9, 0],
        changeable: &[0; 6],
    },
    // Informational exceptions: reported by TapeAlert pages only.
    Template {
        code: 0x1C,
        subpage: 0,
        body: &[0x08, 0x03, 0, 0, 0, 0, 0, 0, 0, 0],
        changeable: &[0x8C, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    },
    // Medium configuration: on write-once media, filemarks before end of data may be overwritten.
    Template {
        code: MEDIUM_CONFIGURATION.0,
        subpage: MEDIUM_CONFIGURATION.1,
        body: &[
            0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0,
        ],
        changeable: &[0; 30],
    },
];

impl ModePages {
    /// As after power-on, without a cartridge.
    pub(crate) fn new() -> Self {
        let pages = TEMPLATES.iter().map(|template| Stored {
            code: template.code,
            subpage: template.subpage,
            body: template.body.to_vec(),
        });
        Self {
            block_length: 0,
            buffered: 1,
            medium_type: 0,
            density: 0,
            write_protected: false,
            pages: pages.collect(),
        }
    }

    /// Shows what cartridge is loaded.
    pub(crate) fn show_medium(&mut self, cartridge: &Cartridge, writable: bool) {
        let format = Format::of(cartridge.density);
        let worm = if cartridge.worm { 4 } else { 0 };
        self.medium_type = format.map_or(0, |format| format.medium_type + worm);
        self.density = cartridge.density;
        self.write_protected = !writable;
        self.set_byte(MEDIUM_CONFIGURATION, 0, u8::from(cartridge.worm));
        self.set_byte(PARTITIONS, 0, cartridge.additional_partitions);
        self.set_byte(PARTITIONS, 1, cartridge.additional_partitions);
    }

    /// Shows that no cartridge is loaded.
    pub(crate) fn forget_medium(&mut self) {
        (self.medium_type, self.density, self.write_protected) = (0, 0, false);
        self.set_byte(MEDIUM_CONFIGURATION, 0, 0);
        self.set_byte(PARTITIONS, 0, 0);
        self.set_byte(PARTITIONS, 1, 0);
        // Append-only mode ends with the cartridge.
        let modes = self.byte(CONFIGURATION_EXTENSION, 1) & 0x0F;
        self.set_byte(CONFIGURATION_EXTENSION, 1, modes);
    }

    /// Bytes of a block in fixed-block commands; 0 is variable.
    pub(crate) fn block_length(&self) -> u32 {
        self.block_length
    }

    pub(crate) fn is_unbuffered(&self) -> bool {
        self.buffered == 0
    }

    pub(crate) fn is_compressing(&self) -> bool {
        self.byte(COMPRESSION, 0) & 0x80 != 0
    }

    /// How blocks that are written are checked.
    pub(crate) fn guard_on_write(&self) -> Option<Method> {
        self.guard(0x80)
    }

    /// What is put behind blocks that are read.
    pub(crate) fn guard_on_read(&self) -> Option<Method> {
        self.guard(0x40)
    }

    fn guard(&self, flag: u8) -> Option<Method> {
        let on = self.byte(DATA_PROTECTION, 2) & flag != 0;
        Method::from_code(self.byte(DATA_PROTECTION, 0)).filter(|_| on)
    }

    /// Whether a drive of this generation protects blocks in the way that is set.
    fn is_protection_known(&self, generation: Generation) -> bool {
        let code = self.byte(DATA_PROTECTION, 0);
        let length = self.byte(DATA_PROTECTION, 1);
        code == 0
            || Method::from_code(code).is_some_and(|method| {
                protection_methods(generation).contains(&method) && usize::from(length) == GUARD
            })
    }

    /// Software write protection (SWP).
    pub(crate) fn is_write_protected(&self) -> bool {
        self.byte(CONFIGURATION, 8) & 0x04 != 0
    }

    pub(crate) fn is_append_only(&self) -> bool {
        self.byte(CONFIGURATION_EXTENSION, 1) >> 4 == 1
    }

    /// How far before early warning programmable early warning lies; 0 is off.
    pub(crate) fn programmable_early_warning_bytes(&self) -> u64 {
        let high = self.byte(CONFIGURATION_EXTENSION, 2);
        let low = self.byte(CONFIGURATION_EXTENSION, 3);
        u64::from(u16::from_be_bytes([high, low])) * 1_000_000
    }

    fn byte(&self, (code, subpage): (u8, u8), at: usize) -> u8 {
        let page = self.pages.iter().find(|page| (page.code, page.subpage) == (code, subpage));
        page.and_then(|page| page.body.get(at)).copied().unwrap_or(0)
    }

    fn set_byte(&mut self, (code, subpage): (u8, u8), at: usize, value: u8) {
        let page = self.pages.iter_mut().find(|page| (page.code, page.subpage) == (code, subpage));
        if let Some(byte) = page.and_then(|page| page.body.get_mut(at)) {
            *byte = value;
        }
    }
}

impl EmulatedDrive {
    /// The parameter list of MODE SENSE, with a header of 4 or 8 bytes.
    pub(crate) fn mode_sense(
        &mut self,
        header: u8,
        descriptors: bool,
        control: PageControl,
        (code, subpage): (u8, u8),
    ) -> Result<Vec<u8>, Check> {
        let modes = &self.registers.modes;
        if control == PageControl::Saved {
            return Err((Key::IllegalRequest, Code::SAVING_NOT_SUPPORTED).into());
        }
        // Page 3Fh is all pages, subpage FFh all subpages, and page 0 none.
        let wanted = |template: &&Template| {
            (code == ALL_PAGES || code == template.code)
                && (subpage == ALL_SUBPAGES || subpage == template.subpage)
        };
        let pages: Vec<RawPage> = TEMPLATES
            .iter()
            .filter(wanted)
            .map(|template| RawPage {
                code: template.code,
                subpage: (template.subpage != 0).then_some(template.subpage),
                savable: false,
                body: match control {
                    PageControl::Changeable => template.changeable.to_vec(),
                    PageControl::Default => template.body.to_vec(),
                    PageControl::Current | PageControl::Saved => modes.body(template).to_vec(),
                },
            })
            .collect();
        if pages.is_empty() && code != 0 {
            return Err(invalid_field(if subpage == 0 { 2 } else { 3 }));
        }
        let block_length = U24::try_from(modes.block_length).unwrap_or(U24::MAX);
        let block = BlockDescriptor { density: modes.density, block_length, ..Default::default() };
        let list = Parameters {
            header: Header {
                medium_type: modes.medium_type,
                write_protected: modes.write_protected || modes.is_write_protected(),
                buffered: modes.buffered,
                speed: 0,
            },
            block: descriptors.then_some(block),
            pages,
        };
        Ok(if header == 4 { list.encode_sense_6() } else { list.encode_sense_10() })
    }

    /// Takes the parameter list of MODE SELECT, with a header of 4 or 8 bytes: all or nothing.
    pub(crate) fn mode_select(
        &mut self,
        header: u8,
        length: u16,
        save: bool,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        if save {
            return Err(invalid_field(1));
        }
        let bytes = received(transfer, length)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let list =
            if header == 4 { Parameters::decode_6(bytes) } else { Parameters::decode_10(bytes) };
        let list = list.ok_or((Key::IllegalRequest, Code::PARAMETER_LIST_LENGTH_ERROR))?;
        let mut modes = self.registers.modes.clone();
        modes.apply(&list)?;
        if !modes.is_protection_known(self.identity.generation) {
            return Err((Key::IllegalRequest, Code::PARAMETER_VALUE_INVALID).into());
        }
        match (self.registers.modes.is_append_only(), modes.is_append_only()) {
            (false, true) if self.stand.position != 0 || self.stand.lost => {
                return Err((Key::IllegalRequest, Code::COMMAND_SEQUENCE_ERROR).into());
            }
            // It ends with the cartridge.
            (true, false) => {
                return Err((Key::IllegalRequest, Code::PARAMETER_VALUE_INVALID).into());
            }
            (false, false | true) | (true, true) => {}
        }
        if modes != self.registers.modes {
            self.registers.modes = modes;
            self.registers.attention(Code::MODE_PARAMETERS_CHANGED, Some(self.nexus));
            self.registers_changed = true;
        }
        Ok(bytes.len())
    }
}

impl ModePages {
    fn body(&self, template: &Template) -> &[u8] {
        let own = |page: &&Stored| (page.code, page.subpage) == (template.code, template.subpage);
        self.pages.iter().find(own).map_or(template.body, |page| &page.body)
    }

    /// Adds a page that an older program, which wrote the drive's file, did not know.
    fn learn(&mut self, template: Option<&Template>) {
        if let Some(&Template { code, subpage, body, .. }) = template
            && !self.pages.iter().any(|page| (page.code, page.subpage) == (code, subpage))
        {
            self.pages.push(Stored { code, subpage, body: body.to_vec() });
        }
    }

    /// Takes what a host sent, unless it would change what it may not.
    fn apply(&mut self, list: &Parameters) -> Result<(), Sense> {
        if list.header.buffered > 1 {
            return Err(Sense::invalid_parameter_field(2));
        }
        self.buffered = list.header.buffered;
        if let Some(block) = list.block {
            let known = [0, 0x7F, self.density].contains(&block.density);
            if !known || block.block_length.get() > BLOCK_LIMIT {
                return Err(Sense::invalid_parameter_field(4));
            }
            self.block_length = block.block_length.get();
        }
        for raw in &list.pages {
            let place = (raw.code, raw.subpage.unwrap_or(0));
            let template = TEMPLATES.iter().find(|page| (page.code, page.subpage) == place);
            self.learn(template);
            let own = self.pages.iter_mut().find(|page| (page.code, page.subpage) == place);
            let (Some(template), Some(own)) = (template, own) else {
                return Err(Sense::invalid_parameter_field(0));
            };
            let may_change = |((new, old), mask): ((&u8, &u8), &u8)| (new ^ old) & !mask == 0;
            let allowed = raw.body.len() == own.body.len()
                && raw.body.iter().zip(&own.body).zip(template.changeable).all(may_change);
            if !allowed {
                return Err(Sense::invalid_parameter_field(0));
            }
            own.body.clone_from(&raw.body);
        }
        Ok(())
    }
}
