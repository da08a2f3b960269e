/* moments.c: means of a function of one Gaussian, and of its derivative, by panels that double from 0 and from kinks
 * on, so that thin layers there are seen at any variance. */
#include "tp/gauss/gauss.h"

#include <math.h>

enum { PANEL = 8, MOST_CUTS = 64 };

/* f and f' at x[0 .. PANEL), between which and a jump there is `room`. */
static void values_at(const tp_univariate *f, double root, double room, double x[3 * PANEL], double g[2][PANEL])
{
    double y[3 * PANEL];
    for (int k = 0; k < PANEL; k++) {
        double step = fmin(1e-5 * fmin(1, root) + 1e-9 * fabs(x[k]), room / 2);
        x[k + PANEL] = x[k] - step;
        x[k + 2 * PANEL] = x[k] + step;
    }
    tp_evaluate(f, (size_t)3 * PANEL, x, y);
    for (int k = 0; k < PANEL; k++) {
        g[0][k] = y[k];
        g[1][k] = (y[k + 2 * PANEL] - y[k + PANEL]) / (x[k + 2 * PANEL] - x[k + PANEL]);
    }
}

/* Adds the panel [left, right] of u = x / root, with Gaussian weights that are not normalised. edge: f and f' at either
 * end of the cell. */
static void add_panel(const tp_univariate *f, double root, double left, double right, double cell,
                      double edge[2][PANEL], tp_moments *m)
{
    static const double node[PANEL / 2] = { 0.18343464249564980, 0.52553240991632899, 0.79666647741362674,
                                            0.96028985649753623 };
    static const double weight[PANEL / 2] = { 0.36268378337836198, 0.31370664587788729, 0.22238103445337447,
                                              0.10122853629037626 };
    double x[3 * PANEL], g[2][PANEL], half = (right - left) / 2, centre = left + half;
    for (int k = 0; k < PANEL; k++)
        x[k] = root * (left + half * (1 + (k % 2 ? -1 : 1) * node[k / 2]));
    values_at(f, root, root * half * (1 - node[PANEL / 2 - 1]), x, g);
    for (int k = 0; k < PANEL; k++) {
        double u = x[k] / root, w = half * weight[k / 2] * exp(-u * u / 2);
        for (int order = 0; order < 2; order++) {
            double square = g[order][k] * g[order][k], side = edge[order][centre > 0];
            double fourth = square * square, off = fabs(square - side * side);
            m->square[order] += isfinite(square) ? w * square : 0;
            m->fourth[order] += isfinite(fourth) ? w * fourth : 0;
            m->middle[order] += isfinite(fourth) && fabs(centre) < 1 ? w * fourth : 0;
            m->hidden[order] += isfinite(off) && fabs(centre) < cell ? w * off : 0;
        }
    }
}

static size_t add_cut(double *cuts, size_t n, double at, double length)
{
    size_t i = n;
    if (!(fabs(at) < length))
        return n;
    for (; i > 1 && cuts[i - 1] > at; i--)
        cuts[i] = cuts[i - 1];
    cuts[i] = at;
    return n + 1;
}

bool tp_moments_of(const tp_univariate *f, double q, double cell, tp_moments *m)
{
    const double length = 38, first = 0.25, root_2pi = 2.50662827463100050242;
    const double ends[] = { -1, 0, 1, -cell, cell };
    double cuts[MOST_CUTS + 7], root = sqrt(q), at[3 * PANEL] = { -cell * root, cell * root }, edge[2][PANEL];
    size_t n = 0;
    *m = (tp_moments){ { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 } };
    if (!(q > 0) || !isfinite(q) || f->n_kinks > MOST_CUTS || !f->eval)
        return false;
    cuts[n++] = -length;
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
        n = add_cut(cuts, n, ends[k], length);
    for (int k = 0; k < f->n_kinks; k++)
        n = add_cut(cuts, n, f->kinks[k] / root, length);
    cuts[n++] = length;
    values_at(f, root, cell * root, at, edge);
    for (size_t k = 0; k + 1 < n; k++) {
        double half = (cuts[k + 1] - cuts[k]) / 2, step = first / fmax(1, root), from = 0;
        while (from < half) {
            double next = fmin(from + step, half);
            add_panel(f, root, cuts[k] + from, cuts[k] + next, cell, edge, m);
            add_panel(f, root, cuts[k + 1] - next, cuts[k + 1] - from, cell, edge, m);
            from = next;
            step = fmin(2 * step, 1);
        }
    }
    for (int order = 0; order < 2; order++) {
        m->square[order] /= root_2pi;
        m->fourth[order] /= root_2pi;
        m->middle[order] /= root_2pi;
        m->hidden[order] /= root_2pi;
    }
    return true;
}
