# SPDX-License-Identifier: MIT
"""What build machines fetch through a proxy: git, apt, pip, npm, each from a server of this test."""

import os
import shutil

import pytest

from harness import eventually
from harness.origins import deb_repository, git_site, npm_site, pip_site, wheel

PYTHON = "/usr/bin/python3"


@pytest.fixture(params=[False, True], ids=["http", "https"])
def context(request, certificates):
    """None, or what makes a Site speak TLS."""
    return certificates.server_context() if request.param else None


@pytest.mark.ways("clear-h1")
def test_git(run, way, certificates, serve, tmp, context):
    """Clone, and push with a pack that git sends in chunks, since it is over http.postBuffer."""
    (tmp / "srv").mkdir()
    run("git", "init", "-q", "--bare", "-b", "main", "srv/repo.git")
    site = serve(git_site(tmp / "srv", context))
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@origin.test", "GIT_COMMITTER_NAME": "a",
           "GIT_COMMITTER_EMAIL": "a@origin.test", "GIT_CONFIG_NOSYSTEM": 1, "GIT_TERMINAL_PROMPT": 0,
           "GIT_SSL_CAINFO": certificates.ca, "http_proxy": way.url, "https_proxy": way.url}
    run("git", "init", "-q", "-b", "main", "one", **who)
    (tmp / "one/file").write_bytes(os.urandom(3_000_000))
    one = ["git", "-C", "one", "-c", "http.postBuffer=65536"]
    run(*one, "add", "file", **who)
    run(*one, "commit", "-q", "-m", "first", **who)
    run(*one, "push", "-q", site.url("git.test", "/repo.git"), "main", **who)
    run("git", "clone", "-q", site.url("git.test", "/repo.git"), "two", **who)
    assert (tmp / "two/file").read_bytes() == (tmp / "one/file").read_bytes()
    assert any(headers.get("Transfer-Encoding") == "chunked" for _, _, headers in site.requests)
    run("git", "-C", "two", "fetch", "-q", **who)


@pytest.mark.ways("clear-h1")
def test_apt(run, way, nginx, tmp):
    """A repository of forty packages: apt asks for them in one pipeline, and counts on the order of the answers."""
    names = [f"ginnel-test-{i}" for i in range(40)]
    repository = nginx.www / "apt"
    shutil.rmtree(repository, ignore_errors=True)  # another way's
    repository.mkdir()
    deb_repository(repository, names)
    for part in "etc", "state/lists/partial", "cache/archives/partial":
        (tmp / part).mkdir(parents=True)
    (tmp / "status").touch()
    (tmp / "etc/sources.list").write_text(f"deb [trusted=yes] {nginx.url('/apt/', host='apt.test')} ./\n")
    (tmp / "apt.conf").write_text(
        f'Dir "{tmp}"; Dir::Etc "{tmp}/etc"; Dir::Etc::sourceparts "-"; Dir::Etc::parts "-"; Dir::Etc::main "-";\n'
        f'Dir::Etc::netrc "-"; Dir::Etc::netrcparts "-"; Dir::Etc::preferencesparts "-";\n'
        f'Dir::State "{tmp}/state"; Dir::State::status "{tmp}/status"; Dir::Cache "{tmp}/cache";\n'
        f'Dir::Log "{tmp}"; APT::Sandbox::User ""; Acquire::Languages "none"; Acquire::Retries "0";\n'
        f'#clear Acquire::http::Proxy-Auto-Detect; Acquire::http::Proxy "{way.url}";\n'
    )
    apt = ["apt-get", "-q"]
    env = {"APT_CONFIG": tmp / "apt.conf", "DEBIAN_FRONTEND": "noninteractive"}
    before = len(nginx.seen())
    run(*apt, "update", **env)
    (tmp / "got").mkdir()
    run(*apt, "download", *names, cwd=tmp / "got", **env)
    for name in names:
        deb = f"{name}_1.0_all.deb"
        assert (tmp / "got" / deb).read_bytes() == (repository / deb).read_bytes()
    # the proxy did it, and nothing went past it
    came = len([seen for seen in nginx.seen()[before:] if "/apt/" in seen[2]])
    assert came > len(names)
    eventually(lambda: len([r for r in way.records() if "/apt/" in r.get("url.path", "")]) == came, what=f"{came} records of {way}")


@pytest.mark.ways("clear-h1")
def test_pip(run, way, certificates, serve, tmp, context):
    name = "ginneltest"
    site = serve(pip_site(name, context))
    run(PYTHON, "-m", "pip", "--isolated", "download", "-q", "--disable-pip-version-check", "--no-cache-dir", "--no-deps",
        "--proxy", way.url, "--cert", certificates.ca, "--trusted-host", "" if context else "pip.test", "--retries", "0",
        "--index-url", site.url("pip.test", "/simple/"), "-d", tmp / "got", name)
    file, data = wheel(name)
    assert [f.name for f in (tmp / "got").iterdir()] == [file]
    assert (tmp / "got" / file).stat().st_size == len(data)


@pytest.mark.ways("clear-h1")
def test_npm(run, way, certificates, serve, tmp, context):
    name = "ginnel-test"
    site = serve(npm_site(name, "npm.test", context))
    (tmp / "app").mkdir()
    (tmp / "app/package.json").write_text('{"name": "app", "version": "1.0.0"}')
    (tmp / "npmrc").write_text("")
    run("npm", "install", name, "--registry", site.url("npm.test", "/"), "--proxy", way.url, "--https-proxy", way.url,
        "--noproxy", "", "--cafile", certificates.ca, "--no-audit", "--no-fund", "--no-update-notifier",
        "--fetch-retries", "0", "--cache", tmp / "cache", "--userconfig", tmp / "npmrc", "--globalconfig", tmp / "none",
        cwd=tmp / "app")
    assert (tmp / "app/node_modules" / name / "index.js").exists()
    assert [path for _, path, _ in site.requests] == [f"/{name}", f"/{name}/-/{name}-1.0.0.tgz"]
