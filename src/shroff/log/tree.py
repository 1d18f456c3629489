"""Merkle trees with the hashes of RFC 6962: their roots, and what shows that leaves and an earlier tree are part of
one.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


class Path:
    """The hashes from which, with the hashes of some leaves, the root of a tree follows.

    `nodes` are in the order in which a walk from left to right needs them: each belongs to a largest part of the tree
    that has none of the leaves, and is not cut by the end of the earlier tree.

    Args:
        known: Indexes of the leaves.
        earlier: Size of the earlier tree, whose root follows too; 0 for none.
    """

    def __init__(self, leaves: Sequence[bytes], known: Container[int] = (), earlier: int = 0) -> None:
        self.nodes: list[bytes] = []
        self._leaves = leaves
        self._known = known
        self._earlier = earlier
        self.root = self._walk(0, len(leaves))[0] if leaves else sha256().digest()

    def _walk(self, start: int, end: int) -> tuple[bytes, bool]:
        """Return the hash of a part of the tree, and whether it must be walked, since a part of it is known or cut."""
        if end - start == 1:
            is_known = start in self._known
            if not is_known:
                self.nodes.append(self._leaves[start])
            return self._leaves[start], is_known
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        nodes = len(self.nodes)
        left, is_left_walked = self._walk(start, middle)
        right, is_right_walked = self._walk(middle, end)
        digest = sha256(b"\1" + left + right).digest()
        is_walked = is_left_walked or is_right_walked or start < self._earlier < end
        if not is_walked:
            self.nodes[nodes:] = [digest]
        return digest, is_walked
