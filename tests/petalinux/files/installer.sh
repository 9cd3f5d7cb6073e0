#!/bin/bash
# SPDX-License-Identifier: MIT
# A test double of the PetaLinux installer: it behaves like AMD's towards its caller, and installs
# nothing of AMD's. Messages: public installation logs of 2022.1, 2023.1 and 2024.1.

VERSION='@VERSION@'
STRICT='@STRICT@'
SKIP_LICENSE=' @SKIP_LICENSE@ '
PLATFORMS='@PLATFORMS@'
ENV_CHECK='@ENV_CHECK@'
PAYLOAD_LINE=@PAYLOAD_LINE@
PAYLOAD_SHA256='@PAYLOAD_SHA256@'

log="${PWD}/petalinux_installation_log"
dir="${PWD}"
platforms=""
accepted=""

say() { echo "$*" | tee -a "${log}"; }

usage() {
    cat <<END
PetaLinux ${VERSION} installer.

Usage:
  ${0##*/} [--log <LOGFILE>] [-d|--dir <INSTALL_DIR>] [options]

Options:
  --log <LOGFILE>            where the log file should be created
  -d|--dir <INSTALL_DIR>     where to install; the working directory by default
  -p|--platform <arch_name>  architectures: ${PLATFORMS}
 ${SKIP_LICENSE}                 skip the acceptance of the licenses
  -h|--help                  show this help
END
}

give_up() {
    say "ERROR: $*" 1>&2
    echo "Check the troubleshooting guide at the end of UG1144; the log is ${log}"
    exit 255
}

invalid() {
    echo "ERROR: Invalid options: $*" 1>&2
    usage
    exit 255
}

while [ $# -gt 0 ]; do
    case "$1" in
        --log|--dir|-d|--platform|-p)
            [ $# -ge 2 ] || invalid "$1"
            case "$1" in
                --log) log="$(readlink -m "$2")" ;;
                --dir|-d) dir="$2" ;;
                *) platforms="$2" ;;
            esac
            shift 2 ;;
        -h|--help) usage; exit 0 ;;
        -y|--skip_license)
            case "${SKIP_LICENSE}" in *" $1 "*) accepted=y ;; *) invalid "$1" ;; esac
            shift ;;
        *) invalid "$*" ;;
    esac
done

for platform in ${platforms}; do
    case " ${PLATFORMS} " in
        *" ${platform} "*) ;;
        *) invalid "--platform ${platform}" ;;
    esac
done

if [ "${STRICT}" = y ] && [ "$(id -u)" = 0 ]; then
    echo "ERROR: Exiting Installer: Cannot install as root !" 1>&2
    exit 255
fi

: 2>/dev/null >"${log}" || { echo "ERROR: Failed to create log file ${log}" 1>&2; exit 255; }
dir="$(readlink -m "${dir}")"

work="$(mktemp -d)" || give_up "Failed to create temp file, /tmp is full or is inaccessible"
trap 'rm -rf "${work}"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

payload() { tail -n "+${PAYLOAD_LINE}" "$0"; }

say "INFO: Checking installation environment requirements..."
payload 2>/dev/null | tar -xzO "${ENV_CHECK}" >"${work}/petalinux-env-check" 2>/dev/null \
    || give_up "Failed to extract Petalinux installer..."
mkdir -p "${dir}" 2>/dev/null
[ -w "${dir}" ] || give_up "Failed to create install directory \"${dir}\"!"
(cd "${dir}" && bash "${work}/petalinux-env-check" installer 2>&1) | tee -a "${log}"
[ "${PIPESTATUS[0]}" = 0 ] || give_up "Failed to meet the installation environment requirements."

say "INFO: Checking installer checksum..."
[ "$(payload | sha256sum | cut -d ' ' -f 1)" = "${PAYLOAD_SHA256}" ] \
    || give_up "Installer checksum mismatch! The installer is corrupted, please download it again."
say "INFO: Extracting PetaLinux installer..."
payload | tar -xz -C "${work}" || give_up "Failed to extract Petalinux installer..."

ask() {  # license file, question
    # The viewer is less, which needs a terminal and otherwise only copies its input.
    if [ -t 0 ] && [ -t 1 ]; then less "$1"; else cat "$1"; fi
    printf '%s [y/N] > ' "$2"
    read -r answer || answer=""
    case "${answer}" in
        y|Y|yes|Yes|YES) echo "$2 [y/N] > ${answer}" >>"${log}" ;;
        *) echo; give_up "Installation aborted: License not accepted" ;;
    esac
}

if [ -z "${accepted}" ]; then
    cat <<END

LICENSE AGREEMENTS

PetaLinux SDK contains software from a number of sources.  Please review
the following licenses and indicate your acceptance of each to continue.

Use PgUp/PgDn to navigate the license viewer, and press 'q' to close

END
    printf 'Press Enter to display the license agreements'
    read -r _ || true
    ask "${work}/etc/license/Petalinux_EULA.txt" "Do you accept Xilinx End User License Agreement?"
    ask "${work}/etc/license/Third_Party_Software_EULA.txt" \
        "Do you accept Third Party End User License Agreement?"
fi

say "INFO: Installing PetaLinux..."
say "INFO: Checking PetaLinux installer integrity..."
say "INFO: Installing PetaLinux SDK to \"${dir}/.\""
cp -a "${work}/." "${dir}/" || give_up "Failed to install PetaLinux SDK to \"${dir}\""
rm -f "${dir}/petalinux-env-check"
for platform in ${PLATFORMS}; do
    case " ${platforms:-${PLATFORMS}} " in
        *" ${platform} "*) ;;
        *) rm -f "${dir}/components/yocto/source/${platform}" "${dir}/components/yocto/${platform}" ;;
    esac
done
say "INFO: Installing buildtools in ${dir}/./components/yocto/buildtools"
say "INFO: Installing buildtools-extended in ${dir}/./components/yocto/buildtools_extended"
say "INFO: PetaLinux SDK has been installed to ${dir}/."
exit 0
# the payload follows
