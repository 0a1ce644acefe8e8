"""Secrets taken out of text: by value, in every form a value is commonly written in, and by pattern.

By value: as it is, in base64 at any offset, URL-encoded, with JSON's and HTML's escapes. By pattern: what looks like a
secret wherever it comes from, such as GitLab's tokens, JWTs, private keys, logins in URLs and headers. Better too much
masked than too little: what is masked here goes to other people.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

MASKED = "[masked]"
LEAST = 4
"""Shorter values are not looked for: they would turn ordinary text into holes."""
_PEM = r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
_GITLAB = "glpat|gldt|glrtr?|glcbt|glptt|glft|glsoat|glagent|glimt|gloas|glwt|glffct|GR1348941"
"""https://docs.gitlab.com/security/tokens/#token-prefixes"""
_OTHERS = "ghp|gho|ghs|ghu|github_pat|dckr_pat|dckr_oat"
_NAMES = "password|passwd|pwd|token|secret|api_?key|access_?key|private_?key|client-key-data|auth|credentials?"
_HEADERS = "private-token|job-token|deploy-token|runner-token|x-gitlab-token|(?:set-)?cookie"
_QUOTE = r"(?:\\*[\"'])?"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        (_PEM, re.DOTALL, MASKED),
        # A log that was cut may begin in the middle of a key.
        (r"(?:[A-Za-z0-9+/=]{16,128}\s{1,9}){1,99}-----END [A-Z ]*PRIVATE KEY-----", 0, MASKED),
        (rf"\b(?:{_GITLAB}|{_OTHERS})[-_][\w.-]{{4,}}", 0, MASKED),
        (r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?", 0, MASKED),
        (
            rf"((?:proxy-)?authorization{_QUOTE}\s*[:=]\s*\[?\s*{_QUOTE}(?:(?:basic|bearer|token)\s+)?)(?!null\b)[^\s\"'\\,\]]+",
            re.IGNORECASE,
            rf"\g<1>{MASKED}",
        ),
        (rf"((?:{_HEADERS}){_QUOTE}\s*[:=]\s*\[?\s*{_QUOTE})[^\s\"'\\,\]]+", re.IGNORECASE, rf"\g<1>{MASKED}"),
        # Up to the last @ before a slash or a space: what comes behind those is no login any more.
        (r"\b([a-z][a-z0-9+.-]{1,20}://)[^\s/\"'<>]*@", re.IGNORECASE, rf"\g<1>{MASKED}@"),
        (
            rf"((?:{_NAMES}){_QUOTE}\]?\s*[:=]>?\s*{_QUOTE})(?!\[masked|true\b|false\b|null\b|None\b)[^\s\"'\\,;&<>{{\[(]+",
            re.IGNORECASE,
            rf"\g<1>{MASKED}",
        ),
    )
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")


class Mask:
    """Takes secrets out of text; called with a text it returns the text without them.

    Args:
        values: known secrets. One of several lines also counts line by line, and as `name=value` for its value.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        plain = {part for value in values for part in _parts(value) if len(part) >= LEAST}
        self._plain = sorted(plain, key=len, reverse=True)
        self._forms = sorted({form for value in plain for form in _forms(value)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``text`` with every known secret, and everything that looks like one, replaced by ``[masked]``."""
        text = self._values(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return _BASE64.sub(self._decoded, text)

    def _values(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASKED)
        return text

    def _decoded(self, found: re.Match[str]) -> str:
        """A stretch of base64 that holds a secret goes as a whole."""
        word = found.group()
        try:
            raw = base64.urlsafe_b64decode(word.replace("+", "-").replace("/", "_").rstrip("=") + "==")
        except (binascii.Error, ValueError):
            return word
        inner = raw.decode(errors="replace")
        if any(value in inner for value in self._plain) or any(pattern.search(inner) for pattern, _ in _PATTERNS):
            return MASKED
        return word


def _parts(value: str) -> Iterator[str]:
    yield value.strip()
    lines = [line.strip() for line in value.strip().splitlines()]
    for line in lines if len(lines) > 1 else ():
        name, equals, rest = line.partition("=")
        if equals and name in ("password", "token", "secret"):
            yield rest
        elif len(line) >= 2 * LEAST and not equals:
            yield line


def _forms(value: str) -> Iterator[str]:
    """The ways in which a value is written."""
    encoders: tuple[Callable[[str], str], ...] = (
        str,
        lambda text: quote(text, safe=""),
        quote,
        quote_plus,
        lambda text: re.sub(r"%[0-9A-F]{2}", lambda found: found.group().lower(), quote(text, safe="")),
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(json.dumps(text))[3:-3],
        html.escape,
    )
    for encode in encoders:
        yield encode(value)
    yield from _base64(value.encode())


def _base64(value: bytes) -> Iterator[str]:
    """What a value's base64 has in common wherever in a text it stands: at three offsets, in two alphabets."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + value).decode()
        # The first and the last digits depend on the neighbours.
        core = encoded[(0, 2, 3)[offset] : len(encoded) - (0, 3, 2)[(offset + len(value)) % 3]]
        if len(core) >= LEAST:
            yield from (encoded, core) if offset == 0 else (core,)
            yield core.replace("+", "-").replace("/", "_")
