//! The label: tape file 0 against its digest and, where it can be made anew, byte by byte.

use crate::{
    digest::Digest,
    job::{
        Desk, JobError,
        rig::Station,
        verify::{
            segment::first_difference,
            sweep::{Stop, Stretch, sweep},
        },
    },
    media::Volume,
    position::ObjectNumber,
    tar::{Names, Reader},
    volume::{
        FORMAT,
        label::{self, LABEL_MAX, Label},
    },
};

/// What tape file 0 holds.
#[derive(Debug)]
pub(super) struct LabelRead {
    /// What is wrong with it.
    pub(super) finding: Option<String>,
    /// What it says, if that can be made out.
    pub(super) label: Option<Label>,
    /// Digest of its bytes, if all were read.
    pub(super) digest: Option<Digest>,
    /// Where the next tape file begins, if the filemark was found.
    pub(super) next: Option<ObjectNumber>,
}

/// Reads the label, from the beginning of the tape, where the drive stands.
pub(super) fn read(
    station: &mut Station,
    volume: Option<&Volume>,
    desk: &Desk,
) -> Result<LabelRead, JobError> {
    let mut bytes = Vec::new();
    let stretch = Stretch { start: ObjectNumber(0), blocks: None, skip: true };
    let swept = sweep(station, stretch, desk, |block| {
        let block = block.unwrap_or(&[0; label::BLOCK]);
        let room = (LABEL_MAX + 1).saturating_sub(bytes.len());
        bytes.extend_from_slice(&block[..block.len().min(room)]);
        Ok(())
    })?;
    let digest = swept.unread.is_empty().then(|| Digest::of(&bytes));
    let label = label::decode(&bytes).ok();
    let finding = match (swept.unread.first(), swept.end, volume) {
        (Some(block), ..) => Some(format!("block {block} of the label cannot be read")),
        (None, Stop::Filemark, Some(volume)) if digest != Some(volume.label_digest) => {
            Some(difference(volume, &bytes, label.as_ref()))
        }
        (None, Stop::Filemark, _) => None,
        (None, _, _) => Some("the label has no filemark behind it".to_owned()),
    };
    let next = (swept.end == Stop::Filemark).then(|| ObjectNumber(swept.blocks + 1));
    Ok(LabelRead { finding, label, digest, next })
}

/// Where a label differs from the one that the volume was given.
fn difference(volume: &Volume, found: &[u8], said: Option<&Label>) -> String {
    let expected = label::encode(&Label {
        format: FORMAT,
        volume: volume.id,
        volser: volume.volser,
        barcode: volume.barcode,
        mam_serial: volume.mam_serial.clone(),
        pool: volume.pool.clone(),
        block_size: volume.block_size,
        created: volume.created,
        protected_until: volume.protected_until,
        // The catalog does not know these two.
        encryption: said.and_then(|label| label.encryption.clone()),
        block_protection: said.and_then(|label| label.block_protection.clone()),
        emulated: volume.emulated,
    });
    if Digest::of(&expected) != volume.label_digest {
        // Another version of the program wrote it, so its texts are not known here.
        return "the label disagrees with its digest".to_owned();
    }
    let at = first_difference(found, &expected).unwrap_or_default();
    let mut what = "the end of the archive".to_owned();
    let mut reader = Reader::new(&expected[..], Names::Safe);
    while let Ok(Some(member)) = reader.next_member() {
        let end = (member.data + member.stored).next_multiple_of(512);
        if (member.offset..end).contains(&at) {
            let piece = if at < member.data { "the header of " } else { "" };
            what = format!("{piece}{}", member.head.path);
        }
    }
    format!("the label is hit: {what} disagrees (byte {at} of tape file 0)")
}
