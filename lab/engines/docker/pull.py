"""Pulling one image: its bytes as progress, its end within a time limit, and its failures in words.

The SDK reads the engine's events without any time limit of its own, so a thread reads them and the step waits for it.
When the wait ends early the process ends too, and with its connection the engine's pull; whole layers are kept.
"""

from __future__ import annotations

import threading
from typing import Any

from lab.engines.docker.daemon import Daemon
from lab.engines.docker.pull_failures import PASSING, explain
from lab.engines.docker.references import Reference
from lab.errors import LabError
from lab.plan import StepContext
from lab.remote import load
from lab.waiting import Pending

_TRIES = 3
_HINT = "What was downloaded is kept. Run the same again, raise timeouts.pull, or set a mirror in lab.yaml."


class Layers:
    """The bytes of an image's layers, as far as the engine has told; may be shared by threads.

    Args:
        expected: bytes of the whole image, roughly, until the engine has told about every layer.
    """

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._doing = ""

    def take(self, event: dict[str, Any]) -> None:
        """Take one event of ``POST /images/create`` into account."""
        status, layer = str(event.get("status") or ""), str(event.get("id") or "")
        numbers = event.get("progressDetail") or {}
        with self._lock:
            self._doing = status or self._doing
            if status in ("Pulling fs layer", "Waiting"):
                self._unknown.add(layer)
            elif status == "Downloading" and numbers.get("total"):
                self._unknown.discard(layer)
                self._totals[layer] = int(numbers["total"])
                self._done[layer] = int(numbers.get("current") or 0)
            elif status in ("Download complete", "Extracting", "Pull complete", "Already exists"):
                self._unknown.discard(layer)
                self._done[layer] = self._totals.get(layer, 0)

    def seen(self) -> tuple[int, int, str]:
        """Bytes that are here, bytes in all, and what the engine does."""
        with self._lock:
            done, total = sum(self._done.values()), sum(self._totals.values())
            if self._unknown:  # Docker tells a layer's size when it begins with it, three at a time
                total = max(total, self._expected)
            return done, max(done, total), self._doing


class Pull:
    """One image on its way.

    Args:
        daemon: the engine that pulls.
        source: what it pulls; by its digest when there is one.
        upstream: the registry that a mirror stands in for.
        platform: ``linux/amd64`` or ``linux/arm64``.
        expected: bytes to download, roughly.
    """

    def __init__(self, daemon: Daemon, source: Reference, *, upstream: str, platform: str, expected: int) -> None:
        self._daemon = daemon
        self._source = source
        self._upstream = upstream
        self._platform = platform
        self._layers = Layers(expected)
        self._tries = 0
        self._ended = threading.Event()
        self._error: Exception | None = None

    def run(self, context: StepContext, timeout: float) -> int:
        """Pull to the end; returns the bytes that were downloaded.

        Raises:
            LabError: it failed, for a passing reason three times; the error names the image and the reason.
            TimedOut: ``timeout`` seconds were over.
        """
        self._start()
        return context.wait(
            f"image {self._source}", lambda: self._look(context), timeout=timeout, interval=0.1, longest=0.5, hint=_HINT
        )

    def _start(self) -> None:
        self._tries += 1
        self._error = None
        self._ended.clear()
        threading.Thread(target=self._read, name=f"pull {self._source}", daemon=True).start()

    def _look(self, context: StepContext) -> int | Pending:
        ended = self._ended.is_set()
        done, total, doing = self._layers.seen()
        context.progress(done, total)
        if not ended:
            return Pending(doing.lower() or "asking the registry")
        if self._error is None:
            return done
        error = self._explained(self._error)
        if self._tries >= _TRIES or error.code not in PASSING:
            raise error from self._error
        self._start()
        return Pending(f"once more, since {error.evidence}")

    def _read(self) -> None:
        source = self._source
        try:
            for event in self._daemon.client.api.pull(
                source.repository_name, tag=source.version, stream=True, decode=True, platform=self._platform
            ):
                if event.get("error"):
                    self._error = self._refused(str(event["error"]))
                    break
                self._layers.take(event)
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: the waiting step raises it
            self._error = error
        finally:
            self._ended.set()

    def _explained(self, error: Exception) -> LabError:
        """What happened, in the lab's words."""
        if isinstance(error, LabError):
            return error
        errors, (requests,) = self._daemon.errors, load("requests.exceptions")
        if (
            isinstance(error, errors.APIError) or "credential" in str(error).lower()
        ):  # the registry's words, or a helper's
            known = explain(self._source, str(getattr(error, "explanation", None) or error), self._upstream)
            if known:
                return known
        if isinstance(error, (errors.DockerException, requests.RequestException, OSError)):
            try:
                with self._daemon.asking(f"pull {self._source}"):
                    raise error
            except LabError as found:
                return found
        return LabError(
            "LAB-IMAGE-08", f"The engine's account of the pull of {self._source} cannot be read.",
            evidence=f"{type(error).__name__}: {error}"[:600], hint="Run the same again; restart Docker if it stays.",
        )  # fmt: skip

    def _refused(self, said: str) -> LabError:
        return explain(self._source, said, self._upstream) or LabError(
            "LAB-IMAGE-10", f"Image {self._source} could not be pulled.", evidence=said[:600],
            hint=f"By hand, for more: docker pull {self._source}",
        )  # fmt: skip


def vanished(name: str) -> LabError:
    """The engine said that it was done, or nothing at all, and there is no image."""
    return LabError(
        "LAB-IMAGE-09", f"The pull of {name} ended, but the image is not here.",
        evidence="The engine was restarted, or somebody removed the image.", hint="Run the same again.",
    )  # fmt: skip
