#!/usr/bin/env python3
"""Writes the first inputs of every fuzz target into fuzz/corpus: golden bytes from tests/data, and small archives, compressed
streams and images that others than this program make."""
import bz2
import gzip
import hashlib
import io
import json
import lzma
import pathlib
import struct
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/data"
CORPUS = ROOT / "fuzz/corpus"


def put(target, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{hashlib.sha1(data).hexdigest()}").write_bytes(data)


def golden(name):
    return bytes.fromhex("".join((DATA / "format" / name).read_text().split()))


def member(name, kind=tarfile.REGTYPE, **more):
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.mode = kind, 1_700_000_000, 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive(form, documents=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, text in documents:
            tar.addfile(member(name, size=len(text)), io.BytesIO(text))
        tar.addfile(member("d", tarfile.DIRTYPE))
        tar.addfile(member("d/file", size=700, uname="user"), io.BytesIO(bytes(range(256)) * 3))
        tar.addfile(member("d/hard", tarfile.LNKTYPE, linkname="d/file"))
        tar.addfile(member("d/soft", tarfile.SYMTYPE, linkname="../x"))
        tar.addfile(member("null", tarfile.CHRTYPE, devmajor=1, devminor=3))
        tar.addfile(member("fifo", tarfile.FIFOTYPE))
        if form != tarfile.USTAR_FORMAT:
            tar.addfile(member("long/" + "n" * 150, size=3), io.BytesIO(b"abc"))
            tar.addfile(member("l", tarfile.SYMTYPE, linkname="t" * 150))
    return out.getvalue()


def sparse_pax(version):
    """A PAX member with a map in front of its content (1.0) or in its records (0.1)."""
    content, real = b"data" * 128, 8192
    headers = {"GNU.sparse.name": "sparse", "GNU.sparse.realsize": str(real)}
    if version == 1:
        headers |= {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        content = b"1\n4096\n512\n".ljust(512, b"\0") + content
    else:
        headers |= {"GNU.sparse.size": str(real), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "4096,512"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = member("GNUSparseFile.1/sparse", size=len(content))
        info.pax_headers = headers | {"SCHILY.xattr.user.k": "v", "mtime": "-1.000000001"}
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sparse_gnu():
    """GNU's old sparse form: type S, the map in the header."""
    header = bytearray(member("old-sparse", size=512).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:410] = b"00000010000\0" + b"00000001000\0"
    header[483:495] = b"00000011000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x" * 512 + bytes(1024)


def qcow2(version):
    """A disk of 256 KiB in clusters of 512 bytes: one cluster of data, one of zeros, the rest unallocated."""
    cluster = 512
    size = 256 << 10
    tables = size // cluster // (cluster // 8)
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, 9, size, 0, tables, cluster, 0, 1, 0, 0)
    if version == 3:
        header += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    l1 = [2 * cluster | 1 << 63] + [0] * (tables - 1)
    l2 = [3 * cluster | 1 << 63, 1 if version == 3 else 0] + [0] * 62
    body = struct.pack(f">{len(l1)}Q", *l1).ljust(cluster, b"\0") + struct.pack(">64Q", *l2)
    return header.ljust(cluster, b"\0") + body + b"disk" * (cluster // 4)


STACK = {"version": 1, "name": "shop", "components": [{"name": "db", "notes": "n"}]}
VOLUME = [{"name": "data", "path": "0", "size": 5}]
VM = {"version": 1, "config": {"name": "vm", "cpu": 2, "memory": 1 << 30, "disks": []}}


def main():
    directory, record = golden("directory.hex"), golden("index.hex")
    put("directory", directory)
    put("index", record + record)
    put("header", golden("header.hex")[:160])
    put("header", ((9181 + 140 + 48) << 24).to_bytes(8, "little") + golden("trailer.hex"))
    put("content", golden("content.hex"))
    put("tree", golden("tree.hex"))
    put("tree", golden("tree-index.hex"))
    put("recipe", golden("recipe.hex"))
    put("snapshot", golden("snapshot.hex"))
    for name in ("session", "plan", "pin"):
        put(name, golden(f"{name}.hex"))
    put("plan", golden("waits.hex"))
    put("config", (DATA / "repository/config").read_bytes())
    for name, text in json.loads((DATA / "crypto/vectors.json").read_text()).items():
        if name.startswith(("slot", "keyring", "key file")):
            data = bytes.fromhex(text)
            put("slot", data)
            put("slot", data[:-32])
    archives = [archive(f) for f in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    archives += [sparse_pax(1), sparse_pax(0), sparse_gnu()]
    documents = [("manifest.json", STACK), ("manifest.json", VOLUME), ("snapshot.json", VM)]
    for name, document in documents:
        text = json.dumps(document).encode()
        put("identity", text)
        archives.append(archive(tarfile.PAX_FORMAT, [(name, text)]))
    for data in archives:
        put("tar", data)
    plain = archives[0]
    for squeeze in (gzip.compress, bz2.compress, lzma.compress):
        put("peel", squeeze(plain))
        put("peel", gzip.compress(squeeze(plain)) + squeeze(b"") + bytes(99))
    # zstd has raw blocks, so a frame can be written by hand.
    frame = bytes.fromhex("28b52ffd20ff") + (1 | 255 << 3).to_bytes(3, "little") + bytes(range(255))
    put("peel", frame)
    for choice in (1, 9, 200):
        put("codec", bytes([255, 0, 0, choice]) + frame)
    put("codec", bytes([0, 16, 0, 0]) + bytes(4096))
    for version in (2, 3):
        put("qcow2", qcow2(version))


main()
