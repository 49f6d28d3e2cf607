//! Commands under a fault.

use crate::emulator::{
    answer::{Answer, Check, room},
    drive::{EmulatedDrive, data, pages::ModePages, state::Seat},
    faults::{CommandKind, Effect},
};
use crate::scsi::sense::{Code, Key, Sense};
use crate::transport::Transfer;

impl EmulatedDrive {
    /// Runs a command under a fault.
    #[expect(clippy::too_many_lines, reason = "a table, one arm an effect")]
    pub(super) fn run_struck(
        &mut self,
        effect: Effect,
        cdb: &[u8],
        transfer: &mut Transfer<'_>,
    ) -> Struck {
        if let Err(check) = self.notice_change() {
            return Struck::Answer(Err(check));
        }
        let writes = matches!(transfer, Transfer::ToDevice(_));
        let sense = |key: u8, asc, ascq| Sense::new(Key::from_bits(key), Code { asc, ascq });
        match effect {
            Effect::ReplyLostBefore => Struck::NoReply,
            Effect::ReplyLostAfter => {
                if let Err(check) = self.run(cdb, transfer) {
                    tracing::debug!(?check, "an answer that never arrives");
                }
                Struck::NoReply
            }
            Effect::Refused => Struck::Refused,
            Effect::MediumError => {
                let code = if writes { Code::WRITE_ERROR } else { Code::UNRECOVERED_READ_ERROR };
                let alert = if writes { 6 } else { 5 };
                self.raise_alert(alert);
                let counters = &mut self.registers.counters;
                if writes {
                    counters.write_errors += 1;
                } else {
                    counters.read_errors += 1;
                    self.pass_object();
                }
                let information = i64::try_from(room(transfer)).ok();
                let sense = Sense { information, ..Sense::new(Key::MediumError, code) };
                Struck::Answer(Err(sense.into()))
            }
            Effect::EndOfMedium => Struck::Answer(Err(self.overflow(room(transfer) as u64))),
            Effect::RecoveredError => {
                let counters = &mut self.registers.counters;
                if writes {
                    counters.write_errors_corrected += 1;
                } else {
                    counters.read_errors_corrected += 1;
                }
                self.registers_changed = true;
                let sense = Sense::new(Key::RecoveredError, Code::RECOVERED_WITH_RETRIES);
                let answer = self.run(cdb, transfer);
                if answer.is_ok() && self.circumstances(cdb).kind == CommandKind::Write {
                    self.rewrite();
                }
                Struck::Answer(after(answer, sense))
            }
            Effect::EarlyWarning => {
                let sense = data::warning(Code::END_OF_PARTITION_DETECTED);
                Struck::Answer(after(self.run(cdb, transfer), sense))
            }
            Effect::ProgrammableEarlyWarning => {
                let sense = data::warning(Code::PROGRAMMABLE_EARLY_WARNING_DETECTED);
                Struck::Answer(after(self.run(cdb, transfer), sense))
            }
            Effect::Deferred(lost) => {
                let sense = Sense::new(Key::MediumError, Code::WRITE_ERROR);
                let answer = self
                    .lose_buffered(lost)
                    .and(Err(Check::from(Sense { deferred: true, ..sense })));
                Struck::Answer(answer)
            }
            Effect::Reset(lost) => {
                let answer = self.lose_buffered(lost);
                (self.stand.appending, self.stand.lost) = (false, true);
                self.stand.prevented = false;
                self.registers.modes = ModePages::new();
                self.show_medium();
                let answer = answer.and(self.crypto.forget().map(|()| 0).map_err(Check::from));
                self.registers.attention(Code::POWER_ON_OR_RESET, Some(self.nexus));
                let code = Code::POWER_ON_OR_RESET;
                Struck::Answer(answer.and(Err((Key::UnitAttention, code).into())))
            }
            Effect::FlipBit(bit) => Struck::Answer(self.run_flipped(bit, cdb, transfer)),
            Effect::Sense(key, asc, ascq) => Struck::Answer(Err(sense(key, asc, ascq).into())),
            Effect::SenseAfter(key, asc, ascq) => {
                Struck::Answer(after(self.run(cdb, transfer), sense(key, asc, ascq)))
            }
            Effect::Alert(flag) => {
                self.raise_alert(flag);
                Struck::Answer(self.run(cdb, transfer))
            }
            Effect::HardwareError => {
                self.registers.write_refused = true;
                self.registers_changed = true;
                let sense = Sense::new(Key::HardwareError, Code::INTERNAL_TARGET_FAILURE);
                Struck::Answer(Err(sense.into()))
            }
            Effect::ParametersChanged => {
                self.registers.modes = ModePages::new();
                self.registers_changed = true;
                self.show_medium();
                let sense = Sense::new(Key::UnitAttention, Code::MODE_PARAMETERS_CHANGED);
                Struck::Answer(Err(sense.into()))
            }
            Effect::Rewound => {
                let rewound = if self.stand.seat == Seat::Ready { self.rewind() } else { Ok(0) };
                Struck::Answer(rewound.and_then(|_| self.run(cdb, transfer)))
            }
            Effect::PowerLoss(seed) => {
                let lost = self.lose_power(seed).map_err(Check::from);
                Struck::Answer(lost.and_then(|()| self.run(cdb, transfer)))
            }
            Effect::WriteProtect => {
                if let Some(loaded) = &mut self.loaded {
                    (loaded.cartridge.write_protected, loaded.changed) = (true, true);
                }
                self.show_medium();
                let saved = self.save_cartridge().map_err(Check::from);
                Struck::Answer(saved.and_then(|()| self.run(cdb, transfer)))
            }
            Effect::WrongCartridge => Struck::Answer(self.run(cdb, transfer)),
        }
    }

    /// Runs a command with one bit of its data flipped on their way.
    fn run_flipped(&mut self, bit: u64, cdb: &[u8], transfer: &mut Transfer<'_>) -> Answer {
        if let Transfer::ToDevice(data) = transfer {
            let mut damaged = data.to_vec();
            flip(&mut damaged, bit);
            return self.run(cdb, &mut Transfer::ToDevice(&damaged));
        }
        let answer = self.run(cdb, transfer);
        if let Transfer::FromDevice(buffer) = transfer {
            flip(buffer, bit);
        }
        answer
    }
}

/// How a command under a fault ends.
pub(super) enum Struck {
    Answer(Answer),
    NoReply,
    Refused,
}

/// An answer with sense laid over it, unless it has its own.
fn after(answer: Answer, sense: Sense) -> Answer {
    answer.and_then(|transferred| Err(Check::after(transferred, sense)))
}

fn flip(data: &mut [u8], bit: u64) {
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|byte| data.get_mut(byte)) {
        *byte ^= 0x80 >> (bit % 8);
    }
}
