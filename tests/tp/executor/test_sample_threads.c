/* --threads holds for every BLAS call of a limit: its bytes are those of the asked number, whatever the environment says
 * OpenMP's is. */
#include "limn.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <string.h>

TOOL_SUITE(threads);

enum { ROWS = 96, FEATURES = 20 };

static void put_rows(const char *file, size_t rows)
{
    double *x = ad_alloc(rows * FEATURES, sizeof *x, "inputs", NULL);
    ad_normal(1, ad_stream("threads"), 0, rows * FEATURES, x);
    put_array(file, x, rows, FEATURES);
    ad_free(x);
}

static char *kernel_of(const char *arguments, int threads, const char *environment, size_t *size)
{
    char line[512];
    snprintf(line, sizeof line, "kernel %s --threads %d --out k.npy", arguments, threads);
    outcome r = run_as(LIMN_TOOL, environment, line);
    cr_assert(r.status == 0, "%s: %s", line, r.err);
    return slurp(in("k.npy"), size);
}

/* With one thread and with two: the same bytes under OpenMP's numbers 1 and 4. */
static void holds(const char *arguments)
{
    for (int threads = 1; threads <= 2; threads++) {
        size_t size, size2;
        char *one = kernel_of(arguments, threads, "OMP_NUM_THREADS=1", &size);
        char *four = kernel_of(arguments, threads, "OMP_NUM_THREADS=4", &size2);
        cr_expect(size == size2 && memcmp(one, four, size) == 0, "%s with %d threads", arguments, threads);
        ad_free(one);
        ad_free(four);
    }
}

Test(threads, hold_for_samples)
{
    put_rows("x.npy", ROWS);
    holds("mlp --inputs x.npy --engine sample --samples 2048 --runs 2");
}

Test(threads, hold_for_batches)
{
    put_rows("x.npy", 24);
    holds("batchnorm --inputs x.npy --set phi=tanh --samples 1024 --runs 2");
}

Test(threads, hold_for_exact_rules)
{
    put_rows("x.npy", ROWS);
    holds("mlp --inputs x.npy --set phi=tanh");
}

Test(threads, too_many_are_refused_by_every_engine)
{
    double x[4 * FEATURES];
    ad_normal(1, 1, 0, 4 * FEATURES, x);
    for (int i = 0; i < 3; i++) {
        ad_error error = { 0 };
        tp_kernel kernel;
        nn_spec spec = { .features = FEATURES };
        tp_limit_spec limit = { .engine = i == 1 ? TP_ENGINE_SAMPLE : TP_ENGINE_EXACT, .threads = AD_MAX_THREADS + 1 };
        nn_net *net = nn_trace(nn_builtin(i == 2 ? "batchnorm" : "mlp"), &spec, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        cr_assert(program, "%s", error.text);
        cr_expect(tp_limit(program, TP_NNGP, x, 4, NULL, 0, &limit, &kernel, &error) < 0);
        cr_expect(strstr(error.text, "1025 threads"), "%s", error.text);
        tp_program_free(program);
        nn_net_free(net);
    }
}
