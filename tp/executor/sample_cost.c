/* sample_cost.c: what a run on samples needs, read off the trace: memory, draws, operations; and runs that are too
 * large for either, tile by tile of pairs of rows, for a kernel's entry depends on its two rows alone. */
#include "tp/executor/sampler.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

/* The rows that an operator takes in one product: all axes of y that are not the parameter's. */
static double product_rows(const tp_sampler *s, int y, const ad_shape *names)
{
    const ad_shape *shape = &ad_node_of(s->graph, y)->shape;
    double rows = 1;
    for (int i = 0; i < shape->rank; i++)
        if (!ad_has(names, shape->axes[i]))
            rows *= (double)tp_sampler_size(s, shape->axes[i]);
    return rows;
}

/* Directions that each operator may see in each of its two ways: its rows, or of fixed axes as many as they are. */
static void count_directions(const tp_sampler *s, double *seen)
{
    for (int id = 0; id < s->program->n_nodes; id++) {
        int param;
        ad_shape names;
        int k = tp_operator_input(s, id, &param, &names);
        if (k < 0)
            continue;
        const tp_revealed *f = &s->revealed[s->revealed_of[param]];
        const ad_node *node = ad_node_of(s->graph, id);
        bool transposed = f->matrix && ad_has(&node->over, names.axes[f->out]);
        double *n = &seen[2 * s->revealed_of[param] + transposed];
        *n += product_rows(s, node->in[1 - k], &names);
        if (!f->matrix)
            *n = fmin(*n, (double)f->in_size);
    }
}

/* Draws of the largest class of what meets. */
static double most_draws(const tp_sampler *s, const double *seen, double *classes)
{
    double most = 0;
    for (int k = 0; k < s->n_revealed; k++) {
        const tp_revealed *f = &s->revealed[k];
        for (int way = 0; way < 1 + f->matrix; way++)
            classes[tp_meeting_of(s, way ? tp_meeting_in(f->param) : tp_meeting_out(f->param))] +=
                seen[2 * k + way] * f->n_operators;
    }
    for (int id = 0; id < s->program->n_nodes; id++) {
        const ad_node *node = ad_node_of(s->graph, id);
        if (node->op == AD_PARAM && s->program->lives[id] && s->revealed_of[id] < 0 && s->program->widths[id])
            classes[tp_meeting_of(s, tp_meeting_out(id))] +=
                (double)ad_elements(s->graph, &node->shape, &s->sizes) / (double)s->sizes.n;
    }
    for (int i = 0; i < 2 * s->program->n_nodes; i++)
        most = fmax(most, classes[i]);
    return most;
}

static void sum_operators(const tp_sampler *s, const double *seen, tp_sample_cost *cost)
{
    double samples = (double)s->sizes.n;
    for (int k = 0; k < s->n_revealed; k++)
        for (int way = 0; way < 2; way++) {
            double n = seen[2 * k + way], each = (double)s->revealed[k].n_operators;
            double in = s->revealed[k].matrix ? samples : (double)s->revealed[k].in_size;
            cost->bytes += each * 8 * n * (in + samples + n);
            /* by the simple rules covariances and draws, n^2 / 2 of each; else projections, each twice, and draws */
            cost->products += each * (s->linear ? 1 : 8) * n * n * samples;
        }
}

static void sum_values(const tp_sampler *s, double *levels, tp_sample_cost *cost)
{
    double most = 0;
    for (int id = 0; id < s->program->n_nodes; id++) {
        const ad_node *node = ad_node_of(s->graph, id);
        ad_shape names;
        if (!s->program->lives[id] || tp_peel(s->graph, id, &names) >= 0)
            continue;
        double count = (double)ad_elements(s->graph, &node->shape, &s->sizes);
        cost->elements += count;
        *(s->kept[id] ? &cost->bytes : &levels[s->level[id]]) += 8 * count;
    }
    for (int level = 0; level < s->n_levels; level++)
        most = fmax(most, levels[level]);
    cost->bytes += most;
}

int tp_sample_needs(const tp_program *program, const tp_sampling *spec, size_t rows, tp_sample_cost *cost,
                    ad_error *error)
{
    tp_sampler s = { .program = program,
                     .graph = program->graph,
                     .error = error,
                     .simple = spec->simple,
                     .n_passes = 1,
                     .threads = 1,
                     .sizes = { .n = spec->samples, .n_batches = 1 },
                     .passes = { { .rows = rows } } };
    s.sizes.batches[0].axis = nn_batch(program->net);
    if (program->coupled)
        s.sizes.batches[s.sizes.n_batches++].axis = program->sample;
    *cost = (tp_sample_cost){ 0 };
    size_t nodes = (size_t)program->n_nodes;
    double *memory = NULL;
    int status = tp_sampler_open(&s) || tp_sampler_plan(&s) ? -1 : 0;
    if (!status && !(memory = ad_alloc(5 * nodes + 1, sizeof *memory, "the cost of samples", error)))
        status = -1;
    if (!status) {
        count_directions(&s, memory);
        cost->draws = most_draws(&s, memory, memory + 2 * nodes);
        sum_operators(&s, memory, cost);
        sum_values(&s, memory + 4 * nodes, cost);
        cost->simple = s.linear != NULL;
    }
    ad_free(memory);
    tp_sampler_close(&s);
    return status;
}

static bool fits(const tp_sampling *spec, const tp_sample_cost *cost)
{
    const double most_bytes = 2147483648.0;
    return cost->bytes <= most_bytes && (cost->simple || 2 * (cost->draws + 1) <= (double)spec->samples);
}

size_t tp_sample_tile(const tp_program *program, const tp_sampling *spec, size_t rows, ad_error *error)
{
    tp_sample_cost cost;
    size_t low = 1, high = rows;
    if (tp_sample_needs(program, spec, rows, &cost, error))
        return 0;
    if (program->meets || fits(spec, &cost))
        return rows;
    while (high - low > 1) { /* `low` rows fit, or are one; `high` do not */
        size_t middle = low + (high - low) / 2;
        if (tp_sample_needs(program, spec, middle, &cost, error))
            return 0;
        *(fits(spec, &cost) ? &low : &high) = middle;
    }
    return low < 2 ? 1 : low / 2; /* a tile has two blocks of rows */
}

int tp_sample_tiles(const tp_program *program, tp_kernel_kind which, const tp_sampling *spec, size_t block,
                    const double *x, size_t rows, const double *x2, size_t rows2, double *out, ad_error *error)
{
    size_t features = nn_features(program->net), columns = x2 ? rows2 : rows;
    bool same = !x2 && spec->output == spec->output2;
    const double *y = x2 ? x2 : x;
    if (block >= rows + (x2 ? rows2 : 0) || (same && block >= rows))
        return tp_sample_once(program, which, spec, x, rows, x2, rows2, out, error);
    double *one = ad_alloc(block * block, sizeof *one, "a tile", error);
    int status = one ? 0 : -1;
    for (size_t i = 0; i < rows && !status; i += block)
        for (size_t j = same ? i : 0; j < columns && !status; j += block) {
            size_t m = rows - i < block ? rows - i : block, n = columns - j < block ? columns - j : block;
            bool own = same && i == j;
            status = tp_sample_once(program, which, spec, x + i * features, m, own ? NULL : y + j * features,
                                    own ? 0 : n, one, error);
            for (size_t k = 0; k < m * n && !status; k++) {
                out[(i + k / n) * columns + j + k % n] = one[k];
                if (same)
                    out[(j + k % n) * columns + i + k / n] = one[k];
            }
        }
    ad_free(one);
    return status;
}
