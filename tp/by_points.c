/* by_points.c: limits whose recursion has expectations of groups of few correlated Gaussians: their points, how many
 * runs of how many. */
#include "tp/sampled.h"

#include "autodiff/base/base.h"
#include "tp/executor/executor.h"
#include "tp/recursion/recursion.h"

#include <math.h>
#include <string.h>

/* What runs may differ by where no tolerance is given, and at most, by the first points: of functions that are nearly
 * steps the points' error falls as slowly as samples' does, and what it does to later steps all runs have alike, which
 * their spread does not tell. Evaluations of functions, which are some seconds; more for a tolerance that is asked
 * for. */
static const double usual = 2e-3, largest = 1.5e-2, most_first = 2e9, most_more = 6e9;
enum { RUNS = 8, FIRST_POINTS = 2048, MOST_POINTS = 1 << 16 };
_Static_assert((int)RUNS <= (int)TP_MOST_GROUP_RUNS, "more runs than groups have room for");

/* Runs are parts, one behind the other, of one sequence of Sobol's, made orthogonal to each other and to 1: each is a
 * net of its own, and all together are a finer one, whose mean errs by less than the spread of the runs tells. */
static int make_points(tp_group_points *points, int dims, ad_error *error)
{
    size_t count = points->count, all = RUNS * count, d = (size_t)dims;
    tp_space space;
    tp_rows rows = { .length = all };
    points->dims = dims;
    points->z = ad_alloc(d * all, sizeof *points->z, "points", error);
    int status = points->z ? tp_space_new(&space, all, points->seed + 1, error) : -1;
    if (status)
        return status;
    status = tp_draw(&space, dims, NULL, &rows, error);
    for (size_t i = 0; i < RUNS * d && !status; i++)
        memcpy(points->z + i * count, rows.data + i % d * all + i / d * count, count * sizeof *points->z);
    tp_space_free(&space);
    ad_free(rows.data);
    return status;
}

/* What is asked. */
typedef struct {
    const tp_program *program;
    tp_kernel_kind which;
    const double *x, *x2;
    size_t rows, rows2;
    const tp_limit_spec *spec;
} question;

static bool sees_enough_at(const question *q, const double *x, size_t rows)
{
    ad_error refusal = { 0 };
    double hidden;
    return tp_enough_samples(q->program, q->which, FIRST_POINTS, q->spec->threads, tp_largest_row(q->program, x, rows),
                             1, &hidden, &refusal) == 0;
}

/* Do as many points as a single Gaussian has see what functions are made of, at the rows of the largest norm? */
static bool sees_enough(const question *q)
{
    return sees_enough_at(q, q->x, q->rows) && (!q->x2 || sees_enough_at(q, q->x2, q->rows2));
}

/* The first points' cost: TP_NO_RULE where there is none. */
static int find_cost(const question *q, tp_grouped_cost *cost, ad_error *error)
{
    tp_group_points points = { .runs = RUNS, .count = FIRST_POINTS };
    double power;
    int status = tp_limit_grouped(q->program, q->which, q->x, q->rows, q->x2, q->rows2, q->spec, &points, 0, cost, NULL,
                                  &power, error);
    return status == TP_NO_RULE && cost->work > 0 && cost->work < most_first ? 0 : status;
}

/* The kernel by so many points a run, of at most so much work. */
static int solve_points(const question *q, size_t count, double most, double *values, tp_grouped_cost *cost,
                        tp_kernel *kernel, ad_error *error)
{
    size_t entries = kernel->rows * kernel->rows2;
    tp_group_points points = { .runs = RUNS, .count = count, .seed = q->spec->seed, .make = make_points };
    int status = tp_limit_grouped(q->program, q->which, q->x, q->rows, q->x2, q->rows2, q->spec, &points, most, cost,
                                  values, &kernel->terms[0].power, error);
    ad_free(points.z);
    if (status)
        return status;
    memset(kernel->terms[0].values, 0, entries * sizeof *values);
    memset(kernel->deviations, 0, entries * sizeof *values);
    for (int run = 0; run < RUNS; run++)
        ad_add_run(values + (size_t)run * entries, 1, entries, run + 1, kernel->terms[0].values, kernel->deviations);
    double factor = ad_stated_factor(RUNS);
    kernel->error = factor * ad_runs_error(kernel->terms[0].values, kernel->deviations, entries, RUNS);
    ad_standard_errors(kernel->deviations, entries, RUNS);
    for (size_t i = 0; i < entries; i++)
        kernel->deviations[i] *= factor;
    return 0;
}

/* By how much the next points are more: where all is of at most so much work. 1: there are none. */
static size_t next_factor(double error, double tolerance, size_t count, double work, double most)
{
    size_t factor = error > 2 * tolerance ? 4 : 2;
    while (factor > 1 && ((double)factor * work > most || factor * count > MOST_POINTS))
        factor /= 2;
    return error > tolerance ? factor : 1;
}

/* More points until the tolerance is met, or the next ones would be too much work, of which there is `share` of that of
 * all rows; *count: how many at last, *all: the cost of all. */
static int solve(const question *q, double share, tp_kernel *kernel, size_t *count, tp_grouped_cost *all,
                 ad_error *error)
{
    size_t columns = q->x2 ? q->rows2 : q->rows, entries = q->rows * columns, factor = 1;
    double tolerance = q->spec->tolerance > 0 ? q->spec->tolerance : usual, most = share * most_first;
    double *values = ad_alloc(RUNS * entries, sizeof *values, "a limit kernel", error);
    int before = ad_blas_begin(1); /* threads share pairs, and all find the same bits */
    *all = (tp_grouped_cost){ 0 };
    *kernel = (tp_kernel){ .rows = q->rows, .rows2 = columns, .n_terms = 1 };
    kernel->terms[0].values = ad_alloc(entries, sizeof *values, "a limit kernel", error);
    kernel->deviations = ad_alloc(entries, sizeof *values, "a limit kernel", error);
    int status = values && kernel->terms[0].values && kernel->deviations ? 0 : -1;
    *count = FIRST_POINTS;
    do {
        tp_grouped_cost cost;
        *count *= factor;
        status = status ? status : solve_points(q, *count, most, values, &cost, kernel, error);
        if (!status && !(kernel->error < largest))
            status = TP_NO_RULE;
        if (status)
            break;
        all->work += cost.work;
        all->seconds += cost.seconds;
        most = share * (q->spec->tolerance > 0 ? most_more : most_first);
        factor = next_factor(kernel->error, tolerance, *count, cost.work, most);
    } while (factor > 1);
    ad_blas_end(before);
    ad_free(values);
    if (status)
        tp_kernel_free(kernel);
    return status;
}

int tp_limit_by_points(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                       size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    question q = { program, which, x, x2, rows, rows2, spec };
    tp_grouped_cost all;
    size_t count;
    *kernel = (tp_kernel){ 0 };
    int status = sees_enough(&q) ? solve(&q, 1, kernel, &count, &all, error) : TP_NO_RULE;
    if (!status)
        ad_snprintf(kernel->method, sizeof kernel->method,
                    "exact rules, and expectations of groups of Gaussians by %d runs of %zu points", RUNS, count);
    return status;
}

int tp_forecast_points(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                       size_t rows2, const tp_limit_spec *spec, tp_forecast *forecast, ad_error *error)
{
    question q = { program, which, x, x2, rows, rows2, spec }, few = q;
    tp_grouped_cost whole, part, all;
    tp_kernel kernel;
    size_t count;
    few.rows = rows < 2 ? rows : 2;
    few.rows2 = rows2 < 2 ? rows2 : 2;
    double start = ad_seconds();
    int status = sees_enough(&q) ? find_cost(&q, &whole, error) : TP_NO_RULE;
    if (!status)
        status = find_cost(&few, &part, error);
    if (!status)
        status = solve(&few, part.work / whole.work, &kernel, &count, &all, error);
    if (status)
        return status;
    tp_kernel_free(&kernel);
    double grows = whole.work / part.work - 1;
    *forecast = (tp_forecast){ .sampled = true, .points = count, .runs = RUNS };
    forecast->seconds = ad_seconds() - start + grows * all.seconds;
    forecast->bytes = RUNS * sizeof(double) * (double)rows * (double)(x2 ? rows2 : rows);
    return 0;
}
