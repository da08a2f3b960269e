/* pieces.c: a function that takes long to evaluate as polynomials on pieces of an interval: interpolation in
 * Chebyshev's points of the first kind, each piece halved until its coefficients have fallen to the function's own
 * rounding and no point nearby tells them apart (Trefethen, Approximation Theory and Approximation Practice, 2013,
 * chapters 3, 5 and 8). */
#include "autodiff/base/base.h"
#include "tp/gauss/gauss.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { NODES = 24, MOST_PIECES = TP_MOST_PIECES, MOST_HALVINGS = 36, BLOCK = 64, FEW_STEPS = 32 };
static const double reach = 64;

typedef struct {
    tp_univariate f;
    int n;
    double ends[MOST_PIECES + 1], inner[MOST_PIECES];
    double coefficients[MOST_PIECES][NODES]; /* of Chebyshev's polynomials; the first is NAN where f itself is asked */
    double cosines[4 * NODES];               /* of steps of pi / (2 NODES) */
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

/* Is the polynomial within so much of f at points as near each other as those that kinks are looked for at? */
static bool agrees(const tp_univariate *f, double left, double right, const double *c, double most)
{
    enum { LEAST = 5, IN_ONE = 32 };
    const double aside = 0.37; /* so that they mirror no node */
    int n = (int)fmax(LEAST, ceil((right - left) * IN_ONE));
    double middle = (left + right) / 2, half = (right - left) / 2, t[BLOCK], x[BLOCK], y[BLOCK], z[BLOCK];
    bool agrees = true;
    for (int i = 0, count; i < n && agrees; i += count) {
        count = n - i < BLOCK ? n - i : BLOCK;
        for (int k = 0; k < count; k++) {
            t[k] = 2 * (i + k + aside) / n - 1;
            x[k] = middle + half * t[k];
        }
        f->eval(f, (size_t)count, x, y);
        evaluate(c, (size_t)count, t, z);
        for (int k = 0; k < count; k++)
            agrees = agrees && fabs(z[k] - y[k]) <= most;
    }
    return agrees;
}

/* The polynomial on [left, right]: true where it is f but for rounding; else its first coefficient is NAN. */
static bool interpolate(const pieces *p, double left, double right, double *c)
{
    const double own = DBL_EPSILON * (4 + sqrt(p->f.steps));
    double middle = (left + right) / 2, half = (right - left) / 2, x[NODES], y[NODES], size = 0, last = 0;
    for (int i = 0; i < NODES; i++)
        x[i] = middle + half * p->cosines[2 * i + 1];
    p->f.eval(&p->f, NODES, x, y);
    for (int i = 0; i < NODES; i++)
        size = isfinite(y[i]) ? fmax(size, fabs(y[i])) : (double)INFINITY;
    for (int k = 0; k < NODES; k++) {
        c[k] = 0;
        for (int i = 0; i < NODES; i++)
            c[k] += (k ? 2.0 : 1.0) / NODES * y[i] * p->cosines[k * (2 * i + 1) % (4 * NODES)];
    }
    for (int k = NODES - 3; k < NODES; k++)
        last = fmax(last, fabs(c[k]));
    bool fine = isfinite(size) && last <= own * size && agrees(&p->f, left, right, c, own * size);
    if (!fine)
        c[0] = (double)NAN;
    return fine;
}

/* Pieces of [left, right] from left to right; false where there are too many. */
static bool divide(pieces *p, double left, double right, int halvings)
{
    if (p->n == MOST_PIECES)
        return false;
    if (!interpolate(p, left, right, p->coefficients[p->n]) && halvings > 0)
        return divide(p, left, (left + right) / 2, halvings - 1) && divide(p, (left + right) / 2, right, halvings - 1);
    p->ends[p->n++] = left;
    p->ends[p->n] = right;
    return true;
}

/* Unless it is there. */
static int add_end(double *ends, int n, double at)
{
    int i = n;
    while (i > 0 && ends[i - 1] > at)
        i--;
    if (i > 0 && !(ends[i - 1] < at))
        return n;
    memmove(ends + i + 1, ends + i, (size_t)(n - i) * sizeof *ends);
    ends[i] = at;
    return n + 1;
}

/* The function's kinks within reach, its ends and 0, ascending; how many. */
static int place_ends(const tp_univariate *f, double *ends)
{
    int n = add_end(ends, add_end(ends, add_end(ends, 0, -reach), 0), reach);
    for (int k = 0; k < f->n_kinks; k++)
        if (fabs(f->kinks[k]) < reach)
            n = add_end(ends, n, f->kinks[k]);
    return n;
}

static bool divide_all(pieces *p, const double *ends, int n)
{
    bool fine = true;
    p->n = 0;
    for (int k = 0; k + 1 < n && fine; k++)
        fine = divide(p, ends[k], ends[k + 1], MOST_HALVINGS);
    return fine;
}

/* Where an integral is cut: at the ends of pieces that are resolved as a whole. Where f is evaluated, pieces end at
 * powers of 2 as well, so that near a zero at 0 it has as many digits as elsewhere; nearer, it is f itself. */
int tp_in_pieces(tp_univariate *u, ad_arena *arena, ad_error *error)
{
    enum { POWERS = 36 };
    double ends[MOST_PIECES + 2 * POWERS + 3];
    if (u->steps < FEW_STEPS || u->n_kinks > MOST_PIECES / 2)
        return 0;
    pieces *p = ad_arena_alloc(arena, 1, sizeof *p);
    if (!p)
        return ad_fail(error, "out of memory for a function's pieces");
    p->f = *u;
    for (int k = 0; k < 4 * NODES; k++)
        p->cosines[k] = cos(acos(-1) * k / (2 * NODES));
    int n = place_ends(u, ends), inner = 0;
    if (!divide_all(p, ends, n))
        return 0;
    for (int i = 1, k = 1; i < p->n; i++) {
        while (ends[k] < p->ends[i])
            k++;
        if (ends[k] > p->ends[i])
            p->inner[inner++] = p->ends[i];
    }
    for (int k = 1; k <= POWERS; k++)
        n = add_end(ends, add_end(ends, n, ldexp(reach, -k)), -ldexp(reach, -k));
    if (!divide_all(p, ends, n))
        return 0;
    for (int i = 0; i < p->n; i++)
        if (p->ends[i] >= -ldexp(reach, -POWERS) && p->ends[i + 1] <= ldexp(reach, -POWERS))
            p->coefficients[i][0] = (double)NAN;
    u->eval = eval_pieces;
    u->context = p;
    u->pieces = p->inner;
    u->n_pieces = inner;
    u->steps = FEW_STEPS / 2;
    return 0;
}
