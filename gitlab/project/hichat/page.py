"""The page, as text. Everything that came from a person is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>HiChat</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  form { display: flex; gap: .5rem }
  input { flex: 1; font: inherit; padding: .4rem }
  button { font: inherit; padding: .4rem 1rem }
  li { overflow-wrap: anywhere }
  footer, .note { color: #666; font-size: .875rem }
</style>
<h1>HiChat</h1>
<form method="post" action="/">
  <input name="message" aria-label="Message" maxlength="280" required autofocus>
  <button>Send</button>
</form>
$body
<footer>commit $commit &middot; <a href="/health">health</a> &middot; <a href="/version">version</a></footer>
</html>
"""


def render(commit: str, messages: Sequence[str], note: str = "") -> str:
    """The page with messages (newest first) and, where something is not as it should be, a note about it."""
    body = "<ul>{}</ul>".format("".join(f"<li>{escape(message)}</li>" for message in messages))
    if note:
        body = f'<p class="note">{escape(note)}</p>{body}'
    return _PAGE.replace("$commit", escape(commit[:8])).replace("$body", body)
