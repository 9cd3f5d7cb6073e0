# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Test double of PetaLinux's settings.sh: to be sourced. As in AMD's, arguments of the sourcing
# script are taken for the tool's directory, and the host's requirements are only reported.
if [ "$#" -ne 0 ]; then
    PETALINUX="$(readlink -f "$1")"
else
    PETALINUX="$(readlink -f "${BASH_SOURCE:-.}")"
    [ -d "${PETALINUX}" ] || PETALINUX="${PETALINUX%/*}"
fi
export PETALINUX
export PETALINUX_VER='@VERSION@'
export PETALINUX_MAJOR_VER="${PETALINUX_VER%%.*}"
PATH="${PETALINUX}/@BIN@:${PATH}"
PATH="$(echo "${PATH}" | sed -e 's/:*$//g' -e 's/::*/:/g')"
export PATH
banner='@BANNER@'
[ -z "${banner}" ] || echo "${banner}"
unset banner
echo "PetaLinux environment set to '${PETALINUX}'"
for _shell in /bin/sh sh; do
    case "$("${_shell}" --version 2>/dev/null)" in
        "GNU bash"*) continue ;;
    esac
    echo "WARNING: ${_shell} is not bash! "
    echo "bash is PetaLinux recommended shell. Please set your default shell to bash."
    break
done
unset _shell
if [ -f "${PETALINUX}/@ENV_CHECK@" ]; then
    bash "${PETALINUX}/@ENV_CHECK@" settings || :
fi
export PYTHONDONTWRITEBYTECODE=1
