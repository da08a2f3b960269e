/* lines.c: the program's lines: commands of Netsor⊤ with names, types, laws and source lines.
 *
 * Every node of the trace is seen as factor * base, the factor c n^p. A base is a name (it has a line of its own) or an
 * expression that its only user takes in: so relu(h + b) is one Nonlin. Inputs are normalised, an A-var to N(0, σ²/n)
 * and a G-var to variance of order one, whatever the parametrization; the powers of n gather in the factors, and the
 * adjoint of a vector prints as "dx2 (1/√n)": the derivative of f is 1/√n times a vector of order one. */
#include "tp/program/writer.h"

#include <math.h>
#include <string.h>

enum { LONGEST = 60 };

/* ---- what a node is ---- */
static tp_line_term *operand(tp_writer *w, int id, int k)
{
    return &w->terms[ad_node_of(w->graph, id)->in[k]];
}

static tp_rule named_rule(const tp_line_term *t)
{
    return t->type == SCALAR ? TP_MOMENT : t->type == G_VAR ? TP_LINCOMB : TP_NONLIN;
}

static void need_name(tp_writer *w, int id, int k)
{
    tp_line_term *t = operand(w, id, k);
    if (t->type == G_VAR || t->type == H_VAR)
        tp_name_term(w, ad_node_of(w->graph, id)->in[k], t, named_rule(t));
}

static var_type vector_type(const tp_writer *w, int id)
{
    return w->program->widths[id] > 0 ? H_VAR : SCALAR;
}

/* W itself, or its transpose, which gets a line when it is first used. */
static const char *matrix_text(tp_writer *w, int id, int param, const tp_line_term *m, bool transposed)
{
    if (!transposed)
        return m->text;
    const char *name = tp_writer_text(w, w->latex ? "{%s}^{\\top}" : "%sᵀ", m->text);
    for (int i = 0; i < w->n_lines; i++)
        if (w->lines[i].rule == TP_TRSP && strcmp(w->lines[i].name, name) == 0)
            return name;
    const ad_shape *shape = &ad_node_of(w->graph, param)->shape;
    ad_shape turned = { 0 };
    for (int i = shape->rank - 1; i >= 0; i--)
        turned.axes[turned.rank++] = shape->axes[i];
    tp_add_line(w, TP_TRSP, id, name, m->text, tp_type_text(w, m, &turned));
    return name;
}

/* The axis that a product's brackets are over: the width, if there is one. */
static ad_axis main_axis(const tp_writer *w, const ad_shape *over)
{
    ad_axis main = over->rank ? over->axes[over->rank - 1] : (ad_axis){ 0 };
    for (int i = 0; i < over->rank; i++)
        main = tp_is_width(w->graph, over->axes[i]) ? over->axes[i] : main;
    return main;
}

/* The text summed over fixed axes beside that one: a filter's offsets, positions. */
static const char *summed(tp_writer *w, const ad_shape *over, const char *text)
{
    const char *axes = "";
    ad_axis main = main_axis(w, over);
    for (int i = 0; i < over->rank; i++)
        if (!ad_same(over->axes[i], main))
            axes = tp_writer_text(w, "%s%s%s", axes, *axes ? ", " : "", ad_axis_name(w->graph, over->axes[i]));
    if (!*axes)
        return text;
    return tp_writer_text(w, w->latex ? "\\sum_{%s} %s" : "Σ[%s] %s", w->latex ? tp_plain_name(w, axes) : axes, text);
}

/* A weight's places on its fixed axes but the one that the product's own brackets are over: a filter's offsets, the
 * positions of one that each position has of its own. */
static const char *weight_text(tp_writer *w, int id, int k, const char *text)
{
    const ad_node *node = ad_node_of(w->graph, id);
    const ad_shape *shape = &ad_node_of(w->graph, node->in[k])->shape;
    const char *axes = "";
    ad_axis main = main_axis(w, &node->over);
    for (int i = 0; i < shape->rank; i++) {
        ad_axis axis = shape->axes[i];
        if (ad_axis_kind(w->graph, axis) != AD_FIXED || ad_same(axis, main))
            continue;
        const char *name = tp_position_name(w->arena, w->graph, axis);
        w->full = w->full || !name;
        axes = tp_writer_text(w, "%s%s%s", axes, *axes ? ", " : "", name ? name : "");
    }
    return *axes ? tp_writer_text(w, w->latex ? "{%s}_{[%s]}" : "%s[%s]", text, tp_plain_name(w, axes)) : text;
}

static void contraction(tp_writer *w, int id, tp_line_term *t)
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
    const tp_line_term *a = operand(w, id, 0), *b = operand(w, id, 1);
    t->c = a->c * b->c;
    t->power = a->power + b->power;
    if (matrix >= 0) {
        const tp_line_term *m = matrix ? b : a, *x = matrix ? a : b;
        int from = node->in[matrix];
        while (ad_node_of(w->graph, from)->op != AD_PARAM && ad_node_of(w->graph, from)->n_in > 0)
            from = ad_node_of(w->graph, from)->in[0];
        /* The first width of a parameter is its input: meeting the second one is the transpose. Renaming keeps
         * places. */
        const ad_shape *seen = &ad_node_of(w->graph, node->in[matrix])->shape;
        int place = 0;
        while (place < seen->rank && !tp_is_width(w->graph, seen->axes[place]))
            place++;
        bool transposed = place < seen->rank && !ad_has(&node->over, seen->axes[place]);
        const char *weight = weight_text(w, id, matrix, matrix_text(w, id, from, m, transposed));
        t->text = tp_writer_text(w, "%s %s", weight, tp_base_text(w, x));
        t->text = summed(w, &node->over, t->text);
        t->level = PRODUCT_LEVEL;
        t->type = G_VAR;
        tp_name_term(w, id, t, TP_MATMUL);
        return;
    }
    if (average) {
        tp_times_axis(w->graph, main_axis(w, &node->over), 1, &t->c, &t->power);
        t->text = tp_writer_text(w, w->latex ? "\\langle %s, %s\\rangle" : "⟨%s, %s⟩", a->text, b->text);
        t->text = summed(w, &node->over, t->text);
        t->level = node->over.rank > 1 ? PRODUCT_LEVEL : ATOM_LEVEL;
        t->type = SCALAR;
        return;
    }
    bool input = a->type == G_VAR && b->type == SCALAR, other = b->type == G_VAR && a->type == SCALAR;
    const char *left = tp_base_text(w, input ? a : b), *right = tp_base_text(w, input ? b : a);
    t->text = tp_writer_text(w, "%s %s", input || other ? weight_text(w, id, input ? 0 : 1, left) : left, right);
    if (input || other)
        t->text = summed(w, &node->over, t->text);
    if (!input && !other && vector_type(w, id) != SCALAR)
        t->text = tp_writer_text(w, w->latex ? "%s \\odot %s" : "%s ⊙ %s", tp_base_text(w, a), tp_base_text(w, b));
    t->level = PRODUCT_LEVEL;
    t->type = input || other ? G_VAR : vector_type(w, id);
    if (!(input || other) || !(node->over.rank == 1))
        return;
    int param = input ? 0 : 1;
    const ad_node *u = ad_node_of(w->graph, node->in[param]);
    if (u->op != AD_PARAM || w->program->learns[node->in[!param]])
        return;
    tp_write_input(w, id, t, u->init, operand(w, id, !param)->text);
}

static void sum_of_two(tp_writer *w, int id, tp_line_term *t)
{
    const tp_line_term *a = operand(w, id, 0), *b = operand(w, id, 1);
    double sign = ad_node_of(w->graph, id)->op == AD_SUB ? -1 : 1;
    bool linear = a->type != H_VAR && b->type != H_VAR && a->type != NO_TYPE && b->type != NO_TYPE;
    t->type = a->type == SCALAR && b->type == SCALAR ? SCALAR : linear ? G_VAR : H_VAR;
    t->power = t->type == SCALAR && !tp_is_near(a->power, b->power) ? 0 : fmax(a->power, b->power);
    t->c = tp_is_near(a->c, b->c) && tp_is_near(a->power, b->power) ? a->c : 1;
    tp_line_term x = *a, y = *b;
    x.c /= t->c;
    y.c *= sign / t->c;
    x.power -= t->power;
    y.power -= t->power;
    const char *plus = y.c < 0 ? w->latex ? "-" : "−" : "+";
    y.c = fabs(y.c);
    t->text = tp_writer_text(w, "%s %s %s", tp_whole_text(w, &x, SUM_LEVEL), plus, tp_whole_text(w, &y, PRODUCT_LEVEL));
    t->level = SUM_LEVEL;
}

static void product_of_two(tp_writer *w, int id, tp_line_term *t)
{
    const tp_line_term *a = operand(w, id, 0), *b = operand(w, id, 1);
    bool divides = ad_node_of(w->graph, id)->op == AD_DIV;
    t->c = divides ? a->c / b->c : a->c * b->c;
    t->power = divides ? a->power - b->power : a->power + b->power;
    bool vectors = a->type != SCALAR && b->type != SCALAR;
    const char *right = divides && b->level < ATOM_LEVEL ? tp_in_brackets(w, b->text) : tp_base_text(w, b);
    const char *dot = divides ? "/" : !vectors ? "" : w->latex ? "\\odot " : "⊙ ";
    t->text = divides ? tp_writer_text(w, "%s/%s", tp_base_text(w, a), right)
                      : tp_writer_text(w, "%s %s%s", tp_base_text(w, a), dot, right);
    t->level = PRODUCT_LEVEL;
    t->type = vectors || a->type != b->type ? H_VAR : SCALAR;
}

/* f(x): the factor goes inside. */
static void call(tp_writer *w, int id, tp_line_term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    const char *list = "";
    for (int k = 0; k < node->n_in; k++) {
        const char *one = tp_whole_text(w, operand(w, id, k), SUM_LEVEL);
        list = k ? tp_writer_text(w, "%s, %s", list, one) : one;
    }
    const char *name = node->op == AD_CUSTOM ? node->function->name : ad_op_name(node->op);
    if (node->op == AD_CUSTOM)
        for (int k = 0; k < node->order; k++)
            name = tp_writer_text(w, w->latex ? "%s'" : "%s′", name);
    if (ad_is_unary(node->op) && ad_op_facts_of(node->op)->takes_p)
        list = tp_writer_text(w, "%s, %s", list, tp_number_text(w, node->c));
    t->text =
        w->latex ? tp_writer_text(w, "%s(%s)", tp_plain_name(w, name), list) : tp_writer_text(w, "%s(%s)", name, list);
    t->level = ATOM_LEVEL;
    t->type = vector_type(w, id);
}

/* What an index is put to: TeX has one for each. */
static const char *indexed_text(tp_writer *w, const tp_line_term *x)
{
    const char *text = tp_base_text(w, x);
    return w->latex && tp_has_index(text) ? tp_writer_text(w, "{%s}", text) : text;
}

/* What picks or moves fixed axes: of a named vector, so that it reads h[time=3]. */
static void moved(tp_writer *w, int id, tp_line_term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    need_name(w, id, 0);
    const tp_line_term *x = operand(w, id, 0);
    int below;
    const char *place = tp_place_text(w, id, &below);
    *t = *x;
    t->named = true;
    t->level = ATOM_LEVEL;
    if (place) {
        t->text = tp_writer_text(w, "%s%s", indexed_text(w, &w->terms[below]), place);
        return;
    }
    const char *axis = tp_plain_name(w, ad_axis_name(w->graph, node->axis));
    size_t count = node->op == AD_SLICE ? ad_axis_fixed(w->graph, node->axis2) : 0;
    if (node->op == AD_SLICE && count == 1)
        t->text = tp_writer_text(w, w->latex ? "%s_{[%s=%zu]}" : "%s[%s=%zu]", indexed_text(w, x), axis, node->start);
    else if (node->op == AD_SLICE)
        t->text = tp_writer_text(w, w->latex ? "%s_{[%s=%zu..%zu]}" : "%s[%s=%zu..%zu]", indexed_text(w, x), axis,
                                 node->start, node->start + count - 1);
    else
        t->text = tp_writer_text(w, "%s(%s)", tp_plain_name(w, ad_op_name(node->op)), x->text);
}

/* A sum over fixed axes, or over the width. */
static void sum_over(tp_writer *w, int id, tp_line_term *t)
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
            tp_times_axis(w->graph, node->over.axes[i], 1, &t->c, &t->power);
        t->text = tp_writer_text(w, w->latex ? "\\langle %s\\rangle" : "⟨%s⟩", t->text);
        t->type = SCALAR;
        t->level = ATOM_LEVEL;
        t->named = false;
    } else if (!ones) {
        const char *axes = ad_axis_name(w->graph, node->over.axes[0]);
        for (int i = 1; i < node->over.rank; i++)
            axes = tp_writer_text(w, "%s, %s", axes, ad_axis_name(w->graph, node->over.axes[i]));
        t->text = w->latex ? tp_writer_text(w, "\\sum_{%s} %s", tp_plain_name(w, axes), tp_base_text(w, t))
                           : tp_writer_text(w, "Σ[%s] %s", axes, tp_base_text(w, t));
        t->level = PRODUCT_LEVEL;
        t->named = false;
    }
}

/* Times a power of the batch's size: a mean over the batch, or in its backward pass a vector over that size. */
static void batch_scale(tp_writer *w, int id, tp_line_term *t)
{
    const ad_node *node = ad_node_of(w->graph, id), *sum = ad_node_of(w->graph, node->in[0]);
    const char *axis = ad_axis_name(w->graph, node->axis);
    t->c *= node->c;
    if (sum->op == AD_SUM && sum->over.rank == 1 && ad_same(sum->over.axes[0], node->axis) &&
        tp_is_near(node->power, -1)) {
        const char *inside = tp_base_text(w, operand(w, node->in[0], 0));
        t->text = tp_writer_text(w, w->latex ? "\\operatorname{mean}_{\\mathrm{%s}} %s" : "mean[%s] %s", axis, inside);
    } else if (tp_is_near(node->power, -1)) {
        t->text = tp_writer_text(w, w->latex ? "%s/\\mathrm{%s}" : "%s/%s", tp_base_text(w, t), axis);
    } else {
        t->text = tp_writer_text(w, w->latex ? "\\mathrm{%s}^{%.4g} %s" : "%s^%.4g %s", axis, node->power,
                                 tp_base_text(w, t));
    }
    t->level = PRODUCT_LEVEL;
    t->named = false;
}

static void write_node(tp_writer *w, int id)
{
    const ad_node *node = ad_node_of(w->graph, id);
    tp_line_term *t = &w->terms[id];
    *t = (tp_line_term){ .c = 1, .level = ATOM_LEVEL, .text = "", .type = vector_type(w, id) };
    if (ad_is_unary(node->op) && node->op != AD_NEG && node->op != AD_IDENTITY) {
        call(w, id, t);
        return;
    }
    switch (node->op) {
    case AD_PARAM:
        tp_write_parameter(w, id, t);
        return;
    case AD_INPUT:
        t->text = tp_plain_name(w, node->name);
        t->named = true;
        return;
    case AD_CONSTANT:
        t->text = tp_number_text(w, node->c);
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
            tp_times_axis(w->graph, node->axis, node->power, &t->c, &t->power);
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
    case AD_WINDOWS:
    case AD_UNWINDOWS:
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

/* A function written as one, rsqrt(...). */
static bool is_call(const ad_graph *graph, int id)
{
    ad_op op = ad_node_of(graph, id)->op;
    return ad_is_unary(op) && !is_alias(op);
}

static int real_node(const ad_graph *graph, int id)
{
    while (is_alias(ad_node_of(graph, id)->op))
        id = ad_node_of(graph, id)->in[0];
    return id;
}

static void count_uses(tp_writer *w)
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
static void name_adjoint(tp_writer *w, int id)
{
    const tp_program *p = w->program;
    const tp_line_term *t = &w->terms[id];
    int adjoint = t->named && (t->type == G_VAR || t->type == H_VAR) ? p->adjoint[id] : -1;
    if (adjoint < 0)
        return;
    adjoint = real_node(w->graph, adjoint);
    if (adjoint >= p->forward && p->lives[adjoint] && !w->adjoint_of[adjoint]) {
        w->adjoint_of[adjoint] = tp_writer_text(w, "d%s", t->text);
        tp_take_name_of(w, w->adjoint_of[adjoint]);
        w->force[adjoint] = true;
    }
}

static void write_all(tp_writer *w)
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
        tp_line_term *t = &w->terms[id];
        bool many = w->uses[id] > 1 && t->level < ATOM_LEVEL, function = is_call(w->graph, id);
        bool wanted = w->force[id] || many || (function && w->uses[id] > 1) || strlen(t->text) > LONGEST;
        if ((t->type == G_VAR || t->type == H_VAR) && wanted && !is_alias(ad_node_of(w->graph, id)->op))
            tp_name_term(w, id, t, named_rule(t));
        else if (t->type == SCALAR && p->learns[id] && (tp_is_average(w->graph, id) || is_call(w->graph, id)) &&
                 id != p->output.id && w->uses[id] > 1)
            tp_name_term(w, id, t, TP_MOMENT);
        if (id == p->output.id)
            tp_add_line(w, TP_OUTPUT, id, "f", tp_whole_text(w, t, SUM_LEVEL), "");
    }
}

static int write_lines(tp_writer *w, const tp_program *program, ad_arena *arena, tp_style style, ad_error *error)
{
    *w = (tp_writer){ .program = program, .graph = program->graph, .arena = arena, .latex = style == TP_LATEX };
    size_t count = (size_t)program->n_nodes + 1;
    w->terms = ad_arena_alloc(arena, count, sizeof *w->terms);
    w->uses = ad_arena_alloc(arena, count, sizeof *w->uses);
    w->number = ad_arena_alloc(arena, count, sizeof *w->number);
    w->added = ad_arena_alloc(arena, count, sizeof *w->added);
    w->force = ad_arena_alloc(arena, count, sizeof *w->force);
    w->adjoint_of = ad_arena_alloc(arena, count, sizeof *w->adjoint_of);
    w->full = !w->terms || !w->uses || !w->number || !w->added || !w->force || !w->adjoint_of;
    if (!w->full) {
        count_uses(w);
        tp_count_parameters(w);
        write_all(w);
    }
    return w->full ? ad_fail(error, "out of memory for the lines of a program") : 0;
}

const tp_line *tp_lines(const tp_program *program, ad_arena *arena, tp_style style, int *n, ad_error *error)
{
    tp_writer w;
    if (write_lines(&w, program, arena, style, error))
        return NULL;
    *n = w.n_lines;
    return w.lines;
}

const char *const *tp_node_texts(const tp_program *program, ad_arena *arena, ad_error *error)
{
    tp_writer w;
    if (write_lines(&w, program, arena, TP_PAPER, error))
        return NULL;
    const char **texts = ad_arena_alloc(arena, (size_t)program->n_nodes + 1, sizeof *texts);
    for (int id = 0; texts && id < program->n_nodes; id++)
        texts[id] = program->lives[id] ? tp_whole_text(&w, &w.terms[id], SUM_LEVEL) : "";
    if (texts && !w.full)
        return texts;
    ad_fail(error, "out of memory for the lines of a program");
    return NULL;
}
