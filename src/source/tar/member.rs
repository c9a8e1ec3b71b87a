//! One archive member: its header block and extended headers, merged into an entry.
//!
//! What has no place in a tree (a name with `..`, a link to nowhere) or no meaning here (a volume label) is
//! [`Shape::Hidden`]: it stays in the stream, and the reason is told.

use super::acl;
use super::extra::Extra;
use super::header::{Dialect, Header};
use super::sparse::RawMap;
use super::{MAX_PATH_BYTES, show};
use crate::entry::{Entry, EntryPath, Kind, Meta, Time};
use crate::error::{Class, Error, Result};

/// The longest owner or group name.
const MAX_OWNER_BYTES: usize = 255;

/// The owner that stands in for a number that no file can have.
const NOBODY: u32 = 65534;

/// A member, with `stored` bytes behind its header (its map included, if it has one there).
pub(super) struct Member {
    /// Its name as the archive writes it.
    pub(super) name: Vec<u8>,
    pub(super) shape: Shape,
    pub(super) stored: u64,
    pub(super) layout: Layout,
    /// What the user must know about it.
    pub(super) problems: Vec<String>,
}

/// What becomes of a member.
pub(super) enum Shape {
    /// An entry; its content follows if it is a file.
    Shown(Box<Entry>),
    /// It is kept in the stream only, for this reason.
    Hidden(String),
}

/// How the stored bytes of a file make its content.
pub(super) enum Layout {
    /// They are it.
    Plain,
    /// Old GNU map: this many bytes in all; slots in the header, then in blocks behind it.
    OldGnu(u64),
    /// A map of lines in front of the content; this many bytes in all.
    Lines(u64),
    /// A map from the extended header; this many bytes in all.
    Mapped(RawMap, u64),
}

/// Merges `header`, found at byte `offset`, with what extended headers said about it.
pub(super) fn merge(header: &Header, mut extra: Extra, offset: u64) -> Result<Member> {
    let sparse_name = extra.sparse.name.take();
    let name = sparse_name
        .or_else(|| extra.path.take())
        .or_else(|| extra.long_path.take())
        .unwrap_or_else(|| header.path());
    let stored = match extra.size.or_else(|| header.size()) {
        Some(stored) if i64::try_from(stored).is_ok() => stored,
        _ => {
            return Err(Error::corrupt(format!(
                "the size of '{}' at byte {offset} of the tar is not readable",
                show(&name)
            )));
        }
    };
    let stored = if has_content(header.flag()) {
        stored
    } else {
        0
    };
    let kind = kind(header, &mut extra, &name);
    let layout = match kind {
        Ok(Kind::File) => layout(header, &mut extra, stored)
            .map_err(|e| e.within(format!("'{}'", show(&name))))?,
        _ => Layout::Plain,
    };
    let shape = match kind.and_then(|kind| place(&name, kind)) {
        Ok(mut entry) => {
            entry.meta = meta(header, &mut extra);
            entry.size = match (&entry.kind, &layout) {
                (Kind::File, Layout::Plain) => stored,
                (_, Layout::OldGnu(size) | Layout::Lines(size) | Layout::Mapped(_, size)) => *size,
                (_, Layout::Plain) => 0,
            };
            Shape::Shown(Box::new(entry))
        }
        Err(reason) => Shape::Hidden(reason),
    };
    Ok(Member {
        name,
        shape,
        stored,
        layout,
        problems: extra.problems,
    })
}

/// False for the types whose size field says nothing about what follows (links, devices, directories).
fn has_content(flag: u8) -> bool {
    !matches!(flag, b'1'..=b'6')
}

/// What the type flag stands for, or why it has no place in a tree.
fn kind(header: &Header, extra: &mut Extra, name: &[u8]) -> Result<Kind, String> {
    let flag = header.flag();
    Ok(match flag {
        // Before directories had a type of their own, a slash told them.
        b'0' | b'7' if name.ends_with(b"/") => Kind::Directory,
        b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink(link_path(&link(header, extra))?),
        b'2' => Kind::Symlink(link_target(link(header, extra))?),
        b'3' => {
            let (major, minor) = device(header, extra)?;
            Kind::CharDevice(major, minor)
        }
        b'4' => {
            let (major, minor) = device(header, extra)?;
            Kind::BlockDevice(major, minor)
        }
        b'5' | b'D' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' if header.dialect == Dialect::Gnu => Kind::File,
        b'S' => return Err("it is sparse in a dialect of star that is not read".into()),
        b'V' => return Err("it is a volume label".into()),
        b'M' => return Err("it continues a file from another volume".into()),
        b'A' | b'E' | b'I' | b'N' => {
            let letter = char::from(flag);
            return Err(format!("its type '{letter}' is metadata of another system"));
        }
        _ => {
            let letter = flag.escape_ascii();
            extra.problem(&format!("its type '{letter}' is unknown: taken as a file"));
            Kind::File
        }
    })
}

fn link(header: &Header, extra: &mut Extra) -> Vec<u8> {
    let link = extra.link.take().or_else(|| extra.long_link.take());
    link.unwrap_or_else(|| header.link().to_vec())
}

fn link_path(target: &[u8]) -> Result<EntryPath, String> {
    let path = parse_path(target).map_err(|e| format!("it links to '{}': {e}", show(target)))?;
    if path.is_root() {
        return Err("it is a hard link to the root of the tree".into());
    }
    Ok(path)
}

fn link_target(target: Vec<u8>) -> Result<Vec<u8>, String> {
    if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains(&0) {
        return Err("its link target is empty, too long, or has a NUL byte".into());
    }
    Ok(target)
}

fn device(header: &Header, extra: &Extra) -> Result<(u32, u32), String> {
    let part = |value: Option<i64>| value.map(u32::try_from);
    let (Some((major, minor)), None | Some(Ok(_)), None | Some(Ok(_))) =
        (header.device(), part(extra.devmajor), part(extra.devminor))
    else {
        return Err("its device number is not readable".into());
    };
    let or = |value, other| {
        part(value)
            .and_then(std::result::Result::ok)
            .unwrap_or(other)
    };
    Ok((or(extra.devmajor, major), or(extra.devminor, minor)))
}

fn parse_path(bytes: &[u8]) -> Result<EntryPath, String> {
    if bytes.is_empty() {
        return Err("the name is empty".into());
    }
    if bytes.len() > MAX_PATH_BYTES {
        return Err(format!("the path is longer than {MAX_PATH_BYTES} bytes"));
    }
    EntryPath::parse(bytes).map_err(|e| e.to_string())
}

fn place(name: &[u8], kind: Kind) -> Result<Entry, String> {
    let path = parse_path(name)?;
    if path.is_root() && kind != Kind::Directory {
        return Err("its name is that of the tree's root".into());
    }
    Ok(Entry::new(path, kind))
}

/// Finds the sparse dialect, if any, and checks that its records are complete.
fn layout(header: &Header, extra: &mut Extra, stored: u64) -> Result<Layout> {
    let sparse = &mut extra.sparse;
    let incomplete =
        || Error::corrupt("its sparse records contradict each other or are incomplete");
    let sized = |size: Option<u64>| {
        let size = size.filter(|size| i64::try_from(*size).is_ok());
        size.ok_or_else(|| Error::corrupt("the logical size of the sparse file is not readable"))
    };
    if header.flag() == b'S' {
        let (_, _, size) = header.old_sparse();
        if !sparse.is_empty() {
            return Err(incomplete());
        }
        return Ok(Layout::OldGnu(sized(size)?));
    }
    if sparse.is_cocoon() {
        let cocoon = (sparse.cocoon_map.take(), sparse.cocoon_size.take());
        return match cocoon {
            (Some(map), Some(size)) if sparse.is_empty() => {
                Ok(Layout::Mapped(map, sized(Some(size))?))
            }
            _ => Err(incomplete()),
        };
    }
    if sparse.is_empty() {
        return Ok(Layout::Plain);
    }
    match sparse.version {
        [Some(1), Some(0)] if sparse.map.is_none() && stored > 0 => {
            Ok(Layout::Lines(sized(sparse.size)?))
        }
        [None, None] | [Some(0), Some(0 | 1) | None] => {
            let map = sparse.map.take().unwrap_or_default();
            let blocks = sparse.blocks.unwrap_or(map.len() as u64);
            if sparse.is_torn() || blocks != map.len() as u64 || sparse.size.is_none() {
                return Err(incomplete());
            }
            Ok(Layout::Mapped(map, sized(sparse.size)?))
        }
        [Some(1), Some(0)] => Err(incomplete()),
        [major, minor] => Err(Error::new(
            Class::Unsupported,
            format!(
                "it is sparse in version {}.{} of the GNU dialect; versions 0.0, 0.1 and 1.0 are known",
                major.unwrap_or(0),
                minor.unwrap_or(0)
            ),
        )),
    }
}

fn meta(header: &Header, extra: &mut Extra) -> Meta {
    let (user, group) = header.names();
    let (atime, ctime) = header.other_times();
    let seconds = |value: i64| Time::new(value, 0);
    let mode = field(header.mode(), "mode", extra);
    let mtime = match extra.mtime {
        Some(time) => time,
        None => seconds(field(header.mtime(), "time", extra)),
    };
    let uid = extra.uid.or_else(|| header.uid());
    let gid = extra.gid.or_else(|| header.gid());
    let mode = u32::try_from(mode & 0o7777).unwrap_or(0);
    let xattrs = extra.take_xattrs();
    // bsdtar writes the group's own bits in the header, where a kernel shows the mask.
    let permissions = xattrs
        .iter()
        .find(|xattr| xattr.name == b"system.posix_acl_access")
        .and_then(|xattr| acl::permissions(&xattr.value));
    Meta {
        mode: permissions.map_or(mode, |bits| mode & 0o7000 | bits),
        uid: owner(uid, "owner", extra),
        gid: owner(gid, "group", extra),
        user: owner_name(extra.user.take(), user, extra),
        group: owner_name(extra.group.take(), group, extra),
        mtime,
        atime: extra.atime.or(atime.map(seconds)),
        ctime: extra.ctime.or(ctime.map(seconds)),
        xattrs,
    }
}

fn field(value: Option<i64>, what: &str, extra: &mut Extra) -> i64 {
    if value.is_none() {
        extra.problem(&format!("its {what} field is no number: 0 is shown"));
    }
    value.unwrap_or(0)
}

fn owner(id: Option<i64>, what: &str, extra: &mut Extra) -> u32 {
    if let Some(Ok(id)) = id.map(u32::try_from) {
        return id;
    }
    let id = id.map_or("field".into(), |id| id.to_string());
    extra.problem(&format!(
        "its {what} {id} is no number that a file can have: {NOBODY} is shown"
    ));
    NOBODY
}

fn owner_name(record: Option<Vec<u8>>, header: &[u8], extra: &mut Extra) -> Vec<u8> {
    let name = record.unwrap_or_else(|| header.to_vec());
    if name.len() > MAX_OWNER_BYTES || name.contains(&0) {
        extra.problem("its owner's or group's name is no name: none is shown");
        return Vec::new();
    }
    name
}
