"""Makes cuts.txt again: content-defined chunking as docs/format.md states it, one byte at a time, without any Rust.

Run it by hand: pip install blake3; python3 verify.py
"""

import pathlib
import struct
import sys

from blake3 import blake3

M = dict(
    zip(
        range(7, 24),
        [
            0x18035100,
            0x1800035300,
            0x19000353000,
            0x590003530000,
            0xD90003530000,
            0xD90103530000,
            0xD90303530000,
            0xD90313530000,
            0xD90F03530000,
            0xD90303537000,
            0xD90703537000,
            0xD90707537000,
            0xD91707537000,
            0xD91747537000,
            0xD91767537000,
            0xD93767537000,
            0xD93777537000,
        ],
    )
)
G = struct.unpack("<256Q", blake3(b"gear").digest(length=2048))
data = blake3((7).to_bytes(8, "little")).digest(length=2000000)
M64 = (1 << 64) - 1


def cut(d, at, mn, av, mx, ms, ml):
    n = min(len(d) - at, mx)
    if n <= mn:
        return n
    h = 0
    # scalar statement of the two-bytes-at-a-time scan; the hash of a position covers the byte at it
    end = n - (n % 2)
    centre = min(av, n)
    centre -= centre % 2
    for i in range(mn, end):
        h = ((h << 1) + G[d[at + i]]) & M64
        if not h & (ms if i < centre else ml):
            return i
    return n


out = []
for avg in (4096, 16384, 65536, 1 << 18):
    b = avg.bit_length() - 1
    at = 0
    l = []
    while at < len(data):
        c = cut(data, at, avg // 4, avg, avg * 4, M[b + 1], M[b - 1])
        l.append(c)
        at += c
    out.append(f"{avg}: " + " ".join(map(str, l[:40])))
sys.exit((pathlib.Path(__file__).parent / "cuts.txt").read_text() != "\n".join(out) + "\n")
