//! Attaching to the kernel and detaching again: mount(2) where that is allowed, else the helper `fusermount3`.
//!
//! This is done here and not by `fuser`, so that a mount point is only ever unmounted while it is ours (an unmounted one may
//! carry somebody else's mount by now), and so that every failure says what to do about it.

use std::ffi::CString;
use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::{At, Class, Error, Result};

/// What is shown as file system type: `fuse.repo`.
const SUBTYPE: &str = "repo";
const HELPER: &str = "fusermount3";

/// How to attach.
pub(super) struct Attach<'a> {
    /// An existing directory, canonical.
    pub(super) mountpoint: &'a Path,
    /// Shown as the device.
    pub(super) source: &'a str,
    /// Users other than the mounting one get in, and the kernel checks permissions.
    pub(super) allow_other: bool,
}

impl Attach<'_> {
    /// Mounts; returns the connection to the kernel, on which nothing was said yet.
    pub(super) fn attach(&self) -> Result<OwnedFd> {
        let device = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .map_err(no_device)?;
        match self.mount(&device) {
            Ok(()) => Ok(device.into()),
            Err(Errno::PERM) => self.ask_helper(),
            Err(error) => Err(error).at_path("mount on", self.mountpoint),
        }
    }

    fn mount(&self, device: &File) -> rustix::io::Result<()> {
        let mut data = format!(
            "fd={},rootmode=40000,user_id={},group_id={}",
            device.as_raw_fd(),
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        if self.allow_other {
            data.push_str(",allow_other,default_permissions");
        }
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        let flags =
            MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
        let kind = format!("fuse.{SUBTYPE}");
        rustix::mount::mount(self.source, self.mountpoint, kind, flags, data.as_c_str())
    }

    /// Lets the set-user-id helper mount; it hands the connection over on its standard input.
    fn ask_helper(&self) -> Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair().at("make a socket pair")?;
        let mut options = format!(
            "ro,nodev,nosuid,noatime,subtype={SUBTYPE},fsname={}",
            self.source
        );
        if self.allow_other {
            options.push_str(",allow_other,default_permissions");
        }
        let mut helper = Command::new(HELPER)
            .arg("-o")
            .arg(options)
            .arg("--")
            .arg(self.mountpoint)
            .env("_FUSE_COMMFD", "0")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_helper)?;
        let connection = receive(&ours);
        let mut said = String::new();
        if let Some(stderr) = helper.stderr.take() {
            // The helper says a line or two; a limit in case it does not.
            let _ = stderr.take(4096).read_to_string(&mut said);
        }
        let status = helper.wait().at("wait for fusermount3")?;
        match connection {
            Some(connection) if status.success() => Ok(connection),
            _ => Err(helper_failed(&said)),
        }
    }
}

/// The file descriptor that comes over a socket, if one does.
fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(socket, &mut parts, &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other.ok()?,
        }
    };
    if received.bytes == 0 {
        return None;
    }
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn no_device(error: std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "this system has no FUSE (load the kernel module 'fuse'; in a container, pass --device /dev/fuse)"
        }
        std::io::ErrorKind::PermissionDenied => {
            "this user may not use FUSE (as root: chmod 666 /dev/fuse)"
        }
        _ => "open /dev/fuse",
    };
    Error::io(hint, error)
}

fn no_helper(error: std::io::Error) -> Error {
    Error::io(
        "mounting as an ordinary user needs fusermount3 (install the package 'fuse3')",
        error,
    )
}

fn helper_failed(said: &str) -> Error {
    let said = said.trim();
    if said.contains("user_allow_other") {
        let what =
            "an ordinary user may let others in only if /etc/fuse.conf says user_allow_other";
        return Error::new(Class::Denied, what);
    }
    Error::new(
        Class::Denied,
        format!("fusermount3 could not mount: {said}"),
    )
}

/// Unmounts a directory on which one of our mounts lies: gently, or (`lazy`) detaching it from whoever still uses it.
///
/// A dead mount, whose process is gone, is unmounted like a living one. Class `Busy` if it is in use, `NotFound` if
/// no mount of ours is there.
pub fn unmount(mountpoint: &Path, lazy: bool) -> Result<()> {
    let path = absolute(mountpoint)?;
    if !is_ours(&path)? {
        return Err(Error::new(
            Class::NotFound,
            format!("nothing of ours is mounted on {}", path.display()),
        ));
    }
    detach(&path, lazy)
}

/// Unmounts whatever lies on `path`.
pub(super) fn detach(path: &Path, lazy: bool) -> Result<()> {
    let mut flags = UnmountFlags::NOFOLLOW;
    if lazy {
        flags |= UnmountFlags::DETACH;
    }
    match rustix::mount::unmount(path, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => detach_by_helper(path, lazy),
        Err(Errno::BUSY) => Err(busy(path)),
        Err(error) => Err(error).at_path("unmount", path),
    }
}

fn detach_by_helper(path: &Path, lazy: bool) -> Result<()> {
    let output = Command::new(HELPER)
        .arg(if lazy { "-uz" } else { "-u" })
        .arg("--")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(no_helper)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("busy") {
        return Err(busy(path));
    }
    let what = format!("unmount {}: {}", path.display(), said.trim());
    Err(Error::new(Class::Io, what))
}

fn busy(path: &Path) -> Error {
    let what = format!("{} is in use by a program", path.display());
    Error::new(Class::Busy, what)
}

/// The absolute path without links, also where the last component is a dead mount.
fn absolute(path: &Path) -> Result<PathBuf> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
        return path.canonicalize().at_path("open", path);
    };
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    if is_link {
        return path.canonicalize().at_path("open", path);
    }
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let parent = parent.canonicalize().at_path("open", parent)?;
    Ok(parent.join(name))
}

/// True if the topmost mount on `path` is one of ours.
pub(super) fn is_ours(path: &Path) -> Result<bool> {
    let table = std::fs::read("/proc/self/mountinfo").at("read the table of mounts")?;
    let mut ours = false;
    for line in table.split(|byte| *byte == b'\n') {
        if let Some((at, kind)) = parse_mount(line)
            && at == path.as_os_str().as_encoded_bytes()
        {
            ours = kind == format!("fuse.{SUBTYPE}").as_bytes();
        }
    }
    Ok(ours)
}

/// Mount point and type in a line of `mountinfo`.
fn parse_mount(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut fields = line.split(|byte| *byte == b' ');
    let at = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some((unescape(at), kind))
}

/// Undoes the kernel's `\040` escapes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(value) = value {
            out.push(value);
            rest = &after[3..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

/// Lets the kernel read further ahead than a file system may ask for itself: +60 % for sequential reads. Only root can; for
/// others it stays at 128 KiB.
pub(super) fn raise_read_ahead(mountpoint: &Path) {
    let Ok(meta) = std::fs::metadata(mountpoint) else {
        return;
    };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    if let Ok(mut file) = File::options()
        .write(true)
        .open(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"))
    {
        use std::io::Write;
        let _ = file.write_all(b"1024\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_mounts_is_understood() {
        let line = br"36 35 98:0 / /mnt/a\040b rw,noatime master:1 - fuse.repo repo ro,user_id=0";
        let (at, kind) = parse_mount(line).unwrap();
        assert_eq!(at, b"/mnt/a b");
        assert_eq!(kind, b"fuse.repo");
        assert!(parse_mount(b"").is_none());
        assert_eq!(unescape(br"a\\b\1"), br"a\\b\1");
    }

    #[test]
    fn only_what_is_ours_is_unmounted() {
        let error = unmount(Path::new("/proc"), false).unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
    }
}
