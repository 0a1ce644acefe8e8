"""Content addresses."""

from __future__ import annotations

import hashlib
import re

ALGORITHMS = {"sha256": 64, "sha512": 128}
"""Supported algorithms and how many hexadecimal digits they give [OCI image-spec descriptor.md, Digests]."""


class Digest(str):
    """A content address of a supported algorithm; `of` raises ValueError for anything else."""

    __slots__ = ()

    @classmethod
    def of(cls, text: str) -> Digest:
        """Check ``text``."""
        algorithm, _, value = text.partition(":")
        if len(value) != ALGORITHMS.get(algorithm) or not re.fullmatch("[0-9a-f]+", value):
            raise ValueError(f"invalid or unsupported digest: {text}")
        return cls(text)

    @classmethod
    def calculate(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of ``data``."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The digits."""
        return self.partition(":")[2]
