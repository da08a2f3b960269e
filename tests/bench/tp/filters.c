/* filters.c: seconds of one processor for limit NTKs of networks with filters, ReLU, 3 x 3, same padding, of the
 * embedded digits, and of noise as large as other pictures, beside what the machine does at most; one thread.
 *
 *     build/bench/filters [ROUNDS [CASE]]
 *
 * A pair of functions is one of two positions of two pictures at a layer. Where all pairs are kept (averages), the
 * recursion needs of it, at the least:
 *   8 additions        the box filters of covariance and tangent kernel, two and two by sums along either axis
 *   1 addition         of the tangent kernel's two parts
 *   1 square root      sqrt(1 - c^2)
 *   21 multiply-adds   acos by its polynomial, 20, and E relu relu's sum
 *   8 multiplications  the correlation, and what scales
 * A multiply-add and a multiplication each take the place of an addition. `bound` is these numbers over the machine's
 * rates, additions and roots one after the other; `fraction` is bound over the time taken. What a network takes once,
 * to derive what is to be done, is measured by eight pairs of pictures, and told apart. */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { WIDE = 64, ROOTS = 1024, ADDITIONS = 8 + 1, PRODUCTS = 21 + 8, FEW = 8 };

/* Additions of WIDE numbers in registers, and roots of ROOTS numbers in the nearest cache. */
#if defined(__x86_64__) && !defined(__clang__)
#define SETS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SETS
#endif
SETS static void add_many(size_t times, double *sums)
{
    double at[WIDE];
    memcpy(at, sums, sizeof at);
    for (size_t k = 0; k < times; k++)
        for (size_t i = 0; i < WIDE; i++)
            at[i] += 1.5;
    memcpy(sums, at, sizeof at);
}

SETS static void root_many(size_t times, double *values)
{
    for (size_t k = 0; k < times; k++)
        for (size_t i = 0; i < ROOTS; i++)
            values[i] = sqrt(values[i]);
}

/* Seconds of an addition and of a root. */
static void machine(double *addition, double *root)
{
    static double values[ROOTS];
    const size_t times = 2000000, fewer = 20000;
    *addition = *root = 1;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < ROOTS; i++)
            values[i] = (double)(i + 2);
        double start = bench_seconds();
        root_many(fewer, values);
        *root = fmin(*root, (bench_seconds() - start) / (double)(fewer * ROOTS));
        start = bench_seconds();
        add_many(times, values);
        *addition = fmin(*addition, (bench_seconds() - start) / (double)(times * WIDE));
    }
}

typedef struct {
    const char *name, *depth, *readout;
    size_t rows, others; /* pictures of either set; 0: one set with itself */
    size_t size, channels;
} filter_case;

static const filter_case cases[] = {
    { "28 x 28, depth 3, average", "depth=3", "readout=average", 16, 16, 28, 1 },
    { "8 x 8, depth 3, average, 200 pictures", "depth=3", "readout=average", 200, 0, 8, 1 },
    { "28 x 28, depth 3, flatten, 500 pictures", "depth=3", "readout=flatten", 500, 0, 28, 1 },
    { "32 x 32 x 3, depth 21, average", "depth=21", "readout=average", 8, 8, 32, 3 },
};

/* The NTK's seconds of so many pictures with `others`, or themselves. */
static double limit(tp_program *program, const double *x, size_t rows, const double *x2, size_t others)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    double start = bench_seconds();
    if (tp_limit(program, TP_NTK, x, rows, x2, others, &(tp_limit_spec){ .threads = 1 }, &kernel, &error))
        bench_fail(&error);
    tp_kernel_free(&kernel);
    return bench_seconds() - start;
}

static void measure(const filter_case *c, int rounds, double addition, double root)
{
    static double seconds[BENCH_ROUNDS], once[BENCH_ROUNDS], pair[BENCH_ROUNDS];
    ad_error error = { 0 };
    size_t points = c->size * c->size, numbers = points * c->channels, others = c->others;
    const char *settings[] = { c->depth, c->readout, NULL };
    nn_spec spec = { .shape = { c->size, c->size, c->channels }, .settings = settings };
    nn_net *net = nn_trace(nn_builtin("cnn"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    ds_data *digits = c->channels > 1 ? NULL : ds_load(c->size == 8 ? "digits" : "mnist", NULL, &error);
    double *noise = bench_draw((c->rows + others + FEW) * numbers);
    const double *x = digits ? digits->x : noise;
    if (!program || !x || (c->channels == 1 && !digits))
        bench_fail(&error);
    double pairs = others ? (double)(c->rows * others) : 0.5 * (double)(c->rows * (c->rows + 1));
    for (int round = 0; round < rounds; round++) {
        seconds[round] = limit(program, x, c->rows, others ? x + c->rows * numbers : NULL, others);
        once[round] = limit(program, x, 1, x + numbers, FEW);
        pair[round] = (seconds[round] - once[round]) / (pairs - FEW);
        once[round] -= FEW * pair[round];
    }
    bool all = strcmp(c->readout, "readout=average") == 0;
    double functions = atof(c->depth + 6) * (double)(all ? points * points : points);
    double taken = bench_quantile(pair, rounds, 0.5) / functions;
    printf("%s\n", c->name);
    bench_show("all", seconds, rounds);
    bench_show("once", once, rounds);
    bench_show("a pair of pictures", pair, rounds);
    printf("  %-42s %7.2f ns\n", "a pair of functions", 1e9 * taken);
    if (all)
        printf("  %-42s %7.2f ns, fraction %.2f; of %d additions and a root alone %.2f\n", "bound",
               1e9 * ((ADDITIONS + PRODUCTS) * addition + root), ((ADDITIONS + PRODUCTS) * addition + root) / taken,
               ADDITIONS, (ADDITIONS * addition + root) / taken);
    free(noise);
    ds_free(digits);
    tp_program_free(program);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    double addition, root;
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 3);
    machine(&addition, &root);
    printf("limits of filters, NTK, ReLU, double, %d rounds, one thread\n", rounds);
    printf("  the machine's: %.2f additions and %.2f square roots a nanosecond\n", 1e-9 / addition, 1e-9 / root);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        if (argc < 3 || strstr(cases[k].name, argv[2]))
            measure(&cases[k], rounds, addition, root);
    return 0;
}
