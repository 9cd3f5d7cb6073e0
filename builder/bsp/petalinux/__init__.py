# SPDX-License-Identifier: MIT
"""The BSP provider `petalinux`: boot files built by AMD's PetaLinux, in containers."""
