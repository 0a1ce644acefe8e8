"""The only printer: progress, tables, timelines, errors; for people or, one JSON document per line, for programs.

console     what is printed;  printer: where it goes
area        the part of a terminal that is drawn again and again while something runs
board       what that part shows;  steps: the lines that a run leaves behind
layout      lines made of cells;  quantities: sizes and times as words;  terminal: what a stream can show
documents   the JSON documents of a run's events;  schema, shapes: what all documents look like
"""

from lab.console.console import Console
from lab.console.layout import Cell, Colour

__all__ = ["Cell", "Colour", "Console"]
