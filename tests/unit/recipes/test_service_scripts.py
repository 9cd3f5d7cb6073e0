# SPDX-License-Identifier: MIT
"""Programs of recipes' services, with fakes of the board's interfaces."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.fixtures.product import ROOT

RECIPES = ROOT / "recipes"

CONFIGFS = r"""#!/bin/sh
# mkdir and rmdir as configfs has them for USB gadgets: the kernel makes and removes what belongs to a
# directory, and lets none go that has the user's directories or links in it.
root=%s verb=$(basename "$0")
for path; do
    case $path in
    $root/board | $root/board/configs/c.? | $root/board/functions/* | $root/*/strings/*) ;;
    *) exec "/bin/$verb" "$@" ;;
    esac
    if [ "$verb" = rmdir ]; then
        for each in "$path"/configs/* "$path"/functions/* "$path"/strings/* "$path"/os_desc/c.? "$path"/*.usb0; do
            [ -e "$each" ] || [ -L "$each" ] || continue
            echo "rmdir: $path: busy: $each" >&2
            exit 1
        done
        rm -r "$path"
        continue
    fi
    /bin/mkdir "$path"
    case $path in
    */strings/*) ;;
    */configs/*) /bin/mkdir "$path/strings" ;;
    */functions/rndis.*)
        /bin/mkdir -p "$path/os_desc/interface.rndis"
        echo usb0 >"$path/ifname"
        ;;
    */functions/ecm.*) echo usb1 >"$path/ifname" ;;
    */functions/mass_storage.*) /bin/mkdir "$path/lun.0" ;;
    */functions/*) ;;
    *)
        /bin/mkdir "$path/configs" "$path/functions" "$path/os_desc" "$path/strings"
        echo >"$path/UDC"
        ;;
    esac
done
"""

SETTINGS = """
VENDOR=0x1d6b
PRODUCT=0x0104
MANUFACTURER="Some maker"
BOARD_MAC=
PC_MAC=02:00:00:00:00:01
DISK=1M
SERIAL=yes
"""


class Gadget:
    """A fake board with the program `usb-gadget`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.controllers = folder / "udc"
        self.settings = folder / "usb-gadget.conf"
        (self.controllers / "ci_hdrc.0").mkdir(parents=True)
        (folder / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (folder / "share").mkdir()
        (folder / "configfs").mkdir()
        self.settings.write_text(SETTINGS)
        programs = folder / "bin"
        programs.mkdir()
        note = f'echo "$(basename "$0") $*" >>{self.log}\n'
        for name in ("mkdir", "rmdir"):
            (programs / name).write_text(CONFIGFS % (folder / "configfs"))
        for name in ("ip", "mount", "mkfs.vfat"):
            (programs / name).write_text(f"#!/bin/sh\n{note}")
        # After umount, the files on the disk are no longer visible.
        (programs / "umount").write_text('#!/bin/sh\nrm "$1"/*\n')
        for each in programs.iterdir():
            each.chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "BOARD": "A-Board",
            "USB_GADGET_CONFIG": str(self.settings),
            "USB_GADGET_CONFIGFS": str(folder / "configfs"),
            "USB_GADGET_CONTROLLERS": str(self.controllers),
            "USB_GADGET_STATE": str(folder / "state"),
            "USB_GADGET_MACHINE_ID": str(folder / "machine-id"),
            "USB_GADGET_SHARE": str(folder / "share"),
        }
        (folder / "share/INDEX.HTM").touch()

    @property
    def path(self) -> Path:
        """The gadget's directory in configfs."""
        return self.folder / "configfs/board"

    def run(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Run the program."""
        return subprocess.run(
            ["/bin/sh", RECIPES / "usb-gadget/files/usb-gadget", verb],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def read(self, name: str) -> str:
        """Return the value of an attribute."""
        return (self.path / name).read_text().rstrip("\n")

    def links(self) -> set[str]:
        """Return the functions of both configurations."""
        return {
            f"{link.parent.name}/{link.name}"
            for link in self.path.glob("configs/*/*")
            if link.is_symlink()
        }


@pytest.fixture
def gadget(tmp_path: Path) -> Gadget:
    return Gadget(tmp_path)


def test_the_gadget_is_bound_last_and_has_all_functions(gadget: Gadget) -> None:
    done = gadget.run("start")
    assert (done.returncode, done.stderr) == (0, "")
    assert gadget.read("UDC") == "ci_hdrc.0"
    assert gadget.read("idVendor") == "0x1d6b"
    assert gadget.read("strings/0x409/manufacturer") == "Some maker"
    assert gadget.read("strings/0x409/product") == "A-Board"
    both = {f"c.{n}/{name}.usb0" for n in (1, 2) for name in ("acm", "mass_storage")}
    assert gadget.links() == both | {"c.1/rndis.usb0", "c.2/ecm.usb0"}
    assert (gadget.path / "os_desc/c.1").readlink() == gadget.path / "configs/c.1"
    assert gadget.read("functions/mass_storage.usb0/lun.0/file").endswith("/state/disk.img")
    networks = [line for line in gadget.log.read_text().splitlines() if line.startswith("ip ")]
    assert networks[-3:] == [
        "ip link add name usb-gadget type bridge",
        "ip link set dev usb0 master usb-gadget up",
        "ip link set dev usb1 master usb-gadget up",
    ]


def test_addresses_and_serial_number_are_the_boards_own_and_stay(gadget: Gadget) -> None:
    gadget.run("start")
    first = gadget.read("functions/ecm.usb0/dev_addr")
    digest = hashlib.sha256(b"board ecm 0123456789abcdef0123456789abcdef").hexdigest()
    assert first == ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])
    assert gadget.read("functions/rndis.usb0/dev_addr") != first
    assert gadget.read("functions/ecm.usb0/host_addr") == "02:00:00:00:00:01", "it was set"
    serial = gadget.read("strings/0x409/serialnumber")
    gadget.run("start")
    assert gadget.read("functions/ecm.usb0/dev_addr") == first
    assert gadget.read("strings/0x409/serialnumber") == serial
    (gadget.folder / "machine-id").write_text("another\n")
    gadget.run("start")
    assert gadget.read("functions/ecm.usb0/dev_addr") != first
    assert gadget.read("strings/0x409/serialnumber") != serial


def test_serial_port_and_disk_can_be_left_out(gadget: Gadget) -> None:
    gadget.settings.write_text(
        SETTINGS.replace("DISK=1M", "DISK=").replace("SERIAL=yes", "SERIAL=")
    )
    assert gadget.run("start").returncode == 0
    assert gadget.links() == {"c.1/rndis.usb0", "c.2/ecm.usb0"}
    assert not (gadget.folder / "state").exists()


def test_stopping_takes_everything_back(gadget: Gadget) -> None:
    gadget.run("start")
    done = gadget.run("stop")
    assert (done.returncode, done.stderr) == (0, "")
    assert not gadget.path.exists()
    assert gadget.run("stop").returncode == 0, "again does nothing"


def test_a_start_after_half_a_start_makes_it_anew(gadget: Gadget) -> None:
    gadget.controllers.joinpath("ci_hdrc.0").rmdir()
    done = gadget.run("start")
    assert (done.returncode, done.stdout) == (1, "no USB device controller\n")
    assert not gadget.path.exists()
    gadget.controllers.joinpath("ci_hdrc.0").mkdir()
    gadget.settings.write_text(SETTINGS.replace("DISK=1M", "DISK=nonsense"))
    assert gadget.run("start").returncode != 0
    assert gadget.path.exists()
    gadget.settings.write_text(SETTINGS)
    assert gadget.run("start").returncode == 0
    assert gadget.read("UDC") == "ci_hdrc.0"


def test_the_disk_is_made_once(gadget: Gadget) -> None:
    gadget.run("start")
    disk = gadget.folder / "state/disk.img"
    assert disk.stat().st_size == 1 << 20
    disk.write_text("what a PC wrote")
    gadget.run("stop")
    gadget.run("start")
    assert disk.read_text() == "what a PC wrote"
    assert gadget.log.read_text().count("mkfs.vfat -n PYNQ-USB") == 1


@pytest.fixture
def defaults() -> dict[str, str]:
    """The default passwords of images."""
    return {
        name: yaml.safe_load((RECIPES / name / "recipe.yaml").read_text())["parameters"][
            "password"
        ]["default"]
        for name in ("users", "samba")
    }


def test_notices_know_the_default_passwords(defaults: dict[str, str]) -> None:
    notice = (RECIPES / "users/templates/default-password.j2").read_text()
    assert f'crypt("{defaults["users"]}", $hash)' in notice
    # Python has no MD4: `openssl dgst -md4` calculated the hash of "xilinx".
    assert defaults["samba"] == "xilinx"
    notice = (RECIPES / "samba/templates/default-password.j2").read_text()
    assert ":7ABA1086A5BC08ABA501323FBAD170FA:" in notice


def test_the_network_drive_shows_nothing_that_is_run_at_a_login() -> None:
    settings = dict(
        line.split(" = ", 1)
        for line in (RECIPES / "samba/templates/smb.conf.j2").read_text().splitlines()
        if " = " in line
    )
    assert settings["veto files"] == "/.*/"
    assert "delete veto files" not in settings


def host_script(recipe: str, root: Path, **parameters: str) -> None:
    """Run the host script of a recipe, as RecipeScripts does."""
    given = {f"PARAM_{key.upper()}": value for key, value in parameters.items()}
    subprocess.run(
        ["/bin/sh", "-eu", RECIPES / recipe / "scripts/host.sh"],
        env={
            "PATH": os.environ["PATH"],
            "ROOT": str(root),
            "SOURCE_DATE_EPOCH": str(0x12345678),
            **given,
        },
        check=True,
    )


def test_the_password_of_the_share_is_hashed_as_smb_does(tmp_path: Path) -> None:
    (tmp_path / "etc/samba").mkdir(parents=True)
    (tmp_path / "etc/samba/smb.conf").write_text("[s]\nvalid users = somebody\n")
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nsomebody:x:1000:1000::/:/bin/sh\n")
    host_script("samba", tmp_path, password="Password")
    file = tmp_path / "etc/samba/smbpasswd"
    # [MS-NLMP] 4.2.2.1.2, NTOWFv1 of the password "Password".
    assert file.read_text() == (
        f"somebody:1000:{'X' * 32}:A4F49C406510BDCAB6824EE7C30FD852:[U          ]:LCT-12345678:\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("recipe", "file"),
    [("wifi", "wifi.conf"), ("wifi-access-point", "wifi-access-point.conf")],
)
def test_the_key_of_a_wireless_network_is_in_the_image_not_its_passphrase(
    tmp_path: Path, recipe: str, file: str
) -> None:
    settings = tmp_path / "etc/wpa_supplicant" / file
    settings.parent.mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    settings.write_text("network={\n" if recipe == "wifi-access-point" else "")
    # IEEE 802.11i, H.4.2: a test vector.
    host_script(recipe, tmp_path, ssid="ThisIsASSID", passphrase="ThisIsAPassword")
    lines = {line.strip() for line in settings.read_text().splitlines()}
    key = "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"
    assert lines >= {"network={", f"ssid={b'ThisIsASSID'.hex()}", f"psk={key}", "}"}
    assert "ThisIsAPassword" not in settings.read_text()


def test_firmware_that_no_driver_asks_for_goes(tmp_path: Path) -> None:
    packages = {
        "firmware-realtek": ["rtlwifi/rtl8192eu.bin", "rtl_nic/rtl8153a-3.fw", "rtw89/rtw8852.bin"],
        "firmware-misc-nonfree": ["rt2870.bin", "mt7601u.bin", "nvidia/gm20b/acr.bin", "isci.bin"],
    }
    others = ["mine.bin", "nvidia/theirs.bin"]
    (tmp_path / "usr").mkdir()
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    for name in (*others, *(each for names in packages.values() for each in names)):
        path = tmp_path / "usr/lib/firmware" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for package, names in packages.items():
        folders = {str(folder) for name in names for folder in Path(name).parents}
        (tmp_path / f"var/lib/dpkg/info/{package}.list").write_text(
            "/.\n/lib\n/lib/firmware\n"
            + "".join(f"/lib/firmware/{name}\n" for name in (*sorted(folders - {"."}), *names))
        )
    host_script("wifi", tmp_path, ssid="", passphrase="")
    left = {path for path in (tmp_path / "lib/firmware").rglob("*") if path.is_file()}
    assert {str(path.relative_to(tmp_path / "lib/firmware")) for path in left} == {
        *("rtlwifi/rtl8192eu.bin", "rtl_nic/rtl8153a-3.fw", "rt2870.bin", "mt7601u.bin"),
        *others,
    }
    assert not (tmp_path / "lib/firmware/rtw89").exists()
