//! What a stack, volume or VM archive says about itself, for people.
//!
//! The document is kept byte for byte; [`source::identity`](crate::source::identity) reads what is shown here. Strings in
//! it come from anywhere and are escaped.

use super::exit::Done;
use super::output::{Align, Output, Table};
use super::text;
use crate::entry::EntryPath;
use crate::error::{Error, Result};
use crate::format::snapshot::{Snapshot, StreamKind as Stored};
use crate::format::tree::Body;
use crate::repository::content::Content;
use crate::repository::trees::Walk;
use crate::repository::{Repository, SnapshotInfo};
use crate::source::identity::{Identity, Stack, StreamKind, Summary, Vm, Volume};

/// The longest document that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Reads the document; empty if there is none.
pub(super) fn read(repository: &Repository, snapshot: &Snapshot) -> Result<Vec<u8>> {
    let content = Content::new(&snapshot.identity);
    if content.len() > MAX_BYTES {
        return Err(Error::corrupt("it is longer than 64 MiB"));
    }
    let len = usize::try_from(content.len()).map_err(|_| Error::corrupt("its length"))?;
    let mut bytes = vec![0; len];
    content.read_at(repository, 0, &mut bytes)?;
    Ok(bytes)
}

/// Shows what a snapshot's document says.
pub(super) fn print(
    repository: &Repository,
    info: &SnapshotInfo,
    document: &[u8],
    out: &mut Output,
) -> Done {
    let kind = match info.snapshot.kind {
        Stored::Stack => StreamKind::Stack,
        Stored::Volume => StreamKind::Volume,
        Stored::Vm => StreamKind::Vm,
        _ => return Ok(()),
    };
    out.line("")?;
    match Identity::parse(kind, document.to_vec())?.summary {
        Summary::Stack(found) => stack(&found, out),
        Summary::Volume(found) => volumes(&found, out),
        Summary::Vm(found) => {
            vm(&found, out)?;
            disks(repository, info, out)
        }
    }
}

fn shown(value: Option<&String>) -> String {
    value.map(|value| text::line(value)).unwrap_or_default()
}

fn stack(stack: &Stack, out: &mut Output) -> Done {
    let mut facts = Table::facts();
    facts.fact("stack", shown(stack.stack_id.as_ref()));
    facts.fact("version", stack.version.to_string());
    facts.fact("made by", shown(stack.obol_version.as_ref()));
    facts.fact("made at", shown(stack.created_at.as_ref()));
    facts.fact("config in", shown(stack.config_dir.as_ref()));
    facts.fact("data in", shown(stack.data_dir.as_ref()));
    out.table(&facts)?;
    out.line("components:")?;
    for component in &stack.components {
        let included = if component.included {
            "included"
        } else {
            "not included"
        };
        out.line(format!("  {:<10}  {included}", text::line(&component.name)))?;
        for note in &component.notes {
            out.line(format!("      {}", text::line(note)))?;
        }
    }
    Ok(())
}

fn volumes(volumes: &[Volume], out: &mut Output) -> Done {
    let mut table = Table::new(&[
        ("VOLUME", Align::Right),
        ("TARGET", Align::Left),
        ("SCOPE", Align::Left),
        ("SOURCE", Align::Left),
    ]);
    for volume in volumes {
        table.row(vec![
            volume.index.to_string(),
            text::line(&volume.target),
            text::line(&volume.scope),
            text::line(&volume.source),
        ]);
    }
    out.table(&table)
}

fn vm(vm: &Vm, out: &mut Output) -> Done {
    let number = |value: Option<u64>| value.map(|n| n.to_string()).unwrap_or_default();
    let mut facts = Table::facts();
    facts.fact("VM", shown(vm.name.as_ref()));
    facts.fact("VM id", shown(vm.id.as_ref()));
    facts.fact("version", vm.version.to_string());
    facts.fact("about", shown(vm.description.as_ref()));
    facts.fact("image", shown(vm.image.as_ref()));
    facts.fact("hypervisor", shown(vm.hypervisor.as_ref()));
    facts.fact("processors", number(vm.cpu));
    facts.fact(
        "memory",
        vm.memory_bytes.map(text::bytes).unwrap_or_default(),
    );
    facts.fact(
        "storage",
        vm.storage_bytes.map(text::bytes).unwrap_or_default(),
    );
    facts.fact("network", shown(vm.network.as_ref()));
    facts.fact("interfaces", number(vm.nics));
    out.table(&facts)
}

/// The files of a VM snapshot: disks, memory, state. There are only a few, all in the root.
fn disks(repository: &Repository, info: &SnapshotInfo, out: &mut Output) -> Done {
    let mut table = Table::new(&[
        ("FILE", Align::Left),
        ("SIZE", Align::Right),
        ("DATA", Align::Right),
    ]);
    let mut walk = Walk::new(repository, &info.snapshot.root, EntryPath::root());
    while let Some(step) = walk.next() {
        let (path, node) = step.map_err(|(path, error)| error.within(path.quoted()))?;
        match &node.body {
            Body::File { size, content } => table.row(vec![
                text::name(path.as_bytes()),
                text::bytes(*size),
                text::bytes(Content::new(content).data_bytes()),
            ]),
            Body::Directory(_) => walk.skip_below(),
            _ => {}
        }
    }
    out.line("")?;
    out.table(&table)
}
