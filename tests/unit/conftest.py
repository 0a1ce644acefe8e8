"""What every unit test is followed by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kube_cases import close_all


@pytest.fixture(autouse=True)
def stores_closed() -> Iterator[None]:
    """No database stays open behind a test."""
    yield
    close_all()
