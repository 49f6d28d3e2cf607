//! The pages that are used, each as the struct that lies on the wire after the page's header.
//!
//! [`Parameters::get`] reads one; [`Parameters::set`] puts it back over what the device said, so
//! that the bits that are not ours stay as they were.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

use crate::scsi::mode::list::{Parameters, RawPage};

/// A mode page with a fixed layout.
pub trait Page: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Sized {
    /// Page code.
    const CODE: u8;
    /// Subpage code, if it has one.
    const SUBPAGE: Option<u8> = None;

    /// The page as it stands in a parameter list.
    fn raw(&self) -> RawPage {
        RawPage {
            code: Self::CODE,
            subpage: Self::SUBPAGE,
            savable: false,
            body: self.as_bytes().to_vec(),
        }
    }
}

impl Parameters {
    /// The page of this kind; bytes that the device left off are zero. `None` when there is none.
    pub fn get<P: Page>(&self) -> Option<P> {
        let body = self.page(P::CODE, P::SUBPAGE)?;
        let mut page = P::new_zeroed();
        for (to, from) in page.as_mut_bytes().iter_mut().zip(body) {
            *to = *from;
        }
        Some(page)
    }

    /// Puts `page` over the page of its kind, as far as that reaches; adds it if there is none.
    pub fn set<P: Page>(&mut self, page: &P) {
        let is_it = |raw: &&mut RawPage| raw.code == P::CODE && raw.subpage == P::SUBPAGE;
        let Some(raw) = self.pages.iter_mut().find(is_it) else {
            self.pages.push(page.raw());
            return;
        };
        for (to, from) in raw.body.iter_mut().zip(page.as_bytes()) {
            *to = *from;
        }
    }
}

/// Data compression (SSC, Data Compression mode page).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Compression {
    /// Bit 7 DCE, bit 6 DCC.
    pub flags: u8,
    /// Bit 7 DDE, bits 6 to 5 RED.
    pub decompression_flags: u8,
    /// Algorithm for writing; 0 none, 1 the drive's default.
    pub compression: U32,
    /// Algorithm for reading.
    pub decompression: U32,
    #[doc(hidden)]
    pub reserved: [u8; 4],
}

/// Device configuration (SSC, Device Configuration mode page).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct DeviceConfiguration {
    /// Bit 6 CAP, bit 5 CAF, bits 4 to 0 active format.
    pub format: u8,
    /// The partition that is used, from 0.
    pub active_partition: u8,
    /// How full the buffer gets before writing begins.
    pub write_ratio: u8,
    /// How empty before reading begins.
    pub read_ratio: u8,
    /// Before a partly full buffer is written out, in 100 ms.
    pub write_delay: U16,
    /// Bit 6 LOIS: object identifiers are supported; bit 1 RBO, bit 0 REW.
    pub flags: u8,
    /// Gap size.
    pub gap: u8,
    /// Bits 7 to 5 where end of data is defined, bit 4 EEG, bit 3 SEW, bit 2 SWP.
    pub end_flags: u8,
    /// Bytes of the buffer at early warning.
    pub buffer_at_early_warning: [u8; 3],
    /// 0 no compression, 1 the default algorithm.
    pub select_compression: u8,
    /// Bits 7 to 6 WTRE, bit 5 OIR, bit 2 ASOCWP, bit 1 PERSWP, bit 0 PRMWP.
    pub protection: u8,
}

/// Device configuration extension (SSC, Device Configuration Extension mode page).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct DeviceConfigurationExtension {
    #[doc(hidden)]
    pub reserved: u8,
    /// Bits 7 to 4 write mode (0 overwrite allowed, 1 append only), bits 3 to 0 short erase mode.
    pub modes: u8,
    /// How far before early warning programmable early warning lies, in MB; 0 is off.
    pub early_warning_megabytes: U16,
    #[doc(hidden)]
    pub reserved_too: [u8; 24],
}

/// Medium partition (SSC, Medium Partition mode page), without the list of sizes that follows.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Partitions {
    /// Partitions beyond the first that the drive can make.
    pub most_additional: u8,
    /// Partitions beyond the first that the medium has.
    pub additional: u8,
    /// Bit 7 FDP, bit 6 SDP, bit 5 IDP, bits 4 to 3 PSUM, bit 2 POFM, bit 1 CLEAR, bit 0 ADDP.
    pub flags: u8,
    /// 3 when the drive recognises format and partitions.
    pub recognition: u8,
    /// Bits 3 to 0: the power of ten bytes that sizes are counted in.
    pub units: u8,
    #[doc(hidden)]
    pub reserved: u8,
}

/// Control data protection (SSC, Control Data Protection mode page): logical block protection.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct DataProtection {
    /// 0 none, 1 Reed-Solomon CRC, 2 CRC32C.
    pub method: u8,
    /// Bits 5 to 0: bytes that protection adds to a block.
    pub length: u8,
    /// Bit 7 LBP_W, bit 6 LBP_R, bit 5 RBDP.
    pub flags: u8,
    #[doc(hidden)]
    pub reserved: [u8; 25],
}

/// Medium configuration (SSC, Medium Configuration mode page), of a tape drive.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct MediumConfiguration {
    /// Bit 0 WORMM: the medium is write-once.
    pub flags: u8,
    #[doc(hidden)]
    pub reserved: u8,
    /// Which labels may be overwritten on a write-once medium.
    pub label_restrictions: u8,
    /// Which filemarks may be overwritten there.
    pub filemark_restrictions: u8,
    #[doc(hidden)]
    pub reserved_too: [u8; 26],
}

/// Informational exceptions (SPC, Informational Exceptions Control mode page).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Exceptions {
    /// Bit 7 PERF, bit 3 DEXCPT (no exceptions), bit 2 TEST.
    pub flags: u8,
    /// Bits 3 to 0 MRIE: how an exception is reported.
    pub method: u8,
    /// Between two reports, in 100 ms.
    pub interval: U32,
    /// How often it is reported; 0 without end.
    pub count: U32,
}

/// Element address assignment (SMC, Element Address Assignment mode page), of a changer.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct ElementAddresses {
    /// Address of the first picker.
    pub first_transport: U16,
    /// How many there are.
    pub transports: U16,
    /// Address of the first slot.
    pub first_storage: U16,
    /// How many there are.
    pub storages: U16,
    /// Address of the first mail slot.
    pub first_import_export: U16,
    /// How many there are.
    pub import_exports: U16,
    /// Address of the first drive.
    pub first_data_transfer: U16,
    /// How many there are.
    pub data_transfers: U16,
    #[doc(hidden)]
    pub reserved: [u8; 2],
}

/// One picker's geometry (SMC, Transport Geometry Parameters mode page).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct TransportGeometry {
    /// Bit 0: it can turn a medium over.
    pub rotate: u8,
    /// Its number in a set of pickers.
    pub member: u8,
}

/// Device capabilities (SMC, Device Capabilities mode page). In each byte, bit 0 is a picker,
/// bit 1 a slot, bit 2 a mail slot and bit 3 a drive.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Capabilities {
    /// Which elements can hold a medium.
    pub store: u8,
    #[doc(hidden)]
    pub reserved: u8,
    /// By kind of source, picker first: where MOVE MEDIUM can go.
    pub moves: [u8; 4],
    #[doc(hidden)]
    pub reserved_too: [u8; 4],
    /// By kind of source: what EXCHANGE MEDIUM can do.
    pub exchanges: [u8; 4],
    #[doc(hidden)]
    pub reserved_last: [u8; 4],
}

const _: () = assert!(size_of::<Compression>() == 0x0E);
const _: () = assert!(size_of::<DeviceConfiguration>() == 0x0E);
const _: () = assert!(size_of::<DeviceConfigurationExtension>() == 0x1C);
const _: () = assert!(size_of::<Partitions>() == 6);
const _: () = assert!(size_of::<DataProtection>() == 0x1C);
const _: () = assert!(size_of::<MediumConfiguration>() == 0x1E);
const _: () = assert!(size_of::<Exceptions>() == 0x0A);
const _: () = assert!(size_of::<ElementAddresses>() == 0x12);
const _: () = assert!(size_of::<TransportGeometry>() == 2);
const _: () = assert!(size_of::<Capabilities>() == 0x12);

impl Page for Compression {
    const CODE: u8 = 0x0F;
}

impl Page for DeviceConfiguration {
    const CODE: u8 = 0x10;
}

impl Page for DeviceConfigurationExtension {
    const CODE: u8 = 0x10;
    const SUBPAGE: Option<u8> = Some(0x01);
}

impl Page for Partitions {
    const CODE: u8 = 0x11;
}

impl Page for DataProtection {
    const CODE: u8 = 0x0A;
    const SUBPAGE: Option<u8> = Some(0xF0);
}

impl Page for MediumConfiguration {
    const CODE: u8 = 0x1D;
}

impl Page for Exceptions {
    const CODE: u8 = 0x1C;
}

impl Page for ElementAddresses {
    const CODE: u8 = 0x1D;
}

impl Page for TransportGeometry {
    const CODE: u8 = 0x1E;
}

impl Page for Capabilities {
    const CODE: u8 = 0x1F;
}

impl Compression {
    const DCE: u8 = 0x80;
    const DCC: u8 = 0x40;

    /// Whether the drive compresses what it writes.
    pub fn is_enabled(&self) -> bool {
        self.flags & Self::DCE != 0
    }

    /// Whether it can.
    pub fn is_capable(&self) -> bool {
        self.flags & Self::DCC != 0
    }

    /// Turns compression on or off.
    pub fn enable(&mut self, on: bool) {
        self.flags = self.flags & !Self::DCE | if on { Self::DCE } else { 0 };
    }
}

impl DeviceConfiguration {
    /// Whether software has write-protected the drive or the medium (SWP, PRMWP, PERSWP, ASOCWP).
    pub fn is_software_protected(&self) -> bool {
        self.end_flags & 0x04 != 0 || self.protection & 0x07 != 0
    }
}

impl DeviceConfigurationExtension {
    /// Allows nothing but appending from now on.
    pub fn forbid_overwriting(&mut self) {
        self.modes = self.modes & 0x0F | 0x10;
    }

    /// Whether only appending is allowed.
    pub fn is_append_only(&self) -> bool {
        self.modes >> 4 == 1
    }
}

impl MediumConfiguration {
    /// Whether the medium is write-once.
    pub fn is_worm(&self) -> bool {
        self.flags & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Page 0Fh with the fields at the places that the standard gives them.
    #[test]
    fn compression_lies_where_the_standard_says() {
        let mut page = Compression { flags: 0x40, compression: 1.into(), ..Compression::default() };
        page.enable(true);
        let bytes = [0x0F, 0x0E, 0xC0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(page.raw().encode(), bytes);
        assert!(page.is_enabled() && page.is_capable());
    }

    #[test]
    fn the_extension_lies_where_the_standard_says() {
        let page = DeviceConfigurationExtension {
            modes: 0x10,
            early_warning_megabytes: 0x0102.into(),
            ..DeviceConfigurationExtension::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&[0x50, 0x01, 0, 0x1C, 0, 0x10, 1, 2]);
        assert_eq!(page.raw().encode(), bytes);
        assert!(page.is_append_only());
    }

    #[test]
    fn the_other_pages_lie_where_the_standard_says() {
        let page =
            DataProtection { method: 2, length: 4, flags: 0xC0, ..DataProtection::default() };
        assert_eq!(page.raw().encode()[..7], [0x4A, 0xF0, 0, 0x1C, 2, 4, 0xC0]);
        let page = DeviceConfiguration { end_flags: 0x04, protection: 1, ..Default::default() };
        let bytes = page.raw().encode();
        assert_eq!((bytes[10], bytes[15]), (0x04, 1));
        assert!(page.is_software_protected());
        let page = ElementAddresses {
            first_transport: 1.into(),
            transports: 1.into(),
            first_storage: 0x03E9.into(),
            storages: 24.into(),
            first_import_export: 0x0065.into(),
            import_exports: 3.into(),
            first_data_transfer: 0x0101.into(),
            data_transfers: 2.into(),
            reserved: [0; 2],
        };
        let bytes = [0x1D, 0x12, 0, 1, 0, 1, 3, 0xE9, 0, 24, 0, 0x65, 0, 3, 1, 1, 0, 2, 0, 0];
        assert_eq!(page.raw().encode(), bytes);
    }

    #[test]
    fn setting_a_page_keeps_what_is_not_ours() {
        let mut list = Parameters::default();
        let mut body = vec![0x40; 14];
        body.extend([0xAA, 0xBB]);
        list.pages.push(RawPage { code: 0x0F, subpage: None, savable: true, body });
        let mut page: Compression = list.get().unwrap();
        page.enable(true);
        list.set(&page);
        let body = list.page(0x0F, None).unwrap();
        assert_eq!((body[0], body[14], body[15]), (0xC0, 0xAA, 0xBB));
        assert_eq!(list.get::<DataProtection>(), None);
        list.set(&DataProtection::default());
        assert_eq!(list.get(), Some(DataProtection::default()));
    }
}
