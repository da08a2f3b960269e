/* lines.c: the program's lines: commands of Netsor⊤ with names, types, laws and source lines.
 *
 * Every node of the trace is seen as factor * base, the factor c n^p. A base is a name (it has a line of its own) or an
 * expression that its only user takes in: so relu(h + b) is one Nonlin. Inputs are normalised, an A-var to N(0, σ²/n)
 * and a G-var to variance of order one, whatever the parametrization; the powers of n gather in the factors, and the
 * adjoint of a vector prints as "dx2 (1/√n)": the derivative of f is 1/√n times a vector of order one. */
#include "tp/program/program.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

typedef enum { NO_TYPE, A_VAR, G_VAR, H_VAR, SCALAR } var_type;
enum { SUM_LEVEL, PRODUCT_LEVEL, ATOM_LEVEL, MOST_LETTERS = 16, LONGEST = 60 };

typedef struct {
    double c, power; /* factor c n^power */
    const char *text;
    int level;
    var_type type;
    bool named;
} term;

typedef struct {
    const tp_program *program;
    const ad_graph *graph;
    ad_arena *arena;
    bool latex, full; /* full: memory is out */
    term *terms;      /* by node */
    int *uses;
    bool *added;             /* by node: a sum takes it in */
    bool *force;             /* a name is wanted: an argument of a product, a site, an adjoint */
    const char **adjoint_of; /* by backward node: the name it is the adjoint of */
    const char *letters[MOST_LETTERS];
    int counts[MOST_LETTERS];
    tp_line *lines;
    int n_lines, room;
} writer;

static const char *text(writer *w, const char *format, ...) AD_PRINTF(2, 3);
static const char *text(writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *kept = ad_arena_vtext(w->arena, format, args);
    va_end(args);
    w->full = w->full || !kept;
    return kept ? kept : "";
}

/* ---- factors ---- */
static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

/* n^p for p > 0 */
static const char *root(writer *w, double p)
{
    if (near(p, 1))
        return "n";
    if (near(p, 0.5))
        return w->latex ? "\\sqrt{n}" : "√n";
    return text(w, w->latex ? "n^{%.4g}" : "n^%.4g", p);
}

static const char *coefficient(writer *w, double c, double power)
{
    bool one = near(c, 1), flat = !(fabs(power) > 1e-9);
    if (one && flat)
        return "";
    if (flat)
        return text(w, "%.6g", c);
    if (power > 0)
        return one ? root(w, power) : text(w, "%.6g %s", c, root(w, power));
    return text(w, "%.6g/%s", c, root(w, -power));
}

static const char *times(writer *w, double c, double power, const char *what)
{
    if (c < 0)
        return text(w, w->latex ? "-%s" : "−%s", times(w, -c, power, what));
    const char *front = coefficient(w, c, power);
    return *front ? text(w, "%s %s", front, what) : what;
}

static bool is_one(const term *t)
{
    return near(t->c, 1) && !(fabs(t->power) > 1e-9);
}

static const char *in_brackets(writer *w, const char *inside)
{
    return text(w, w->latex ? "\\left(%s\\right)" : "(%s)", inside);
}

/* The whole, factor and base, at least at this level. */
static const char *whole(writer *w, const term *t, int level)
{
    if (is_one(t))
        return t->level < level ? in_brackets(w, t->text) : t->text;
    const char *base = t->level < PRODUCT_LEVEL ? in_brackets(w, t->text) : t->text;
    const char *all = times(w, t->c, t->power, base);
    return level > PRODUCT_LEVEL || (level == PRODUCT_LEVEL && t->c < 0) ? in_brackets(w, all) : all;
}

/* The base alone, as a factor of a product. */
static const char *base_of(writer *w, const term *t)
{
    return t->level < PRODUCT_LEVEL ? in_brackets(w, t->text) : t->text;
}

/* ---- names ---- */
static const char *styled(writer *w, const char *letter, int number)
{
    if (number == 0)
        return letter;
    return text(w, w->latex ? "%s^{%d}" : "%s%d", letter, number);
}

/* Does a line have this name, or will one, as the adjoint of a vector? */
static bool is_taken(const writer *w, const char *name)
{
    bool taken = false;
    for (int i = 0; i < w->n_lines && !taken; i++)
        taken = strcmp(w->lines[i].name, name) == 0;
    for (int id = w->program->forward; id < w->program->n_nodes && !taken; id++)
        taken = w->adjoint_of[id] && strcmp(w->adjoint_of[id], name) == 0;
    return taken;
}

static const char *fresh(writer *w, const char *letter)
{
    const char *name;
    int at = 0;
    while (at < MOST_LETTERS - 1 && w->letters[at] && strcmp(w->letters[at], letter) != 0)
        at++;
    w->letters[at] = letter;
    do
        name = styled(w, letter, ++w->counts[at]);
    while (!w->full && is_taken(w, name));
    return name;
}

static tp_line *add_line(writer *w, tp_rule rule, int node, const char *name, const char *right, const char *type)
{
    if (w->n_lines == w->room) {
        int room = w->room ? 2 * w->room : 64;
        tp_line *larger = ad_arena_alloc(w->arena, (size_t)room, sizeof *larger);
        if (!larger) {
            w->full = true;
            static tp_line nowhere;
            return &nowhere;
        }
        if (w->n_lines)
            memcpy(larger, w->lines, (size_t)w->n_lines * sizeof *larger);
        w->lines = larger;
        w->room = room;
    }
    tp_line *line = &w->lines[w->n_lines++];
    *line = (tp_line){ .rule = rule,
                       .backward = node >= w->program->forward,
                       .name = name,
                       .text = right,
                       .type = type,
                       .law = "",
                       .factor = "",
                       .where = ad_node_of(w->graph, node)->where };
    return line;
}

/* Of a matrix (in, out): its rows, then its columns. */
static const char *width_of(writer *w, const ad_shape *shape)
{
    const char *list = "";
    for (int i = shape->rank - 1; i >= 0; i--)
        if (ad_axis_kind(w->graph, shape->axes[i]) == AD_WIDTH)
            list = *list ? text(w, "%s, %s", list, ad_axis_name(w->graph, shape->axes[i]))
                         : ad_axis_name(w->graph, shape->axes[i]);
    return list;
}

static const char *type_text(writer *w, const term *t, const ad_shape *shape)
{
    static const char *const letters[] = { "", "A", "G", "H", "" };
    return t->type == SCALAR ? "scalar" : text(w, "%s(%s)", letters[t->type], width_of(w, shape));
}

/* Gives the term a line of its own. The name of a backward vector comes from what it is the adjoint of. */
static void name_it(writer *w, int id, term *t, tp_rule rule)
{
    if (t->named)
        return;
    const char *name = id >= w->program->forward ? w->adjoint_of[id] : NULL;
    static const char *const forward[] = { "", "W", "h", "x", "s" }, *const backward[] = { "", "W", "dg", "dy", "ds" };
    if (!name && t->type == G_VAR && w->added[id] && w->uses[id] == 1 && id < w->program->forward)
        name = fresh(w, "g");
    if (!name)
        name = fresh(w, (id >= w->program->forward ? backward : forward)[t->type]);
    tp_line *line = add_line(w, rule, id, name, t->text, type_text(w, t, &ad_node_of(w->graph, id)->shape));
    if (line->backward)
        line->factor = coefficient(w, t->c, t->power);
    t->text = name;
    t->level = ATOM_LEVEL;
    t->named = true;
}

/* ---- parameters ---- */
static bool wide(const ad_graph *graph, ad_axis axis)
{
    return axis.id && ad_axis_kind(graph, axis) == AD_WIDTH;
}

/* size(axis)^p as c n^power */
static void axis_power(const ad_graph *graph, ad_axis axis, double p, double *c, double *power)
{
    if (!axis.id)
        return;
    if (wide(graph, axis)) {
        *c *= pow(ad_axis_ratio(graph, axis), p);
        *power += p;
    } else {
        *c *= pow((double)ad_axis_fixed(graph, axis), p);
    }
}

/* U in, W within, v out, b a vector, c what has no width. */
static const char *letter_of(const ad_graph *graph, const ad_shape *shape)
{
    int widths = tp_count_widths(graph, shape);
    if (widths != 1)
        return widths ? "W" : "c";
    if (shape->rank == 1)
        return "b";
    return wide(graph, shape->axes[0]) ? "v" : "U";
}

/* The only one of its letter goes without a number; weights are counted together, so that W2 makes h2. */
static const char *parameter_name(writer *w, int param)
{
    const char *letter = letter_of(w->graph, &ad_node_of(w->graph, param)->shape);
    int alike = 0, number = 0;
    for (int id = 0; id < w->program->forward; id++) {
        const ad_node *node = ad_node_of(w->graph, id);
        if (node->op != AD_PARAM || !w->program->lives[id])
            continue;
        alike += letter_of(w->graph, &node->shape)[0] == *letter;
        if (id <= param)
            number += (letter_of(w->graph, &node->shape)[0] == 'b') == (*letter == 'b');
    }
    return styled(w, letter, alike > 1 ? number : 0);
}

/* What LaTeX takes for itself is escaped: a name of the user's. */
static const char *plain_name(writer *w, const char *name)
{
    if (!w->latex)
        return name;
    const char *all = "";
    for (; *name; name++)
        all = text(w, strchr("_#%&$", *name) ? "%s\\%c" : "%s%c", all, *name);
    return text(w, "\\mathrm{%s}", all);
}

/* A width that is not n has a line that says what it is, before its first vector. */
static void declare_widths(writer *w, int id)
{
    const ad_shape *shape = &ad_node_of(w->graph, id)->shape;
    for (int i = 0; i < shape->rank; i++) {
        if (!wide(w->graph, shape->axes[i]) || near(ad_axis_ratio(w->graph, shape->axes[i]), 1))
            continue;
        const char *name = ad_axis_name(w->graph, shape->axes[i]);
        bool told = false;
        for (int k = 0; k < w->n_lines; k++)
            told = told || (w->lines[k].rule == TP_WIDTH && strcmp(w->lines[k].name, name) == 0);
        if (!told)
            add_line(w, TP_WIDTH, id, name, text(w, "%.6g n", ad_axis_ratio(w->graph, shape->axes[i])), "");
    }
}

/* The parameter is factor * (its variable): an A-var N(0, σ²/n), else a G-var with variance of order one. */
static void parameter(writer *w, int id, term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    const ad_init *init = node->init;
    int widths = tp_count_widths(w->graph, &node->shape);
    double spread = 1, power = 0, scale = 1, up = 0;
    axis_power(w->graph, init->axis, init->deviation_power, &spread, &power);
    axis_power(w->graph, init->axis, init->multiplier_power, &scale, &up);
    spread *= init->deviation;
    scale *= init->multiplier;
    const char *name = parameter_name(w, id);
    double wanted = widths == 2 ? -0.5 : 0; /* the power of n in the variable's deviation */
    t->c = widths == 2 ? 1 / scale : 1;
    t->power = power - wanted;
    t->text = name;
    t->level = ATOM_LEVEL;
    t->named = true;
    t->type = widths == 2 ? A_VAR : widths == 1 ? G_VAR : SCALAR;
    double variance = widths == 2 ? scale * scale * spread * spread : spread * spread;
    const char *front = coefficient(w, 1, wanted - power);
    const char *origin = plain_name(w, node->name), *over = "n";
    if (widths == 2 && !near(scale, 1))
        front = coefficient(w, scale, wanted - power);
    if (*front)
        origin = strncmp(front, "1/", 2) == 0 ? text(w, "%s%s", origin, front + 1) : text(w, "%s %s", front, origin);
    declare_widths(w, id);
    if (widths == 2) {
        int in = 0;
        while (!wide(w->graph, node->shape.axes[in]))
            in++;
        over = ad_axis_name(w->graph, node->shape.axes[in]);
        variance *= ad_axis_ratio(w->graph, node->shape.axes[in]);
    }
    tp_line *line = add_line(w, TP_INPUT, id, name, origin, type_text(w, t, &node->shape));
    const char *mean = fabs(init->mean) > 0 ? text(w, "%.6g", init->mean) : "0";
    line->law = widths == 2 ? text(w, "N(%s, %.6g/%s)", mean, variance, over) : text(w, "N(%s, %.6g)", mean, variance);
}

/* ---- what a node is ---- */
static term *operand(writer *w, int id, int k)
{
    return &w->terms[ad_node_of(w->graph, id)->in[k]];
}

static tp_rule named_rule(const term *t)
{
    return t->type == SCALAR ? TP_MOMENT : t->type == G_VAR ? TP_LINCOMB : TP_NONLIN;
}

static void need_name(writer *w, int id, int k)
{
    term *t = operand(w, id, k);
    if (t->type == G_VAR || t->type == H_VAR)
        name_it(w, ad_node_of(w->graph, id)->in[k], t, named_rule(t));
}

static var_type vector_type(const writer *w, int id)
{
    return tp_count_widths(w->graph, &ad_node_of(w->graph, id)->shape) > 0 ? H_VAR : SCALAR;
}

/* U x of data: an input G-var, whose covariance is the data's. A fan-in of 784 in its multiplier shows as such. */
static void input_vector(writer *w, int id, term *t, const ad_init *init, const char *data)
{
    double c = init->multiplier, spread = init->deviation, power = 0;
    bool fixed = init->axis.id && !wide(w->graph, init->axis);
    size_t size = fixed ? ad_axis_fixed(w->graph, init->axis) : 1;
    const char *root_of =
        fixed && near(init->multiplier_power, -0.5) ? text(w, w->latex ? "/\\sqrt{%zu}" : "/√%zu", size) : "";
    bool once = fixed && near(init->multiplier_power + init->deviation_power, -0.5);
    if (fixed && !*root_of)
        axis_power(w->graph, init->axis, init->multiplier_power, &c, &power);
    t->c /= c * (*root_of ? pow((double)size, -0.5) : 1);
    t->text = text(w, "%s%s", times(w, c, 0, t->text), root_of);
    if (fixed && !once)
        axis_power(w->graph, init->axis, init->deviation_power, &spread, &power);
    const char *over = once ? text(w, "/%zu", size) : "";
    double variance = pow(spread * init->multiplier, 2);
    const char *gram = text(w, w->latex ? "\\langle %s, %s\\rangle%s" : "⟨%s, %s⟩%s", data, data, over);
    name_it(w, id, t, TP_INPUT);
    w->lines[w->n_lines - 1].law = text(w, "N(0, %s)", times(w, variance, 0, gram));
}

/* W itself, or its transpose, which gets a line when it is first used. */
static const char *matrix_text(writer *w, int id, int param, const term *m, bool transposed)
{
    if (!transposed)
        return m->text;
    const char *name = text(w, w->latex ? "{%s}^{\\top}" : "%sᵀ", m->text);
    for (int i = 0; i < w->n_lines; i++)
        if (w->lines[i].rule == TP_TRSP && strcmp(w->lines[i].name, name) == 0)
            return name;
    const ad_shape *shape = &ad_node_of(w->graph, param)->shape;
    ad_shape turned = ad_shape_of(shape->axes[1], shape->axes[0]);
    add_line(w, TP_TRSP, id, name, m->text, type_text(w, m, &turned));
    return name;
}

static void contraction(writer *w, int id, term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    int matrix = -1;
    for (int k = 0; k < 2; k++)
        if (operand(w, id, k)->type == A_VAR)
            matrix = k;
    bool average = tp_is_average(w->graph, id);
    if (matrix >= 0 || average) {
        need_name(w, id, 0);
        need_name(w, id, 1);
    }
    const term *a = operand(w, id, 0), *b = operand(w, id, 1);
    t->c = a->c * b->c;
    t->power = a->power + b->power;
    if (matrix >= 0) {
        const term *m = matrix ? b : a, *x = matrix ? a : b;
        int from = node->in[matrix];
        while (ad_node_of(w->graph, from)->op != AD_PARAM && ad_node_of(w->graph, from)->n_in > 0)
            from = ad_node_of(w->graph, from)->in[0];
        /* The first axis of a parameter is its input: meeting the second one is the transpose. Renaming keeps
         * places. */
        const ad_shape *seen = &ad_node_of(w->graph, node->in[matrix])->shape;
        int place = 0;
        while (place < seen->rank && !ad_has(&node->over, seen->axes[place]))
            place++;
        t->text = text(w, "%s %s", matrix_text(w, id, from, m, place != 0), base_of(w, x));
        t->level = PRODUCT_LEVEL;
        t->type = G_VAR;
        name_it(w, id, t, TP_MATMUL);
        return;
    }
    if (average) {
        for (int i = 0; i < node->over.rank; i++)
            axis_power(w->graph, node->over.axes[i], 1, &t->c, &t->power);
        t->text = text(w, w->latex ? "\\langle %s, %s\\rangle" : "⟨%s, %s⟩", a->text, b->text);
        t->level = ATOM_LEVEL;
        t->type = SCALAR;
        return;
    }
    bool input = a->type == G_VAR && b->type == SCALAR, other = b->type == G_VAR && a->type == SCALAR;
    t->text = input ? text(w, "%s %s", base_of(w, a), base_of(w, b)) : text(w, "%s %s", base_of(w, b), base_of(w, a));
    if (!input && !other && vector_type(w, id) != SCALAR)
        t->text = text(w, w->latex ? "%s \\odot %s" : "%s ⊙ %s", base_of(w, a), base_of(w, b));
    t->level = PRODUCT_LEVEL;
    t->type = input || other ? G_VAR : vector_type(w, id);
    if (!(input || other) || !(node->over.rank == 1))
        return;
    int param = input ? 0 : 1;
    const ad_node *u = ad_node_of(w->graph, node->in[param]);
    if (u->op != AD_PARAM || w->program->learns[node->in[!param]])
        return;
    input_vector(w, id, t, u->init, operand(w, id, !param)->text);
}

static void sum_of_two(writer *w, int id, term *t)
{
    const term *a = operand(w, id, 0), *b = operand(w, id, 1);
    double sign = ad_node_of(w->graph, id)->op == AD_SUB ? -1 : 1;
    bool linear = a->type != H_VAR && b->type != H_VAR && a->type != NO_TYPE && b->type != NO_TYPE;
    t->type = a->type == SCALAR && b->type == SCALAR ? SCALAR : linear ? G_VAR : H_VAR;
    t->power = t->type == SCALAR && !near(a->power, b->power) ? 0 : fmax(a->power, b->power);
    t->c = near(a->c, b->c) && near(a->power, b->power) ? a->c : 1;
    term x = *a, y = *b;
    x.c /= t->c;
    y.c *= sign / t->c;
    x.power -= t->power;
    y.power -= t->power;
    const char *plus = y.c < 0 ? w->latex ? "-" : "−" : "+";
    y.c = fabs(y.c);
    t->text = text(w, "%s %s %s", whole(w, &x, SUM_LEVEL), plus, whole(w, &y, PRODUCT_LEVEL));
    t->level = SUM_LEVEL;
}

static void product_of_two(writer *w, int id, term *t)
{
    const term *a = operand(w, id, 0), *b = operand(w, id, 1);
    bool divides = ad_node_of(w->graph, id)->op == AD_DIV;
    t->c = divides ? a->c / b->c : a->c * b->c;
    t->power = divides ? a->power - b->power : a->power + b->power;
    bool vectors = a->type != SCALAR && b->type != SCALAR;
    const char *right = divides && b->level < ATOM_LEVEL ? in_brackets(w, b->text) : base_of(w, b);
    const char *dot = divides ? "/" : !vectors ? "" : w->latex ? "\\odot " : "⊙ ";
    t->text = divides ? text(w, "%s/%s", base_of(w, a), right) : text(w, "%s %s%s", base_of(w, a), dot, right);
    t->level = PRODUCT_LEVEL;
    t->type = vectors || a->type != b->type ? H_VAR : SCALAR;
}

/* f(x): the factor goes inside. */
static void call(writer *w, int id, term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    const char *list = "";
    for (int k = 0; k < node->n_in; k++) {
        const char *one = whole(w, operand(w, id, k), SUM_LEVEL);
        list = k ? text(w, "%s, %s", list, one) : one;
    }
    const char *name = node->op == AD_CUSTOM ? node->function->name : ad_op_name(node->op);
    if (node->op == AD_CUSTOM)
        for (int k = 0; k < node->order; k++)
            name = text(w, w->latex ? "%s'" : "%s′", name);
    if (ad_is_unary(node->op) && ad_op_facts_of(node->op)->takes_p)
        list = text(w, "%s, %.6g", list, node->c);
    t->text = w->latex ? text(w, "%s\\left(%s\\right)", plain_name(w, name), list) : text(w, "%s(%s)", name, list);
    t->level = ATOM_LEVEL;
    t->type = vector_type(w, id);
}

/* What picks or moves fixed axes: of a named vector, so that it reads h[time=3]. */
static void moved(writer *w, int id, term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    need_name(w, id, 0);
    const term *x = operand(w, id, 0);
    *t = *x;
    t->named = true;
    t->level = ATOM_LEVEL;
    const char *axis = plain_name(w, ad_axis_name(w->graph, node->axis));
    size_t count = node->op == AD_SLICE ? ad_axis_fixed(w->graph, node->axis2) : 0;
    if (node->op == AD_SLICE && count == 1)
        t->text = text(w, w->latex ? "%s_{[%s=%zu]}" : "%s[%s=%zu]", base_of(w, x), axis, node->start);
    else if (node->op == AD_SLICE)
        t->text = text(w, w->latex ? "%s_{[%s=%zu..%zu]}" : "%s[%s=%zu..%zu]", base_of(w, x), axis, node->start,
                       node->start + count - 1);
    else
        t->text = text(w, "%s(%s)", plain_name(w, ad_op_name(node->op)), x->text);
}

/* A sum over fixed axes, or over the width. */
static void sum_over(writer *w, int id, term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    bool average = tp_is_average(w->graph, id), ones = true;
    for (int i = 0; i < node->over.rank; i++)
        ones = ones && ad_axis_fixed(w->graph, node->over.axes[i]) == 1;
    if (average)
        need_name(w, id, 0);
    *t = *operand(w, id, 0);
    if (average) {
        for (int i = 0; i < node->over.rank; i++)
            axis_power(w->graph, node->over.axes[i], 1, &t->c, &t->power);
        t->text = text(w, w->latex ? "\\langle %s\\rangle" : "⟨%s⟩", t->text);
        t->type = SCALAR;
        t->level = ATOM_LEVEL;
        t->named = false;
    } else if (!ones) {
        const char *axes = ad_axis_name(w->graph, node->over.axes[0]);
        for (int i = 1; i < node->over.rank; i++)
            axes = text(w, "%s, %s", axes, ad_axis_name(w->graph, node->over.axes[i]));
        t->text = w->latex ? text(w, "\\sum_{%s} %s", plain_name(w, axes), base_of(w, t))
                           : text(w, "Σ[%s] %s", axes, base_of(w, t));
        t->level = PRODUCT_LEVEL;
        t->named = false;
    }
}

/* Times a power of the batch's size: a mean over the batch, or in its backward pass a vector over that size. */
static void batch_scale(writer *w, int id, term *t)
{
    const ad_node *node = ad_node_of(w->graph, id), *sum = ad_node_of(w->graph, node->in[0]);
    const char *axis = ad_axis_name(w->graph, node->axis);
    t->c *= node->c;
    if (sum->op == AD_SUM && sum->over.rank == 1 && ad_same(sum->over.axes[0], node->axis) && near(node->power, -1)) {
        const char *inside = base_of(w, operand(w, node->in[0], 0));
        t->text = text(w, w->latex ? "\\operatorname{mean}_{\\mathrm{%s}} %s" : "mean[%s] %s", axis, inside);
    } else if (near(node->power, -1)) {
        t->text = text(w, w->latex ? "%s/\\mathrm{%s}" : "%s/%s", base_of(w, t), axis);
    } else {
        t->text = text(w, w->latex ? "\\mathrm{%s}^{%.4g} %s" : "%s^%.4g %s", axis, node->power, base_of(w, t));
    }
    t->level = PRODUCT_LEVEL;
    t->named = false;
}

static void write_node(writer *w, int id)
{
    const ad_node *node = ad_node_of(w->graph, id);
    term *t = &w->terms[id];
    *t = (term){ .c = 1, .level = ATOM_LEVEL, .text = "", .type = vector_type(w, id) };
    if (ad_is_unary(node->op) && node->op != AD_NEG && node->op != AD_IDENTITY) {
        call(w, id, t);
        return;
    }
    switch (node->op) {
    case AD_PARAM:
        parameter(w, id, t);
        return;
    case AD_INPUT:
        t->text = plain_name(w, node->name);
        t->named = true;
        return;
    case AD_CONSTANT:
        t->text = text(w, "%.6g", node->c);
        t->type = SCALAR;
        return;
    case AD_DELTA:
        t->text = w->latex ? "\\delta" : "δ";
        t->type = SCALAR;
        return;
    case AD_IDENTITY:
    case AD_EXPAND:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_NEG:
    case AD_SCALE: {
        *t = *operand(w, id, 0);
        t->c *= node->op == AD_NEG ? -1 : 1;
        if (node->op == AD_SCALE && node->axis.id && ad_axis_kind(w->graph, node->axis) == AD_BATCH) {
            batch_scale(w, id, t);
        } else if (node->op == AD_SCALE) {
            t->c *= node->c;
            axis_power(w->graph, node->axis, node->power, &t->c, &t->power);
        }
        return;
    }
    case AD_CONTRACT:
        contraction(w, id, t);
        return;
    case AD_ADD:
    case AD_SUB:
        sum_of_two(w, id, t);
        return;
    case AD_MUL:
    case AD_DIV:
        product_of_two(w, id, t);
        return;
    case AD_SUM:
        sum_over(w, id, t);
        return;
    case AD_SLICE:
    case AD_RESHAPE:
    case AD_UNSLICE:
        moved(w, id, t);
        return;
    default:
        call(w, id, t);
        return;
    }
}

/* Does the node only rename or scale its operand? Then its uses are its operand's. */
static bool is_alias(ad_op op)
{
    return op == AD_IDENTITY || op == AD_EXPAND || op == AD_RELABEL || op == AD_TRANSPOSE || op == AD_NEG ||
           op == AD_SCALE;
}

static int real_node(const ad_graph *graph, int id)
{
    while (is_alias(ad_node_of(graph, id)->op))
        id = ad_node_of(graph, id)->in[0];
    return id;
}

static void count_uses(writer *w)
{
    const tp_program *p = w->program;
    for (int id = 0; id < p->n_nodes; id++) {
        const ad_node *node = ad_node_of(w->graph, id);
        for (int k = 0; p->lives[id] && !is_alias(node->op) && k < node->n_in; k++) {
            int real = real_node(w->graph, node->in[k]);
            w->uses[real]++;
            w->added[real] = node->op == AD_ADD || node->op == AD_SUB;
        }
    }
    for (int i = 0; i < p->n_sites; i++) {
        w->force[real_node(w->graph, p->sites[i].delta.id)] = true;
        if (p->sites[i].y.graph)
            w->force[real_node(w->graph, p->sites[i].y.id)] = true;
    }
}

/* The backward vector that holds the adjoint of a named one is called after it. */
static void name_adjoint(writer *w, int id)
{
    const tp_program *p = w->program;
    const term *t = &w->terms[id];
    int adjoint = t->named && (t->type == G_VAR || t->type == H_VAR) ? p->adjoint[id] : -1;
    if (adjoint < 0)
        return;
    adjoint = real_node(w->graph, adjoint);
    if (adjoint >= p->forward && p->lives[adjoint] && !w->adjoint_of[adjoint]) {
        w->adjoint_of[adjoint] = text(w, "d%s", t->text);
        w->force[adjoint] = true;
    }
}

static void write_all(writer *w)
{
    const tp_program *p = w->program;
    for (int id = 0; id < p->n_nodes; id++) {
        if (id == p->forward)
            for (int k = p->forward - 1; k >= 0; k--) /* of two that share one, the last */
                if (p->lives[k])
                    name_adjoint(w, k);
        if (!p->lives[id])
            continue;
        write_node(w, id);
        term *t = &w->terms[id];
        bool many = w->uses[id] > 1 && t->level < ATOM_LEVEL, function = ad_is_unary(ad_node_of(w->graph, id)->op);
        bool wanted = w->force[id] || many || (function && w->uses[id] > 1) || strlen(t->text) > LONGEST;
        if ((t->type == G_VAR || t->type == H_VAR) && wanted && !is_alias(ad_node_of(w->graph, id)->op))
            name_it(w, id, t, named_rule(t));
        else if (t->type == SCALAR && p->learns[id] && tp_is_average(w->graph, id) && id != p->output.id &&
                 w->uses[id] > 1)
            name_it(w, id, t, TP_MOMENT);
        if (id == p->output.id)
            add_line(w, TP_OUTPUT, id, "f", whole(w, t, SUM_LEVEL), "");
    }
}

const tp_line *tp_lines(const tp_program *program, ad_arena *arena, tp_style style, int *n, ad_error *error)
{
    writer w = { .program = program, .graph = program->graph, .arena = arena, .latex = style == TP_LATEX };
    size_t count = (size_t)program->n_nodes + 1;
    w.terms = ad_arena_alloc(arena, count, sizeof *w.terms);
    w.uses = ad_arena_alloc(arena, count, sizeof *w.uses);
    w.added = ad_arena_alloc(arena, count, sizeof *w.added);
    w.force = ad_arena_alloc(arena, count, sizeof *w.force);
    w.adjoint_of = ad_arena_alloc(arena, count, sizeof *w.adjoint_of);
    w.full = !w.terms || !w.uses || !w.added || !w.force || !w.adjoint_of;
    if (!w.full) {
        count_uses(&w);
        write_all(&w);
    }
    if (w.full) {
        ad_fail(error, "out of memory for the lines of a program");
        return NULL;
    }
    *n = w.n_lines;
    return w.lines;
}
