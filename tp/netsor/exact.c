/* exact.c: a program's means and second moments by the Master theorem, command by command.
 *
 * The general rule (Tensor Programs III, arXiv:2009.10685): Z^{Wx} = Ẑ + Ż. Ẑ is Gaussian, Cov(Ẑ^{Wx}, Ẑ^{Wx̄}) =
 * σ² E Z^x Z^x̄, independent of all that is no product with the same W from the same side. Ż = σ² Σ_i Z^{y_i} d_i over
 * the earlier products Wᵀy_i, where d solves Cov(Ẑ^{Wᵀy_i}, Ẑ^{Wᵀy_k}) d = E Z^x Ẑ^{Wᵀy_i}: by Stein's lemma d_i is
 * E ∂Z^x/∂Ẑ^{Wᵀy_i}, and where Ẑs coincide any solution gives the same vector. W has the variance σ²/columns, so that
 * Wᵀ has σ² rows/columns in place of σ². The simple rule (Tensor Programs II) leaves Ż out. */
#include "tp/netsor/script.h"
#include "tp/netsor/wick.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

/* A product with a matrix: of which, from which side, and which Gaussian it brought. */
typedef struct {
    int root, command, gaussian;
    bool transposed;
} product;

typedef struct {
    const tp_script *script;
    const tp_solve_spec *spec;
    tp_basis basis;
    tp_wick *values; /* by command */
    int *gaussian;   /* by command: of an input vector; -1 */
    product *products;
    int n_products;
    bool general, dot, underflows;
    ad_error *error;
} solver;

static const tp_command *command(const solver *s, int k)
{
    return &s->script->commands[k];
}

/* ---- expressions ---- */
static tp_wick value_of(solver *s, const tp_expr *e);

static tp_wick call(solver *s, const tp_expr *e)
{
    int op = ad_unary_named(e->text), order = 0;
    const ad_function *function = tp_script_custom(s->script, e->text, &order);
    double p = 0;
    if (op < 0 && !function)
        return tp_wick_unknown();
    if (op >= 0 && tp_takes_parameter(op))
        p = e->args[1]->kind == TP_E_NEG ? -e->args[1]->args[0]->c : e->args[1]->c;
    return tp_wick_function(&s->basis, function ? AD_CUSTOM : op, p, function, order, value_of(s, e->args[0]));
}

/* The average of a vector, of all of its powers of n. */
static tp_wick average(solver *s, tp_wick x)
{
    tp_wick sum = tp_wick_number(&s->basis, 0, 0);
    double most = 0;
    for (int k = 0; x.known && k < x.n; k++) {
        tp_wick one = { .known = true, .n = 1, .terms = &x.terms[k] };
        double e = tp_wick_expectation(&s->basis, &one, x.terms[k].power);
        most = fmax(most, fabs(e));
        sum = tp_wick_sum(&s->basis, sum, 1, tp_wick_number(&s->basis, e, x.terms[k].power));
    }
    s->underflows = s->underflows || tp_wick_underflows(&s->basis, &x, most);
    return x.known ? sum : x;
}

static tp_wick value_of(solver *s, const tp_expr *e)
{
    tp_basis *b = &s->basis;
    switch (e->kind) {
    case TP_E_NUMBER:
        return tp_wick_number(b, e->c, 0);
    case TP_E_N:
        return tp_wick_number(b, 1, e->c);
    case TP_E_NAME:
        return e->var < 0 || e->c > 0 ? tp_wick_unknown() : s->values[e->var];
    case TP_E_CALL:
        return call(s, e);
    case TP_E_ADD:
        return tp_wick_sum(b, value_of(s, e->args[0]), 1, value_of(s, e->args[1]));
    case TP_E_SUB:
        return tp_wick_sum(b, value_of(s, e->args[0]), -1, value_of(s, e->args[1]));
    case TP_E_NEG:
        return tp_wick_sum(b, tp_wick_number(b, 0, 0), -1, value_of(s, e->args[0]));
    case TP_E_BRACKET:
        return value_of(s, e->args[0]);
    case TP_E_TIMES:
    case TP_E_ODOT:
        return tp_wick_product(b, value_of(s, e->args[0]), value_of(s, e->args[1]));
    case TP_E_OVER:
        return tp_wick_product(b, value_of(s, e->args[0]),
                               tp_wick_function(b, AD_POWER, -1, NULL, 0, value_of(s, e->args[1])));
    case TP_E_AVERAGE:
        return average(s, e->n == 1 ? value_of(s, e->args[0])
                                    : tp_wick_product(b, value_of(s, e->args[0]), value_of(s, e->args[1])));
    case TP_E_SUM:
        return tp_wick_unknown();
    }
    return tp_wick_unknown();
}

/* What is left at n = infinity; what grows has no limit. */
static int drop_powers(solver *s, int k, tp_wick *x)
{
    int kept = 0;
    for (int i = 0; x->known && i < x->n; i++)
        if (x->terms[i].power > 1e-9)
            return ad_fail(s->error, "%s:%d: %s: it grows like n^%g: no limit", s->script->file, command(s, k)->line,
                           command(s, k)->name, x->terms[i].power);
        else if (x->terms[i].power > -1e-9)
            x->terms[kept++] = x->terms[i];
    x->n = kept;
    return 0;
}

/* ---- products ---- */
static double expect_product(solver *s, tp_wick a, tp_wick b)
{
    tp_wick both = tp_wick_product(&s->basis, a, b);
    return tp_wick_expectation(&s->basis, &both, 0);
}

/* d of Ż over the products with the other side: minimum norm least squares. */
static int solve_stein(const solver *s, int n, double *covariance, double *d)
{
    double *singular = ad_alloc((size_t)n, sizeof *singular, "Z dot", s->error);
    int rank,
        status = singular ? LAPACKE_dgelsd(LAPACK_ROW_MAJOR, n, n, 1, covariance, n, d, 1, singular, 1e-10, &rank) : -1;
    ad_free(singular);
    return status ? ad_fail(s->error, "the coefficients of Z dot cannot be found") : 0;
}

static int add_dot(solver *s, const product *p, double factor, tp_wick x, tp_wick *value)
{
    int *others = ad_alloc((size_t)s->n_products + 1, sizeof *others, "Z dot", s->error), n = 0, status = -1;
    double *cov = NULL, *d = NULL;
    for (int i = 0; others && i < s->n_products; i++)
        if (s->products[i].root == p->root && s->products[i].transposed != p->transposed)
            others[n++] = i;
    cov = ad_alloc((size_t)(n * n) + 1, sizeof *cov, "Z dot", s->error);
    d = ad_alloc((size_t)n + 1, sizeof *d, "Z dot", s->error);
    if (!others || !cov || !d)
        goto done;
    bool known = true, zero = true;
    for (int i = 0; i < n; i++) {
        int gaussian = s->products[others[i]].gaussian;
        d[i] = expect_product(s, x, tp_wick_gaussian(&s->basis, gaussian, 0));
        for (int k = 0; k < n; k++) {
            cov[i * n + k] = s->basis.covariance[gaussian * s->basis.capacity + s->products[others[k]].gaussian];
            known = known && !isnan(cov[i * n + k]);
        }
        known = known && !isnan(d[i]);
        zero = zero && fabs(d[i]) <= 1e-13 * sqrt(fabs(cov[i * n + i])) * sqrt(fabs(expect_product(s, x, x)));
    }
    status = 0;
    if (!known)
        *value = tp_wick_unknown();
    else if (n > 0 && !zero && (status = solve_stein(s, n, cov, d)) == 0) {
        s->dot = true;
        for (int i = 0; i < n; i++) {
            int y = command(s, s->products[others[i]].command)->vector;
            *value = tp_wick_sum(&s->basis, *value, factor * d[i], s->values[y]);
        }
    }
done:
    ad_free(others);
    ad_free(cov);
    ad_free(d);
    return status;
}

static int multiply(solver *s, int k)
{
    const tp_command *c = command(s, k);
    int root = c->matrix;
    bool transposed = false;
    for (; command(s, root)->transposed; root = command(s, root)->matrix)
        transposed = !transposed;
    const tp_command *w = command(s, root);
    double ratio = s->script->widths[w->width].ratio / s->script->widths[w->width2].ratio;
    double factor = w->variance * (transposed ? ratio : 1);
    tp_wick x = *c->origin ? tp_wick_unknown() : s->values[c->vector];
    product *p = &s->products[s->n_products];
    *p = (product){ root, k, tp_basis_add(&s->basis), transposed };
    for (int i = 0; i < s->n_products; i++)
        if (s->products[i].root == root && s->products[i].transposed == transposed)
            tp_basis_set(&s->basis, p->gaussian, s->products[i].gaussian,
                         factor * expect_product(s, x, s->values[command(s, s->products[i].command)->vector]));
    double square = expect_product(s, x, x);
    s->underflows = s->underflows || (square > 0 && factor > 0 && factor * square < TP_LEAST);
    tp_basis_set(&s->basis, p->gaussian, p->gaussian, factor * square);
    s->values[k] = tp_wick_gaussian(&s->basis, p->gaussian, 0);
    int status = s->general ? add_dot(s, p, factor, x, &s->values[k]) : 0;
    s->n_products++;
    return status;
}

/* ---- all commands ---- */
static int add_inputs(solver *s)
{
    const tp_script *script = s->script;
    int *which = ad_alloc((size_t)script->n + 1, sizeof *which, "inputs", s->error), status = which ? 0 : -1, count;
    for (int width = 0; width < script->n_widths && !status; width++) {
        double *cov = tp_script_inputs(script, s->spec, width, which, &count, s->error);
        status = cov ? 0 : -1;
        for (int i = 0; i < count && !status; i++) {
            s->gaussian[which[i]] = tp_basis_add(&s->basis);
            for (int k = 0; k <= i; k++)
                tp_basis_set(&s->basis, s->gaussian[which[i]], s->gaussian[which[k]], cov[i * count + k]);
            s->values[which[i]] = tp_wick_gaussian(&s->basis, s->gaussian[which[i]], command(s, which[i])->mean);
        }
        ad_free(cov);
    }
    ad_free(which);
    return status;
}

/* Is v an input that x knows nothing of? */
static bool is_readout(solver *s, int v, int x)
{
    bool *fed = ad_arena_alloc(s->basis.algebra.arena, (size_t)s->script->n + 1, sizeof *fed);
    s->basis.full = s->basis.full || !fed;
    return fed && tp_script_independent(s->script, v, x, fed);
}

/* The variance of an output: a sum of c ⟨x, v⟩ √n, of readouts v that nothing else knows, and of random scalars. Given
 * x it is Gaussian, of variance c² E x² E v² over the width's ratio. NAN where it is none of these. */
static double output_variance(solver *s, const tp_expr *e, double c, double power)
{
    switch (e->kind) {
    case TP_E_BRACKET:
        return output_variance(s, e->args[0], c, power);
    case TP_E_NEG:
        return output_variance(s, e->args[0], -c, power);
    case TP_E_ADD:
    case TP_E_SUB:
        return output_variance(s, e->args[0], c, power) + output_variance(s, e->args[1], c, power);
    case TP_E_TIMES:
    case TP_E_OVER: {
        const tp_expr *front = e->args[0], *rest = e->args[1];
        if (e->kind == TP_E_OVER || (front->kind != TP_E_NUMBER && front->kind != TP_E_N && front->kind != TP_E_OVER &&
                                     front->kind != TP_E_TIMES))
            return NAN;
        tp_wick factor = value_of(s, front);
        if (!factor.known || factor.n != 1 || factor.terms[0].n)
            return NAN;
        return output_variance(s, rest, c * factor.terms[0].c, power + factor.terms[0].power);
    }
    case TP_E_NAME: {
        const tp_command *of = e->var >= 0 ? command(s, e->var) : NULL;
        bool centred = of && of->rule == TP_INPUT && of->type == 's' && !(fabs(of->mean) > 0);
        return centred && !(fabs(power) > 1e-9) ? c * c * of->variance : NAN;
    }
    case TP_E_AVERAGE: {
        if (e->n != 2 || e->args[0]->kind != TP_E_NAME || e->args[1]->kind != TP_E_NAME)
            return NAN;
        int x = e->args[0]->var, v = e->args[1]->var;
        if (x < 0 || v < 0 || fabs(power - 0.5) > 1e-9 || !is_readout(s, v, x) == !is_readout(s, x, v))
            return NAN;
        double ratio = s->script->widths[command(s, x)->width].ratio;
        double of_x = expect_product(s, s->values[x], s->values[x]),
               of_v = expect_product(s, s->values[v], s->values[v]);
        double variance = c * c * of_x * of_v / ratio;
        s->underflows = s->underflows || (variance < TP_LEAST && of_x > 0 && of_v > 0 && fabs(c) > 0);
        return variance;
    }
    default:
        return NAN;
    }
}

static int run(solver *s, int k)
{
    const tp_command *c = command(s, k);
    switch (c->rule) {
    case TP_INPUT:
        if (c->type == 's')
            s->values[k] = c->variance > 0 ? tp_wick_unknown() : tp_wick_number(&s->basis, c->mean, 0);
        return 0;
    case TP_MATMUL:
        return multiply(s, k);
    case TP_LINCOMB:
    case TP_NONLIN:
    case TP_MOMENT:
        s->values[k] = value_of(s, c->body);
        return drop_powers(s, k, &s->values[k]);
    default:
        return 0;
    }
}

static int out_of_range(const solver *s, const tp_command *c, const char *what, bool below)
{
    return ad_fail(s->error,
                   "%s:%d: %s: its %s leaves the range of a double (%s): %s inputs, weights or powers keep it",
                   s->script->file ? s->script->file : "a program", c->line, c->name, what,
                   below ? "it is below 1e-300, and not 0" : "1.8e308", below ? "larger" : "smaller");
}

static int tell(solver *s, double *values, double *products)
{
    size_t n = (size_t)s->script->n;
    for (size_t k = 0; k < n; k++) {
        const tp_command *c = command(s, (int)k);
        values[2 * k] = values[2 * k + 1] = NAN;
        if (c->type == 'f')
            values[2 * k + 1] = output_variance(s, c->body, 1, 0);
        if (c->type == 's' || c->type == 'G' || c->type == 'H')
            values[2 * k] = tp_wick_expectation(&s->basis, &s->values[k], 0);
        if (c->type == 'G' || c->type == 'H')
            values[2 * k + 1] = expect_product(s, s->values[k], s->values[k]);
        if (isinf(values[2 * k]) || isinf(values[2 * k + 1]))
            return out_of_range(s, c, isinf(values[2 * k]) ? "mean" : "second moment", false);
        if (c->type == 'G' || c->type == 'H') {
            tp_wick square = tp_wick_product(&s->basis, s->values[k], s->values[k]);
            s->underflows = s->underflows || tp_wick_underflows(&s->basis, &square, values[2 * k + 1]);
        }
        if (s->underflows)
            return out_of_range(s, c, c->type == 's' ? "value" : c->type == 'f' ? "variance" : "second moment", true);
        for (size_t i = 0; i <= k && products; i++) {
            const tp_command *o = command(s, (int)i);
            bool pair = c->type == 'G' && o->type == 'G' && c->width == o->width;
            products[k * n + i] = products[i * n + k] = pair ? expect_product(s, s->values[k], s->values[i]) : 0;
        }
        if (s->spec->progress)
            s->spec->progress(((double)k + 1) / (double)n, s->spec->context);
    }
    return 0;
}

/* Each input and each product brings a Gaussian; their covariances are a table. */
static int open_basis(solver *s)
{
    enum { MOST = 2048 };
    int gaussians = 0;
    for (int k = 0; k < s->script->n; k++)
        gaussians += command(s, k)->rule == TP_INPUT || command(s, k)->rule == TP_MATMUL;
    if (gaussians > MOST)
        return ad_fail(
            s->error,
            "%s: %d inputs and products: exact values are for up to %d, whose covariances are kept; solve it "
            "in parts, or trace it as a network (limn kernel), whose layers may be more",
            s->script->file ? s->script->file : "a program", gaussians, MOST);
    return tp_basis_new(&s->basis, gaussians, s->error);
}

int tp_script_exact(const tp_script *script, const tp_solve_spec *spec, bool general, double *values, double *products,
                    bool *dot, ad_error *error)
{
    solver s = { .script = script, .spec = spec, .general = general, .error = error };
    size_t n = (size_t)script->n + 1;
    int status = open_basis(&s);
    s.values = status ? NULL : ad_arena_alloc(s.basis.algebra.arena, n, sizeof *s.values);
    s.gaussian = s.values ? ad_arena_alloc(s.basis.algebra.arena, n, sizeof *s.gaussian) : NULL;
    s.products = s.gaussian ? ad_arena_alloc(s.basis.algebra.arena, n, sizeof *s.products) : NULL;
    if (!status && !s.products)
        status = ad_fail(error, "out of memory for a program of %d commands", script->n);
    if (!status)
        status = add_inputs(&s);
    for (int k = 0; k < script->n && !status; k++)
        status = run(&s, k) || (s.underflows && out_of_range(&s, command(&s, k), "value", true)) ? -1 : 0;
    if (!status)
        status = tell(&s, values, products);
    *dot = s.dot;
    if (!status && s.basis.full)
        status = ad_fail(error, "out of memory for the expectations of a program");
    tp_basis_free(&s.basis);
    return status ? -1 : 0;
}
