/* pieces.c: a function that takes long to evaluate as polynomials on pieces of an interval: interpolation in
 * Chebyshev's points of the first kind, each piece halved until its coefficients have fallen to the function's own
 * rounding (Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 3, 5 and 8). */
#include "autodiff/base/base.h"
#include "tp/gauss/gauss.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { NODES = 24, MOST_PIECES = TP_MOST_PIECES, MOST_HALVINGS = 36, TESTS = 5, BLOCK = 64, FEW_STEPS = 32 };
static const double reach = 64;

typedef struct {
    tp_univariate f;
    int n;
    double ends[MOST_PIECES + 1], inner[MOST_PIECES];
    double coefficients[MOST_PIECES][NODES]; /* of Chebyshev's polynomials; the first is NAN where f itself is asked */
} pieces;

/* y (n): sum c_k T_k(t), t in [-1, 1], by Clenshaw's recursion. */
static void evaluate(const double *c, size_t n, const double *t, double *y)
{
    double twice[BLOCK], one[BLOCK] = { 0 }, two[BLOCK] = { 0 };
    for (size_t i = 0; i < n; i++)
        twice[i] = 2 * t[i];
    for (int k = NODES - 1; k > 0; k--)
        for (size_t i = 0; i < n; i++) {
            double next = c[k] + twice[i] * one[i] - two[i];
            two[i] = one[i];
            one[i] = next;
        }
    for (size_t i = 0; i < n; i++)
        y[i] = c[0] + t[i] * one[i] - two[i];
}

/* The piece that x is inside of; -1: none, or at an end. */
static int find_piece(const pieces *p, double x)
{
    int low = 0, high = p->n;
    if (!(x > p->ends[0] && x < p->ends[p->n]))
        return -1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        *(x < p->ends[middle] ? &high : &low) = middle;
    }
    return x > p->ends[low] && !isnan(p->coefficients[low][0]) ? low : -1;
}

static bool inside(const pieces *p, int piece, double x)
{
    return piece < 0 ? find_piece(p, x) < 0 : x > p->ends[piece] && x < p->ends[piece + 1];
}

static void eval_pieces(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const pieces *p = u->context;
    double t[BLOCK];
    for (size_t i = 0, count; i < n; i += count) {
        int piece = find_piece(p, x[i]);
        for (count = 1; count < BLOCK && i + count < n && inside(p, piece, x[i + count]); count++)
            ;
        if (piece < 0) {
            p->f.eval(&p->f, count, x + i, y + i);
            continue;
        }
        double middle = (p->ends[piece] + p->ends[piece + 1]) / 2, scale = 2 / (p->ends[piece + 1] - p->ends[piece]);
        for (size_t k = 0; k < count; k++)
            t[k] = (x[i + k] - middle) * scale;
        evaluate(p->coefficients[piece], count, t, y + i);
    }
}

/* The polynomial on [left, right]: true where it is f but for rounding; else its first coefficient is NAN. */
static bool interpolate(const tp_univariate *f, double left, double right, double *c)
{
    static const double tests[TESTS] = { -0.97, -0.51, 0.07, 0.62, 0.985 };
    const double pi = 3.14159265358979323846, own = DBL_EPSILON * (4 + sqrt(f->steps));
    double middle = (left + right) / 2, half = (right - left) / 2, x[NODES + TESTS], y[NODES + TESTS], z[TESTS];
    double size = 0, off = 0;
    for (int i = 0; i < NODES; i++)
        x[i] = middle + half * cos(pi * (i + 0.5) / NODES);
    for (int i = 0; i < TESTS; i++)
        x[NODES + i] = middle + half * tests[i];
    f->eval(f, NODES + TESTS, x, y);
    for (int i = 0; i < NODES + TESTS; i++)
        size = isfinite(y[i]) ? fmax(size, fabs(y[i])) : (double)INFINITY;
    for (int k = 0; k < NODES; k++) {
        c[k] = 0;
        for (int i = 0; i < NODES; i++)
            c[k] += (k ? 2.0 : 1.0) / NODES * y[i] * cos(pi * k * (i + 0.5) / NODES);
    }
    evaluate(c, TESTS, tests, z);
    for (int i = 0; i < TESTS; i++)
        off = fmax(off, fabs(z[i] - y[NODES + i]));
    for (int k = NODES - 3; k < NODES; k++)
        off = fmax(off, fabs(c[k]));
    bool fine = isfinite(size) && off <= own * size;
    if (!fine)
        c[0] = (double)NAN;
    return fine;
}

/* Pieces of [left, right] from left to right; false where there are too many. */
static bool divide(pieces *p, double left, double right, int halvings)
{
    if (p->n == MOST_PIECES)
        return false;
    if (!interpolate(&p->f, left, right, p->coefficients[p->n]) && halvings > 0)
        return divide(p, left, (left + right) / 2, halvings - 1) && divide(p, (left + right) / 2, right, halvings - 1);
    p->ends[p->n++] = left;
    p->ends[p->n] = right;
    return true;
}

/* The function's kinks within reach, its ends and 0, ascending; how many. */
static int place_ends(const tp_univariate *f, double *ends)
{
    int n = 0;
    ends[n++] = -reach;
    ends[n++] = 0;
    ends[n++] = reach;
    for (int k = 0; k < f->n_kinks; k++) {
        int i = n;
        if (!(fabs(f->kinks[k]) < reach) || !(fabs(f->kinks[k]) > 0))
            continue;
        for (; ends[i - 1] > f->kinks[k]; i--)
            ends[i] = ends[i - 1];
        ends[i] = f->kinks[k];
        n++;
    }
    return n;
}

int tp_in_pieces(tp_univariate *u, ad_arena *arena, ad_error *error)
{
    double ends[MOST_PIECES + 3];
    if (u->steps < FEW_STEPS || u->n_kinks > MOST_PIECES / 2)
        return 0;
    pieces *p = ad_arena_alloc(arena, 1, sizeof *p);
    if (!p)
        return ad_fail(error, "out of memory for a function's pieces");
    p->f = *u;
    bool fine = true;
    int n = place_ends(u, ends), inner = 0;
    for (int k = 0; k + 1 < n && fine; k++)
        fine = divide(p, ends[k], ends[k + 1], MOST_HALVINGS);
    if (!fine)
        return 0;
    for (int i = 1, k = 1; i < p->n; i++) {
        while (ends[k] < p->ends[i])
            k++;
        if (ends[k] > p->ends[i])
            p->inner[inner++] = p->ends[i];
    }
    u->eval = eval_pieces;
    u->context = p;
    u->pieces = p->inner;
    u->n_pieces = inner;
    u->steps = FEW_STEPS / 2;
    return 0;
}
