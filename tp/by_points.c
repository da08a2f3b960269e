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
 * their spread does not tell. Evaluations of functions, which are some seconds. */
static const double usual = 2e-3, largest = 5e-3, most_work = 1.5e9;
enum { RUNS = 8, FIRST_POINTS = 1024, MOST_POINTS = 1 << 16 };

/* One run's, Sobol's, made orthogonal to each other and to 1. */
static int fill_run(tp_group_points *points, int run, uint64_t seed, ad_error *error)
{
    size_t count = points->count, dims = (size_t)points->dims;
    tp_space space;
    tp_rows rows = { .length = count };
    int status = tp_space_new(&space, count, seed, error);
    if (!status)
        status = tp_draw(&space, points->dims, NULL, &rows, error);
    if (!status)
        memcpy(points->z + (size_t)run * dims * count, rows.data, dims * count * sizeof *rows.data);
    tp_space_free(&space);
    ad_free(rows.data);
    return status;
}

static int make_points(tp_group_points *points, size_t count, uint64_t seed, ad_error *error)
{
    *points = (tp_group_points){ .runs = RUNS, .dims = TP_MAX_GROUP, .count = count };
    points->z = ad_alloc((size_t)RUNS * TP_MAX_GROUP * count, sizeof *points->z, "points", error);
    int status = points->z ? 0 : -1;
    for (int run = 0; run < RUNS && !status; run++)
        status = fill_run(points, run, seed + 1 + (uint64_t)run, error);
    return status;
}

/* The kernel by so many points a run. */
static int solve_points(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                        size_t rows2, const tp_limit_spec *spec, size_t count, double *values, double *work,
                        tp_kernel *kernel, ad_error *error)
{
    size_t entries = kernel->rows * kernel->rows2;
    tp_group_points points;
    int status = make_points(&points, count, spec->seed, error);
    if (!status)
        status = tp_limit_grouped(program, which, x, rows, x2, rows2, spec, &points, most_work, work, values,
                                  &kernel->terms[0].power, error);
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

/* Do as many points as a single Gaussian has see what functions are made of, at the rows of the largest norm? */
static bool sees_enough(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                        size_t rows2, const tp_limit_spec *spec)
{
    ad_error refusal = { 0 };
    double hidden;
    for (int side = 0; side < (x2 ? 2 : 1); side++)
        if (tp_enough_samples(program, which, FIRST_POINTS, spec->threads,
                              tp_largest_row(program, side ? x2 : x, side ? rows2 : rows), 1, &hidden, &refusal))
            return false;
    return true;
}

int tp_limit_by_points(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                       size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    size_t columns = x2 ? rows2 : rows, entries = rows * columns, count = FIRST_POINTS;
    double tolerance = spec->tolerance > 0 ? spec->tolerance : usual;
    double work = 0, *values = ad_alloc(RUNS * entries, sizeof *values, "a limit kernel", error);
    *kernel = (tp_kernel){ .rows = rows, .rows2 = columns, .n_terms = 1 };
    kernel->terms[0].values = ad_alloc(entries, sizeof *values, "a limit kernel", error);
    kernel->deviations = ad_alloc(entries, sizeof *values, "a limit kernel", error);
    bool made = values && kernel->terms[0].values && kernel->deviations;
    int status = made ? 0 : -1;
    if (!status && !sees_enough(program, which, x, rows, x2, rows2, spec))
        status = TP_NO_RULE;
    while (!status) {
        status = solve_points(program, which, x, rows, x2, rows2, spec, count, values, &work, kernel, error);
        if (!status && !(kernel->error < largest))
            status = TP_NO_RULE;
        if (status || !(kernel->error > tolerance) || count >= MOST_POINTS || 4 * work > most_work)
            break;
        count *= kernel->error > 2 * tolerance ? 4 : 2;
    }
    ad_snprintf(kernel->method, sizeof kernel->method,
                "exact rules, and expectations of groups of Gaussians by %d runs of %zu points", RUNS, count);
    ad_free(values);
    if (status)
        tp_kernel_free(kernel);
    return status;
}
