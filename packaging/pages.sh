#!/bin/sh
# pages.sh LIMN FOLDER: man pages and completion into FOLDER, as the tool prints them.
set -eu
limn=$1 folder=$2
mkdir -p "$folder/man1" "$folder/bash-completion/completions" "$folder/zsh/vendor-completions"
"$limn" help man >"$folder/man1/limn.1"
for command in $("$limn" help commands); do
    "$limn" help man "$command" >"$folder/man1/limn-$command.1"
done
"$limn" help bash >"$folder/bash-completion/completions/limn"
"$limn" help zsh >"$folder/zsh/vendor-completions/_limn"
: >"$folder/made"
