/* The executor by the simple rules: against its general rule, the exact engine and the laws that it draws from; runs by
 * tiles of rows; what a run is said to need. Seeds are fixed; false-alarm rates are those of a change of seed. */
#include "limn.h"
#include "tp/executor/executor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 5, STEPS = 3, FEATURES = 4, LONG = 12, MOST = 12 };

typedef struct {
    nn_net *net;
    tp_program *program;
} traced;

static traced trace(nn_function function, size_t steps, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .settings = settings };
    if (steps)
        memcpy(spec.shape, (size_t[4]){ steps, FEATURES }, sizeof spec.shape);
    else
        spec.features = FEATURES;
    traced t = { .net = nn_trace(function, &spec, &error) };
    cr_assert(t.net, "%s", error.text);
    t.program = tp_translate(t.net, &error);
    cr_assert(t.program, "%s", error.text);
    return t;
}

static void let_go(traced *t)
{
    tp_program_free(t->program);
    nn_net_free(t->net);
}

/* Means and standard errors of so many runs. */
static void means(const tp_program *program, tp_kernel_kind which, size_t samples, bool simple, int runs,
                  const double *x, size_t rows, double *mean, double *deviation)
{
    ad_error error = { 0 };
    double one[MOST * MOST];
    memset(mean, 0, rows * rows * sizeof *mean);
    memset(deviation, 0, rows * rows * sizeof *deviation);
    for (int run = 1; run <= runs; run++) {
        tp_sampling sampling = { .samples = samples, .seed = (uint64_t)run, .simple = simple };
        cr_assert(!tp_sample_once(program, which, &sampling, x, rows, NULL, 0, one, &error), "%s", error.text);
        for (size_t i = 0; i < rows * rows; i++) {
            double off = one[i] - mean[i];
            mean[i] += off / run;
            deviation[i] += off * (one[i] - mean[i]);
        }
    }
    for (size_t i = 0; i < rows * rows; i++)
        deviation[i] = sqrt(deviation[i] / (runs - 1) / runs);
}

/* Covariances of what a matrix gives are those of what it takes, dependent vectors and more of them than samples
 * included: Gaussian draws leave sqrt(2 / samples) of the sizes, six of which a change of seed exceeds in one of
 * 10^7. */
Test(simple, products_have_the_covariances_of_their_inputs)
{
    enum { SIZE = 1024, COUNT = 6, ROUNDS = 3 };
    static double x[ROUNDS * COUNT * SIZE], y[ROUNDS * COUNT * SIZE];
    ad_error error = { 0 };
    tp_space space;
    tp_simple w;
    cr_assert(!tp_space_new(&space, SIZE, 7, &error));
    ad_normal(5, 1, 0, ROUNDS * COUNT * SIZE, x);
    memcpy(x + COUNT * SIZE, x, SIZE * sizeof *x); /* the same again, and a sum */
    for (int s = 0; s < SIZE; s++)
        x[2 * SIZE + s] = x[s] - 2 * x[SIZE + s];
    tp_simple_new(&w, &space, SIZE, 1.0 / SIZE, false);
    for (int r = 0; r < ROUNDS; r++)
        cr_assert(!tp_simple_apply(&w, COUNT, x + r * COUNT * SIZE, y + r * COUNT * SIZE, &error), "%s", error.text);
    cr_expect_eq(w.seen.n, ROUNDS * COUNT - 2);
    for (int s = 0; s < SIZE; s++) {
        cr_assert_float_eq(y[s], y[COUNT * SIZE + s], 1e-6);
        cr_assert_float_eq(y[2 * SIZE + s], y[s] - 2 * y[SIZE + s], 1e-6);
    }
    for (int i = 0; i < ROUNDS * COUNT; i++)
        for (int j = 0; j <= i; j++) {
            double in[3] = { 0 }, out = 0;
            for (int s = 0; s < SIZE; s++) {
                in[0] += x[i * SIZE + s] * x[j * SIZE + s] / SIZE;
                in[1] += x[i * SIZE + s] * x[i * SIZE + s] / SIZE;
                in[2] += x[j * SIZE + s] * x[j * SIZE + s] / SIZE;
                out += y[i * SIZE + s] * y[j * SIZE + s] / SIZE;
            }
            cr_expect_float_eq(out, in[0], 6 * sqrt(2 * in[1] * in[2] / SIZE), "(%d, %d): %g, not %g", i, j, out,
                               in[0]);
        }
    tp_simple_free(&w);
    tp_space_free(&space);
}

/* Each product beside its own size, however large others are: rows of norms from 1e-30 to 1e30, and one that depends on
 * two of them. */
Test(simple, small_rows_beside_large_ones)
{
    enum { SIZE = 1024, COUNT = 6, ROUNDS = 2 };
    static const double sizes[COUNT] = { 1, 1e-30, 1e30, 1, 1e-8, 0 };
    static double x[ROUNDS * COUNT * SIZE], y[ROUNDS * COUNT * SIZE];
    ad_error error = { 0 };
    tp_space space;
    tp_simple w;
    cr_assert(!tp_space_new(&space, SIZE, 7, &error));
    ad_normal(5, 1, 0, ROUNDS * COUNT * SIZE, x);
    for (int i = 0; i < ROUNDS * COUNT * SIZE; i++)
        x[i] *= sizes[i / SIZE % COUNT];
    for (int s = 0; s < SIZE; s++)
        x[3 * SIZE + s] = x[s] - 2e30 * x[SIZE + s];
    tp_simple_new(&w, &space, SIZE, 1.0 / SIZE, false);
    for (int r = 0; r < ROUNDS; r++)
        cr_assert(!tp_simple_apply(&w, COUNT, x + r * COUNT * SIZE, y + r * COUNT * SIZE, &error), "%s", error.text);
    cr_expect_eq(w.seen.n, ROUNDS * (COUNT - 1) - 1);
    for (int s = 0; s < SIZE; s++)
        cr_assert_float_eq(y[3 * SIZE + s], y[s] - 2e30 * y[SIZE + s], 1e-6);
    for (int i = 0; i < ROUNDS * COUNT; i++)
        for (int j = 0; j <= i; j++) {
            double in = 0, out = 0, size = sizes[i % COUNT] * sizes[j % COUNT];
            for (int s = 0; s < SIZE; s++) {
                in += x[i * SIZE + s] * x[j * SIZE + s] / SIZE;
                out += y[i * SIZE + s] * y[j * SIZE + s] / SIZE;
            }
            size *= (i == 3 ? sqrt(5) : 1) * (j == 3 ? sqrt(5) : 1); /* as in the test above */
            cr_expect(fabs(out - in) <= 6 * sqrt(2.0 / SIZE) * size, "(%d, %d): %g, not %g", i, j, out, in);
        }
    tp_simple_free(&w);
    tp_space_free(&space);
}

/* One operator of 300 vectors on 64 samples: the general one cannot. */
Test(simple, there_may_be_more_products_than_samples)
{
    enum { SIZE = 64, COUNT = 300 };
    static double x[COUNT * SIZE], y[COUNT * SIZE];
    ad_error error = { 0 };
    tp_space space;
    tp_simple w;
    double sizes[2] = { 0 };
    cr_assert(!tp_space_new(&space, SIZE, 7, &error));
    ad_normal(5, 1, 0, COUNT * SIZE, x);
    tp_simple_new(&w, &space, SIZE, 1.0 / SIZE, true);
    cr_assert(!tp_simple_apply(&w, COUNT, x, y, &error), "%s", error.text);
    cr_expect_eq(w.seen.n, SIZE);
    for (int i = 0; i < COUNT * SIZE; i++) {
        sizes[0] += x[i] * x[i];
        sizes[1] += y[i] * y[i];
    }
    cr_expect_float_eq(sizes[1] / sizes[0], 1, 0.2);
    tp_simple_free(&w);
    tp_space_free(&space);
}

/* Signs are orthogonal to each other and to 1, exactly. */
Test(simple, signs_are_orthogonal)
{
    enum { SIZE = 1024, DRAWS = 100 };
    ad_error error = { 0 };
    tp_space space;
    tp_rows rows = { .length = SIZE };
    cr_assert(!tp_space_new(&space, SIZE, 3, &error) && !tp_draw_plain(&space, DRAWS, true, &rows, &error));
    for (int i = 0; i < DRAWS; i++)
        for (int j = -1; j <= i; j++) {
            double sum = 0;
            for (int s = 0; s < SIZE; s++)
                sum += rows.data[i * SIZE + s] * (j < 0 ? 1 : rows.data[j * SIZE + s]);
            cr_assert_float_eq(sum / SIZE, i == j, 1e-12, "(%d, %d)", i, j);
        }
    ad_free(rows.data);
    tp_space_free(&space);
}

/* Of so few signs all are alike in one draw of 8, once the sequence is used up. */
Test(simple, few_signs_have_mean_zero_and_variance_one)
{
    enum { SIZE = 4, DRAWS = 100 };
    ad_error error = { 0 };
    tp_space space;
    tp_rows rows = { .length = SIZE };
    cr_assert(!tp_space_new(&space, SIZE, 3, &error) && !tp_draw_plain(&space, DRAWS, true, &rows, &error));
    cr_assert_eq(rows.n, DRAWS);
    for (int i = 0; i < DRAWS; i++) {
        double sums[2] = { 0 };
        for (int s = 0; s < SIZE; s++) {
            sums[0] += rows.data[i * SIZE + s];
            sums[1] += rows.data[i * SIZE + s] * rows.data[i * SIZE + s];
        }
        cr_assert_float_eq(sums[0], 0, 1e-12, "%d", i);
        cr_assert_float_eq(sums[1] / SIZE, 1, 1e-12, "%d", i);
    }
    ad_free(rows.data);
    tp_space_free(&space);
}

/* Every entry of GRU's and LSTM's kernels by both rules, 24 runs each: beyond 5.5 standard errors of the difference, by
 * Student's law of at least 23 degrees of freedom, one case of 120 entries in 500. */
Test(simple, cells_agree_with_the_general_rule)
{
    static const char *const cells[] = { "cell=gru", "cell=lstm" };
    double x[ROWS * STEPS * FEATURES], mean[2][ROWS * ROWS], off[2][ROWS * ROWS];
    ad_normal(1, 1, 0, ROWS * STEPS * FEATURES, x);
    for (int c = 0; c < 2; c++) {
        traced t = trace(nn_builtin("rnn"), STEPS, (const char *[]){ cells[c], "sigma_b=0.4", "sigma_w=1.3", NULL });
        cr_expect(tp_simple_holds(t.program, NULL));
        for (int which = TP_NTK; which <= TP_NNGP; which++) {
            for (int simple = 0; simple < 2; simple++)
                means(t.program, (tp_kernel_kind)which, 1024, simple, 24, x, ROWS, mean[simple], off[simple]);
            for (int i = 0; i < ROWS * ROWS; i++)
                cr_expect_lt(fabs(mean[0][i] - mean[1][i]), 5.5 * hypot(off[0][i], off[1][i]), "%s %d: %g and %g",
                             cells[c], i, mean[0][i], mean[1][i]);
        }
        let_go(&t);
    }
}

static ad_var averaged(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "second", ad_relu(nn_dense(net, "first", x, n)), n));
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, nn_outputs(net)), (ad_init){ .mean = 1, .rate = 1 });
    return ad_scale_by(ad_matmul(h, v), 1, n, -1);
}

static ad_var tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width(net, "m");
    nn_weight w = nn_make_weight(net, "w", n, m, 1);
    ad_var h = ad_tanh(nn_apply(w, ad_tanh(nn_dense(net, "first", x, n))));
    return nn_readout(net, "readout", ad_tanh(nn_apply_t(w, h)));
}

/* Gradients that come from an average alone, and a matrix beside its transpose, are not of the simple rules. */
Test(simple, what_is_not_bp_like_goes_by_the_general_rule)
{
    traced t[2] = { trace(averaged, 0, NULL), trace(tied, 0, NULL) };
    for (int k = 0; k < 2; k++) {
        cr_expect(!tp_simple_holds(t[k].program, NULL));
        let_go(&t[k]);
    }
}

/* Tiles of the rows have the law of the whole: 24 runs of each, as above. */
Test(simple, tiles_agree_with_the_whole)
{
    enum { RUNS = 24, N = 7 };
    double x[N * LONG * FEATURES], whole[N * N], off[N * N], tile[N * N], mean[N * N] = { 0 }, squares[N * N] = { 0 };
    ad_error error = { 0 };
    ad_normal(1, 1, 0, N * LONG * FEATURES, x);
    traced t = trace(nn_builtin("rnn"), LONG, (const char *[]){ "cell=gru", NULL });
    means(t.program, TP_NTK, 256, true, RUNS, x, N, whole, off);
    for (int run = 1; run <= RUNS; run++) {
        tp_sampling sampling = { .samples = 256, .seed = 1000 + (uint64_t)run, .simple = true };
        cr_assert(!tp_sample_tiles(t.program, TP_NTK, &sampling, 3, x, N, NULL, 0, tile, &error), "%s", error.text);
        for (int i = 0; i < N * N; i++) {
            cr_assert_eq(tile[i], tile[i % N * N + i / N]);
            double away = tile[i] - mean[i];
            mean[i] += away / run;
            squares[i] += away * (tile[i] - mean[i]);
        }
    }
    for (int i = 0; i < N * N; i++)
        cr_expect_lt(fabs(mean[i] - whole[i]), 5.5 * sqrt(off[i] * off[i] + squares[i] / (RUNS - 1) / RUNS));
    let_go(&t);
}

/* Of two sets of rows a tile is of both: entry by entry what the program has of these rows alone. */
Test(simple, tiles_of_two_sets_are_of_their_rows)
{
    enum { N = 5, M = 4 };
    double x[N * STEPS * FEATURES], x2[M * STEPS * FEATURES], all[N * M], part[2 * 2];
    ad_error error = { 0 };
    ad_normal(1, 1, 0, N * STEPS * FEATURES, x);
    ad_normal(1, 2, 0, M * STEPS * FEATURES, x2);
    traced t = trace(nn_builtin("rnn"), STEPS, (const char *[]){ "cell=lstm", NULL });
    tp_sampling sampling = { .samples = 256, .seed = 1, .simple = true };
    cr_assert(!tp_sample_tiles(t.program, TP_NTK, &sampling, 2, x, N, x2, M, all, &error), "%s", error.text);
    for (size_t i = 0; i + 2 <= N; i += 2)
        for (size_t j = 0; j < M; j += 2) {
            cr_assert(!tp_sample_once(t.program, TP_NTK, &sampling, x + i * STEPS * FEATURES, 2,
                                      x2 + j * STEPS * FEATURES, 2, part, &error));
            for (size_t k = 0; k < 4; k++)
                cr_expect_eq(all[(i + k / 2) * M + j + k % 2], part[k]);
        }
    let_go(&t);
}

/* A program by the general rule is cut until its draws fit, and a number of samples is found that two rows need. */
Test(simple, draws_choose_blocks_and_samples)
{
    enum { N = 12 };
    double x[N * FEATURES];
    ad_error error = { 0 };
    tp_sample_cost cost;
    ad_normal(1, 1, 0, N * FEATURES, x);
    traced t = trace(tied, 0, NULL);
    tp_sampling sampling = { .samples = 32, .seed = 1 };
    cr_assert(!tp_sample_needs(t.program, &sampling, N, &cost, &error), "%s", error.text);
    cr_expect(!cost.simple && 2 * (cost.draws + 1) > 32);
    size_t block = tp_sample_tile(t.program, &sampling, N, &error);
    cr_expect(block >= 1 && block < N);
    cr_assert(!tp_sample_needs(t.program, &sampling, 2 * block, &cost, &error));
    cr_expect_leq(2 * (cost.draws + 1), 32);
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = 32, .runs = 4 };
    cr_assert(!tp_limit(t.program, TP_NNGP, x, N, NULL, 0, &spec, &kernel, &error), "%s", error.text);
    tp_kernel_free(&kernel);
    let_go(&t);
}

/* A tolerance without a number of samples is met by raising it; what the limit takes is told without it. */
Test(simple, a_tolerance_chooses_the_samples)
{
    double x[2 * STEPS * FEATURES];
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_forecast forecast;
    ad_normal(1, 1, 0, 2 * STEPS * FEATURES, x);
    traced t = trace(nn_builtin("rnn"), STEPS, (const char *[]){ "cell=gru", NULL });
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .tolerance = 4e-4 }, usual = { .engine = TP_ENGINE_SAMPLE };
    cr_assert(!tp_limit(t.program, TP_NTK, x, 2, NULL, 0, &spec, &kernel, &error), "%s", error.text);
    cr_expect_leq(kernel.error, 4e-4);
    cr_expect(!strstr(kernel.method, "runs of 4096 samples"), "%s", kernel.method);
    tp_kernel_free(&kernel);
    cr_assert(!tp_limit_forecast(t.program, TP_NTK, x, 2, NULL, 0, &usual, &forecast, &error), "%s", error.text);
    cr_expect(forecast.sampled && forecast.samples == 4096 && forecast.runs == 8 && forecast.seconds > 0 &&
              forecast.bytes > 0);
    let_go(&t);
    t = trace(nn_builtin("mlp"), 0, NULL);
    cr_assert(!tp_limit_forecast(t.program, TP_NTK, x, 2, NULL, 0, NULL, &forecast, &error), "%s", error.text);
    cr_expect(!forecast.sampled);
    let_go(&t);
}
