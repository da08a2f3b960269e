/* sample.c: the executor at n = infinity (THEORY, the executor): the trace itself, run on samples.
 *
 * Every vector is S samples of its Z, so the trace is run at n = S, except that products with a parameter are done by
 * operators (draws.h), which are Gaussian matrices that remember what they were multiplied with. Between these products
 * a plan runs everything else, level by level: a node's level is the number of products behind it. The rule is the
 * general one, with Z dot, for any program: W with its transpose, averages over the width, gradients. */
#include "tp/executor/draws.h"
#include "tp/program/program.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { MOST_SPACES = 16, MOST_LOOPS = 2 * AD_MAX_RANK };

/* A parameter that is an operator, or one for each index of its fixed axes that are not summed together. */
typedef struct {
    int param, in_rank, n_operators;
    bool matrix; /* two widths: `in` is the first of them; else `in` is all fixed axes that are summed */
    int in[AD_MAX_RANK], out, others[AD_MAX_RANK], n_others; /* positions in the parameter's shape */
    double deviation; /* of omega, times the square root of the width `in`: the operators have entries N(0, 1/in) */
    tp_operator *operators;
} family;

typedef struct {
    const tp_program *program;
    const ad_graph *graph;
    ad_arena *arena;
    ad_error *error;
    ad_sizes sizes;
    uint64_t seed;
    int threads, n_levels;
    tp_space spaces[MOST_SPACES];
    int n_spaces;
    int *level, *family_of; /* by node; family_of a parameter: -1 if its values are drawn at once */
    bool *kept;             /* by node: its value is kept for later levels */
    double **values;        /* of the pass that is run */
    family *families;
    int n_families;
    const double *x;
    /* One pass over the trace, or one for each of two batches whose samples meet: the weights are the same. */
    int n_passes;
    struct {
        const double *x;
        size_t rows;
        double **values;
    } passes[2];
} sampler;

/* ---- looking ---- */
static const ad_node *look(const sampler *s, int id)
{
    return ad_node_of(s->graph, id);
}

static bool is_width(const sampler *s, ad_axis axis)
{
    return ad_axis_kind(s->graph, axis) == AD_WIDTH;
}

static size_t size_of(const sampler *s, ad_axis axis)
{
    return ad_axis_size(s->graph, axis, &s->sizes);
}

static int refuse(const sampler *s, int id, const char *reason)
{
    const ad_node *node = look(s, id);
    return ad_fail(s->error, "%s:%d: %s: %s", node->where.file, node->where.line, ad_op_name(node->op), reason);
}

/* The product of a node with an operator: which input is the parameter; -1 if it is none. */
static int operator_input(const sampler *s, int id, int *param, ad_shape *names)
{
    const ad_node *node = look(s, id);
    if (node->op != AD_CONTRACT || !s->program->lives[id])
        return -1;
    for (int k = 0; k < 2; k++) {
        *param = tp_peel(s->graph, node->in[k], names);
        if (*param >= 0 && s->family_of[*param] >= 0)
            return k;
    }
    return -1;
}

static double *room(const sampler *s, size_t count, const char *what)
{
    return ad_alloc(count + 1, sizeof(double), what, s->error);
}

static tp_space *space_of(sampler *s, size_t size)
{
    for (int i = 0; i < s->n_spaces; i++)
        if (s->spaces[i].basis.length == size)
            return &s->spaces[i];
    if (s->n_spaces == MOST_SPACES) {
        ad_fail(s->error, "more than %d widths of different size", MOST_SPACES);
        return NULL;
    }
    tp_space *space = &s->spaces[s->n_spaces++];
    return tp_space_new(space, size, s->seed + 977 * (uint64_t)s->n_spaces, s->error) ? NULL : space;
}

/* ---- strided copies ---- */
typedef struct {
    int rank;
    size_t size[MOST_LOOPS], from[MOST_LOOPS], to[MOST_LOOPS]; /* strides */
} loops;

static void loops_add(loops *l, size_t size, size_t from, size_t to)
{
    l->size[l->rank] = size;
    l->from[l->rank] = from;
    l->to[l->rank++] = to;
}

/* to += from. */
static void copy_level(const loops *l, int level, const double *from, double *to)
{
    if (l->rank == 0) {
        *to += *from;
        return;
    }
    size_t size = l->size[level], step = l->from[level], step_to = l->to[level];
    for (size_t i = 0; i < size; i++)
        if (level + 1 < l->rank)
            copy_level(l, level + 1, from + i * step, to + i * step_to);
        else
            to[i * step_to] += from[i * step];
}

/* Do the loops copy an array to one that lies like it? */
static bool lies_alike(const loops *l)
{
    bool alike = true;
    size_t stride = 1;
    for (int i = l->rank - 1; i >= 0; i--) {
        alike = alike && (l->size[i] == 1 || (l->from[i] == stride && l->to[i] == stride));
        stride *= l->size[i];
    }
    return alike;
}

/* The stride of an axis in a row-major array of this shape; 0 if it has not the axis. */
static size_t stride_of(const sampler *s, const ad_shape *shape, ad_axis axis)
{
    size_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (ad_same(shape->axes[i], axis))
            return stride;
        stride *= size_of(s, shape->axes[i]);
    }
    return 0;
}

static size_t elements(const sampler *s, int id)
{
    return ad_elements(s->graph, &look(s, id)->shape, &s->sizes);
}

/* ---- parameters ---- */
static double deviation_of(const sampler *s, const ad_init *init)
{
    return init->axis.id ? init->deviation * pow((double)size_of(s, init->axis), init->deviation_power)
                         : init->deviation;
}

/* Is this use one that an operator can be? in: positions of the summed axes. */
static bool fits(const sampler *s, int id, int k, int param, const ad_shape *names, int *in, int *n_in)
{
    const ad_node *node = look(s, id);
    const ad_shape *y = &look(s, node->in[1 - k])->shape, *own = &look(s, param)->shape;
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
static bool one_way(const sampler *s, int param, family *f)
{
    int in[AD_MAX_RANK], n_in, uses = 0;
    for (int id = 0; id < s->program->n_nodes; id++) {
        const ad_node *node = look(s, id);
        if (!s->program->lives[id])
            continue;
        for (int k = 0; k < node->n_in; k++) {
            ad_shape names;
            if (node->op == AD_RELABEL || node->op == AD_TRANSPOSE || tp_peel(s->graph, node->in[k], &names) != param)
                continue;
            if (node->op != AD_CONTRACT || !fits(s, id, k, param, &names, in, &n_in))
                return false;
            if (uses++ && (n_in != f->in_rank || memcmp(in, f->in, (size_t)n_in * sizeof *in) != 0))
                return false;
            f->in_rank = n_in;
            memcpy(f->in, in, sizeof in);
        }
    }
    return uses > 0;
}

static int open_family(sampler *s, int param)
{
    const ad_node *node = look(s, param);
    family f = { .param = param, .out = -1 };
    int wide[2], n_wide = 0;
    for (int i = 0; i < node->shape.rank; i++)
        if (is_width(s, node->shape.axes[i]) && n_wide < 2)
            wide[n_wide++] = i;
    if (n_wide == 0 || fabs(node->init->mean) > 0)
        return n_wide == 2 ? refuse(s, param, "a matrix whose mean is not 0 has no limit here") : 0;
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
            in_size *= size_of(s, node->shape.axes[i]);
        else if (i != f.out) {
            f.others[f.n_others++] = i;
            f.n_operators *= (int)size_of(s, node->shape.axes[i]);
        }
    }
    f.deviation = deviation_of(s, node->init) * (f.matrix ? sqrt((double)in_size) : 1);
    f.operators = ad_arena_alloc(s->arena, (size_t)f.n_operators, sizeof *f.operators);
    tp_space *out = space_of(s, size_of(s, node->shape.axes[f.out]));
    tp_space *in = f.matrix && out ? space_of(s, in_size) : NULL;
    if (!f.operators || !out || (f.matrix && !in))
        return ad_fail(s->error, "out of memory for %s", node->name);
    out = space_of(s, size_of(s, node->shape.axes[f.out]));
    for (int k = 0; k < f.n_operators; k++)
        tp_operator_new(&f.operators[k], in, in_size, out);
    s->family_of[param] = s->n_families;
    s->families[s->n_families++] = f;
    return 0;
}

/* All values of a parameter that is no operator: a draw for each index of its fixed axes. */
static int draw_param(sampler *s, int param)
{
    const ad_node *node = look(s, param);
    ad_axis width = { 0 };
    size_t count = elements(s, param), draws;
    if (!(s->values[param] = room(s, count, node->name)))
        return -1;
    for (int i = 0; i < node->shape.rank; i++)
        if (is_width(s, node->shape.axes[i]))
            width = node->shape.axes[i];
    if (!width.id)
        return ad_draw((ad_var){ s->program->graph, param }, &s->sizes, s->seed, AD_DOUBLE, s->values[param], s->error);
    size_t size = size_of(s, width), inner = stride_of(s, &node->shape, width);
    tp_space *space = space_of(s, size);
    tp_rows rows = { .length = size };
    double deviation = deviation_of(s, node->init);
    draws = count / size;
    if (!space || (deviation > 0 && tp_draw(space, (int)draws, NULL, &rows, s->error)))
        return -1;
    for (size_t d = 0; d < draws; d++)
        for (size_t k = 0; k < size; k++)
            s->values[param][d / inner * inner * size + k * inner + d % inner] =
                node->init->mean + (deviation > 0 ? deviation * rows.data[d * size + k] : 0);
    ad_free(rows.data);
    return 0;
}

/* ---- products with operators ---- */
/* The rows (all axes of y that are not the parameter's) of y at one index of the parameter's other axes. */
static int multiply(sampler *s, int id)
{
    const ad_node *node = look(s, id);
    int param = -1;
    ad_shape names;
    int k = operator_input(s, id, &param, &names), y_id = node->in[1 - k];
    family *f = &s->families[s->family_of[param]];
    const ad_shape *y = &look(s, y_id)->shape, *own = &look(s, param)->shape;
    bool transposed = f->matrix && ad_has(&node->over, names.axes[f->out]);
    if (f->matrix && ad_has(&node->over, names.axes[f->in[0]]) == transposed)
        return refuse(s, id, "a matrix is summed over both of its widths: that is no product with a vector");
    const double *from = s->values[y_id];
    double *to = s->values[id] = room(s, elements(s, id), "a product with a matrix");
    loops pack = { 0 }, unpack = { 0 };
    size_t rows = 1, in_size = 1, out_size = 1, row_axes = 0;
    ad_axis others[AD_MAX_RANK];
    for (int i = 0; i < y->rank; i++) {
        bool is_row = true;
        for (int m = 0; m < names.rank; m++)
            is_row &= !ad_same(y->axes[i], names.axes[m]);
        if (is_row) {
            others[row_axes++] = y->axes[i];
            rows *= size_of(s, y->axes[i]);
        }
    }
    int in_positions[AD_MAX_RANK], n_in = transposed ? 1 : f->in_rank, out = transposed ? f->in[0] : f->out;
    for (int i = 0; i < n_in; i++) {
        in_positions[i] = transposed ? f->out : f->in[i];
        in_size *= size_of(s, own->axes[in_positions[i]]);
    }
    out_size = size_of(s, own->axes[out]);
    size_t left = rows;
    for (size_t i = 0; i < row_axes; i++) {
        size_t size = size_of(s, others[i]);
        left /= size;
        loops_add(&pack, size, stride_of(s, y, others[i]), left * in_size);
        loops_add(&unpack, size, left * out_size, stride_of(s, &node->shape, others[i]));
    }
    left = in_size;
    for (int i = 0; i < n_in; i++) {
        size_t size = size_of(s, own->axes[in_positions[i]]);
        left /= size;
        loops_add(&pack, size, stride_of(s, y, names.axes[in_positions[i]]), left);
    }
    loops_add(&unpack, out_size, 1, stride_of(s, &node->shape, names.axes[out]));
    bool packs = !lies_alike(&pack), unpacks = !lies_alike(&unpack);
    double *packed = packs ? room(s, rows * in_size, "a vector") : NULL;
    double *result = unpacks ? room(s, rows * out_size, "a vector") : NULL;
    int status = to && (packed || !packs) && (result || !unpacks) ? 0 : -1;
    for (int o = 0; o < f->n_operators && !status; o++) {
        size_t offset_y = 0, offset_to = 0, rest = (size_t)o;
        for (int i = f->n_others - 1; i >= 0; i--) {
            size_t size = size_of(s, own->axes[f->others[i]]), index = rest % size;
            ad_axis name = names.axes[f->others[i]];
            rest /= size;
            offset_y += index * stride_of(s, y, name);
            offset_to += index * stride_of(s, &node->shape, name);
        }
        if (packs) {
            memset(packed, 0, rows * in_size * sizeof *packed);
            copy_level(&pack, 0, from + offset_y, packed);
        }
        if (unpacks)
            memset(result, 0, rows * out_size * sizeof *result);
        double *y_out = unpacks ? result : to + offset_to;
        status = tp_operator_apply(&f->operators[o], transposed, (int)rows, packs ? packed : from + offset_y, y_out,
                                   s->error);
        for (size_t i = 0; i < rows * out_size; i++)
            y_out[i] *= f->deviation;
        if (unpacks)
            copy_level(&unpack, 0, result, to + offset_to);
    }
    ad_free(packed);
    ad_free(result);
    return status;
}

/* ---- levels ---- */
static void find_levels(sampler *s)
{
    const tp_program *program = s->program;
    for (int id = 0; id < program->n_nodes; id++) {
        const ad_node *node = look(s, id);
        int param;
        ad_shape names;
        if (!program->lives[id])
            continue;
        for (int k = 0; k < node->n_in; k++)
            s->level[id] = s->level[node->in[k]] > s->level[id] ? s->level[node->in[k]] : s->level[id];
        if (operator_input(s, id, &param, &names) >= 0)
            s->level[id]++;
        s->n_levels = s->level[id] >= s->n_levels ? s->level[id] + 1 : s->n_levels;
    }
    for (int id = 0; id < program->n_nodes; id++) {
        int param;
        ad_shape names;
        if (!program->lives[id])
            continue;
        bool product = operator_input(s, id, &param, &names) >= 0;
        for (int k = 0; k < look(s, id)->n_in; k++) {
            int in = look(s, id)->in[k];
            s->kept[in] |= product || s->level[in] < s->level[id];
        }
    }
    for (int i = 0; i < program->n_sites; i++) {
        s->kept[program->sites[i].delta.id] = true;
        if (program->sites[i].y.graph)
            s->kept[program->sites[i].y.id] = true;
    }
    for (int id = 0; id < program->n_nodes; id++) {
        ad_shape names;
        int param = tp_peel(s->graph, id, &names);
        s->kept[id] &= program->lives[id] && !(param >= 0 && s->family_of[param] >= 0);
    }
}

/* All nodes of this level that are kept and not there yet, by one plan. */
static int run_level(sampler *s, int level)
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
        s->values[id] = room(s, elements(s, id), "vectors at n = infinity");
        status = s->values[id] ? ad_bind_output(plan, i, s->values[id]) : -1;
    }
    if (plan && !status)
        status = ad_run(plan, &s->sizes, s->error);
    ad_plan_free(plan);
    ad_free(outputs);
    ad_free(given);
    return status;
}

static int run_products(sampler *s, int level)
{
    for (int id = 0; id < s->program->n_nodes; id++) {
        int param;
        ad_shape names;
        if (s->level[id] == level && operator_input(s, id, &param, &names) >= 0 && multiply(s, id))
            return -1;
    }
    return 0;
}

/* The backward pass starts from the first output alone: equal outputs have equal limits. */
static int seed_backward(sampler *s)
{
    for (int id = s->program->forward; id < s->program->n_nodes; id++)
        if (look(s, id)->op == AD_DELTA && ad_has(&look(s, id)->shape, s->program->seed)) {
            if (!(s->values[id] = room(s, elements(s, id), "the seed of the backward pass")))
                return -1;
            s->values[id][0] = 1;
        }
    return 0;
}

static void enter_pass(sampler *s, int pass)
{
    s->x = s->passes[pass].x;
    s->values = s->passes[pass].values;
    for (int i = 0; i < s->sizes.n_batches; i++)
        s->sizes.batches[i].size = s->passes[pass].rows;
}

/* What a pass starts from. */
static int begin_pass(sampler *s)
{
    int input = nn_input(s->program->net).id;
    if (seed_backward(s))
        return -1;
    if (s->kept[input]) { /* the caller's array is not written to */
        if (!(s->values[input] = room(s, elements(s, input), "inputs")))
            return -1;
        memcpy(s->values[input], s->x, elements(s, input) * sizeof *s->x);
    }
    return 0;
}

static int run_all(sampler *s)
{
    const tp_program *program = s->program;
    enter_pass(s, 0);
    for (int id = 0; id < program->n_nodes; id++)
        s->family_of[id] = -1;
    for (int id = 0; id < program->n_nodes; id++)
        if (look(s, id)->op == AD_PARAM && program->lives[id] && open_family(s, id))
            return -1;
    for (int id = 0; id < program->n_nodes; id++)
        if (look(s, id)->op == AD_PARAM && program->lives[id] && s->family_of[id] < 0 && draw_param(s, id))
            return -1;
    if (s->n_passes > 1)
        memcpy(s->passes[1].values, s->passes[0].values, (size_t)program->n_nodes * sizeof *s->values);
    find_levels(s);
    for (int pass = 0; pass < s->n_passes; pass++) {
        enter_pass(s, pass);
        if (begin_pass(s))
            return -1;
    }
    for (int level = 0; level < s->n_levels; level++)
        for (int pass = 0; pass < s->n_passes; pass++) {
            enter_pass(s, pass);
            if (run_products(s, level) || run_level(s, level))
                return -1;
        }
    return 0;
}

static void release(sampler *s)
{
    for (int pass = s->n_passes - 1; pass >= 0; pass--) {
        double **values = s->passes[pass].values, **first = s->passes[0].values;
        for (int id = 0; values && first && id < s->program->n_nodes; id++)
            if (pass == 0 || values[id] != first[id])
                ad_free(values[id]);
    }
    for (int k = 0; k < s->n_families; k++)
        for (int o = 0; o < s->families[k].n_operators; o++)
            tp_operator_free(&s->families[k].operators[o]);
    for (int k = 0; k < s->n_spaces; k++)
        tp_space_free(&s->spaces[k]);
    ad_arena_free(s->arena);
}

static int open_sampler(sampler *s)
{
    size_t n = (size_t)s->program->n_nodes;
    if (!(s->arena = ad_arena_new(s->error)))
        return -1;
    s->level = ad_arena_alloc(s->arena, n, sizeof *s->level);
    s->family_of = ad_arena_alloc(s->arena, n, sizeof *s->family_of);
    s->kept = ad_arena_alloc(s->arena, n, sizeof *s->kept);
    for (int pass = 0; pass < s->n_passes; pass++)
        s->passes[pass].values = ad_arena_alloc(s->arena, n, sizeof *s->values);
    s->families = ad_arena_alloc(s->arena, (size_t)nn_n_params(s->program->net) + 1, sizeof *s->families);
    if (!s->level || !s->family_of || !s->kept || !s->families || !s->passes[0].values ||
        !s->passes[s->n_passes - 1].values)
        return ad_fail(s->error, "out of memory for %zu nodes", n);
    return 0;
}

/* ---- kernels ---- */
/* The axis of the kernel's samples: where they meet, a site's own samples are summed over like any of its axes. */
static ad_axis row_axis(const sampler *s)
{
    return s->program->coupled ? s->program->sample : nn_batch(s->program->net);
}

/* The axes of a site beyond the kernel's samples, the seed and the parameter's: time, positions. */
static ad_shape free_axes(const sampler *s, const ad_site *site)
{
    ad_shape axes = { 0 };
    const ad_shape *shapes[2] = { ad_shape_get(site->delta), ad_shape_get(site->y.graph ? site->y : site->delta) };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < shapes[k]->rank; i++) {
            ad_axis axis = shapes[k]->axes[i];
            if (!ad_has(ad_shape_get(site->param), axis) && !ad_has(&axes, axis) && !ad_same(axis, s->program->seed) &&
                !ad_same(axis, row_axis(s)))
                axes.axes[axes.rank++] = axis;
        }
    return axes;
}

/* A factor of a site, y or delta, as (points of its free axes, samples, the parameter's axes `over`), row-major; *copy,
 * to be freed, where it does not lie like this already. */
static const double *factor_rows(const sampler *s, ad_var x, const ad_shape *free, const ad_shape *over, size_t *length,
                                 double **copy)
{
    ad_axis batch = row_axis(s);
    const ad_shape *shape = ad_shape_get(x);
    loops l = { 0 };
    size_t total = size_of(s, batch);
    *length = 1;
    for (int i = 0; i < over->rank; i++)
        *length *= size_of(s, over->axes[i]);
    for (int i = 0; i < free->rank; i++)
        total *= size_of(s, free->axes[i]);
    size_t left = total * *length;
    for (int i = 0; i < free->rank; i++) {
        left /= size_of(s, free->axes[i]);
        loops_add(&l, size_of(s, free->axes[i]), stride_of(s, shape, free->axes[i]), left);
    }
    loops_add(&l, size_of(s, batch), stride_of(s, shape, batch), *length);
    left = *length;
    for (int i = 0; i < over->rank; i++) {
        left /= size_of(s, over->axes[i]);
        loops_add(&l, size_of(s, over->axes[i]), stride_of(s, shape, over->axes[i]), left);
    }
    if (lies_alike(&l))
        return s->values[x.id];
    *copy = room(s, total * *length, "the sites of a kernel");
    if (*copy)
        copy_level(&l, 0, s->values[x.id], *copy);
    return *copy;
}

/* A site's two factors: rows over the axes that met y, and over the rest. NULL y: 1. */
typedef struct {
    const double *y, *delta;
    double *copy_y, *copy_delta;
    ad_shape over, rest;
    size_t y_length, delta_length, points;
} factors;

static int take_factors(const sampler *s, const ad_site *site, factors *f)
{
    const ad_shape *w = ad_shape_get(site->param);
    ad_shape free = free_axes(s, site);
    *f = (factors){ .points = 1 };
    for (int i = 0; i < w->rank; i++) {
        bool meets = site->y.graph && ad_has(&site->over, w->axes[i]);
        ad_shape *to = meets ? &f->over : &f->rest;
        to->axes[to->rank++] = w->axes[i];
        if (site->y.graph && !meets && ad_has(ad_shape_get(site->y), w->axes[i]))
            return refuse(s, site->delta.id, "a parameter that stays aligned with its argument has no sampled kernel");
    }
    for (int i = 0; i < free.rank; i++)
        f->points *= size_of(s, free.axes[i]);
    f->delta = factor_rows(s, site->delta, &free, &f->rest, &f->delta_length, &f->copy_delta);
    if (site->y.graph)
        f->y = factor_rows(s, site->y, &free, &f->over, &f->y_length, &f->copy_y);
    return f->delta && (f->y || !site->y.graph) ? 0 : -1;
}

typedef struct {
    size_t first, rows, second, rows2; /* the rows that are the first and the second inputs, */
    size_t total, total2;              /* of so many in their passes */
    double *gram[2];
} kernel_frame;

static void gram(const kernel_frame *k, int which, const double *a, const double *b, size_t length, size_t p, size_t q)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)k->rows, (int)k->rows2, (int)length, 1,
                a + (p * k->total + k->first) * length, (int)length, b + (q * k->total2 + k->second) * length,
                (int)length, 0, k->gram[which], (int)k->rows2);
}

static bool same_axes(const ad_shape *a, const ad_shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = ad_has(b, a->axes[i]);
    return same;
}

/* weight <delta, delta'> <y, y'> of two sites of one parameter; where one uses W and the other its transpose, y meets
 * delta'. */
static int add_pair(const sampler *s, const kernel_frame *k, const ad_site *site, const factors *a, const factors *b,
                    double weight, double *out)
{
    bool alike = same_axes(&a->over, &b->over), crossed = same_axes(&a->over, &b->rest) && a->y && b->y;
    if (!alike && !crossed)
        return refuse(s, site->delta.id, "two uses of a parameter over different axes have no sampled kernel");
    const double *b_delta = alike ? b->delta : b->y, *b_y = alike ? b->y : b->delta;
    for (size_t p = 0; p < a->points; p++)
        for (size_t q = 0; q < b->points; q++) {
            gram(k, 0, a->delta, b_delta, a->delta_length, p, q);
            if (a->y)
                gram(k, 1, a->y, b_y, a->y_length, p, q);
            for (size_t i = 0; i < k->rows * k->rows2; i++)
                out[i] += weight * k->gram[0][i] * (a->y ? k->gram[1][i] : 1);
        }
    return 0;
}

/* The factors of all sites of a parameter, in one pass. */
static int take_all(sampler *s, int pass, int param, factors *all)
{
    enter_pass(s, pass);
    for (int i = 0; i < s->program->n_sites; i++)
        if (s->program->sites[i].param.id == param && take_factors(s, &s->program->sites[i], &all[i]))
            return -1;
    return 0;
}

static int sum_sites(sampler *s, tp_kernel_kind which, const kernel_frame *k, double *out)
{
    const tp_program *program = s->program;
    const nn_net *net = program->net;
    size_t n = (size_t)program->n_sites;
    double *weights = room(s, (size_t)nn_n_params(net), "weights");
    factors *all = ad_alloc(2 * n + 1, sizeof *all, "sites", s->error), *second = all + (s->n_passes > 1 ? n : 0);
    int status = !weights || !all || (which == TP_NNGP && nn_readout_variances(net, &s->sizes, weights, s->error));
    for (int p = 0; p < nn_n_params(net) && !status; p++) {
        double weight = which == TP_NNGP ? weights[p] : 1;
        int param = nn_param(net, p).id;
        if (!(weight > 0))
            continue;
        for (int pass = 0; pass < s->n_passes && !status; pass++)
            status = take_all(s, pass, param, pass ? second : all);
        for (int i = 0; i < program->n_sites; i++)
            for (int j = 0; j < program->n_sites && !status; j++)
                if (program->sites[i].param.id == param && program->sites[j].param.id == param)
                    status = add_pair(s, k, &program->sites[i], &all[i], &second[j], weight, out);
        for (size_t i = 0; i < 2 * n; i++) {
            ad_free(all[i].copy_y);
            ad_free(all[i].copy_delta);
            all[i] = (factors){ 0 };
        }
    }
    ad_free(weights);
    ad_free(all);
    return status ? -1 : 0;
}

int tp_sample_once(const tp_program *program, tp_kernel_kind which, size_t samples, uint64_t seed, int threads,
                   const double *x, size_t rows, const double *x2, size_t rows2, double *out, ad_error *error)
{
    size_t features = nn_features(program->net), columns = x2 ? rows2 : rows;
    sampler s = { .program = program,
                  .graph = program->graph,
                  .error = error,
                  .seed = seed,
                  .n_passes = 1,
                  .threads = threads > 0 ? threads : 1,
                  .sizes = { .n = samples, .n_batches = 1 } };
    kernel_frame k = { .rows = rows, .rows2 = columns, .total = rows, .total2 = columns };
    s.sizes.batches[0].axis = nn_batch(program->net);
    s.passes[0].x = x;
    s.passes[0].rows = rows;
    double *both = NULL;
    int status = 0;
    if (program->coupled) {
        s.sizes.batches[s.sizes.n_batches++].axis = program->sample;
        s.passes[1].x = x2;
        s.passes[1].rows = rows2;
        s.n_passes = x2 ? 2 : 1;
    } else if (x2) { /* both as one batch */
        k.second = rows;
        k.total = k.total2 = s.passes[0].rows = rows + rows2;
        s.passes[0].x = both = room(&s, (rows + rows2) * features, "inputs");
        status = both ? 0 : -1;
        if (both) {
            memcpy(both, x, rows * features * sizeof *x);
            memcpy(both + rows * features, x2, rows2 * features * sizeof *x2);
        }
    }
    if (!status)
        status = open_sampler(&s);
    if (!status)
        status = run_all(&s);
    for (int i = 0; i < 2; i++)
        k.gram[i] = room(&s, rows * columns, "a kernel");
    memset(out, 0, rows * columns * sizeof *out);
    if (!status)
        status = k.gram[0] && k.gram[1] ? sum_sites(&s, which, &k, out) : -1;
    ad_free(k.gram[0]);
    ad_free(k.gram[1]);
    ad_free(both);
    release(&s);
    return status;
}
