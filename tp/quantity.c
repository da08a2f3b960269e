/* quantity.c: making quantities: numbers fold, sums flatten, what cancels is gone. */
#include "tp/quantity.h"

#include <math.h>
#include <string.h>

const tp_quantity *tp_quantity_at(const tp_algebra *algebra, int quantity)
{
    return algebra->quantities.items[quantity];
}

static int lacks_memory(const tp_algebra *algebra)
{
    return ad_fail(algebra->error, "out of memory while deriving the kernel's recursion");
}

static int intern(tp_algebra *algebra, const tp_quantity *q, size_t size)
{
    int id = tp_intern(&algebra->quantities, q, size);
    return id < 0 ? lacks_memory(algebra) : id;
}

tp_quantity tp_q_blank(tp_kind kind)
{
    tp_quantity q;
    memset(&q, 0, sizeof q); /* padding takes part in the comparison */
    q.kind = kind;
    return q;
}

int tp_q_number(tp_algebra *algebra, double c)
{
    tp_quantity q = tp_q_blank(TP_Q_NUMBER);
    q.c = c;
    return intern(algebra, &q, sizeof q);
}

int tp_quantities_begin(tp_algebra *algebra)
{
    return tp_q_number(algebra, 1);
}

bool tp_q_is_zero(const tp_algebra *algebra, int q)
{
    return tp_quantity_at(algebra, q)->kind == TP_Q_NUMBER && !(fabs(tp_quantity_at(algebra, q)->c) > 0);
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
/* A sum under way: numbers fold, sums inside sums flatten, equal quantities meet. */
typedef struct {
    tp_quantity *q;
    int room;
} sum;

static bool sum_add(tp_algebra *algebra, sum *s, double c, int id)
{
    const tp_quantity *part = tp_quantity_at(algebra, id);
    if (!s->q && !(s->q = ad_arena_alloc(algebra->arena, 1, sizeof *s->q)))
        return false;
    s->q->kind = TP_Q_SUM;
    if (!(fabs(c) > 0))
        return true;
    if (part->kind == TP_Q_NUMBER) {
        s->q->c += c * part->c;
        return true;
    }
    if (part->kind == TP_Q_SUM) {
        s->q->c += c * part->c;
        for (int i = 0; i < part->n; i++)
            if (!sum_add(algebra, s, c * part->parts[i].c, part->parts[i].q))
                return false;
        return true;
    }
    int at = 0;
    while (at < s->q->n && s->q->parts[at].q < id)
        at++;
    if (at < s->q->n && s->q->parts[at].q == id) {
        s->q->parts[at].c += c;
        return true;
    }
    if (s->q->n == s->room) {
        int room = s->room ? 2 * s->room : 4;
        tp_quantity *larger = ad_arena_alloc(algebra->arena, 1, sizeof *larger + (size_t)room * sizeof *larger->parts);
        if (!larger)
            return false;
        memcpy(larger, s->q, sizeof *larger + (size_t)s->q->n * sizeof *larger->parts);
        s->q = larger;
        s->room = room;
    }
    for (int k = s->q->n++; k > at; k--)
        s->q->parts[k] = s->q->parts[k - 1];
    memset(&s->q->parts[at], 0, sizeof *s->q->parts);
    s->q->parts[at].c = c;
    s->q->parts[at].q = id;
    return true;
}

static int sum_end(tp_algebra *algebra, sum *s)
{
    int kept = 0;
    for (int k = 0; s->q && k < s->q->n; k++)
        if (fabs(s->q->parts[k].c) > 0)
            s->q->parts[kept++] = s->q->parts[k];
    if (kept == 0)
        return tp_q_number(algebra, s->q ? s->q->c : 0);
    s->q->n = kept;
    if (kept == 1 && !(fabs(s->q->c) > 0) && !(fabs(s->q->parts[0].c - 1) > 0))
        return s->q->parts[0].q;
    return intern(algebra, s->q, sizeof *s->q + (size_t)kept * sizeof *s->q->parts);
}

int tp_q_plus(tp_algebra *algebra, double ca, int a, double cb, int b)
{
    sum s = { 0 };
    return sum_add(algebra, &s, ca, a) && sum_add(algebra, &s, cb, b) ? sum_end(algebra, &s) : lacks_memory(algebra);
}

int tp_q_scaled(tp_algebra *algebra, double c, int id)
{
    sum s = { 0 };
    return sum_add(algebra, &s, c, id) ? sum_end(algebra, &s) : lacks_memory(algebra);
}

/* ---- products ---- */
int tp_q_product(tp_algebra *algebra, int a, int b)
{
    const tp_quantity *x = tp_quantity_at(algebra, a), *y = tp_quantity_at(algebra, b);
    if (x->kind == TP_Q_NUMBER)
        return tp_q_scaled(algebra, x->c, b);
    if (y->kind == TP_Q_NUMBER)
        return tp_q_scaled(algebra, y->c, a);
    tp_quantity q = tp_q_blank(TP_Q_PRODUCT);
    q.a = a < b ? a : b;
    q.b = a < b ? b : a;
    return intern(algebra, &q, sizeof q);
}

enum { MOST_LEAVES = 64 };

/* The factors of a product, into leaves by increasing number; false if there are too many. */
static bool gather_leaves(const tp_algebra *algebra, int id, int *leaves, int *n)
{
    const tp_quantity *q = tp_quantity_at(algebra, id);
    if (q->kind == TP_Q_PRODUCT)
        return gather_leaves(algebra, q->a, leaves, n) && gather_leaves(algebra, q->b, leaves, n);
    if (*n == MOST_LEAVES)
        return false;
    int at = (*n)++;
    for (; at > 0 && leaves[at - 1] > id; at--)
        leaves[at] = leaves[at - 1];
    leaves[at] = id;
    return true;
}

int tp_q_scalar_product(tp_algebra *algebra, int a, int b)
{
    double ca, cb;
    int x = tp_q_split(algebra, a, &ca), y = tp_q_split(algebra, b, &cb);
    if (x == TP_Q_ONE || y == TP_Q_ONE)
        return tp_q_scaled(algebra, ca * cb, x == TP_Q_ONE ? y : x);
    int leaves[MOST_LEAVES], n = 0;
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
    tp_quantity q = tp_q_blank(TP_Q_FUNCTION);
    q.fn_a = fn;
    q.a = a;
    return intern(algebra, &q, sizeof q);
}

int tp_q_along(tp_algebra *algebra, int op, const int *parts, int n, int entry)
{
    size_t size = sizeof(tp_quantity) + (size_t)n * sizeof *((tp_quantity *)NULL)->parts;
    tp_quantity *q = ad_arena_alloc(algebra->arena, 1, size);
    if (!q)
        return lacks_memory(algebra);
    q->kind = TP_Q_ALONG;
    q->op = op;
    q->b = entry;
    q->n = n;
    for (int k = 0; k < n; k++) {
        q->parts[k].c = 1;
        q->parts[k].q = parts[k];
    }
    return intern(algebra, q, size);
}

int tp_q_side(tp_algebra *algebra, int scalar, tp_kind side)
{
    double c;
    int base = tp_q_split(algebra, scalar, &c);
    if (base == TP_Q_ONE)
        return tp_q_number(algebra, c);
    tp_quantity q = tp_q_blank(side);
    q.a = base;
    int id = intern(algebra, &q, sizeof q);
    return id < 0 ? -1 : tp_q_scaled(algebra, c, id);
}

int tp_q_data(tp_algebra *algebra, int node, const tp_point *from)
{
    tp_quantity q = tp_q_blank(TP_Q_DATA);
    q.a = node;
    q.from_a = *from;
    return intern(algebra, &q, sizeof q);
}

int tp_q_gram(tp_algebra *algebra, int a, const tp_point *from_a, int b, const tp_point *from_b, ad_axis axis)
{
    tp_quantity q = tp_q_blank(TP_Q_GRAM);
    q.a = a;
    q.b = b;
    q.from_a = *from_a;
    q.from_b = *from_b;
    q.axis = axis;
    return intern(algebra, &q, sizeof q);
}

int tp_q_expect(tp_algebra *algebra, const tp_quantity *q)
{
    return intern(algebra, q, sizeof *q);
}
