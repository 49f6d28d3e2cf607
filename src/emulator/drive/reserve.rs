//! Who may use the drive: persistent reservations, and the older kind (SPC).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::emulator::{
    answer::{Answer, Check, invalid_field, received},
    drive::EmulatedDrive,
};
use crate::scsi::{
    cdb::{Command, ReserveInAction, ReserveOutAction},
    reservation::{Keys, Reservation, ReserveParameters},
    sense::{Code, Key},
};
use crate::transport::{Status, Transfer};

/// Reservation types in which every registered initiator has access.
const SHARED: [u8; 4] = [5, 6, 7, 8];
/// Reservation types in which others may read.
const WRITE_EXCLUSIVE: [u8; 3] = [1, 5, 7];
/// Reservation types that belong to all registrants.
const ALL_REGISTRANTS: [u8; 2] = [7, 8];
/// Reservation types that there are.
const KINDS: [u8; 6] = [1, 3, 5, 6, 7, 8];

/// What initiators have registered and reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reservations {
    generation: u32,
    /// Keys by initiator.
    registrants: BTreeMap<u64, u64>,
    /// The initiator that holds the reservation, and its type.
    held: Option<(u64, u8)>,
    /// The initiator that holds a reservation of the older kind.
    held_6: Option<u64>,
}

impl Reservations {
    /// Whether `nexus` may run `command` (SPC, Commands allowed in the presence of a reservation).
    pub(crate) fn admits(&self, nexus: u64, command: &Command) -> bool {
        let harmless = matches!(
            command,
            Command::Inquiry { .. }
                | Command::ReportLuns { .. }
                | Command::RequestSense { .. }
                | Command::PersistentReserveIn { .. }
                | Command::PersistentReserveOut { .. }
                | Command::LogSense { .. }
                | Command::ReportSupportedOperationCodes { .. }
                | Command::ReadBlockLimits
                | Command::ReportDensitySupport { .. }
                | Command::PreventAllow { prevent: false }
                | Command::Release6
        );
        let reads = matches!(
            command,
            Command::TestUnitReady
                | Command::ModeSense6 { .. }
                | Command::ModeSense10 { .. }
                | Command::ReadAttribute { .. }
                | Command::ReadPosition { .. }
        );
        let admitted_6 = self.held_6.is_none_or(|holder| holder == nexus);
        let admitted = self.held.is_none_or(|(holder, kind)| {
            holder == nexus
                || (SHARED.contains(&kind) && self.registrants.contains_key(&nexus))
                || (WRITE_EXCLUSIVE.contains(&kind) && reads)
        });
        harmless || (admitted_6 && admitted)
    }

    /// The reply to PERSISTENT RESERVE IN.
    pub(crate) fn report(&self, action: ReserveInAction) -> Vec<u8> {
        let holder = self.held.map(|(nexus, kind)| {
            let key = if ALL_REGISTRANTS.contains(&kind) {
                0
            } else {
                self.registrants.get(&nexus).copied().unwrap_or(0)
            };
            (key, kind)
        });
        match action {
            ReserveInAction::ReadKeys => {
                let keys = self.registrants.values().copied().collect();
                Keys { generation: self.generation, keys }.encode()
            }
            ReserveInAction::ReadReservation => {
                Reservation { generation: self.generation, holder }.encode()
            }
            // Length 8; persistence through power loss is not offered; the types that there are.
            ReserveInAction::ReportCapabilities => vec![0, 8, 0, 0x80, 0xEA, 0x01, 0, 0],
            ReserveInAction::ReadFullStatus => {
                let mut bytes = self.generation.to_be_bytes().to_vec();
                let length = u32::try_from(self.registrants.len() * 24).unwrap_or(u32::MAX);
                bytes.extend(length.to_be_bytes());
                for (nexus, key) in &self.registrants {
                    let mut row = [0; 24];
                    row[..8].copy_from_slice(&key.to_be_bytes());
                    if let Some((holder, kind)) = self.held
                        && (holder == *nexus || ALL_REGISTRANTS.contains(&kind))
                    {
                        (row[12], row[13]) = (1, kind);
                    }
                    bytes.extend(row);
                }
                bytes
            }
        }
    }

    fn register(&mut self, nexus: u64, key: u64) {
        self.generation = self.generation.wrapping_add(1);
        if key != 0 {
            self.registrants.insert(nexus, key);
            return;
        }
        self.registrants.remove(&nexus);
        let all_gone = self.registrants.is_empty();
        self.held = self.held.filter(|(holder, kind)| {
            if ALL_REGISTRANTS.contains(kind) { !all_gone } else { *holder != nexus }
        });
    }

    /// Removes the registrants with `key`; `None` when there are none.
    fn preempt(&mut self, nexus: u64, key: u64, kind: u8) -> Option<Vec<u64>> {
        let gone: Vec<u64> = self
            .registrants
            .iter()
            .filter(|(other, registered)| **registered == key && **other != nexus)
            .map(|(other, _)| *other)
            .collect();
        if gone.is_empty() {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        self.registrants.retain(|other, _| !gone.contains(other));
        if self.held.is_some_and(|(holder, _)| gone.contains(&holder)) {
            self.held = Some((nexus, kind));
        }
        Some(gone)
    }
}

impl EmulatedDrive {
    pub(crate) fn persistent_reserve(
        &mut self,
        action: ReserveOutAction,
        kind: u8,
        length: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let list = received(transfer, length)?;
        let short = (Key::IllegalRequest, Code::PARAMETER_LIST_LENGTH_ERROR);
        let parameters = ReserveParameters::decode(list).ok_or(short)?;
        let nexus = self.nexus;
        let reservations = &mut self.registers.reservations;
        let own = reservations.registrants.get(&nexus).copied();
        let conflict = || Check::status(Status::ReservationConflict);
        let named = match action {
            ReserveOutAction::RegisterAndIgnore => true,
            ReserveOutAction::Register => own.unwrap_or(0) == parameters.key,
            ReserveOutAction::Reserve
            | ReserveOutAction::Release
            | ReserveOutAction::Clear
            | ReserveOutAction::Preempt
            | ReserveOutAction::PreemptAndAbort => own == Some(parameters.key),
        };
        if !named {
            return Err(conflict());
        }
        match action {
            ReserveOutAction::Register | ReserveOutAction::RegisterAndIgnore => {
                reservations.register(nexus, parameters.action_key);
            }
            ReserveOutAction::Reserve => {
                if !KINDS.contains(&kind) {
                    return Err(invalid_field(2));
                }
                match reservations.held {
                    None => reservations.held = Some((nexus, kind)),
                    Some(held) if held == (nexus, kind) => {}
                    Some(_) => return Err(conflict()),
                }
            }
            ReserveOutAction::Release => {
                if reservations.held.is_some_and(|held| held.0 == nexus && held.1 != kind) {
                    let code = Code::INVALID_RELEASE_OF_RESERVATION;
                    return Err((Key::IllegalRequest, code).into());
                }
                reservations.held = reservations.held.filter(|(holder, _)| *holder != nexus);
            }
            ReserveOutAction::Clear => {
                let generation = reservations.generation.wrapping_add(1);
                *reservations = Reservations { generation, ..Reservations::default() };
                self.registers.attention(Code::RESERVATIONS_PREEMPTED, Some(nexus));
            }
            ReserveOutAction::Preempt | ReserveOutAction::PreemptAndAbort => {
                let gone = reservations.preempt(nexus, parameters.action_key, kind);
                for other in gone.ok_or_else(conflict)? {
                    let code = Code::REGISTRATIONS_PREEMPTED;
                    let pending = self.registers.attentions.entry(other).or_default();
                    pending.push((code.asc, code.ascq));
                }
            }
        }
        self.registers_changed = true;
        Ok(0)
    }

    pub(crate) fn reserve_6(&mut self) -> Answer {
        self.registers.reservations.held_6 = Some(self.nexus);
        self.registers_changed = true;
        Ok(0)
    }

    pub(crate) fn release_6(&mut self) -> Answer {
        let reservations = &mut self.registers.reservations;
        reservations.held_6 = reservations.held_6.filter(|holder| *holder != self.nexus);
        self.registers_changed = true;
        Ok(0)
    }
}
