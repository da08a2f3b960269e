/* solve.c: what a program by hand tends to: exact where there is a way, else sampled, and at a width beside
 * it. */
#include "tp/netsor/script.h"
#include "tp/symbolic/symbolic.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

enum { SAMPLES = 4096, RUNS = 8, SEEDS = 8 };

/* All numbers of a program: mean and variance of each command, and the covariances: 2 n + n n of them, or 2 n. */
typedef struct {
    double *value, *error; /* error: standard errors, or zeros */
} numbers;

typedef struct {
    const tp_script *script;
    tp_solve_spec spec;
    size_t n, count;           /* commands, numbers */
    double *values, *products; /* one run's; products NULL: no covariances */
    numbers exact, simple, sampled, finite;
    ad_arena *arena;
    ad_error *error;
} job;

static double *make_numbers(job *j, size_t count)
{
    double *memory = ad_arena_alloc(j->arena, count + 1, sizeof *memory);
    if (!memory)
        ad_fail(j->error, "out of memory for the limit of a program");
    return memory;
}

/* From means and second moments to means, variances and covariances. */
static void centre(const job *j, double *out)
{
    size_t n = j->n;
    for (size_t k = 0; k < n; k++) {
        double mean = j->values[2 * k];
        out[2 * k] = mean;
        out[2 * k + 1] = j->values[2 * k + 1] - (j->script->commands[k].type == 'f' ? 0 : mean * mean);
        for (size_t i = 0; i < n && j->products; i++)
            out[2 * n + k * n + i] = j->products[k * n + i] - mean * j->values[2 * i];
    }
}

/* Is this number one of the program's, and which command does it belong to? */
static bool is_asked(const job *j, size_t at, size_t *which)
{
    const tp_command *c = j->script->commands;
    size_t k = at < 2 * j->n ? at / 2 : (at - 2 * j->n) / j->n;
    *which = k;
    if (tp_script_is_family(j->script, (int)k))
        return false;
    if (at < 2 * j->n)
        return (c[k].type == 's' && c[k].rule != TP_INPUT && at % 2 == 0) || c[k].type == 'G' || c[k].type == 'H';
    size_t i = (at - 2 * j->n) % j->n;
    return c[k].type == 'G' && c[i].type == 'G' && c[k].width == c[i].width && !tp_script_is_family(j->script, (int)i);
}

static int solve_exact(job *j, bool general, numbers *to, bool *dot)
{
    to->value = make_numbers(j, j->count);
    to->error = make_numbers(j, j->count);
    if (!to->value || !to->error ||
        tp_script_exact(j->script, &j->spec, general, j->values, j->products, dot, j->error))
        return -1;
    centre(j, to->value);
    return 0;
}

/* Means over runs or seeds, and their standard errors. */
static int sample(job *j, bool finite, numbers *to)
{
    int runs = finite ? j->spec.seeds : j->spec.runs;
    double *one = make_numbers(j, j->count);
    to->value = make_numbers(j, j->count);
    to->error = make_numbers(j, j->count);
    if (!one || !to->value || !to->error)
        return -1;
    for (int run = 0; run < runs; run++) {
        if (tp_script_run(j->script, &j->spec, finite, finite ? j->spec.width : j->spec.samples,
                          j->spec.seed + (uint64_t)run, j->values, j->products, j->error))
            return -1;
        centre(j, one);
        ad_add_run(one, 1, j->count, run + 1, to->value, to->error);
        if (j->spec.progress)
            j->spec.progress((run + 1.0) / runs, j->spec.context);
    }
    ad_standard_errors(to->error, j->count, runs);
    return 0;
}

/* The first number that the program has and the exact way does not give; count if there is none. */
static size_t first_unknown(const job *j, size_t *which)
{
    size_t at = 0;
    while (at < j->count && !(is_asked(j, at, which) && isnan(j->exact.value[at])))
        at++;
    return at;
}

static int refuse_exact(const job *j, size_t which, const char *what)
{
    const tp_command *c = &j->script->commands[which];
    return ad_fail(j->error,
                   "%s:%d: %s: no exact expectation: more than two directions of functions that depend on each "
                   "other, or one that is not integrable; %s",
                   j->script->file, c->line, c->name, what);
}

/* -1 with an error where samples leave the range of a double: no rule shows them to be 0, and their squares are. */
static int check_sampled(const job *j)
{
    size_t which;
    for (size_t at = 0; at < j->count; at++) {
        if (!is_asked(j, at, &which) || !isnan(j->exact.value[at]))
            continue;
        const tp_command *c = &j->script->commands[which];
        double value = fabs(j->sampled.value[at]);
        bool variance = at < 2 * j->n && at % 2;
        bool small = value < TP_LEAST && (variance ? pow(j->sampled.value[at - 1], 2) < TP_LEAST : value > 0);
        if (!isfinite(value) || small)
            return ad_fail(j->error,
                           "%s:%d: %s: its samples leave the range of a double (%s): %s inputs, weights or powers keep "
                           "them, where it has a limit",
                           j->script->file, c->line, c->name, small ? "their squares are below 1e-300" : "1.8e308",
                           small ? "larger" : "smaller");
    }
    return 0;
}

static int solve(job *j, tp_solution *solution)
{
    bool dot = false, unused;
    size_t which = 0;
    if (tp_script_growth(j->script, j->error))
        return -1;
    int like = tp_script_bp_like(j->script, solution->why, sizeof solution->why, j->error);
    if (like < 0)
        return -1;
    solution->bp_like = like;
    solution->general = j->spec.rule == TP_RULE_GENERAL || (j->spec.rule == TP_RULE_AUTO && !like);
    bool sampling = j->spec.engine == TP_ENGINE_SAMPLE;
    if (solve_exact(j, solution->general, &j->exact, &dot))
        return -1;
    bool unknown = first_unknown(j, &which) < j->count;
    if (unknown && j->spec.engine == TP_ENGINE_EXACT)
        return refuse_exact(j, which, "--engine sample finds it");
    if ((unknown || sampling) && j->spec.rule == TP_RULE_BP && !like)
        return unknown ? refuse_exact(j, which, "and samples go by the general rule")
                       : ad_fail(j->error, "samples go by the general rule: --engine exact with --rule bp, for %s",
                                 solution->why);
    if (solution->general && solve_exact(j, false, &j->simple, &unused))
        return -1;
    if ((unknown || sampling) && sample(j, false, &j->sampled))
        return -1;
    if (j->spec.width && sample(j, true, &j->finite))
        return -1;
    return j->sampled.value ? check_sampled(j) : 0;
}

static tp_estimate estimate(const job *j, size_t at, tp_solution *solution)
{
    tp_estimate e = { .value = j->exact.value[at], .simple = NAN };
    if (j->sampled.value && (isnan(e.value) || j->spec.engine == TP_ENGINE_SAMPLE)) {
        e.value = j->sampled.value[at];
        e.error = j->sampled.error[at];
        solution->sampled = true;
    }
    e.simple = j->simple.value ? j->simple.value[at] : e.value;
    if (j->finite.value) {
        e.finite = j->finite.value[at];
        e.finite_error = j->finite.error[at];
    }
    return e;
}

static int fill(const job *j, tp_solution *solution)
{
    size_t n = j->n, which;
    double off = 0, size = 0;
    int *kept = ad_arena_alloc(j->arena, n + 1, sizeof *kept);
    solution->values = ad_arena_alloc(j->arena, n + 1, sizeof *solution->values);
    if (j->products)
        solution->covariances = ad_arena_alloc(j->arena, n * n + 1, sizeof *solution->covariances);
    if (!kept || !solution->values || (j->products && !solution->covariances))
        return ad_fail(j->error, "out of memory for the limit of a program");
    for (size_t k = 0; k < n; k++) {
        const tp_command *c = &j->script->commands[k];
        bool output = c->type == 'f' && !isnan(j->exact.value[2 * k + 1]);
        if (!is_asked(j, 2 * k, &which) && !output)
            continue;
        tp_value *v = &solution->values[solution->n];
        kept[solution->n++] = (int)k;
        v->name = ad_arena_text(j->arena, "%s", c->name);
        if (!v->name)
            return ad_fail(j->error, "out of memory for the limit of a program");
        v->type = c->type;
        v->line = c->line;
        if (!output)
            v->mean = estimate(j, 2 * k, solution);
        if (c->type != 's')
            v->variance = output ? (tp_estimate){ .value = j->exact.value[2 * k + 1], .simple = NAN }
                                 : estimate(j, 2 * k + 1, solution);
    }
    for (int a = 0; a < solution->n; a++) {
        const tp_value *v = &solution->values[a];
        for (int b = 0; b < solution->n && j->products; b++) {
            size_t at = 2 * n + (size_t)kept[a] * n + (size_t)kept[b];
            if (!is_asked(j, at, &which))
                continue;
            tp_estimate e = solution->covariances[a * solution->n + b] = estimate(j, at, solution);
            off += pow(e.value - e.simple, 2);
            size += e.value * e.value;
        }
        const tp_estimate *own = v->type == 's' ? &v->mean : &v->variance;
        if (v->type == 's' || (v->type == 'G' && !j->products)) {
            off += pow(own->value - own->simple, 2);
            size += own->value * own->value;
        }
    }
    if (solution->general)
        solution->simple_rule_error = size > 0 ? sqrt(off / size) : 0;
    return 0;
}

void tp_solution_free(tp_solution *solution)
{
    if (!solution)
        return;
    ad_arena_free(solution->arena);
    ad_free(solution);
}

tp_solution *tp_script_solve(tp_script *script, const tp_solve_spec *given, ad_error *error)
{
    int threads = ad_threads(given ? given->threads : 0, error);
    if (!script)
        ad_fail(error, "limit: no program (NULL)");
    if (!script || !threads)
        return NULL;
    job j = { .script = script, .spec = given ? *given : (tp_solve_spec){ 0 }, .n = (size_t)script->n, .error = error };
    size_t pairs = j.n <= TP_MOST_PAIRED ? j.n * j.n : 0;
    j.count = 2 * j.n + pairs;
    j.spec.samples = j.spec.samples ? j.spec.samples : SAMPLES;
    for (int k = 0; k < 2; k++) {
        int count = k ? j.spec.seeds : j.spec.runs;
        if (count < 0 || count == 1) {
            ad_fail(error, "%s: %d %s: its standard errors take at least 2", script->file ? script->file : "program",
                    count, k ? "seeds" : "runs");
            return NULL;
        }
    }
    j.spec.runs = j.spec.runs ? j.spec.runs : RUNS;
    j.spec.seeds = j.spec.seeds ? j.spec.seeds : SEEDS;
    if (script->error.text[0]) {
        ad_fail(error, "%s", script->error.text);
        return NULL;
    }
    tp_solution *solution = ad_alloc(1, sizeof *solution, "the limit of a program", error);
    if (!solution)
        return NULL;
    solution->arena = j.arena = ad_arena_new(error);
    j.values = j.arena ? make_numbers(&j, 2 * j.n) : NULL;
    j.products = j.values && pairs ? make_numbers(&j, pairs) : NULL;
    solution->finite_seeds = j.spec.width ? j.spec.seeds : 0;
    threads = ad_blas_begin(threads);
    int status = !j.values || (pairs && !j.products) || solve(&j, solution) || fill(&j, solution);
    ad_blas_end(threads);
    if (status) {
        tp_solution_free(solution);
        return NULL;
    }
    return solution;
}
