# For examples/run.sh and tests/run.sh, which set `root`: installs what is missing and builds in $root/build.

# The packages of the list that are not there. Without dpkg only commands are looked for; CMake names the rest.
limn_missing()
{
    while read -r package command; do
        case $package in '' | '#'*) continue ;; esac
        case $command in
        @*)
            [ "$command" = "@$(dpkg --print-architecture 2>/dev/null)" ] || continue
            command= ;;
        esac
        if [ -n "$command" ] && command -v "$command" >/dev/null 2>&1; then
            continue
        elif ! command -v dpkg >/dev/null 2>&1; then
            [ -z "$command" ] || printf '%s ' "$package"
        elif ! dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed'; then
            printf '%s ' "$package"
        fi
    done <"$root/.ci/packages"
}

# apt-get install, silent unless it fails for good.
limn_apt()
{
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "$@" </dev/null
}

limn_install()
{
    missing=$(limn_missing)
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
        if ! command -v sudo >/dev/null 2>&1 || { ! sudo -n true 2>/dev/null && [ ! -t 0 ]; }; then
            as_root=none
        fi
    fi
    if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "limn: packages are missing and cannot be installed from here: $missing" >&2
        return 1
    fi
    echo "limn: installing $missing" >&2
    # shellcheck disable=SC2086 # a list of words
    limn_apt install $missing >/dev/null 2>&1 ||
        { limn_apt update >/dev/null && limn_apt install $missing >/dev/null; } || {
        echo "limn: apt-get could not install: $missing" >&2
        return 1
    }
}

# A build folder of another place, another generator or a compiler that is gone cannot be configured again.
limn_stale()
{
    cache=$root/build/CMakeCache.txt
    [ -f "$cache" ] || return 1
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache" || return 0
    grep -qxF "CMAKE_CACHEFILE_DIR:INTERNAL=$root/build" "$cache" || return 0
    grep -qxF "CMAKE_GENERATOR:INTERNAL=$generator" "$cache" || return 0
    compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$cache")
    [ -x "$compiler" ] || return 0
    return 1
}

# limn_build [target]: everything, or one target.
limn_build()
{
    limn_install || return 1
    generator="Unix Makefiles"
    if command -v ninja >/dev/null 2>&1; then
        generator=Ninja
    fi
    if limn_stale; then
        rm -rf "$root/build"
    fi
    log=$(cmake -S "$root" -B "$root/build" -G "$generator" -DCMAKE_BUILD_TYPE=Release \
        -DLIMN_SANITIZE=OFF -DLIMN_WERROR="${LIMN_WERROR:-OFF}" -DBUILD_TESTING=ON 2>&1) || {
        printf '%s\n' "$log" >&2
        return 1
    }
    cmake --build "$root/build" --parallel "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" \
        --target "${1:-all}" >&2
}

# limn_sanitized KIND TARGET...: builds in build-asan (address: of addresses and undefined behaviour) or build-tsan
# (thread), with clang, whose libFuzzer and OpenMP library are needed. 77 where there is none.
limn_sanitized()
{
    kind=$1 folder=$root/build-asan
    shift
    [ "$kind" = address ] || folder=$root/build-tsan
    if ! command -v clang >/dev/null 2>&1 || ! echo 'int main(void) { return 0; }' | clang -fopenmp -fsanitize="$kind" \
        -x c - -o /dev/null 2>/dev/null; then
        echo "limn: no clang with sanitizers and OpenMP (Debian: clang libclang-rt-dev libomp-dev): skipped" >&2
        return 77
    fi
    launcher=
    if command -v ccache >/dev/null 2>&1; then
        launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache
    fi
    # shellcheck disable=SC2086 # one word or none
    log=$(CC=clang cmake -S "$root" -B "$folder" $launcher -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DLIMN_WERROR="${LIMN_WERROR:-OFF}" -DLIMN_SANITIZE="$kind" 2>&1) || {
        printf '%s\n' "$log" >&2
        return 1
    }
    cmake --build "$folder" --parallel "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" --target "$@" >&2
}

# What sanitizers are told, for what is not started by ctest.
sanitizer_options()
{
    export OMP_WAIT_POLICY=passive
    export LSAN_OPTIONS="suppressions=$root/tests/support/leaks.txt:print_suppressions=0"
    export UBSAN_OPTIONS=print_stacktrace=1
}
