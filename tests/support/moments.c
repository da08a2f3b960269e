#include "tests/support/moments.h"

#include <math.h>

/* What is neglected: e^-60 is 9e-27. */
static const double digits = 60;
/* Variances up to which trapezoids and coarse nodes do. */
static const double moderate = 9;

/* a = s u, b = c u + t v of independent normal u and v. */
typedef struct {
    real s, c, t;
} directions;

static directions directions_of(covariance q)
{
    real zero = real_of(0);
    if (real_sign(q.aa) <= 0)
        return (directions){ zero, zero, real_sqrt(q.bb) };
    directions d = { .s = real_sqrt(q.aa) };
    d.c = real_div(q.ab, d.s);
    real left = real_sub(q.bb, real_mul(d.c, d.c));
    /* nothing is left of what differs by the rounding of 77 digits */
    d.t = real_less(real_scale(1e-66, q.bb), left) ? real_sqrt(left) : zero;
    return d;
}

static void add_product(moments *sum, real weight, const real *f, const real *g)
{
    sum->value = real_add(sum->value, real_mul(weight, real_mul(f[0], g[0])));
    sum->slope = real_add(sum->slope, real_mul(weight, real_mul(f[1], g[1])));
}

/* ---- trapezoids ---- */
/* The step for a normal variable that stands in f(a) f(b) times numbers of sum of squares `size`: a sum over a lattice
 * of step h misses what the integrand is on the line of imaginary part y, for any y before the pole, times
 * e^(-2 pi y / h). */
static double step_of(const activation *f, double size)
{
    double curve = 0.5 + f->bell * size, pole = 0.97 * f->pole / fmax(sqrt(size), 1e-300);
    double y = fmin(pole, sqrt(digits / curve));
    return 2 * acos(-1) * y / (digits + curve * y * y + 1.5 * f->wave * sqrt(size) * y);
}

static real normal_weight(double u, double h)
{
    real square = real_mul(real_of(u), real_of(u));
    return real_div(real_scale(h, real_exp(real_scale(-0.5, square))), real_sqrt(real_scale(2, real_pi())));
}

enum { LATTICE = 1000 }; /* nodes on one side of 0 */
static int lattice(double *h, double furthest, real *weights)
{
    *h = ldexp(floor(ldexp(*h, 20)), -20); /* k h is exact */
    int n = (int)(furthest / *h);
    for (int k = 0; k <= n && k < LATTICE; k++)
        weights[k] = normal_weight(k * *h, *h);
    return n < LATTICE ? n : LATTICE - 1;
}

moments expected_by_trapezoids(const activation *f, covariance q)
{
    static real wu[LATTICE], wv[LATTICE];
    directions d = directions_of(q);
    double furthest = sqrt(2 * digits) + 1.5, hv = step_of(f, pow(real_double(d.t), 2));
    double hu = step_of(f, pow(real_double(d.s), 2) + pow(real_double(d.c), 2));
    int nu = lattice(&hu, furthest, wu), nv = real_sign(d.t) ? lattice(&hv, furthest, wv) : 0;
    moments sum = { real_of(0), real_of(0) };
    if (!real_sign(d.t))
        wv[0] = real_of(1);
    for (int i = -nu; i <= nu; i++) {
        moments inner = { real_of(0), real_of(0) };
        real left[2], right[2], a = real_scale(i * hu, d.s), centre = real_scale(i * hu, d.c);
        f->at(a, &left[0], &left[1]);
        for (int j = -nv; j <= nv; j++) {
            if (pow(i * hu, 2) + pow(j * hv, 2) > furthest * furthest)
                continue;
            f->at(nv ? real_add(centre, real_scale(j * hv, d.t)) : centre, &right[0], &right[1]);
            inner.value = real_add(inner.value, real_mul(wv[j < 0 ? -j : j], right[0]));
            inner.slope = real_add(inner.slope, real_mul(wv[j < 0 ? -j : j], right[1]));
        }
        right[0] = inner.value;
        right[1] = inner.slope;
        add_product(&sum, wu[i < 0 ? -i : i], left, right);
    }
    return sum;
}

/* ---- sectors ---- */
enum { NODES = 250 };
/* Tanh-sinh for the angle, in parts of a sector: x = 1 / (1 + e^(-pi sinh t)) and 1 - x, each in all digits. For the
 * radius r = exp(t - e^-t), with weights for a plane, r exp(-r^2 / 2) / (2 pi), and for half a line. */
typedef struct {
    int angles, radii;
    real x[NODES], rest[NODES], weight[NODES];
    real radius[NODES], planar[NODES], linear[NODES];
} nodes;

static void add_angle(nodes *p, double t, double h)
{
    int i = p->angles++;
    real one = real_of(1), e = real_exp(real_neg(real_mul(real_pi(), real_sinh(real_of(t)))));
    p->x[i] = real_div(one, real_add(one, e));
    p->rest[i] = real_div(e, real_add(one, e));
    p->weight[i] = real_mul(p->x[i], p->rest[i]);
    p->weight[i] = real_mul(p->weight[i], real_scale(h, real_mul(real_pi(), real_cosh(real_of(t)))));
}

static void add_radius(nodes *p, double t, double h)
{
    int i = p->radii++;
    real small = real_exp(real_of(-t)), r = real_exp(real_sub(real_of(t), small)), two_pi = real_scale(2, real_pi());
    real slope = real_scale(h, real_mul(r, real_add(real_of(1), small)));
    real bell = real_mul(slope, real_exp(real_scale(-0.5, real_mul(r, r))));
    p->radius[i] = r;
    p->planar[i] = real_div(real_mul(bell, r), two_pi);
    p->linear[i] = real_div(bell, real_sqrt(two_pi));
}

/* Of steps 1/16, whose multiples are exact, and of half of that for functions that turn fast. */
static const nodes *nodes_of(bool fine)
{
    static nodes both[2];
    nodes *p = &both[fine];
    const int steps = fine ? 32 : 16, furthest = 36 * steps / 10;
    for (int k = -furthest; p->angles < 2 * furthest + 1; k++)
        add_angle(p, (double)k / steps, 1.0 / steps);
    for (int k = -4 * steps; p->radii < 66 * steps / 10; k++)
        add_radius(p, (double)k / steps, 1.0 / steps);
    return p;
}

/* The sum over radii of both signs at a = r x, b = r y. */
static moments along(const activation *f, const nodes *p, real x, real y, const real *weights)
{
    moments sum = { real_of(0), real_of(0) };
    for (int side = -1; side <= 1; side += 2)
        for (int i = 0; i < p->radii; i++) {
            real left[2], right[2], r = real_scale(side, p->radius[i]);
            if (fabs(real_double(weights[i])) < 1e-45)
                continue;
            f->at(real_mul(r, x), &left[0], &left[1]);
            f->at(real_mul(r, y), &right[0], &right[1]);
            add_product(&sum, weights[i], left, right);
        }
    return sum;
}

/* Where a > 0 and b has the given sign, with the opposite sector: a = r x sin t, b = +- r y sin(width - t). */
static moments sector(const activation *f, const nodes *p, real x, real y, real width)
{
    moments sum = { real_of(0), real_of(0) };
    for (int k = 0; k < p->angles; k++) {
        real weight = real_mul(width, p->weight[k]);
        if (real_double(weight) < 1e-35)
            continue;
        real a = real_mul(x, real_sin(real_mul(width, p->x[k])));
        real b = real_mul(y, real_sin(real_mul(width, p->rest[k])));
        moments line = along(f, p, a, b, p->planar);
        sum.value = real_add(sum.value, real_mul(weight, line.value));
        sum.slope = real_add(sum.slope, real_mul(weight, line.slope));
    }
    return sum;
}

moments expected_by_sectors(const activation *f, covariance q)
{
    const nodes *p = nodes_of(fmax(real_double(q.aa), real_double(q.bb)) > moderate);
    directions d = directions_of(q);
    real y = real_sqrt(q.bb);
    if (!real_sign(d.t))
        return along(f, p, d.s, d.c, p->linear);
    if (!real_sign(d.s))
        return along(f, p, d.s, d.t, p->linear);
    real angle = real_atan2(d.t, d.c);
    moments far = sector(f, p, d.s, real_neg(y), angle), near = sector(f, p, d.s, y, real_sub(real_pi(), angle));
    return (moments){ real_add(far.value, near.value), real_add(far.slope, near.slope) };
}

moments expected(const activation *f, covariance q)
{
    if (f->closed)
        return f->closed(q);
    bool slow = fmax(real_double(q.aa), real_double(q.bb)) < moderate;
    return slow && !f->kink ? expected_by_trapezoids(f, q) : expected_by_sectors(f, q);
}
