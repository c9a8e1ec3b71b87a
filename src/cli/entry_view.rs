//! An entry of a snapshot as JSON, and as `ls -l` shows one.

use serde::Serialize;

use super::text;
use crate::entry::EntryPath;
use crate::format::tree::{Body, Node};
use crate::id::to_hex;

/// Bytes as JSON text: what is not UTF-8 is replaced, and given in hexadecimal beside it.
#[derive(Serialize)]
pub(super) struct EntryView {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    size: u64,
    mtime: String,
    links: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    changed_while_read: bool,
}

impl EntryView {
    /// The entry at `path`.
    pub(super) fn new(path: &EntryPath, node: &Node) -> Self {
        let (path, path_hex) = exact(path.as_bytes());
        let target = match &node.body {
            Body::Symlink(target) => Some(exact(target)),
            _ => None,
        };
        let (target, target_hex) = target.map_or((None, None), |(text, hex)| (Some(text), hex));
        let device = match node.body {
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => {
                Some([major, minor])
            }
            _ => None,
        };
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            path,
            path_hex,
            kind: kind(&node.body),
            mode: format!("{:04o}", node.meta.mode),
            uid: node.meta.uid,
            gid: node.meta.gid,
            user: lossy(&node.meta.user),
            group: lossy(&node.meta.group),
            size: node.bytes(),
            mtime: text::utc_time(node.meta.mtime),
            links: node.links,
            target,
            target_hex,
            device,
            xattrs: node
                .meta
                .xattrs
                .iter()
                .map(|xattr| lossy(&xattr.name))
                .collect(),
            changed_while_read: node.torn,
        }
    }
}

/// Text for JSON, and the bytes in hexadecimal where the text is not exactly them.
pub(super) fn exact(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (
            String::from_utf8_lossy(bytes).into_owned(),
            Some(to_hex(bytes)),
        ),
    }
}

/// A word for what a node is; the same as for entries.
pub(super) fn kind(body: &Body) -> &'static str {
    match body {
        Body::File { .. } => "file",
        Body::Directory(_) => "directory",
        Body::Symlink(_) => "symlink",
        Body::Fifo => "fifo",
        Body::Socket => "socket",
        Body::CharDevice(..) => "char-device",
        Body::BlockDevice(..) => "block-device",
    }
}

/// One line as `ls -l` has it, without the name.
pub(super) fn long(node: &Node) -> String {
    let owner = |name: &[u8], number: u32| match name {
        b"" => number.to_string(),
        name => text::name(name),
    };
    let size = match node.body {
        Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => {
            format!("{major}, {minor}")
        }
        _ => node.bytes().to_string(),
    };
    format!(
        "{} {:>2} {:<8} {:<8} {size:>12} {}",
        mode(node),
        node.links,
        owner(&node.meta.user, node.meta.uid),
        owner(&node.meta.group, node.meta.gid),
        text::local_time(node.meta.mtime)
    )
}

/// A name with a mark for its kind, and where a link points.
pub(super) fn marked(name: &[u8], body: &Body, long: bool) -> String {
    let mut line = text::name(name);
    match body {
        Body::Directory(_) => line.push('/'),
        Body::Symlink(target) if long => {
            line.push_str(" -> ");
            line.push_str(&text::name(target));
        }
        _ => {}
    }
    line
}

/// Type and permissions in ten characters, `+` behind them if there is an ACL.
fn mode(node: &Node) -> String {
    let kind = match node.body {
        Body::File { .. } => '-',
        Body::Directory(_) => 'd',
        Body::Symlink(_) => 'l',
        Body::Fifo => 'p',
        Body::Socket => 's',
        Body::CharDevice(..) => 'c',
        Body::BlockDevice(..) => 'b',
    };
    let mut out = String::from(kind);
    // Set-user-id, set-group-id and sticky stand in the place of the execute bit.
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = node.meta.mode >> shift;
        out.push(if bits & 4 == 0 { '-' } else { 'r' });
        out.push(if bits & 2 == 0 { '-' } else { 'w' });
        out.push(match (bits & 1 == 1, node.meta.mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    let acl = |xattr: &crate::entry::Xattr| xattr.name.starts_with(b"system.posix_acl_");
    out.push(if node.meta.xattrs.iter().any(acl) {
        '+'
    } else {
        ' '
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_ls_shows_them() {
        let mut node = Node::new(b"x".to_vec(), Body::Fifo);
        node.meta.mode = 0o4755;
        assert_eq!(mode(&node), "prwsr-xr-x ");
        node.meta.mode = 0o3640;
        assert_eq!(mode(&node), "prw-r-S--T ");
    }

    #[test]
    fn names_in_json_are_exact() {
        assert_eq!(exact(b"a"), ("a".into(), None));
        assert_eq!(exact(b"a\xff"), ("a\u{fffd}".into(), Some("61ff".into())));
    }
}
