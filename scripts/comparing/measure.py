"""Clocks, caches, and whether what came out is what went in."""
import os
import pathlib
import subprocess
import time


class Wrong(Exception):
    """A tool gave back something else than it was given."""


# Where what is not needed any more goes until everything is measured.
discarded = None


def discard(path):
    """Gets a tree out of the way. ext4 looks for a minute at every inode that was deleted before it takes a new one: who restores right after somebody
    else's files were deleted would pay for that, twice what it takes otherwise."""
    if path.exists():
        discarded.mkdir(exist_ok=True)
        path.rename(discarded / str(sum(1 for _ in discarded.iterdir())))


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def timed(command, env, cold=True, stdin=None):
    """Runs a command; wall seconds, CPU seconds of it and its children, and peak RSS in MiB."""
    if cold:
        drop_caches()
    source = open(stdin, "rb") if stdin else subprocess.DEVNULL
    began = time.monotonic()
    process = subprocess.Popen(command, env=env, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, shell=isinstance(command, str))
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = status
    if status != 0:
        raise RuntimeError(f"{command}: {error.decode(errors='replace')[-400:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def stored_bytes(path):
    """Of a repository, without the few MB that it may set aside."""
    path = pathlib.Path(path)
    if path.is_file():
        return path.stat().st_size
    # What repo sets aside for a full disk holds nothing and does not grow with what is stored.
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and f.parent != path / "reserve")


def check_tree(tool, tree, at, bent_links=False):
    """Names, kinds, links and contents; not the metadata, which tests compare. With `bent_links`, targets of links may differ."""
    said = subprocess.run(["diff", "-rq", "--no-dereference", str(tree), str(at)], capture_output=True)
    lines = (said.stdout or said.stderr).decode(errors="replace").splitlines()
    if bent_links:
        lines = [line for line in lines if not line.startswith("Symbolic links ")]
    if said.returncode > 1 or lines:
        raise Wrong(f"{tool.name}: what came back differs from {tree}: {' '.join(lines[:1])}")


def check_file(tool, source, at):
    if subprocess.run(["cmp", "-s", str(source), str(at)]).returncode != 0:
        raise Wrong(f"{tool.name}: {at} differs from {source}")


def check_stream(tool, command, source):
    """Compares what a command prints with a file."""
    shell = isinstance(command, str)
    with subprocess.Popen(command, env=tool.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, shell=shell) as process:
        same = subprocess.run(["cmp", "-s", "-", str(source)], stdin=process.stdout).returncode == 0
        process.stdout.close()
        if process.wait() != 0 or not same:
            raise Wrong(f"{tool.name}: the stream that came out is not {source}")


def check_archive(tool, command, tree, inflate=""):
    """Unpacks the tar that a command prints and compares it with the tree, wherever in the archive that lies."""
    target = tool.work / "unpacked"
    target.mkdir()
    try:
        unpack(tool, command, target, inflate)
        within = [target / str(tree)[1:], target / tree.name, target]
        check_tree(tool, tree, next(path for path in within if path.is_dir()), tool.bends_links)
    finally:
        discard(target)


def unpack(tool, command, target, inflate):
    """Unpacks the tar that a command prints."""
    shell = isinstance(command, str)
    with subprocess.Popen(command, env=tool.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, shell=shell) as process:
        unpacked = subprocess.run(["tar", f"-x{inflate}f", "-", "-C", str(target)], stdin=process.stdout, stderr=subprocess.DEVNULL)
        process.stdout.close()
        if process.wait() != 0 or unpacked.returncode != 0:
            raise Wrong(f"{tool.name}: the archive that came out is none")


def cpu_of(process):
    """CPU seconds so far of a process and the children that it waited for."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def peak_of(process):
    """Peak RSS so far of a process, in MiB."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
