#!/bin/sh
# Prepare the project in the working folder, or in FOLDER, which is made, before shroff starts: the init container of deploy/helm, and the
# task 'files' of deploy/terraform.
#
#   project.sh "" TEMPLATE [FOLDER]        make a project of TEMPLATE, where there is none
#   project.sh SOURCE TEMPLATE [FOLDER]    bring the files of the folder SOURCE, such as a mounted ConfigMap. A file that an earlier
#                                 run brought and that SOURCE no longer has is removed. A list that exists stays as it is.
set -eu
source=$1 template=$2 folder=${3:-.}
mkdir -p "$folder"
cd "$folder"

if [ -z "$source" ]; then
    [ -f shroff.yaml ] || exec shroff init . --template "$template"
    exit 0
fi

umask 027
kept=.shroff/brought
mkdir -p .shroff
touch "$kept"
new=$kept.$(hostname)
(cd "$source" && find -L . -path '*/..*' -prune -o -type f -print | sed 's|^\./||' | LC_ALL=C sort) >"$new"
comm -23 "$kept" "$new" | while read -r path; do rm -f "./$path"; done
while read -r path; do
    case $path in lists/*) [ ! -e "$path" ] || continue ;; esac
    mkdir -p "./$(dirname "$path")"
    cp "$source/$path" "./$path.$(hostname)"
    mv "./$path.$(hostname)" "./$path"
done <"$new"
mv "$new" "$kept"
