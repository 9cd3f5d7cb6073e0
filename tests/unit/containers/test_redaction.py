# SPDX-License-Identifier: MIT
"""Passwords in a container's environment: only the command can read them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from builder.containers.containers import Container
from builder.containers.redaction import passwords_hidden

PROXY = "http://user:it's$(secret)@proxy.invalid:3128"


def container(**environment: str) -> Container:
    return Container(
        image="tools",
        argv=["python3", "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
        user="5:6",
        environment=environment,
    )


def test_a_password_is_in_a_file_that_is_removed_with_the_container() -> None:
    given = container(https_proxy=PROXY, no_proxy="localhost")
    with passwords_hidden(given) as shown:
        assert "secret" not in json.dumps([*shown.argv, dict(shown.environment)])
        assert shown.environment == {"no_proxy": "localhost"}
        (mount,) = shown.mounts
        assert mount.read_only
        assert mount.source.stat().st_mode & 0o777 == 0o444, "for any user of the command"
        assert mount.source.parent.stat().st_mode & 0o777 == 0o700, (
            "for no other user of this machine"
        )
        argv = [word.replace(str(mount.target), str(mount.source)) for word in shown.argv]
        said = subprocess.check_output(argv, text=True)
    assert json.loads(said)["https_proxy"] == PROXY
    assert not mount.source.exists()


@pytest.mark.parametrize(
    "value", ["http://proxy.invalid:3128", "localhost,10.0.0.0/8", "user@host", "", "/etc/x@y"]
)
def test_text_without_a_password_is_unchanged(value: str) -> None:
    given = container(https_proxy=value)
    with passwords_hidden(given) as shown:
        assert shown is given


@pytest.mark.parametrize("value", ["http://user@host", "http://a:b@c/d http://e/f"])
def test_user_names_are_removed_too(value: str) -> None:
    with passwords_hidden(container(PIP_EXTRA_INDEX_URL=value)) as shown:
        assert not shown.environment
        assert Path(shown.mounts[0].source).read_text().startswith("export PIP_EXTRA_INDEX_URL=")
