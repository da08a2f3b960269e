/* quantity.c: making quantities: numbers fold, sums flatten, what cancels is gone. */
#include "tp/symbolic/symbolic.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static int intern_quantity(tp_algebra *algebra, const tp_quantity *q, size_t size)
{
    int id = tp_intern(&algebra->quantities, q, size);
    return id < 0 ? tp_lacks_memory(algebra) : id;
}

int tp_q_number(tp_algebra *algebra, double c)
{
    if (algebra->quantities.n > TP_Q_ONE && !(fabs(c - 1) > 0) && !isnan(c))
        return TP_Q_ONE;
    tp_quantity q;
    tp_q_blank(&q, TP_Q_NUMBER);
    q.c = c;
    return intern_quantity(algebra, &q, sizeof q);
}

int tp_q_split(const tp_algebra *algebra, int id, double *c)
{
    const tp_quantity *q = tp_quantity_at(algebra, id);
    *c = 1;
    if (q->kind == TP_Q_NUMBER) {
        *c = q->c;
        return TP_Q_ONE;
    }
    if (q->kind == TP_Q_SUM && q->n == 1 && !(fabs(q->c) > 0)) {
        *c = q->parts[0].c;
        return q->parts[0].q;
    }
    return id;
}

/* ---- sums ---- */
/* A sum under way, the algebra's own: numbers fold, sums inside sums flatten, equal quantities meet. */
static bool sum_begin(tp_algebra *algebra)
{
    enum { CAPACITY = 64 };
    if (!algebra->sum) {
        algebra->sum = ad_arena_alloc(algebra->arena, 1, sizeof *algebra->sum + CAPACITY * sizeof *algebra->sum->parts);
        algebra->sum_capacity = CAPACITY;
    }
    if (!algebra->sum)
        return false;
    algebra->sum->kind = TP_Q_SUM;
    algebra->sum->c = 0;
    algebra->sum->n = 0;
    return true;
}

static bool sum_grow(tp_algebra *algebra)
{
    tp_quantity *q = algebra->sum;
    int capacity = 2 * algebra->sum_capacity;
    tp_quantity *larger = ad_arena_alloc(algebra->arena, 1, sizeof *larger + (size_t)capacity * sizeof *larger->parts);
    if (!larger)
        return false;
    memcpy(larger, q, sizeof *larger + (size_t)q->n * sizeof *larger->parts);
    algebra->sum = larger;
    algebra->sum_capacity = capacity;
    return true;
}

/* c times what is neither a number nor a sum, at the end. */
static bool add_part(tp_algebra *algebra, double c, int id)
{
    tp_quantity *q = algebra->sum;
    if (q->n > 0 && q->parts[q->n - 1].q == id) {
        q->parts[q->n - 1].c += c;
        return true;
    }
    if (q->n == algebra->sum_capacity && !sum_grow(algebra))
        return false;
    q = algebra->sum;
    memset(&q->parts[q->n], 0, sizeof *q->parts);
    q->parts[q->n].c = c;
    q->parts[q->n++].q = id;
    return true;
}

/* Two runs of rising numbers into one; of equal ones the first run's come first. */
static void merge_runs(const tp_q_part *a, int n, const tp_q_part *b, int m, tp_q_part *out)
{
    while (n + m > 0) {
        bool first = n > 0 && (m == 0 || a->q <= b->q);
        *out++ = first ? *a++ : *b++;
        *(first ? &n : &m) -= 1;
    }
}

static int run_length(const tp_q_part *parts, int n)
{
    int length = n > 0;
    while (length < n && parts[length - 1].q <= parts[length].q)
        length++;
    return length;
}

/* Parts by rising number, and equal ones in the order in which they came: most are in order from the start. */
static bool sort_parts(tp_algebra *algebra)
{
    tp_quantity *q = algebra->sum;
    tp_q_part *from = q->parts, *to = NULL;
    while (run_length(from, q->n) < q->n) {
        if (!to && !(to = ad_arena_alloc(algebra->arena, (size_t)q->n, sizeof *to)))
            return false;
        for (int at = 0, next; at < q->n; at = next) {
            int n = run_length(from + at, q->n - at), m = run_length(from + at + n, q->n - at - n);
            next = at + n + m;
            merge_runs(from + at, n, from + at + n, m, to + at);
        }
        tp_q_part *free_again = from;
        from = to;
        to = free_again;
    }
    if (from != q->parts)
        memcpy(q->parts, from, (size_t)q->n * sizeof *from);
    return true;
}

/* Equal quantities meet; what cancels is gone. */
static void join_parts(tp_quantity *q)
{
    int kept = 0;
    for (int k = 0, next; k < q->n; k = next) {
        tp_q_part part = q->parts[k];
        for (next = k + 1; next < q->n && q->parts[next].q == part.q; next++)
            part.c += q->parts[next].c;
        if (fabs(part.c) > 0)
            q->parts[kept++] = part;
    }
    q->n = kept;
}

/* The parts of a sum that is made are neither numbers nor sums. */
static bool sum_add(tp_algebra *algebra, double c, int id)
{
    const tp_quantity *part = tp_quantity_at(algebra, id);
    if (!(fabs(c) > 0))
        return true;
    if (part->kind != TP_Q_NUMBER && part->kind != TP_Q_SUM)
        return add_part(algebra, c, id);
    algebra->sum->c += tp_times(algebra, c, part->c);
    bool fine = true;
    for (int i = 0; i < part->n && fine; i++) {
        double of_part = tp_times(algebra, c, part->parts[i].c);
        fine = !(fabs(of_part) > 0) || add_part(algebra, of_part, part->parts[i].q);
    }
    return fine;
}

static int sum_end(tp_algebra *algebra)
{
    if (!sort_parts(algebra))
        return tp_lacks_memory(algebra);
    tp_quantity *q = algebra->sum;
    join_parts(q);
    if (q->n == 0)
        return tp_q_number(algebra, q->c);
    if (q->n == 1 && !(fabs(q->c) > 0) && !(fabs(q->parts[0].c - 1) > 0))
        return q->parts[0].q;
    return intern_quantity(algebra, q, sizeof *q + (size_t)q->n * sizeof *q->parts);
}

int tp_q_plus(tp_algebra *algebra, double ca, int a, double cb, int b)
{
    bool done = sum_begin(algebra) && sum_add(algebra, ca, a) && sum_add(algebra, cb, b);
    return done ? sum_end(algebra) : tp_lacks_memory(algebra);
}

int tp_q_scaled(tp_algebra *algebra, double c, int id)
{
    if (!(fabs(c - 1) > 0))
        return id;
    return sum_begin(algebra) && sum_add(algebra, c, id) ? sum_end(algebra) : tp_lacks_memory(algebra);
}

int tp_q_total(tp_algebra *algebra, const tp_q_part *parts, int n)
{
    bool done = sum_begin(algebra);
    for (int k = 0; k < n && done; k++)
        done = sum_add(algebra, parts[k].c, parts[k].q);
    return done ? sum_end(algebra) : tp_lacks_memory(algebra);
}

/* ---- products ---- */
int tp_q_product(tp_algebra *algebra, int a, int b)
{
    const tp_quantity *x = tp_quantity_at(algebra, a), *y = tp_quantity_at(algebra, b);
    if (x->kind == TP_Q_NUMBER)
        return tp_q_scaled(algebra, x->c, b);
    if (y->kind == TP_Q_NUMBER)
        return tp_q_scaled(algebra, y->c, a);
    tp_quantity q;
    tp_q_blank(&q, TP_Q_PRODUCT);
    q.a = a < b ? a : b;
    q.b = a < b ? b : a;
    return intern_quantity(algebra, &q, sizeof q);
}

enum { MAX_LEAVES = 64 };

static bool add_leaf(int id, int *leaves, int *n)
{
    if (*n == MAX_LEAVES)
        return false;
    int at = (*n)++;
    for (; at > 0 && leaves[at - 1] > id; at--)
        leaves[at] = leaves[at - 1];
    leaves[at] = id;
    return true;
}

/* The factors of a product, into leaves by increasing number; false if there are too many. */
static bool gather_leaves(const tp_algebra *algebra, int id, int *leaves, int *n)
{
    int waiting[MAX_LEAVES + 1] = { id }, open = 1; /* each of these has a factor at least */
    while (open > 0) {
        const tp_quantity *q = tp_quantity_at(algebra, id = waiting[--open]);
        if (q->kind == TP_Q_PRODUCT) {
            if (open + 2 > MAX_LEAVES - *n)
                return false;
            waiting[open++] = q->b;
            waiting[open++] = q->a;
        } else if (!add_leaf(id, leaves, n)) {
            return false;
        }
    }
    return true;
}

int tp_q_scalar_product(tp_algebra *algebra, int a, int b)
{
    double ca, cb;
    int x = tp_q_split(algebra, a, &ca), y = tp_q_split(algebra, b, &cb);
    if (x == TP_Q_ONE || y == TP_Q_ONE)
        return tp_q_scaled(algebra, ca * cb, x == TP_Q_ONE ? y : x);
    int leaves[MAX_LEAVES], n = 0;
    if (!gather_leaves(algebra, x, leaves, &n) || !gather_leaves(algebra, y, leaves, &n))
        return tp_q_product(algebra, a, b);
    int all = leaves[0];
    for (int k = 1; k < n && all >= 0; k++)
        all = tp_q_product(algebra, all, leaves[k]);
    return all < 0 ? -1 : tp_q_scaled(algebra, ca * cb, all);
}

/* ---- the others ---- */
int tp_q_function(tp_algebra *algebra, int fn, int a)
{
    const tp_quantity *x = tp_quantity_at(algebra, a);
    if (x->kind == TP_Q_NUMBER) {
        double in = x->c, out;
        tp_fn_eval(algebra, fn, NULL, 1, &in, &out);
        return tp_q_number(algebra, out);
    }
    if (tp_fn_prepare(algebra, fn))
        return -1;
    tp_quantity q;
    tp_q_blank(&q, TP_Q_FUNCTION);
    q.fn_a = fn;
    q.a = a;
    return intern_quantity(algebra, &q, sizeof q);
}

int tp_q_along(tp_algebra *algebra, int op, const int *parts, int n, int entry)
{
    size_t size = sizeof(tp_quantity) + (size_t)n * sizeof *((tp_quantity *)NULL)->parts;
    tp_quantity *q = ad_arena_alloc(algebra->arena, 1, size);
    if (!q)
        return tp_lacks_memory(algebra);
    q->kind = TP_Q_ALONG;
    q->op = op;
    q->b = entry;
    q->n = n;
    for (int k = 0; k < n; k++) {
        q->parts[k].c = 1;
        q->parts[k].q = parts[k];
    }
    return intern_quantity(algebra, q, size);
}

int tp_q_side(tp_algebra *algebra, int scalar, tp_kind side)
{
    double c;
    int base = tp_q_split(algebra, scalar, &c);
    if (base == TP_Q_ONE)
        return tp_q_number(algebra, c);
    tp_quantity q;
    tp_q_blank(&q, side);
    q.a = base;
    int id = intern_quantity(algebra, &q, sizeof q);
    return id < 0 ? -1 : tp_q_scaled(algebra, c, id);
}

static int point_number(tp_algebra *algebra, const tp_point *point)
{
    return tp_intern(&algebra->points, point, offsetof(tp_point, at) + (size_t)point->n * sizeof *point->at);
}

int tp_q_data(tp_algebra *algebra, int node, const tp_point *from)
{
    tp_quantity q;
    tp_q_blank(&q, TP_Q_DATA);
    q.a = node;
    q.from_a = point_number(algebra, from);
    return q.from_a < 0 ? tp_lacks_memory(algebra) : intern_quantity(algebra, &q, sizeof q);
}

int tp_q_gram(tp_algebra *algebra, int a, const tp_point *from_a, int b, const tp_point *from_b, ad_axis axis)
{
    tp_quantity q;
    tp_q_blank(&q, TP_Q_GRAM);
    q.a = a;
    q.b = b;
    q.from_a = point_number(algebra, from_a);
    q.from_b = point_number(algebra, from_b);
    q.axis = axis;
    return q.from_a < 0 || q.from_b < 0 ? tp_lacks_memory(algebra) : intern_quantity(algebra, &q, sizeof q);
}

int tp_q_same(tp_algebra *algebra)
{
    tp_quantity q;
    tp_q_blank(&q, TP_Q_SAME);
    return intern_quantity(algebra, &q, sizeof q);
}

int tp_q_group(tp_algebra *algebra, int group, const int *covariances, int n, const tp_q_part *stand_ins,
               int n_stand_ins)
{
    int parts = n + n_stand_ins;
    size_t size = sizeof(tp_quantity) + (size_t)parts * sizeof *((tp_quantity *)NULL)->parts;
    tp_quantity *q = ad_arena_alloc(algebra->arena, 1, size);
    if (!q)
        return tp_lacks_memory(algebra);
    q->kind = TP_Q_GROUP;
    q->a = group;
    q->b = n;
    q->n = parts;
    for (int k = 0; k < n; k++)
        q->parts[k] = (tp_q_part){ .c = 1, .q = covariances[k] };
    for (int k = 0; k < n_stand_ins; k++)
        q->parts[n + k] = stand_ins[k];
    return intern_quantity(algebra, q, size);
}

int tp_q_expect(tp_algebra *algebra, const tp_quantity *q)
{
    return intern_quantity(algebra, q, sizeof *q);
}
