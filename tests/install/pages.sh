#!/bin/sh
# pages.sh SOURCE BUILD: man pages without a warning, an option of each command in its page; completion in bash and zsh.
. "$(dirname "$0")/stranger.sh"
man=$prefix/share/man/man1
for command in $(limn help commands); do
    [ -s "$man/limn-$command.1" ] || fail "no page limn-$command(1)"
    grep -q "limn\\\\-$command" "$man/limn.1" || fail "limn(1) does not name $command"
    limn "$command" --help | awk -v c="$command" '{ line = $0; gsub(/[^ -~]+/, "x", line) } length(line) > 80 {
        print c ": wider than 80 columns: " $0; wide = 1 } END { exit wide }' || fail "--help is too wide"
    limn "$command" --help | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p' | while read -r option; do
        grep -qF "\\fB$(echo "$option" | sed 's/-/\\-/g')\\fR" "$man/limn-$command.1" ||
            fail "limn-$command(1) does not have $option"
    done
done
if command -v groff >/dev/null 2>&1; then
    for page in "$man"/*.1; do
        said=$(groff -man -ww -z "$page" 2>&1) || fail "$page is no page"
        [ -z "$said" ] || fail "$page: $said"
    done
fi
cat >complete.sh <<'END'
. "$1/share/bash-completion/completions/limn"
complete_words() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _limn; echo "${COMPREPLY[*]}"; }
[ "$(complete_words limn ke)" = kernel ] &&
    [ "$(complete_words limn kernel mlp --kernel '')" = "ntk nngp" ] &&
    [ "$(complete_words limn kernel mlp --at)" = --at-width ] &&
    [ "$(complete_words limn program mlp --at)" = "" ] &&
    [ "$(complete_words limn kernel ml)" = mlp ] &&
    [ "$(complete_words limn kernel mlp --out '')" = "" ] && complete -p limn | grep -q _limn
END
if command -v bash >/dev/null 2>&1; then
    bash --norc complete.sh "$prefix" || fail "completion in bash"
fi
if command -v zsh >/dev/null 2>&1; then
    cat >complete.zsh <<'END'
zmodload zsh/zpty
zpty shell zsh -f
say() { zpty -w shell "$1" }
say "PROMPT=; fpath=(${(q)1}/share/zsh/vendor-completions \$fpath); autoload -U compinit; compinit -u -D"
say "zstyle ':completion:*' list-prompt ''; echo rea''dy"
read_until() { local all= piece; for i in {1..200}; do zpty -rt shell piece 2>/dev/null && all+=$piece || sleep 0.05
    [[ $all == *$1* ]] && return 0; done; print -r -- "$all" >&2; return 1 }
read_until ready || exit 1
zpty -wn shell $'limn ker\t'; read_until 'limn kernel' || exit 1
zpty -wn shell $' mlp --at\t'; read_until '--at-width' || exit 1
END
    timeout 60 zsh -f complete.zsh "$prefix" || fail "completion in zsh"
fi
