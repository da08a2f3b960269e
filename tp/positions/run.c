/* run.c: a plan in numbers: a sample of the first set against TP_LANES of the second at a time, which lie side by side;
 * sets are padded by zeros to whole lanes. What samples have at points is in tiles, (rows / TP_LANES, points,
 * TP_LANES), so that a pair of tiles reads what lies together. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"

#include <limits.h>
#include <string.h>

/* What cancels further goes by the recursion, which looks whether digits are left. */
static const double most_lost = 1e4;
enum { TOGETHER = 1024 / TP_LANES, ROWS = 64 }; /* pairs of an expectation, and of a sum, at a time */

/* Mehler's series of a function over a vector's variances, of either set. */
typedef struct {
    int function, variance;
    tp_mehler *of[2];
} series;

typedef struct {
    tp_field_plan *plan, *single;
    const double *x[2];
    size_t rows[2], padded[2];
    bool same;
    series *series;
    int n_series, series_capacity;
    bool extreme; /* a number comes near the ends of a double's range */
    double *lost; /* by sum: how much larger what is added is than the sum, at most */
    ad_error *error;
} run;

/* One thread's part: arrays, slot by slot. */
typedef struct {
    const run *run;
    const tp_field_plan *plan;
    double **slots;
    double *memory;
    /* a plan of pairs': sample `row` of the first set, those from `column` on of the second. One of single samples':
     * those from `column` on of `set`, each with itself */
    size_t row, column;
    double **of_row; /* by variance: the row's at all points, their inverse roots, their roots */
    size_t loaded;   /* the row that they are of, and 1 */
    int set;
    tp_field_seen *seen; /* by step */
    size_t group;        /* of the plan's */
    ad_error *error;
} worker;

/* Where a row's numbers are, of so many points in tiles; the next point's are TP_LANES further on. */
static size_t place_of(size_t points, size_t row)
{
    return row / TP_LANES * TP_LANES * points + row % TP_LANES;
}

/* ---- slots ---- */
static void read_at(tp_field_plan *p, int array, int step)
{
    if (array >= 0 && p->arrays[array].last < step)
        p->arrays[array].last = step;
}

static bool reads_in(const tp_field_step *s)
{
    return tp_goes_by_entries(s) || s->kind == TP_APPLY;
}

/* Where arrays lie, each after a row of zeros: those that are read no more leave their place to others of the same
 * size, but for whole ones of a plan in groups, which outlive a group. How many numbers a lane has, and the places'
 * sizes; 0 without memory. */
static size_t place_arrays(tp_field_plan *p, int kept, size_t **sizes, int *n_slots)
{
    int *freed = ad_alloc((size_t)p->n_arrays + 1, sizeof *freed, "a plan", p->error), n_freed = 0;
    *sizes = ad_arena_alloc(p->arena, (size_t)p->n_arrays + 1, sizeof **sizes);
    size_t total = 0;
    *n_slots = 0;
    for (int i = 0; i < p->n_steps && freed; i++) {
        const tp_field_step *s = &p->steps[i];
        read_at(p, s->out, i);
        read_at(p, s->tangent_out, i);
        if (reads_in(s))
            read_at(p, s->in, i);
        for (int k = 0; k < s->n_parts; k++)
            read_at(p, s->part[k].in, i);
        if (s->kind == TP_EXPECT && !p->single) {
            read_at(p, p->fields[p->variances[s->variance].field].array, INT_MAX);
            read_at(p, p->fields[p->variances[s->variance2].field].array, INT_MAX);
        }
        read_at(p, s->kind == TP_EXPECT ? s->tangent : -1, i);
    }
    for (int k = 0; k < p->n_variances; k++)
        read_at(p, p->fields[p->variances[k].field].array, INT_MAX);
    for (int k = 0; k < p->n_weights; k++)
        read_at(p, p->fields[p->weights[k].field].array, INT_MAX);
    for (int k = 0; k < p->n_sums; k++)
        for (int part = -1; part < 2; part++) {
            int field = part < 0 ? p->sums[k].whole : p->sums[k].parts[part];
            read_at(p, field < 0 ? -1 : p->fields[field].array, INT_MAX);
        }
    read_at(p, kept, INT_MAX);
    for (int a = 0; a < p->n_arrays; a++)
        read_at(p, p->arrays[a].whole ? a : -1, INT_MAX);
    for (int i = 0; i < p->n_steps && freed && *sizes; i++) {
        const tp_field_step *s = &p->steps[i];
        int made[2] = { s->out, s->kind == TP_EXPECT ? s->tangent_out : -1 };
        for (int k = 0; k < 2; k++) {
            if (made[k] < 0 || p->arrays[made[k]].slot >= 0)
                continue;
            tp_field_array *a = &p->arrays[made[k]];
            int at = n_freed - 1;
            while (at >= 0 && (a->whole || (*sizes)[freed[at]] != a->room))
                at--;
            if (at >= 0) {
                a->slot = freed[at];
                freed[at] = freed[--n_freed];
            } else {
                a->slot = *n_slots;
                (*sizes)[(*n_slots)++] = a->room;
                total += a->room + 1;
            }
        }
        int reads[6] = { reads_in(s) ? s->in : -1,
                         s->kind == TP_EXPECT ? s->tangent : -1,
                         s->n_parts > 0 ? s->part[0].in : -1,
                         s->n_parts > 1 ? s->part[1].in : -1,
                         s->out,
                         made[1] };
        for (int k = 0; k < 6; k++) {
            bool again = false;
            for (int l = 0; l < k; l++)
                again = again || reads[l] == reads[k];
            if (reads[k] >= 0 && !again && p->arrays[reads[k]].last == i)
                freed[n_freed++] = p->arrays[reads[k]].slot;
        }
    }
    ad_free(freed);
    return *sizes && freed ? total + 1 : 0;
}

static int rows_begin(worker *w, ad_error *error)
{
    const tp_field_plan *single = w->plan->single;
    size_t all = 1;
    for (int k = 0; k < single->n_variances; k++)
        all += 3 * single->variances[k].points;
    w->of_row = ad_alloc((size_t)single->n_variances + 1, sizeof *w->of_row, "variances", error);
    double *next = w->of_row ? ad_alloc(all, sizeof *next, "variances", error) : NULL;
    if (!next)
        return -1;
    w->of_row[single->n_variances] = next; /* for the end */
    for (int k = 0; k < single->n_variances; k++) {
        w->of_row[k] = next;
        next += 3 * single->variances[k].points;
    }
    return 0;
}

static int worker_begin(worker *w, const run *r, const tp_field_plan *p, const size_t *sizes, int n_slots, size_t total,
                        ad_error *error)
{
    *w = (worker){ .run = r, .plan = p, .error = error };
    w->slots = ad_alloc((size_t)n_slots + 1, sizeof *w->slots, "a kernel over positions", error);
    w->memory = w->slots ? ad_alloc(total * TP_LANES, sizeof *w->memory, "a kernel over positions", error) : NULL;
    w->seen = w->memory ? ad_alloc((size_t)p->n_steps + 1, sizeof *w->seen, "a kernel over positions", error) : NULL;
    double *next = w->memory;
    for (int k = 0; k < n_slots && w->seen; k++, next += (sizes[k - 1] + 1) * TP_LANES)
        w->slots[k] = next + TP_LANES;
    return w->seen && (!p->single || rows_begin(w, error) == 0) ? 0 : -1;
}

static void worker_end(worker *w)
{
    if (w->of_row)
        ad_free(w->of_row[w->plan->single->n_variances]);
    ad_free(w->of_row);
    ad_free(w->slots);
    ad_free(w->memory);
    ad_free(w->seen);
}

static double *values_of(const worker *w, int array)
{
    return w->slots[w->plan->arrays[array].slot];
}

/* The group's entries of an array. */
static size_t first_of(const worker *w, int array)
{
    const tp_field_array *a = &w->plan->arrays[array];
    return a->begin ? (size_t)a->begin[w->group] : 0;
}

static size_t count_of(const worker *w, int array)
{
    const tp_field_array *a = &w->plan->arrays[array];
    return a->begin ? (size_t)(a->begin[w->group + 1] - a->begin[w->group]) : a->n;
}

/* ---- steps ---- */
static void add(const worker *w, const tp_field_step *s)
{
    double *out = values_of(w, s->out);
    size_t n = count_of(w, s->out), first = first_of(w, s->out);
    for (size_t i = 0; i < n; i += ROWS)
        for (int k = 0; k < s->n_parts; k++) {
            const tp_field_part *part = &s->part[k];
            tp_array_gather(n - i < ROWS ? n - i : ROWS, part->map.fan, part->map.to + (first + i) * part->map.fan,
                            part->c, values_of(w, part->in), !s->goes_on && k == 0, out + i * TP_LANES);
        }
}

/* What the group has of a sum into a whole array. */
static void add_group(const worker *w, const tp_field_step *s)
{
    for (int k = 0; k < s->n_parts; k++) {
        const tp_field_part *part = &s->part[k];
        if (part->pairs)
            tp_array_scatter((size_t)(part->begin[w->group + 1] - part->begin[w->group]),
                             part->pairs + 2 * (size_t)part->begin[w->group], part->c, values_of(w, part->in),
                             values_of(w, s->out));
    }
}

/* What whole arrays have of it. */
static void add_whole(const worker *w, const tp_field_step *s)
{
    for (int k = 0; k < s->n_parts; k++) {
        const tp_field_part *part = &s->part[k];
        if (!part->pairs)
            tp_array_gather(part->map.n, part->map.fan, part->map.to, part->c, values_of(w, part->in), false,
                            values_of(w, s->out));
    }
}

static void multiply_data(const worker *w, const tp_field_step *s)
{
    const tp_field_plan *owner = w->plan->single ? w->plan->single : w->plan;
    bool single = !w->plan->single;
    int first = single ? w->set : 0, second = single ? w->set : 1;
    const tp_field_data *of_x = &owner->data[s->x], *of_y = &owner->data[s->y];
    const double *x = of_x->values[first] + place_of(of_x->points, single ? w->column : w->row);
    const double *y = of_y->values[second] + place_of(of_y->points, w->column);
    double *out = values_of(w, s->out);
    size_t fan = s->map.fan, n = count_of(w, s->out);
    const int32_t *entry = s->map.to + 2 * first_of(w, s->out) * fan;
    if (!single) {
        tp_array_dots(n, fan, entry, x, y, out);
        return;
    }
    for (size_t i = 0; i < n; i++, out += TP_LANES) {
        memset(out, 0, TP_LANES * sizeof *out);
        for (size_t k = 0; k < fan; k++, entry += 2)
            for (size_t t = 0; t < TP_LANES; t++)
                out[t] += x[(size_t)entry[0] * TP_LANES + t] * y[(size_t)entry[1] * TP_LANES + t];
    }
}

/* Covariances and variances of some pairs, and one over the variances' roots. */
typedef struct {
    double q11[TOGETHER * TP_LANES], q22[TOGETHER * TP_LANES], q12[TOGETHER * TP_LANES], spare[TOGETHER * TP_LANES];
    double inverse[TOGETHER * TP_LANES], inverse2[TOGETHER * TP_LANES];
} block;

/* The first sample's variances, which lie apart, side by side. */
static void load_row(worker *w)
{
    if (w->loaded == w->row + 1)
        return;
    w->loaded = w->row + 1;
    for (int k = 0; k < w->plan->single->n_variances; k++) {
        const tp_field_variance *v = &w->plan->single->variances[k];
        for (size_t i = 0; i < v->points; i++) {
            size_t at = place_of(v->points, w->row) + i * TP_LANES;
            w->of_row[k][i] = v->values[0][at];
            w->of_row[k][v->points + i] = v->inverse[0][at];
            w->of_row[k][2 * v->points + i] = v->root[0][at];
        }
    }
}

/* Of two samples: from the variances that are known. */
static void load_pair(const worker *w, const tp_field_step *s, size_t from, size_t pairs, block *b)
{
    const tp_field_variance *v = &w->plan->single->variances[s->variance2];
    const double *row = w->of_row[s->variance], *inverse = row + w->plan->single->variances[s->variance].points;
    for (size_t i = 0; i < pairs; i++) {
        size_t first = (size_t)s->pairs.first[from + i], at = i * TP_LANES;
        size_t second = place_of(v->points, w->column) + (size_t)s->pairs.second[from + i] * TP_LANES;
        const double q = row[first], r = inverse[first];
        for (size_t t = 0; t < TP_LANES; t++)
            b->q11[at + t] = q;
        for (size_t t = 0; t < TP_LANES; t++)
            b->inverse[at + t] = r;
        memcpy(b->q22 + at, v->values[1] + second, TP_LANES * sizeof(double));
        memcpy(b->inverse2 + at, v->inverse[1] + second, TP_LANES * sizeof(double));
    }
}

static double inverse_root(double q)
{
    return q > 0 ? 1 / sqrt(q) : 0;
}

/* Of samples with themselves: from the plan's own arrays. */
static void load_single(const worker *w, const tp_field_step *s, size_t from, size_t pairs, block *b)
{
    const tp_field *u = &w->plan->fields[w->plan->variances[s->variance].field],
                   *v = &w->plan->fields[w->plan->variances[s->variance2].field];
    for (size_t i = 0; i < pairs * TP_LANES; i++) {
        size_t pair = from + i / TP_LANES, lane = i % TP_LANES;
        b->q11[i] = u->c * values_of(w, u->array)[(size_t)s->pairs.first[pair] * TP_LANES + lane];
        b->q22[i] = v->c * values_of(w, v->array)[(size_t)s->pairs.second[pair] * TP_LANES + lane];
        b->inverse[i] = inverse_root(b->q11[i]);
        b->inverse2[i] = inverse_root(b->q22[i]);
    }
}

/* Correlations that are 1 up to roundings count as 1: closed forms take what is beyond it so. */
static void settle_line(block *b, size_t n, tp_field_seen *seen)
{
    bool beyond;
    double most = tp_array_correlation(n, b->q12, b->inverse, b->inverse2, TP_ON_LINE, &beyond);
    seen->most = fmax(seen->most, most);
    for (size_t i = 0; i < n && beyond; i++) {
        bool on = fabs(b->q12[i]) * b->inverse[i] * b->inverse2[i] > 1 - TP_ON_LINE;
        if (!on || (b->q11[i] == b->q22[i] && fabs(b->q12[i]) == b->q11[i]))
            continue;
        b->q12[i] = copysign(sqrt(b->q11[i]) * sqrt(b->q22[i]) * (1 + 2 * TP_ON_LINE), b->q12[i]);
        seen->on_line = true;
    }
}

static const tp_mehler *series_of(const run *r, int function, int variance, int set)
{
    for (int k = 0; k < r->n_series; k++)
        if (r->series[k].function == function && r->series[k].variance == variance)
            return r->series[k].of[r->same ? 0 : set];
    return NULL;
}

/* E f g by series, pair by pair. */
static void by_series(const worker *w, const tp_field_step *s, int f, int g, size_t from, size_t pairs,
                      const double *q12, double *out)
{
    const run *r = w->run;
    const tp_mehler *of_f = series_of(r, f, s->variance, 0), *of_g = series_of(r, g, s->variance2, 1);
    size_t row = place_of(r->single->variances[s->variance].points, w->row);
    size_t column = place_of(r->single->variances[s->variance2].points, w->column);
    for (size_t i = 0; i < pairs; i++) {
        size_t a = row + (size_t)s->pairs.first[from + i] * TP_LANES;
        size_t b = column + (size_t)s->pairs.second[from + i] * TP_LANES;
        tp_mehler_tile(of_f, of_g, a, 1, b, TP_LANES, q12 + i * TP_LANES, TP_LANES, out + i * TP_LANES, TP_LANES);
    }
}

/* The same where each sample meets itself, and there are no series yet. */
static int by_new_series(const worker *w, const tp_univariate *f, const tp_univariate *g, const block *b, size_t n,
                         double *out)
{
    tp_mehler *of_f = tp_mehler_new(f, n, b->q11, 0, 0, w->error);
    tp_mehler *of_g = of_f ? tp_mehler_new(g, n, b->q22, 0, 0, w->error) : NULL;
    for (size_t i = 0; i < n && of_g; i++)
        tp_mehler_tile(of_f, of_g, i, 1, i, 1, &b->q12[i], 1, &out[i], 1);
    int status = of_g ? 0 : -1;
    tp_mehler_free(of_f);
    tp_mehler_free(of_g);
    return status;
}

static int expect_one(const worker *w, const tp_field_step *s, int f, int g, size_t from, size_t pairs, block *b,
                      double *out)
{
    const tp_univariate *u = &w->plan->functions[f].u, *v = &w->plan->functions[g].u;
    if (tp_closed(u, v, pairs * TP_LANES, b->q11, b->q22, b->q12, NULL, out))
        return 0;
    if (!w->plan->single)
        return by_new_series(w, u, v, b, pairs * TP_LANES, out);
    by_series(w, s, f, g, from, pairs, b->q12, out);
    return 0;
}

/* The exact way of a pair of points whose correlation is near 1 or -1. */
static void expect_near(const worker *w, const tp_field_step *s, size_t pair, const tp_points *points, const double *in,
                        const double *tangent, double *out, double *slopes, tp_field_seen *seen)
{
    const tp_univariate *f = &w->plan->functions[s->f].u, *df = &w->plan->functions[s->df].u;
    const double *inverse = &points->one.inverse[s->pairs.first[pair]];
    const double *inverses = points->others.inverse + (size_t)s->pairs.second[pair] * TP_LANES;
    double value[TP_LANES], slope[TP_LANES], size[TP_LANES], most = 0;
    block b;
    for (size_t t = 0; t < TP_LANES; t++) {
        size[t] = fabs(s->c * in[t] * *inverse * inverses[t]);
        most = size[t] <= 1 - TP_ON_LINE && size[t] > most ? size[t] : most; /* beyond, it is done */
    }
    if (most <= TP_OFF_LINE) {
        seen->most = fmax(seen->most, most);
        return;
    }
    load_pair(w, s, pair, 1, &b);
    for (size_t t = 0; t < TP_LANES; t++)
        b.q12[t] = s->c * in[t];
    settle_line(&b, TP_LANES, seen);
    tp_closed_pair(f, df, TP_LANES, b.q11, b.q22, b.q12, NULL, value, slope);
    for (size_t t = 0; t < TP_LANES; t++) { /* each for itself: whatever the others are, the same number */
        if (size[t] <= TP_OFF_LINE || size[t] > 1 - TP_ON_LINE)
            continue;
        slopes[t] = s->tangent_c * tangent[t] * slope[t];
        if (out)
            out[t] = value[t];
    }
}

/* E f f of ReLU, and that of its slope times the tangent kernel. */
static void expect_relu(const worker *w, const tp_field_step *s, double *out, double *slopes, tp_field_seen *seen)
{
    const tp_field_plan *single = w->plan->single;
    const tp_field_variance *u = &single->variances[s->variance], *v = &single->variances[s->variance2];
    const double *row = w->of_row[s->variance];
    size_t column = place_of(v->points, w->column);
    tp_points points = { .one = { row + u->points, row + 2 * u->points },
                         .others = { v->inverse[1] + column, v->root[1] + column },
                         .variance = row,
                         .variances = v->values[1] + column };
    const double *in = values_of(w, s->in), *tangent = values_of(w, s->tangent);
    size_t start = first_of(w, s->in), count = count_of(w, s->in);
    for (size_t from = 0; from < count; from += TOGETHER) {
        size_t n = count - from < TOGETHER ? count - from : TOGETHER, at = from * TP_LANES;
        points.first = s->pairs.first + start + from;
        points.second = s->pairs.second + start + from;
        bool beyond;
        double most = tp_array_relu(n, &points, s->c, in + at, s->tangent_c, tangent + at, TP_ON_LINE, &beyond,
                                    out ? out + at : NULL, slopes + at);
        seen->on_line = seen->on_line || beyond;
        if (most <= TP_OFF_LINE) {
            seen->most = fmax(seen->most, most);
            continue;
        }
        for (size_t i = 0; i < n; i++, at += TP_LANES)
            expect_near(w, s, start + from + i, &points, in + at, tangent + at, out ? out + at : NULL, slopes + at,
                        seen);
    }
}

static int expect(const worker *w, const tp_field_step *s, tp_field_seen *seen)
{
    block b;
    const tp_field_plan *p = w->plan;
    double *out = s->out < 0 ? NULL : values_of(w, s->out);
    double *tangent_out = s->tangent_out < 0 ? NULL : values_of(w, s->tangent_out);
    const double *tangent = s->tangent < 0 ? NULL : values_of(w, s->tangent);
    if (p->single && tangent_out && s->f == s->g && s->df == s->dg && p->functions[s->f].u.form == TP_RELU) {
        expect_relu(w, s, out, tangent_out, seen);
        return 0;
    }
    size_t start = first_of(w, s->in), end = start + count_of(w, s->in);
    for (size_t from = start; from < end; from += TOGETHER) {
        size_t pairs = end - from < TOGETHER ? end - from : TOGETHER, n = pairs * TP_LANES;
        size_t at = (from - start) * TP_LANES;
        (p->single ? load_pair : load_single)(w, s, from, pairs, &b);
        tp_array_affine(n, 0, s->c, values_of(w, s->in) + at, b.q12);
        settle_line(&b, n, seen);
        bool both = out && tangent_out && s->f == s->g && s->df == s->dg &&
                    tp_closed_pair(&p->functions[s->f].u, &p->functions[s->df].u, n, b.q11, b.q22, b.q12, NULL,
                                   out + at, b.spare);
        if (!both && out && expect_one(w, s, s->f, s->g, from, pairs, &b, out + at))
            return -1;
        if (!both && tangent_out && expect_one(w, s, s->df, s->dg, from, pairs, &b, b.spare))
            return -1;
        if (tangent_out) {
            tp_array_affine(n, 0, s->tangent_c, b.spare, b.spare);
            tp_array_multiply(n, tangent + at, b.spare, tangent_out + at);
        }
    }
    return 0;
}

/* The numbers of a weight at a point, of this row (`second`: of the columns) and lane by lane. */
static const double *weight_at(const worker *w, int weight, bool second, size_t point, double lanes[TP_LANES])
{
    const tp_field_plan *p = w->plan;
    const tp_field_weight *of = &(p->single ? p->single : p)->weights[weight];
    if (!p->single) {
        const tp_field *f = &p->fields[of->field];
        for (size_t t = 0; t < TP_LANES; t++)
            lanes[t] = f->c * values_of(w, f->array)[point * TP_LANES + t];
        return lanes;
    }
    if (second)
        return of->values[1] + place_of(of->points, w->column) + point * TP_LANES;
    for (size_t t = 0; t < TP_LANES; t++)
        lanes[t] = of->values[0][place_of(of->points, w->row) + point * TP_LANES];
    return lanes;
}

static void weigh(const worker *w, const tp_field_step *s)
{
    const double *in = values_of(w, s->in);
    double *out = values_of(w, s->out), lanes[TP_LANES];
    size_t start = first_of(w, s->in), end = start + count_of(w, s->in);
    for (size_t i = start; i < end; i++, in += TP_LANES, out += TP_LANES) {
        for (size_t t = 0; t < TP_LANES; t++)
            out[t] = s->c * in[t];
        for (int side = 0; side < 2; side++) {
            int number = side ? s->weight2 : s->weight;
            if (number < 0)
                continue;
            const double *by = weight_at(w, number, side, (size_t)(side ? s->pairs.second : s->pairs.first)[i], lanes);
            for (size_t t = 0; t < TP_LANES; t++)
                out[t] *= by[t];
        }
    }
}

static void apply(const worker *w, const tp_field_step *s)
{
    const double *in = values_of(w, s->in);
    double *out = values_of(w, s->out);
    for (size_t k = 0; k < w->plan->arrays[s->out].n * TP_LANES; k++)
        out[k] = fabs(s->exponent + 0.5) > 0 ? pow(s->c * in[k], s->exponent) : 1 / sqrt(s->c * in[k]);
}

static void fill(const worker *w, const tp_field_step *s)
{
    for (size_t k = 0; k < w->plan->arrays[s->out].n * TP_LANES; k++)
        values_of(w, s->out)[k] = s->c;
}

static int run_step(const worker *w, int i)
{
    const tp_field_step *s = &w->plan->steps[i];
    switch (s->kind) {
    case TP_FILL:
        fill(w, s);
        return 0;
    case TP_DATA:
        multiply_data(w, s);
        return 0;
    case TP_ADD:
        add(w, s);
        return 0;
    case TP_WEIGH:
        weigh(w, s);
        return 0;
    case TP_APPLY:
        apply(w, s);
        return 0;
    default:
        return expect(w, s, &w->seen[i]);
    }
}

/* Group by group; what all add to begins as 0. */
static int run_groups(worker *w)
{
    const tp_field_plan *p = w->plan;
    for (int a = 0; a < p->n_arrays; a++)
        if (p->arrays[a].whole && p->arrays[a].slot >= 0)
            memset(values_of(w, a), 0, p->arrays[a].n * TP_LANES * sizeof(double));
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind == TP_FILL)
            fill(w, &p->steps[i]);
    for (w->group = 0; w->group < p->n_groups; w->group++)
        for (int i = 0; i < p->n_steps; i++) {
            const tp_field_step *s = &p->steps[i];
            if (s->kind == TP_ADD && p->arrays[s->out].whole)
                add_group(w, s);
            else if (s->kind != TP_FILL && run_step(w, i))
                return -1;
        }
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind == TP_ADD && p->arrays[p->steps[i].out].whole)
            add_whole(w, &p->steps[i]);
    return 0;
}

static int run_steps(worker *w)
{
    if (w->plan->n_groups > 1)
        return run_groups(w);
    for (int i = 0; i < w->plan->n_steps; i++)
        if (run_step(w, i))
            return -1;
    return 0;
}

/* ---- data ---- */
/* Is it no 0, and so small or large that what is made of it may leave the range of a double? */
static bool is_extreme(double x)
{
    return !(fabs(x) <= 1e200) || (fabs(x) > 0 && fabs(x) < 1e-200);
}

/* (rows, points) of a node's values, or of the inputs, in tiles. */
static int turn_data(run *r, tp_field_data *d, int set, const double *values)
{
    size_t rows = r->rows[set];
    if (!(d->values[set] = ad_alloc(d->points * r->padded[set], sizeof(double), "the limit's inputs", r->error)))
        return -1;
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < d->points; k++) {
            double value = values[i * d->points + k];
            d->values[set][place_of(d->points, i) + k * TP_LANES] = value;
            r->extreme |= is_extreme(value * value) || (fabs(value) > 0 && !(value * value > 0));
        }
    return 0;
}

static int load_data(run *r, int set)
{
    tp_field_plan *owner = r->single;
    ad_var input = nn_input(owner->program->net);
    ad_plan_spec spec = { .type = AD_DOUBLE, .capacity = { .n = 1, .n_batches = 1 } };
    spec.capacity.batches[0].axis = nn_batch(owner->program->net);
    spec.capacity.batches[0].size = r->rows[set];
    int status = 0;
    for (int k = 0; k < owner->n_data && !status; k++) {
        ad_var node = { owner->program->graph, owner->data[k].node };
        if (node.id == input.id) {
            status = turn_data(r, &owner->data[k], set, r->x[set]);
            continue;
        }
        ad_plan *plan = ad_plan_new(&node, 1, &spec, r->error);
        if (!plan || ad_bind(plan, input, r->x[set]) || ad_run(plan, &spec.capacity, r->error) ||
            turn_data(r, &owner->data[k], set, ad_output(plan, 0)))
            status = ad_fail(r->error, "the program's data cannot be computed");
        ad_plan_free(plan);
    }
    return status;
}

/* Data over the batch and fixed axes, the batch first. */
static bool data_lies_well(const tp_field_plan *owner, int node)
{
    const ad_shape *shape = &ad_node_of(owner->graph, node)->shape;
    bool well = shape->rank > 0 && ad_same(shape->axes[0], nn_batch(owner->program->net));
    for (int i = 1; i < shape->rank; i++)
        well = well && ad_axis_fixed(owner->graph, shape->axes[i]) > 0;
    return well;
}

/* ---- single samples ---- */
static void keep_variances(const worker *w, const tp_field_variance *v, bool *extreme)
{
    const tp_field *f = &w->plan->fields[v->field];
    const double *values = values_of(w, f->array);
    size_t start = place_of(v->points, w->column);
    for (size_t i = 0; i < v->points * TP_LANES; i++) {
        size_t at = start + i;
        v->values[w->set][at] = f->c * values[i];
        *extreme |= is_extreme(v->values[w->set][at]);
        v->inverse[w->set][at] = inverse_root(v->values[w->set][at]);
        v->root[w->set][at] = sqrt(v->values[w->set][at]);
    }
}

static int open_rows(run *r, int set)
{
    tp_field_plan *p = r->single;
    for (int k = 0; k < p->n_variances; k++) {
        tp_field_variance *v = &p->variances[k];
        size_t n = v->points * r->padded[set];
        if (!(v->values[set] = ad_alloc(n, sizeof(double), "variances", r->error)) ||
            !(v->inverse[set] = ad_alloc(n, sizeof(double), "variances", r->error)) ||
            !(v->root[set] = ad_alloc(n, sizeof(double), "variances", r->error)))
            return -1;
    }
    for (int k = 0; k < p->n_weights; k++) {
        tp_field_weight *w = &p->weights[k];
        if (!(w->values[set] = ad_alloc(w->points * r->padded[set], sizeof(double), "factors", r->error)))
            return -1;
    }
    return 0;
}

static void keep_weights(const worker *w, const tp_field_weight *weight, bool *extreme)
{
    const tp_field *f = &w->plan->fields[weight->field];
    const double *values = values_of(w, f->array);
    for (size_t i = 0; i < weight->points * TP_LANES; i++) {
        size_t row = w->column + i % TP_LANES;
        double value = row < w->run->rows[w->set] ? f->c * values[i] : 1; /* of what pads the rows there is none */
        weight->values[w->set][place_of(weight->points, w->column) + i] = value;
        *extreme |= is_extreme(value);
    }
}

static double value_at(const worker *w, int field, size_t i)
{
    const tp_field *f = field < 0 ? NULL : &w->plan->fields[field];
    return f ? f->c * values_of(w, f->array)[i] : 0;
}

/* Of vectors x and y the square of |x| + |y|, over that of |x + y|. */
static void look_at_sum(const worker *w, const tp_field_sum *sum, double *lost)
{
    size_t n = sum->whole < 0 ? 0 : w->plan->fields[sum->whole].n;
    for (size_t i = 0; i < n * TP_LANES; i++) {
        double root = sqrt(fmax(value_at(w, sum->parts[0], i), 0)) + sqrt(fmax(value_at(w, sum->parts[1], i), 0));
        double whole = value_at(w, sum->whole, i);
        if (root > 0)
            *lost = fmax(*lost, whole > 0 ? root * root / whole : INFINITY);
    }
}

/* Variances of all vectors at all points, of both sets; the kernel's diagonal where it is one of its own. */
static int run_single(run *r, int own, tp_field_seen *seen, double *diagonal)
{
    tp_field_plan *p = r->single;
    size_t *sizes, total;
    int n_slots, status = 0;
    for (int a = 0; a < p->n_arrays; a++)
        p->arrays[a].room = p->arrays[a].n;
    const tp_field *diagonal_of = own < 0 ? NULL : &p->fields[own];
    if (!(total = place_arrays(p, diagonal_of ? diagonal_of->array : -1, &sizes, &n_slots)))
        return -1;
    worker w;
    status = worker_begin(&w, r, p, sizes, n_slots, total, r->error);
    for (int set = 0; set < (r->same ? 1 : 2) && !status; set++) {
        status = open_rows(r, set);
        for (w.set = set, w.column = 0; w.column < r->rows[set] && !status; w.column += TP_LANES) {
            status = run_steps(&w);
            for (int k = 0; k < p->n_variances && !status; k++)
                keep_variances(&w, &p->variances[k], &r->extreme);
            for (int k = 0; k < p->n_weights && !status; k++)
                keep_weights(&w, &p->weights[k], &r->extreme);
            for (int k = 0; k < p->n_sums && !status; k++)
                look_at_sum(&w, &p->sums[k], &r->lost[k]);
            for (size_t t = 0; t < TP_LANES && diagonal_of && !status && w.column + t < r->rows[0]; t++)
                diagonal[w.column + t] = diagonal_of->c * values_of(&w, diagonal_of->array)[t];
        }
    }
    if (!status)
        memcpy(seen, w.seen, (size_t)p->n_steps * sizeof *seen);
    worker_end(&w);
    return status;
}

/* ---- series ---- */
/* Of a function that has no closed form with another one: 1 where its series does not settle. */
static int add_series(run *r, int function, int variance)
{
    const double enough = 1e-12;
    const tp_field_variance *v = &r->single->variances[variance];
    for (int k = 0; k < r->n_series; k++)
        if (r->series[k].function == function && r->series[k].variance == variance)
            return 0;
    if (!ad_arena_grow(r->plan->arena, (void **)&r->series, r->n_series, &r->series_capacity, sizeof *r->series))
        return ad_fail(r->error, "out of memory for a series");
    series *s = &r->series[r->n_series++];
    *s = (series){ function, variance, { NULL, NULL } };
    for (int set = 0; set < (r->same ? 1 : 2); set++) {
        s->of[set] =
            tp_mehler_new(&r->plan->functions[function].u, v->points * r->padded[set], v->values[set], 0, 0, r->error);
        if (!s->of[set])
            return -1;
        for (size_t i = 0; i < s->of[set]->count; i++)
            if (!(s->of[set]->rests[i] * s->of[set]->rests[i] < enough))
                return 1;
    }
    return 0;
}

static int find_series(run *r)
{
    const tp_field_plan *p = r->plan;
    for (int i = 0; i < p->n_steps; i++) {
        const tp_field_step *s = &p->steps[i];
        if (s->kind != TP_EXPECT)
            continue;
        int f[2][2] = { { s->f, s->g }, { s->df, s->dg } };
        for (int k = 0; k < (s->tangent_out < 0 ? 1 : 2); k++) {
            if (tp_has_closed(&p->functions[f[k][0]].u, &p->functions[f[k][1]].u))
                continue;
            for (int side = 0; side < 2; side++) {
                int status = add_series(r, f[k][side], side ? s->variance2 : s->variance);
                if (status)
                    return status;
            }
        }
    }
    return 0;
}

/* ---- pairs ---- */
static void merge_seen(tp_field_seen *all, const tp_field_seen *more, int n)
{
    for (int i = 0; i < n; i++) {
        all[i].most = fmax(all[i].most, more[i].most);
        all[i].on_line = all[i].on_line || more[i].on_line;
    }
}

static int run_pairs(const run *r, int out, double c, const tp_limit_spec *spec, tp_field_seen *seen, tp_kernel *kernel)
{
    tp_field_plan *p = r->plan;
    size_t *sizes, total, done = 0;
    int n_slots, failed = 0, odd = 0;
    if (!(total = place_arrays(p, out, &sizes, &n_slots)))
        return -1;
    size_t across = r->padded[1] / TP_LANES, all = r->rows[0] * across;
    double *values = kernel->terms[0].values;
    int threads = ad_threads(spec->threads, r->error);
#pragma omp parallel num_threads(threads) reduction(| : failed, odd)
    {
        ad_error error = { 0 };
        worker w;
        failed = worker_begin(&w, r, p, sizes, n_slots, total, &error) != 0;
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < all; k++) {
            w.row = k / across;
            w.column = k % across * TP_LANES;
            if (failed || (r->same && w.column + TP_LANES <= w.row))
                continue;
            load_row(&w);
            failed = run_steps(&w) != 0;
            for (size_t t = 0; t < TP_LANES && !failed; t++) {
                size_t column = w.column + t;
                if (column >= r->rows[1] || (r->same && column < w.row))
                    continue;
                double value = c * values_of(&w, out)[t];
                odd |= !isfinite(value);
                values[w.row * r->rows[1] + column] = value;
                if (r->same)
                    values[column * r->rows[1] + w.row] = value;
            }
            if (spec->progress) {
#pragma omp critical(limn_positions_progress)
                spec->progress((double)++done / (double)all, spec->context);
            }
        }
#pragma omp critical(limn_positions)
        {
            if (w.seen)
                merge_seen(seen, w.seen, p->n_steps);
            if (failed)
                ad_fail(r->error, "%s", error.text);
        }
        worker_end(&w);
    }
    return failed ? -1 : odd;
}

/* ---- all of it ---- */
/* By how much more errors are, relative to what sums cancel to; two vectors that do not oppose each other lose half. */
static double all_lost(const run *r)
{
    const double usual = 4;
    double factor = 1;
    for (int k = 0; k < r->single->n_sums; k++)
        factor *= r->lost[k] > usual ? r->lost[k] : 1;
    return factor;
}

static int run_all(run *r, int out, double c, int own, const tp_limit_spec *spec, tp_kernel *kernel)
{
    tp_field_plan *p = r->plan, *single = r->single;
    for (int k = 0; k < single->n_data; k++)
        if (!data_lies_well(single, single->data[k].node))
            return 1;
    size_t steps = (size_t)p->n_steps + (size_t)single->n_steps,
           arrays = (size_t)p->n_arrays + (size_t)single->n_arrays;
    tp_field_seen *seen = ad_arena_alloc(p->arena, steps + 1, sizeof *seen);
    double *errors = ad_arena_alloc(p->arena, arrays + 1, sizeof *errors);
    double *diagonal = ad_arena_alloc(p->arena, r->rows[0] + 1, sizeof *diagonal);
    r->lost = ad_arena_alloc(p->arena, (size_t)single->n_sums + 1, sizeof *r->lost);
    if (!seen || !errors || !diagonal || !r->lost)
        return ad_fail(r->error, "out of memory for a kernel over positions");
    memset(seen, 0, steps * sizeof *seen);
    memset(r->lost, 0, ((size_t)single->n_sums + 1) * sizeof *r->lost);
    for (int set = 0; set < (r->same ? 1 : 2); set++)
        if (load_data(r, set))
            return -1;
    if (r->same)
        for (int k = 0; k < single->n_data; k++)
            single->data[k].values[1] = single->data[k].values[0];
    if (r->extreme)
        return 1;
    if (run_single(r, own, seen + p->n_steps, diagonal))
        return -1;
    if (r->extreme || all_lost(r) > most_lost)
        return 1;
    for (int k = 0; k < single->n_variances && r->same; k++) {
        single->variances[k].values[1] = single->variances[k].values[0];
        single->variances[k].inverse[1] = single->variances[k].inverse[0];
        single->variances[k].root[1] = single->variances[k].root[0];
    }
    for (int k = 0; k < single->n_weights && r->same; k++)
        single->weights[k].values[1] = single->weights[k].values[0];
    int status = find_series(r);
    if (!status && tp_split_plan(p, out))
        return -1;
    if (!status)
        status = run_pairs(r, out, c, spec, seen, kernel);
    if (status)
        return status;
    tp_bound_fields(single, NULL, seen + p->n_steps, r->padded, errors + p->n_arrays);
    tp_bound_fields(p, errors + p->n_arrays, seen, r->padded, errors);
    kernel->error = errors[out] * all_lost(r);
    if (own < 0)
        return 0;
    kernel->error = fmax(kernel->error, errors[p->n_arrays + single->fields[own].array] * all_lost(r));
    for (size_t i = 0; i < r->rows[0]; i++) {
        kernel->terms[0].values[i * r->rows[1] + i] = diagonal[i];
        if (!isfinite(diagonal[i]))
            return 1;
    }
    return 0;
}

static void free_variances(const tp_field_variance *v, int set)
{
    ad_free(v->values[set]);
    ad_free(v->inverse[set]);
    ad_free(v->root[set]);
}

int tp_run_fields(tp_field_plan *plan, int out, double c, int own, const double *x, size_t rows, const double *x2,
                  size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel)
{
    run r = { .plan = plan,
              .single = plan->single,
              .x = { x, x2 ? x2 : x },
              .rows = { rows, x2 ? rows2 : rows },
              .same = !x2,
              .error = plan->error };
    for (int set = 0; set < 2; set++)
        r.padded[set] = (r.rows[set] + TP_LANES - 1) / TP_LANES * TP_LANES;
    int status = run_all(&r, out, c, own, spec, kernel);
    for (int set = 0; set < (r.same ? 1 : 2); set++) {
        for (int k = 0; k < plan->single->n_data; k++)
            ad_free(plan->single->data[k].values[set]);
        for (int k = 0; k < plan->single->n_variances; k++)
            free_variances(&plan->single->variances[k], set);
        for (int k = 0; k < plan->single->n_weights; k++)
            ad_free(plan->single->weights[k].values[set]);
        for (int k = 0; k < r.n_series; k++)
            tp_mehler_free(r.series[k].of[set]);
    }
    snprintf(kernel->method, sizeof kernel->method, "%s over positions",
             r.n_series ? "exact rules and series" : "closed forms");
    return status;
}
