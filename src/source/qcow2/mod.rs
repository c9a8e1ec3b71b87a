//! A qcow2 image (versions 2 and 3) as the raw disk that the guest sees, in guest order, with its holes.
//!
//! Read natively: plain, zero and compressed clusters (deflate, Zstandard), subclusters, and backing images where the caller
//! names them. An image's own word is never enough to open another file: it may come from a stranger. Encrypted images and
//! external data files are refused; for them [`Qcow2Via::QemuImg`] converts into an unnamed scratch file
//! first. Internal snapshots are not part of the disk; a note says that there are some.

mod header;
mod image;
mod read;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use self::image::Image;
use self::read::Chain;
use super::bare_root;
use super::dir::facts::Facts;
use super::disk::{DiskSource, deliver, fault, image_entry};
use super::readahead;
use crate::entry::{Entry, EntryPath, Order, Outcome, Sink, Source, Want};
use crate::error::{At, Class, Error, Result};
use crate::progress::Monitor;

/// How an image is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Qcow2Via {
    /// By this program.
    #[default]
    Native,
    /// By `qemu-img convert`, which opens whatever the image names: for images that are trusted.
    QemuImg {
        /// The program, as `qemu-img`.
        program: PathBuf,
        /// A directory with room for the whole disk, holes excluded, for a file without a name.
        scratch: PathBuf,
    },
}

/// A qcow2 image.
pub struct Qcow2Source(Inner);

enum Inner {
    Native(Box<Native>),
    Converted(Box<DiskSource>),
}

struct Native {
    path: PathBuf,
    chain: Chain,
    entry: Entry,
    facts: Facts,
    monitor: Arc<dyn Monitor>,
}

impl Qcow2Source {
    /// Opens the image at `path`. `backing` are the images it builds on, from the one right below it down to the last,
    /// which may be raw; each must be of the format that the image above it says. The one file of the tree is named after the
    /// image, with `.raw` in place of `.qcow2`.
    pub fn open(
        path: &Path,
        backing: &[PathBuf],
        via: &Qcow2Via,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self> {
        match via {
            Qcow2Via::Native => Native::open(path, backing, monitor)
                .map(|native| Self(Inner::Native(Box::new(native)))),
            Qcow2Via::QemuImg { program, scratch } => convert(path, program, scratch, monitor)
                .map(|disk| Self(Inner::Converted(Box::new(disk)))),
        }
    }

    /// Size of the guest's disk in bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Inner::Native(native) => native.chain.size(),
            Inner::Converted(disk) => disk.size(),
        }
    }
}

impl Source for Qcow2Source {
    fn order(&self) -> Order {
        Order::Walk
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        match &mut self.0 {
            Inner::Native(native) => native.stream(sink),
            Inner::Converted(disk) => disk.stream(sink),
        }
    }
}

impl Native {
    fn open(path: &Path, backing: &[PathBuf], monitor: Arc<dyn Monitor>) -> Result<Self> {
        let (image, facts) = open_image(path)?;
        let mut entry = raw_entry(path, &facts)?;
        entry.size = image.header.size;
        if image.header.backing.is_some() {
            // The image alone does not say whether the disk changed.
            entry.stat = None;
        }
        let mut chain = Chain {
            images: vec![image],
            base: None,
        };
        let mut below = backing.iter();
        while let Some(image) = chain.images.last() {
            if image.header.snapshots > 0 {
                monitor.note(&format!(
                    "{}: {} snapshots inside the image are not part of the disk",
                    image.shown, image.header.snapshots
                ));
            }
            let Some(needed) = &image.header.backing else {
                break;
            };
            let shown = &image.shown;
            let Some(path) = below.next() else {
                let name = &needed.name;
                return Err(Error::new(
                    Class::Unsupported,
                    format!("{shown} builds on the backing file '{name}': name it explicitly"),
                ));
            };
            match needed.format.as_deref() {
                Some("raw") => {
                    let file = File::open(path).at_path("open disk", path)?;
                    let size = Facts::of_handle(&file).at_path("look at disk", path)?.size;
                    chain.base = Some((file, size, path.display().to_string()));
                    break;
                }
                Some("qcow2") => chain.images.push(open_image(path)?.0),
                other => {
                    let format = other.unwrap_or("unknown").escape_debug();
                    return Err(Error::new(
                        Class::Unsupported,
                        format!("{shown}: the format of its backing file is {format}"),
                    ));
                }
            }
        }
        if let Some(unused) = below.next() {
            return Err(Error::invalid(format!(
                "{} is not a backing file of {}",
                unused.display(),
                path.display()
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            chain,
            entry,
            facts,
            monitor,
        })
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        sink.entry(&bare_root())?;
        if sink.entry(&self.entry)? == Want::Skip {
            return Ok(());
        }
        let (chain, monitor) = (&mut self.chain, &*self.monitor);
        let warn = |message: &str| monitor.warn(message);
        let read = readahead::ahead(|feed| chain.produce(feed, &warn), &mut |piece| {
            deliver(piece, sink, monitor)
        });
        let read = read.map_err(|stop| fault(stop, &self.path))?;
        debug_assert_eq!(read, self.entry.size);
        let image = self.chain.images.first().map(|image| &image.file);
        let after = image.map(Facts::of_handle).transpose();
        let after = after.at_path("look at disk", &self.path)?;
        if after.is_none_or(|after| !self.facts.same_content(&after)) {
            // Tables and data of different moments do not make a disk.
            return Err(Error::new(
                Class::Busy,
                format!(
                    "{} changed while it was read: stop the guest, or read a snapshot",
                    self.path.display()
                ),
            ));
        }
        sink.end(Outcome::Whole)
    }
}

fn open_image(path: &Path) -> Result<(Image, Facts)> {
    let shown = path.display().to_string();
    let file = File::open(path).at_path("open disk", path)?;
    let facts = Facts::of_handle(&file).at_path("look at disk", path)?;
    if !facts.is_file() {
        return Err(Error::invalid(format!("{shown} is not a file")));
    }
    Ok((Image::open(file, facts.size, shown)?, facts))
}

/// The entry of the raw disk in the image at `path`.
fn raw_entry(path: &Path, facts: &Facts) -> Result<Entry> {
    let mut entry = image_entry(path, facts)?;
    let name = entry.path.name();
    let stem = [&b".qcow2"[..], b".qcow", b".img"]
        .iter()
        .find_map(|ending| name.strip_suffix(*ending))
        .filter(|stem| !stem.is_empty())
        .unwrap_or(name);
    if let Ok(place) = EntryPath::root().join(&[stem, b".raw"].concat()) {
        entry.path = place;
    }
    Ok(entry)
}

/// Lets `qemu-img` write the disk into a file that has no name, and goes by itself.
fn convert(
    path: &Path,
    program: &Path,
    scratch: &Path,
    monitor: Arc<dyn Monitor>,
) -> Result<DiskSource> {
    let original = File::open(path).at_path("open disk", path)?;
    let facts = Facts::of_handle(&original).at_path("look at disk", path)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file: File = rustix::fs::open(scratch, flags, Mode::RUSR | Mode::WUSR)
        .at_path("make a scratch file in", scratch)?
        .into();
    let mut info = Command::new(program);
    info.args(["info", "-f", "qcow2", "--output=json"])
        .arg(path);
    let info: serde_json::Value = serde_json::from_slice(&run(&mut info, program)?)
        .map_err(|error| Error::caused(Class::Io, "what qemu-img says of the image", error))?;
    let size = info.get("virtual-size").and_then(serde_json::Value::as_u64);
    let Some(size) = size else {
        return Err(Error::new(
            Class::Io,
            "qemu-img does not say the size of the disk",
        ));
    };
    file.set_len(size)
        .at_path("make a scratch file in", scratch)?;
    // By this name it is the same file for another process of the same user.
    let target = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let mut copy = Command::new(program);
    copy.args([
        "convert",
        "-f",
        "qcow2",
        "-O",
        "raw",
        "-n",
        "--target-is-zero",
    ]);
    run(copy.arg(path).arg(target), program)?;
    let mut entry = raw_entry(path, &facts)?;
    entry.size = size;
    entry.stat = None;
    DiskSource::of_file(file, entry, path, monitor)
}

/// Runs a command to its end; its output.
fn run(command: &mut Command, program: &Path) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .at_path("start", program)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .trim()
        .escape_debug()
        .to_string();
    Err(Error::new(
        Class::Io,
        format!("{}: {said}", program.display()),
    ))
}
