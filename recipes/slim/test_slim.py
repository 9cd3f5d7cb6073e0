# SPDX-License-Identifier: MIT
"""What a small image does without."""

from testinfra.host import Host


def test_only_licences_are_left(host: Host) -> None:
    """No manual pages and translations; of documentation the licences alone."""
    found = "find /usr/share/man /usr/share/locale /usr/share/info ! -type d 2> /dev/null; true"
    assert host.check_output(found).split() in ([], ["/usr/share/locale/locale.alias"])
    rest = "find /usr/share/doc ! -type d ! -name copyright"
    assert host.check_output(rest) == ""
    assert host.file("/usr/share/doc/libc6/copyright").exists


def test_packages_are_whole_for_dpkg(host: Host) -> None:
    """For dpkg these files are left out on purpose, and it misses nothing else."""
    missing = [
        line[line.index("/") :]  # names may have blanks
        for line in host.check_output("dpkg --verify; true").splitlines()
        if "missing" in line
    ]
    allowed = tuple(f"/usr/share/{name}/" for name in ("doc", "info", "lintian", "locale", "man"))
    assert [path for path in missing if not path.startswith(allowed)] == []
