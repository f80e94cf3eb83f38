#!/bin/sh
# in_chroot.sh ROOT SCRIPT [PLACE OUT]: run a Python script in a chroot, with a copy of the folder PLACE; OUT is copied back.
set -eu
root=$1 script=$2
work=$(mktemp -d "$root/tmp/s2cmc.XXXXXX")
trap 'rm -rf "$work"' EXIT
inside=/tmp/${work##*/}
cp "$script" "$work/script.py"
if [ $# -eq 2 ]; then
    chroot "$root" python3 "$inside/script.py"
    exit
fi
place=$3
case $place in
    http*) ;;
    *) cp -r "$place" "$work/store.zarr" && place=$inside/store.zarr ;;
esac
mkdir "$work/out"
chroot "$root" python3 "$inside/script.py" "$place" "$inside/out"
cp -r "$work/out/." "$4"
