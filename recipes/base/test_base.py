# SPDX-License-Identifier: MIT
"""The system as a whole."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_boot_is_complete(host: Host) -> None:
    """The boot completes and no unit has failed."""
    state = host.run("timeout 600 systemctl is-system-running --wait").stdout.strip()
    failed = host.check_output("systemctl list-units --failed --plain --no-legend")
    assert (state, failed) == ("running", "")


def test_every_processor_works(host: Host, board: Any) -> None:
    """Every processor is online, runs programs, and has a timer of its own."""
    cpu = "/sys/devices/system/cpu"
    online = host.check_output(f"cat {cpu}/online")
    if not board.emulated:  # an old QEMU has one processor, the device tree two
        assert online == host.check_output(f"cat {cpu}/possible")
    first, _, last = online.partition("-")
    numbers = [*range(int(first), int(last or first) + 1)]
    for number in numbers:
        # Field 39 is the processor on which the program last ran (proc_pid_stat(5)).
        ran = host.check_output(f"taskset -c {number} cut -d ' ' -f 39 /proc/self/stat")
        assert int(ran) == number
    counted = host.check_output("grep -E '(twd|arch_timer)' /proc/interrupts").splitlines()
    ticks = zip(*(map(int, line.split()[1 : 1 + len(numbers)]) for line in counted), strict=True)
    assert all(map(any, ticks)), "a processor gets no interrupts from its timer"


def test_root_is_writable(host: Host) -> None:
    """The root filesystem is writable ext4, mounted with the options in /etc/fstab."""
    root = host.mount_point("/")
    assert root.filesystem == "ext4"
    assert {"rw", "noatime"} <= set(root.options)


def test_boot_partition(host: Host) -> None:
    """/boot is the card's FAT partition."""
    boot = host.mount_point("/boot")
    assert boot.exists
    assert boot.filesystem == "vfat"
    assert host.check_output("findmnt -no LABEL /boot") == "PYNQ"


def test_tmp(host: Host) -> None:
    """/tmp is on the card, not in memory, and is writable for all users."""
    assert not host.mount_point("/tmp").exists
    assert host.file("/tmp").mode == 0o1777


def test_journal_is_limited(host: Host, parameters: Parameters) -> None:
    """The log is stored on the card, with the configured maximum size."""
    assert host.file("/var/log/journal").is_directory
    configuration = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert f"SystemMaxUse={parameters['base']['journal-size']}" in configuration.splitlines()


def test_machine_id(host: Host) -> None:
    """The board has its own machine ID, created at the first boot."""
    assert len(host.file("/etc/machine-id").content_string.strip()) == 32


def test_certificates(host: Host) -> None:
    """CA certificates are found by the hashes of their names."""
    folder = "/etc/ssl/certs"
    certificate = f"{folder}/ISRG_Root_X1.pem"
    verified = host.check_output(f"openssl verify -no-CAfile -CApath {folder} {certificate}")
    assert verified == f"{certificate}: OK"
