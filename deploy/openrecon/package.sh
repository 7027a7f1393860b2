#!/bin/sh
# Build the image with its label, and pack it as OpenRecon takes it: a zip of the image and a guide, all of one name.
#
#   deploy/openrecon/package.sh GUIDE.pdf OUT
#
# Needs the image of deploy/Dockerfile, a container engine and python3. Research use only.
set -eu
test $# = 2 || { echo "usage: $0 GUIDE.pdf OUT" >&2; exit 2; }
guide=$1 out=$2 here=$(dirname "$0")
label=com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0

name=$(python3 -c 'import json, sys
general = json.load(open(sys.argv[1]))["general"]
print("OpenRecon", general["vendor"], general["name"]["en"], "V" + general["version"], sep="_")' "$here/label.json")
image=$(echo "$name" | tr '[:upper:]' '[:lower:]')

mkdir -p "$out"
docker build --label "$label=$(base64 -w 0 "$here/label.json")" -t "$image" "$here"
docker save -o "$out/$name.tar" "$image"
cp "$guide" "$out/$name.pdf"
(cd "$out" && python3 -m zipfile -c "$name.zip" "$name.tar" "$name.pdf")
echo "$out/$name.zip"
