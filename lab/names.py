"""The lab's names and places on this machine: the lines of hosts files, and pages in the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lab import browser, hosts, wsl
from lab.console import Console
from lab.engines import choice
from lab.errors import UsageError
from lab.model import Endpoints
from lab.settings import Settings
from lab.state import State


class Names:
    """What a person reaches the lab by."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        environ: Mapping[str, str],
        console: Console,
        endpoints: Callable[[], Endpoints],
    ) -> None:
        self.settings = settings
        self.state = state
        self.environ = environ
        self.console = console
        self.endpoints = endpoints

    def hosts(self, *, write: bool, remove: bool) -> None:
        """Show, write or remove the names in this machine's hosts files."""
        if write and remove:
            raise UsageError("LAB-FLAG-03", "--write and --remove exclude each other.")
        inside = wsl.inside()
        found, wanted = hosts.find(inside_wsl=inside), hosts.names(self.settings.domain)
        if remove:
            said = hosts.remove(found, wanted, command=hosts.elevated("--remove", self.environ, inside_wsl=inside))
        elif choice.likely(self.settings.engine, self.state, self.environ) == "embedded":
            said = [hosts.NOT_NEEDED]
        elif write:
            said = hosts.write(found, wanted, command=hosts.elevated("--write", self.environ, inside_wsl=inside))
        else:
            said = list(hosts.describe(wanted, found))
        for text in said:
            self.console.line(text)

    def open(self, place: str) -> None:
        """Open a place of the lab in the browser; its URL is printed in any case."""
        inside = wsl.inside()
        url = browser.address(place, self.endpoints(), hosts.find(inside_wsl=inside)[0])
        program = browser.show(url, self.environ, inside_wsl=inside)
        self.console.line(f"{url}   (opened by {program})" if program else url)
