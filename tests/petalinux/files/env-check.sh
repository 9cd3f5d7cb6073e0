#!/bin/bash
# SPDX-License-Identifier: MIT
# Test double of petalinux-env-check: is this host fit? Names of tools and libraries, and how they
# are looked for: scripts/bash/petalinux-env-check of github.com/Xilinx/PetaLinux; for the bash
# releases the list of packages in UG1144, "Installation Requirements".

TOOLS='@TOOLS@'
UBUNTU_TOOLS='@UBUNTU_TOOLS@'
HEADERS='zlib.h ncurses.h'
UBUNTU='@UBUNTU@'
STRICT='@STRICT@'
PYTHON='@PYTHON@'

if [ "$1" = settings ] && [ "${PYTHON}" = y ]; then
    info() { echo "[INFO] $*"; }
    warning() { echo "[WARNING] $*"; }
    error() { echo "[ERROR] $*" 1>&2; }
else
    info() { echo "INFO: $*"; }
    warning() { echo "WARNING: $*"; }
    error() { echo "ERROR: $*" 1>&2; }
fi

dist=""
version=""
while IFS="=" read -r name value; do
    value="${value//\"/}"
    case "${name}" in
        NAME) dist="${value%%[!A-Za-z]*}" ;;
        VERSION_ID) version="${value%%[!0-9.]*}" ;;
    esac
done 2>/dev/null </etc/os-release

there() {
    command -v "$1" >/dev/null 2>&1 && return 0
    if [ "${dist}" = Ubuntu ]; then
        dpkg -s "$1" 2>/dev/null | grep -q '^Status: install'
    else
        rpm -qi "$1" >/dev/null 2>&1
    fi
}

case " ${UBUNTU} " in
    *" ${version} "*) [ "${dist}" = Ubuntu ] || warning "This is not a supported OS" ;;
    *) warning "This is not a supported OS" ;;
esac

info "Checking free disk space"
free="$(df -P -B 1M . | { read -r _; read -r _ _ _ free _; echo "${free}"; })"
[ "${free}" -gt 1024 ] || warning "You have less than 1Gbyte free space on the installation drive"

failed=""
info "Checking installed tools"
if [ "${STRICT}" = y ]; then
    missing=""
    [ "${dist}" = Ubuntu ] && TOOLS="${TOOLS} ${UBUNTU_TOOLS}"
    for tool in ${TOOLS}; do
        there "${tool}" || missing="${missing}\n - ${tool}"
    done
    if [ -n "${missing}" ]; then
        error "You are missing the following system tools required by PetaLinux:"
        echo -e "${missing}"
        echo "Please check PetaLinux installation guide - required tools and libraries package section for detailed information"
        echo
        failed=y
    fi
fi

info "Checking installed development libraries"
if [ "${STRICT}" = y ]; then
    missing=""
    for header in ${HEADERS}; do
        printf '#include <%s>\nint main(void) { return 0; }\n' "${header}" \
            | gcc -x c -fsyntax-only - >/dev/null 2>&1 || missing="${missing}\n - ${header%.h}"
    done
    if [ -n "${missing}" ]; then
        error "You are missing these development libraries required by PetaLinux:"
        echo -e "${missing}"
        echo
        failed=y
    fi
fi

if [ -n "${failed}" ]; then
    echo "Please install them with your operating system package manager, and try again"
    exit 255
fi

info "Checking network and other services"
warning "No tftp server found - please refer to \"UG1144 $PETALINUX_VER PetaLinux Tools Documentation Reference Guide\" for its impact and solution"
