# SPDX-License-Identifier: MIT
"""Models of board files, and the types that they share with the other YAML files.

The JSON Schemas and the reference of the YAML files are generated from the models.
"""

from __future__ import annotations

from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from builder.spec.texts import (
    Line,
    Name,
    PackageName,
    Prose,
    RelativePath,
    Sha256,
    Size,
    Url,
    WholeMib,
    WordPath,
    between,
    format_size,
    is_word,
    last_part,
)

FORMAT = 2
"""Format version of a board's directory; `builder.spec.upgrade` converts older ones.

1: initial version. 2: the profile `pynq-library` is merged into `pynq`.
"""

Scalar = str | int | bool | list[str]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

BEFORE_PARTITIONS: Final = 4 * _MIB
"""Offset of a card's first partition in bytes: the erase blocks of cards are at most this large."""

END_OF_TABLE: Final = (1 << 32) * 512
"""Limit of a partition table (MBR) in bytes: 32-bit sector numbers."""

MOST_NAMES: Final = 256
"""Maximum number of names in one list of a file."""

Memory = Annotated[WholeMib, between(16 * _MIB, 1024 * _GIB)]


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Model(BaseModel):
    """Base class of all models: immutable, no unknown keys, kebab-case keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_kebab, validate_by_name=False
    )


class Architecture(str, Enum):
    """Debian's names of the architectures of Zynq boards and build hosts."""

    ARMHF = "armhf"
    ARM64 = "arm64"
    AMD64 = "amd64"


class Soc(str, Enum):
    """SoC families."""

    ZYNQ = "zynq"
    ZYNQMP = "zynqmp"

    @property
    def architecture(self) -> Architecture:
        """The architecture of the family's application processors."""
        return {Soc.ZYNQ: Architecture.ARMHF, Soc.ZYNQMP: Architecture.ARM64}[self]


class Download(Model):
    """A download with its checksum."""

    url: Url = Field(description="URL of the file")
    sha256: Sha256 = Field(description="SHA-256 of the file")
    max_size: Size | None = Field(
        default=None, description="Maximum size of the file: 512K, 100M, 20G (default: 8G)"
    )

    @property
    def name(self) -> str:
        """The file's name: the last part of the URL's path."""
        return last_part(self.url)


class Hardware(Model):
    """A hardware export of Vivado."""

    xsa: RelativePath = Field(description="The .xsa file, relative to the board's directory")
    optional: bool = Field(
        default=False, description="Whether the build continues if the file is missing"
    )


class Place(Model):
    """A prebuilt file: a file in the board's directory, or a download with its checksum."""

    file: RelativePath | None = Field(
        default=None, description="Path of the file, relative to the board's directory"
    )
    url: Url | None = Field(default=None, description="URL of the file, instead of `file`")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the download")
    max_size: Size | None = Field(
        default=None, description="Maximum size of the download: 512K, 100M, 20G (default: 8G)"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Place:
        if bool(self.file) == bool(self.url):
            raise ValueError("give either `file` or `url`")
        if bool(self.url) != bool(self.sha256):
            raise ValueError("`url` and `sha256` go together")
        if self.max_size and not self.url:
            raise ValueError("`max-size` is for a `url`")
        return self

    @property
    def download(self) -> Download | None:
        """The download, if there is a `url`."""
        if not self.url or not self.sha256:
            return None
        given = {"url": self.url, "sha256": self.sha256, "max-size": self.max_size}
        return Download.model_validate(given)


class FirmwareFile(Place):
    """A prebuilt program: a file in the board's directory, or a download with its checksum."""

    optional: bool = Field(
        default=False, description="Whether the build continues if `file` is missing"
    )

    @model_validator(mode="after")
    def _only_files_are_optional(self) -> FirmwareFile:
        if self.url and self.optional:
            raise ValueError("`optional` is for a `file`: a download must succeed")
        return self


class BootFiles(Place):
    """Prebuilt boot files and kernel modules from a board's vendor.

    `file` is a directory or a zip file; `url` is a zip file.
    """


class PetaLinux(Model):
    """Inputs of PetaLinux besides `bsp.hardware`; without `bsp`, PetaLinux uses its own template."""

    bsp: Place | None = Field(default=None, description="BSP from which the project is created")
    release: str | None = Field(
        default=None,
        pattern=r"^20[0-9][0-9]\.[0-9]$",
        description='Required release of PetaLinux, in quotes: "2024.1" (default: any)',
    )
    bitstream: RelativePath | None = Field(
        default=None,
        description="Bitstream in BOOT.BIN, relative to the board's directory (default: none)",
    )


class Firmware(Model):
    """Firmware of a Zynq UltraScale+ that Debian's compilers cannot build.

    It comes from a BSP of the board's vendor, or from a build with AMD's tools.
    """

    pmu: FirmwareFile | None = Field(
        default=None, description="Firmware of the platform management unit, pmufw.elf"
    )
    pmu_configuration: FirmwareFile | None = Field(
        default=None,
        description="The board's configuration object, pm_cfg_obj.c, for a `pmu` that was built "
        "without one; SPL passes it to the firmware",
    )
    fsbl: FirmwareFile | None = Field(
        default=None, description="AMD's first stage, fsbl.elf, instead of U-Boot's SPL"
    )


class StartUpTable(Model):
    """Register writes that initialize a board's processing system.

    They are either a file of the board (`registers`, Zynq-7000 only) or those of a board in U-Boot's
    sources (`u-boot`).
    """

    registers: RelativePath | None = Field(
        default=None, description="YAML file with the register writes"
    )
    u_boot: Name | None = Field(
        default=None,
        description="Board in U-Boot's sources with the register writes: a directory in "
        "`board/xilinx/zynq/` or `board/xilinx/zynqmp/`, such as `zynq-zed`",
    )
    parameters: RelativePath | None = Field(
        default=None,
        description="The board's PCW_ parameters from Vivado; the table is checked against them",
    )
    stand_in: bool = Field(
        default=False,
        description="Whether the table is a placeholder from another board: contradictions to "
        "`parameters` are no errors, and each build prints a note",
    )

    @model_validator(mode="after")
    def _one_source(self) -> StartUpTable:
        if bool(self.registers) == bool(self.u_boot):
            raise ValueError("give either `registers` or `u-boot`")
        return self


Provider = Literal["mainline", "prebuilt", "petalinux"]


class Bsp(Model):
    """The provider of the boot files, and its inputs.

    `mainline` takes the first stage from the first of these keys that is available:
    `firmware.fsbl`, `hardware`, `start-up-table`, `boot-bin`. `prebuilt` only uses `boot-files`;
    `petalinux` only uses `petalinux` and `hardware`.
    """

    provider: Provider = Field(
        default="mainline",
        description="`mainline`: built with open-source tools; `prebuilt`: taken from `boot-files`; "
        "`petalinux`: built by AMD's PetaLinux",
    )
    boot_files: BootFiles | None = Field(
        default=None,
        description="Prebuilt boot files: a directory or a zip file; see docs/porting.md",
    )
    petalinux: PetaLinux = Field(
        default=PetaLinux(), description="Inputs of PetaLinux; see docs/porting.md"
    )
    hardware: Hardware | None = Field(default=None, description="Hardware export of the board")
    start_up_table: StartUpTable | None = Field(
        default=None, description="Start-up table, used if there is no hardware export"
    )
    firmware: Firmware = Field(
        default=Firmware(), description="Prebuilt firmware of a Zynq UltraScale+"
    )
    boot_bin: RelativePath | None = Field(
        default=None, description="Prebuilt BOOT.BIN, relative to the board's directory"
    )
    linux: Download | None = Field(
        default=None, description="Kernel source tarball (default: the distribution's package)"
    )
    u_boot: Download | None = Field(
        default=None, description="U-Boot source tarball (default: the distribution's package)"
    )
    trusted_firmware: Download | None = Field(
        default=None,
        description="Trusted Firmware-A source tarball (default: the distribution's package)",
    )
    kernel_fragments: tuple[WordPath, ...] = Field(
        default=(), description="Kernel configuration fragments of the board"
    )


class RootPartition(Model):
    """The partition with the root filesystem (ext4)."""

    free: Annotated[WholeMib, between(_MIB, END_OF_TABLE)] = Field(
        default=512 * _MIB, description="Free space in addition to the content"
    )
    size: Annotated[WholeMib, between(_MIB, END_OF_TABLE)] | None = Field(
        default=None, description="Fixed size (default: the content plus the free space)"
    )


class Partitions(Model):
    """Sizes of the card's partitions."""

    boot: Annotated[WholeMib, between(8 * _MIB, 32 * _GIB)] = Field(
        default=100 * _MIB, description="Size of the FAT partition PYNQ"
    )
    root: RootPartition = Field(default=RootPartition(), description="The root partition")

    @model_validator(mode="after")
    def _fit_the_table(self) -> Partitions:
        root = self.root.size or self.root.free
        if BEFORE_PARTITIONS + self.boot + root > END_OF_TABLE:
            raise ValueError(
                f"take {format_size(self.boot + root)}; a card's partition table ends at "
                f"{format_size(END_OF_TABLE)}"
            )
        return self


class Overlay(Model):
    """A PL design: a directory with its .bit, .hwh and Python files."""

    directory: RelativePath = Field(
        description="The design's directory, relative to the board's; its last part is the design's "
        "name"
    )
    optional: bool = Field(
        default=False, description="Whether the build continues if it has no bitstream"
    )

    @field_validator("directory")
    @classmethod
    def _has_a_name(cls, directory: str) -> str:
        if not is_word(PurePosixPath(directory).name):
            raise ValueError(
                "the last part is the design's name and may only have letters, digits, _ . + and -"
            )
        return directory

    @property
    def name(self) -> str:
        """Its name for `pynq.Overlay` and `pynq.overlays`."""
        return PurePosixPath(self.directory).name


def _one_directory(value: object) -> object:
    """Convert a plain name to a design that is not optional."""
    return {"directory": value} if isinstance(value, str) else value


Overlays = tuple[
    Annotated[Overlay, BeforeValidator(_one_directory, json_schema_input_type=str | Overlay)], ...
]


class Emulation(Model):
    """Emulation of the board in QEMU."""

    memory: Memory | None = Field(default=None, description="Memory (default: the board's)")
    card: Annotated[Size, between(_MIB, END_OF_TABLE)] = Field(
        default=4 * _GIB, description="Size of the emulated card: a power of two"
    )
    timeout: int = Field(
        default=900, gt=0, le=86_400, description="Time limit of the boot in seconds"
    )


class AcceptedFinding(Model):
    """A finding of the device-tree checks that is correct for this board."""

    finding: Line = Field(
        min_length=1,
        description="Name of the finding, as the build prints it in brackets; `*` matches any text",
    )
    because: Prose = Field(min_length=1, description="Reason why it is correct for this board")


class Board(Model):
    """A board: the file `board.yaml` in the directory `boards/<name>/`.

    With `extends`, only `board` is required; all other keys are inherited.
    """

    format: int = Field(
        default=FORMAT,
        description="Format version of the board's directory; `build.py upgrade` converts older "
        "ones",
    )
    board: Name = Field(description="Name of the board; must be the name of its directory")
    extends: Name | None = Field(
        default=None,
        description="Board to extend: keys that are not set here are inherited, and `KEY+` appends "
        "to its list KEY",
    )
    summary: Line = Field(description="Summary in one line")
    soc: Soc = Field(description="SoC family")
    memory: Memory = Field(description="Memory of the board")
    console: str = Field(
        pattern=r"^tty[A-Za-z]{1,8}[0-9]{1,3},[0-9]{1,8}$",
        description="Serial console as the kernel names it, with its speed",
    )
    root_device: str = Field(
        pattern=r"^/dev/[A-Za-z0-9_]{1,32}$", description="Device of the root partition"
    )
    devicetree: WordPath | None = Field(
        default=None,
        description="Device-tree source of the board; only required by `bsp.provider: mainline`",
    )
    bsp: Bsp = Field(default=Bsp(), description="Provider of the boot files, and its inputs")
    distro: tuple[Name, ...] = Field(
        min_length=1,
        max_length=MOST_NAMES,
        description="Supported distributions, in the order of preference",
    )
    profile: Name = Field(default="pynq", description="Profile, a list of recipes")
    recipes: tuple[Name, ...] = Field(
        default=(), max_length=MOST_NAMES, description="Recipes in addition to the profile's"
    )
    parameters: dict[Name, dict[Name, Scalar]] = Field(
        default={}, description="Parameters of recipes: recipe, parameter, value"
    )
    overlays: Overlays = Field(
        default=(),
        description="The board's own PL designs: directories relative to the board's, each with a "
        ".bit file and optionally .hwh, .dtbo and .py files and `notebooks/`",
    )
    boot_overlay: Name | None = Field(
        default=None, description="Name of the PL design that is loaded at boot"
    )
    notebooks: RelativePath | None = Field(
        default=None,
        description="Directory with notebooks for the user, relative to the board's directory",
    )
    sysroot: tuple[PackageName, ...] = Field(
        default=(),
        description="Development packages for `--only sysroot`, in addition to those for C, C++ and "
        "Python",
    )
    partitions: Partitions = Field(
        default=Partitions(), description="Sizes of the card's partitions"
    )
    emulate: Emulation = Field(default=Emulation(), description="Emulation of the board in QEMU")
    accepted_findings: tuple[AcceptedFinding, ...] = Field(
        default=(),
        description="Findings of the device-tree checks that are correct for this board; all others "
        "are printed after each build",
    )
