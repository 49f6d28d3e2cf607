//! How much a cartridge holds and what is left, from whichever source the drive has.

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::{
        log::{
            Page,
            parameter::{capacity, volume},
        },
        mam::{Attribute, id},
    },
    unit::{ByteCount, MIB},
};

const MEGABYTE: u64 = 1_000_000;

/// The capacity of the first partition. Coarse, and stale until a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What is left.
    pub remaining: ByteCount,
    /// All of it; `None` when the source does not say.
    pub maximum: Option<ByteCount>,
    /// Who says so.
    pub origin: CapacityOrigin,
}

/// Where a capacity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapacityOrigin {
    /// Log page 31h. Taken as decimal MB; a drive that means MiB has 5 % more than this says.
    TapeCapacityPage,
    /// Log page 17h.
    VolumeStatisticsPage,
    /// Attributes 0000h and 0001h of the chip.
    Chip,
}

impl Drive {
    /// What is left of the first partition.
    ///
    /// # Errors
    ///
    /// [`DriveError::Unsupported`] when neither log page 31h, nor 17h, nor the chip says.
    pub fn remaining(&mut self) -> Result<Capacity, DriveError> {
        match self.capacity()? {
            Some(capacity) => Ok(capacity),
            None => {
                let detail = "neither log page 31h nor 17h nor the chip says what is left";
                Err(DriveError::Unsupported(self.fault("capacity", None, Some(detail))))
            }
        }
    }

    pub(super) fn capacity(&mut self) -> Result<Option<Capacity>, DriveError> {
        if let Some(page) = self.log_page(capacity::PAGE)?
            && let Some(found) = of_capacity_page(&page)
        {
            return Ok(Some(found));
        }
        if let Some(page) = self.log_page(volume::PAGE)?
            && let Some(found) = of_volume_page(&page)
        {
            return Ok(Some(found));
        }
        let remaining = self.mam_read(id::REMAINING_CAPACITY)?;
        let maximum = self.mam_read(id::MAXIMUM_CAPACITY)?;
        Ok(of_attributes(remaining.as_ref(), maximum.as_ref()))
    }
}

fn of_capacity_page(page: &Page) -> Option<Capacity> {
    let bytes = |code| page.number(code).map(|number| scaled(number, MEGABYTE));
    Some(Capacity {
        remaining: bytes(capacity::REMAINING)?,
        maximum: bytes(capacity::MAXIMUM),
        origin: CapacityOrigin::TapeCapacityPage,
    })
}

fn of_volume_page(page: &Page) -> Option<Capacity> {
    let bytes = |code| {
        let records = page.parameter(code)?.records();
        let first = records.into_iter().find(|record| record.partition == 0)?;
        Some(scaled(u64::from(first.megabytes?), MEGABYTE))
    };
    Some(Capacity {
        remaining: bytes(volume::PARTITION_REMAINING)?,
        maximum: bytes(volume::PARTITION_CAPACITY),
        origin: CapacityOrigin::VolumeStatisticsPage,
    })
}

fn of_attributes(remaining: Option<&Attribute>, maximum: Option<&Attribute>) -> Option<Capacity> {
    let bytes = |attribute: Option<&Attribute>| Some(scaled(attribute?.number()?, MIB));
    Some(Capacity {
        remaining: bytes(remaining)?,
        maximum: bytes(maximum),
        origin: CapacityOrigin::Chip,
    })
}

fn scaled(number: u64, unit: u64) -> ByteCount {
    ByteCount(number.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::log::{Parameter, PartitionRecord};

    fn page(code: u8, parameters: Vec<Parameter>) -> Page {
        Page { code, subpage: 0, parameters }
    }

    #[test]
    fn each_source_has_its_unit() {
        let found = of_capacity_page(&page(
            0x31,
            vec![Parameter::of_number(1, 4, 2), Parameter::of_number(3, 4, 12_000_000)],
        ));
        assert_eq!(
            found,
            Some(Capacity {
                remaining: ByteCount(2_000_000),
                maximum: Some(ByteCount(12_000_000_000_000)),
                origin: CapacityOrigin::TapeCapacityPage,
            })
        );
        let records = [
            PartitionRecord { partition: 1, megabytes: Some(9) },
            PartitionRecord { partition: 0, megabytes: Some(3) },
        ];
        let parameter = Parameter::of_records(volume::PARTITION_REMAINING, &records);
        let found = of_volume_page(&page(0x17, vec![parameter])).unwrap();
        assert_eq!((found.remaining, found.maximum), (ByteCount(3_000_000), None));
        let remaining = Attribute::of_number(0, 8, 3);
        let found = of_attributes(Some(&remaining), None).unwrap();
        assert_eq!(found.remaining, ByteCount(3 << 20));
    }

    #[test]
    fn what_is_absent_or_unknown_is_no_capacity() {
        assert_eq!(of_capacity_page(&page(0x31, vec![])), None);
        let unknown = Parameter { code: 1, control: 3, value: vec![0xFF; 4] };
        assert_eq!(of_capacity_page(&page(0x31, vec![unknown])), None);
        let records = [PartitionRecord { partition: 0, megabytes: None }];
        let parameter = Parameter::of_records(volume::PARTITION_REMAINING, &records);
        assert_eq!(of_volume_page(&page(0x17, vec![parameter])), None);
        assert_eq!(of_attributes(None, None), None);
    }
}
