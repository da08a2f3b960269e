/* sampled.c: limits by the executor's samples: how many, how many runs, what they may be taken for. */
#include "tp/sampled.h"

#include "autodiff/base/base.h"
#include "tp/executor/executor.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum { SAMPLES = 4096, RUNS = 8, MAX_RUNS = TP_MOST_RUNS, MAX_SAMPLES = 1 << 18 };

/* The error of so many runs at which one is off by as much as the kernel is. */
static double error_of_random(int runs)
{
    return 0.7 / sqrt((double)runs);
}

/* -1 with an error where one run is off by as much as the kernel is: a limit's runs come closer with the samples, those
 * of a number that stays random do not. */
static int check_spread(const tp_kernel *kernel, int runs, ad_error *error)
{
    double spread = kernel->error * sqrt((double)runs);
    if (!(kernel->error > error_of_random(runs)))
        return 0;
    return ad_fail(error,
                   "the sampled kernel's runs differ by %.2g of what it is: it stays random at every width, or needs "
                   "more samples",
                   spread);
}

/* ---- samples and runs ---- */
typedef struct {
    const tp_program *program;
    tp_kernel_kind which;
    const double *x, *x2;
    size_t rows, rows2; /* rows2: of x2, or of x */
    const tp_limit_spec *spec;
    bool simple;
    double floor; /* what vanishes beside the kernel's term of n^floor is left out */
    size_t samples, block;
    tp_work work;           /* of its runs */
    double first[MAX_RUNS]; /* of each run, an input with itself */
    double hidden;          /* what no run may have seen, relative to an input with itself */
} question;

static tp_sampling sampling_of(const question *q, size_t samples, uint64_t seed)
{
    return (tp_sampling){ .samples = samples,
                          .seed = seed,
                          .threads = q->spec->threads,
                          .output = q->spec->output,
                          .output2 = q->spec->output2,
                          .simple = q->simple,
                          .floor = q->floor };
}

static question question_of(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows,
                            const double *x2, size_t rows2, const tp_limit_spec *spec, bool simple)
{
    return (question){ .program = program,
                       .which = which,
                       .x = x,
                       .x2 = x2,
                       .rows = rows,
                       .rows2 = x2 ? rows2 : rows,
                       .spec = spec,
                       .simple = simple };
}

/* The row of the largest norm; where samples meet, all rows as they are. */
static int check_samples(question *q, const double *x, size_t rows, ad_error *error)
{
    bool meets = q->program->meets;
    double hidden;
    int status = tp_enough_samples(q->program, q->which, q->samples, q->spec->threads,
                                   meets ? x : tp_largest_row(q->program, x, rows), meets ? rows : 1, &hidden, error);
    q->hidden = fmax(q->hidden, hidden);
    return status;
}

/* As many samples as two rows' draws need, and how many rows go together. */
static int choose_samples(question *q, ad_error *error)
{
    size_t given = q->spec->samples, pair = q->program->meets ? q->rows + q->rows2 : 2;
    tp_sample_cost cost;
    q->samples = given ? given : SAMPLES;
    if (q->samples < 16)
        return ad_fail(error, "%zu samples are too few", q->samples);
    for (;; q->samples *= 2) {
        tp_sampling sampling = sampling_of(q, q->samples, 0);
        if (tp_sample_needs(q->program, &sampling, pair, &cost, error))
            return -1;
        if (given || cost.simple || 2 * (cost.draws + 1) <= (double)q->samples || q->samples >= MAX_SAMPLES)
            break;
    }
    tp_sampling sampling = sampling_of(q, q->samples, 0);
    q->block = tp_sample_tile(q->program, &sampling, q->rows + (q->x2 ? q->rows2 : 0), error);
    return q->block ? 0 : -1;
}

/* From the relative standard error of so many runs to the error that is stated, three of which hold. */
static double stated_factor(const question *q, int runs)
{
    return ad_stated_factor(runs) * ad_stopping_factor(q->spec->tolerance > 0);
}

/* Do runs, at least two, miss the tolerance? */
static bool misses(const question *q, double error, int runs)
{
    return error * stated_factor(q, runs) > q->spec->tolerance;
}

/* Runs until there are `minimum`, and as many as the tolerance asks for, up to `maximum`: means, squares and the error
 * of the kernel. */
static int add_runs(question *q, int minimum, int maximum, double *one, tp_kernel *kernel, int *done, ad_error *error)
{
    size_t count = q->rows * q->rows2;
    int runs = 0;
    memset(kernel->terms[0].values, 0, count * sizeof *one);
    memset(kernel->deviations, 0, count * sizeof *one);
    kernel->error = 0;
    while (runs < minimum || (runs < maximum && misses(q, kernel->error, runs))) {
        tp_sampling sampling = sampling_of(q, q->samples, q->spec->seed + 1 + (uint64_t)runs);
        sampling.work = &q->work;
        if (tp_sample_tiles(q->program, q->which, &sampling, q->block, q->x, q->rows, q->x2, q->rows2, one, error))
            return -1;
        if (runs < MAX_RUNS)
            q->first[runs] = one[0];
        ad_add_run(one, 1, count, ++runs, kernel->terms[0].values, kernel->deviations);
        kernel->error = ad_runs_error(kernel->terms[0].values, kernel->deviations, count, runs);
        if (q->spec->progress)
            q->spec->progress(runs < minimum ? (double)runs / minimum : 1, q->spec->context);
    }
    *done = runs;
    return 0;
}

/* An error that falls like samples^(-2/3) asks for so many. */
static bool raise_samples(question *q, double off)
{
    size_t before = q->samples;
    if (q->spec->samples || !(q->spec->tolerance > 0) || !(off > q->spec->tolerance))
        return false;
    for (double wanted = pow(off / q->spec->tolerance, 1.5); wanted > 1 && q->samples < MAX_SAMPLES; wanted /= 2)
        q->samples *= 2;
    return q->samples > before;
}

/* By a few runs how many samples the tolerance asks for, if it does and they are not given, then by these. */
static int find_mean(question *q, double *one, tp_kernel *kernel, int *runs, ad_error *error)
{
    int minimum = q->spec->runs > 1 ? q->spec->runs : RUNS;
    int maximum = q->spec->tolerance > 0 && minimum < MAX_RUNS ? MAX_RUNS : minimum;
    bool chooses = !q->spec->samples && q->spec->tolerance > 0;
    if (add_runs(q, minimum, chooses ? minimum : maximum, one, kernel, runs, error))
        return -1;
    if (!chooses || !misses(q, kernel->error, *runs))
        return 0;
    if (raise_samples(q, kernel->error * stated_factor(q, *runs))) {
        tp_sampling sampling = sampling_of(q, q->samples, 0);
        q->block = tp_sample_tile(q->program, &sampling, q->rows + (q->x2 ? q->rows2 : 0), error);
        if (!q->block)
            return -1;
    }
    return add_runs(q, minimum, maximum, one, kernel, runs, error);
}

/* -1 with an error where the kernel stays random for single networks, with the op that may be the reason; or where it
 * takes more work to tell than its runs have taken, and than there is always. */
static int check_convergence(const question *q, ad_error *error)
{
    ad_error found = { 0 };
    char reason[300] = "";
    tp_work work = { .most = fmax(q->work.done, (double)(1ull << 35)) };
    tp_sampling sampling = sampling_of(q, q->samples / 4, q->spec->seed);
    sampling.work = &work;
    if (!tp_check_convergence(q->program, q->which, &sampling, q->x, q->rows, &found))
        return 0;
    int suspect = tp_find_suspect(q->program);
    if (suspect >= 0) {
        const ad_node *node = ad_node_of(q->program->graph, suspect);
        snprintf(reason, sizeof reason,
                 "; %.160s:%d: %s: averages over the width reach it, and what they fluctuate by may decide",
                 node->where.file, node->where.line, tp_node_name(node));
    }
    return ad_fail(error,
                   "%.300s%s: ask for the network that returns what stands before, or, with --width N, for one "
                   "draw's",
                   found.text, reason);
}

/* K(x, x) of one side of the kernel, in the mean over its first rows, by one run. */
static int find_side(const question *q, bool second, double *size, ad_error *error)
{
    enum { ROWS = 6 };
    const double *x = second && q->x2 ? q->x2 : q->x;
    size_t rows = second ? q->rows2 : q->rows;
    if (!q->program->meets && rows > ROWS)
        rows = ROWS;
    tp_sampling sampling = sampling_of(q, q->samples, q->spec->seed + 1);
    sampling.output = sampling.output2 = second ? q->spec->output2 : q->spec->output;
    double *own = ad_alloc(rows * rows, sizeof *own, "a kernel", error);
    int status = own ? 0 : -1;
    if (!status)
        status = tp_sample_tiles(q->program, q->which, &sampling, q->block, x, rows, NULL, 0, own, error);
    *size = 0;
    for (size_t i = 0; i < rows && !status; i++)
        *size += own[i * (rows + 1)] / (double)rows;
    ad_free(own);
    return status;
}

/* Between two outputs, or two sets of inputs, a kernel may be 0: there its error is beside sqrt(K(x, x) K(x2, x2)). */
static int relate_error(const question *q, int runs, tp_kernel *kernel, ad_error *error)
{
    double sides[2], squares = 0;
    size_t count = q->rows * q->rows2;
    if (!(kernel->error > error_of_random(runs)) || (!q->x2 && q->spec->output == q->spec->output2))
        return 0;
    if (find_side(q, false, &sides[0], error) || find_side(q, true, &sides[1], error))
        return -1;
    for (size_t i = 0; i < count; i++)
        squares += kernel->deviations[i] / ((double)runs * (runs - 1) * (double)count);
    double size = sqrt(sides[0]) * sqrt(sides[1]);
    if (size > 0)
        kernel->error = sqrt(squares) / size;
    return 0;
}

static int find_power(const question *q, int runs, double *power, ad_error *error)
{
    bool own = !q->x2 && q->spec->output == q->spec->output2;
    tp_sampling sampling = sampling_of(q, q->samples, q->spec->seed);
    sampling.output2 = q->spec->output; /* between outputs there may be nothing */
    return tp_find_power(q->program, q->which, &sampling, q->x, q->rows, q->first, own ? runs : 0, power, error);
}

static int open_kernel(const question *q, tp_kernel *kernel, ad_error *error)
{
    size_t count = q->rows * q->rows2;
    *kernel = (tp_kernel){ .rows = q->rows, .rows2 = q->rows2, .n_terms = 1 };
    kernel->terms[0].values = ad_alloc(count, sizeof(double), "a limit kernel", error);
    kernel->deviations = ad_alloc(count, sizeof(double), "a limit kernel", error);
    return kernel->terms[0].values && kernel->deviations ? 0 : -1;
}

/* From sums of squares to standard errors, at n = 1, and to the error that is stated. */
static void scale_kernel(const question *q, tp_kernel *kernel, int runs)
{
    /* runs that agree to the last digit still have the rounding of their sums in common, and what none has seen */
    double scale = pow((double)q->samples, -kernel->terms[0].power);
    double common = sqrt((double)q->samples) * DBL_EPSILON + q->hidden;
    size_t count = kernel->rows * kernel->rows2;
    double *mean = kernel->terms[0].values, *squares = kernel->deviations;
    ad_standard_errors(squares, count, runs);
    for (size_t i = 0; i < count; i++) {
        mean[i] *= scale;
        squares[i] = fmax(squares[i] * scale * ad_stopping_factor(q->spec->tolerance > 0), common * fabs(mean[i]));
    }
    kernel->error = fmax(kernel->error * stated_factor(q, runs), common);
}

/* ---- powers of n ---- */
/* *floor: the power that the kernel does not exceed, if that is less; *largest: the largest one of a part that is left
 * out, -INFINITY where none is; into *same, unless NULL, whether that is what is left out below `other`. */
static int find_left_out(const question *q, double *floor, double other, bool *same, double *largest, ad_error *error)
{
    size_t n = (size_t)q->program->n_nodes;
    double of_other;
    bool *left_out = ad_alloc(2 * n + 1, sizeof *left_out, "the powers of a program", error);
    int status = left_out ? tp_find_vanishing(q->program, q->which, floor, left_out, largest, error) : -1;
    if (!status && same) {
        status = tp_find_vanishing(q->program, q->which, &other, left_out + n, &of_other, error);
        *same = memcmp(left_out, left_out + n, n * sizeof *left_out) == 0;
    }
    ad_free(left_out);
    return status;
}

static bool is_zero(const tp_kernel *kernel)
{
    bool zero = true;
    for (size_t i = 0; i < kernel->rows * kernel->rows2; i++)
        zero = zero && !(fabs(kernel->terms[0].values[i]) > 0);
    return zero;
}

/* -1 with an error where the kernel is no larger than what was left out of it. */
static int check_left_out(const question *q, const tp_kernel *kernel, ad_error *error)
{
    double floor = q->floor, largest;
    if (find_left_out(q, &floor, 0, NULL, &largest, error))
        return -1;
    if (!(largest > -INFINITY) || (!is_zero(kernel) && kernel->terms[0].power > largest + 1e-9))
        return 0;
    return ad_fail(
        error,
        "parts of the kernel that go like n^%g in the trace vanish beside others, and nothing larger is left "
        "of these: samples stand in for n, and do not tell powers apart: leave out what cancels, or --engine "
        "exact",
        largest);
}

/* -1 with an error where leading powers of n cancel in polynomials of what vanishes: of what is left no bound tells the
 * terms that vanish, and they are in the samples. */
static int check_cancelled(const question *q, const tp_kernel *kernel, ad_error *error)
{
    double bound = INFINITY, largest;
    if (!q->program->expands || is_zero(kernel))
        return 0;
    if (find_left_out(q, &bound, 0, NULL, &largest, error))
        return -1;
    if (!isfinite(bound) || kernel->terms[0].power > bound - 1e-9)
        return 0;
    return ad_fail(
        error,
        "leading powers of n cancel, from n^%g down to n^%g, and samples, which stand in for n, have in them "
        "what vanishes beside the latter: --engine exact",
        bound, kernel->terms[0].power);
}

/* By runs at this floor. */
static int solve(question *q, double *one, tp_kernel *kernel, int *runs, ad_error *error)
{
    *runs = 0;
    int status = find_mean(q, one, kernel, runs, error);
    if (!status)
        status = check_convergence(q, error);
    if (!status)
        status = relate_error(q, *runs, kernel, error);
    if (!status)
        status = check_spread(kernel, *runs, error);
    return status ? status : find_power(q, *runs < MAX_RUNS ? *runs : MAX_RUNS, &kernel->terms[0].power, error);
}

/* A kernel that may grow is found without what vanishes beside its largest power: 1 where it has not that power. */
static int solve_growing(question *q, double *one, tp_kernel *kernel, int *runs, ad_error *error)
{
    ad_error random = { 0 };
    double floor = INFINITY, largest;
    bool same;
    if (find_left_out(q, &floor, 0, &same, &largest, error))
        return -1;
    if (same || !(floor > 1e-9) || !isfinite(floor))
        return 1;
    q->floor = floor;
    if (!solve(q, one, kernel, runs, &random) && !is_zero(kernel) && fabs(kernel->terms[0].power - floor) < 1e-9)
        return 0;
    q->floor = 0;
    return 1;
}

/* Where it grows nevertheless, once more without what vanishes beside what was found. */
static int solve_again(question *q, double *one, tp_kernel *kernel, int *runs, ad_error *error)
{
    double power = kernel->terms[0].power, floor = power, largest;
    bool same = true;
    int status = power > 1e-9 ? find_left_out(q, &floor, 0, &same, &largest, error) : 0;
    if (status || same)
        return status;
    q->floor = power;
    if (solve(q, one, kernel, runs, error))
        return -1;
    if (fabs(kernel->terms[0].power - power) > 1e-9)
        return ad_fail(error,
                       "the sampled kernel goes like n^%g, and n^%g without what vanishes beside that: samples do not "
                       "tell its powers of n apart: --engine exact",
                       power, kernel->terms[0].power);
    return 0;
}

int tp_limit_sampled(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                     size_t rows2, const tp_limit_spec *spec, bool simple, tp_kernel *kernel, ad_error *error)
{
    question q = question_of(program, which, x, rows, x2, rows2, spec, simple);
    const nn_spec *traced = nn_spec_of(program->net);
    int runs = 0;
    if (traced->parametrization == NN_STANDARD || traced->abc[0])
        return ad_fail(error, "in the standard scale and with exponents of one's own several powers of n are summed, "
                              "which samples cannot tell apart: --scale ntk, or --engine exact");
    if (choose_samples(&q, error) || check_samples(&q, x, rows, error) || (x2 && check_samples(&q, x2, rows2, error)))
        return -1;
    double *one = ad_alloc(q.rows * q.rows2, sizeof *one, "a limit kernel", error);
    int status = one ? open_kernel(&q, kernel, error) : -1;
    if (!status)
        status = solve_growing(&q, one, kernel, &runs, error);
    if (status > 0)
        status = solve(&q, one, kernel, &runs, error) || solve_again(&q, one, kernel, &runs, error) ? -1 : 0;
    if (!status)
        status = check_left_out(&q, kernel, error) || check_cancelled(&q, kernel, error) ? -1 : 0;
    if (!status)
        scale_kernel(&q, kernel, runs);
    snprintf(kernel->method, sizeof kernel->method, "sampled at n = infinity: %d runs of %zu samples", runs, q.samples);
    ad_free(one);
    if (status)
        tp_kernel_free(kernel);
    return status;
}

/* ---- what it takes ---- */
typedef struct {
    double product, element, plan; /* seconds of one multiply-add, of one number, and of what each run starts with */
} rates;

static double seconds_of(const rates *r, const tp_sample_cost *cost)
{
    return r->plan + r->product * cost->products + r->element * cost->elements;
}

/* Seconds of a multiply-add in a matrix product of a tile's sizes. */
static int time_product(const question *q, double *seconds, ad_error *error)
{
    enum { INNER = 256, LENGTH = 2048, MOST = 64 };
    const size_t length = LENGTH;
    int count = q->block < MOST ? (int)q->block : MOST;
    double *a = ad_alloc((MOST + INNER) * length, sizeof *a, "a product", error);
    double *c = a ? ad_alloc((size_t)MOST * INNER, sizeof *c, "a product", error) : NULL;
    for (int warm = 0; warm < 2 && c; warm++) {
        double start = ad_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, INNER, LENGTH, 1, a, LENGTH, a + MOST * length,
                    LENGTH, 0, c, INNER);
        *seconds = (ad_seconds() - start) / (double)count / INNER / LENGTH;
    }
    bool made = c != NULL;
    ad_free(a);
    ad_free(c);
    return made ? 0 : -1;
}

static int time_run(const question *q, size_t samples, size_t rows, double *seconds, tp_sample_cost *cost,
                    ad_error *error)
{
    tp_sampling sampling = sampling_of(q, samples, q->spec->seed);
    double *k = ad_alloc(rows * rows, sizeof *k, "a kernel", error), start = ad_seconds();
    int status = k ? tp_sample_needs(q->program, &sampling, rows, cost, error) : -1;
    if (!status)
        status = tp_sample_once(q->program, q->which, &sampling, q->x, rows, NULL, 0, k, error);
    *seconds = ad_seconds() - start;
    ad_free(k);
    return status;
}

/* From a product, and two runs on a few rows, the second on more samples. */
static int find_rates(const question *q, rates *r, ad_error *error)
{
    enum { FEW = 8, FEWER_SAMPLES = 64, SOME_SAMPLES = 1024 };
    size_t rows = q->rows < FEW ? q->rows : FEW, samples = q->samples < SOME_SAMPLES ? q->samples : SOME_SAMPLES;
    tp_sampling sampling = sampling_of(q, samples, 0);
    tp_sample_cost cost, small;
    double seconds = 0, least = 0;
    int threads = ad_blas_begin(q->spec->threads > 0 ? q->spec->threads : 1);
    int status = time_product(q, &r->product, error);
    ad_blas_end(threads);
    if (!status)
        status = tp_sample_needs(q->program, &sampling, rows, &cost, error);
    bool enough = !status && (cost.simple || 2 * (cost.draws + 1) <= (double)samples);
    if (!enough) {
        samples = q->samples;
        rows = 1;
    }
    if (!status && enough)
        status =
            time_run(q, FEWER_SAMPLES < samples && cost.simple ? FEWER_SAMPLES : samples, rows, &least, &small, error);
    if (!status)
        status = time_run(q, samples, rows, &seconds, &cost, error);
    bool two = enough && small.elements < cost.elements;
    double elements = cost.elements - (two ? small.elements : 0);
    double rest = seconds - (two ? least : 0) - r->product * (cost.products - (two ? small.products : 0));
    r->element = fmax(rest, 0) / fmax(elements, 1);
    r->plan = two ? fmax(0, least - r->element * small.elements) : 0;
    return status;
}

/* One run, in tiles; *bytes: of the largest. */
static int run_seconds(const question *q, const rates *r, double *seconds, double *bytes, ad_error *error)
{
    bool same = !q->x2 && q->spec->output == q->spec->output2;
    size_t block = q->block, blocks = (q->rows + block - 1) / block, blocks2 = (q->rows2 + block - 1) / block;
    bool whole = block >= q->rows + (q->x2 ? q->rows2 : 0) || (same && block >= q->rows);
    tp_sampling sampling = sampling_of(q, q->samples, 0);
    tp_sample_cost own, pair;
    if (tp_sample_needs(q->program, &sampling, whole ? q->rows + (q->x2 ? q->rows2 : 0) : block, &own, error) ||
        tp_sample_needs(q->program, &sampling, 2 * block, &pair, error))
        return -1;
    double pairs = same ? (double)blocks * (double)(blocks - 1) / 2 : (double)blocks * (double)blocks2;
    *seconds =
        whole ? seconds_of(r, &own) : pairs * seconds_of(r, &pair) + (same ? (double)blocks : 0) * seconds_of(r, &own);
    *bytes = whole ? own.bytes : pair.bytes;
    return 0;
}

/* The networks of check_convergence, and the runs of find_power. */
static int other_seconds(const question *q, const rates *r, double *seconds, ad_error *error)
{
    const struct {
        size_t samples, rows;
    } at[] = { { q->samples / 4, 6 }, { q->samples / 64, 6 }, { q->samples / 4, 1 } };
    for (int k = 0; k < 3; k++) {
        tp_sampling sampling = sampling_of(q, at[k].samples < 16 ? 16 : at[k].samples, 0);
        tp_sample_cost cost;
        if (tp_sample_needs(q->program, &sampling, q->rows < at[k].rows ? q->rows : at[k].rows, &cost, error))
            return -1;
        *seconds += RUNS * seconds_of(r, &cost);
    }
    return 0;
}

int tp_forecast_sampled(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                        size_t rows2, const tp_limit_spec *spec, bool simple, tp_forecast *forecast, ad_error *error)
{
    question q = question_of(program, which, x, rows, x2, rows2, spec, simple);
    rates r = { 0 };
    double one = 0, others = 0;
    if (choose_samples(&q, error) || find_rates(&q, &r, error) || run_seconds(&q, &r, &one, &forecast->bytes, error) ||
        other_seconds(&q, &r, &others, error))
        return -1;
    forecast->sampled = true;
    forecast->samples = q.samples;
    forecast->runs = spec->runs > 1 ? spec->runs : RUNS;
    forecast->rows = q.block;
    forecast->seconds = forecast->runs * one + others;
    return 0;
}
