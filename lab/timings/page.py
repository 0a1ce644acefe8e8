"""Runs as one HTML file that needs nothing else: no script, font or other file; readable in print, without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from lab.journal import Run, Span
from lab.timings.change import Change
from lab.timings.chart import MARKS, heading, length, said, why
from lab.timings.path import Link

_ROW, _NAMES, _BARS, _TIMES = 22, 300, 620, 80
"""Height of a row, and widths of names, bars and times; in units of the picture."""
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 2rem auto; max-width: 64rem;
  padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2.2rem } svg { width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: #1b1f24 } svg text.end { text-anchor: end }
svg line { stroke: #d5dae0 } rect.critical { fill: #1f4e8c } rect.other { fill: #dbe4ef; stroke: #1f4e8c }
rect.slot { fill: none; stroke: #6b7280; stroke-dasharray: 3 3 } .bad { color: #a01818 }
table { border-collapse: collapse; margin-top: .8rem } td, th { text-align: left; padding: .15rem 1rem .15rem 0;
  vertical-align: top } td.number { text-align: right; font-variant-numeric: tabular-nums }
@media print { body { margin: 0; max-width: none; font-size: 11px } h2, svg, tr { break-inside: avoid }
  h2 { break-after: avoid } * { print-color-adjust: exact } }
"""


@dataclass(frozen=True)
class Chapter:
    """A run with what was found out about it."""

    run: Run
    links: Sequence[Link]
    changes: Sequence[Change] | None
    """None when there is no earlier run to compare with."""


def page(chapters: Sequence[Chapter]) -> str:
    """The whole file; also well-formed XML, so that any tool can read it."""
    body = "".join(part for chapter in chapters for part in _chapter(chapter))
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>Timings of the lab</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>Timings of the lab</h1>{body}</body></html>\n"
    )


def _chapter(chapter: Chapter) -> Iterator[str]:
    run = chapter.run
    yield f"<h2>{escape(heading(run))}</h2>\n"
    if run.error:
        yield f'<p class="bad">✗ ended with: {escape(run.error)}</p>\n'
    yield _picture(run, chapter.links)
    yield "<p>Dark: the critical path. Light: other steps. Dashed: waits for a free slot.</p>\n"
    yield "<table><tr><th>Critical path</th><th>seconds</th><th>share</th><th></th></tr>\n"
    for link in chapter.links:
        share = f"{link.span.seconds / length(run):.0%}"
        cells = (_number(f"{link.span.seconds:.2f}"), _number(share), f"<td>{escape(why(link))}</td>")
        yield f"<tr><td>{escape(_name(link.span))}</td>{''.join(cells)}</tr>\n"
    yield "</table>\n"
    yield "".join(f"<p>{escape(line)}</p>\n" for line in said(chapter.changes))


def _number(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _name(span: Span) -> str:
    return span.name if span.title in ("", span.name) else f"{span.name}: {span.title}"


def _picture(run: Run, links: Sequence[Link]) -> str:
    on_path = {link.span.name: link for link in links}
    width, height = _NAMES + _BARS + _TIMES, (len(run.spans) + 1) * _ROW
    rows = "".join(
        part
        for number, span in enumerate(run.spans, start=1)
        for part in _row(number * _ROW, span, on_path.get(span.name), length(run))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(heading(run))}">{"".join(_axis(length(run), height))}{rows}</svg>\n'
    )


def _axis(scale: float, height: int) -> Iterator[str]:
    for quarter in range(5):
        x = _NAMES + _BARS * quarter / 4
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_ROW - 4}" y2="{height}"/>'
        yield f'<text class="end" x="{x:.1f}" y="{_ROW - 8}">{scale * quarter / 4:.2f} s</text>'


def _row(y: int, span: Span, link: Link | None, scale: float) -> Iterator[str]:
    def x(at: float) -> float:
        return _NAMES + _BARS * min(at, scale) / scale

    mark, word = MARKS.get(span.state, ("?", span.state))
    base, top, tall = y + _ROW - 7, y + 4, _ROW - 7
    wide = max(1.5, x(span.end) - x(span.start))
    kind = "critical" if link else "other"
    yield f"<g><title>{escape(f'{_name(span)}: {word}, {span.seconds:.2f} s. {span.detail}')}</title>"
    yield f'<text x="0" y="{base}">{"◆ " if link else ""}{mark} {word}  {escape(span.name)}</text>'
    if link and link.freed_by:
        yield _rect("slot", x(link.ready), top, x(span.start) - x(link.ready), tall)
    yield _rect(kind, x(span.start), top, wide, tall)
    yield f'<text class="end" x="{_NAMES + _BARS + _TIMES}" y="{base}">{span.seconds:.2f} s</text></g>\n'


def _rect(kind: str, x: float, y: int, width: float, height: int) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"/>'
