"""One round of every row that a corpus has, for one tool, in a fresh repository."""

from .measure import Wrong, check_archive, check_file, check_stream, check_tree, discard, stored_bytes, timed
from .mounts import measure_mount


class Round:
    """Records figures; a row that a tool fails at is said and left out, the rest goes on."""

    def __init__(self, tool, corpus, skip, figures):
        self.tool, self.corpus, self.skip, self.figures = tool, corpus, skip, figures

    def record(self, row, wall, cpu, rss=0.0, megabytes=None, per_second=None):
        found = {"wall": wall, "cpu": cpu, "rss": rss, "megabytes": megabytes, "per_second": per_second}
        self.figures.setdefault(row, {}).setdefault(self.tool.name, []).append(found)
        print(f"  {self.tool.name:10} {row:12} {wall:8.2f} s wall {cpu:8.2f} s CPU"
              + (f" {rss:6.0f} MiB" if rss else "") + (f" {megabytes:8.1f} MB" if megabytes else "")
              + (f" {per_second:8.0f} reads/s" if per_second else ""), flush=True)

    def row(self, name, command, then=None, stored=False, **how):
        """Times a command as a row; what comes out is judged by `then`, outside of the clock."""
        if name in self.skip:
            return
        try:
            figures = timed(command, self.tool.env, **how)
            if then:
                then()
            size = stored_bytes(self.tool.repository) / 1e6 if stored else None
            self.record(name, *figures, megabytes=size)
        except (RuntimeError, Wrong, OSError) as error:
            print(f"  {self.tool.name:10} {name}: {error}", flush=True)

    def restore(self):
        tool, corpus = self.tool, self.corpus
        target = tool.work / "back"
        command, at = tool.restore(target, corpus)
        check = check_file if corpus.is_image else check_tree
        self.row("restore", command, then=lambda: check(tool, corpus.path, at))
        discard(target)

    def one(self):
        tool, corpus = self.tool, self.corpus
        target, path = tool.work / "back", corpus.one_file()

        def check():
            found = [p for p in target.rglob("*") if p.is_file()] if target.is_dir() else [target]
            if len(found) != 1:
                raise Wrong(f"{tool.name}: {len(found)} files came back instead of one")
            check_file(tool, corpus.path / path, found[0])

        self.row("one", tool.one(target, corpus, path), then=check)
        discard(target)

    def streams(self, source):
        """Through standard input and out again, in a repository of its own."""
        if not self.tool.stream_in or "stream" in self.skip:
            return
        kept, self.tool = self.tool, type(self.tool)(self.tool.work)
        try:
            self.tool.init()
            self.row("stream_in", self.tool.stream_in(self.corpus), stdin=source, stored=True)
            out = self.tool.stream_out()
            self.row("stream_out", out, then=lambda: check_stream(self.tool, out, source))
        finally:
            discard(self.tool.work)
            self.tool = kept

    def archives(self):
        tool, corpus = self.tool, self.corpus
        if tool.export_tar:
            command = tool.export_tar(corpus)
            self.row("export_tar", command, then=lambda: check_archive(tool, command, corpus.path))
            zipped = tool.export_tgz(corpus)
            self.row("export_tgz", zipped, then=lambda: check_archive(tool, zipped, corpus.path, "z"))

    def mounts(self):
        if self.tool.mount and "mount" not in self.skip:
            try:
                measure_mount(self.tool, self.corpus, self.record)
            except (RuntimeError, Wrong, OSError) as error:
                print(f"  {self.tool.name:10} mount: {error}", flush=True)

    def generations(self):
        """The second generation in the place of the first; then the first is removed and its space given back."""
        tool, corpus = self.tool, self.corpus
        if not corpus.second or not tool.encrypts:
            return
        corpus.swap()
        try:
            self.row("gen2", tool.ingest(corpus), stored=True)
            if tool.prune:
                self.row("prune", tool.prune(corpus), stored=True)
        finally:
            corpus.swap()

    def checks(self):
        for name in ("check", "check_data"):
            if getattr(self.tool, name):
                self.row(name, getattr(self.tool, name)())

    def run(self, rows, stream=None):
        tool = self.tool
        tool.init()
        self.row("ingest", tool.ingest(self.corpus), stored=True)
        if "again" in rows and tool.encrypts:
            self.row("again", tool.ingest(self.corpus), stored=True)
        self.restore()
        if "one" in rows and tool.one:
            self.one()
        if "export" in rows:
            self.archives()
        if "check" in rows:
            self.checks()
        if "mount" in rows:
            self.mounts()
        if stream:
            self.streams(stream)
        self.generations()
