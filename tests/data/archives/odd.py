"""Writes a tar with everything that is legal and odd: byte by byte, so that no library smooths it over."""
import random
import sys

out = bytearray()
rnd = random.Random(7)


def field(number, width):
    if 0 <= number < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, number)
    return (number % (1 << (8 * width)) | (0x80 << 8 * (width - 1))).to_bytes(width, "big")


def header(name, flag=b"0", size=0, link=b"", magic=b"ustar\x0000", mtime=0o14000000000, rest=b""):
    block = name.ljust(100, b"\0")[:100] + field(0o644, 8) + field(1000, 8) + field(100, 8)
    block += field(size, 12) + field(mtime, 12) + b" " * 8 + flag + link.ljust(100, b"\0") + magic
    block += b"joe".ljust(32, b"\0") + b"users".ljust(32, b"\0") + b"\0" * 16 + rest
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(name, content=b"", flag=b"0", **more):
    out.extend(header(name, flag, len(content), **more) + content)
    # Padding is nobody's business, so it need not be zero.
    out.extend(rnd.randbytes(-len(content) % 512))


def pax(*records, flag=b"x"):
    text = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        if rest + len(str(length)) != length:
            length += 1
        text += b"%d %s=%s\n" % (length, key, value)
    member(b"pax", text, flag)


noise = rnd.randbytes
member(b"twice", noise(5000))
member(b"dir/", flag=b"5")
member(b"dir/below", noise(700))
member(b"twice", noise(3_000_000))
member(b"a/parent/without/entry", b"x")
member(b"link", flag=b"1", link=b"twice")
member(b"nowhere", flag=b"1", link=b"never/was")
member(b"later", flag=b"1", link=b"comes/later")
member(b"comes/later", b"now")
member(b"self", flag=b"1", link=b"self")
member(b"sym", flag=b"2", link=b"/etc/passwd")
member(b"sym/below-a-link", b"not through it")
member(b"twice/below-a-file", b"z")
member(b"dir", b"a file where a directory was")
member(b"../up", noise(200_000))
member(b"/abs/olute", b"a")
member(b"\xff\xfe \x1b[31m", b"name")
member(b"v7", b"old", magic=b"\0" * 8)
member(b"before", b"", mtime=-1000)
member(b"unknown", noise(900), b"Q")
member(b"label", b"", b"V")
pax((b"path", b"p/" * 300 + b"end"), (b"SCHILY.xattr.user.k", b"v\0\n"), (b"mtime", b"-1.25"))
member(b"short", b"long path")
pax((b"COCOON.sparse.map", b'[{"o":4096,"l":3000},{"o":1048576,"l":4096}]'), (b"COCOON.sparse.size", b"1073741824"))
member(b"cow.raw", noise(3000) + b"\0" * 4096)
pax((b"COCOON.sparse.map", b"null"), (b"COCOON.sparse.size", b"1099511627776"))
member(b"empty.raw")
pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"one"), (b"GNU.sparse.realsize", b"70000"))
member(b"GNUSparseFile.1/one", b"2\n0\n100\n69000\n1000\n".ljust(512, b"\0") + noise(1100))
slots = b"".join(field(o, 12) + field(100, 12) for o in range(0, 400, 100)) + b"\1" + field(5000, 12)
out.extend(header(b"old", b"S", 500, magic=b"ustar  \0", rest=b"\0" * 41 + slots))
out.extend((field(4900, 12) + field(100, 12)).ljust(512, b"\0") + noise(500) + noise(12))
member(b"zeros", b"\0" * 1_000_000)
member(b"twice", b"third")
out.extend(b"\0" * 1024)
member(b"second/archive", noise(10))
out.extend(b"\0" * 3072 + noise(1000))
sys.stdout.buffer.write(out)
