"""Makes vectors.json again with other libraries, from docs/crypto.md alone: an independent second implementation.

Run it by hand after a change of the format: pip install blake3 cryptography argon2-cffi; python3 verify.py
"""

import json
import pathlib
import struct
import sys

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305, AESGCM
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from argon2.low_level import hash_secret_raw, Type

V = json.loads((pathlib.Path(__file__).parent / "vectors.json").read_text())
seen = set()
failed = []

g = lambda n: bytes.fromhex(V[n])


def X(seed, n=32):
    return blake3(seed.encode()).digest(length=n)


def dk(ctx, *p, n=32):
    return blake3(b"".join(p), derive_key_context=ctx).digest(length=n)


raw = lambda k: k.public_bytes(Encoding.Raw, PublicFormat.Raw)


def pub(s):
    return raw(X25519PrivateKey.from_private_bytes(s).public_key())


def dh(s, p):
    return X25519PrivateKey.from_private_bytes(s).exchange(X25519PublicKey.from_public_bytes(p))


R = b"\x52" * 16


def ok(name, value):
    seen.add(name)
    if g(name) != value:
        failed.append(name)


tl = lambda f, v: bytes([f]) + struct.pack("<H", len(v)) + v
full = (
    b"\x01"
    + b"".join(tl(i, X(s)) for i, s in enumerate(["id", "chunker", "index", "config", "slots"], 1))
    + tl(8, struct.pack("<I", 1))
    + tl(7, struct.pack("<I", 1) + X("epoch 1"))
)
ok("keyring full", full)
e1 = pub(X("epoch 1"))
ok("epoch 1 public", e1)
ing = (
    b"\x01"
    + b"".join(tl(i, X(s)) for i, s in enumerate(["id", "chunker", "index", "config"], 1))
    + tl(8, struct.pack("<I", 1))
    + tl(6, struct.pack("<I", 1) + e1)
)
ok("keyring ingest", ing)
ok("chunk id of 'abc'", blake3(b"abc", key=X("id")).digest())
ok("chunk id of empty", blake3(b"", key=X("id")).digest())
ok("chunk id of 100000 bytes", blake3(X("content", 100000), key=X("id")).digest())
gear = dk("repo 2026 gear table v1", X("chunker"), n=2048)
ok("gear table, first 64 bytes", gear[:64])
ok("gear table, blake3", blake3(gear).digest())
# session
eph = pub(X("ephemeral"))
wk = dk("repo 2026 session wrap v1", dh(X("ephemeral"), e1), eph, e1, R, X("index"))
sealed = ChaCha20Poly1305(wk).encrypt(b"\0" * 12, X("session"), struct.pack("<I", 1))
for s, (name, C) in enumerate([("chacha", ChaCha20Poly1305), ("aes", AESGCM)], 1):
    for kind, kn, src, sec in [(1, "data pack", 1, X("session")), (3, "index", 0, X("index"))]:
        h = (
            b"repoobj\x01"
            + bytes([kind, s, src, 0])
            + (struct.pack("<I", 1) if src else b"\0" * 4)
            + X("salt")
            + (eph + sealed if src else b"\0" * 80)
        )
        key = dk("repo 2026 object key v1", sec, R, h)
        ok(f"{name} {kn} header", h + dk("repo 2026 key commitment v1", key, h))
        aad = R + bytes([kind]) + X("salt") + struct.pack("<IBIB", 7, 1, 4321, 1)
        nonce = struct.pack("<I", 7) + b"\0" * 8
        ok(f"{name} {kn} frame 7", C(key).encrypt(nonce, b"the quick brown fox", aad))
        dkey = dk("repo 2026 directory key v1", X("index"), R, h)
        ok(f"{name} {kn} directory frame 7", C(dkey).encrypt(nonce, b"the quick brown fox", aad))


# slots
def slot(kind, role, label, kdf, root, keyring):
    private = dk("repo 2026 slot private key v1", root)
    vou = dk("repo 2026 slot voucher v1", root)
    head = (
        b"repokey\x01"
        + bytes([kind, role, len(label), 0])
        + struct.pack("<III", *kdf)
        + struct.pack("<q", 1790000000)
        + X("slot id", 16)
    )
    salt = X("slot salt")
    p = pub(private)
    se = pub(X("slot ephemeral"))
    w = dk("repo 2026 slot wrap v1", dh(X("slot ephemeral"), p), se, p, R, vou)
    committed = head + struct.pack("<I", 1) + salt + p + se
    clear = committed + dk("repo 2026 slot commitment v1", w, committed) + label
    lasting = head + salt + p + label
    vk = dk("repo 2026 slot vouched v1", X("slots"), R, lasting)
    out = (
        clear
        + ChaCha20Poly1305(w).encrypt(b"\0" * 12, keyring, R + clear)
        + ChaCha20Poly1305(vk).encrypt(b"\0" * 12, vou, b"")
    )
    return out + blake3(out).digest()


st = hash_secret_raw(b"correct horse battery staple", X("slot salt"), 3, 65536, 4, 32, Type.ID)
ok(
    "slot passphrase",
    slot(1, 1, b"me", (65536, 3, 4), dk("repo 2026 slot passphrase v1", st), full),
)
ok(
    "slot key file",
    slot(
        2, 2, b"", (0, 0, 0), dk("repo 2026 slot key file v1", X("key file"), X("slot salt")), ing
    ),
)
ok("key file", b"repo-key-1 " + X("key file").hex().encode() + b"\n")


# catalog row: XChaCha20-Poly1305 via hchacha
def rotl(x, n):
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def hchacha(k, n):
    s = (
        [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
        + list(struct.unpack("<8I", k))
        + list(struct.unpack("<4I", n))
    )

    def q(a, b, c, d):
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[d] = rotl(s[d] ^ s[a], 16)
        s[c] = (s[c] + s[d]) & 0xFFFFFFFF
        s[b] = rotl(s[b] ^ s[c], 12)
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[d] = rotl(s[d] ^ s[a], 8)
        s[c] = (s[c] + s[d]) & 0xFFFFFFFF
        s[b] = rotl(s[b] ^ s[c], 7)

    for _ in range(10):
        q(0, 4, 8, 12)
        q(1, 5, 9, 13)
        q(2, 6, 10, 14)
        q(3, 7, 11, 15)
        q(0, 5, 10, 15)
        q(1, 6, 11, 12)
        q(2, 7, 8, 13)
        q(3, 4, 9, 14)
    return struct.pack("<8I", *(s[:4] + s[12:]))


n = X("nonce", 24)
for role, ck in [
    ("full", dk("repo 2026 full catalog v1", X("id"), X("epoch 1"))),
    ("ingest", dk("repo 2026 ingest catalog v1", X("id"))),
]:
    cipher = ChaCha20Poly1305(hchacha(dk("repo 2026 catalog rows v1", ck), n[:16]))
    ok(f"catalog {role} row", n + cipher.encrypt(b"\0" * 4 + n[16:], b"row", b"files:1"))
    names = dk("repo 2026 catalog names v1", ck)
    ok(f"catalog {role} name of '/etc'", blake3(b"/etc", key=names).digest())
print("wrong:", failed, "not made:", set(V) - seen)
sys.exit(bool(failed or set(V) - seen))
