"""The rows of a mount: ready, listing twice, reading everything, and random reads, of which every byte is compared with the source."""
import multiprocessing
import os
import random
import subprocess
import threading
import time

from .measure import Wrong, cpu_of, drop_caches, peak_of, timed

READ_BYTES = (4 << 10, 64 << 10)
READY_SECONDS = 180


def plan_of_tree(tree, count, seed):
    """(file, offset, length) of reads of 4 to 64 KiB, each of a file drawn by chance."""
    names = []
    for folder, _, files in os.walk(tree):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.isfile(path) and os.path.getsize(path) > 0:
                names.append((os.path.relpath(path, tree), os.path.getsize(path)))
    names.sort()
    draw = random.Random(seed)
    reads = []
    for _ in range(count):
        name, size = draw.choice(names)
        length = draw.randint(*READ_BYTES)
        reads.append((name, draw.randrange(max(1, size - length + 1)), length))
    return reads


def plan_of_file(name, size, count, seed):
    """The same for one large file, at any offset."""
    draw = random.Random(seed)
    reads = []
    for _ in range(count):
        length = draw.randint(*READ_BYTES)
        reads.append((name, draw.randrange(size - length + 1), length))
    return reads


def read_all(root, reads, threads):
    """Does the reads, each with an open of its own, spread over threads. Returns what was read and the seconds that it took."""
    answers = [None] * len(reads)
    failed = []

    def work(first):
        try:
            for number in range(first, len(reads), threads):
                name, offset, length = reads[number]
                descriptor = os.open(f"{root}/{name}", os.O_RDONLY)
                try:
                    answers[number] = os.pread(descriptor, length, offset)
                finally:
                    os.close(descriptor)
        except OSError as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.monotonic() - began
    if failed:
        raise failed[0]
    return answers, took


def measured_reads(tool, daemon, inside, corpus, threads):
    """Seconds, CPU seconds and number of random reads in a page cache that is empty; the daemon keeps what it has in memory."""
    # Each number of threads reads elsewhere, so that none profits from the one before.
    reads = corpus.reads(seed=threads)
    drop_caches()
    before, own = cpu_of(daemon), time.process_time()
    answers, wall = read_all(inside, reads, threads)
    cpu = cpu_of(daemon) - before + time.process_time() - own
    for (name, offset, length), answer in zip(reads, answers):
        with open(corpus.source_of(name), "rb") as file:
            if os.pread(file.fileno(), length, offset) != answer:
                raise Wrong(f"{tool.name}: {length} bytes at {offset} of {name} differ from the source")
    return wall, cpu, len(reads)


def random_reads(tool, daemon, inside, corpus, row, record):
    """One row. Reads in a process of its own: what this one has in memory would count as that of every program that it starts."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        try:
            sender.send(measured_reads(tool, daemon, inside, corpus, 4 if row.endswith("4") else 1))
        except (OSError, Wrong) as error:
            sender.send(f"{row}: {error}")

    process = context.Process(target=work)
    process.start()
    sender.close()
    said = receiver.recv()
    process.join()
    if isinstance(said, str):
        raise Wrong(said)
    wall, cpu, count = said
    record(row, wall, cpu, peak_of(daemon), per_second=count / wall)


class Mounted:
    """A mount by one tool, for as long as the block lasts."""

    def __init__(self, tool, corpus):
        self.tool = tool
        self.point = tool.work / "mnt"
        self.point.mkdir(exist_ok=True)
        self.command, self.inside = tool.mount(self.point, corpus)

    def __enter__(self):
        drop_caches()
        began = time.monotonic()
        self.daemon = subprocess.Popen(self.command, env=self.tool.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (os.path.ismount(self.point) and os.path.exists(self.inside)):
            if self.daemon.poll() is not None or time.monotonic() - began > READY_SECONDS:
                self.__exit__()
                raise RuntimeError(f"{self.tool.name}: the mount did not come up")
            time.sleep(0.002)
        self.ready = time.monotonic() - began
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", str(self.point)], capture_output=True)
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            subprocess.run(["umount", "-l", str(self.point)], capture_output=True)


def measure_mount(tool, corpus, record):
    """Mount ready, a cold `ls -lR`, a second one, reading every file; then, in a fresh mount, the random reads."""
    with Mounted(tool, corpus) as mount:
        record("mount_ready", mount.ready, cpu_of(mount.daemon), peak_of(mount.daemon))
        everything = f"find {mount.inside} -type f -print0 | xargs -0 cat | wc -c >{tool.work}/count"
        for row, job in (("mount_ls", f"ls -lR {mount.inside} >/dev/null"), ("mount_ls2", f"ls -lR {mount.inside} >/dev/null"), ("mount_cat", everything)):
            before = cpu_of(mount.daemon)
            wall, cpu, _ = timed(job, tool.env, cold=False)
            record(row, wall, cpu + cpu_of(mount.daemon) - before, peak_of(mount.daemon))
        count = int((tool.work / "count").read_text())
        if count != corpus.file_bytes():
            raise Wrong(f"{tool.name}: the files of the mount have {count} bytes, the source {corpus.file_bytes()}")
    with Mounted(tool, corpus) as mount:
        for row in ("mount_rand1", "mount_rand4"):
            random_reads(tool, mount.daemon, mount.inside, corpus, row, record)
