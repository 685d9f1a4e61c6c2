#!/bin/sh
# Installs posthog-llma @VERSION@ into ~/.local/bin, or the folder that POSTHOG_LLMA_BIN names. The program's SHA-256 is in
# this file; anything else is not installed. POSTHOG_LLMA_DIST names a folder to take the release's file from, without a network.
set -u

@FETCH@
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin
export PATH
read_list << 'LIST'
@LIST@LIST

give_up() {
    echo "posthog-llma $version was not installed: $1" >&2
    exit 1
}

[ -n "$file" ] || give_up "no program for $system-$machine"
folder=${POSTHOG_LLMA_BIN:-${HOME:?HOME is not set}/.local/bin}
mkdir -p "$folder" || give_up "$folder cannot be made"
# In the same file system, so that the program is there whole or not at all.
part=$(mktemp -d "$folder/.posthog-llma.XXXXXX") || give_up "$folder cannot be written to"
trap 'rm -rf "$part"' EXIT
trap 'exit 1' HUP INT TERM
take "$part" || give_up "$problem"
mv -f "$part/posthog-llma" "$folder/posthog-llma" || give_up "$folder cannot be written to"

echo "posthog-llma $version is $folder/posthog-llma, from $place; its SHA-256 is the one in this script."
case :$PATH: in *:"$folder":*) ;; *) echo "$folder is not on your PATH." ;; esac
echo 'Next: claude plugin marketplace add @OWNER@/@NAME@ && claude plugin install posthog-standalone@posthog-llma'
