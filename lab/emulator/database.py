"""Durable documents: a small table of JSON records in SQLite, written through on every change.

One process owns the file. A commit is on disk when `put` returns to the event loop's next step, so that
``kill -9`` at any moment loses at most the request that was never answered.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class Database:
    """A store of documents, each a JSON value under a kind and a key.

    Writes outside `transaction` commit at once; inside, all of them commit together or none does.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        self._depth = 0

    def put(self, kind: str, key: str | int, body: Any) -> None:
        """Store ``body`` (JSON) under ``kind`` and ``key``, replacing what was there."""
        text = json.dumps(body, separators=(",", ":"))
        self._connection.execute("REPLACE INTO documents VALUES (?, ?, ?)", (kind, str(key), text))

    def get(self, kind: str, key: str | int) -> Any | None:
        """The document under ``kind`` and ``key``, or None."""
        row = self._connection.execute(
            "SELECT body FROM documents WHERE kind = ? AND key = ?", (kind, str(key))
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def delete(self, kind: str, key: str | int) -> None:
        """Remove a document; nothing happens when it is absent."""
        self._connection.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, str(key)))

    def all(self, kind: str) -> list[tuple[str, Any]]:
        """Every document of ``kind`` as ``(key, body)``, in key order (text order)."""
        rows = self._connection.execute("SELECT key, body FROM documents WHERE kind = ? ORDER BY key", (kind,))
        return [(key, json.loads(body)) for key, body in rows]

    def next_id(self, counter: str, start: int = 1) -> int:
        """The next number of ``counter``; never given twice, also not after a restart."""
        row = self._connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (counter, start),
        ).fetchone()
        return int(row[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the block's writes together; nested blocks join the outer one."""
        if self._depth == 0:
            self._connection.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; the store is unusable afterwards."""
        self._connection.close()
