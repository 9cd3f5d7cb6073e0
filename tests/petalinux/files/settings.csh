# SPDX-License-Identifier: MIT
# Test double: sourcing from csh is not modelled.
echo "the double has no settings.csh: source settings.sh from bash"
exit 1
