"""What is measured: a tree of files, or the image of a disk, each perhaps with a second generation that takes its place."""
import functools
import os
import pathlib
import subprocess

from .mounts import plan_of_file, plan_of_tree

READS_OF_TREE = 4000
READS_OF_IMAGE = 2000


class Tree:
    is_image = False

    def __init__(self, path, second=None):
        self.path = path.resolve()
        self.second = second.resolve() if second else None
        self.directory = self.path

    def reads(self, seed):
        return plan_of_tree(self.path, READS_OF_TREE, seed)

    def source_of(self, name):
        return self.path / name

    @functools.cache
    def file_bytes(self):
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file() and not p.is_symlink())

    def one_file(self):
        """A file in the middle of the tree."""
        files = sorted(p for p in self.path.rglob("*.c") if p.is_file()) or sorted(p for p in self.path.rglob("*") if p.is_file())
        return str(files[len(files) // 2].relative_to(self.path))

    def swap(self):
        """The second generation takes the first one's place, as it does for a user, or gives it back."""
        spare = self.path.with_name(self.path.name + ".swap")
        self.path.rename(spare)
        self.second.rename(self.path)
        spare.rename(self.second)


class Image:
    """An image, in a directory of its own that holds nothing else."""
    is_image = True

    def __init__(self, path, second, work):
        self.generations = [p.resolve() for p in (path, second) if p]
        self.second = self.generations[-1] if second else None
        self.directory = work / "image"
        self.directory.mkdir()
        self.path = self.directory / "disk.raw"
        self.shown = 0
        self.show(0)

    def show(self, number):
        self.path.unlink(missing_ok=True)
        try:
            os.link(self.generations[number], self.path)
        except OSError:
            subprocess.run(["cp", "--sparse=always", "--preserve=timestamps", self.generations[number], self.path], check=True)
        self.shown = number

    def reads(self, seed):
        return plan_of_file(self.path.name, self.path.stat().st_size, READS_OF_IMAGE, seed)

    def source_of(self, name):
        return self.directory / name

    def file_bytes(self):
        return self.path.stat().st_size

    def swap(self):
        self.show(1 - self.shown)


def pair(text):
    """`PATH` or `PATH=SECOND`."""
    first, _, second = text.partition("=")
    return pathlib.Path(first), pathlib.Path(second) if second else None
