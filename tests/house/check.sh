#!/bin/sh
# check.sh SOURCE BUILD PREFIX: does the house stand? Reads the object files of the library and of the tool in BUILD
# (nm), the includes in SOURCE, and the tree that was installed at PREFIX. BUILD/rooms.txt has the rooms, from the
# ground up. A public header, in a top folder, may be included from anywhere: who calls whom is what counts.
# Prints a line for each finding and what to do about it; exit status 0: none, 1: some, 2: it could not look.
set -eu
source=$(cd "$1" && pwd) build=$(cd "$2" && pwd) prefix=$(cd "$3" && pwd)
[ -s "$build/rooms.txt" ] || { echo "house: $build/rooms.txt is missing: configure the build first" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# file kind symbol, of every object: "T" defined, "U" asked for.
for objects in limn_objects limn; do
    folder=$build/CMakeFiles/$objects.dir
    [ -d "$folder" ] || continue
    (cd "$folder" && find . -name '*.c.o' | sed 's|^\./||' | while read -r object; do
        [ -f "$source/${object%.o}" ] || continue
        nm -P "$object" | awk -v file="${object%.o}" '
            $2 ~ /^[TDBRVW]$/ { print file, "T", $1 }
            $2 == "U" { print file, "U", $1 }'
    done) >"$work/$objects"
    awk '$2 == "T" { home[$3] = $1 }
         $2 == "U" { line[++n] = $1 " " $3 }
         END {
             for (i = 1; i <= n; i++) {
                 split(line[i], w, " ")
                 if (w[2] in home && home[w[2]] != w[1]) print w[1], home[w[2]], w[2]
             }
         }' "$work/$objects" >>"$work/calls"
done
[ -s "$work/calls" ] || { echo "house: no object files under $build: build first" >&2; exit 2; }

# from to header, of every include between files of the house; "../" is the public headers' own.
(cd "$source" && find autodiff nn tp datasets examples/limn -name '*.[ch]' 2>/dev/null | while read -r file; do
    sed -n 's/^#include "\([^".][^"]*\/[^"]*\/[^"]*\)".*/\1/p' "$file" | while read -r header; do
        echo "$file $header"
    done
done) >"$work/includes"

findings=$work/findings
: >"$findings"

# 1. No circle: files that call nothing of what is left, and files that nothing of what is left calls, go until none
# does.
awk '!(($1, $2) in seen) {
         seen[$1, $2] = 1
         from[++n] = $1; to[n] = $2; why[n] = $3
         there[$1] = there[$2] = 1
     }
     END {
         do {
             moved = 0; split("", out); split("", in_)
             for (i = 1; i <= n; i++) if (from[i] in there && to[i] in there) { out[from[i]]++; in_[to[i]]++ }
             for (f in there) if (!(f in out) || !(f in in_)) { delete there[f]; moved = 1 }
         } while (moved)
         for (i = 1; i <= n; i++) if (from[i] in there && to[i] in there)
             print "circle: " from[i] " calls " to[i] " (" why[i] ") and is called back: move what both need below them"
     }' "$work/calls" >>"$findings"

# 2. No arrow up: neither a call nor an include, by the rooms' order. A line of rooms.txt is a folder, or one file.
awk -v rooms="$build/rooms.txt" '
     function room(file,   folder) {
         if (file in order) return file
         folder = file; sub(/\/[^\/]*$/, "", folder)
         return folder
     }
     BEGIN { while ((getline line < rooms) > 0) order[line] = ++n }
     {
         a = room($1); b = room($2)
         if (a != b && a in order && b in order && order[b] > order[a])
             print "up: " $1 " uses " $2 (NF > 2 ? " (" $3 ")" : "") ", but " b " stands above " a \
                   ": move it down, or hand it in as an argument"
         if (NF > 2 && !(a in order))
             print "room: " a " is in no list of rooms: add it to CMakeLists.txt where it stands"
     }' "$work/calls" "$work/includes" | sort -u >>"$findings"

# 3. A room has one header for its neighbours, of its own name; the public ones lie in the top folders.
awk '{
         a = $1; b = $2; sub(/\/[^\/]*$/, "", a); sub(/\/[^\/]*$/, "", b)
         if ($2 !~ /\.h$/ || a == b || b !~ /\//) next
         name = b; sub(/.*\//, "", name)
         if ($2 != b "/" name ".h" && $2 !~ /^examples\/limn\/[^\/]*$/)
             print "private: " $1 " includes " $2 ", which is for the files of " b \
                   " alone: what neighbours need goes to " b "/" name ".h"
     }' "$work/includes" | sort -u >>"$findings"

# 4. A room'"'"'s inside is not installed.
(cd "$prefix" && find include -name '*.h' -o -name '*.def' -o -name '*.c') | sed 's|^\./||' | while read -r header; do
    case ${header#*include/limn/} in
    */*/*) echo "installed: $header is the inside of a room: take it out of the public headers in CMakeLists.txt" ;;
    esac
done >>"$findings"

cat "$findings"
[ ! -s "$findings" ]
