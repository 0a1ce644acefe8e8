"""What the ``docker`` command can fail with."""

from __future__ import annotations


class DockerError(Exception):
    """A failure in the words of the real command; `exit_code` is what the process ends with."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotEmulatedError(DockerError):
    """Something that Docker does and this command does not."""

    def __init__(self, thing: str) -> None:
        super().__init__(f"not emulated: {thing}")
