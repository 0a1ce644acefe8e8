"""Git over HTTP: real git against a GitLab in this process."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace

import aiohttp
import pytest
from gitlab_server import PASSWORD, TOKEN, config, running

from lab.emulator.database import Database
from lab.emulator.gitlab import git
from lab.emulator.gitlab.model import ZERO_SHA, Caller, Push
from lab.emulator.gitlab.server import GitLab


def _run(scenario, tmp_path):
    async def main():
        async with running(tmp_path) as client:
            await scenario(client)

    asyncio.run(asyncio.wait_for(main(), 60))


async def _bot(client, project, level=30, scopes=("write_repository",)):
    status, token = await client(
        "POST", f"/projects/{project['id']}/access_tokens",
        {"name": "bot", "scopes": list(scopes), "access_level": level},
    )  # fmt: skip
    assert status == 201, token
    return token["token"]


def test_a_first_push_makes_its_branch_the_protected_default(tmp_path):
    async def scenario(client):
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        project = await client.project()
        assert project["default_branch"] is None
        assert project["empty_repo"] is True
        folder = await client.checkout(project)
        await client.git("push", "-q", "-o", "ci.skip", "origin", "master", cwd=folder)
        _, shown = await client("GET", "/projects/root%2Fhichat")
        assert (shown["default_branch"], shown["empty_repo"]) == ("master", False)
        _, branch = await client("GET", "/projects/root%2Fhichat/repository/branches/master")
        assert branch["protected"] is True
        assert branch["default"] is True
        assert branch["commit"]["id"] == pushes[0].after
        assert (pushes[0].branch, pushes[0].before, pushes[0].options) == ("master", ZERO_SHA, ("ci.skip",))
        assert pushes[0].caller.username == "root"

    _run(scenario, tmp_path)


def test_a_git_that_does_not_answer_is_no_answer(tmp_path, monkeypatch):
    async def scenario(client):
        project = client.gitlab.projects.get((await client.project())["id"])
        stored = client.gitlab.repositories
        assert await stored.ref(project, "refs/heads/none") == ZERO_SHA
        assert await stored.resolve(project, "none") is None
        monkeypatch.setattr(git, "TIMEOUT", 0)
        asked = (stored.ref(project, "refs/heads/none"), stored.resolve(project, "none"),
                 stored.is_ancestor(project, ZERO_SHA, ZERO_SHA))  # fmt: skip
        for question in asked:
            with pytest.raises(git.GitError, match="no end within"):
                await question

    _run(scenario, tmp_path)


def test_of_several_first_branches_main_wins(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project, branch="alpha")
        await client.git("branch", "main", cwd=folder)
        await client.git("push", "-q", "--all", "origin", cwd=folder)
        _, shown = await client("GET", "/projects/1")
        assert shown["default_branch"] == "main"

    _run(scenario, tmp_path)


def test_clone_and_fetch_give_what_was_pushed(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        await client.git("clone", "-q", client.address("root/hichat", "anybody"), "copy")
        assert (client.folder / "copy" / "app.py").read_text() == "print()\n"
        sha = await client.commit(folder, "app.py", "print(2)\n")
        await client.git("push", "-q", "origin", "master", cwd=folder)
        copy = client.folder / "copy"
        await client.git("-c", "protocol.version=0", "fetch", "-q", cwd=copy)
        assert (await client.git("rev-parse", "origin/master", cwd=copy))[1].strip() == sha
        await client.git("fetch", "-q", "--depth", "1", "origin", sha, cwd=copy)
        assert (await client.git("rev-parse", "FETCH_HEAD", cwd=copy))[1].strip() == sha

    _run(scenario, tmp_path)


def test_a_large_push_in_chunks_arrives_whole(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        text = "".join(f"{number * 7919 % 104729}\n" for number in range(400_000))
        await client.commit(folder, "large.txt", text)
        await client.git("-c", "http.postBuffer=65536", "push", "-q", "origin", "master", cwd=folder)
        answer = await client.raw("GET", "/projects/1/repository/files/large.txt/raw", ref="master")
        assert await answer.text() == text

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("login", "password", "works"),
    [
        ("root", PASSWORD, True),
        ("admin@example.com", PASSWORD, True),
        ("whoever", TOKEN, True),
        ("root", "wrong", False),
        ("root", "glpat-wrongwrongwrongwrong", False),
        ("gitlab-ci-token", "nothing", False),
    ],
)
def test_logins_of_git(tmp_path, login, password, works):
    async def scenario(client):
        await client.project()
        code, text = await client.git(
            "ls-remote", client.address("root/hichat", login.replace("@", "%40"), password), check=False
        )
        assert (code == 0) is works
        if not works:
            assert "remote: HTTP Basic: Access denied." in text

    _run(scenario, tmp_path)


def test_anonymous_reads_public_projects_only(tmp_path):
    async def scenario(client):
        await client.project("open", visibility="public")
        await client.project("closed")
        plain = client.url
        await client.git("ls-remote", f"{plain}/root/open.git")
        await client.git("ls-remote", f"{plain}/root/open")
        code, text = await client.git("ls-remote", f"{plain}/root/closed.git", check=False)
        assert code
        assert "could not read Username" in text
        answer = await client.raw("GET", f"{plain}/root/closed.git/info/refs?service=git-upload-pack", token=None)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="GitLab"')

    _run(scenario, tmp_path)


def test_a_project_that_the_caller_cannot_see_is_not_found(tmp_path):
    async def scenario(client):
        await client.project("one")
        two = await client.project("two")
        foreign = await _bot(client, two, scopes=["api"])
        for path in ("root/one", "root/absent"):
            code, text = await client.git("ls-remote", client.address(path, "bot", foreign), check=False)
            assert code
            assert "could not be found or you don't have permission to view it" in text

    _run(scenario, tmp_path)


def test_developers_may_not_push_to_the_default_branch(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        token = await _bot(client, project)
        bot = client.address("root/hichat", "bot", token)
        code, text = await client.git("push", bot, "master", cwd=folder, check=False)
        assert code
        assert "A default branch (e.g. main) does not yet exist for root/hichat" in text
        await client.git("push", "-q", "origin", "master", cwd=folder)
        await client.commit(folder, "b.py", "")
        code, text = await client.git("push", bot, "master", cwd=folder, check=False)
        assert "GitLab: You are not allowed to push code to protected branches on this project." in text
        assert "(pre-receive hook declined)" in text
        await client.git("push", "-q", bot, "master:k8s-config", cwd=folder)
        maintainer = client.address("root/hichat", "bot", await _bot(client, project, level=40))
        await client.git("push", "-q", maintainer, "master", cwd=folder)

    _run(scenario, tmp_path)


def test_protected_history_cannot_be_rewritten_nor_deleted(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", "master:other", cwd=folder)
        await client.git("commit", "-q", "--amend", "-m", "rewritten", cwd=folder)
        code, text = await client.git("push", "-f", "origin", "master", cwd=folder, check=False)
        assert code
        assert "You are not allowed to force push code to a protected branch on this project." in text
        await client.git("push", "-q", "-f", "origin", "master:other", cwd=folder)
        code, text = await client.git("push", "origin", ":master", cwd=folder, check=False)
        assert "The default branch of a project cannot be deleted." in text
        await client("POST", "/projects/1/protected_branches", {"name": "oth*", "allow_force_push": True})
        code, text = await client.git("push", "origin", ":other", cwd=folder, check=False)
        assert "You can only delete protected branches using the web interface." in text
        await client.git("commit", "-q", "--amend", "-m", "again", cwd=folder)
        await client.git("push", "-q", "-f", "origin", "master:other", cwd=folder)
        status, _ = await client("DELETE", "/projects/1/repository/branches/other")
        assert status == 204

    _run(scenario, tmp_path)


def test_no_one_stops_administrators_too(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        await client("POST", "/projects/1/protected_branches", {"name": "frozen", "push_access_level": 0})
        code, text = await client.git("push", "origin", "master:frozen", cwd=folder, check=False)
        assert code
        assert "You can only create protected branches using the web interface and API." in text

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        (["read_repository"], True, False),
        (["write_repository"], True, True),
        (["api"], True, True),
        (["read_registry"], False, False),
    ],
)
def test_scopes_of_tokens(tmp_path, scopes, reads, writes):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        address = client.address("root/hichat", "x", await _bot(client, project, 40, scopes))
        code, text = await client.git("ls-remote", address, check=False)
        assert (code == 0) is reads
        if not reads:
            assert "You are not allowed to download code." in text
        code, text = await client.git("push", address, "master:branch", cwd=folder, check=False)
        assert (code == 0) is writes
        if not writes:
            assert "You are not allowed to upload code." in text

    _run(scenario, tmp_path)


def test_a_deploy_token_reads_with_its_own_name_only(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        body = {"name": "argo", "scopes": ["read_repository"], "username": "argo"}
        _, token = await client("POST", "/projects/1/deploy_tokens", body)
        await client.git("ls-remote", client.address("root/hichat", "argo", token["token"]))
        code, _ = await client.git("ls-remote", client.address("root/hichat", "root", token["token"]), check=False)
        assert code
        code, text = await client.git(
            "push", client.address("root/hichat", "argo", token["token"]), "master:x", cwd=folder, check=False
        )
        assert "You are not allowed to upload code." in text
        assert code
        await client("DELETE", f"/projects/1/deploy_tokens/{token['id']}")
        code, _ = await client.git("ls-remote", client.address("root/hichat", "argo", token["token"]), check=False)
        assert code

    _run(scenario, tmp_path)


def test_a_job_token_pushes_only_when_the_project_allows_it(tmp_path):
    async def scenario(client):
        project = await client.project()
        other = await client.project("other")
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        job = Caller("job", "root", user_id=1, project_id=project["id"], job_id=5)
        client.gitlab.access.job_tokens = lambda value: job if value == "jwt" else None
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        address = client.address("root/hichat", "gitlab-ci-token", "jwt")
        await client.git("ls-remote", address)
        code, text = await client.git("push", address, "master:k8s-config", cwd=folder, check=False)
        assert code
        assert "remote: You are not allowed to upload code." in text
        assert "403" in text
        status, _ = await client("PUT", "/projects/1", {"ci_push_repository_for_job_token_allowed": True})
        assert status == 200
        await client.git("push", "-q", address, "master:k8s-config", cwd=folder)
        assert (pushes[-1].branch, pushes[-1].caller.kind, pushes[-1].caller.job_id) == ("k8s-config", "job", 5)
        await client("PUT", f"/projects/{other['id']}", {"ci_push_repository_for_job_token_allowed": True})
        code, text = await client.git(
            "push", client.address("root/other", "gitlab-ci-token", "jwt"), "master", cwd=folder, check=False
        )
        assert code
        assert "could not be found" in text

    _run(scenario, tmp_path)


def test_tags_and_deleted_branches_are_announced(tmp_path):
    async def scenario(client):
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("tag", "v1", cwd=folder)
        await client.git("push", "-q", "origin", "master", "v1", "master:gone", cwd=folder)
        await client.git("push", "-q", "origin", ":gone", cwd=folder)
        assert sorted(push.ref for push in pushes[:3]) == ["refs/heads/gone", "refs/heads/master", "refs/tags/v1"]
        assert (pushes[3].ref, pushes[3].after) == ("refs/heads/gone", ZERO_SHA)
        assert next(push for push in pushes if push.ref == "refs/tags/v1").branch is None

    _run(scenario, tmp_path)


def test_every_ref_of_a_large_push_is_announced_in_its_place(tmp_path):
    async def scenario(client):
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        folder = await client.checkout(await client.project())
        await client.git("push", "-q", "origin", *(f"master:b{number:03}" for number in range(120)), cwd=folder)
        assert [push.position for push in pushes] == list(range(120))
        assert {push.branch for push in pushes} == {f"b{number:03}" for number in range(120)}
        await client.git("push", "-q", "origin", *(f":b{number:03}" for number in range(1, 120)), cwd=folder)
        assert [push.after for push in pushes[120:]] == [ZERO_SHA] * 119

    _run(scenario, tmp_path)


def test_unknown_push_options_are_named(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        _, text = await client.git("push", "-o", "merge_request.create", "origin", "master", cwd=folder)
        assert "remote: WARNING: not emulated: push option merge_request.create" in text

    _run(scenario, tmp_path)


def test_concurrent_pushes_of_one_branch_have_one_winner(tmp_path):
    async def scenario(client):
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        copies = [client.folder / f"copy{number}" for number in range(4)]
        for number, copy in enumerate(copies):
            await client.git("clone", "-q", client.address("root/hichat"), str(copy))
            await client.commit(copy, f"{number}.txt", "x")
        results = await asyncio.gather(*(client.git("push", "origin", "master", cwd=c, check=False) for c in copies))
        assert sorted(code for code, _ in results) == [0, 1, 1, 1]
        assert len(pushes) == 2

    _run(scenario, tmp_path)


def test_a_push_that_was_stored_but_not_announced_is_announced_at_the_next_start(tmp_path):
    settings = config(tmp_path / "data")

    async def first():
        async with running(tmp_path, settings=settings) as client:
            project = await client.project()
            folder = await client.checkout(project)
            await client.git("push", "-q", "origin", "master", cwd=folder)
            sha = (await client.git("rev-parse", "HEAD", cwd=folder))[1].strip()
            stored = client.gitlab.projects.get(1)
            caller = client.gitlab.access.basic("root", PASSWORD)
            journal = client.gitlab.pushes._journal
            journal.note([Push(stored, "refs/heads/late", ZERO_SHA, sha, caller, ("ci.skip",))])
            journal.note([Push(stored, "refs/heads/never", ZERO_SHA, sha, caller)])
            await client.gitlab.repositories.git(stored, "update-ref", "refs/heads/late", sha)

    async def second():
        database = Database(settings.data / "emulator.sqlite3")
        gitlab = GitLab(settings, database)
        pushes = []
        gitlab.on_push.append(pushes.append)
        await gitlab.start()
        await gitlab.pushes.recover()
        await gitlab.stop()
        database.close()
        assert [(push.branch, push.options, push.caller.username) for push in pushes] == [
            ("late", ("ci.skip",), "root")
        ]

    asyncio.run(asyncio.wait_for(first(), 60))
    asyncio.run(asyncio.wait_for(second(), 60))


def test_garbage_is_refused_without_a_trace(tmp_path):
    async def scenario(client):
        await client.project()
        headers = {"Authorization": "Basic " + base64.b64encode(f"root:{TOKEN}".encode()).decode()}
        async with aiohttp.ClientSession(headers=headers) as session:
            for path in ("git-receive-pack", "git-upload-pack"):
                async with session.post(f"{client.url}/root/hichat.git/{path}", data=b"zzzz not git") as answer:
                    assert answer.status in {200, 400}
                    await answer.read()
            async with session.get(f"{client.url}/root/hichat.git/info/refs") as answer:
                assert answer.status == 403
            async with session.post(f"{client.url}/root/hichat.git/info/lfs/objects/batch", json={}) as answer:
                assert answer.status == 501
                assert "not emulated: Git LFS" in (await answer.json())["message"]
        assert await client("GET", "/projects/1/repository/branches") == (200, [])

    _run(scenario, tmp_path)


def test_internal_refs_are_readable_but_not_writable(tmp_path):
    async def scenario(client):
        project = await client.project()
        folder = await client.checkout(project)
        await client.git("push", "-q", "origin", "master", cwd=folder)
        stored = client.gitlab.projects.get(1)
        await client.gitlab.repositories.git(stored, "update-ref", "refs/pipelines/7", "refs/heads/master")
        await client.git("fetch", "-q", "origin", "+refs/pipelines/7:refs/pipelines/7", cwd=folder)
        code, text = await client.git("push", "origin", "master:refs/pipelines/8", cwd=folder, check=False)
        assert code
        assert re.search("deny updating a hidden ref|hidden", text)

    _run(scenario, tmp_path)


def test_the_upstream_profile_protects_and_announces_a_moment_later(tmp_path, monkeypatch):
    monkeypatch.setattr("lab.emulator.gitlab.pushes.UPSTREAM_DELAY", 0.2)

    async def scenario():
        async with running(tmp_path, settings=replace(config(tmp_path / "data"), profile="upstream")) as client:
            pushes = []
            client.gitlab.on_push.append(pushes.append)
            project = await client.project()
            folder = await client.checkout(project)
            await client.git("push", "-q", "origin", "master", cwd=folder)
            _, branch = await client("GET", "/projects/1/repository/branches/master")
            assert (branch["default"], branch["protected"], pushes) == (True, False, [])
            await asyncio.gather(*client.gitlab.tasks._tasks)
            _, branch = await client("GET", "/projects/1/repository/branches/master")
            assert (branch["protected"], len(pushes)) == (True, 1)

    asyncio.run(asyncio.wait_for(scenario(), 60))
