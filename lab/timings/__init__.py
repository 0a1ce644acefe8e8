"""Where the time of a run went: its steps as a chart, the critical path, and what got slower.

path      the chain of steps that a run's length came from
change    what took longer or shorter than in earlier runs on the same engine
chart     the picture on a terminal;  page: the same as one HTML file
report    the task, and what `up --timings` adds
"""

from __future__ import annotations

from lab.timings.report import show, show_run

__all__ = ["show", "show_run"]
