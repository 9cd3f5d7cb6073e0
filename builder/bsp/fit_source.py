# SPDX-License-Identifier: MIT
"""Source of a FIT image for mkimage: a kernel and the device trees to start it with.

Format: doc/uImage.FIT/source_file_format.txt of U-Boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.bsp.soc import Family

_SOURCE = """\
/dts-v1/;
/ {{
    description = "{about} for {board}";
    #address-cells = <1>;
    images {{
        kernel {{
            description = "{about}";
            data = /incbin/("{kernel}");
            type = "kernel";
            arch = "{arch}";
            os = "linux";
            compression = "none";
            load = <{load:#x}>;
            entry = <{load:#x}>;
            hash {{ algo = "sha256"; }};
        }};
{trees}    }};
    configurations {{
        default = "conf{default}";
{configurations}    }};
}};
"""

_TREE = """\
        fdt{suffix} {{
            description = "{about}";
            data = /incbin/("{file}");
            type = "flat_dt";
            arch = "{arch}";
            compression = "none";
            hash {{ algo = "sha256"; }};
        }};
"""

_CONFIGURATION = """\
        conf{suffix} {{ kernel = "kernel"; fdt = "fdt{suffix}"; }};
"""


def fit_source(
    family: Family,
    *,
    kernel: Path,
    about: str,
    board: str,
    trees: Mapping[str, tuple[str, Path]],
) -> str:
    """Return the source of a FIT image that has one configuration per device tree.

    Args:
        family: the SoC family of the kernel.
        kernel: the kernel's file.
        about: the kernel's description.
        board: the board's name.
        trees: description and file of each tree, by the suffix of the names of its configuration
            (`conf...`) and its image (`fdt...`); the first one is the default.
    """
    return _SOURCE.format(
        about=about,
        board=board,
        kernel=kernel,
        arch=family.kernel_arch,
        load=family.kernel_load,
        default=next(iter(trees)),
        trees="".join(
            _TREE.format(suffix=suffix, about=text, file=file, arch=family.kernel_arch)
            for suffix, (text, file) in trees.items()
        ),
        configurations="".join(_CONFIGURATION.format(suffix=suffix) for suffix in trees),
    )
