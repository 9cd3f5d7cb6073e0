# SPDX-License-Identifier: MIT
"""Files that are omitted from small images."""

from testinfra.host import Host


def test_only_licences_are_left(host: Host) -> None:
    """There are no manual pages and translations, and no documentation but licences."""
    found = "find /usr/share/man /usr/share/locale /usr/share/info ! -type d 2> /dev/null; true"
    assert host.check_output(found).split() in ([], ["/usr/share/locale/locale.alias"])
    rest = "find /usr/share/doc ! -type d ! -name copyright"
    assert host.check_output(rest) == ""
    assert host.file("/usr/share/doc/libc6/copyright").exists


def test_packages_are_whole_for_dpkg(host: Host) -> None:
    """These files are excluded in dpkg's configuration, and dpkg misses no others."""
    missing = [
        line[line.index("/") :]  # names may contain spaces
        for line in host.check_output("dpkg --verify; true").splitlines()
        if "missing" in line
    ]
    allowed = tuple(f"/usr/share/{name}/" for name in ("doc", "info", "lintian", "locale", "man"))
    assert [path for path in missing if not path.startswith(allowed)] == []
