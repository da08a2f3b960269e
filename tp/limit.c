/* limit.c: the door: which way a limit is found, exactly or by the executor, by the simple rules or the general one. */
#include "autodiff/base/base.h"
#include "tp/batch/batch.h"
#include "tp/positions/positions.h"
#include "tp/recursion/recursion.h"
#include "tp/sampled.h"
#include "tp/second_opinion.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- numbers ---- */
/* -1 with an error, and without a kernel, where not a digit of an exact one is sure. */
static int check_sure(tp_kernel *kernel, ad_error *error)
{
    if (kernel->deviations || kernel->error < 1)
        return 0;
    ad_fail(
        error,
        "limit: the kernel's error may be %.2g of what it is, so that no digit of it is sure: a function is all but "
        "a jump at these variances, or terms cancel: smaller inputs or weights, or --engine sample",
        kernel->error);
    tp_kernel_free(kernel);
    return -1;
}

/* The same, and where an entry is no number. */
static int check_kernel(tp_kernel *kernel, ad_error *error)
{
    for (int k = 0; k < kernel->n_terms; k++)
        for (size_t i = 0; i < kernel->rows * kernel->rows2; i++) {
            double value = kernel->terms[k].values[i];
            if (isfinite(value))
                continue;
            ad_fail(error,
                    "limit: entry (%zu, %zu) at n^%g is %g: it leaves the range of a double, or a covariance lost its "
                    "digits on the way: other inputs or smaller weights, or the other engine (--engine)",
                    i / kernel->rows2, i % kernel->rows2, kernel->terms[k].power, value);
            tp_kernel_free(kernel);
            return -1;
        }
    return check_sure(kernel, error);
}

/* The row whose entry with itself, or of two sets whose largest, is not 0 and has not all digits of a float; -1. */
static long row_too_small(const tp_kernel *kernel, bool same)
{
    for (size_t i = 0; i < kernel->rows; i++) {
        const double *row = kernel->terms[0].values + i * kernel->rows2;
        double size = same ? fabs(row[i]) : 0;
        for (size_t k = 0; k < kernel->rows2 && !same; k++)
            size = fmax(size, fabs(row[k]));
        if (size > 0 && size < (double)FLT_MIN)
            return (long)i;
    }
    return -1;
}

/* A kernel's values to where floats are asked for. */
static int narrow(const tp_limit_spec *spec, tp_kernel *kernel, bool same, ad_error *error)
{
    size_t stride = spec->stride ? spec->stride : kernel->rows2;
    bool one = kernel->n_terms == 1 && !(fabs(kernel->terms[0].power) > 0), finite = true;
    for (size_t i = 0; i < kernel->rows && one; i++)
        for (size_t k = 0; k < kernel->rows2; k++) {
            spec->floats[i * stride + k] = (float)kernel->terms[0].values[i * kernel->rows2 + k];
            finite = finite && isfinite(spec->floats[i * stride + k]);
        }
    long small = one ? row_too_small(kernel, same) : -1;
    ad_free(kernel->terms[0].values);
    kernel->terms[0].values = NULL;
    kernel->error += FLT_EPSILON / 2;
    if (one && finite && small < 0)
        return 0;
    if (small >= 0)
        ad_fail(error,
                "limit: the kernel of input %ld is too small for a float (1.2e-38): larger inputs or weights keep it, "
                "or doubles",
                small);
    else
        ad_fail(error,
                one ? "limit: the kernel leaves the range of a float (3.4e38): smaller inputs or weights, or doubles"
                    : "limit: the kernel is a sum of powers of n, or grows with n: floats are for one term, n^0");
    tp_kernel_free(kernel);
    return -1;
}

/* ---- what is said of it ---- */
static void add_text(char *text, size_t size, const char *more)
{
    size_t length = strlen(text);
    snprintf(text + length, size - length, "%s", more);
}

/* How far the simple rule would have been off, where it gives anything. */
static void compare_rules(tp_kernel *kernel, const tp_kernel *simple, const char *why)
{
    char text[400];
    double off = 0, size = 0;
    double scale = simple->n_terms == 1 && fabs(simple->terms[0].power - kernel->terms[0].power) < 1e-9 ? 1 : 0;
    for (size_t i = 0; i < kernel->rows * kernel->rows2; i++) {
        double value = kernel->terms[0].values[i];
        off += pow(value - (scale > 0 ? simple->terms[0].values[i] : 0), 2);
        size += value * value;
    }
    kernel->simple_rule_error = size > 0 ? sqrt(off / size) : 0;
    ad_snprintf(text, sizeof text,
                "; general rule, for the program is not BP-like: %s; the simple rule would be off by %.2g %%", why,
                100 * kernel->simple_rule_error);
    add_text(kernel->method, sizeof kernel->method, text);
}

/* A kernel that is zero has one term, too. */
static int keep_a_term(tp_kernel *kernel, ad_error *error)
{
    if (kernel->n_terms)
        return 0;
    if (!(kernel->terms[0].values = ad_alloc(kernel->rows * kernel->rows2, sizeof(double), "a limit kernel", error)))
        return -1;
    kernel->terms[0].power = 0;
    kernel->n_terms = 1;
    return 0;
}

/* ---- digits ---- */
/* A bound up to which a kernel is taken at its word, and one above which it says nothing; one that moves by more than
 * `moved` of its size, while inputs move by 2^-46, is made of their roundings. */
static const double shown = 0.1, moved = 0.05, lost = 0.5;

/* Equal inputs stay equal: each number goes by what it is itself, and by its column. */
static double *disturbed(const double *x, size_t rows, size_t features, ad_error *error)
{
    double *out = ad_alloc(rows * features, sizeof *out, "inputs", error);
    for (size_t i = 0; out && i < rows * features; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits = (bits ^ (i % features + 1) * 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
        out[i] = x[i] * (1 + ldexp((double)(int64_t)(bits ^ bits >> 31), -63 - 46));
    }
    return out;
}

/* The largest distance of entries, each relative to the largest entry of its row or column. */
static double distance(const tp_kernel *a, const tp_kernel *b, double *row_size, double *column_size)
{
    double most = 0;
    for (int k = 0; k < a->n_terms && k < b->n_terms; k++) {
        const double *v = a->terms[k].values, *w = b->terms[k].values;
        memset(row_size, 0, a->rows * sizeof *row_size);
        memset(column_size, 0, a->rows2 * sizeof *column_size);
        for (size_t i = 0; i < a->rows * a->rows2; i++) {
            double *size[2] = { &row_size[i / a->rows2], &column_size[i % a->rows2] };
            *size[0] = fmax(*size[0], fabs(v[i]));
            *size[1] = fmax(*size[1], fabs(v[i]));
        }
        for (size_t i = 0; i < a->rows * a->rows2; i++) {
            double size = fmax(row_size[i / a->rows2], column_size[i % a->rows2]), off = fabs(v[i] - w[i]);
            most = off > most * size ? size > 0 ? off / size : INFINITY : most;
        }
    }
    return most;
}

/* -1 with an error where nothing is left of a kernel but roundings, found by solving once more. Inputs that cannot be
 * moved, as numbers of rows of a table cannot, are taken as they are. */
static int check_digits(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                        size_t rows2, const tp_limit_spec *spec, tp_rules rules, const tp_kernel *kernel,
                        ad_error *error)
{
    size_t features = nn_features(program->net);
    double *y = disturbed(x, rows, features, error), *y2 = y && x2 ? disturbed(x2, rows2, features, error) : NULL;
    double *sizes = y && (y2 || !x2) ? ad_alloc(kernel->rows + kernel->rows2, sizeof *sizes, "rows", error) : NULL;
    tp_kernel other = { 0 };
    ad_error unmoved = { 0 };
    int status = sizes ? 0 : -1;
    bool there = sizes && !tp_limit_exact(program, which, y, rows, y2, rows2, spec, rules, &other, NULL, &unmoved);
    if (sizes && (kernel->error > lost || (there && distance(kernel, &other, sizes, sizes + kernel->rows) > moved)))
        status = ad_fail(
            error,
            "the limit kernel has no digits left, only roundings of the inputs' products: inputs are too near each "
            "other, or terms of the network's output cancel. Leave out inputs that nearly repeat others, or "
            "read out less of a difference");
    tp_kernel_free(&other);
    ad_free(y);
    ad_free(y2);
    ad_free(sizes);
    return status;
}

/* tp_limit_exact, of kernels that have digits. */
static int solve_shown(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                       size_t rows2, const tp_limit_spec *spec, tp_rules rules, tp_kernel *kernel, ad_error *error)
{
    bool fragile;
    int status = tp_limit_exact(program, which, x, rows, x2, rows2, spec, rules, kernel, &fragile, error);
    if (status || !fragile || kernel->error <= shown)
        return status;
    if (!kernel->terms[0].values)
        return ad_fail(error,
                       "the limit kernel's error may be %.2g of what it is: a function jumps, or terms cancel. In "
                       "doubles it is found whether digits are left",
                       kernel->error);
    return check_digits(program, which, x, rows, x2, rows2, spec, rules, kernel, error);
}

/* By the general rules: in doubles, which the simple ones' are compared with. */
static int solve_general(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows,
                         const double *x2, size_t rows2, const tp_limit_spec *given, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec spec = *given;
    spec.floats = NULL;
    return solve_shown(program, which, x, rows, x2, rows2, &spec, TP_RULES_GENERAL, kernel, error);
}

/* Of a program whose samples do not meet, by arrays over positions where there are such, else by the recursion;
 * `simple` and `why` as below. */
static int solve_samples(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows,
                         const double *x2, size_t rows2, const tp_limit_spec *spec, bool *simple, char *why,
                         size_t why_size, tp_kernel *kernel, ad_error *refusal)
{
    int status = *simple && tp_has_windows(program) && !program->expands
                     ? tp_limit_positions(program, which, x, rows, x2, rows2, spec, kernel, refusal)
                     : 1;
    if (status <= 0)
        return status ? status : keep_a_term(kernel, refusal);
    tp_rules rules = spec->rule == TP_RULE_BP ? TP_RULES_BP_UNCHECKED : TP_RULES_BP;
    status = *simple ? solve_shown(program, which, x, rows, x2, rows2, spec, rules, kernel, refusal)
                     : solve_general(program, which, x, rows, x2, rows2, spec, kernel, refusal);
    if (status == TP_NOT_BP) {
        snprintf(why, why_size, "%s", refusal->text);
        *simple = false;
        *refusal = (ad_error){ 0 };
        status = solve_general(program, which, x, rows, x2, rows2, spec, kernel, refusal);
    }
    return status ? status : keep_a_term(kernel, refusal);
}

/* TP_CUT where a kernel of samples that meet has not a power above all that polynomials leave out. */
static int check_expansion(const tp_program *program, tp_kernel_kind which, const tp_kernel *kernel, ad_error *error)
{
    double floor = -INFINITY, largest;
    bool *left_out =
        program->expands ? ad_alloc((size_t)program->n_nodes + 1, sizeof *left_out, "powers", error) : NULL;
    if (!program->expands)
        return 0;
    int status = left_out ? tp_find_vanishing(program, which, &floor, left_out, &largest, error) : -1;
    ad_free(left_out);
    for (int k = 0; k < kernel->n_terms && !status; k++)
        if (!(kernel->terms[k].power > largest + 1e-9)) {
            ad_fail(
                error,
                "functions of what vanishes leave out what is of order n^%g in the kernel, which goes like n^%g, and "
                "there is no rule for it",
                largest, kernel->terms[k].power);
            status = TP_CUT;
        }
    return status;
}

/* Exactly, by the rules that hold: 0, or the refusal, without a kernel. *simple: whether these were the simple ones;
 * where they prove wrong in the auto rule, `why` says so and the general ones follow. */
static int solve_exactly(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows,
                         const double *x2, size_t rows2, const tp_limit_spec *spec, bool *simple, char *why,
                         size_t why_size, tp_kernel *kernel, ad_error *refusal)
{
    int status = TP_NO_RULE;
    if (program->coupled && *simple)
        status = tp_check_fluctuations(program, which, refusal)
                     ? -1
                     : tp_limit_coupled(program, which, x, rows, x2, rows2, spec, kernel, refusal);
    else if (program->coupled)
        ad_fail(refusal, "samples meet, and there the general rule is the executor's: --engine sample");
    else
        status = solve_samples(program, which, x, rows, x2, rows2, spec, simple, why, why_size, kernel, refusal);
    if (!status && program->coupled)
        status = check_expansion(program, which, kernel, refusal);
    if (status)
        tp_kernel_free(kernel);
    if (status)
        return status;
    /* where samples do not meet, numbers are checked in tiles */
    return (program->coupled ? check_kernel : check_sure)(kernel, refusal);
}

/* What the simple rule would have given of a program that is not BP-like, into the method and simple_rule_error. */
static void tell_rules(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                       size_t rows2, const tp_limit_spec *spec, const char *why, tp_kernel *kernel)
{
    tp_kernel simple = { 0 };
    ad_error refusal = { 0 };
    if (!program->coupled &&
        tp_limit_exact(program, which, x, rows, x2, rows2, spec, TP_RULES_BP_UNCHECKED, &simple, NULL, &refusal) == 0) {
        compare_rules(kernel, &simple, why);
    } else {
        add_text(kernel->method, sizeof kernel->method, "; general rule, for the program is not BP-like: ");
        add_text(kernel->method, sizeof kernel->method, why);
    }
    tp_kernel_free(&simple);
}

/* ---- the door ---- */
static int check_rows(const tp_program *program, const double *x, size_t rows, const char *which, ad_error *error)
{
    size_t features = nn_features(program->net);
    if (!x)
        return ad_fail(error, "limit: %s inputs are missing (NULL)", which);
    if (rows == 0)
        return ad_fail(error, "limit: %s inputs have no rows", which);
    for (size_t i = 0; i < rows * features; i++)
        if (!isfinite(x[i]))
            return ad_fail(error, "limit: %s inputs: row %zu, column %zu is %g", which, i / features, i % features,
                           x[i]);
    return 0;
}

static int check_inputs(const tp_program *program, const double *x, size_t rows, const double *x2, size_t rows2,
                        ad_error *error)
{
    if (check_rows(program, x, rows, "the first", error))
        return -1;
    return x2 ? check_rows(program, x2, rows2, "the second", error) : 0;
}

/* -1 where the kernel stays random: `told` says why, or where it is empty what is found. TP_CUT where that is what
 * vanishes in a function's argument. */
static int refuse_random(const tp_program *program, tp_kernel_kind which, const char *told, ad_error *error)
{
    ad_error found = { 0 };
    int status = tp_check_fluctuations(program, which, &found);
    if (!status && !program->coupled)
        status = tp_check_limit(program, which, &found);
    if (!status)
        return 0;
    if (status == TP_GROWS)
        return ad_fail(error, "%.400s; or, with --width N, ask for one draw's kernel", *told ? told : found.text);
    if (status == TP_CUT) {
        ad_fail(error, "%.400s; with --width N there is one draw's kernel", *told ? told : found.text);
        return TP_CUT;
    }
    return ad_fail(error,
                   "%.270s: this kernel stays random at every width, and no engine has its limit: ask for that of the "
                   "network that returns what stands before this step (of a softmax its logits), or, with --width N, "
                   "for one draw's",
                   *told ? told : found.text);
}

/* -1 where samples have no limit: the kernel stays random, or is infinite, of which they have a mean, too. What the
 * exact engine finds for the first row has one, whatever the orders of its parts suggest. */
static int check_samples(const tp_program *program, tp_kernel_kind which, const double *x, const tp_limit_spec *given,
                         bool simple, ad_error *error)
{
    tp_kernel one;
    ad_error refusal = { 0 };
    char why[sizeof error->text];
    tp_limit_spec spec = *given;
    if (program->meets)
        return refuse_random(program, which, "", error);
    spec.threads = 1;
    spec.progress = NULL;
    spec.floats = NULL;
    int status = solve_exactly(program, which, x, 1, NULL, 0, &spec, &simple, why, sizeof why, &one, &refusal);
    tp_kernel_free(&one);
    if (status == TP_INFINITE)
        return ad_fail(error, "%s", refusal.text);
    return status ? refuse_random(program, which, status == TP_CUT ? refusal.text : "", error) : 0;
}

static bool has_width(const tp_program *program)
{
    for (int id = 0; id < program->forward; id++)
        if (program->lives[id] && program->widths[id] > 0)
            return true;
    return false;
}

/* Where matrices that start orthogonal have another limit than Gaussian ones the executor alone finds it: 1, and why
 * no other does. */
static int only_samples(const tp_program *program, const tp_limit_spec *spec, ad_error *refusal, ad_error *error)
{
    ad_error square = { 0 };
    if (tp_check_orthogonal(program, refusal) == 0)
        return 0;
    if (spec->engine == TP_ENGINE_EXACT || spec->rule == TP_RULE_BP)
        return ad_fail(error, "%s", refusal->text);
    return tp_check_square(program, &square) ? ad_fail(error, "%s", square.text) : 1;
}

/* Unless samples are asked for. */
static bool goes_by_points(const tp_program *program, const tp_limit_spec *spec, bool simple, bool gaussian)
{
    bool asked = spec->engine == TP_ENGINE_SAMPLE || spec->samples || spec->runs;
    return simple && gaussian && !asked && !program->coupled;
}

/* Where there is no exact rule: by points where that is a way, unless samples are asked for, else by these. simple: the
 * simple rules are known to hold. */
static int find_by_runs(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                        size_t rows2, const tp_limit_spec *spec, bool simple, bool gaussian, tp_kernel *kernel,
                        ad_error *error)
{
    ad_error refusal = { 0 };
    int status = goes_by_points(program, spec, simple, gaussian)
                     ? tp_limit_by_points(program, which, x, rows, x2, rows2, spec, kernel, &refusal)
                     : TP_NO_RULE;
    if (status == TP_NO_RULE)
        return tp_limit_sampled(program, which, x, rows, x2, rows2, spec, simple, kernel, error);
    return status ? ad_fail(error, "%s", refusal.text) : 0;
}

/* part: sites are left out, for which there is no rule where samples meet. TP_CUT where what vanishes in a function's
 * argument counts. */
static int limit_of(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                    size_t rows2, const tp_limit_spec *given, bool part, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec spec = *given;
    tp_checks checks;
    ad_error refusal = { 0 }, failure = { 0 };
    char why[sizeof error->text] = "";
    if (part && program->coupled && spec.engine == TP_ENGINE_EXACT)
        return ad_fail(error,
                       "limit: a part of the NTK has no exact rule where samples meet, as in batch normalisation: "
                       "--engine sample");
    if (part && program->coupled)
        spec.engine = TP_ENGINE_SAMPLE;
    if (!ad_threads(spec.threads, error) || check_inputs(program, x, rows, x2, rows2, error))
        return -1;
    int orthogonal = only_samples(program, &spec, &refusal, error);
    if (orthogonal < 0)
        return -1;
    spec.engine = orthogonal ? TP_ENGINE_SAMPLE : spec.engine;
    size_t outputs = nn_n_outputs(program->net);
    if (spec.output >= outputs || spec.output2 >= outputs)
        return ad_fail(error, "limit: outputs %zu and %zu of %zu", spec.output, spec.output2, outputs);
    int checked = tp_check(program, &checks, error);
    int random = checked >= 0 && which == TP_NNGP ? refuse_random(program, which, "", error) : 0;
    if (checked < 0 || random)
        return random == TP_CUT ? TP_CUT : -1;
    bool simple = spec.rule == TP_RULE_AUTO ? checked == 0 : spec.rule == TP_RULE_BP;
    for (int k = 0; k < TP_CHECKS && !*why; k++)
        snprintf(why, sizeof why, "%s", checks.text[k]);
    if (spec.engine != TP_ENGINE_SAMPLE) {
        int status =
            solve_exactly(program, which, x, rows, x2, rows2, &spec, &simple, why, sizeof why, kernel, &refusal);
        bool last = spec.engine == TP_ENGINE_EXACT || spec.rule == TP_RULE_BP;
        if (status == 0 && !simple && *why)
            tell_rules(program, which, x, rows, x2, rows2, &spec, why, kernel);
        if (status == 0 && !has_width(program))
            add_text(kernel->method, sizeof kernel->method, "; no width is met: it does not depend on n");
        if (status == 0)
            return 0;
        if ((random = refuse_random(program, which, status == -1 || status == TP_CUT ? refusal.text : "", error)))
            return random;
        if (last && !simple && *why)
            return ad_fail(error, "the program is not BP-like (%s), and by the general rule: %s", why, refusal.text);
        if (last || status == -1 || status == TP_INFINITE || status == TP_TOO_LARGE || status == TP_CUT) {
            ad_fail(error, "%s", refusal.text);
            return status == TP_CUT ? TP_CUT : -1;
        }
    }
    if (orthogonal)
        random = refuse_random(program, which, "", error);
    else if (spec.engine == TP_ENGINE_SAMPLE)
        random = check_samples(program, which, x, &spec, simple, error);
    if (random)
        return random;
    if (find_by_runs(program, which, x, rows, x2, rows2, &spec, simple && checked == 0, !orthogonal, kernel,
                     &failure) ||
        check_kernel(kernel, &failure))
        return ad_fail(error, "%s%s%s", refusal.text, refusal.text[0] ? "; and by samples: " : "", failure.text);
    if (!simple && *why && !orthogonal)
        tell_rules(program, which, x, rows, x2, rows2, &spec, why, kernel);
    if (program->coupled && which == TP_NTK)
        add_text(
            kernel->method, sizeof kernel->method,
            "; where a small batch is normalised, gradients have heavy tails, and the spread of runs may understate "
            "the error");
    if (refusal.text[0]) {
        snprintf(kernel->no_rule, sizeof kernel->no_rule, "%s", refusal.text);
        add_text(kernel->method, sizeof kernel->method, "; no exact rule for ");
        add_text(kernel->method, sizeof kernel->method, refusal.text);
    }
    return 0;
}

/* Does the part of a site count in the program's NTK? */
static bool site_counts(const tp_program *program, const tp_limit_spec *spec, const ad_site *site)
{
    bool counts = site->param.id != program->probe;
    for (int k = 0; spec->params && k < nn_n_params(program->net); k++)
        counts = counts && (nn_param(program->net, k).id != site->param.id || spec->params[k]);
    return counts;
}

/* -1 with an error where the rate of a parameter that learns is not 1. */
static int check_rate(const ad_site *site, ad_graph *graph, ad_error *error)
{
    const ad_node *param = ad_node_of(graph, site->param.id);
    double rate = param->init->rate, power = param->init->axis.id ? param->init->rate_power : 0;
    if (fabs(rate - 1) > 0 || fabs(power) > 0)
        return ad_fail(error,
                       "limit: %s has the learning-rate scale %g n^%g: training kernels in the limit are for 0 and 1",
                       param->name, rate, power);
    return 0;
}

/* The same program, whose NTK has the terms that are asked for: by rates of 1, if `training`. ad_free frees the
 * view's sites. */
static int view_sites(const tp_program *program, tp_kernel_kind which, const tp_limit_spec *spec, bool training,
                      tp_program *view, ad_error *error)
{
    *view = (tp_program){ 0 };
    if (!program)
        return ad_fail(error, "limit: no program (NULL)");
    *view = *program;
    int n = program->n_sites + (which == TP_NNGP ? program->n_readouts : 0);
    view->sites = ad_alloc((size_t)n + 1, sizeof *view->sites, "a kernel's sites", error);
    if (!view->sites)
        return -1;
    view->n_sites = view->n_readouts = 0;
    for (int k = 0; k < n; k++) {
        if (training && check_rate(&program->sites[k], program->graph, error))
            return -1;
        if (which == TP_NNGP || site_counts(program, spec, &program->sites[k]))
            view->sites[view->n_sites++] = program->sites[k];
    }
    if (training && view->n_sites == 0)
        return ad_fail(error, "limit: no parameter has a rate other than 0: nothing learns");
    return 0;
}

/* The program that kernels are found by: with polynomials in place of functions of what vanishes, of the higher degree
 * or not. */
static const tp_program *by_polynomials(const tp_program *program, bool higher)
{
    const tp_program *one = program ? program->expanded[higher && program->expanded[1]] : NULL;
    return one ? one : program;
}

static int limit_by(const tp_program *program, tp_kernel_kind which, bool training, const double *x, size_t rows,
                    const double *x2, size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    tp_program view;
    int status = view_sites(program, which, spec, training, &view, error);
    if (!status)
        status = limit_of(&view, which, x, rows, x2, rows2, spec,
                          which == TP_NTK && (program->frozen || view.n_sites < program->n_sites), kernel, error);
    if (!status && program->expands)
        add_text(kernel->method, sizeof kernel->method, "; functions of what vanishes by their first terms");
    ad_free(view.sites);
    return status;
}

static int limit_of_view(const tp_program *program, tp_kernel_kind which, bool training, const double *x, size_t rows,
                         const double *x2, size_t rows2, const tp_limit_spec *given, tp_kernel *kernel, ad_error *error)
{
    const tp_limit_spec spec = given ? *given : (tp_limit_spec){ 0 };
    const tp_program *first = by_polynomials(program, false), *second = by_polynomials(program, true);
    ad_error refusal = { 0 };
    memset(kernel, 0, sizeof *kernel);
    int before = ad_blas_begin(spec.threads);
    int status = limit_by(first, which, training, x, rows, x2, rows2, &spec, kernel, &refusal);
    if (status == TP_CUT && second != first) {
        refusal = (ad_error){ 0 };
        status = limit_by(second, which, training, x, rows, x2, rows2, &spec, kernel, &refusal);
    }
    if (status)
        status = ad_fail(error, "%s", refusal.text);
    if (!status && spec.floats && kernel->terms[0].values)
        status = narrow(&spec, kernel, !x2, error);
    ad_blas_end(before);
    return status;
}

static int forecast_view(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows,
                         const double *x2, size_t rows2, const tp_limit_spec *given, tp_forecast *forecast,
                         ad_error *error)
{
    tp_limit_spec spec = *given;
    tp_checks checks;
    ad_error refusal = { 0 };
    tp_kernel one = { 0 };
    char why[sizeof error->text];
    if (program->coupled)
        return 0;
    int held = ad_threads(spec.threads, error), checked = held ? tp_check(program, &checks, error) : -1, status = 0;
    if (checked < 0 || check_inputs(program, x, rows, x2, rows2, error))
        return -1;
    bool simple = spec.rule == TP_RULE_AUTO ? checked == 0 : spec.rule == TP_RULE_BP;
    spec.progress = NULL;
    spec.floats = NULL;
    if (spec.engine != TP_ENGINE_SAMPLE)
        status = solve_exactly(program, which, x, 1, NULL, 0, &spec, &simple, why, sizeof why, &one, &refusal);
    tp_kernel_free(&one);
    bool exact = spec.engine != TP_ENGINE_SAMPLE && (spec.engine == TP_ENGINE_EXACT || status != TP_NO_RULE);
    if (exact)
        return 0;
    status = goes_by_points(program, given, simple && checked == 0, tp_check_orthogonal(program, &refusal) == 0)
                 ? tp_forecast_points(program, which, x, rows, x2, rows2, given, forecast, &refusal)
                 : TP_NO_RULE;
    return status != TP_NO_RULE ? status
                                : tp_forecast_sampled(program, which, x, rows, x2, rows2, given, simple && checked == 0,
                                                      forecast, error);
}

int tp_limit_forecast(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                      size_t rows2, const tp_limit_spec *given, tp_forecast *forecast, ad_error *error)
{
    const tp_limit_spec spec = given ? *given : (tp_limit_spec){ 0 };
    tp_program view;
    *forecast = (tp_forecast){ 0 };
    int before = ad_blas_begin(spec.threads);
    int status = view_sites(by_polynomials(program, false), which, &spec, false, &view, error);
    if (!status)
        status = forecast_view(&view, which, x, rows, x2, rows2, &spec, forecast, error);
    ad_free(view.sites);
    ad_blas_end(before);
    return status;
}

int tp_limit(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2, size_t rows2,
             const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    return limit_of_view(program, which, false, x, rows, x2, rows2, spec, kernel, error);
}

int tp_training_kernel(tp_program *program, const double *x, size_t rows, const double *x2, size_t rows2,
                       const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    return limit_of_view(program, TP_NTK, true, x, rows, x2, rows2, spec, kernel, error);
}

static int opinion_of_view(const tp_program *program, tp_kernel_kind which, bool training, const double *x, size_t rows,
                           const double *x2, size_t rows2, const tp_limit_spec *given, const tp_kernel *found,
                           double seconds, tp_opinion *opinion, ad_error *error)
{
    const tp_limit_spec spec = given ? *given : (tp_limit_spec){ 0 };
    tp_program view;
    memset(opinion, 0, sizeof *opinion);
    int before = ad_blas_begin(spec.threads);
    int status = view_sites(by_polynomials(program, true), which, &spec, training, &view, error);
    if (!status)
        status = tp_hear_samples(&view, which, x, rows, x2, rows2, &spec, found, seconds, opinion, error);
    ad_free(view.sites);
    ad_blas_end(before);
    return status;
}

int tp_second_opinion(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                      size_t rows2, const tp_limit_spec *spec, const tp_kernel *found, double seconds,
                      tp_opinion *opinion, ad_error *error)
{
    return opinion_of_view(program, which, false, x, rows, x2, rows2, spec, found, seconds, opinion, error);
}

int tp_training_second_opinion(tp_program *program, const double *x, size_t rows, const double *x2, size_t rows2,
                               const tp_limit_spec *spec, const tp_kernel *found, double seconds, tp_opinion *opinion,
                               ad_error *error)
{
    return opinion_of_view(program, TP_NTK, true, x, rows, x2, rows2, spec, found, seconds, opinion, error);
}

int tp_gaussian_covariance(const tp_program *program, ad_var vector, const double *x, size_t rows, const double *x2,
                           size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec given = spec ? *spec : (tp_limit_spec){ 0 };
    if (!program)
        return ad_fail(error, "covariance: no program (NULL)");
    tp_program view = *program; /* the same program, seen from another output */
    if (vector.graph != program->graph || vector.id < 0 || vector.id >= program->forward ||
        program->widths[vector.id] != 1)
        return ad_fail(error, "covariance: not a vector of the program's forward pass");
    if (!ad_threads(given.threads, error) || tp_check_orthogonal(program, error) ||
        check_inputs(program, x, rows, x2, rows2, error))
        return -1;
    view.output = vector;
    if (tp_limit_exact(&view, TP_NNGP, x, rows, x2, rows2, &given, TP_RULES_BP, kernel, NULL, error) == 0)
        return 0;
    tp_kernel_free(kernel);
    return -1;
}
