# SPDX-License-Identifier: MIT
"""The models of the YAML files that users write; their JSON Schemas are made from them."""

from __future__ import annotations

from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
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
"""Version of the format of a board's directory; `builder.spec.upgrade` brings older ones to it.

1: the first. 2: the profile `pynq-library` is a part of `pynq`.
"""

Scalar = str | int | bool | list[str]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

BEFORE_PARTITIONS: Final = 4 * _MIB
"""The start of a card's first partition: the erase blocks of cards are at most this large."""

END_OF_TABLE: Final = (1 << 32) * 512
"""The size that a partition table (MBR) can describe: 32 bits of sectors."""

MOST_NAMES: Final = 256
"""Recipes that one file names."""

Memory = Annotated[WholeMib, between(16 * _MIB, 1024 * _GIB)]


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Model(BaseModel):
    """Base of all models: immutable, no unknown keys, kebab-case keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_kebab, validate_by_name=False
    )


class Architecture(str, Enum):
    """Debian's names of the architectures that Zynq boards and the machines that build have."""

    ARMHF = "armhf"
    ARM64 = "arm64"
    AMD64 = "amd64"


class Soc(str, Enum):
    """The SoC families that images can be built for."""

    ZYNQ = "zynq"
    ZYNQMP = "zynqmp"

    @property
    def architecture(self) -> Architecture:
        """The architecture of the family's application processors."""
        return {Soc.ZYNQ: Architecture.ARMHF, Soc.ZYNQMP: Architecture.ARM64}[self]


class Download(Model):
    """A file from the network, verified."""

    url: Url = Field(description="Where the file is")
    sha256: Sha256 = Field(description="SHA-256 of the file")
    max_size: Size | None = Field(
        default=None, description="Most bytes that it may have: 512K, 100M, 20G (default: 8G)"
    )

    @property
    def name(self) -> str:
        """The file's name: the last part of the URL's path."""
        return last_part(self.url)


class Hardware(Model):
    """A hardware export of Vivado."""

    xsa: RelativePath = Field(description="The .xsa file, below the board's directory")
    optional: bool = Field(
        default=False, description="Whether the build goes on without the file if it is missing"
    )


class Place(Model):
    """The place of a finished file: one of the board, or one from the network, verified."""

    file: RelativePath | None = Field(default=None, description="It, below the board's directory")
    url: Url | None = Field(default=None, description="Where it is instead")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of what `url` gives")
    max_size: Size | None = Field(
        default=None, description="Most bytes that `url` may give: 512K, 100M, 20G (default: 8G)"
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
        """The file as a download, if it is one."""
        if not self.url or not self.sha256:
            return None
        given = {"url": self.url, "sha256": self.sha256, "max-size": self.max_size}
        return Download.model_validate(given)


class FirmwareFile(Place):
    """A finished program: a file of the board, or one from the network, verified."""

    optional: bool = Field(
        default=False, description="Whether the build goes on if `file` is missing"
    )

    @model_validator(mode="after")
    def _only_files_are_optional(self) -> FirmwareFile:
        if self.url and self.optional:
            raise ValueError("`optional` is for a `file`; a download must succeed")
        return self


class BootFiles(Place):
    """Boot files and modules that a board's maker built.

    A `file` is a directory or a zip file of one; a `url` gives a zip file.
    """


class PetaLinux(Model):
    """Input of PetaLinux beside `bsp.hardware`; without `bsp` it builds from its own template."""

    bsp: Place | None = Field(default=None, description="The BSP that the project is made from")
    release: str | None = Field(
        default=None,
        pattern=r"^20[0-9][0-9]\.[0-9]$",
        description='The one release that will do, in quotes: "2024.1" (default: any)',
    )
    bitstream: RelativePath | None = Field(
        default=None,
        description="Bitstream that BOOT.BIN loads, below the board's directory (default: none)",
    )


class Firmware(Model):
    """Firmware that a Zynq UltraScale+ starts with and Debian's compilers cannot make.

    All of it comes out of a BSP of the board's maker, or of a build by AMD's tools.
    """

    pmu: FirmwareFile | None = Field(
        default=None, description="Firmware of the platform management unit, pmufw.elf"
    )
    pmu_configuration: FirmwareFile | None = Field(
        default=None,
        description="The board's configuration object, pm_cfg_obj.c, for a `pmu` that was built "
        "without one; SPL gives it to the firmware",
    )
    fsbl: FirmwareFile | None = Field(
        default=None, description="AMD's first stage, fsbl.elf, in place of U-Boot's SPL"
    )


class StartUpTable(Model):
    """The register writes that start a board's processing system, as data.

    Either the board brings them (`registers`, Zynq-7000 only), or U-Boot has them (`u-boot`).
    """

    registers: RelativePath | None = Field(
        default=None, description="The table, a YAML file of register writes"
    )
    u_boot: Name | None = Field(
        default=None,
        description="The board of U-Boot whose table it is: a directory of `board/xilinx/zynq/` "
        "or `board/xilinx/zynqmp/` in its sources, like `zynq-zed`",
    )
    parameters: RelativePath | None = Field(
        default=None,
        description="Vivado's PCW_ parameters of the board; the table is checked against them",
    )
    stand_in: bool = Field(
        default=False,
        description="Whether it is another board's, to build with until there is one of this "
        "board: what contradicts `parameters` is no error, and each build says so",
    )

    @model_validator(mode="after")
    def _one_source(self) -> StartUpTable:
        if bool(self.registers) == bool(self.u_boot):
            raise ValueError("give either `registers` or `u-boot`")
        return self


Provider = Literal["mainline", "prebuilt", "petalinux"]


class Bsp(Model):
    """Who makes the boot files, and from what.

    With `mainline`, the first stage comes from the first of these that there is: `firmware.fsbl`,
    `hardware`, `start-up-table`, `boot-bin`. With `prebuilt`, only `boot-files` counts; with
    `petalinux`, only `petalinux` and `hardware`.
    """

    provider: Provider = Field(
        default="mainline",
        description="`mainline`: built with open tools alone; `prebuilt`: taken from `boot-files`; "
        "`petalinux`: built by AMD's PetaLinux",
    )
    boot_files: BootFiles | None = Field(
        default=None,
        description="Finished boot files: a directory or a zip file, as docs/porting.md says",
    )
    petalinux: PetaLinux = Field(
        default=PetaLinux(), description="What PetaLinux builds from, as docs/porting.md says"
    )
    hardware: Hardware | None = Field(default=None, description="Hardware export of the board")
    start_up_table: StartUpTable | None = Field(
        default=None, description="Start-up table of the board's class, used without an export"
    )
    firmware: Firmware = Field(
        default=Firmware(), description="Finished programs that a Zynq UltraScale+ starts with"
    )
    boot_bin: RelativePath | None = Field(
        default=None, description="A finished BOOT.BIN, below the board's directory"
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
        default=512 * _MIB, description="Free space beside the content"
    )
    size: Annotated[WholeMib, between(_MIB, END_OF_TABLE)] | None = Field(
        default=None, description="Fixed size (default: the content and the free space)"
    )


class Partitions(Model):
    """Sizes of the card's partitions."""

    boot: Annotated[WholeMib, between(8 * _MIB, 32 * _GIB)] = Field(
        default=100 * _MIB, description="The FAT partition PYNQ"
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
    """A design for the programmable logic: a directory with its .bit, .hwh and Python files."""

    directory: RelativePath = Field(
        description="The directory, below the board's; its last part is the design's name"
    )
    optional: bool = Field(
        default=False, description="Whether the build goes on if there is no bitstream in it"
    )

    @field_validator("directory")
    @classmethod
    def _has_a_name(cls, directory: str) -> str:
        if not is_word(PurePosixPath(directory).name):
            raise ValueError(
                "its last part is the design's name: letters, digits, _ . + and - alone"
            )
        return directory

    @property
    def name(self) -> str:
        """Its name for `pynq.Overlay` and `pynq.overlays`."""
        return PurePosixPath(self.directory).name


def _one_directory(value: object) -> object:
    """Let a plain name stand for a directory that must be there."""
    return {"directory": value} if isinstance(value, str) else value


Overlays = tuple[
    Annotated[Overlay, BeforeValidator(_one_directory, json_schema_input_type=str | Overlay)], ...
]


class Emulation(Model):
    """How the board is emulated."""

    memory: Memory | None = Field(default=None, description="Memory (default: the board's)")
    card: Annotated[Size, between(_MIB, END_OF_TABLE)] = Field(
        default=4 * _GIB, description="Size of the emulated card: a power of two"
    )
    timeout: int = Field(
        default=900, gt=0, le=86_400, description="Seconds until the boot counts as failed"
    )


class AcceptedFinding(Model):
    """A finding of the checks of a device tree that is right for the board all the same."""

    finding: Line = Field(
        min_length=1,
        description="Name of the finding, as the build prints it in brackets; `*` stands for any text",
    )
    because: Prose = Field(min_length=1, description="Why it is right for this board")


class Board(Model):
    """A board: the directory `boards/<name>/` with this file as `board.yaml`.

    With `extends`, all keys but `board` may be left to the board that it names.
    """

    format: int = Field(
        default=FORMAT,
        description="Version of the format that this directory is written in; `build.py upgrade` "
        "brings an older one up to date",
    )
    board: Name = Field(description="Name of the board, equal to its directory's")
    extends: Name | None = Field(
        default=None,
        description="Board of which this one is a variant: what is not given here is as there, and "
        "`KEY+` adds to its list KEY",
    )
    summary: Line = Field(description="One line on what it is")
    soc: Soc = Field(description="SoC family")
    memory: Memory = Field(description="Memory of the board")
    console: str = Field(
        pattern=r"^tty[A-Za-z]{1,8}[0-9]{1,3},[0-9]{1,8}$",
        description="Serial console as the kernel names it",
    )
    root_device: str = Field(
        pattern=r"^/dev/[A-Za-z0-9_]{1,32}$", description="Device of the root partition"
    )
    devicetree: WordPath | None = Field(
        default=None,
        description="Device tree source of the board; only `bsp.provider: mainline` needs it",
    )
    bsp: Bsp = Field(default=Bsp(), description="Who makes the boot files, and from what")
    distro: tuple[Name, ...] = Field(
        min_length=1,
        max_length=MOST_NAMES,
        description="Distributions that it accepts, the preferred one first",
    )
    profile: Name = Field(default="pynq", description="Profile of recipes")
    recipes: tuple[Name, ...] = Field(
        default=(), max_length=MOST_NAMES, description="Recipes beside the profile's"
    )
    parameters: dict[Name, dict[Name, Scalar]] = Field(
        default={}, description="Parameters of recipes: recipe, parameter, value"
    )
    overlays: Overlays = Field(
        default=(),
        description="The board's own designs for the programmable logic: directories below the "
        "board's, each with a .bit, and its .hwh, .dtbo, .py and `notebooks/`",
    )
    boot_overlay: Name | None = Field(
        default=None, description="Name of the design that is loaded when the board starts"
    )
    notebooks: RelativePath | None = Field(
        default=None, description="Directory below the board's whose content the user finds"
    )
    sysroot: tuple[PackageName, ...] = Field(
        default=(),
        description="Development packages that `--only sysroot` has beside those of C, C++ and Python",
    )
    partitions: Partitions = Field(
        default=Partitions(), description="Sizes of the card's partitions"
    )
    emulate: Emulation = Field(default=Emulation(), description="How the board is emulated")
    accepted_findings: tuple[AcceptedFinding, ...] = Field(
        default=(),
        description="Findings of the checks of the device tree that are right for this board; all "
        "others are told after each build",
    )


class Profile(Model):
    """A named list of recipes: `profiles/<name>.yaml`."""

    summary: Line = Field(description="One line on what the image is for")
    extends: Name | None = Field(
        default=None,
        description="Profile whose recipes come before the ones here, and whose parameters hold "
        "unless they are set here",
    )
    recipes: tuple[Name, ...] = Field(
        default=(),
        max_length=MOST_NAMES,
        validate_default=True,
        description="Recipes; needed without `extends`",
    )
    parameters: dict[Name, dict[Name, Scalar]] = Field(
        default={}, description="Parameters of recipes: recipe, parameter, value"
    )

    @field_validator("recipes")
    @classmethod
    def _holds_something(cls, recipes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not recipes and info.data.get("extends", "") is None:
            raise ValueError("must name a recipe at least; or give `extends`")
        return recipes
