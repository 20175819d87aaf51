"""64-bit hash functions of byte strings, with the values of the libraries whose bins are to be the same.

FarmHash64 (G. Pike, 2014, the variant "na"), and SipHash-2-4 (Aumasson and Bernstein, 2012).
"""

_ALL = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _fetch(text: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(text[at : at + size], "little")


def _rotated(value: int, shift: int) -> int:
    value &= _ALL
    return ((value >> shift) | (value << (64 - shift))) & _ALL


def _shifted(value: int) -> int:
    value &= _ALL
    return value ^ (value >> 47)


def _mixed(u: int, v: int, factor: int) -> int:
    """Return 64 bits that depend on all bits of two numbers."""
    a = _shifted((u ^ v) * factor)
    return _shifted(((v & _ALL) ^ a) * factor) * factor & _ALL


def farm_hash(text: bytes) -> int:
    """Return FarmHash64 of a byte string."""
    n = len(text)
    if n > 64:
        return _farm_hash_of_blocks(text)
    factor = _K2 + 2 * n
    if n == 0:
        return _K2
    if n < 4:
        y, z = text[0] + (text[n >> 1] << 8), n + (text[-1] << 2)
        return _shifted(y * _K2 ^ z * _K0) * _K2 & _ALL
    if n < 8:
        return _mixed(n + (_fetch(text, 0, 4) << 3), _fetch(text, n - 4, 4), factor)
    if n <= 16:
        a, b = _fetch(text, 0) + _K2, _fetch(text, n - 8)
        c, d = _rotated(b, 37) * factor + a, (_rotated(a, 25) + b) * factor
        return _mixed(c & _ALL, d & _ALL, factor)
    first = _K1 if n <= 32 else _K2
    a, b = _fetch(text, 0) * first & _ALL, _fetch(text, 8)
    c, d = _fetch(text, n - 8) * factor & _ALL, _fetch(text, n - 16) * _K2 & _ALL
    y = (_rotated(a + b, 43) + _rotated(c, 30) + d) & _ALL
    z = _mixed(y, (a + _rotated(b + _K2, 18) + c) & _ALL, factor)
    if n <= 32:
        return z
    e, f = _fetch(text, 16) * factor & _ALL, _fetch(text, 24)
    g = (y + _fetch(text, n - 32)) * factor & _ALL
    h = (z + _fetch(text, n - 24)) * factor & _ALL
    u, v = _rotated(e + f, 43) + _rotated(g, 30) + h, e + _rotated(f + a, 18) + g
    return _mixed(u & _ALL, v & _ALL, factor)


def _weak(text: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Return 128 bits that depend on 32 bytes and two numbers."""
    w, x, y, z = (_fetch(text, at + 8 * place) for place in range(4))
    a += w
    b = _rotated(b + a + z, 21)
    c = a
    a += x + y
    b += _rotated(a, 44)
    return (a + z) & _ALL, (b + c) & _ALL


def _farm_hash_of_blocks(text: bytes) -> int:
    """Return FarmHash64 of more than 64 bytes."""
    n, seed = len(text), 81
    x, y = seed * _K2 + _fetch(text, 0), (seed * _K1 + 113) & _ALL
    z = _shifted(y * _K2 + 113) * _K2 & _ALL
    v, w = (0, 0), (0, 0)
    end = (n - 1) // 64 * 64
    for at in range(0, end, 64):
        x, y, z, v, w = _block(text, at, x, y, z, v, w, _K1, 1)
    at, factor = end + ((n - 1) & 63) - 63, _K1 + ((z & 0xFF) << 1)
    w = (w[0] + ((n - 1) & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x, y, z, v, w = _block(text, at, x, y, z, v, w, factor, 9)
    u = _mixed(v[0], w[0], factor) + _shifted(y) * _K0 + z
    return _mixed(u & _ALL, (_mixed(v[1], w[1], factor) + x) & _ALL, factor)


def _block(
    text: bytes, at: int, x: int, y: int, z: int, v: tuple[int, int], w: tuple[int, int], factor: int, weight: int
) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    """Return the state after 64 bytes."""
    x = _rotated(x + y + v[0] + _fetch(text, at + 8), 37) * factor & _ALL
    y = _rotated(y + v[1] + _fetch(text, at + 48), 42) * factor & _ALL
    x ^= w[1] * weight & _ALL
    y = (y + v[0] * weight + _fetch(text, at + 40)) & _ALL
    z = _rotated(z + w[0], 33) * factor & _ALL
    v = _weak(text, at, v[1] * factor & _ALL, (x + w[0]) & _ALL)
    w = _weak(text, at + 32, (z + w[1]) & _ALL, (y + _fetch(text, at + 16)) & _ALL)
    return z, y, x, v, w


def sip_hash(text: bytes, key: tuple[int, int]) -> int:
    """Return SipHash-2-4 of a byte string for a key of two 64-bit numbers."""
    v = [
        key[0] ^ 0x736F6D6570736575,
        key[1] ^ 0x646F72616E646F6D,
        key[0] ^ 0x6C7967656E657261,
        key[1] ^ 0x7465646279746573,
    ]
    whole = len(text) // 8 * 8
    words = [_fetch(text, at) for at in range(0, whole, 8)]
    words.append(_fetch(text, whole) | (len(text) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        _sip_rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _sip_rounds(v: list[int], n: int) -> None:
    """Mix the state of SipHash in place."""
    for _ in range(n):
        for a, b, left, right in ((0, 1, 13, 32), (2, 3, 16, 0), (0, 3, 21, 0), (2, 1, 17, 32)):
            v[a] = (v[a] + v[b]) & _ALL
            v[b] = _rotated(v[b], 64 - left) ^ v[a]
            v[a] = _rotated(v[a], 64 - right) if right else v[a]
