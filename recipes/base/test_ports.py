# SPDX-License-Identifier: MIT
"""Listening sockets of the board."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest
from testinfra.host import Host

NAME = 15
"""Maximum length of a process name in the kernel (TASK_COMM_LEN)."""

ADVICE = (
    "these sockets listen, and no recipe of the image names them. Name each under `listens` in the "
    "recipe.yaml that brings its program, or have it listen on 127.0.0.1 or not at all"
)


class Socket(NamedTuple):
    """A listening socket in the output of ss."""

    protocol: str
    local: str
    programs: tuple[str, ...]

    @property
    def port(self) -> int:
        """The port number."""
        return int(self.local.rpartition(":")[2])

    @property
    def loopback(self) -> bool:
        """Whether it is only reachable from the board. `*` means all IPv4 and IPv6 addresses."""
        address = self.local.rpartition(":")[0].partition("%")[0].strip("[]")
        return address != "*" and ip_address(address).is_loopback

    def is_named(self, listens: list[dict[str, Any]]) -> bool:
        """Whether a recipe declares it; systemd may listen on behalf of the program."""
        return any(
            each["protocol"] == self.protocol
            and each["port"] in {None, self.port}
            and (self.loopback or not each["loopback"])
            and self.programs
            and {*self.programs} <= {each["program"][:NAME], "systemd"}
            for each in listens
        )


def sockets(host: Host) -> Iterator[Socket]:
    """Yield the listening TCP and UDP sockets."""
    for line in host.check_output("ss -Hlntup").splitlines():
        protocol, _, _, _, local, *rest = line.split(maxsplit=6)
        programs = re.findall(r'\("([^"]*)",pid=', " ".join(rest))
        yield Socket(protocol, local, tuple(dict.fromkeys(programs)))


@pytest.mark.only("emulated", "on a board in use its owner may run servers of his own")
def test_what_listens_is_known(host: Host, listens: list[dict[str, Any]]) -> None:
    """Each open port is declared by a recipe of the image."""
    found = [*sockets(host)]
    assert found, "ss shows them"
    strange = [each for each in found if not each.is_named(listens)]
    assert not strange, f"{ADVICE}: {strange}"
