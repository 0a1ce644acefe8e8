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


def test_a_commits_statuses_are_its_jobs(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab:
            sha = await push(lab, {".gitlab-ci.yml": "a: {script: [echo]}\nb: {script: [echo], allow_failure: true}"})
            await until("pipeline", lambda: lab.ci.pipelines_of(lab.project.id))
            base = f"{lab.base}/repository/commits/{sha}/statuses"
            _, rows = await lab.api("GET", base)
            assert [(row["name"], row["status"], row["allow_failure"]) for row in rows] == [
                ("a", "pending", False),
                ("b", "pending", True),
            ]
            assert rows[0]["sha"] == sha
            assert rows[0]["target_url"].endswith(f"/root/app/-/jobs/{rows[0]['id']}")
            assert [row["name"] for row in (await lab.api("GET", f"{base}?name=b"))[1]] == ["b"]
            status, _ = await lab.api("POST", f"{lab.base}/statuses/{sha}", json={"state": "success"})
            assert status == 501

    asyncio.run(scenario())
