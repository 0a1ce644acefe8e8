"""The syntax of names, labels, keys and ports, with upstream's explanations.

Source: k8s.io/apimachinery pkg/util/validation/validation.go (v0.33).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from lab.emulator.kube.errors import Cause

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_EXAMPLE = "e.g. 'example.com/MyName'"
_KEY = "[-._a-zA-Z0-9]+"

_LABEL_ERROR = ("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                f"'{_LABEL}')")  # fmt: skip
_SUBDOMAIN_ERROR = ("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
                    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
                    f"validation is '{_SUBDOMAIN}')")  # fmt: skip
_LABEL_1035_ERROR = ("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                     "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
                     f"regex used for validation is '{_LABEL_1035}')")  # fmt: skip
_QUALIFIED_ERROR = ("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                    f"'{_QUALIFIED}')")  # fmt: skip
_LABEL_VALUE_ERROR = ("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                      "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
                      f"'12345', regex used for validation is '{_LABEL_VALUE}')")  # fmt: skip
_KEY_ERROR = ("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
              f"'KEY_NAME',  or 'key-name', regex used for validation is '{_KEY}')")  # fmt: skip
_ENV_ERROR = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def _matched(pattern: str, text: str, error: str, most: int) -> list[str]:
    problems = [f"must be no more than {most} characters"] if len(text) > most else []
    return problems if re.fullmatch(pattern, text) else [*problems, error]


def label(text: str) -> list[str]:
    """What keeps ``text`` from being a DNS-1123 label."""
    return _matched(_LABEL, text, _LABEL_ERROR, 63)


def label_1035(text: str) -> list[str]:
    """What keeps ``text`` from being a DNS-1035 label, as services are named."""
    return _matched(_LABEL_1035, text, _LABEL_1035_ERROR, 63)


def subdomain(text: str) -> list[str]:
    """What keeps ``text`` from being a DNS-1123 subdomain."""
    return _matched(_SUBDOMAIN, text, _SUBDOMAIN_ERROR, 253)


def path_segment(text: str) -> list[str]:
    """What keeps ``text`` from being a name in a path, as roles are named."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in text]


def label_value(text: str) -> list[str]:
    """What keeps ``text`` from being a label's value."""
    return _matched(_LABEL_VALUE, text, _LABEL_VALUE_ERROR, 63)


def qualified(text: str) -> list[str]:
    """What keeps ``text`` from being a label's or annotation's key."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return [f"a qualified name {_QUALIFIED_ERROR} with an optional DNS subdomain prefix and '/' ({_EXAMPLE})"]
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {one}" for one in subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 characters")
    if not re.fullmatch(_QUALIFIED, name):
        problems.append(f"name part {_QUALIFIED_ERROR}")
    return problems


def config_key(text: str) -> list[str]:
    """What keeps ``text`` from being a key of a ConfigMap or Secret."""
    problems = ["must be no more than 253 characters"] if len(text) > 253 else []
    if not re.fullmatch(_KEY, text):
        return [*problems, _KEY_ERROR]
    if text in (".", ".."):
        problems.append(f"must not be '{text}'")
    elif text.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def environment(text: str) -> list[str]:
    """What keeps ``text`` from being an environment variable's name."""
    return [] if re.fullmatch(r"[\x20-\x3c\x3e-\x7e]+", text) else [_ENV_ERROR]


def port(number: int) -> list[str]:
    """What keeps ``number`` from being a port."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(text: str) -> list[str]:
    """What keeps ``text`` from being a port's name."""
    problems = ["must be no more than 15 characters"] if len(text) > 15 else []
    if not re.fullmatch(r"[-a-z0-9]+", text):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", text):
        problems.append("must contain at least one letter (a-z)")
    if "--" in text:
        problems.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def labels(found: Mapping[str, Any], path: str) -> list[Cause]:
    """What is wrong with a map of labels."""
    causes = []
    for key, value in found.items():
        causes += [Cause.invalid(path, key, problem) for problem in qualified(key)]
        causes += [Cause.invalid(path, value, problem) for problem in label_value(value)]
    return causes


def selector(found: Mapping[str, Any], path: str) -> list[Cause]:
    """What is wrong with a LabelSelector."""
    causes = labels(found.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, one in enumerate(found.get("matchExpressions") or []):
        place = f"{path}.matchExpressions[{index}]"
        values = one.get("values") or []
        if one.get("operator") in ("In", "NotIn"):
            if not values:
                detail = "must be specified when `operator` is 'In' or 'NotIn'"
                causes.append(Cause.required(f"{place}.values", detail))
        elif one.get("operator") in ("Exists", "DoesNotExist"):
            if values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                causes.append(Cause.forbidden(f"{place}.values", detail))
        else:
            causes.append(Cause.invalid(f"{place}.operator", one.get("operator", ""), "not a valid selector operator"))
        causes += [
            Cause.invalid(f"{place}.key", one.get("key", ""), problem) for problem in qualified(one.get("key", ""))
        ]
        causes += [Cause.invalid(f"{place}.values[{i}]", value, problem)
                   for i, value in enumerate(values) for problem in label_value(value)]  # fmt: skip
    return causes


def is_ip(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_cidr(text: str) -> bool:
    """Whether ``text`` is an address range in CIDR notation."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text
