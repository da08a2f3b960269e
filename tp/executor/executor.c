/* executor.c: the executor at n = infinity (THEORY, the executor): the trace itself, run on samples.
 *
 * Every vector is S samples of its Z, so the trace is run at n = S, except that products with a parameter are done by
 * operators (gaussian_operator.c), which are Gaussian or orthogonal matrices that remember what they were multiplied
 * with. Between these products a plan runs everything else, level by level: a node's level is the number of products
 * behind it. The rule is the general one, with Z dot, for any program: W with its transpose, averages over the width,
 * gradients. */
#include "nn/network/network.h"
#include "tp/executor/sampler.h"

#include <math.h>
#include <string.h>

/* ---- nodes and axes ---- */
static const ad_node *node_at(const tp_sampler *s, int id)
{
    return ad_node_of(s->graph, id);
}

static bool is_width(const tp_sampler *s, ad_axis axis)
{
    return ad_axis_kind(s->graph, axis) == AD_WIDTH;
}

static uint64_t seed_of(const tp_sampler *s, const tp_class *c)
{
    const uint64_t far = 0x9E3779B97F4A7C15u; /* seeds of other runs are near */
    return s->seed + far * (uint64_t)c->number;
}

/* The draws of vectors of this size that meet those of an element of the union (meeting.c). */
tp_space *tp_sampler_space(tp_sampler *s, int element, size_t size)
{
    tp_class **first = &s->classes[tp_meeting_of(s, element)], *c = *first;
    while (c && c->space.basis.length != size)
        c = c->next;
    if (c)
        return &c->space;
    if (!(c = ad_arena_alloc(s->arena, 1, sizeof *c))) {
        ad_fail(s->error, "out of memory for draws");
        return NULL;
    }
    c->next = *first;
    *first = c;
    c->number = ++s->n_classes;
    if (tp_space_new(&c->space, size, seed_of(s, c), s->error))
        return NULL;
    c->space.independent = s->independent;
    c->space.keeps = s->learns;
    return &c->space;
}

static size_t elements(const tp_sampler *s, int id)
{
    return ad_elements(s->graph, &node_at(s, id)->shape, &s->sizes);
}

/* ---- parameters ---- */
/* Is this use one that an operator can be? in: positions of the summed axes. */
static bool is_one_product(const tp_sampler *s, int id, int k, int param, const ad_shape *names, int *in, int *n_in)
{
    const ad_node *node = node_at(s, id);
    const ad_shape *y = &node_at(s, node->in[1 - k])->shape, *own = &node_at(s, param)->shape;
    *n_in = 0;
    for (int i = 0; i < names->rank; i++) {
        bool summed = ad_has(&node->over, names->axes[i]), wide = is_width(s, own->axes[i]);
        if (wide && (summed || ad_has(y, names->axes[i])))
            return false;
        if (summed)
            in[(*n_in)++] = i;
    }
    return *n_in > 0;
}

/* A parameter with one width is an operator if all of its uses sum the same fixed axes: then only as many draws are
 * made as the inputs have directions. */
static bool one_way(const tp_sampler *s, int param, tp_revealed *f)
{
    int in[AD_MAX_RANK], n_in, uses = 0;
    for (int id = 0; id < s->program->n_nodes; id++) {
        const ad_node *node = node_at(s, id);
        if (!s->program->lives[id])
            continue;
        for (int k = 0; k < node->n_in; k++) {
            ad_shape names;
            if (node->op == AD_RELABEL || node->op == AD_TRANSPOSE || tp_peel(s->graph, node->in[k], &names) != param)
                continue;
            if (node->op != AD_CONTRACT || !is_one_product(s, id, k, param, &names, in, &n_in))
                return false;
            if (uses++ && (n_in != f->in_rank || memcmp(in, f->in, (size_t)n_in * sizeof *in) != 0))
                return false;
            f->in_rank = n_in;
            memcpy(f->in, in, sizeof in);
        }
    }
    return uses > 0;
}

static int open_revealed(tp_sampler *s, int param)
{
    const ad_node *node = node_at(s, param);
    tp_revealed f = { .param = param, .out = -1, .keep = 1 };
    int wide[2], n_wide = 0;
    for (int i = 0; i < node->shape.rank; i++)
        if (is_width(s, node->shape.axes[i]) && n_wide < 2)
            wide[n_wide++] = i;
    if (n_wide == 0 || fabs(node->init->mean) > 0)
        return n_wide == 2 ? tp_sampler_refuse(s, param, "a matrix whose mean is not 0 has no limit here") : 0;
    f.matrix = n_wide == 2;
    f.out = wide[n_wide - 1];
    if (f.matrix) {
        f.in_rank = 1;
        f.in[0] = wide[0];
    } else if (!one_way(s, param, &f)) {
        return 0;
    }
    size_t in_size = 1;
    f.n_operators = 1;
    for (int i = 0; i < node->shape.rank; i++) {
        bool is_in = false;
        for (int k = 0; k < f.in_rank; k++)
            is_in |= f.in[k] == i;
        if (is_in)
            in_size *= tp_sampler_size(s, node->shape.axes[i]);
        else if (i != f.out) {
            f.others[f.n_others++] = i;
            f.n_operators *= (int)tp_sampler_size(s, node->shape.axes[i]);
        }
    }
    f.deviation = tp_sampler_deviation(s, node->init) * (f.matrix ? sqrt((double)in_size) : 1);
    f.in_size = in_size;
    s->revealed_of[param] = s->n_revealed;
    s->revealed[s->n_revealed++] = f;
    return 0;
}

static int open_operators(tp_sampler *s, tp_revealed *f)
{
    const ad_node *node = node_at(s, f->param);
    tp_space *out = tp_sampler_space(s, tp_meeting_out(f->param), tp_sampler_size(s, node->shape.axes[f->out]));
    tp_space *in = f->matrix && out ? tp_sampler_space(s, tp_meeting_in(f->param), f->in_size) : NULL;
    if (!out || (f->matrix && !in))
        return -1;
    /* between widths of different sizes it is used once (tp_check_square), as Gaussian ones are */
    bool orthogonal = f->matrix && node->init->orthogonal && in->basis.length == out->basis.length;
    size_t count = (size_t)f->n_operators;
    f->operators = s->linear ? NULL : ad_arena_alloc(s->arena, count, sizeof *f->operators);
    f->simple = s->linear ? ad_arena_alloc(s->arena, 2 * count, sizeof *f->simple) : NULL;
    if (!f->operators && !f->simple)
        return ad_fail(s->error, "out of memory for %s", node->name);
    for (size_t k = 0; k < (size_t)f->n_operators; k++)
        if (f->simple) {
            double variance = in ? 1 / (double)f->in_size : 1;
            tp_simple_new(&f->simple[2 * k], out, f->in_size, variance, s->linear[f->param]);
            if (in)
                tp_simple_new(&f->simple[2 * k + 1], in, out->basis.length, variance, true);
        } else {
            tp_operator_new(&f->operators[k], in, f->in_size, out, orthogonal);
            f->operators[k].minimum = s->minimum > 0 ? s->minimum : f->operators[k].minimum;
        }
    return 0;
}

/* All values of a parameter that is no operator: a draw for each index of its fixed axes. */
static int draw_param(tp_sampler *s, int param)
{
    const ad_node *node = node_at(s, param);
    ad_axis width = { 0 };
    size_t count = elements(s, param), draws;
    for (int i = 0; i < node->shape.rank; i++)
        if (is_width(s, node->shape.axes[i]))
            width = node->shape.axes[i];
    if (!width.id)
        return (s->values[param] = tp_sampler_numbers(s, count, node->name))
                   ? ad_draw((ad_var){ s->program->graph, param }, &s->sizes, s->seed, AD_DOUBLE, s->values[param],
                             s->error)
                   : -1;
    size_t size = tp_sampler_size(s, width), inner = tp_sampler_stride(s, &node->shape, width);
    tp_space *space = tp_sampler_space(s, tp_meeting_out(param), size);
    tp_rows rows = { .length = size };
    double deviation = tp_sampler_deviation(s, node->init);
    draws = count / size;
    s->drawn_at[param] = space ? space->basis.n : 0;
    bool plain = s->linear != NULL;
    if (!space || (deviation > 0 && (plain ? tp_draw_plain(space, (int)draws, s->linear[param], &rows, s->error)
                                           : tp_draw(space, (int)draws, NULL, &rows, s->error))))
        return -1;
    s->values[param] = tp_sampler_numbers(s, count, node->name); /* after the draws, of which there may be too many */
    for (size_t d = 0; d < draws && s->values[param]; d++)
        for (size_t k = 0; k < size; k++)
            s->values[param][d / inner * inner * size + k * inner + d % inner] =
                node->init->mean + (deviation > 0 ? deviation * rows.data[d * size + k] : 0);
    ad_free(rows.data);
    return s->values[param] ? 0 : -1;
}

/* ---- products with operators ---- */
/* How the rows of a product (all axes of y that are not the parameter's) lie at one index of the parameter's other
 * axes. */
typedef struct {
    size_t rows, in_size, out_size;
    tp_loops pack, unpack; /* from y to (rows, in_size); from (rows, out_size) to the product */
} row_layout;

/* The rows' own axes, in y's order. */
static ad_shape row_axes(const ad_shape *y, const ad_shape *names)
{
    ad_shape axes = { 0 };
    for (int i = 0; i < y->rank; i++)
        if (!ad_has(names, y->axes[i]))
            axes.axes[axes.rank++] = y->axes[i];
    return axes;
}

static row_layout lay_out_rows(const tp_sampler *s, const ad_node *node, const ad_shape *y, const tp_revealed *f,
                               const ad_shape *names, bool transposed)
{
    const ad_shape *own = &node_at(s, f->param)->shape;
    ad_shape others = row_axes(y, names);
    int in_rank = transposed ? 1 : f->in_rank, out = transposed ? f->in[0] : f->out;
    const int *in = transposed ? &f->out : f->in;
    row_layout l = { .rows = 1, .in_size = 1, .out_size = tp_sampler_size(s, own->axes[out]) };
    for (int i = 0; i < others.rank; i++)
        l.rows *= tp_sampler_size(s, others.axes[i]);
    for (int i = 0; i < in_rank; i++)
        l.in_size *= tp_sampler_size(s, own->axes[in[i]]);
    size_t left = l.rows;
    for (int i = 0; i < others.rank; i++) {
        size_t size = tp_sampler_size(s, others.axes[i]);
        left /= size;
        tp_loops_add(&l.pack, size, tp_sampler_stride(s, y, others.axes[i]), left * l.in_size);
        tp_loops_add(&l.unpack, size, left * l.out_size, tp_sampler_stride(s, &node->shape, others.axes[i]));
    }
    left = l.in_size;
    for (int i = 0; i < in_rank; i++) {
        size_t size = tp_sampler_size(s, own->axes[in[i]]);
        left /= size;
        tp_loops_add(&l.pack, size, tp_sampler_stride(s, y, names->axes[in[i]]), left);
    }
    tp_loops_add(&l.unpack, l.out_size, 1, tp_sampler_stride(s, &node->shape, names->axes[out]));
    return l;
}

/* Where in y and in the product the operator of this number stands: an index of the parameter's other axes. */
static void find_offsets(const tp_sampler *s, const tp_revealed *f, const ad_shape *names, const ad_shape *y,
                         const ad_shape *to, int number, size_t *offset_y, size_t *offset_to)
{
    const ad_shape *own = &node_at(s, f->param)->shape;
    size_t rest = (size_t)number;
    *offset_y = *offset_to = 0;
    for (int i = f->n_others - 1; i >= 0; i--) {
        size_t size = tp_sampler_size(s, own->axes[f->others[i]]), index = rest % size;
        ad_axis name = names->axes[f->others[i]];
        rest /= size;
        *offset_y += index * tp_sampler_stride(s, y, name);
        *offset_to += index * tp_sampler_stride(s, to, name);
    }
}

static int multiply_revealed(tp_sampler *s, int id)
{
    const ad_node *node = node_at(s, id);
    int param = -1;
    ad_shape names;
    int k = tp_operator_input(s, id, &param, &names), y_id = node->in[1 - k];
    tp_revealed *f = &s->revealed[s->revealed_of[param]];
    const ad_shape *y = &node_at(s, y_id)->shape;
    bool transposed = f->matrix && ad_has(&node->over, names.axes[f->out]);
    if (f->matrix && ad_has(&node->over, names.axes[f->in[0]]) == transposed)
        return tp_sampler_refuse(s, id, "a matrix is summed over both of its widths: that is no product with a vector");
    double *to = s->values[id] = tp_sampler_numbers(s, elements(s, id), "a product with a matrix");
    row_layout l = lay_out_rows(s, node, y, f, &names, transposed);
    bool sums = false; /* over other axes of the parameter, each entry of which is an operator of its own */
    for (int i = 0; i < f->n_others; i++)
        sums = sums || ad_has(&node->over, names.axes[f->others[i]]);
    bool packs = !tp_loops_alike(&l.pack), unpacks = sums || !tp_loops_alike(&l.unpack);
    double *packed = packs ? tp_sampler_numbers(s, l.rows * l.in_size, "a vector") : NULL;
    double *result = unpacks ? tp_sampler_numbers(s, l.rows * l.out_size, "a vector") : NULL;
    int status = to && (packed || !packs) && (result || !unpacks) ? 0 : -1;
    for (int o = 0; o < f->n_operators && !status; o++) {
        size_t offset_y, offset_to;
        find_offsets(s, f, &names, y, &node->shape, o, &offset_y, &offset_to);
        const double *from = s->values[y_id] + offset_y;
        if (packs) {
            memset(packed, 0, l.rows * l.in_size * sizeof *packed);
            tp_loops_copy(&l.pack, from, packed);
        }
        if (unpacks)
            memset(result, 0, l.rows * l.out_size * sizeof *result);
        double *out = unpacks ? result : to + offset_to;
        const double *x = packs ? packed : from;
        if (f->simple) {
            tp_simple *w = &f->simple[2 * o + transposed];
            status = tp_simple_apply(w, (int)l.rows, x, out, s->error) || tp_count_simple(s, w, l.rows) ? -1 : 0;
        } else {
            int seen = f->operators[o].seen[transposed].n;
            status = tp_operator_apply(&f->operators[o], transposed, (int)l.rows, x, out, s->error) ||
                             tp_count_product(s, &f->operators[o], transposed, l.rows, seen)
                         ? -1
                         : 0;
        }
        for (size_t i = 0; i < l.rows * l.out_size; i++)
            out[i] *= f->deviation * f->keep;
        if (!status && f->changes)
            status = tp_changes_apply(f, o, transposed, l.rows, packs ? packed : from, out, s->error);
        if (unpacks)
            tp_loops_copy(&l.unpack, result, to + offset_to);
    }
    ad_free(packed);
    ad_free(result);
    return status;
}

/* ---- levels ---- */
void tp_sampler_find_levels(tp_sampler *s)
{
    const tp_program *program = s->program;
    for (int id = 0; id < program->n_nodes; id++) {
        const ad_node *node = node_at(s, id);
        int param;
        ad_shape names;
        if (!program->lives[id])
            continue;
        for (int k = 0; k < node->n_in; k++)
            s->level[id] = s->level[node->in[k]] > s->level[id] ? s->level[node->in[k]] : s->level[id];
        if (tp_operator_input(s, id, &param, &names) >= 0)
            s->level[id]++;
        if (s->cotangent && id == s->cotangent)
            s->level[id] = s->level[program->output.id] + 1;
        s->n_levels = s->level[id] >= s->n_levels ? s->level[id] + 1 : s->n_levels;
    }
    for (int id = 0; id < program->n_nodes; id++) {
        int param;
        ad_shape names;
        if (!program->lives[id])
            continue;
        bool product = tp_operator_input(s, id, &param, &names) >= 0;
        for (int k = 0; k < node_at(s, id)->n_in; k++) {
            int in = node_at(s, id)->in[k];
            s->kept[in] |= product || s->level[in] < s->level[id];
        }
    }
    for (int i = 0; i < program->n_sites + program->n_readouts; i++) {
        s->kept[program->sites[i].delta.id] = true;
        if (program->sites[i].y.graph)
            s->kept[program->sites[i].y.id] = true;
    }
    s->kept[program->output.id] |= s->cotangent > 0;
    for (int k = 0; k < s->n_also; k++)
        s->kept[s->also[k].id] = true;
    for (int id = 0; id < program->n_nodes; id++) {
        ad_shape names;
        int param = tp_peel(s->graph, id, &names);
        s->kept[id] &= program->lives[id] && !(param >= 0 && s->revealed_of[param] >= 0);
    }
}

/* All nodes of this level that are kept and not there yet, by one plan. */
static int run_level(tp_sampler *s, int level)
{
    int n = 0, n_given = 0, total = s->program->n_nodes;
    ad_graph *graph = s->program->graph;
    ad_var *outputs = ad_alloc((size_t)total, sizeof *outputs, "a level", s->error);
    ad_var *given = ad_alloc((size_t)total, sizeof *given, "a level", s->error);
    ad_plan *plan = NULL;
    int status = outputs && given ? 0 : -1;
    for (int id = 0; id < total && !status; id++) {
        if (s->values[id])
            given[n_given++] = (ad_var){ graph, id };
        else if (s->kept[id] && s->level[id] == level)
            outputs[n++] = (ad_var){ graph, id };
    }
    ad_plan_spec spec = {
        .type = AD_DOUBLE, .threads = s->threads, .capacity = s->sizes, .given = given, .n_given = n_given
    };
    if (!status && n && !(plan = ad_plan_new(outputs, n, &spec, s->error)))
        status = -1;
    for (int i = 0; i < n_given && plan; i++)
        ad_bind(plan, given[i], s->values[given[i].id]);
    if (plan)
        ad_bind(plan, nn_input(s->program->net), s->x);
    for (int i = 0; i < n && !status; i++) {
        int id = outputs[i].id;
        s->values[id] = tp_sampler_numbers(s, elements(s, id), "vectors at n = infinity");
        status = s->values[id] ? ad_bind_output(plan, i, s->values[id]) : -1;
    }
    if (plan && !status)
        status = ad_run(plan, &s->sizes, s->error);
    ad_plan_free(plan);
    ad_free(outputs);
    ad_free(given);
    return status;
}

static int set_left_out(tp_sampler *s, int level)
{
    if (!memchr(s->left_out, true, (size_t)s->program->n_nodes * sizeof *s->left_out))
        return 0;
    for (int id = 0; id < s->program->n_nodes; id++)
        if (s->left_out[id] && s->level[id] == level && !s->values[id] &&
            !(s->values[id] = tp_sampler_numbers(s, elements(s, id), "what vanishes with n")))
            return -1;
    return 0;
}

static int run_products(tp_sampler *s, int level)
{
    for (int id = 0; id < s->program->n_nodes; id++) {
        int param;
        ad_shape names;
        bool product = s->level[id] == level && tp_operator_input(s, id, &param, &names) >= 0;
        if (product && !s->left_out[id] && multiply_revealed(s, id))
            return -1;
    }
    return 0;
}

/* The backward pass starts from one output alone. */
static int seed_backward(tp_sampler *s)
{
    for (int id = s->program->forward; id < s->program->n_nodes; id++)
        if (node_at(s, id)->op == AD_DELTA && ad_has(&node_at(s, id)->shape, s->program->seed)) {
            if (!(s->values[id] = tp_sampler_numbers(s, elements(s, id), "the seed of the backward pass")))
                return -1;
            s->values[id][s->output * tp_sampler_stride(s, &node_at(s, id)->shape, nn_outputs(s->program->net))] = 1;
        }
    return 0;
}

void tp_sampler_enter(tp_sampler *s, int pass)
{
    s->x = s->passes[pass].x;
    s->output = s->passes[pass].output;
    s->values = s->passes[pass].values;
    for (int i = 0; i < s->sizes.n_batches; i++)
        s->sizes.batches[i].size = s->passes[pass].rows;
}

/* Of the masks of each row and point as many numbers are 1 / keep as there are in the mean; in a network, as they fall.
 * Rows that are run in two passes, for two outputs, have one mask. */
static int draw_masks(tp_sampler *s, int id)
{
    const nn_drop *drop = nn_drop_of(s->program->net, id);
    const ad_shape *shape = &node_at(s, id)->shape;
    ad_axis width = { 0 };
    for (int i = 0; i < shape->rank; i++)
        width = is_width(s, shape->axes[i]) ? shape->axes[i] : width;
    size_t count = elements(s, id), size = tp_sampler_size(s, width), inner = tp_sampler_stride(s, shape, width);
    uint64_t stream = ad_stream(s->x == s->passes[0].x ? "masks" : "masks of the second inputs");
    double *values = s->values[id] = tp_sampler_numbers(s, count, drop->name), u[2];
    if (!values)
        return -1;
    if (s->independent) {
        nn_draw_mask(drop, s->seed, stream, 0, count, AD_DOUBLE, values);
        return 0;
    }
    for (size_t d = 0; d < count / size; d++) {
        double *of = values + d / inner * inner * size + d % inner;
        uint64_t first = (uint64_t)d * (size + 1);
        ad_uniform(s->seed, ad_stream(drop->name) ^ stream, first, 1, u);
        size_t left = (size_t)((double)size * drop->keep + u[0]);
        for (size_t k = 0; k < size; k++) {
            ad_uniform(s->seed, ad_stream(drop->name) ^ stream, first + 1 + k, 1, u);
            bool kept = u[0] * (double)(size - k) < (double)left;
            of[k * inner] = kept ? 1 / drop->keep : 0;
            left -= kept;
        }
    }
    return 0;
}

/* What a pass starts from. */
static int begin_pass(tp_sampler *s)
{
    int input = nn_input(s->program->net).id;
    if (seed_backward(s))
        return -1;
    for (int id = 0; id < s->program->n_nodes; id++)
        if (s->program->lives[id] && s->program->keeps[id] > 0 && draw_masks(s, id))
            return -1;
    if (s->kept[input]) { /* the caller's array is not written to */
        if (!(s->values[input] = tp_sampler_numbers(s, elements(s, input), "inputs")))
            return -1;
        memcpy(s->values[input], s->x, elements(s, input) * sizeof *s->x);
    }
    return 0;
}

int tp_sampler_plan(tp_sampler *s)
{
    const tp_program *program = s->program;
    tp_sampler_enter(s, 0);
    for (int id = 0; id < program->n_nodes; id++)
        s->revealed_of[id] = -1;
    for (int id = 0; id < program->n_nodes; id++)
        if (node_at(s, id)->op == AD_PARAM && program->lives[id] && open_revealed(s, id))
            return -1;
    tp_find_meetings(s);
    tp_sampler_find_levels(s);
    return 0;
}

static int draw_params(tp_sampler *s)
{
    for (int id = 0; id < s->program->n_nodes; id++)
        if (node_at(s, id)->op == AD_PARAM && s->program->lives[id] && s->revealed_of[id] < 0 && draw_param(s, id))
            return -1;
    return 0;
}

int tp_sampler_prepare(tp_sampler *s)
{
    if (tp_sampler_plan(s))
        return -1;
    for (int k = 0; k < s->n_revealed; k++)
        if (open_operators(s, &s->revealed[k]))
            return -1;
    return draw_params(s);
}

int tp_sampler_restart(tp_sampler *s, uint64_t seed)
{
    s->seed = seed;
    for (int k = 0; k < 2 * s->program->n_nodes; k++)
        for (tp_class *c = s->classes[k]; c; c = c->next)
            tp_space_restart(&c->space, seed_of(s, c));
    for (int k = 0; k < s->n_revealed; k++)
        for (int o = 0; o < s->revealed[k].n_operators; o++)
            tp_operator_forget(&s->revealed[k].operators[o]);
    for (int id = 0; id < s->program->n_nodes; id++) {
        ad_free(s->passes[0].values[id]);
        s->passes[0].values[id] = NULL;
    }
    tp_sampler_enter(s, 0);
    return draw_params(s);
}

int tp_sampler_levels(tp_sampler *s, int from, int to)
{
    for (int level = from; level < to; level++)
        for (int pass = 0; pass < s->n_passes; pass++) {
            tp_sampler_enter(s, pass);
            if (set_left_out(s, level) || run_products(s, level) || run_level(s, level))
                return -1;
        }
    return 0;
}

int tp_sampler_begin(tp_sampler *s)
{
    for (int pass = 0; pass < s->n_passes; pass++) {
        tp_sampler_enter(s, pass);
        if (tp_count_nodes(s) || begin_pass(s))
            return -1;
    }
    return 0;
}

int tp_sampler_run(tp_sampler *s)
{
    if (tp_sampler_prepare(s))
        return -1;
    if (s->n_passes > 1)
        memcpy(s->passes[1].values, s->passes[0].values, (size_t)s->program->n_nodes * sizeof *s->values);
    return tp_sampler_begin(s) || tp_sampler_levels(s, 0, s->n_levels) ? -1 : 0;
}

static void free_operator(const tp_revealed *f, int number)
{
    if (f->operators)
        tp_operator_free(&f->operators[number]);
    for (int way = 0; f->simple && way < 2; way++)
        tp_simple_free(&f->simple[2 * number + way]);
}

void tp_sampler_close(tp_sampler *s)
{
    for (int pass = s->n_passes - 1; pass >= 0; pass--) {
        double **values = s->passes[pass].values, **first = s->passes[0].values;
        for (int id = 0; values && first && id < s->program->n_nodes; id++)
            if (pass == 0 || values[id] != first[id])
                ad_free(values[id]);
    }
    for (int k = 0; k < s->n_revealed; k++)
        for (int o = 0; o < s->revealed[k].n_operators; o++)
            free_operator(&s->revealed[k], o);
    for (int k = 0; s->classes && k < 2 * s->program->n_nodes; k++)
        for (tp_class *c = s->classes[k]; c; c = c->next)
            tp_space_free(&c->space);
    ad_arena_free(s->arena);
}

int tp_sampler_open(tp_sampler *s)
{
    size_t n = (size_t)s->program->n_nodes;
    if (!(s->arena = ad_arena_new(s->error)))
        return -1;
    s->level = ad_arena_alloc(s->arena, n, sizeof *s->level);
    s->revealed_of = ad_arena_alloc(s->arena, n, sizeof *s->revealed_of);
    s->drawn_at = ad_arena_alloc(s->arena, n, sizeof *s->drawn_at);
    s->kept = ad_arena_alloc(s->arena, n, sizeof *s->kept);
    s->left_out = ad_arena_alloc(s->arena, n, sizeof *s->left_out);
    for (int pass = 0; pass < s->n_passes; pass++)
        s->passes[pass].values = ad_arena_alloc(s->arena, n, sizeof *s->values);
    s->revealed = ad_arena_alloc(s->arena, (size_t)nn_n_params(s->program->net) + 2, sizeof *s->revealed);
    s->meets = ad_arena_alloc(s->arena, 2 * n, sizeof *s->meets);
    s->classes = ad_arena_alloc(s->arena, 2 * n, sizeof(tp_class *));
    if (s->simple && !(s->linear = ad_arena_alloc(s->arena, n, sizeof *s->linear)))
        return ad_fail(s->error, "out of memory for %zu nodes", n);
    if (s->simple && !tp_simple_holds(s->program, s->linear))
        s->linear = NULL;
    if (!s->level || !s->revealed_of || !s->drawn_at || !s->kept || !s->left_out || !s->revealed || !s->meets ||
        !s->classes || !s->passes[0].values || !s->passes[s->n_passes - 1].values)
        return ad_fail(s->error, "out of memory for %zu nodes", n);
    return 0;
}
