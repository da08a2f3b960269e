/* conditions.c: what a program by hand is checked for before it is solved: its inputs' law, and BP-likeness. */
#include "tp/netsor/script.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the inputs' covariances ---- */
/* The data vector that a name is: "x", or "x[time=3]", a row of (times, features). */
static const double *data_of(const tp_script *script, const tp_command *c, const char *name, const tp_solve_spec *spec,
                             ad_error *error)
{
    const char *index = strchr(name, '='), *file = script->file;
    size_t row = index ? (size_t)strtoul(index + 1, NULL, 10) : 0;
    if (strpbrk(name, "( ")) {
        ad_fail(error, "%s:%d: %s: its variance is of %s: of data, only vectors as they are given have a rule here",
                file, c->line, c->name, name);
        return NULL;
    }
    if (!spec->data) {
        ad_fail(error, "%s:%d: %s: its variance is of data, %s, and none is given", file, c->line, c->name, name);
        return NULL;
    }
    if (!index && spec->times > 1) {
        ad_fail(error, "%s:%d: %s: %s is a family over time: give one input of features, or a program of its steps",
                file, c->line, c->name, name);
        return NULL;
    }
    if (row >= spec->times) {
        ad_fail(error, "%s:%d: %s: %s is beyond the %zu steps of the input", file, c->line, c->name, name, spec->times);
        return NULL;
    }
    return spec->data + row * spec->features;
}

static int of_data(const tp_script *script, const tp_command *a, const tp_command *b, const tp_solve_spec *spec,
                   double *value, ad_error *error)
{
    const double *x = data_of(script, a, a->gram_x, spec, error);
    const double *y = x ? data_of(script, b, b->gram_x, spec, error) : NULL;
    if (!y)
        return -1;
    *value = 0;
    for (size_t k = 0; k < spec->features; k++)
        *value += x[k] * y[k];
    *value *= sqrt(a->variance) * sqrt(b->variance);
    return 0;
}

/* Cov(a, b): what is given, or, for one parameter times data, what the data say. */
static int covariance(const tp_script *script, int a, int b, const tp_solve_spec *spec, double *value, ad_error *error)
{
    const tp_command *x = &script->commands[a], *y = &script->commands[b];
    *value = 0;
    if (x->gram_x && y->gram_x &&
        (a == b || (x->origin_vector && y->origin_vector && strcmp(x->origin_vector, y->origin_vector) == 0)))
        return of_data(script, x, y, spec, value, error);
    if (a == b)
        *value = x->variance;
    for (int k = 0; k < x->n_covariances; k++)
        if (x->covariances[k].with == b)
            *value = x->covariances[k].value;
    for (int k = 0; k < y->n_covariances; k++)
        if (y->covariances[k].with == a)
            *value = y->covariances[k].value;
    return 0;
}

/* The smallest eigenvalue of the leading part of a covariance, relative to its largest entry. */
static double minimum_eigenvalue(const double *cov, int count, int part, double *work, double *eigen)
{
    double largest = 0;
    for (int i = 0; i < part; i++)
        for (int k = 0; k < part; k++) {
            work[i * part + k] = cov[i * count + k];
            largest = fmax(largest, fabs(cov[i * count + k]));
        }
    if (!(largest > 0) || LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'N', 'U', part, work, part, eigen))
        return 0;
    return eigen[0] / largest;
}

/* Names the first input whose covariances with those before it no Gaussian has. */
static int check_covariance(const tp_script *script, const double *cov, const int *which, int count, ad_error *error)
{
    double *work = ad_alloc((size_t)(count * count) + 1, sizeof *work, "inputs", error);
    double *eigen = ad_alloc((size_t)count + 1, sizeof *eigen, "inputs", error);
    int status = work && eigen ? 0 : -1, part = count;
    if (!status && minimum_eigenvalue(cov, count, count, work, eigen) < -1e-10) {
        for (part = 1; minimum_eigenvalue(cov, count, part, work, eigen) >= -1e-10; part++) {
        }
        const tp_command *c = &script->commands[which[part - 1]];
        status = ad_fail(error,
                         "%s:%d: %s: its covariances with the inputs before it are impossible: their matrix has the "
                         "negative eigenvalue %.3g",
                         script->file, c->line, c->name, eigen[0]);
    }
    ad_free(work);
    ad_free(eigen);
    return status;
}

bool tp_script_is_family(const tp_script *script, int k)
{
    for (int i = k + 1; i < script->n; i++)
        if (script->commands[i].origin_vector &&
            strcmp(script->commands[i].origin_vector, script->commands[k].name) == 0)
            return true;
    return false;
}

double *tp_script_inputs(const tp_script *script, const tp_solve_spec *spec, int width, int *which, int *count,
                         ad_error *error)
{
    *count = 0;
    for (int k = 0; k < script->n; k++) {
        const tp_command *c = &script->commands[k];
        if (c->rule == TP_INPUT && c->type == 'G' && c->width == width && !tp_script_is_family(script, k))
            which[(*count)++] = k;
    }
    double *cov = ad_alloc((size_t)(*count * *count) + 1, sizeof *cov, "inputs", error);
    int status = cov ? 0 : -1;
    for (int i = 0; i < *count && !status; i++)
        for (int k = 0; k <= i && !status; k++) {
            status = covariance(script, which[i], which[k], spec, &cov[i * *count + k], error);
            cov[k * *count + i] = cov[i * *count + k];
        }
    if (!status)
        status = check_covariance(script, cov, which, *count, error);
    if (!status)
        return cov;
    ad_free(cov);
    return NULL;
}

/* ---- BP-likeness (Tensor Programs II, Definition 5.3, the conditions of Proposition 2) ----
 * There are input G-vars, the readouts, of mean zero and independent of all others, such that what any W is multiplied
 * into does not depend on them, and what Wᵀ is multiplied into is odd in them. Which inputs those are is found: all
 * that can be, but for those, as the last layer's bias, that alone make an argument of Wᵀ neither odd nor a sum with
 * it. */
/* Under a change of the readouts' signs. MIXED: a sum of odd and even ones; NEITHER: a function of such. */
typedef enum { EVEN, ODD, MIXED, NEITHER } parity;

typedef struct {
    const tp_script *script;
    bool *readout, *fed; /* by command: fed: an argument of a first side depends on it */
    parity *parity;
} analysis;

static void feed_expr(analysis *a, const tp_expr *e);

static bool is_independent(const tp_script *script, int k)
{
    const tp_command *c = &script->commands[k];
    if (c->rule != TP_INPUT || c->type != 'G' || fabs(c->mean) > 0 || c->gram_x)
        return false;
    for (int i = 0; i < script->n; i++)
        for (int m = 0; m < script->commands[i].n_covariances; m++)
            if ((i == k || script->commands[i].covariances[m].with == k) &&
                fabs(script->commands[i].covariances[m].value) > 0)
                return false;
    return true;
}

/* All that the commands that are fed are made of: each stands after what it needs. */
static void feed(analysis *a)
{
    for (int k = a->script->n - 1; k >= 0; k--) {
        const tp_command *c = &a->script->commands[k];
        if (a->fed[k] && c->rule == TP_MATMUL && c->vector >= 0)
            a->fed[c->vector] = true;
        else if (a->fed[k] && c->body)
            feed_expr(a, c->body);
    }
}

static void feed_expr(analysis *a, const tp_expr *e)
{
    if (e->kind == TP_E_NAME && e->var >= 0)
        a->fed[e->var] = true;
    for (int k = 0; k < e->n; k++)
        feed_expr(a, e->args[k]);
}

bool tp_script_independent(const tp_script *script, int k, int of, bool *fed)
{
    analysis a = { .script = script, .fed = fed };
    if (of >= 0)
        fed[of] = true;
    feed(&a);
    return is_independent(script, k) && !fed[k];
}

static parity parity_of_product(parity a, parity b)
{
    if (a == EVEN || b == EVEN)
        return a == EVEN ? b : a;
    return a == ODD && b == ODD ? EVEN : NEITHER;
}

static parity parity_of_expr(const analysis *a, const tp_expr *e)
{
    parity p[2] = { EVEN, EVEN };
    for (int k = 0; k < e->n && k < 2; k++)
        p[k] = parity_of_expr(a, e->args[k]);
    switch (e->kind) {
    case TP_E_NUMBER:
    case TP_E_N:
        return EVEN;
    case TP_E_NAME:
        return e->var >= 0 ? a->parity[e->var] : EVEN;
    case TP_E_NEG:
    case TP_E_BRACKET:
    case TP_E_SUM:
        return p[0];
    case TP_E_ADD:
    case TP_E_SUB:
        return p[0] == p[1] ? p[0] : p[0] == NEITHER || p[1] == NEITHER ? NEITHER : MIXED;
    case TP_E_CALL: {
        int op = ad_unary_named(e->text);
        bool even = op == AD_ABS || op == AD_SQUARE || op == AD_COS || op == AD_ERF_GRAD;
        bool odd = op == AD_NEG || op == AD_IDENTITY || op == AD_TANH || op == AD_ERF || op == AD_SIN || op == AD_SIGN;
        return p[0] == EVEN || (even && p[0] == ODD) ? EVEN : odd && p[0] == ODD ? ODD : NEITHER;
    }
    case TP_E_AVERAGE:
        return e->n == 2 ? parity_of_product(p[0], p[1]) : p[0];
    default:
        return parity_of_product(p[0], p[1]);
    }
}

static int root_of(const tp_script *script, int matrix, bool *transposed)
{
    *transposed = false;
    for (; script->commands[matrix].transposed; matrix = script->commands[matrix].matrix)
        *transposed = !*transposed;
    return matrix;
}

/* The first product with the other side of the matrix of product k, before it; -1. */
static int other_side(const tp_script *script, int k)
{
    bool side, other;
    int root = root_of(script, script->commands[k].matrix, &side);
    for (int i = 0; i < k; i++)
        if (script->commands[i].rule == TP_MATMUL && root_of(script, script->commands[i].matrix, &other) == root)
            return other != side ? i : -1;
    return -1;
}

/* Parities in the readouts, or, for only >= 0, in this one input. */
static void find_parities(analysis *a, int only)
{
    for (int k = 0; k < a->script->n; k++) {
        const tp_command *c = &a->script->commands[k];
        bool readout = only < 0 ? a->readout[k] : k == only;
        a->parity[k] = readout                ? ODD
                       : c->rule == TP_MATMUL ? a->parity[c->vector]
                       : c->body              ? parity_of_expr(a, c->body)
                                              : EVEN;
    }
}

static void find_readouts(analysis *a)
{
    const tp_script *s = a->script;
    for (int k = 0; k < s->n; k++)
        if (s->commands[k].rule == TP_MATMUL && other_side(s, k) < 0)
            a->fed[s->commands[k].vector] = true;
    feed(a);
    for (int v = 0; v < s->n; v++) {
        if (a->fed[v] || !is_independent(s, v))
            continue;
        a->readout[v] = true;
        find_parities(a, v);
        for (int k = 0; k < s->n; k++)
            if (s->commands[k].rule == TP_MATMUL && other_side(s, k) >= 0 &&
                a->parity[s->commands[k].vector] == NEITHER)
                a->readout[v] = false;
    }
    find_parities(a, -1);
}

int tp_script_bp_like(const tp_script *script, char *why, size_t size, ad_error *error)
{
    size_t n = (size_t)script->n + 1;
    ad_arena *arena = ad_arena_new(error);
    analysis a = { .script = script };
    a.readout = arena ? ad_arena_alloc(arena, n, sizeof *a.readout) : NULL;
    a.fed = a.readout ? ad_arena_alloc(arena, n, sizeof *a.fed) : NULL;
    a.parity = a.fed ? ad_arena_alloc(arena, n, sizeof *a.parity) : NULL;
    int like = a.parity ? 1 : ad_fail(error, "out of memory for checks");
    *why = 0;
    if (like > 0)
        find_readouts(&a);
    for (int k = 0; k < script->n && like > 0; k++) {
        const tp_command *c = &script->commands[k];
        int other = c->rule == TP_MATMUL ? other_side(script, k) : -1;
        if (other < 0 || a.parity[c->vector] == ODD)
            continue;
        like = 0;
        const char *x = script->commands[c->vector].name;
        snprintf(why, size, "%s:%d: %s meets the transpose of the matrix of %s (line %d), but %s %s", script->file,
                 c->line, c->name, script->commands[other].name, script->commands[other].line, x,
                 a.parity[c->vector] == EVEN ? "depends on no readout" : "is not odd in the readouts");
    }
    ad_arena_free(arena);
    return like;
}

/* ---- growth ---- */
typedef struct {
    const tp_script *script;
    const tp_command *command;
    tp_growth *growth; /* by command */
    ad_error *error;
} grower;

static tp_growth growth_of(grower *g, const tp_expr *e)
{
    static const int ops[] = { [TP_E_ADD] = AD_ADD,   [TP_E_SUB] = AD_SUB,  [TP_E_NEG] = AD_NEG,
                               [TP_E_TIMES] = AD_MUL, [TP_E_ODOT] = AD_MUL, [TP_E_OVER] = AD_DIV };
    const char *problem = NULL, *name = e->kind == TP_E_OVER ? "/" : e->text;
    tp_growth a[2] = { { 0 } }, y;
    for (int k = 0; k < e->n && k < 2; k++)
        a[k] = growth_of(g, e->args[k]);
    switch (e->kind) {
    case TP_E_NUMBER:
        return tp_growth_number(e->c);
    case TP_E_N:
        return (tp_growth){ 0, INFINITY, 0, 0 };
    case TP_E_NAME:
        return e->var >= 0 ? g->growth[e->var] : (tp_growth){ -INFINITY, INFINITY, 0, 0 };
    case TP_E_BRACKET:
    case TP_E_SUM:
        return a[0];
    case TP_E_AVERAGE:
        return (tp_growth){ 1, 1, 0, 0 }; /* a number, of which poles are found when it is known */
    case TP_E_CALL:
        y = tp_growth_unary(ad_unary_named(e->text),
                            e->n > 1 ? (e->args[1]->kind == TP_E_NEG ? -1 : 1) * fmax(fabs(a[1].lo), fabs(a[1].hi)) : 0,
                            a[0], &problem);
        break;
    case TP_E_NEG:
        return tp_growth_unary(AD_NEG, 0, a[0], &problem);
    default:
        if (ops[e->kind] == AD_MUL && e->args[0]->kind == TP_E_NAME && e->args[1]->kind == TP_E_NAME &&
            e->args[0]->var == e->args[1]->var)
            y = tp_growth_unary(AD_SQUARE, 0, a[0], &problem);
        else
            y = tp_growth_binary(ops[e->kind], a[0], a[1], &problem);
    }
    if (problem)
        ad_fail(g->error, "%s:%d: %s: %s: %s", g->script->file, g->command->line, g->command->name, name, problem);
    return y;
}

int tp_script_growth(const tp_script *script, ad_error *error)
{
    ad_error problem = { 0 };
    grower g = { .script = script, .error = &problem };
    g.growth = ad_alloc((size_t)script->n + 1, sizeof *g.growth, "checks", error);
    for (int k = 0; g.growth && k < script->n; k++) {
        g.command = &script->commands[k];
        bool body = g.command->rule != TP_MATMUL && g.command->body;
        tp_growth y = body ? growth_of(&g, g.command->body) : tp_growth_gaussian();
        g.growth[k] = g.command->type == 's' ? (tp_growth){ 1, 1, 0, 0 } : y;
    }
    bool made = g.growth != NULL;
    ad_free(g.growth);
    return !made ? -1 : problem.text[0] ? ad_fail(error, "%s", problem.text) : 0;
}
