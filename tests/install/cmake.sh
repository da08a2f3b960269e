#!/bin/sh
# cmake.sh SOURCE BUILD: find_package(limn) in a project of one's own.
. "$(dirname "$0")/stranger.sh"
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.18)
project(own LANGUAGES C)
find_package(limn 0.1 REQUIRED)
add_executable(shared program.c)
target_link_libraries(shared PRIVATE limn::limn)
add_executable(static program.c)
target_link_libraries(static PRIVATE limn::static)
add_custom_target(kernel ALL COMMAND ${limn_TOOL} kernel mlp --probes 2 --no-check)
END
cat >program.c <<'END'
#include <limn/limn.h>
int main(void)
{
    printf("%s\n", nn_builtin("mlp") ? "limn is here" : "not here");
    return 0;
}
END
cmake -S . -B build "-DCMAKE_PREFIX_PATH=$prefix" >configured 2>&1 || { cat configured >&2; fail "cannot configure"; }
cmake --build build >built 2>&1 || { cat built >&2; fail "cannot build"; }
grep -q "NTK of mlp in the limit" built || fail "limn_TOOL did not run"
says "limn is here" build/shared
says "limn is here" build/static
# Another minor version may have changed the interface.
sed 's/limn 0.1/limn 0.2/' CMakeLists.txt >next && mv next CMakeLists.txt
if cmake -S . -B other "-DCMAKE_PREFIX_PATH=$prefix" >/dev/null 2>&1; then fail "0.1 serves as 0.2"; fi
