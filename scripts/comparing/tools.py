"""How each program is called. A method per row; None where a program cannot do that."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PASSWORD = "compare"


class Tool:
    """One program, with a repository of its own below `work`.

    `ingest`, `restore` and `mount` take a corpus: a tree, or an image, which is one file. Some programs only give a directory back
    as it was; they take the image's directory, which holds nothing else."""
    name = ""
    binary = ""
    encrypts = True
    whole_directories = False
    # Archives that it writes have './' and the like taken out of the targets of symbolic links.
    bends_links = False

    def __init__(self, work):
        self.work = work / self.name
        self.work.mkdir()
        self.repository = self.work / "repository"
        self.env = dict(os.environ, HOME=str(self.work), XDG_CACHE_HOME=str(self.work / "cache"), XDG_CONFIG_HOME=str(self.work / "config"))

    def setup(self, *command):
        subprocess.run(command, env=self.env, check=True, capture_output=True)

    def source(self, corpus):
        return corpus.path.parent if corpus.is_image and self.whole_directories else corpus.path

    def init(self):
        raise NotImplementedError

    def patient(self, command):
        """The same, but willing to wait for a lock, where a program has one."""
        return command

    keep = one = mount = prune = stream_in = stream_out = export_tar = export_tgz = check = check_data = None


class Repo(Tool):
    name = "repo"
    binary = os.environ.get("REPO_BINARY", str(ROOT / "target/release/repo"))

    def init(self):
        self.env.update(REPO_PASSPHRASE=PASSWORD, REPO_URL=str(self.repository), REPO_CACHE_DIR=str(self.work / "catalog"))
        self.setup(self.binary, "init")

    def ingest(self, corpus):
        kind = "disk" if corpus.is_image else "dir"
        return [self.binary, "ingest", "--kind", kind, "--name", corpus.path.name, str(corpus.path)]

    def restore(self, target, corpus):
        return [self.binary, "restore", corpus.path.name, "--target", str(target)], target / corpus.path.name if corpus.is_image else target

    def one(self, target, corpus, path):
        return [self.binary, "restore", f"{corpus.path.name}:{path}", "--target", str(target)]

    def stream_in(self, corpus):
        # A raw disk that comes through a pipe cannot be recognised by itself.
        return [self.binary, "ingest", "--name", "stream"]

    def stream_out(self):
        return [self.binary, "export", "stream", "--format", "original", "-o", "-"]

    def export_tar(self, corpus):
        return [self.binary, "export", corpus.path.name, "--format", "tar", "-o", "-"]

    def export_tgz(self, corpus):
        return [self.binary, "export", corpus.path.name, "--format", "tar.gz", "-o", "-"]

    def check(self):
        return [self.binary, "check"]

    def check_data(self):
        return [self.binary, "check", "--read-data"]

    def prune(self, corpus):
        return f"{self.binary} forget {corpus.path.name}~1 && {self.binary} prune"

    def keep(self, count):
        return [self.binary, "forget", "--keep-last", str(count), "--prune"]

    def mount(self, point, corpus):
        return [self.binary, "mount", "--foreground", corpus.path.name, str(point)], point


class Restic(Tool):
    name = "restic"
    binary = "restic"

    def init(self):
        self.env.update(RESTIC_PASSWORD=PASSWORD, RESTIC_REPOSITORY=str(self.repository))
        self.setup("restic", "init")

    def ingest(self, corpus):
        return ["restic", "backup", "--tag", "corpus", str(corpus.path)]

    def restore(self, target, corpus):
        return ["restic", "restore", "--sparse", "--tag", "corpus", "latest", "--target", str(target)], f"{target}{corpus.path}"

    def one(self, target, corpus, path):
        return ["restic", "restore", "--tag", "corpus", "latest", "--target", str(target), "--include", f"{corpus.path}/{path}"]

    def stream_in(self, corpus):
        return ["restic", "backup", "--tag", "stream", "--stdin", "--stdin-filename", "stream.tar"]

    def stream_out(self):
        return ["restic", "dump", "--tag", "stream", "latest", "stream.tar"]

    def export_tar(self, corpus):
        return ["restic", "dump", "--tag", "corpus", "latest", str(corpus.path)]

    def export_tgz(self, corpus):
        return f"restic dump --tag corpus latest {corpus.path} | gzip -6"

    def check(self):
        return ["restic", "check"]

    def check_data(self):
        return ["restic", "check", "--read-data"]

    def prune(self, corpus):
        return ["restic", "forget", "--tag", "corpus", "--keep-last", "1", "--prune"]

    def keep(self, count):
        return ["restic", "forget", "--keep-last", str(count), "--prune"]

    def patient(self, command):
        return [*command, "--retry-lock", "10m"]

    def mount(self, point, corpus):
        return ["restic", "mount", "--tag", "corpus", str(point)], f"{point}/snapshots/latest{corpus.directory}"


class Rustic(Tool):
    name = "rustic"
    binary = "rustic"
    bends_links = True

    def init(self):
        self.env.update(RUSTIC_PASSWORD=PASSWORD, RUSTIC_REPOSITORY=str(self.repository))
        self.setup("rustic", "init")

    def ingest(self, corpus):
        return ["rustic", "backup", "--tag", "corpus", str(corpus.path)]

    def restore(self, target, corpus):
        # What it restores of a single file gets the name that it is given here, unless that is a directory.
        at = f"{target}/{corpus.path.name}" if corpus.is_image else str(target)
        return ["rustic", "restore", f"latest:{corpus.path}", at, "--filter-tags", "corpus"], at

    def one(self, target, corpus, path):
        return ["rustic", "restore", f"latest:{corpus.path}/{path}", str(target), "--filter-tags", "corpus"]

    def stream_in(self, corpus):
        return ["rustic", "backup", "--tag", "stream", "--stdin-filename", "stream.tar", "-"]

    def stream_out(self):
        return ["rustic", "dump", "--filter-tags", "stream", "latest:stream.tar"]

    def export_tar(self, corpus):
        return ["rustic", "dump", "--filter-tags", "corpus", "--archive", "tar", f"latest:{corpus.path}"]

    def export_tgz(self, corpus):
        return ["rustic", "dump", "--filter-tags", "corpus", "--archive", "targz", f"latest:{corpus.path}"]

    def check(self):
        return ["rustic", "check"]

    def check_data(self):
        return ["rustic", "check", "--read-data"]

    def prune(self, corpus):
        return ["rustic", "forget", "--filter-tags", "corpus", "--keep-last", "1", "--prune", "--keep-delete", "0s", "--instant-delete"]

    def keep(self, count):
        return ["rustic", "forget", "--keep-last", str(count), "--prune", "--keep-delete", "0s", "--instant-delete"]

    def mount(self, point, corpus):
        return ["rustic", "mount", "--filter-tags", "corpus", str(point), f"latest:{corpus.directory}"], point


class Borg(Tool):
    name = "borg"
    binary = "borg"

    def init(self):
        self.env.update(BORG_PASSPHRASE=PASSWORD, BORG_REPO=str(self.repository), BORG_RELOCATED_REPO_ACCESS_IS_OK="yes")
        self.setup("borg", "init", "-e", "repokey-blake2")
        self.count = 0

    def last(self):
        return f"::corpus{self.count}"

    def ingest(self, corpus):
        self.count += 1
        return ["borg", "create", "-C", "zstd,3", self.last(), str(corpus.path)]

    def restore(self, target, corpus):
        return f"mkdir -p {target} && cd {target} && borg extract --sparse {self.last()}", f"{target}{corpus.path}"

    def one(self, target, corpus, path):
        return f"mkdir -p {target} && cd {target} && borg extract {self.last()} {str(corpus.path)[1:]}/{path}"

    def stream_in(self, corpus):
        return ["borg", "create", "-C", "zstd,3", "--stdin-name", "stream.tar", "::stream", "-"]

    def stream_out(self):
        return ["borg", "extract", "--stdout", "::stream"]

    def export_tar(self, corpus):
        return ["borg", "export-tar", self.last(), "-"]

    def export_tgz(self, corpus):
        return ["borg", "export-tar", "--tar-filter", "gzip -6", self.last(), "-"]

    def check(self):
        return ["borg", "check"]

    def check_data(self):
        return ["borg", "check", "--verify-data"]

    def prune(self, corpus):
        return f"borg prune --glob-archives 'corpus*' --keep-last 1 && borg compact --threshold 0"

    def keep(self, count):
        # Archives of other trees have other names, but a number is all that tells them apart: the last ones are kept with them.
        return f"borg --lock-wait 600 prune --glob-archives 'corpus*' --keep-last {count} && borg --lock-wait 600 compact"

    def patient(self, command):
        return command if isinstance(command, str) else [command[0], "--lock-wait", "600", *command[1:]]

    def mount(self, point, corpus):
        return ["borg", "mount", "-f", self.last(), str(point)], f"{point}{corpus.directory}"


class Bupstash(Tool):
    name = "bupstash"
    binary = "bupstash"
    bends_links = True
    whole_directories = True

    def init(self):
        key = str(self.work / "key")
        self.env.update(BUPSTASH_REPOSITORY=str(self.repository), BUPSTASH_KEY=key)
        self.setup("bupstash", "new-key", "-o", key)
        self.setup("bupstash", "init")
        self.count = 0

    def ingest(self, corpus):
        self.count += 1
        return ["bupstash", "put", "--send-log", str(self.work / "log"), "--compression", "zstd:3", f"name=corpus{self.count}", str(self.source(corpus))]

    def restore(self, target, corpus):
        at = f"{target}/{corpus.path.name}" if corpus.is_image else target
        return f"mkdir -p {target} && bupstash restore --into {target} name=corpus{self.count}", at

    def one(self, target, corpus, path):
        return f"mkdir -p {target} && bupstash get --pick {path} name=corpus{self.count} > {target}/one"

    def stream_in(self, corpus):
        return ["bupstash", "put", "--send-log", str(self.work / "log2"), "--compression", "zstd:3", "name=stream", "-"]

    def stream_out(self):
        return ["bupstash", "get", "name=stream"]

    def export_tar(self, corpus):
        return ["bupstash", "get", f"name=corpus{self.count}"]

    def export_tgz(self, corpus):
        return f"bupstash get name=corpus{self.count} | pigz -p2 -6"

    def prune(self, corpus):
        return f"bupstash rm name=corpus{self.count - 1} && bupstash gc"


class Squashfuse(Tool):
    name = "squashfuse"
    binary = "squashfuse_ll"
    encrypts = False
    whole_directories = True

    def init(self):
        pass

    def ingest(self, corpus):
        options = "-comp zstd -Xcompression-level 3 -b 131072 -quiet -no-progress"
        return f"rm -f {self.repository}; mksquashfs {self.source(corpus)} {self.repository} {options}"

    def restore(self, target, corpus):
        at = target / corpus.path.name if corpus.is_image else target
        return ["unsquashfs", "-q", "-n", "-d", str(target), str(self.repository)], at

    def mount(self, point, corpus):
        return ["squashfuse_ll", "-f", str(self.repository), str(point)], point


TOOLS = [Repo, Restic, Rustic, Borg, Bupstash, Squashfuse]
