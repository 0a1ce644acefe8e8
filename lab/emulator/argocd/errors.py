"""What can go wrong between an Application's source and the objects it describes."""

from __future__ import annotations


class SourceError(Exception):
    """A source gives no objects.

    The text is what Argo CD's repo server puts after ``desc = ``; ``code`` is the gRPC status it answers with.
    """

    def __init__(self, message: str, code: str = "Unknown") -> None:
        super().__init__(message)
        self.code = code

    def condition(self, index: int = 1, count: int = 1) -> str:
        """The message of the Application's ComparisonError."""
        return (
            f"Failed to load target state: failed to generate manifest for source {index} of {count}: "
            f"rpc error: code = {self.code} desc = {self}"
        )
