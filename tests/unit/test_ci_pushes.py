"""Which pushed refs get a pipeline."""

from __future__ import annotations

import asyncio

from ci_world import TOKEN, git, push, world
from eventually import until


def test_of_many_refs_in_one_push_the_first_four_get_a_pipeline(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab:
            await push(lab, {".gitlab-ci.yml": "a: {script: [echo]}"}, "first [skip ci]")
            await asyncio.to_thread(lab.commit, {"x": "y"}, "second", "main")
            address = lab.gitlab.config.gitlab_url.replace("://", f"://root:{TOKEN}@")
            branches = [f"main:b{number}" for number in range(6)]
            await asyncio.to_thread(git, lab.work, "push", "-q", f"{address}/root/app.git", *branches)
            found = await until("pipelines", lambda: _refs(lab) if len(_refs(lab)) > 4 else None)
            assert sorted(found) == ["b0", "b1", "b2", "b3", "main"]
            await push(lab, {"x": "z"}, "third", branch="later")
            found = await until("pipelines", lambda: _refs(lab) if "later" in _refs(lab) else None)
            assert sorted(found) == ["b0", "b1", "b2", "b3", "later", "main"]

    asyncio.run(scenario())


def _refs(lab):
    return [pipeline["ref"] for pipeline in lab.ci.pipelines_of(lab.project.id)]
