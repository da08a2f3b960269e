#include "tp/coordinate.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- interning ---- */
int tp_table_new(tp_table *table, ad_arena *arena, ad_error *error)
{
    *table = (tp_table){ .arena = arena, .room = 64, .n_slots = 128 };
    table->items = ad_alloc((size_t)table->room, sizeof *table->items, "a table", error);
    table->sizes = ad_alloc((size_t)table->room, sizeof *table->sizes, "a table", error);
    table->slots = ad_alloc((size_t)table->n_slots, sizeof *table->slots, "a table", error);
    return table->items && table->sizes && table->slots ? 0 : -1;
}

void tp_table_free(tp_table *table)
{
    ad_free(table->items);
    ad_free(table->sizes);
    ad_free(table->slots);
}

static uint64_t hash(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

/* The slot that holds these bytes, or the free one where they belong; a slot holds the item's number plus one. */
static int find_slot(const tp_table *table, const void *bytes, size_t size)
{
    int slot = (int)(hash(bytes, size) % (uint64_t)table->n_slots);
    while (table->slots[slot]) {
        int id = table->slots[slot] - 1;
        if (table->sizes[id] == size && memcmp(table->items[id], bytes, size) == 0)
            break;
        slot = (slot + 1) % table->n_slots;
    }
    return slot;
}

static bool table_grow(tp_table *table)
{
    tp_table larger = { .arena = table->arena, .n = table->n, .room = 2 * table->room, .n_slots = 4 * table->room };
    larger.items = ad_alloc((size_t)larger.room, sizeof *larger.items, "a table", NULL);
    larger.sizes = ad_alloc((size_t)larger.room, sizeof *larger.sizes, "a table", NULL);
    larger.slots = ad_alloc((size_t)larger.n_slots, sizeof *larger.slots, "a table", NULL);
    if (!larger.items || !larger.sizes || !larger.slots) {
        tp_table_free(&larger);
        return false;
    }
    memcpy(larger.items, table->items, (size_t)table->n * sizeof *table->items);
    memcpy(larger.sizes, table->sizes, (size_t)table->n * sizeof *table->sizes);
    for (int id = 0; id < table->n; id++)
        larger.slots[find_slot(&larger, larger.items[id], larger.sizes[id])] = id + 1;
    tp_table_free(table);
    *table = larger;
    return true;
}

int tp_intern(tp_table *table, const void *bytes, size_t size)
{
    int slot = find_slot(table, bytes, size);
    if (table->slots[slot])
        return table->slots[slot] - 1;
    if (table->n == table->room) {
        if (!table_grow(table))
            return -1;
        slot = find_slot(table, bytes, size);
    }
    void *copy = ad_arena_alloc(table->arena, size, 1);
    if (!copy)
        return -1;
    memcpy(copy, bytes, size);
    table->items[table->n] = copy;
    table->sizes[table->n] = size;
    table->slots[slot] = table->n + 1;
    return table->n++;
}

int *tp_memo(tp_algebra *algebra, const void *key, size_t size)
{
    int before = algebra->keys.n, id = tp_intern(&algebra->keys, key, size);
    if (id < 0)
        return NULL;
    if (id >= algebra->memo_room) {
        int room = algebra->memo_room ? 2 * algebra->memo_room : 256;
        int *larger = ad_alloc((size_t)room, sizeof *larger, "a memo", algebra->error);
        if (!larger)
            return NULL;
        if (algebra->memo)
            memcpy(larger, algebra->memo, (size_t)algebra->memo_room * sizeof *larger);
        ad_free(algebra->memo);
        algebra->memo = larger;
        algebra->memo_room = room;
    }
    if (id >= before)
        algebra->memo[id] = -1;
    return &algebra->memo[id];
}

/* ---- the algebra ---- */
static int fn_make(tp_algebra *algebra, tp_fn fn)
{
    tp_fn clean;
    memset(&clean, 0, sizeof clean); /* padding takes part in the comparison */
    clean.op = fn.op;
    clean.order = fn.order;
    clean.p = fn.p;
    clean.a = fn.a;
    clean.b = fn.b;
    clean.function = fn.function;
    return tp_intern(&algebra->fns, &clean, sizeof clean);
}

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error)
{
    *algebra = (tp_algebra){ .program = program, .graph = program->graph, .error = error };
    algebra->arena = ad_arena_new(error);
    if (!algebra->arena)
        return -1;
    tp_table *tables[] = { &algebra->fns, &algebra->gvars, &algebra->lins, &algebra->coordinates, &algebra->quantities,
                           &algebra->series, &algebra->keys };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tp_table_new(tables[i], algebra->arena, error))
            return -1;
    algebra->variable = fn_make(algebra, (tp_fn){ .op = TP_VARIABLE });
    return 0;
}

void tp_algebra_free(tp_algebra *algebra)
{
    tp_table *tables[] = { &algebra->fns, &algebra->gvars, &algebra->lins, &algebra->coordinates, &algebra->quantities,
                           &algebra->series, &algebra->keys };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        tp_table_free(tables[i]);
    ad_free(algebra->memo);
    ad_arena_free(algebra->arena);
}

const tp_fn *tp_fn_at(const tp_algebra *algebra, int fn)
{
    return algebra->fns.items[fn];
}

const tp_gvar *tp_gvar_at(const tp_algebra *algebra, int gvar)
{
    return algebra->gvars.items[gvar];
}

const tp_lin *tp_lin_at(const tp_algebra *algebra, int lin)
{
    return algebra->lins.items[lin];
}

const tp_coordinate *tp_coordinate_at(const tp_algebra *algebra, int coordinate)
{
    return algebra->coordinates.items[coordinate];
}

int tp_refuse(const tp_algebra *algebra, int node, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const ad_node *n = ad_look(algebra->graph, node);
    return ad_fail(algebra->error, "%s:%d: %s: %s", n->where.file, n->where.line, ad_op_name(n->op), text);
}

static int out_of_memory(const tp_algebra *algebra)
{
    return ad_fail(algebra->error, "out of memory while solving the program");
}

/* ---- points ---- */
int tp_point_index(const tp_point *point, ad_axis axis)
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis))
            return point->at[i].index;
    return -1;
}

void tp_point_set(tp_point *point, ad_axis axis, int index)
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis)) {
            point->at[i].index = index;
            return;
        }
    if (point->n < AD_MAX_RANK) {
        point->at[point->n].axis = axis;
        point->at[point->n++].index = index;
    }
}

tp_point tp_point_of(const tp_algebra *algebra, int node, const ad_shape *without)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_look(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_kind(algebra->graph, shape->axes[i]) == AD_FIXED && !(without && ad_has(without, shape->axes[i])))
            tp_point_set(&point, shape->axes[i], 0);
    return point;
}

/* The fixed axes of a node at the indices that `from` gives, in the node's order; others (summed ones) are left out. */
static tp_point restrict_point(const tp_algebra *algebra, int node, const tp_point *from)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_look(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(from, shape->axes[i]);
        if (index >= 0)
            tp_point_set(&point, shape->axes[i], index);
    }
    return point;
}

double tp_axis_factor(const tp_algebra *algebra, ad_axis axis, double *power)
{
    *power = 0;
    if (axis.id == 0)
        return 1;
    if (ad_axis_kind(algebra->graph, axis) == AD_FIXED)
        return (double)ad_axis_fixed(algebra->graph, axis);
    *power = 1;
    return ad_axis_ratio(algebra->graph, axis);
}

bool tp_is_data(const tp_algebra *algebra, int node)
{
    const ad_node *n = ad_look(algebra->graph, node);
    if (algebra->program->learns[node] || n->op == AD_CONSTANT || n->op == AD_DELTA)
        return false;
    for (int k = 0; k < n->n_in; k++)
        if (tp_is_data(algebra, n->in[k]))
            return true;
    return n->op == AD_INPUT;
}

/* ---- polynomials ---- */
typedef struct {
    int n, room;
    tp_term *terms;
} builder;

static bool smooth(const tp_algebra *algebra, int fn)
{
    double kink;
    return tp_fn_kinks(algebra, fn, &kink, 1) == 0;
}

/* Adds a term, into an equal one if there is one. */
static bool push_term(tp_algebra *algebra, builder *b, const tp_term *term)
{
    if (!(fabs(term->c) > 0))
        return true;
    for (int i = 0; i < b->n; i++) {
        tp_term *other = &b->terms[i];
        if (other->n == term->n && fabs(other->power - term->power) < 1e-12 &&
            memcmp(other->factors, term->factors, sizeof term->factors) == 0) {
            other->c += term->c;
            return true;
        }
    }
    if (b->n == b->room) {
        int room = b->room ? 2 * b->room : 8;
        tp_term *larger = ad_arena_alloc(algebra->arena, (size_t)room, sizeof *larger);
        if (!larger)
            return false;
        if (b->n)
            memcpy(larger, b->terms, (size_t)b->n * sizeof *larger);
        b->terms = larger;
        b->room = room;
    }
    memset(&b->terms[b->n], 0, sizeof *b->terms);
    memcpy(&b->terms[b->n++], term, sizeof *term);
    return true;
}

/* Terms that are constants or smooth nonlinear functions of one and the same lin become one function: 1 - tanh^2. What
 * has a closed form of its own (kinks, the identity) stays apart. */
static bool gather_univariate(tp_algebra *algebra, builder *b)
{
    int lin = -1, together = 0;
    for (int i = 0; i < b->n; i++) {
        const tp_term *t = &b->terms[i];
        if (t->n > 1 || fabs(t->power) > 0)
            return true;
        if (t->n == 1) {
            if ((lin >= 0 && lin != t->factors[0].lin) || t->factors[0].fn == algebra->variable ||
                !smooth(algebra, t->factors[0].fn))
                return true;
            lin = t->factors[0].lin;
            together++;
        }
    }
    if (lin < 0 || b->n < 2 || together == 0)
        return true;
    int sum = -1;
    for (int i = 0; i < b->n; i++) {
        const tp_term *t = &b->terms[i];
        int number = fn_make(algebra, (tp_fn){ .op = TP_NUMBER, .p = t->c });
        int part = t->n ? fn_make(algebra, (tp_fn){ .op = TP_TIMES, .a = number, .b = t->factors[0].fn }) : number;
        sum = sum < 0 ? part : fn_make(algebra, (tp_fn){ .op = TP_PLUS, .a = sum, .b = part });
        if (part < 0 || sum < 0)
            return false;
    }
    tp_term one = { .c = 1, .n = 1 };
    one.factors[0] = (tp_factor){ lin, sum };
    b->n = 0;
    return push_term(algebra, b, &one);
}

static int finish(tp_algebra *algebra, builder *b)
{
    int kept = 0;
    for (int i = 0; i < b->n; i++)
        if (fabs(b->terms[i].c) > 0)
            b->terms[kept++] = b->terms[i];
    b->n = kept;
    if (!gather_univariate(algebra, b))
        return out_of_memory(algebra);
    size_t size = sizeof(tp_coordinate) + (size_t)b->n * sizeof(tp_term);
    tp_coordinate *c = ad_arena_alloc(algebra->arena, 1, size);
    if (!c)
        return out_of_memory(algebra);
    c->n = b->n;
    if (b->n)
        memcpy(c->terms, b->terms, (size_t)b->n * sizeof(tp_term));
    int id = tp_intern(&algebra->coordinates, c, size);
    return id < 0 ? out_of_memory(algebra) : id;
}

static int number(tp_algebra *algebra, double value)
{
    builder b = { 0 };
    if (!push_term(algebra, &b, &(tp_term){ .c = value }))
        return out_of_memory(algebra);
    return finish(algebra, &b);
}

static int sum_of(tp_algebra *algebra, int x, double cx, int y, double cy)
{
    builder b = { 0 };
    int ids[2] = { x, y };
    double cs[2] = { cx, cy };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < tp_coordinate_at(algebra, ids[k])->n; i++) {
            tp_term t = tp_coordinate_at(algebra, ids[k])->terms[i];
            t.c *= cs[k];
            if (!push_term(algebra, &b, &t))
                return out_of_memory(algebra);
        }
    return finish(algebra, &b);
}

static int scaled(tp_algebra *algebra, int x, double c, double power)
{
    builder b = { 0 };
    for (int i = 0; i < tp_coordinate_at(algebra, x)->n; i++) {
        tp_term t = tp_coordinate_at(algebra, x)->terms[i];
        t.c *= c;
        t.power += power;
        if (!push_term(algebra, &b, &t))
            return out_of_memory(algebra);
    }
    return finish(algebra, &b);
}

/* Multiplies a factor into a term; factors of one lin become one function. */
static int times_factor(tp_algebra *algebra, tp_term *term, tp_factor f)
{
    int at = 0;
    while (at < term->n && term->factors[at].lin < f.lin)
        at++;
    if (at < term->n && term->factors[at].lin == f.lin) {
        int fn = fn_make(algebra, (tp_fn){ .op = TP_TIMES, .a = term->factors[at].fn, .b = f.fn });
        term->factors[at].fn = fn;
        return fn < 0 ? -1 : 0;
    }
    if (term->n == TP_MAX_FACTORS)
        return -2;
    for (int k = term->n++; k > at; k--)
        term->factors[k] = term->factors[k - 1];
    term->factors[at] = f;
    return 0;
}

static int product_of(tp_algebra *algebra, int node, int x, int y)
{
    builder b = { 0 };
    const tp_coordinate *p = tp_coordinate_at(algebra, x), *q = tp_coordinate_at(algebra, y);
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < q->n; k++) {
            tp_term t = p->terms[i];
            t.c *= q->terms[k].c;
            t.power += q->terms[k].power;
            for (int m = 0; m < q->terms[k].n; m++) {
                int status = times_factor(algebra, &t, q->terms[k].factors[m]);
                if (status == -2)
                    return tp_refuse(algebra, node, "a product of more than %d functions of G-vars", TP_MAX_FACTORS);
                if (status)
                    return out_of_memory(algebra);
            }
            if (!push_term(algebra, &b, &t))
                return out_of_memory(algebra);
        }
    return finish(algebra, &b);
}

/* The lin of a linear combination of G-vars, -1 if x is none, -2 without memory. */
static int as_lin(tp_algebra *algebra, const tp_coordinate *x)
{
    size_t parts = 0;
    for (int i = 0; i < x->n; i++) {
        if (x->terms[i].n != 1 || x->terms[i].factors[0].fn != algebra->variable)
            return -1;
        parts += (size_t)tp_lin_at(algebra, x->terms[i].factors[0].lin)->n;
    }
    size_t room = sizeof(tp_lin) + parts * sizeof(tp_part);
    tp_lin *lin = ad_arena_alloc(algebra->arena, 1, room);
    if (!lin)
        return -2;
    for (int i = 0; i < x->n; i++) {
        const tp_lin *from = tp_lin_at(algebra, x->terms[i].factors[0].lin);
        for (int k = 0; k < from->n; k++) {
            tp_part part = { .c = x->terms[i].c * from->parts[k].c, .gvar = from->parts[k].gvar };
            int at = 0;
            while (at < lin->n && lin->parts[at].gvar < part.gvar)
                at++;
            if (at < lin->n && lin->parts[at].gvar == part.gvar) {
                lin->parts[at].c += part.c;
                continue;
            }
            for (int m = lin->n++; m > at; m--)
                lin->parts[m] = lin->parts[m - 1];
            lin->parts[at] = part;
        }
    }
    int kept = 0;
    for (int k = 0; k < lin->n; k++)
        if (fabs(lin->parts[k].c) > 0)
            lin->parts[kept++] = lin->parts[k];
    memset(lin->parts + kept, 0, (parts - (size_t)kept) * sizeof(tp_part));
    lin->n = kept;
    int id = tp_intern(&algebra->lins, lin, sizeof(tp_lin) + (size_t)kept * sizeof(tp_part));
    return id < 0 ? -2 : id;
}

/* x as a function of one lin: its function, and *lin; -1 if it is a function of several, -2 without memory. */
static int as_univariate(tp_algebra *algebra, const tp_coordinate *x, int *lin)
{
    *lin = as_lin(algebra, x);
    if (*lin >= 0)
        return algebra->variable;
    if (*lin == -2)
        return -2;
    int sum = -1;
    for (int i = 0; i < x->n; i++) {
        const tp_term *t = &x->terms[i];
        if (t->n > 1 || (t->n == 1 && *lin >= 0 && t->factors[0].lin != *lin))
            return -1;
        int part = fn_make(algebra, (tp_fn){ .op = TP_NUMBER, .p = t->c });
        if (t->n == 1) {
            *lin = t->factors[0].lin;
            bool plain = fabs(t->c - 1) <= 0;
            part = plain ? t->factors[0].fn
                         : fn_make(algebra, (tp_fn){ .op = TP_TIMES, .a = part, .b = t->factors[0].fn });
        }
        sum = sum < 0 ? part : fn_make(algebra, (tp_fn){ .op = TP_PLUS, .a = sum, .b = part });
        if (part < 0 || sum < 0)
            return -2;
    }
    return sum;
}

static int unary_of(tp_algebra *algebra, int id, const ad_node *node, ad_op op, double p, int x)
{
    const tp_coordinate *c = tp_coordinate_at(algebra, x);
    if (op == AD_NEG)
        return scaled(algebra, x, -1, 0);
    int kept = 0;
    for (int i = 0; i < c->n; i++) {
        if (c->terms[i].power > 1e-12)
            return tp_refuse(algebra, id, "its argument grows like n^%g: there is no limit of it", c->terms[i].power);
        kept += c->terms[i].power > -1e-12;
    }
    if (kept < c->n) { /* what vanishes with n is left out of a function's argument */
        builder b = { 0 };
        for (int i = 0; i < c->n; i++)
            if (c->terms[i].power > -1e-12 && !push_term(algebra, &b, &c->terms[i]))
                return out_of_memory(algebra);
        if ((x = finish(algebra, &b)) < 0)
            return -1;
        c = tp_coordinate_at(algebra, x);
    }
    if (op == AD_SQUARE && c->n > 1)
        return product_of(algebra, id, x, x);
    int lin = -1, inner = as_univariate(algebra, c, &lin);
    if (inner == -2)
        return out_of_memory(algebra);
    if (inner == -1 && c->n == 1 && op == AD_SQUARE)
        return product_of(algebra, id, x, x);
    if (inner == -1 && c->n > 0)
        return tp_refuse(algebra, id, "a function of several G-vars together has no exact rule here");
    tp_fn outer = { .op = (int)op, .p = p, .a = inner, .order = node->order, .function = node->function };
    if (c->n == 0 || lin < 0) { /* the function of a constant */
        double in = c->n ? c->terms[0].c : 0, out = 0;
        outer.a = algebra->variable;
        int fn = fn_make(algebra, outer);
        if (fn < 0)
            return out_of_memory(algebra);
        tp_fn_eval(algebra, fn, 1, &in, &out);
        return number(algebra, out);
    }
    builder b = { 0 };
    tp_term term = { .c = 1, .n = 1 };
    term.factors[0] = (tp_factor){ lin, fn_make(algebra, outer) };
    if (term.factors[0].fn < 0 || !push_term(algebra, &b, &term))
        return out_of_memory(algebra);
    return finish(algebra, &b);
}

/* ---- G-vars ---- */
static int of_gvar(tp_algebra *algebra, const tp_gvar *gvar, double c, double power)
{
    int id = tp_intern(&algebra->gvars, gvar, sizeof *gvar);
    union {
        tp_lin lin;
        unsigned char bytes[sizeof(tp_lin) + sizeof(tp_part)];
    } one;
    memset(&one, 0, sizeof one);
    one.lin.n = 1;
    tp_part part;
    memset(&part, 0, sizeof part);
    part.c = 1;
    part.gvar = id;
    memcpy(one.bytes + offsetof(tp_lin, parts), &part, sizeof part);
    int lin = id < 0 ? -1 : tp_intern(&algebra->lins, &one, sizeof(tp_lin) + sizeof(tp_part));
    builder b = { 0 };
    tp_term term = { .c = c, .power = power, .n = 1 };
    term.factors[0] = (tp_factor){ lin, algebra->variable };
    if (lin < 0 || !push_term(algebra, &b, &term))
        return out_of_memory(algebra);
    return finish(algebra, &b);
}

/* A parameter under renamings: the parameter's node, -1 if it is none. The names of its axes as `node` has them. */
static int peel(const tp_algebra *algebra, int node, ad_shape *names)
{
    const ad_node *n = ad_look(algebra->graph, node);
    if (n->op == AD_PARAM) {
        *names = n->shape;
        return node;
    }
    if (n->op != AD_RELABEL && n->op != AD_TRANSPOSE)
        return -1;
    int param = peel(algebra, n->in[0], names);
    if (param >= 0 && n->op == AD_RELABEL)
        for (int i = 0; i < names->rank; i++)
            if (ad_same(names->axes[i], n->axis))
                names->axes[i] = n->axis2;
    return param;
}

/* The fixed axes of a parameter at the point that its renamed axes have. */
static tp_point param_point(const tp_algebra *algebra, int param, const ad_shape *names, const tp_point *point)
{
    tp_point own;
    memset(&own, 0, sizeof own);
    const ad_shape *shape = &ad_look(algebra->graph, param)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(point, names->axes[i]);
        if (index >= 0)
            tp_point_set(&own, shape->axes[i], index);
    }
    return own;
}

/* The parameter's own vector: omega[., index], with deviation c n^p taken out so that the G-var has variance one. */
static int param_vector(tp_algebra *algebra, int id, int param, const tp_point *where)
{
    const ad_node *node = ad_look(algebra->graph, param);
    const ad_init *init = node->init;
    int widths = 0;
    for (int i = 0; i < node->shape.rank; i++)
        widths += ad_axis_kind(algebra->graph, node->shape.axes[i]) == AD_WIDTH;
    if (widths > 1)
        return tp_refuse(algebra, id, "the matrix %s is used coordinate by coordinate", node->name);
    int constant = number(algebra, init->mean);
    if (constant < 0 || !(init->deviation > 0))
        return constant;
    double power, base = tp_axis_factor(algebra, init->axis, &power);
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.position = -1;
    gvar.argument = TP_OF_INDEX;
    gvar.where = *where;
    double dp = init->axis.id ? init->deviation_power : 0;
    int own = of_gvar(algebra, &gvar, init->deviation * pow(base, dp), power * dp);
    return own < 0 ? -1 : sum_of(algebra, own, 1, constant, 1);
}

/* u = contract(y, W): a G-var of variance E y^2 or |x|^2; deviation and size of the axis are taken out as c n^p. */
static int matrix_product(tp_algebra *algebra, int id, int param, const ad_shape *names, int y, const ad_node *node,
                          const tp_point *point)
{
    const ad_node *w = ad_look(algebra->graph, param);
    const ad_init *init = w->init;
    if (node->over.rank != 1)
        return tp_refuse(algebra, id, "%s is contracted over %d axes at once", w->name, node->over.rank);
    if (fabs(init->mean) > 0)
        return tp_refuse(algebra, id, "%s has mean %g: an A-var has mean zero", w->name, init->mean);
    if (!(init->deviation > 0))
        return number(algebra, 0);
    ad_axis axis = node->over.axes[0];
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.where = param_point(algebra, param, names, point);
    for (int i = 0; i < names->rank; i++)
        if (ad_same(names->axes[i], axis))
            gvar.position = i;
    double axis_power, size = tp_axis_factor(algebra, init->axis, &axis_power);
    double dp = init->axis.id ? init->deviation_power : 0;
    double c = init->deviation * pow(size, dp), power = axis_power * dp;
    tp_point y_point = restrict_point(algebra, y, point);
    if (ad_axis_kind(algebra->graph, axis) == AD_WIDTH) {
        int vector = tp_coordinate_of(algebra, y, y_point);
        if (vector < 0)
            return -1;
        const tp_coordinate *v = tp_coordinate_at(algebra, vector);
        if (v->n == 0)
            return vector;
        double largest = v->terms[0].power; /* y = n^largest times a vector of order one */
        for (int i = 1; i < v->n; i++)
            largest = fmax(largest, v->terms[i].power);
        if ((vector = scaled(algebra, vector, 1, -largest)) < 0)
            return -1;
        gvar.argument = TP_OF_VECTOR;
        gvar.node = vector;
        double n_power, ratio = tp_axis_factor(algebra, axis, &n_power);
        return of_gvar(algebra, &gvar, c * sqrt(ratio), power + n_power / 2 + largest);
    }
    if (tp_is_data(algebra, y)) {
        gvar.argument = TP_OF_DATA;
        gvar.node = y;
        gvar.from = y_point;
        gvar.axis = axis;
        return of_gvar(algebra, &gvar, c, power);
    }
    /* a fixed axis of constants: a sum of the parameter's own vectors */
    int total = number(algebra, 0);
    for (int k = 0; total >= 0 && k < (int)ad_axis_fixed(algebra->graph, axis); k++) {
        tp_point at = y_point;
        tp_point_set(&at, axis, k);
        at = restrict_point(algebra, y, &at);
        int factor = tp_coordinate_of(algebra, y, at);
        if (factor < 0)
            return -1;
        if (tp_coordinate_at(algebra, factor)->n == 0)
            continue;
        tp_point own = *point;
        tp_point_set(&own, axis, k);
        own = param_point(algebra, param, names, &own);
        int vector = param_vector(algebra, id, param, &own);
        int part = vector < 0 ? -1 : product_of(algebra, id, factor, vector);
        total = part < 0 ? -1 : sum_of(algebra, total, 1, part, 1);
    }
    return total;
}

static int contraction(tp_algebra *algebra, int id, const ad_node *node, const tp_point *point)
{
    for (int k = 0; k < 2; k++) {
        ad_shape names;
        int param = peel(algebra, node->in[k], &names);
        if (param >= 0)
            return matrix_product(algebra, id, param, &names, node->in[1 - k], node, point);
    }
    for (int i = 0; i < node->over.rank; i++)
        if (ad_axis_kind(algebra->graph, node->over.axes[i]) != AD_FIXED)
            return tp_refuse(algebra, id, "an average over the %s of two vectors has no exact rule here",
                             ad_axis_kind(algebra->graph, node->over.axes[i]) == AD_WIDTH ? "width" : "batch");
    if (node->over.rank > 1)
        return tp_refuse(algebra, id, "a sum over %d axes at once", node->over.rank);
    size_t count = node->over.rank ? ad_axis_fixed(algebra->graph, node->over.axes[0]) : 1;
    int total = number(algebra, 0);
    for (size_t k = 0; total >= 0 && k < count; k++) {
        tp_point at = *point;
        if (node->over.rank)
            tp_point_set(&at, node->over.axes[0], (int)k);
        int a = tp_coordinate_of(algebra, node->in[0], restrict_point(algebra, node->in[0], &at));
        int b = a < 0 ? -1 : tp_coordinate_of(algebra, node->in[1], restrict_point(algebra, node->in[1], &at));
        int part = b < 0 ? -1 : product_of(algebra, id, a, b);
        total = part < 0 ? -1 : sum_of(algebra, total, 1, part, 1);
    }
    return total;
}

/* ---- nodes ---- */
static int operand(tp_algebra *algebra, const ad_node *node, int k, const tp_point *point)
{
    return tp_coordinate_of(algebra, node->in[k], restrict_point(algebra, node->in[k], point));
}

static int summed(tp_algebra *algebra, int id, const ad_node *node, tp_point point, int depth)
{
    if (depth == node->over.rank)
        return operand(algebra, node, 0, &point);
    ad_axis axis = node->over.axes[depth];
    if (ad_axis_kind(algebra->graph, axis) != AD_FIXED)
        return tp_refuse(algebra, id, "a sum over the %s has no exact rule here",
                         ad_axis_kind(algebra->graph, axis) == AD_WIDTH ? "width" : "batch");
    int total = number(algebra, 0);
    for (size_t k = 0; total >= 0 && k < ad_axis_fixed(algebra->graph, axis); k++) {
        tp_point at = point;
        tp_point_set(&at, axis, (int)k);
        int part = summed(algebra, id, node, at, depth + 1);
        total = part < 0 ? -1 : sum_of(algebra, total, 1, part, 1);
    }
    return total;
}

/* Merged or split fixed axes: the row-major position is the same on both sides. */
static int reshaped(tp_algebra *algebra, const ad_node *node, tp_point point)
{
    const ad_shape *old = &ad_look(algebra->graph, node->in[0])->shape;
    size_t flat = 0;
    for (int i = 0; i < node->shape.rank; i++)
        if (!ad_has(old, node->shape.axes[i]))
            flat = flat * ad_axis_fixed(algebra->graph, node->shape.axes[i]) +
                   (size_t)tp_point_index(&point, node->shape.axes[i]);
    for (int i = old->rank - 1; i >= 0; i--)
        if (!ad_has(&node->shape, old->axes[i])) {
            size_t size = ad_axis_fixed(algebra->graph, old->axes[i]);
            tp_point_set(&point, old->axes[i], (int)(flat % size));
            flat /= size;
        }
    return operand(algebra, node, 0, &point);
}

static int compute(tp_algebra *algebra, int id, tp_point point)
{
    const ad_node *node = ad_look(algebra->graph, id);
    ad_shape names;
    int param = peel(algebra, id, &names);
    if (param >= 0) {
        tp_point own = param_point(algebra, param, &names, &point);
        return param_vector(algebra, id, param, &own);
    }
    if (tp_is_data(algebra, id))
        return tp_refuse(algebra, id, "data takes part coordinate by coordinate: only products with a parameter have a rule");
    if (ad_is_unary(node->op)) {
        int x = operand(algebra, node, 0, &point);
        return x < 0 ? -1 : unary_of(algebra, id, node, node->op, node->c, x);
    }
    if (ad_is_binary(node->op)) {
        int a = operand(algebra, node, 0, &point);
        int b = a < 0 ? -1 : operand(algebra, node, 1, &point);
        if (b >= 0 && node->op == AD_DIV)
            b = unary_of(algebra, id, node, AD_POWER, -1, b);
        if (b < 0)
            return -1;
        if (node->op == AD_ADD || node->op == AD_SUB)
            return sum_of(algebra, a, 1, b, node->op == AD_ADD ? 1 : -1);
        return product_of(algebra, id, a, b);
    }
    switch (node->op) {
    case AD_CONSTANT: return number(algebra, node->c);
    case AD_DELTA: return number(algebra, tp_point_index(&point, node->axis) == tp_point_index(&point, node->axis2));
    case AD_SCALE: {
        if (node->axis.id && ad_axis_kind(algebra->graph, node->axis) == AD_BATCH)
            return tp_refuse(algebra, id, "a factor that depends on the batch's size");
        double power, size = tp_axis_factor(algebra, node->axis, &power);
        int x = operand(algebra, node, 0, &point);
        return x < 0 ? -1 : scaled(algebra, x, node->c * pow(size, node->power), power * node->power);
    }
    case AD_CONTRACT: return contraction(algebra, id, node, &point);
    case AD_SUM: return summed(algebra, id, node, point, 0);
    case AD_EXPAND:
    case AD_TRANSPOSE: return operand(algebra, node, 0, &point);
    case AD_RESHAPE: return reshaped(algebra, node, point);
    case AD_RELABEL: {
        int index = tp_point_index(&point, node->axis2);
        tp_point at = restrict_point(algebra, node->in[0], &point);
        if (index >= 0)
            tp_point_set(&at, node->axis, index);
        return operand(algebra, node, 0, &at);
    }
    case AD_SLICE:
        tp_point_set(&point, node->axis, tp_point_index(&point, node->axis2) + (int)node->start);
        return operand(algebra, node, 0, &point);
    case AD_UNSLICE: {
        int index = tp_point_index(&point, node->axis2) - (int)node->start;
        if (index < 0 || index >= (int)ad_axis_fixed(algebra->graph, node->axis))
            return number(algebra, 0);
        tp_point_set(&point, node->axis, index);
        return operand(algebra, node, 0, &point);
    }
    case AD_CONCAT: {
        int index = tp_point_index(&point, node->axis), part = 0;
        while (index >= (int)ad_axis_fixed(algebra->graph, node->part_axes[part]))
            index -= (int)ad_axis_fixed(algebra->graph, node->part_axes[part++]);
        tp_point at = restrict_point(algebra, node->in[part], &point);
        tp_point_set(&at, node->part_axes[part], index);
        return operand(algebra, node, part, &at);
    }
    default: return tp_refuse(algebra, id, "it has no rule at infinite width here");
    }
}

int tp_coordinate_of(tp_algebra *algebra, int node, tp_point point)
{
    struct {
        tp_point point;
        int node, kind;
    } key;
    memset(&key, 0, sizeof key);
    key.point.n = point.n;
    memcpy(key.point.at, point.at, (size_t)point.n * sizeof *point.at);
    key.node = node;
    int *slot = tp_memo(algebra, &key, sizeof key);
    if (!slot)
        return out_of_memory(algebra);
    if (*slot >= 0)
        return *slot;
    int id = compute(algebra, node, key.point);
    if (id >= 0 && (slot = tp_memo(algebra, &key, sizeof key)))
        *slot = id;
    return id;
}
