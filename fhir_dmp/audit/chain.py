"""The Merkle log over all traces and the hash chains of those who write them. Hashes in, hashes out.

RFC 6962 https://www.rfc-editor.org/rfc/rfc6962#section-2.1 ; RFC 9162 https://www.rfc-editor.org/rfc/rfc9162#section-2.1

A trace is committed to by a keyed hash under a salt of its own. The salt is sealed like the trace itself, so when the key of a dossier
is destroyed the log stays provable and tells nothing.
"""

import hmac
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

EMPTY = sha256(b"").digest()
START = bytes(32)
# Subtrees of 2^8, 2^16, ... leaves have their hashes stored: a proof reads at most 255 hashes of each of these heights.
STEP = 8
_POSITION = Struct(">16sq16s")
_HOLE = Struct(">16sqq")


class Position(NamedTuple):
    """Place of a trace. chain: 16 bytes. number: from 0 in that chain, without gaps. key: of its row; begins with the dossier."""

    chain: bytes
    number: int
    key: bytes


# Leaves and chains


def commitment(salt: bytes, body: bytes) -> bytes:
    """What the log knows of a trace: 32 bytes that tell nothing without the salt."""
    return hmac.digest(salt, body, "sha256")


def leaf_data(position: Position, committed: bytes) -> bytes:
    """The entry of the log for a trace: its place and its commitment."""
    return _POSITION.pack(*position) + committed


def hole_data(chain: bytes, start: int, end: int) -> bytes:
    """The entry for traces start to end (left out) that were gone before they were merged: the log goes on and shows the hole for ever."""
    return b"missing" + _HOLE.pack(chain, start, end)


def leaf_hash(data: bytes) -> bytes:
    """MTH({data})."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


def link(previous: bytes, leaf: bytes) -> bytes:
    """Next value of a chain: each trace is tied to all those written before it by the same writer. START comes before the first."""
    return sha256(previous + leaf).digest()


# Tree


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over leaf hashes."""
    return fold(append((), 0, leaves))


def append(frontier: Sequence[bytes], size: int, leaves: Iterable[bytes]) -> tuple[bytes, ...]:
    """The frontier after more leaves. A frontier of a tree: roots of its complete subtrees, largest first."""
    stack = list(frontier)
    for leaf in leaves:
        node, count = leaf, size
        while count & 1:
            node = node_hash(stack.pop(), node)
            count >>= 1
        stack.append(node)
        size += 1
    return tuple(stack)


def fold(frontier: Sequence[bytes]) -> bytes:
    """Root of a tree from its frontier."""
    if not frontier:
        return EMPTY
    node = frontier[-1]
    for left in reversed(frontier[:-1]):
        node = node_hash(left, node)
    return node


class Subtree(NamedTuple):
    """Complete subtree: leaves index * 2^level to (index + 1) * 2^level."""

    level: int
    index: int


def completed(size: int, leaves: Sequence[bytes], below: Callable[[Subtree], bytes]) -> dict[Subtree, bytes]:
    """Subtrees of the stored heights (multiples of STEP) that more leaves complete, smallest first.

    below: hash of a subtree of a stored height (0: leaves) of the old tree.
    """
    found: dict[Subtree, bytes] = {Subtree(0, size + place): leaf for place, leaf in enumerate(leaves)}
    end, level, done = size + len(leaves), STEP, {}
    while end >> level:
        for index in range(size >> level, end >> level):
            parts = [Subtree(level - STEP, (index << STEP) + place) for place in range(1 << STEP)]
            done[Subtree(level, index)] = found[Subtree(level, index)] = root([found.get(part) or below(part) for part in parts])
        level += STEP
    return done


def cover(start: int, end: int) -> tuple[Subtree, ...]:
    """The complete subtrees that leaves start to end consist of, as a tree splits them; start aligned to the size."""
    parts = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        parts.append(Subtree(level, start >> level))
        start += 1 << level
    return tuple(parts)


def inclusion_ranges(index: int, size: int) -> tuple[tuple[int, int], ...]:
    """Ranges of leaves whose tree hashes prove that leaf `index` is in the tree of `size` leaves, nearest first."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_ranges(old: int, new: int) -> tuple[tuple[int, int], ...]:
    """Ranges whose tree hashes prove that the tree of `old` leaves is the beginning of that of `new` leaves."""
    if not 0 <= old <= new:
        raise ValueError(f"{old} leaves are no beginning of {new}")
    if old in (0, new):
        return ()
    start, end, count, whole, path = 0, new, old, True, []
    while count != end - start:
        half = _split(end - start)
        if count <= half:
            path.append((start + half, end))
            end = start + half
        else:
            path.append((start, start + half))
            start, count, whole = start + half, count - half, False
    if not whole:
        path.append((start, end))
    return tuple(reversed(path))


def _split(size: int) -> int:
    """Largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


# Checking proofs, with nothing but the proof: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2 and #section-2.1.4.2


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether the proof leads from a leaf hash to the root."""
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf
    for part in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(part, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, part)
        place, last = place >> 1, last >> 1
    return last == 0 and hmac.compare_digest(node, expected)


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of `old` leaves is the beginning of that of `new` leaves."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == EMPTY
    if old == new:
        return not proof and hmac.compare_digest(old_root, new_root)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for part in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(part, before), node_hash(part, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, part)
        place, last = place >> 1, last >> 1
    return last == 0 and hmac.compare_digest(before, old_root) and hmac.compare_digest(after, new_root)
