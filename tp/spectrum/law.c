/* law.c: the law of a diagonal factor's squares, and its transform. */
#include "tp/spectrum/chain.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

typedef struct {
    double square, mass;
} point;

static int by_square(const void *a, const void *b)
{
    double x = ((const point *)a)->square, y = ((const point *)b)->square;
    return (x > y) - (x < y);
}

/* Sorts the points and joins those that differ by roundings; returns how many are left. An atom joins at least `least`
 * points: two of them are a function's symmetry. */
static size_t join(point *points, size_t n, bool *atoms)
{
    const size_t least = 5;
    size_t kept = 0;
    qsort(points, n, sizeof *points, by_square);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        double mass = 0;
        while (end < n && points[end].square - points[i].square <= 64 * DBL_EPSILON * points[i].square)
            mass += points[end++].mass;
        points[kept] = (point){ points[i].square, mass };
        atoms[kept++] = end - i >= least || n < least;
        i = end;
    }
    return kept;
}

int tp_law_of(tp_law *law, size_t n, const double *squares, const double *masses, ad_error *error)
{
    *law = (tp_law){ 0 };
    point *points = ad_alloc(n + 1, sizeof *points, "a law", error);
    law->squares = points ? ad_alloc(n + 1, sizeof(double), "a law", error) : NULL;
    law->masses = law->squares ? ad_alloc(n + 1, sizeof(double), "a law", error) : NULL;
    law->atoms = law->masses ? ad_alloc(n + 1, sizeof(bool), "a law", error) : NULL;
    if (!law->atoms) {
        ad_free(points);
        tp_law_free(law);
        return -1;
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (squares[i] > DBL_MIN)
            points[count++] = (point){ squares[i], masses[i] };
        else
            law->zero += masses[i];
    }
    law->n = join(points, count, law->atoms);
    for (size_t i = 0; i < law->n; i++) {
        law->squares[i] = points[i].square;
        law->masses[i] = points[i].mass;
        law->derivative += points[i].square * points[i].mass;
    }
    law->least = law->n ? law->squares[0] : 0;
    law->most = law->n ? law->squares[law->n - 1] : 0;
    ad_free(points);
    return 0;
}

void tp_law_free(tp_law *law)
{
    ad_free(law->squares);
    ad_free(law->masses);
    ad_free(law->atoms);
    ad_free(law->panels);
    ad_free(law->far_squares);
    *law = (tp_law){ 0 };
}

static long double power_of(double square, int k)
{
    long double power = 1;
    for (int i = 0; i < k; i++)
        power *= square;
    return power;
}

bool tp_law_moment(const tp_law *law, int k, long double *moment)
{
    const long double share = 1e-14L;
    long double sum = 0, last[2] = { 0 };
    for (size_t i = 0; i < law->n; i++)
        sum += law->masses[i] * power_of(law->squares[i], k);
    for (size_t i = 0; i < 2 * law->n_far; i++) {
        long double term = law->far_masses[i] * power_of(law->far_squares[i], k);
        sum += term;
        last[i / law->n_far] += i % law->n_far + TP_PANEL_NODES >= law->n_far ? term : 0;
    }
    *moment = sum;
    return (law->n_far || !law->unbounded) && last[0] <= share * sum && last[1] <= share * sum;
}

void tp_chain_free(tp_chain *chain)
{
    for (int k = 0; k < chain->n; k++)
        tp_law_free(&chain->factors[k].law);
    ad_free(chain->factors);
    *chain = (tp_chain){ 0 };
}

/* Sums over four values at a time, for the machine's vectors: with v = 1 / (1 - w d^2), of v, d^2 v and d^2 v^2. */
enum { LANES = 4, SUMS = 6 };
static void add_value(const tp_law *law, size_t i, double a, double b, size_t lane, double sum[SUMS][LANES])
{
    double t = law->squares[i], p = law->masses[i], x = 1 - a * t, y = b * t;
    double r = 1 / (x * x + y * y), vr = x * r, vi = y * r;
    sum[0][lane] += p * vr;
    sum[1][lane] += p * vi;
    sum[2][lane] += p * t * vr;
    sum[3][lane] += p * t * vi;
    sum[4][lane] += p * t * (vr * vr - vi * vi);
    sum[5][lane] += 2 * p * t * vr * vi;
}

void tp_law_at(const tp_law *law, double complex w, tp_law_values *out)
{
    double a = creal(w), b = cimag(w), sum[SUMS][LANES] = { { 0 } };
    size_t i = 0;
    for (; i + LANES <= law->n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            add_value(law, i + k, a, b, k, sum);
    for (; i < law->n; i++)
        add_value(law, i, a, b, 0, sum);
    for (size_t k = 1; k < LANES; k++)
        for (int j = 0; j < SUMS; j++)
            sum[j][0] += sum[j][k];
    out->rest = sum[0][0] + I * sum[1][0];
    out->psi = w * (sum[2][0] + I * sum[3][0]);
    out->slope = w * (sum[4][0] + I * sum[5][0]);
}
