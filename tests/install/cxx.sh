#!/bin/sh
# cxx.sh SOURCE BUILD: from C++ a network is traced with every macro of the headers that makes a value, and its program
# and kernel are those of the same network in C, without a warning of g++ and clang++.
. "$(dirname "$0")/stranger.sh"
cat >network.h <<'END'
static ad_var network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    long depth = nn_setting_int(net, "depth", 2, 1, 9);
    for (long layer = 1; layer <= depth; layer++) {
        x = nn_dense_with(net, nn_name(net, "dense%ld", layer), x, n, .sigma_w = 1.2, .bias = true, .sigma_b = 0.1);
        x = nn_layernorm_with(net, nn_name(net, "norm%ld", layer), x, .epsilon = 1e-3);
        ad_var smooth = ad_gelu(x); /* which argument is built first is the compiler's choice */
        x = ad_scale(ad_add(smooth, ad_leaky(x, 0.1)), 0.5);
    }
    ad_var centred = ad_sub(x, ad_mean(x, ad_shape_of(n)));
    return nn_readout_with(net, "readout", centred, .sigma_w = 2);
}
END
cat >program.cpp <<'END'
#include <limn/limn.h>
#include <limn/nn/entry.h>
#include "network.h"
int main(int argc, char **)
{
    ad_error error = ad_error();
    const double x[] = { 1, 0, 0.5, 0, 1, 1 };
    double value = 0;
    const char *settings[] = { "depth=1", nullptr };
    nn_spec spec = nn_spec();
    spec.features = 3;
    spec.settings = settings;
    tp_kernel kernel = tp_kernel();
    nn_net *net = nn_trace(network, &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : nullptr;
    if (program && argc > 1 && tp_print(program, stdout, TP_PAPER, &error))
        return 1;
    int failed = !program || tp_limit(program, TP_NTK, x, 2, nullptr, 0, nullptr, &kernel, &error);
    nn_model *model = failed ? nullptr : nn_model_new(net, 64, 1, AD_DOUBLE, 1, &error);
    if (model && !nn_ntk(model, x, 1, nullptr, 0, NN_MEAN, &value, &error))
        std::printf("theta %.12f, at width 64 %.12f\n", kernel.terms[0].values[1], value);
    if (error.text[0])
        std::fprintf(stderr, "%s\n", error.text);
    nn_model_free(model);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return failed;
}
END
# The same in C.
sed -e 's/nullptr/NULL/g; s/std:://; s/char \*\*)/char **argv)/; s/int main(int argc.*/&/' \
    -e 's/= \(ad_error\|nn_spec\|tp_kernel\)();/= { 0 };/' program.cpp >program.c
sed -i 's/^{$/{/; s/    const char \*settings/    (void)argv;\n    const char *settings/' program.c
sed -i 's/#include <limn\/limn.h>/&\n#include <cstdio>/' program.cpp
"$(compilers cc gcc clang | head -1)" -std=c11 -Wall -Wextra -pedantic -Werror "-I$prefix/include" program.c -o c \
    "-L$lib" -llimn "-Wl,-rpath,$lib"
says "theta " ./c print
sed 's/ [a-z]*\.[ch][a-z]*:[0-9]*$//' said >from_c
found=
for cxx in $(compilers g++ clang++); do
    for standard in c++11 c++17 c++20; do
        "$cxx" -std=$standard -Wall -Wextra -pedantic -Werror "-I$prefix/include" program.cpp -o cxx "-L$lib" -llimn \
            "-Wl,-rpath,$lib"
        says "Netsor" ./cxx print
        sed 's/ [a-z]*\.[ch][a-z]*:[0-9]*$//' said >from_cxx
        cmp from_c from_cxx || fail "$cxx -std=$standard: another program or kernel than from C"
        found=1
    done
done
[ -n "$found" ] || { echo "skipped: no C++ compiler (Debian: g++)"; exit 77; }
