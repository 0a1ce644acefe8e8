"""The emulator's ground: configuration, documents, child processes, ownership of the data."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lab.emulator import process as emulator
from lab.emulator.children import Children
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.process import AlreadyRunningError, owned, serve, sweep
from lab.waiting import Pending, wait_until


def test_a_configuration_survives_its_file_and_the_file_is_private(tmp_path):
    config = Config(data=tmp_path / "data", root_token="glpat-x", components=("gitlab",), app_port=1)
    config.write(tmp_path / "config.json")
    assert Config.read(tmp_path / "config.json") == config
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    assert "glpat-x" not in repr(config)


def test_an_unknown_key_in_the_configuration_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"data": "x", "colour": "red"}')
    with pytest.raises(ValueError, match="colour"):
        Config.read(tmp_path / "config.json")


def test_documents_survive_a_new_process(tmp_path):
    first = Database(tmp_path / "db")
    first.put("project", 1, {"name": "a"})
    first.put("project", 2, {"name": "b"})
    first.delete("project", 2)
    assert first.next_id("project") == 1
    # closed too late to help: a killed process does not close either
    with closing(first), closing(Database(tmp_path / "db")) as second:
        assert second.all("project") == [("1", {"name": "a"})]
        assert second.get("project", 2) is None
        assert second.next_id("project") == 2


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path):
    database = Database(tmp_path / "db")

    def break_off():
        with database.transaction():
            database.put("a", 1, 1)
            with database.transaction():
                database.put("a", 2, 2)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        break_off()
    assert database.all("a") == []
    with database.transaction():
        database.put("a", 1, 1)
    with closing(database), closing(sqlite3.connect(tmp_path / "db")) as reader:
        assert reader.execute("SELECT count(*) FROM documents").fetchone() == (1,)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_child_is_ended_with_its_descendants(tmp_path):
    async def work():
        children = Children(tmp_path / "children")
        process = await children.spawn(
            ["sh", "-c", "sleep 300 & echo $!; wait"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        grandchild = int(await process.stdout.readline())
        await asyncio.wait_for(children.end(process, grace=5), 20)
        return process.pid, grandchild

    for pid in asyncio.run(asyncio.wait_for(work(), 30)):
        wait_until(f"the end of {pid}", lambda pid=pid: not alive(pid) or Pending("alive"), timeout=10)
    assert list((tmp_path / "children").iterdir()) == []


def test_a_child_that_ignores_termination_is_killed(tmp_path):
    async def work():
        children = Children(tmp_path / "children")
        process = await children.spawn(
            ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await process.stdout.readline()
        await asyncio.wait_for(children.end(process, grace=0.2), 20)
        return process.returncode

    assert asyncio.run(asyncio.wait_for(work(), 30)) == -9


def test_pipes_are_closed_although_a_descendant_that_left_holds_them(tmp_path):
    async def work():
        children = Children(tmp_path / "children")
        script = "setsid sh -c 'echo $$; exec sleep 300' & wait"
        process = await children.spawn(
            ["sh", "-c", script], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=asyncio.subprocess.PIPE
        )
        left = int(await process.stdout.readline())
        await children.end(process, grace=5)
        try:
            assert alive(left)
            children.close_pipes(process)
            assert await asyncio.wait_for(process.stdout.read(), 10) == b""
        finally:
            os.kill(left, signal.SIGKILL)

    asyncio.run(asyncio.wait_for(work(), 30))


SPAWN = """
import asyncio, os, sys
from pathlib import Path
from lab.emulator.children import Children
async def main():
    folder = Path(sys.argv[1])
    await Children(folder / "pods/children").spawn(
        ["sh", "-c", "sleep 300 & echo $! > pid.tmp && mv pid.tmp pid; wait"], cwd=folder, env=dict(os.environ))
    while not (folder / "pid").exists():
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""


def test_what_a_killed_emulator_leaves_is_swept(tmp_path):
    subprocess.run([sys.executable, "-c", SPAWN, tmp_path], timeout=30, check=False, cwd=Path(__file__).parents[2])
    grandchild = int((tmp_path / "pid").read_text())
    assert alive(grandchild), "the kernel ends the direct child only"
    assert sweep(tmp_path) == 1
    wait_until("its end", lambda: not alive(grandchild) or Pending("alive"), timeout=10)
    assert sweep(tmp_path) == 0


def test_a_record_of_another_process_with_the_same_number_is_not_acted_on(tmp_path):
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as other:
        folder = tmp_path / "pods/children"
        folder.mkdir(parents=True)
        (folder / "x.json").write_text(f'{{"pid": {other.pid}, "started": "another boot:123"}}')
        assert sweep(tmp_path) == 0
        assert alive(other.pid)
        other.kill()


def test_the_data_has_one_owner_whose_pid_stands_in_the_lock(tmp_path):
    with owned(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
        with pytest.raises(AlreadyRunningError), owned(tmp_path):
            pass
    with owned(tmp_path):
        pass


def test_a_component_that_fails_to_stop_is_named_and_keeps_no_other_from_stopping(tmp_path, monkeypatch, caplog):
    stopped = []

    class Good:
        async def start(self):
            """Nothing to start."""

        async def stop(self):
            stopped.append(type(self).__name__)

    class Bad(Good):
        async def start(self):
            os.kill(os.getpid(), signal.SIGTERM)

        async def stop(self):
            raise RuntimeError("stuck")

    monkeypatch.setattr(emulator, "_components", lambda *_: [Good(), Bad()])
    asyncio.run(asyncio.wait_for(serve(Config(data=tmp_path)), 30))
    assert stopped == ["Good"]
    assert "stop of Bad" in caplog.text
