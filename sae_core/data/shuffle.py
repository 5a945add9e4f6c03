"""A random permutation of [0, n) that can be evaluated at any index, so that an epoch's order is never stored."""

import hashlib

import numpy as np
from numpy.typing import NDArray

# 8 rounds: four are pseudorandom for an ideal round function (Luby and Rackoff 1988); the mixer below is not ideal.
ROUNDS = 8


def permuted(index: NDArray[np.int64], n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Image of `index` under the permutation of [0, n) that belongs to (seed, epoch).

    A generalised Feistel network on Z_a x Z_b with a*b >= n, a = ceil(sqrt(n)), and cycle walking for the fewer than a
    values outside [0, n) (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").

    index: any shape, values in [0, n); returns the same shape. Raises ValueError for an index outside.
    """
    index = np.asarray(index, dtype=np.int64)
    if index.size and not (0 <= index.min() and index.max() < n):
        raise ValueError(f"indices {index.min()}..{index.max()} leave the range [0, {n}) of the permutation")
    keys, a = _round_keys(seed, epoch), _ceil_sqrt(n)
    b = max(1, -(-n // max(a, 1)))
    out = _feistel(index.astype(np.uint64), a, b, keys)
    while (outside := out >= n).any():
        out[outside] = _feistel(out[outside], a, b, keys)
    return out.astype(np.int64)


def _feistel(x: NDArray[np.uint64], a: int, b: int, keys: list[int]) -> NDArray[np.uint64]:
    """One pass over Z_a x Z_b; x = left*b + right. ROUNDS is even, so the two moduli end where they began."""
    left, right = np.divmod(x, np.uint64(b))
    modulus, other = np.uint64(a), np.uint64(b)
    for key in keys:
        left, right = right, (left + _mix(right, key) % modulus) % modulus
        modulus, other = other, modulus
    return left * np.uint64(b) + right


def _mix(x: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Finaliser of splitmix64 (Steele, Lea and Flood 2014) on x + key, modulo 2^64."""
    z = x + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _round_keys(seed: int, epoch: int) -> list[int]:
    digest = hashlib.blake2b(f"{seed}:{epoch}".encode(), digest_size=8 * ROUNDS).digest()
    return [int.from_bytes(digest[8 * r : 8 * r + 8], "little") for r in range(ROUNDS)]


def _ceil_sqrt(n: int) -> int:
    root = int(np.sqrt(float(n)))
    while root * root < n:
        root += 1
    return root
