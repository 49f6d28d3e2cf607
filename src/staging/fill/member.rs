//! From an item to its member: the draft of its entry, its head, what its line will weigh.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    digest::ChainingValue,
    ident::SourceName,
    item::{Extent, Item, Kind, LinkGroup},
    staging::{error::StagingError, fill::room::Linked},
    tar::{Encoded, MemberKind},
    volume::{
        manifest::{Entry, Part},
        member::{head_of, path_of},
    },
};

/// What a manifest line takes at most besides what the item brings, in bytes.
const LINE_BASE: u64 = 640;

/// The entry of an item, as far as it is known before its bytes are.
pub(in crate::staging) fn draft(source: &SourceName, item: Item, part: Option<Part>) -> Entry {
    let path = path_of(source, &item, part);
    Entry {
        source: source.clone(),
        item,
        path,
        offset: 0,
        data: 0,
        stored: 0,
        digest: None,
        part,
        linked_to: None,
        torn: false,
        chaining: String::new(),
    }
}

/// How many bytes of content come for an entry.
pub(in crate::staging) fn content_length(entry: &Entry) -> u64 {
    match (&entry.item.kind, entry.part) {
        (Kind::File, Some(part)) => part.length,
        (Kind::File, None) => entry.item.size,
        (
            Kind::Directory
            | Kind::Symlink { .. }
            | Kind::Fifo
            | Kind::CharacterDevice { .. }
            | Kind::BlockDevice { .. }
            | Kind::DeleteMarker,
            _,
        ) => 0,
    }
}

/// How long a member's pieces are, and for a sparse one where its data lie.
pub(in crate::staging) type Shape = (Encoded, Option<Vec<Extent>>);

/// Appends the head of an entry's member to `out`; `None` for an entry without a member.
pub(in crate::staging) fn encode_head(
    entry: &Entry,
    out: &mut Vec<u8>,
) -> Result<Option<Shape>, StagingError> {
    let Some(head) = head_of(entry) else { return Ok(None) };
    let encoded = head.encode_into(out).map_err(|error| StagingError::Unfit {
        key: entry.item.key.clone(),
        cause: Box::new(error),
    })?;
    let extents = match head.kind {
        MemberKind::Sparse { extents, .. } => Some(extents),
        MemberKind::File { .. }
        | MemberKind::HardLink { .. }
        | MemberKind::Symlink { .. }
        | MemberKind::Directory
        | MemberKind::Fifo
        | MemberKind::CharacterDevice { .. }
        | MemberKind::BlockDevice { .. } => None,
    };
    Ok(Some((encoded, extents)))
}

/// Writes down where a member lies.
pub(in crate::staging) fn place(entry: &mut Entry, encoded: Encoded, offset: u64) {
    entry.offset = offset;
    entry.data = offset + encoded.headers;
    entry.stored = encoded.map + encoded.data;
}

/// The file behind the names of a whole, unversioned item.
pub(in crate::staging) fn link_group(entry: &Entry) -> Option<(SourceName, LinkGroup)> {
    let whole = entry.part.is_none() && entry.item.version.is_none();
    let group = entry.item.posix.as_ref()?.link_group.filter(|_| whole)?;
    (entry.item.kind == Kind::File).then(|| (entry.source.clone(), group))
}

/// What other names of the entry's file can link to, if it holds the file's bytes.
pub(in crate::staging) fn link_of(entry: &Entry) -> Option<((SourceName, LinkGroup), Linked)> {
    let of = link_group(entry)?;
    let digest = entry.digest.filter(|_| entry.linked_to.is_none())?;
    let (key, modified) = (entry.item.key.clone(), entry.item.modified);
    Some((of, Linked { key, size: entry.item.size, modified, digest }))
}

/// The chaining values as a manifest has them: none for content of one range, or for a sparse
/// member, whose ranges are not on tape as they are in the content.
pub(in crate::staging) fn chaining(values: &[ChainingValue]) -> String {
    if values.len() < 2 {
        return String::new();
    }
    BASE64_STANDARD.encode(values.iter().flat_map(|value| value.0).collect::<Vec<u8>>())
}

/// What an entry's manifest line takes, in bytes: about, and rather more.
pub(in crate::staging) fn line_estimate(entry: &Entry, content: u64) -> u64 {
    let item = &entry.item;
    let texts = item.key.0.len() * 4 / 3
        + item.version.0.len()
        + entry.path.as_ref().map_or(0, String::len)
        + item.extents.as_ref().map_or(0, |extents| extents.len() * 48);
    let posix = item.posix.as_ref().map_or(0, |posix| {
        let xattrs = posix.xattrs.iter().map(|x| x.name.len() + x.value.len() * 4 / 3 + 32);
        posix.user.len() + posix.group.len() + xattrs.sum::<usize>()
    });
    let object = item.object.as_ref().map_or(0, |object| {
        let maps = [&object.headers, &object.metadata, &object.tags];
        let pairs = maps.into_iter().flatten().map(|(name, value)| name.len() + value.len() + 8);
        object.etag.len()
            + object.storage_class.len()
            + object.verified.len()
            + pairs.sum::<usize>()
    });
    let values = content.div_ceil(crate::digest::RANGE) * 43;
    LINE_BASE + (texts + posix + object) as u64 + values
}
