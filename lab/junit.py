"""The checklist as a JUnit document, for programs that read test results."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from lab.model import Check


def as_junit(found: Sequence[Check]) -> str:
    """The checks as a JUnit document, one test case each; what could not be checked counts as skipped."""
    suite = ET.Element(
        "testsuite", name="lab.verify", tests=str(len(found)),
        failures=str(sum(check.ok is False for check in found)), skipped=str(sum(check.ok is None for check in found)),
    )  # fmt: skip
    for check in found:
        area, _, name = check.id.partition(".")
        case = ET.SubElement(suite, "testcase", classname=f"lab.{area}", name=name)
        if check.ok is True:
            ET.SubElement(case, "system-out").text = _printable(check.evidence)
        else:
            kind = "failure" if check.ok is False else "skipped"
            problem = ET.SubElement(case, kind, message=_printable(f"{check.title}: {check.evidence}"))
            problem.text = check.hint
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """XML 1.0 has no control characters, not even escaped ones."""
    return "".join(letter for letter in text if letter in "\t\n" or ord(letter) >= 32)
