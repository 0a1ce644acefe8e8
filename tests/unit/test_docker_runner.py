from __future__ import annotations

import pytest

from lab.engines.docker import runner
from lab.errors import UsageError


def test_a_configuration_that_the_runner_could_not_read_is_refused_with_its_place():
    assert runner.checked("concurrent = 1\n") == "concurrent = 1\n"
    with pytest.raises(UsageError) as raised:
        runner.checked("concurrent = 1\nnonsense = ]\nmore = 2")
    assert raised.value.code == "LAB-RUNNER-09"
    assert "line 2" in raised.value.evidence


def test_a_token_is_known_by_its_label():
    assert runner.shortened("glrt-abcdefghijkl") == runner.shortened("abcdefghi") == "abcdefghi"
