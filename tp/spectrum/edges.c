/* edges.c: where the spectrum of a chain ends, and its atoms.
 *
 * Outside the support z, M and all v = 1/w are real, and z(M) is smooth there; an end is where d log z / d log M = 0
 * (Silverstein and Choi, 1995). Where it stays of one sign up to infinite M, the density ends in 1 / sqrt, or there is
 * an atom, a pole of M, and the support of the rest ends beyond it. */
#include "autodiff/base/base.h"
#include "tp/spectrum/chain.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Which interval between a law's values a real v lies in. */
typedef enum { ABOVE_ALL, BELOW_ALL, BELOW_TOP, ABOVE_BOTTOM, NEGATIVE } region;

static double place(const tp_law *law, region r, double y)
{
    double top = law->squares[law->n - 1], bottom = law->squares[0], low = 0, high = bottom;
    switch (r) {
    case ABOVE_ALL:
        return top + top * exp(y);
    case NEGATIVE:
        return -bottom * exp(y);
    case BELOW_TOP:
        low = law->n > 1 ? law->squares[law->n - 2] : 0;
        high = top;
        break;
    case ABOVE_BOTTOM:
        low = bottom;
        high = law->n > 1 ? law->squares[1] : 2 * bottom;
        break;
    case BELOW_ALL:
        break;
    }
    return y < 0 ? low + (high - low) * exp(y) / (1 + exp(y)) : high - (high - low) * exp(-y) / (1 + exp(-y));
}

/* psi at v = 1/w, and w psi'. */
static double psi_at(const tp_law *law, double v, double *slope)
{
    double psi = 0;
    *slope = 0;
    for (size_t i = 0; i < law->n; i++) {
        double r = 1 / (v - law->squares[i]), term = law->masses[i] * law->squares[i] * r;
        psi += term;
        *slope += term * r * v;
    }
    return psi;
}

/* v with psi = m in the region, where psi falls from end to end as v rises; false if there is none. */
static bool invert(const tp_law *law, region r, double m, double *v, double *slope)
{
    double low = r == ABOVE_ALL || r == NEGATIVE ? -80 : -36, high = r == ABOVE_ALL || r == NEGATIVE ? 80 : 36,
           sign = r == NEGATIVE ? -1 : 1;
    if (sign * (psi_at(law, place(law, r, low), slope) - m) < 0 ||
        sign * (psi_at(law, place(law, r, high), slope) - m) > 0)
        return false;
    double y = r == ABOVE_ALL ? fmin(fmax(log(law->derivative / (m * law->squares[law->n - 1])), -70), 70) : 0;
    for (int k = 0; k < 200 && high - low > 1e-15 * fmax(1, fabs(y)); k++) {
        *v = place(law, r, y);
        double f = psi_at(law, *v, slope) - m;
        *(sign * f > 0 ? &low : &high) = y;
        double top = law->squares[law->n - 1], bound = r == ABOVE_ALL ? top : 0;
        double derivative = r == ABOVE_ALL || r == NEGATIVE ? -*slope / *v * (*v - bound) : NAN; /* d psi / dy */
        double next = y - f / derivative;
        bool inside = next > low && next < high;
        if (inside && fabs(next - y) < 1e-11 * fmax(1, fabs(y))) {
            *v = place(law, r, next);
            psi_at(law, *v, slope);
            return true;
        }
        y = inside ? next : (low + high) / 2;
    }
    return true;
}

/* At real M: d log(1/z) / d log M and log z. False where there is no such point. */
static bool at_real(const tp_equation *e, double m, region positive, region negative, double *slope, double *log_z)
{
    *slope = e->power;
    *log_z = -e->constant - e->power * log(fabs(m));
    for (int k = 0; k < e->n_spaces; k++) {
        *slope += e->exponents[k] * m / (e->spaces[k] + m);
        *log_z -= e->exponents[k] * log(fabs(e->spaces[k] + m));
    }
    for (int k = 0; k < e->n; k++) {
        const tp_law *law = &e->diagonals[k]->law;
        double psi = m / e->diagonals[k]->in, v = 0, derivative;
        region r = m > 0 ? positive : negative;
        if (r == BELOW_ALL && psi > law->zero - 1)
            r = NEGATIVE;
        if (!invert(law, r, psi, &v, &derivative))
            return false;
        *slope += psi / derivative;
        *log_z += log(fabs(v));
    }
    return isfinite(*log_z) && isfinite(*slope);
}

/* The first M = base + sign e^s, s from `from` to `to`, where the slope changes its sign: its log z. Infinite M is told
 * by `open`, with log z there. -1: no point, 0: found. */
static int find_end(const tp_equation *e, double base, double sign, double from, double to, region positive,
                    region negative, double *log_z, bool *open)
{
    enum { PIECES = 120 };
    double before = 0, at = from, slope = 0, step = (to - from) / PIECES, z = 0;
    bool any = false;
    *open = false;
    for (int k = 0; k <= PIECES; k++) {
        double s = from + step * k;
        if (!at_real(e, base + sign * exp(s), positive, negative, &slope, &z))
            continue;
        if (any && slope * before <= 0) {
            double low = at, high = s;
            for (int i = 0; i < 100 && high - low > 1e-14 * fmax(1, fabs(low)); i++) {
                double middle = (low + high) / 2;
                if (!at_real(e, base + sign * exp(middle), positive, negative, &slope, log_z))
                    return -1;
                *(slope * before > 0 ? &low : &high) = middle;
            }
            return 0;
        }
        any = true;
        before = slope;
        at = s;
        *log_z = z;
    }
    *open = any;
    return any ? 0 : -1;
}

static const double far = 16; /* the logarithm of an M that counts as infinite */

/* The log of the product of all laws' largest or smallest values, and how much mass the others have in all. */
static double extreme(const tp_equation *e, bool top, double *rest)
{
    double log_z = e->chain->log_scale;
    *rest = 0;
    for (int k = 0; k < e->chain->n; k++) {
        const tp_chain_factor *f = &e->chain->factors[k];
        size_t i = top ? f->law.n - 1 : 0;
        if (f->kind != TP_DIAGONAL_FACTOR) {
            log_z += log(f->variance);
            continue;
        }
        log_z += log(f->law.squares[i]);
        *rest += f->law.atoms[i] ? 1 - f->law.masses[i] : 1;
    }
    return log_z;
}

int tp_find_edges(const tp_equation *e, tp_edges *edges, ad_error *error)
{
    double rest;
    *edges = (tp_edges){ .low = -INFINITY };
    bool atomic = !e->gaussian && e->n == 0, open;
    if (atomic) {
        edges->empty = true;
        return 0;
    }
    if (find_end(e, 0, 1, -far, far, ABOVE_ALL, ABOVE_ALL, &edges->high, &open))
        return ad_fail(error, "spectrum: the right end of the density is not found");
    if (open) { /* an atom, or an infinite density, at the product of the largest values */
        edges->high = extreme(e, true, &rest);
        edges->high_open = true;
        if (!e->gaussian && rest < 1 - 1e-12) {
            edges->high_open = false;
            if (find_end(e, 0, -1, far, log(e->rank), BELOW_TOP, BELOW_TOP, &edges->high, &open) || open)
                edges->empty = true;
        }
    }
    for (int k = 0; k < e->n; k++)
        if (e->diagonals[k]->law.vanishes && !(e->diagonals[k]->law.zero > 0))
            return 0;
    if (e->rank_poles != 1 || (e->gaussian && e->rank > 0 && e->n == 0 && e->n_spaces == 1))
        return 0;
    if (find_end(e, -e->rank, -1, -24, far, BELOW_ALL, BELOW_ALL, &edges->low, &open)) {
        edges->low = -INFINITY;
        return 0;
    }
    if (open && !e->gaussian) {
        edges->low = extreme(e, false, &rest);
        edges->low_open = true;
        if (rest < 1 - 1e-12) {
            edges->low_open = false;
            if (find_end(e, 0, 1, far, -far, ABOVE_BOTTOM, ABOVE_BOTTOM, &edges->low, &open) || open)
                edges->empty = true;
        }
    }
    return 0;
}

/* ---- atoms ---- */
typedef struct {
    const tp_equation *e;
    tp_atom *atoms;
    int n, capacity;
    ad_error *error;
} atom_list;

static int add_atom(atom_list *list, double at, double mass)
{
    for (int k = 0; k < list->n; k++)
        if (fabs(list->atoms[k].at - at) <= 1e-12 * at) {
            list->atoms[k].mass += mass;
            return 0;
        }
    if (!ad_grow((void **)&list->atoms, list->n, &list->capacity, sizeof *list->atoms, "atoms", list->error))
        return -1;
    list->atoms[list->n++] = (tp_atom){ at, mass };
    return 0;
}

/* An atom of a free product is a product of atoms whose masses miss less than 1 in all (Belinschi, 2003). */
static int add_products(atom_list *list, int k, double at, double missing)
{
    if (k == list->e->n)
        return add_atom(list, at, 1 - missing);
    const tp_law *law = &list->e->diagonals[k]->law;
    for (size_t i = 0; i < law->n; i++)
        if (law->atoms[i] && missing + 1 - law->masses[i] < 1 - 1e-12 &&
            add_products(list, k + 1, at * law->squares[i], missing + 1 - law->masses[i]))
            return -1;
    return 0;
}

int tp_find_atoms(const tp_equation *e, tp_atom **atoms, ad_error *error)
{
    atom_list list = { .e = e, .error = error };
    double scale = exp(e->chain->log_scale), zero = 1 - e->rank / e->to;
    int status = zero > 1e-14 ? add_atom(&list, 0, zero) : 0;
    for (int k = 0; k < e->chain->n; k++)
        scale *= e->chain->factors[k].kind == TP_DIAGONAL_FACTOR ? 1 : e->chain->factors[k].variance;
    if (!status && !e->gaussian)
        status = add_products(&list, 0, scale, 0);
    *atoms = list.atoms;
    return status ? -1 : list.n;
}
