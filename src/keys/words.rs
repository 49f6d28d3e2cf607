//! Words by which a person sees that a line was typed as it is printed.

use crate::keys::secret::DataKey;

/// Lines of a printed key, of eight bytes each.
pub const LINES: usize = 4;

const CONTEXT: &str = "tapevault 2026-11 check word of a printed line";

/// The PGP word list's words of two syllables: told apart over a bad telephone line.
const WORDS: &str = "aardvark absurd accrue acme adrift adult afflict ahead aimless algol allow alone \
    ammo ancient apple artist assume athens atlas aztec baboon backfield backward banjo beaming \
    bedlamp beehive beeswax befriend belfast berserk billiard bison blackjack blockade blowtorch \
    bluebird bombast bookshelf brackish breadline breakup brickyard briefcase burbank button buzzard \
    cement chairlift chatter checkup chisel choking chopper christmas clamshell classic classroom \
    cleanup clockwork cobra commence concert cowbell crackdown cranky crowfoot crucial crumpled \
    crusade cubic dashboard deadbolt deckhand dogsled dragnet drainage dreadful drifter dropper \
    drumbeat drunken dupont dwelling eating edict egghead eightball endorse endow enlist erase escape \
    exceed eyeglass eyetooth facial fallout flagpole flatfoot flytrap fracture framework freedom \
    frighten gazelle geiger glitter glucose goggles goldfish gremlin guidance hamlet highchair hockey \
    indoors indulge inverse involve island jawbone keyboard kickoff kiwi klaxon locale lockup merit \
    minnow miser mohawk mural music necklace neptune newborn nightbird oakland obtuse offload optic \
    orca payday peachy pheasant physique playhouse pluto preclude prefer preshrunk printer prowler \
    pupil puppy python quadrant quiver quota ragtime ratchet rebirth reform regain reindeer rematch \
    repay retouch revenge reward rhythm ribcage ringbolt robust rocker ruffled sailboat sawdust \
    scallion scenic scorecard scotland seabird select sentence shadow shamrock showgirl skullcap \
    skydive slingshot slowdown snapline snapshot snowcap snowslide solo southward soybean spaniel \
    spearhead spellbind spheroid spigot spindle spyglass stagehand stagnate stairway standard stapler \
    steamship sterling stockman stopwatch stormy sugar surmount suspense sweatband swelter tactics \
    talon tapeworm tempest tiger tissue tonic topmost tracker transit trauma treadmill trojan trouble \
    tumor tunnel tycoon uncut unearth unwind uproot upset upshot vapor village virus vulcan waffle \
    wallet watchword wayside willow woodlark zulu";

/// The word behind one line, whose eight bytes these are.
pub(super) fn check_word(line: &[u8]) -> &'static str {
    let [first, ..] = blake3::derive_key(CONTEXT, line);
    WORDS.split_whitespace().nth(usize::from(first)).expect("there are 256 words")
}

/// The words behind the lines of a key.
pub fn check_words(key: &DataKey) -> [&'static str; LINES] {
    let (lines, _) = key.bytes().as_chunks::<8>();
    std::array::from_fn(|line| check_word(&lines[line]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_is_a_word_for_each_byte_and_none_twice() {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        assert_eq!(words.len(), 256);
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), 256);
        // No word may be taken for digits.
        assert!(words.iter().all(|word| word.bytes().any(|byte| !byte.is_ascii_hexdigit())));
    }

    #[test]
    fn each_line_has_a_word_of_its_own() {
        let mut bytes = [0; 32];
        let before = check_words(&DataKey::from_bytes(bytes));
        // They never change: they stand on paper.
        assert_eq!(before, ["music"; LINES]);
        assert_eq!(check_words(&DataKey::from_bytes([1; 32])), ["eating"; LINES]);
        let mut differ = 0;
        for value in 1..=64 {
            bytes[9] = value;
            let after = check_words(&DataKey::from_bytes(bytes));
            assert_eq!((after[0], after[2], after[3]), (before[0], before[2], before[3]));
            differ += usize::from(after[1] != before[1]);
        }
        assert!(differ > 58, "{differ} of 64 mistakes are seen by the word alone");
    }
}
