/* equation.c: the equation of a chain's spectrum, and Newton's method on it, in the logarithms of all unknowns. */
#include "tp/spectrum/chain.h"

#include <math.h>
#include <string.h>

/* ---- the equation ---- */
static void add_space(tp_equation *e, double space, double exponent)
{
    int k = 0;
    while (k < e->n_spaces && fabs(e->spaces[k] - space) > 1e-12 * space)
        k++;
    e->spaces[k] = space;
    e->exponents[k] += exponent;
    e->n_spaces += k == e->n_spaces;
}

static void add_factor(tp_equation *e, const tp_chain_factor *f)
{
    switch (f->kind) {
    case TP_GAUSSIAN_FACTOR:
        e->gaussian = true;
        e->power += 1;
        e->constant += log(f->in / f->variance);
        add_space(e, f->in, -1);
        add_space(e, f->out, -1);
        e->first *= f->variance * f->out / f->in;
        break;
    case TP_ORTHOGONAL_FACTOR:
        e->power += 1;
        e->constant -= log(f->variance);
        add_space(e, f->in, -1);
        e->first *= f->variance;
        break;
    case TP_DIAGONAL_FACTOR:
        e->diagonals[e->n++] = f;
        e->first *= f->law.derivative;
        break;
    }
}

/* The rank, and the order of the pole of 1/z there. */
static void find_rank(tp_equation *e)
{
    e->rank = INFINITY;
    for (int k = 0; k < e->n_spaces; k++)
        e->rank = fmin(e->rank, e->spaces[k]);
    for (int k = 0; k < e->n; k++)
        e->rank = fmin(e->rank, e->diagonals[k]->in * (1 - e->diagonals[k]->law.zero));
    double poles = 0;
    for (int k = 0; k < e->n_spaces; k++)
        poles -= fabs(e->spaces[k] - e->rank) < 1e-12 * e->rank ? e->exponents[k] : 0;
    for (int k = 0; k < e->n; k++)
        poles += fabs(e->diagonals[k]->in * (1 - e->diagonals[k]->law.zero) - e->rank) < 1e-12 * e->rank;
    e->rank_poles = (int)lround(poles);
}

int tp_equation_of(tp_equation *e, const tp_chain *chain, ad_error *error)
{
    size_t count = (size_t)chain->n + 2;
    *e = (tp_equation){ .chain = chain, .constant = -chain->log_scale, .power = 1 - chain->n };
    e->diagonals = ad_alloc(count, sizeof *e->diagonals, "a spectrum", error);
    e->spaces = e->diagonals ? ad_alloc(count, sizeof *e->spaces, "a spectrum", error) : NULL;
    e->exponents = e->spaces ? ad_alloc(count, sizeof *e->exponents, "a spectrum", error) : NULL;
    if (!e->exponents) {
        tp_equation_free(e);
        return -1;
    }
    e->to = chain->factors[chain->n - 1].out;
    e->first = chain->factors[0].in * exp(chain->log_scale);
    for (int k = 0; k < chain->n; k++) {
        add_factor(e, &chain->factors[k]);
        if (k > 0)
            add_space(e, chain->factors[k].in, 1);
    }
    find_rank(e);
    if (e->first > 0 && isfinite(e->first) && e->rank > 0)
        return 0;
    tp_equation_free(e);
    return ad_fail(error, "spectrum: the Jacobian is 0 or has no finite mean square: no spectrum to find");
}

void tp_equation_free(tp_equation *e)
{
    ad_free(e->diagonals);
    ad_free(e->spaces);
    ad_free(e->exponents);
    *e = (tp_equation){ 0 };
}

/* ---- Newton's method ---- */
double complex tp_equation_m(const tp_equation *e, const double complex *u, double complex *above)
{
    double complex y = cexp(u[0]);
    *above = e->rank / (1 - y);
    return y * *above;
}

/* A law's equation, of psi or of what is left of it to its mass, by which has the digits: its residual; *by_m: the
 * derivative of the other side's logarithm by M; *by_w: of its own by log w. */
static double complex law_residual(const tp_equation *e, const tp_chain_factor *f, double complex log_w,
                                   double complex m, double complex above, double complex *by_m, double complex *by_w)
{
    tp_law_values v;
    double missing = f->in * (1 - f->law.zero) - e->rank;
    double complex left = above + (missing > 1e-12 * e->rank ? missing : 0);
    tp_law_at(&f->law, cexp(log_w), &v);
    if (!e->gaussian)
        tp_law_add_poles(&f->law, log_w, &v);
    if (cabs(left) < cabs(m)) {
        *by_m = 1 / left;
        *by_w = v.slope / v.rest;
        return clog(v.rest * f->in) - clog(left);
    }
    *by_m = 1 / m;
    *by_w = v.slope / v.psi;
    return clog(v.psi * f->in) - clog(m);
}

/* One step; returns its size. The laws' unknowns are eliminated: each stands in one equation of its own and, with
 * factor 1, in the product. */
static double newton_step(const tp_equation *e, double complex log_z, double complex *u, double complex *slope)
{
    double complex above, m = tp_equation_m(e, u, &above), f = log_z + e->constant + e->power * clog(m);
    double complex *shift = u + 1 + e->n, *rate = shift + e->n, all = 0;
    double largest = 0;
    *slope = e->power / m;
    for (int k = 0; k < e->n_spaces; k++) {
        double complex space = above + (e->spaces[k] - e->rank);
        f += e->exponents[k] * clog(space);
        *slope += e->exponents[k] / space;
    }
    for (int k = 0; k < e->n; k++) {
        double complex by_m, by_w;
        double complex residual = law_residual(e, e->diagonals[k], u[1 + k], m, above, &by_m, &by_w);
        shift[k] = residual / by_w;
        rate[k] = by_m / by_w;
        f += u[1 + k];
        *slope += rate[k];
        all += shift[k];
    }
    double complex step = -(f - all) / *slope; /* of M */
    for (int k = 0; k < e->n; k++)
        largest = fmax(largest, cabs(shift[k] = step * rate[k] - shift[k]));
    step *= e->rank / (m * above);
    largest = fmax(largest, cabs(step));
    double damping = largest > 1 ? 1 / largest : 1;
    u[0] += damping * step;
    for (int k = 0; k < e->n; k++)
        u[1 + k] += damping * shift[k];
    return largest;
}

static bool on_branch(const tp_equation *e, double complex *u)
{
    const double pi = 3.14159265358979323846, slack = 1e-9;
    for (int k = 0; k <= e->n; k++)
        if (!(cimag(u[k]) <= slack && cimag(u[k]) >= -pi - slack))
            return false;
    return true;
}

bool tp_equation_solve(const tp_equation *e, double complex log_z, double complex *u, double complex *slope)
{
    enum { STEPS = 40 };
    double largest = INFINITY;
    double complex derivative;
    for (int k = 0; k < STEPS && largest > 1e-9; k++) {
        largest = newton_step(e, log_z, u, &derivative);
        if (!isfinite(largest))
            return false;
        if (cimag(log_z) < 1e-14 && cimag(u[0]) > 0) /* of a real z both a solution and its conjugate are */
            for (int i = 0; i <= e->n; i++)
                u[i] = conj(u[i]);
    }
    if (slope)
        *slope = derivative;
    return largest <= 1e-9 && on_branch(e, u);
}

bool tp_equation_enter(const tp_equation *e, double at, double complex *u)
{
    double angle = 1, log_first = log(e->first), x = fmax(log_first, at) + 20;
    double complex m = cexp(log_first - x - I * angle);
    u[0] = clog(m / (e->rank + m));
    for (int k = 0; k < e->n; k++)
        u[1 + k] = clog(m / (e->diagonals[k]->law.derivative * e->diagonals[k]->in));
    if (!tp_equation_solve(e, x + I * angle, u, NULL))
        return false;
    while (x > at) {
        x = fmax(at, x - 0.5);
        if (!tp_equation_solve(e, x + I * angle, u, NULL))
            return false;
    }
    while (angle > 0) {
        angle = angle > 0.01 ? angle / 1.6 : 0;
        if (!tp_equation_solve(e, at + I * angle, u, NULL))
            return false;
    }
    return true;
}
