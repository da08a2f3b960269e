#!/bin/sh
# ALGLIB 3.19.0 (Debian 12: libalglib-dev, libalglib3.19 3.19.0-1) and the tail of the normal distribution.
#
# Expected: the header gives normalcdf a relative error of 3.4e-14 at most from -13 to 0, and errorfunctionc one of
# 5.7e-14 from 0 to 26.6417; the first is said to be computed by erf and erfc.
# What happens: normalcdf is (1 + erf)/2, so that its tail is the rounding of that sum: 2e-6 off at -7, 1.8 % at -8, and
# 0 from -8.5 on, where its logarithm, a loss, is infinite. errorfunctionc is 3e-12 off at 4, 9e-9 at 9, and 0 from 10
# on. Half of libm's erfc(-x/sqrt(2)) is right to 12 digits as far as -37.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download libalglib-dev=3.19.0-1 libalglib3.19=3.19.0-1 >/dev/null 2>&1 ||
    { echo "libalglib-dev 3.19.0-1 cannot be had here"; exit 2; }
for package in *.deb; do dpkg -x "$package" .; done
cat >show.cpp <<'C'
#include <libalglib/specialfunctions.h>
#include <cmath>
#include <cstdio>

int main()
{
    const double below[] = { 3, 7, 8, 8.5, 13 }, above[] = { 3, 4, 9, 10, 26 };
    double normal[5], error[5];
    for (int i = 0; i < 5; i++) {
        double truth = erfc(below[i] / sqrt(2.0)) / 2, value = alglib::normalcdf(-below[i]);
        normal[i] = std::fabs(value - truth) / truth;
        std::printf("normalcdf(%g) = %.9g, true %.9g, relative error %.1e\n", -below[i], value, truth, normal[i]);
    }
    for (int i = 0; i < 5; i++) {
        double truth = erfc(above[i]), value = alglib::errorfunctionc(above[i]);
        error[i] = std::fabs(value - truth) / truth;
        std::printf("errorfunctionc(%g) = %.9g, true %.9g, relative error %.1e\n", above[i], value, truth, error[i]);
    }
    bool same = normal[0] < 1e-12 && normal[1] > 1e-6 && normal[2] > 0.01 && normal[3] == 1 && normal[4] == 1;
    return same && error[0] < 1e-13 && error[1] > 1e-12 && error[2] > 1e-9 && error[3] == 1 && error[4] == 1 ? 0 : 1;
}
C
libraries=$(dirname "$(find . -name libalglib.so)")
g++ -I usr/include show.cpp -L "$libraries" -lalglib -o show
LD_LIBRARY_PATH=$libraries ./show
