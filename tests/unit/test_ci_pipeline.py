"""Pipelines end to end: a push, a runner over HTTP, jobs in a shell."""

from __future__ import annotations

import asyncio

from ci_world import finished, jobs, push, runner, world

TWO_STAGES = """
stages: [build, deploy]
build-job:
  stage: build
  script:
    - echo "building $CI_COMMIT_SHORT_SHA of $CI_PROJECT_PATH"
    - cat README
deploy-job:
  stage: deploy
  before_script: [echo before]
  script:
    - test "$GREETING" = "hello $CI_COMMIT_BRANCH"
    - |
      echo one
      echo two
  after_script:
    - echo "after $CI_JOB_STATUS"
  variables:
    GREETING: hello $CI_COMMIT_BRANCH
"""


def test_two_stages_run_one_after_the_other(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            sha = await push(lab, {".gitlab-ci.yml": TWO_STAGES, "README": "read me\n"})
            pipeline = await finished(lab, sha)
            found = jobs(lab, pipeline)
            traces = {name: lab.ci.trace(job["id"]).decode() for name, job in found.items()}
            assert pipeline["status"] == "success", traces
            assert found["build-job"]["finished_at"] <= found["deploy-job"]["started_at"]
            assert f"building {sha[:8]} of root/app" in traces["build-job"]
            assert "read me" in traces["build-job"]
            assert "Job succeeded" in traces["build-job"]
            assert "after success" in traces["deploy-job"]
            assert "before\n" in traces["deploy-job"]

    asyncio.run(scenario())
