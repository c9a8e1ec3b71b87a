"""A history of a tree and what pruning it costs: many generations, of which the last few are kept. With nothing else going on, and beside
ingests of other trees into the same repository. What is stored afterwards is compared with a repository that never had the generations
that were given up: the difference is garbage."""
import os
import random
import subprocess
import time

from .measure import Wrong, check_tree, discard, drop_caches, stored_bytes, timed

GENERATIONS = 50
KEPT = 10
BESIDE = 4
CHANGED_IN_THOUSAND = 20


class Folder:
    """A tree at a place."""
    is_image = False

    def __init__(self, path):
        self.path = self.directory = path


class History:
    """The same generations for every tool: changes follow from the seed alone. Files that stay keep inode and times."""

    def __init__(self, source, at, seed):
        subprocess.run(["cp", "-a", source, at], check=True)
        self.folder = Folder(at)
        self.draw = random.Random(seed)
        self.files = sorted(p for p in at.rglob("*") if p.is_file() and not p.is_symlink())
        self.number = 0

    def step(self):
        """Two files in a hundred get other content in a part of them, a few come and a few go."""
        self.number += 1
        changed = self.draw.sample(self.files, max(1, len(self.files) * CHANGED_IN_THOUSAND // 1000))
        for path in changed:
            content, other = path.read_bytes(), self.draw.choice(self.files).read_bytes()
            start = self.draw.randrange(len(content) + 1)
            end = self.draw.randrange(start, len(content) + 1)
            path.write_bytes(content[:start] + other + content[end:])
        for _ in range(5):
            gone = self.files.pop(self.draw.randrange(len(self.files)))
            content = gone.read_bytes()
            gone.unlink()
            new = gone.with_name(f"generation-{self.number}-{self.draw.randrange(1 << 32):08x}")
            new.write_bytes(content + str(self.number).encode())
            self.files.append(new)


def filled(kind, work, source, skip):
    """A tool with a repository of all generations but the first `skip`, and the tree as it is at the end."""
    tool = kind(work)
    tool.init()
    history = History(source, work / "tree", seed=7)
    for number in range(GENERATIONS):
        history.step()
        if number >= skip:
            subprocess.run(tool.ingest(history.folder), env=tool.env, check=True, capture_output=True)
    return tool, history


def judge(tool, folder):
    target = tool.work / "back"
    command, at = tool.restore(target, folder)
    timed(command, tool.env)
    check_tree(tool, folder.path, at)
    discard(target)


def measure_history(kind, work, source, record, say):
    """All rows of one tool. `record(row, wall, cpu, rss, megabytes)` takes a figure, `say` a remark."""
    scratch = work / "history"
    reference = scratch / "reference"
    reference.mkdir(parents=True)
    tool, _ = filled(kind, reference, source, GENERATIONS - KEPT)
    needed = stored_bytes(tool.repository) / 1e6
    discard(reference)
    alone = scratch / "alone"
    alone.mkdir()
    tool, history = filled(kind, alone, source, 0)
    full = stored_bytes(tool.repository) / 1e6
    spare = alone / "spare"
    subprocess.run(["cp", "-a", tool.work, spare], check=True)
    figures = timed(tool.keep(KEPT), tool.env)
    judge(tool, history.folder)
    left = stored_bytes(tool.repository) / 1e6
    record("keep 10 of 50", *figures, megabytes=left)
    say(f"{tool.name}: {full:.1f} MB before, {full - left:.1f} freed, {left - needed:.1f} garbage left of {full - needed:.1f}")
    discard(tool.work)
    spare.rename(tool.work)
    beside(tool, scratch, source, needed, record, say)
    discard(scratch)


def beside(tool, scratch, source, needed, record, say):
    """The same prune while others ingest. What is the latest of several trees is not for every program the one asked for, so what comes back is
    judged before, not here."""
    others = []
    for number in range(BESIDE):
        other = History(source, scratch / f"other{number}", seed=100 + number)
        for _ in range(10):
            other.step()
        others.append(other.folder)
    drop_caches()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": tool.env}
    began = time.monotonic()
    running = [subprocess.Popen(tool.patient(tool.ingest(folder)), **quiet) for folder in others]
    time.sleep(0.3)
    command = tool.patient(tool.keep(KEPT))
    prune = subprocess.Popen(command, shell=isinstance(command, str), **quiet)
    prune_began, told = time.monotonic(), prune.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(prune.pid, 0)
    wall = time.monotonic() - prune_began
    prune.returncode = status
    failed = 0
    for process in running:
        process.stderr.read()
        failed += process.wait() != 0
    say(f"{tool.name}: {BESIDE} ingests beside it took {time.monotonic() - began:.2f} s together, {failed} failed")
    if status != 0:
        raise Wrong(f"{tool.name}: prune beside ingests: {' '.join(told.split())[-300:]}")
    record("beside 4 ingests", wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, stored_bytes(tool.repository) / 1e6)
    timed(tool.keep(KEPT), tool.env)
    say(f"{tool.name}: {stored_bytes(tool.repository) / 1e6:.1f} MB after one more prune alone, with what the four brought; {needed:.1f} are needed without that")
