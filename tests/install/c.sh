#!/bin/sh
# c.sh SOURCE BUILD: the installed tree serves C. One -I finds <limn/limn.h> for a program and "limn.h" for a network;
# the program links with either library, and the tool compiles the network wherever its tree was moved to.
. "$(dirname "$0")/stranger.sh"
cat >net.c <<'END'
#include "limn.h"
ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_dense_with(net, "first", x, n, .sigma_w = 1.5, .bias = true, .sigma_b = 0.1));
    return nn_readout(net, "readout", x);
}
END
cat >program.c <<'END'
#include <limn/limn.h>
ad_var limn_network(nn_net *net, ad_var x);
int main(void)
{
    ad_error error = { 0 };
    const double x[] = { 1, 0, 0, 0, 1, 1 };
    tp_kernel kernel = { 0 };
    nn_net *net = nn_trace(limn_network, &(nn_spec){ .features = 3 }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    int failed = !program || tp_limit(program, TP_NTK, x, 2, NULL, 0, NULL, &kernel, &error);
    if (failed)
        fprintf(stderr, "%s\n", error.text);
    else
        printf("theta %.6f\n", kernel.terms[0].values[1]);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return failed;
}
END
printf '1,0,0\n0,1,1\n' >x.csv
says "in the limit, 2 x 2 inputs" limn kernel net.c --data x.csv --label-column none --scaling unit \
    --test-fraction 0.5 --no-check
for cc in $(compilers gcc clang); do
    "$cc" -std=c11 -Wall -Wextra -pedantic -Werror "-I$prefix/include" program.c net.c -o shared "-L$lib" -llimn \
        "-Wl,-rpath,$lib"
    says "theta 0." ./shared
    mv said first
    # shellcheck disable=SC2046 # words
    "$cc" -std=c11 -w "-I$prefix/include" program.c net.c "$lib/liblimn.a" \
        $(sed -n 's/^Libs.private: //p' "$lib/pkgconfig/limn.pc") -o static
    says "theta 0." ./static
    cmp -s said first || fail "the two libraries give other numbers"
    says "in the limit, 32 x 32 inputs" env CC="$cc" limn kernel net.c --no-check
done
# <limn/limn.h> is for networks, too, and a header of a part stands alone.
sed 's|"limn.h"|<limn/limn.h>|' net.c >angle.c
says "in the limit" limn kernel angle.c --no-check
find "$prefix/include/limn" -name '*.h' | while read -r header; do
    printf '#include <limn/%s>\nextern int nothing;\n' "${header#"$prefix/include/limn/"}" >alone.c
    cc -std=c11 -Wall -Wextra -pedantic -Werror "-I$prefix/include" -c alone.c -o alone.o
done

# What the shared library exports is what the headers declare.
readelf -d "$lib/liblimn.so" | grep -q 'SONAME.*liblimn\.so\.[0-9]' || fail "no SONAME"
cat "$prefix"/include/limn/*/*.h >headers
nm -D --defined-only "$lib/liblimn.so" | awk '$3 !~ /^\.gomp_/ { print $3 }' | while read -r symbol; do
    grep -qw "$symbol" headers || fail "$symbol is exported and in no public header"
done
