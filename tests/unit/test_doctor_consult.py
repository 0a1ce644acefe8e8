"""What the task `doctor` prints, and how it ends."""

import io
import json
import threading
from pathlib import Path

from shapes import fits

from lab import doctor
from lab.console import Console
from lab.doctor.consult import consult
from lab.doctor.recorded import Recorded
from lab.errors import MachineError
from lab.settings import Settings

MACHINES = Path(__file__).parents[1] / "fixtures/machines"


def consulted(name, engine, *, fix=False, as_json=False):
    """What was printed, the machine, and the error that ended it or None."""
    machine, stream = Recorded.load(MACHINES / f"{name}.json"), io.StringIO()
    try:
        consult(
            machine, Settings(), Console(as_json=as_json, stream=stream), engine=engine, fix=fix, stop=threading.Event()
        )
    except MachineError as error:
        return stream.getvalue(), machine, error
    return stream.getvalue(), machine, None


def test_a_healthy_machine_has_one_line_for_each_check():
    text, _, error = consulted("debian-without-docker", "embedded")
    assert error is None
    assert text.count("✓ ok") == len(doctor.CHECKS)
    assert f"{len(doctor.CHECKS)} looked at, 0 to look into." in text


def test_the_worst_comes_last_with_reason_and_remedy():
    text, _, error = consulted("wsl2-docker-desktop", "docker")
    words = [line.split()[1] for line in text.splitlines() if line[:1] in "✓?!✗" and line]
    assert words == sorted(words, key=["ok", "unknown", "warning", "problem"].index)
    assert "memory=6GB" in text
    assert "Without it a native Docker" not in text, "what is as it should be needs no reason"
    assert error.exit_code == 3
    assert "Port of application" in error.problem


def test_warnings_alone_are_no_failure():
    text, _, error = consulted("ufw-and-vpn", "docker")
    assert error is None
    assert "! warning" in text
    assert "`invoke doctor --fix` prints the remedies as a script." in text


def test_fix_mends_what_it_can_and_prints_the_rest():
    text, machine, _ = consulted("wsl2-native-docker-stopped", "docker", fix=True)
    assert "✓ mended   /home/anna/lab/.lab/secrets/root-token has mode 600" in text
    assert "✓ ok       lab.folder" in text, "it looked again"
    script = text[text.index("#!/bin/sh") :]
    assert "sudo service docker start" in script
    assert "chmod" not in script
    assert machine.changes


def test_without_fix_nothing_is_changed():
    text, machine, _ = consulted("wsl2-native-docker-stopped", "docker")
    assert machine.changes == []
    assert "mends 3 of them" in text


def test_json_has_one_document_for_each_finding_and_nothing_else():
    text, _, error = consulted("ubuntu-4gb", "docker", as_json=True)
    documents = [json.loads(line) for line in text.splitlines()]
    assert {document["type"] for document in documents} == {"finding"}
    assert {document["id"] for document in documents} == {check.id for check in doctor.CHECKS}
    fields = {"type", "id", "title", "state", "measured", "why", "remedy", "fixable", "stops_up"}
    assert all(set(document) == fields for document in documents)
    assert error


def test_json_with_fix_has_what_was_mended_and_the_script():
    text, _, _ = consulted("wsl2-native-docker-stopped", "docker", fix=True, as_json=True)
    documents = [json.loads(line) for line in text.splitlines()]
    assert all(map(fits, documents))
    kinds = [document["type"] for document in documents]
    assert kinds.count("mended") == 6
    assert kinds[-1] == "script"
