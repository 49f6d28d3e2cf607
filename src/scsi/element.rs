//! Elements of a library: what READ ELEMENT STATUS says of each.

/// What a place in a library is for (SMC, READ ELEMENT STATUS, element type code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementKind {
    /// 1: the picker that carries cartridges.
    Transport,
    /// 2: a slot.
    Storage,
    /// 3: a mail slot.
    ImportExport,
    /// 4: a drive.
    DataTransfer,
}

impl ElementKind {
    /// Every kind, by code.
    pub const ALL: [Self; 4] =
        [Self::Transport, Self::Storage, Self::ImportExport, Self::DataTransfer];

    /// The element type code, from 1.
    pub fn code(self) -> u8 {
        match self {
            Self::Transport => 1,
            Self::Storage => 2,
            Self::ImportExport => 3,
            Self::DataTransfer => 4,
        }
    }

    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}
