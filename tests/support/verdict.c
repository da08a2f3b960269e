#include "tests/support/verdict.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = LANGUAGE_ROWS, ENTRIES = ROWS * ROWS, OUTPUTS = 2, PAIRS = 3 };
enum { FIRST_WIDTH = 256, SECOND_WIDTH = 1024, FEW = 8, MANY = 32, SAMPLES = 4096 };
static const double suspicious = 6, certain = 7;
static const double zero = 16 * DBL_EPSILON * DBL_EPSILON; /* the squares of roundings that a 0 leaves on either side */

const char *const verdict_names[VERDICTS] = { "exact", "sampled", "refused" };

/* Pairs of outputs: 0 and 0, 1 and 1, 0 and 1. */
static const size_t pair_of[PAIRS][2] = { { 0, 0 }, { 1, 1 }, { 0, 1 } };
enum { TRAINING = 2, KERNELS = 3 };
static const char *const kernel_names[KERNELS] = { "NTK", "NNGP", "training kernel" };

AD_PRINTF(2, 3) static void disagree(verdict_result *r, const char *format, ...)
{
    size_t length = strlen(r->text);
    va_list args;
    va_start(args, format);
    vsnprintf(r->text + length, sizeof r->text - length, format, args);
    va_end(args);
    r->disagreements++;
}

/* The way of writing that is tried where not all are. */
static int one_style(uint64_t seed)
{
    return LANGUAGE_SWAPPED + (int)(seed / 2 % LANGUAGE_EVEN);
}

/* ---- kernels of a program ---- */
static int limit_of(tp_program *program, int kernel, size_t pair, const double *x, size_t rows, const double *x2,
                    tp_limit_spec spec, tp_kernel *out, ad_error *error)
{
    spec.output = pair_of[pair][0];
    spec.output2 = pair_of[pair][1];
    memset(out, 0, sizeof *out);
    if (kernel == TRAINING)
        return tp_training_kernel(program, x, rows, x2, x2 ? rows : 0, &spec, out, error);
    return tp_limit(program, kernel == 0 ? TP_NTK : TP_NNGP, x, rows, x2, x2 ? rows : 0, &spec, out, error);
}

typedef struct {
    nn_net *net;
    tp_program *program;
    size_t outputs;
    bool there[KERNELS][PAIRS];
    tp_kernel kernels[KERNELS][PAIRS];
    char refusal[300]; /* of the first kernel */
    double seconds;
} solved;

static void solved_free(solved *s)
{
    for (int k = 0; k < KERNELS; k++)
        for (int p = 0; p < PAIRS; p++)
            if (s->there[k][p])
                tp_kernel_free(&s->kernels[k][p]);
    tp_program_free(s->program);
    nn_net_free(s->net);
    memset(s, 0, sizeof *s);
}

static size_t pairs(const solved *s)
{
    return s->outputs > 1 ? PAIRS : 1;
}

/* What is asked for: by kernel, between any two outputs or for the first one alone, or not at all. */
typedef enum { NOT, FIRST, ALL } extent;

/* Exact kernels; -1 where there is no net. */
static int solve(uint64_t seed, language_style style, const extent *asked, const double *x, const double *x2, solved *s,
                 ad_error *error)
{
    ad_error refusal = { 0 };
    memset(s, 0, sizeof *s);
    if (!(s->net = language_trace(seed, style, error)))
        return -1;
    s->outputs = nn_n_outputs(s->net);
    s->program = tp_translate(s->net, &refusal);
    for (int k = 0; k < KERNELS && s->program; k++)
        for (size_t p = 0; p < (asked[k] == ALL ? pairs(s) : asked[k] == FIRST); p++) {
            ad_error why = { 0 };
            clock_t start = clock();
            tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
            s->there[k][p] = limit_of(s->program, k, p, x, ROWS, x2, spec, &s->kernels[k][p], &why) == 0;
            s->seconds = fmax(s->seconds, (double)(clock() - start) / CLOCKS_PER_SEC);
            if (k == 0 && p == 0)
                refusal = why;
        }
    snprintf(s->refusal, sizeof s->refusal, "%.299s", refusal.text);
    return 0;
}

/* ---- what is measured ---- */
typedef struct {
    int n;
    double mean[ENTRIES], error[ENTRIES];
} measured;

/* Entries of k are like the square root of their diagonals'; where there is no diagonal, like the kernel's largest. */
static void set_scale(const double *k, const double *k2, double *scale)
{
    double largest = 0;
    for (int i = 0; i < ENTRIES; i++)
        largest = fmax(largest, fmax(fabs(k[i]), fabs(k2[i])));
    for (int i = 0; i < ENTRIES; i++)
        scale[i] = sqrt(fabs(k[i / ROWS * (ROWS + 1)] * k2[i % ROWS * (ROWS + 1)])) + 1e-3 * largest;
}

typedef struct {
    measured kernels[KERNELS][PAIRS];
    bool there[KERNELS];
} networks;

static void add_full(const double *full, size_t outputs, int seed, measured *pairs_of_one)
{
    for (size_t p = 0; p < (outputs > 1 ? PAIRS : 1); p++)
        for (size_t k = 0; k < ENTRIES; k++) {
            measured *m = &pairs_of_one[p];
            double one = full[(k * outputs + pair_of[p][0]) * outputs + pair_of[p][1]], before = one - m->mean[k];
            m->n = seed;
            m->mean[k] += before / seed;
            m->error[k] += before * (one - m->mean[k]);
        }
}

/* Means over so many networks of a width and a type, and their standard errors. */
static int measure(const nn_net *net, const double *x, size_t width, ad_type type, int seeds, uint64_t first,
                   networks *out, ad_error *error)
{
    size_t outputs = nn_n_outputs(net);
    double full[ENTRIES * OUTPUTS * OUTPUTS];
    ad_error why = { 0 };
    memset(out, 0, sizeof *out);
    out->there[0] = out->there[1] = out->there[2] = true;
    for (int seed = 1; seed <= seeds; seed++) {
        nn_model *model = nn_model_new(net, width, first + (uint64_t)seed, type, 1, error);
        if (!model)
            return -1;
        int status = nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, full, error);
        if (!status)
            add_full(full, outputs, seed, out->kernels[0]);
        out->there[1] = !status && out->there[1] && nn_nngp(model, x, ROWS, NULL, 0, NN_FULL, full, &why) == 0;
        if (out->there[1])
            add_full(full, outputs, seed, out->kernels[1]);
        out->there[2] =
            !status && out->there[2] && nn_training_kernel(model, x, ROWS, NULL, 0, NN_FULL, full, &why) == 0;
        if (out->there[2])
            add_full(full, outputs, seed, out->kernels[2]);
        nn_model_free(model);
        if (status)
            return -1;
    }
    for (int k = 0; k < KERNELS; k++)
        for (int p = 0; p < PAIRS; p++)
            for (int i = 0; i < ENTRIES; i++)
                out->kernels[k][p].error[i] = sqrt(out->kernels[k][p].error[i] / (seeds * (seeds - 1.0)));
    return 0;
}

/* ---- comparisons ---- */
/* How far the entry is from its truth in standard errors, after what is allowed of the scale. */
static double off(double value, double truth, double error, double scale, double allowed)
{
    return fmax(0, fabs(value - truth) - allowed * scale) / (error + 1e-300);
}

/* A kernel of the limit at n: values, their errors. */
static void at_width(const tp_kernel *kernel, double n, double *values, double *errors)
{
    tp_kernel_at(kernel, n, values);
    for (int i = 0; i < ENTRIES; i++)
        errors[i] = kernel->deviations ? kernel->deviations[i] * pow(n, kernel->terms[0].power) : 0;
}

/* Entries of samples: how far off they are, in standard errors, and relative to the scale. */
typedef struct {
    double distance[ENTRIES], difference[ENTRIES], worst;
} sample_look;

/* The executor's values against the exact ones, at n = its samples; -1 where it has none. */
static int against_samples(tp_program *program, int kernel, const tp_kernel *exact, const double *x, size_t samples,
                           int runs, uint64_t seed, sample_look *look, ad_error *error)
{
    double truth[ENTRIES], values[ENTRIES], errors[ENTRIES], scale[ENTRIES], n = (double)samples;
    tp_kernel sampled;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = samples, .runs = runs, .seed = seed };
    if (limit_of(program, kernel, 0, x, ROWS, NULL, spec, &sampled, error))
        return -1;
    tp_kernel_at(exact, n, truth);
    at_width(&sampled, n, values, errors);
    set_scale(truth, values, scale);
    look->worst = 0;
    for (int i = 0; i < ENTRIES; i++) {
        bool are_zero = fabs(values[i]) < zero && fabs(truth[i]) < zero;
        look->difference[i] = are_zero ? 0 : (values[i] - truth[i]) / (scale[i] + 1e-300);
        double far = off(values[i], truth[i], errors[i], scale[i], 8 / n + 20 * exact->error + 1e-9);
        look->distance[i] = are_zero ? 0 : far;
        look->worst = are_zero || far < look->worst ? look->worst : far; /* NaN counts as far */
    }
    tp_kernel_free(&sampled);
    return 0;
}

/* An entry that is certainly off, and as much as before; -1: there is none. */
static int persistent(const sample_look *first, const sample_look *second)
{
    for (int i = 0; i < ENTRIES; i++)
        if (!(second->distance[i] < certain) && !(fabs(second->difference[i]) < 0.75 * fabs(first->difference[i])))
            return i;
    return -1;
}

/* The first output's kernel by samples, with a second look on suspicion: 1 where they disagree, 0 where not, -1 where
 * there are no samples. */
static int compare_samples(tp_program *program, int kernel, const tp_kernel *exact, const double *x, verdict_result *r)
{
    sample_look first, second;
    ad_error why = { 0 };
    if (against_samples(program, kernel, exact, x, SAMPLES, FEW, 0, &first, &why))
        return -1;
    r->by_sample++;
    if (first.worst < suspicious)
        return 0;
    r->second_looks++;
    if (against_samples(program, kernel, exact, x, 4 * SAMPLES, MANY, 1000, &second, &why))
        return -1;
    int entry = persistent(&first, &second);
    if (entry < 0)
        return 0;
    double truth[ENTRIES];
    tp_kernel_at(exact, 4 * SAMPLES, truth);
    disagree(r,
             "\n  %s, exact (n^%g, said %g): entry %d is %g; samples are %.3g of the scale off, then %.3g: %.1f and "
             "%.1f standard errors",
             kernel_names[kernel], exact->terms[0].power, exact->error, entry, truth[entry], first.difference[entry],
             second.difference[entry], first.distance[entry], second.distance[entry]);
    return 1;
}

/* Worst distance of a limit from finite networks of one width; random: whether they spread as much as they are. */
static double against_width(const tp_kernel *kernel, const tp_kernel *diagonal, const tp_kernel *diagonal2,
                            const measured *m, double n, bool *random)
{
    double values[ENTRIES], errors[ENTRIES], one[ENTRIES], two[ENTRIES], scale[ENTRIES], worst = 0, largest = 0;
    at_width(kernel, n, values, errors);
    tp_kernel_at(diagonal, n, one);
    tp_kernel_at(diagonal2, n, two);
    for (int i = 0; i < ENTRIES; i++)
        largest = fmax(largest, fabs(m->mean[i]));
    set_scale(one, two, scale);
    *random = false;
    for (int i = 0; i < ENTRIES; i++) {
        double far = off(m->mean[i], values[i], hypot(m->error[i], errors[i]), scale[i] + 1e-2 * largest,
                         8 / n + 20 * kernel->error * (kernel->deviations ? 0 : 1) + 1e-5);
        worst = far < worst ? worst : far;
        *random = *random || m->error[i] * sqrt(m->n) > 0.4 * (scale[i] + 1e-2 * largest);
    }
    return worst;
}

typedef struct {
    const nn_net *net;
    const double *x;
    networks narrow, wide;   /* many networks of FIRST_WIDTH / 2 and SECOND_WIDTH */
    networks narrow2, wide2; /* more of them, other ones, that tell heavy tails from what stays random */
    bool there, twice;
} second_look;

static int look_again(second_look *look, verdict_result *r, ad_error *error)
{
    r->second_looks++;
    if (look->there)
        return 0;
    look->there = true;
    if (measure(look->net, look->x, FIRST_WIDTH / 2, AD_DOUBLE, MANY, 100, &look->narrow, error))
        return -1;
    return measure(look->net, look->x, SECOND_WIDTH, AD_DOUBLE, MANY, 1000, &look->wide, error);
}

/* Does an entry spread as much at the second width as at the first, relative to the leading power? */
static bool spreads(const networks *narrow, const networks *wide, int kernel, size_t pair, int entry, double leading,
                    double scale)
{
    const measured *a = &narrow->kernels[kernel][pair], *b = &wide->kernels[kernel][pair];
    double in_narrow = a->error[entry] * sqrt(a->n) * pow(FIRST_WIDTH / 2, -leading);
    double in_wide = b->error[entry] * sqrt(b->n);
    return in_wide * pow(SECOND_WIDTH, -leading) > 0.75 * in_narrow && in_wide > 0.2 * scale;
}

/* Of few networks a kernel with heavy tails may: so it is random where more of them spread, too. */
static int stays_random(second_look *look, int kernel, size_t pair, int entry, double leading, double scale,
                        ad_error *error)
{
    if (!spreads(&look->narrow, &look->wide, kernel, pair, entry, leading, scale))
        return 0;
    if (!look->twice &&
        (measure(look->net, look->x, FIRST_WIDTH / 2, AD_DOUBLE, 4 * MANY, 2000, &look->narrow2, error) ||
         measure(look->net, look->x, SECOND_WIDTH, AD_DOUBLE, 4 * MANY, 3000, &look->wide2, error)))
        return -1;
    look->twice = true;
    return spreads(&look->narrow2, &look->wide2, kernel, pair, entry, leading, scale);
}

/* The limit by the power of the bias in n, in units of kernel_at(n): from narrow at n / 8 and wide at n. */
static double extrapolated(const second_look *look, int kernel, size_t pair, int entry, double power, double leading,
                           double *error)
{
    const measured *a = &look->narrow.kernels[kernel][pair], *b = &look->wide.kernels[kernel][pair];
    double n = FIRST_WIDTH / 2, wide = SECOND_WIDTH, u = pow(n, -power), w = pow(wide, -power);
    double k_n = a->mean[entry] * pow(n, -leading), k_w = b->mean[entry] * pow(wide, -leading);
    *error = hypot(u * b->error[entry] * pow(wide, -leading), w * a->error[entry] * pow(n, -leading)) / (u - w);
    return (u * k_w - w * k_n) / (u - w);
}

static double leading_power(const tp_kernel *kernel)
{
    double leading = -100;
    for (int t = 0; t < kernel->n_terms; t++)
        for (size_t i = 0; i < kernel->rows * kernel->rows2; i++)
            if (fabs(kernel->terms[t].values[i]) > 0)
                leading = fmax(leading, kernel->terms[t].power);
    return leading > -100 ? leading : 0;
}

/* After a second look: does a limit disagree, extrapolated either way, or does it stay random? */
static int conclude(second_look *look, int kernel, size_t pair, const tp_kernel *limit, const tp_kernel *diagonal,
                    const tp_kernel *diagonal2, verdict_result *r, ad_error *error)
{
    double values[ENTRIES], errors[ENTRIES], one[ENTRIES], two[ENTRIES], scale[ENTRIES];
    double leading = leading_power(limit), n = SECOND_WIDTH, unit = pow(n, -leading);
    const measured *a = &look->narrow.kernels[kernel][pair], *b = &look->wide.kernels[kernel][pair];
    at_width(limit, n, values, errors);
    tp_kernel_at(diagonal, n, one);
    tp_kernel_at(diagonal2, n, two);
    set_scale(one, two, scale);
    for (int i = 0; i < ENTRIES; i++) {
        if (fabs(values[i] * unit) < zero && fabs(b->mean[i] * unit) < zero)
            continue;
        double allowed = (8 / n + 20 * (limit->deviations ? 0 : limit->error) + 1e-5) * scale[i] * unit,
               nearest = INFINITY;
        static const double powers[] = { 1, 0.5, 100 };
        double guesses[3];
        for (int p = 0; p < 3; p++) {
            double off_by;
            guesses[p] = extrapolated(look, kernel, pair, i, powers[p], leading, &off_by);
            double far = fmax(0, fabs(guesses[p] - values[i] * unit) - allowed) /
                         (hypot(off_by, errors[i] * unit) + 1e-6 * scale[i] * unit + 1e-300);
            nearest = far < nearest ? far : nearest;
        }
        bool between =
            fmin(guesses[1], guesses[2]) <= values[i] * unit && values[i] * unit <= fmax(guesses[1], guesses[2]);
        int random = stays_random(look, kernel, pair, i, leading, scale[i], error);
        if (random < 0)
            return -1;
        if ((nearest < certain || between) && !random)
            continue;
        disagree(r,
                 "\n  %s of outputs %zu and %zu, %s n^%g: entry %d is %g; networks of width %d have %g +- %g, of %d %g "
                 "+- %g, both in n^%g, extrapolated by 1/n %g: %s",
                 kernel_names[kernel], pair_of[pair][0], pair_of[pair][1], limit->deviations ? "sampled" : "exact",
                 leading, i, values[i] * unit, FIRST_WIDTH / 2, a->mean[i] * pow(FIRST_WIDTH / 2, -leading),
                 a->error[i] * pow(FIRST_WIDTH / 2, -leading), SECOND_WIDTH, b->mean[i] * unit, b->error[i] * unit,
                 leading, guesses[0], random ? "it stays random" : "another value");
        return 0;
    }
    return 0;
}

/* One limit against a first look at finite networks, and a second one where that is not enough. */
static int compare_widths(second_look *look, const networks *few, int kernel, size_t pair, const tp_kernel *limit,
                          const tp_kernel *diagonal, const tp_kernel *diagonal2, verdict_result *r, ad_error *error)
{
    bool random;
    if (!few->there[kernel])
        return 0;
    r->by_width++;
    double far = against_width(limit, diagonal, diagonal2, &few->kernels[kernel][pair], FIRST_WIDTH, &random);
    if (far < suspicious && !random)
        return 0;
    if (look_again(look, r, error))
        return -1;
    return conclude(look, kernel, pair, limit, diagonal, diagonal2, r, error);
}

static int compare_finite(solved *s, tp_kernel *sampled, const bool *has_sampled, const double *x, verdict_result *r,
                          ad_error *error)
{
    second_look *look = calloc(1, sizeof *look);
    networks *few = calloc(1, sizeof *few);
    int status = look && few ? 0 : ad_fail(error, "out of memory");
    if (!status) {
        *look = (second_look){ .net = s->net, .x = x };
        status = measure(s->net, x, FIRST_WIDTH, AD_FLOAT, FEW, 0, few, error);
    }
    for (int k = 0; k < KERNELS && !status; k++) {
        for (size_t p = 0; p < pairs(s) && !status; p++) {
            const tp_kernel *all = s->kernels[k], *second = s->outputs > 1 ? &all[pair_of[p][1]] : &all[0];
            if (s->there[k][p] && s->there[k][0] && s->there[k][pair_of[p][1]])
                status = compare_widths(look, few, k, p, &all[p], &all[pair_of[p][0]], second, r, error);
        }
        if (!status && has_sampled[k])
            status = compare_widths(look, few, k, 0, &sampled[k], &sampled[k], &sampled[k], r, error);
    }
    free(look);
    free(few);
    return status;
}

/* The executor and finite networks, as far as they are wanted, against what the exact engine gave. */
static int compare_truth(solved *s, const extent *asked, const double *x, bool wanted, verdict_result *r,
                         ad_error *error)
{
    tp_kernel sampled[KERNELS] = { { 0 } };
    bool has_sampled[KERNELS] = { false }, values = r->exact > 0;
    for (int k = 0; k < KERNELS && s->program; k++) {
        ad_error why = { 0 };
        if (asked[k] == NOT)
            continue;
        if (s->there[k][0]) {
            wanted = compare_samples(s->program, k, &s->kernels[k][0], x, r) != 0 || wanted;
            continue;
        }
        tp_limit_spec spec = { .engine = TP_ENGINE_AUTO };
        has_sampled[k] = limit_of(s->program, k, 0, x, ROWS, NULL, spec, &sampled[k], &why) == 0;
        values = values || has_sampled[k];
        if (has_sampled[k] && k == 0)
            r->verdict = VERDICT_SAMPLED;
        r->sampled += has_sampled[k];
    }
    int status = wanted && values ? compare_finite(s, sampled, has_sampled, x, r, error) : 0;
    for (int k = 0; k < KERNELS; k++)
        if (has_sampled[k])
            tp_kernel_free(&sampled[k]);
    return status;
}

/* ---- the same network written otherwise ---- */
static double largest_error(const tp_kernel *a, const tp_kernel *b)
{
    return 20 * (a->error + b->error) + 1e-10;
}

/* Two kernels at two widths, so that all powers count; entry i of a against entry order[i] of b. */
static void same(const double *a, const double *b, const int *order, const double *scale, double allowed,
                 const char *kernel, const char *style, verdict_result *r)
{
    r->by_style++;
    for (int i = 0; i < ENTRIES; i++) {
        double other = b[order ? order[i] : i];
        if (fabs(a[i] - other) <= allowed * scale[i] + 1e-300)
            continue;
        disagree(r, "\n  %s, %s: entry %d is %.15g and %.15g, said %g", kernel, style, i, a[i], other, allowed);
        return;
    }
}

static void scale_at(const solved *s, int kernel, size_t pair, double n, double *scale)
{
    double one[ENTRIES], two[ENTRIES];
    const tp_kernel *all = s->kernels[kernel];
    const tp_kernel *a = s->there[kernel][pair_of[pair][0]] ? &all[pair_of[pair][0]] : &all[pair];
    const tp_kernel *b = s->there[kernel][pair_of[pair][1]] ? &all[pair_of[pair][1]] : &all[pair];
    tp_kernel_at(a, n, one);
    tp_kernel_at(b, n, two);
    set_scale(one, two, scale);
}

static const double widths[2] = { 100, 6400 };

static void compare_solved(const solved *plain, const solved *other, const int *order, double more, const char *name,
                           verdict_result *r)
{
    for (int k = 0; k < KERNELS; k++)
        for (size_t p = 0; p < pairs(plain); p++)
            for (int w = 0; w < 2; w++) {
                double a[ENTRIES], b[ENTRIES], scale[ENTRIES];
                const tp_kernel *one = &plain->kernels[k][p], *two = &other->kernels[k][p];
                if (!plain->there[k][p] || !other->there[k][p])
                    continue;
                tp_kernel_at(one, widths[w], a);
                tp_kernel_at(two, widths[w], b);
                scale_at(plain, k, p, widths[w], scale);
                same(a, b, order, scale, largest_error(one, two) + more, kernel_names[k], name, r);
            }
}

/* Of a kernel's one output: symmetric, and no eigenvalue below 0. Jacobi's rotations. */
static double smallest_eigenvalue(const double *kernel)
{
    double a[ROWS][ROWS];
    memcpy(a, kernel, sizeof a);
    for (int sweep = 0; sweep < 30; sweep++)
        for (int p = 0; p < ROWS; p++)
            for (int q = p + 1; q < ROWS; q++) {
                if (!(fabs(a[p][q]) > 0))
                    continue;
                double angle = 0.5 * atan2(2 * a[p][q], a[q][q] - a[p][p]), c = cos(angle), s = sin(angle);
                for (int k = 0; k < ROWS; k++) {
                    double u = a[p][k], v = a[q][k];
                    a[p][k] = c * u - s * v;
                    a[q][k] = s * u + c * v;
                }
                for (int k = 0; k < ROWS; k++) {
                    double u = a[k][p], v = a[k][q];
                    a[k][p] = c * u - s * v;
                    a[k][q] = s * u + c * v;
                }
            }
    double least = a[0][0];
    for (int k = 1; k < ROWS; k++)
        least = fmin(least, a[k][k]);
    return least;
}

static void check_shape(const solved *s, verdict_result *r)
{
    int turned[ENTRIES];
    for (int i = 0; i < ENTRIES; i++)
        turned[i] = i % ROWS * ROWS + i / ROWS;
    for (int k = 0; k < KERNELS; k++)
        for (size_t p = 0; p < (s->outputs > 1 ? 2 : 1); p++) {
            double values[ENTRIES], scale[ENTRIES], trace = 0;
            if (!s->there[k][p])
                continue;
            tp_kernel_at(&s->kernels[k][p], widths[0], values);
            scale_at(s, k, p, widths[0], scale);
            double allowed = largest_error(&s->kernels[k][p], &s->kernels[k][p]);
            same(values, values, turned, scale, allowed, kernel_names[k], "transposed", r);
            for (int i = 0; i < ROWS; i++)
                trace += values[i * (ROWS + 1)];
            double least = smallest_eigenvalue(values);
            if (!(least >= -allowed * trace))
                disagree(r, "\n  %s has an eigenvalue %g of trace %g", kernel_names[k], least, trace);
        }
}

/* 0.36 K00 - 0.78 (K01 + K10) + 1.69 K11, K10 being the transpose of K01. */
static void check_weighted(const solved *plain, const solved *weighted, verdict_result *r)
{
    for (int k = 0; k < KERNELS; k++) {
        const tp_kernel *all = plain->kernels[k], *sum = &weighted->kernels[k][0];
        double k00[ENTRIES], k11[ENTRIES], k01[ENTRIES], found[ENTRIES], right[ENTRIES], scale[ENTRIES];
        if (!plain->there[k][0] || !plain->there[k][1] || !plain->there[k][2] || !weighted->there[k][0])
            continue;
        tp_kernel_at(&all[0], widths[0], k00);
        tp_kernel_at(&all[1], widths[0], k11);
        tp_kernel_at(&all[2], widths[0], k01);
        tp_kernel_at(sum, widths[0], found);
        for (int i = 0; i < ENTRIES; i++) {
            right[i] = 0.36 * k00[i] - 0.78 * (k01[i] + k01[i % ROWS * ROWS + i / ROWS]) + 1.69 * k11[i];
            scale[i] = sqrt(fabs(k00[i / ROWS * (ROWS + 1)] * k00[i % ROWS * (ROWS + 1)])) +
                       2 * sqrt(fabs(k11[i / ROWS * (ROWS + 1)] * k11[i % ROWS * (ROWS + 1)]));
        }
        same(right, found, NULL, scale, 2 * (largest_error(&all[0], sum) + largest_error(&all[1], &all[2])),
             kernel_names[k], "weighted sum of outputs", r);
    }
}

/* The training kernels of even and of odd parameters make the NTK of all. */
static void check_frozen(const solved *all, const solved *even, const solved *odd, verdict_result *r)
{
    double ntk[ENTRIES], sum[ENTRIES], more[ENTRIES], scale[ENTRIES];
    if (!all->there[0][0] || !even->there[TRAINING][0] || !odd->there[TRAINING][0])
        return;
    tp_kernel_at(&all->kernels[0][0], widths[0], ntk);
    tp_kernel_at(&even->kernels[TRAINING][0], widths[0], sum);
    tp_kernel_at(&odd->kernels[TRAINING][0], widths[0], more);
    for (int i = 0; i < ENTRIES; i++)
        sum[i] += more[i];
    scale_at(all, 0, 0, widths[0], scale);
    same(ntk, sum, NULL, scale, largest_error(&all->kernels[0][0], &odd->kernels[TRAINING][0]), "NTK",
         "of learning and frozen", r);
}

static const extent first_ntk[KERNELS] = { FIRST, NOT, NOT };

static int check_inputs(uint64_t seed, const solved *plain, const double *x, bool second, verdict_result *r,
                        ad_error *error)
{
    static const int row[ROWS] = { 2, 0, 1 };
    double shuffled[ROWS * LANGUAGE_FEATURES];
    int order[ENTRIES];
    solved other;
    for (int i = 0; i < ROWS; i++)
        memcpy(shuffled + i * LANGUAGE_FEATURES, x + row[i] * LANGUAGE_FEATURES, LANGUAGE_FEATURES * sizeof *x);
    for (int i = 0; i < ENTRIES; i++)
        order[row[i / ROWS] * ROWS + row[i % ROWS]] = i;
    if (solve(seed, LANGUAGE_PLAIN, first_ntk, second ? x : shuffled, second ? x : NULL, &other, error))
        return -1;
    compare_solved(plain, &other, second ? NULL : order, 0, second ? "x as a second set" : "rows permuted", r);
    solved_free(&other);
    return 0;
}

static int check_style(uint64_t seed, language_style style, const solved *plain, const double *x, verdict_result *r,
                       ad_error *error)
{
    static const extent learning[KERNELS] = { FIRST, NOT, FIRST };
    solved other, odd = { 0 }, learns;
    bool frozen = style == LANGUAGE_EVEN, scale = nn_spec_of(plain->net)->parametrization == NN_NTK;
    if ((style == LANGUAGE_WEIGHTED && plain->outputs < 2) || (frozen && !scale))
        return 0;
    if (solve(seed, style, frozen ? learning : first_ntk, x, NULL, &other, error))
        return -1;
    int status = 0;
    if (style == LANGUAGE_WEIGHTED) {
        check_weighted(plain, &other, r);
    } else if (frozen) {
        status = solve(seed, LANGUAGE_ODD, learning, x, NULL, &odd, error);
        if (!status && !(status = solve(seed, LANGUAGE_ALL, first_ntk, x, NULL, &learns, error))) {
            check_frozen(&learns, &other, &odd, r);
            solved_free(&learns);
        }
        solved_free(&odd);
    } else {
        compare_solved(plain, &other, NULL, 0, language_style_names[style], r);
    }
    solved_free(&other);
    return status;
}

static int check_styles(uint64_t seed, bool all, const solved *plain, const double *x, verdict_result *r,
                        ad_error *error)
{
    int status = 0;
    if (!plain->there[0][0])
        return 0;
    check_shape(plain, r);
    for (int style = LANGUAGE_SWAPPED; style <= LANGUAGE_EVEN && !status; style++)
        if (all || style == one_style(seed))
            status = check_style(seed, (language_style)style, plain, x, r, error);
    for (int second = 0; second < 2 && !status; second++)
        if (all || seed % 8 == (second ? 3 : 7))
            status = check_inputs(seed, plain, x, second, r, error);
    return status;
}

int verdict_of(uint64_t seed, const verdict_spec *spec, verdict_result *r, ad_error *error)
{
    double x[ROWS * LANGUAGE_FEATURES];
    solved s;
    language_inputs(x);
    bool between = spec->all_styles || seed % 4 == 1 || one_style(seed) == LANGUAGE_WEIGHTED;
    bool more = spec->finite || seed % 3 == 0;
    const extent asked[KERNELS] = { between ? ALL : FIRST, more ? FIRST : NOT, more ? FIRST : NOT };
    if (solve(seed, LANGUAGE_PLAIN, asked, x, NULL, &s, error))
        return -1;
    language_read(s.net, &r->cells);
    r->seconds = s.seconds;
    r->verdict = s.there[0][0] ? VERDICT_EXACT : VERDICT_REFUSED;
    snprintf(r->refusal, sizeof r->refusal, "%s", s.refusal);
    for (int k = 0; k < KERNELS; k++)
        for (size_t p = 0; p < pairs(&s); p++)
            r->exact += s.there[k][p];
    int status = compare_truth(&s, asked, x, spec->finite, r, error);
    status = status ? status : check_styles(seed, spec->all_styles, &s, x, r, error);
    solved_free(&s);
    return status;
}

/* ---- sums ---- */
void verdict_add(verdict_table *t, const verdict_result *r)
{
    t->networks++;
    t->by[r->verdict]++;
    t->sum.exact += r->exact;
    t->sum.sampled += r->sampled;
    t->sum.by_sample += r->by_sample;
    t->sum.by_width += r->by_width;
    t->sum.by_style += r->by_style;
    t->sum.second_looks += r->second_looks;
    t->sum.disagreements += r->disagreements > 0;
    for (int op = 0; op < AD_N_OPS; op++)
        for (int a = 0; a < LANGUAGE_KINDS; a++)
            for (int b = 0; b < LANGUAGE_KINDS; b++)
                t->count[op][a][b][r->verdict] += r->cells.seen[op][a][b];
}

static bool has_row(const verdict_table *t, int op, int first, bool two)
{
    for (int last = 0; last < LANGUAGE_KINDS; last++)
        for (int v = 0; v < VERDICTS; v++)
            if (t->count[op][first][last][v] > 0 && (two || first == last))
                return true;
    return false;
}

static void print_cell(const int *count, FILE *stream)
{
    if (count[0] + count[1] + count[2] > 0)
        fprintf(stream, " %d/%d/%d |", count[0], count[1], count[2]);
    else
        fprintf(stream, " |");
}

void verdict_print(const verdict_table *t, FILE *stream)
{
    fprintf(stream,
            "%d networks: %d exact, %d sampled, %d refused; %d exact kernels, %d sampled; %d compared with "
            "samples, %d with finite networks, %d with other ways to write; %d second looks; %d networks "
            "disagree\n\n",
            t->networks, t->by[0], t->by[1], t->by[2], t->sum.exact, t->sum.sampled, t->sum.by_sample, t->sum.by_width,
            t->sum.by_style, t->sum.second_looks, t->sum.disagreements);
    fprintf(stream, "| op |");
    for (int k = OF_DATA; k < LANGUAGE_KINDS; k++)
        fprintf(stream, " %s |", language_kind_names[k]);
    fprintf(stream, "\n|---|---|---|---|---|---|---|---|\n");
    for (int op = 0; op < AD_N_OPS; op++) {
        bool two =
            ad_is_binary((ad_op)op) || op == AD_CONTRACT || op == AD_CONCAT || op == AD_GATHER || op == AD_SCATTER;
        for (int first = two ? OF_DATA : 0; first < (two ? LANGUAGE_KINDS : 1); first++) {
            bool any = two && has_row(t, op, first, true);
            for (int k = OF_DATA; k < LANGUAGE_KINDS && !two; k++)
                any = any || has_row(t, op, k, false);
            if (!any)
                continue;
            fprintf(stream, "| %s%s%s%s |", ad_op_name((ad_op)op), two ? "(" : "",
                    two ? language_kind_names[first] : "", two ? ", .)" : "");
            for (int k = OF_DATA; k < LANGUAGE_KINDS; k++)
                print_cell(t->count[op][two ? first : k][k], stream);
            fprintf(stream, "\n");
        }
    }
}
