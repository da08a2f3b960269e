/* run.c: one run of a kernel's plan, and the panels packed from what it gives. */
#include "nn/kernel/kernel.h"

#include <string.h>

static int make_plan(nn_call *c, const ad_var *outputs, int *ids, int *places, int n, int n_checked, ad_error *error)
{
    nn_kernel_plan *p = c->plan;
    ad_plan_free(p->plan);
    ad_free(p->ids);
    ad_free(p->places);
    *p = (nn_kernel_plan){
        .ids = ids, .places = places, .n_ids = n, .n_checked = n_checked, .rows = c->tile, .seeds = c->seeds
    };
    ad_plan_spec spec = { .type = c->model->type, .threads = c->model->threads, .capacity = nn_call_sizes(c, c->tile) };
    return n && !(p->plan = nn_plan_new(c->model->net, outputs, n, &spec, error)) ? -1 : 0;
}

void nn_masks_free(struct nn_kernel *kernel)
{
    for (int k = 0; kernel->masks && kernel->masks[k]; k++)
        ad_free(kernel->masks[k]);
    ad_free(kernel->masks);
    kernel->masks = NULL;
    kernel->masks_rows = 0;
}

/* Room for the masks of as many rows as the inputs have room for, in the order of the dropouts. */
static int make_masks(nn_call *c, ad_error *error)
{
    const nn_net *net = c->model->net;
    struct nn_kernel *kernel = c->kernel;
    size_t n = 0;
    if (c->variant != 2 || kernel->masks_rows >= c->tile)
        return 0;
    nn_masks_free(kernel);
    for (const nn_drop *drop = net->drops; drop; drop = drop->next)
        n++;
    if (!(kernel->masks = ad_alloc(n + 1, sizeof *kernel->masks, "masks", error)))
        return -1;
    n = 0;
    for (const nn_drop *drop = net->drops; drop; drop = drop->next) {
        size_t count = nn_size_of(c, ad_shape_get(drop->mask), c->tile);
        if (!(kernel->masks[n++] = ad_alloc(count, nn_bytes(c->model->type), "a mask", error)))
            return -1;
    }
    kernel->masks_rows = c->tile;
    return 0;
}

/* The masks of rows first, first + 1, ... of a set, (rows, ...). */
static void draw_masks(const nn_call *c, int set, size_t first, size_t rows)
{
    int k = 0;
    for (const nn_drop *drop = c->model->net->drops; drop && c->variant == 2; drop = drop->next, k++) {
        size_t count = nn_size_of(c, ad_shape_get(drop->mask), 1);
        uint64_t stream = ad_stream(set ? "the second inputs' masks" : "the first inputs' masks");
        nn_draw_mask(drop, c->model->seed, stream, first * count, rows * count, c->model->type, c->kernel->masks[k]);
    }
}

int nn_prepare(nn_call *c, ad_error *error)
{
    const nn_net *net = c->model->net;
    struct nn_kernel *kernel = c->kernel;
    size_t capacity = (size_t)c->n_panels + (size_t)net->n_statistics + 1;
    int n = 0, n_checked = 0, *ids = ad_alloc(capacity, sizeof *ids, "a kernel", error);
    ad_var *outputs = ad_alloc(capacity, sizeof *outputs, "a kernel", error);
    int *places = ad_alloc((size_t)ad_graph_size(net->graph) + 1, sizeof *places, "a kernel", error);
    int failed = ids && outputs && places ? 0 : -1;
    for (int i = 0; i < c->n_panels && !failed; i++) {
        int id = c->panels[i].id;
        ad_op op = ad_node_of(net->graph, id)->op;
        if (c->panels[i].spare || places[id] || op == AD_INPUT || op == AD_PARAM)
            continue;
        ids[n] = id;
        places[id] = n + 1;
        outputs[n++] = (ad_var){ net->graph, id };
    }
    if (!failed && c->variant == 0)
        n_checked = nn_norm_outputs(net, outputs + n);
    for (int k = 0; k < n_checked; k++)
        ids[n + k] = outputs[n + k].id;
    n += n_checked;
    if (kernel->x_rows < c->tile && !failed) {
        ad_free(kernel->x);
        kernel->x_rows = 0;
        kernel->x = ad_alloc(c->tile * nn_features(net), nn_bytes(c->model->type), "inputs", error);
        failed = kernel->x ? 0 : -1;
        kernel->x_rows = failed ? 0 : c->tile;
    }
    failed = failed ? failed : make_masks(c, error);
    bool fits = c->plan->plan && c->plan->rows >= c->tile && c->plan->seeds >= c->seeds && c->plan->n_ids == n &&
                !failed && memcmp(c->plan->ids, ids, (size_t)n * sizeof *ids) == 0;
    if (!fits && !failed) {
        failed = make_plan(c, outputs, ids, places, n, n_checked, error);
        ids = places = NULL;
    }
    if (!failed && c->plan->plan) {
        nn_bind_params(c->model, c->plan->plan);
        ad_bind(c->plan->plan, net->input, kernel->x);
        int k = 0;
        for (const nn_drop *drop = net->drops; drop && c->variant == 2; drop = drop->next)
            ad_bind(c->plan->plan, drop->mask, kernel->masks[k++]);
    }
    ad_free(ids);
    ad_free(places);
    ad_free(outputs);
    return failed;
}

static const char *tensor_data(const nn_call *c, int id)
{
    const nn_model *model = c->model;
    if (id == model->net->input.id)
        return c->kernel->x;
    if (c->by_seeds && id == c->tangent->seed.id)
        return c->seed;
    int mask = 0;
    for (const nn_drop *drop = model->net->drops; drop && c->variant == 2; drop = drop->next, mask++)
        if (drop->mask.id == id)
            return c->kernel->masks[mask];
    bool leaf = ad_node_of(model->net->graph, id)->op == AD_PARAM;
    for (int k = 0; leaf && k < model->net->n_params + model->net->n_statistics; k++)
        if (model->net->params[k].id == id)
            return (const char *)model->values + model->offsets[k] * nn_bytes(model->type);
    return ad_output(c->plan->plan, c->plan->places[id] - 1);
}

/* Loops over axes of a tensor. */
static nn_walk walk_of(const nn_call *c, const ad_shape *axes, const ad_shape *tensor, size_t rows)
{
    nn_walk w = { .rank = axes->rank };
    for (int i = 0; i < w.rank; i++) {
        w.size[i] = nn_axis_size(c, axes->axes[i], rows);
        w.stride[i] = nn_stride(c, tensor, axes->axes[i], rows);
    }
    return w;
}

/* Where turn number `turn` of the first loops is. */
static size_t offset_of(int rank, const size_t *size, const size_t *stride, size_t turn)
{
    size_t offset = 0;
    for (int i = rank - 1; i >= 0; i--) {
        offset += turn % size[i] * stride[i]; /* NOLINT(clang-analyzer-core.DivideZero): every axis has a size */
        turn /= size[i];
    }
    return offset;
}

void nn_fill_panel(const nn_call *c, const nn_panel *p, size_t rows, char *to)
{
    const ad_shape *shape = &ad_node_of(c->model->net->graph, p->id)->shape;
    size_t bytes = nn_bytes(c->model->type), turns = nn_size_of(c, &p->sum, rows);
    const char *from = tensor_data(c, p->id);
    nn_walk w = walk_of(c, &p->order, shape, rows), sum = walk_of(c, &p->sum, shape, rows);
    size_t blocks = 1, block = 1;
    for (int i = 0; i < w.rank; i++)
        *(i < p->lead ? &blocks : &block) *= w.size[i];
    nn_walk inner = { .rank = w.rank - p->lead };
    memcpy(inner.size, w.size + p->lead, (size_t)inner.rank * sizeof *inner.size);
    memcpy(inner.stride, w.stride + p->lead, (size_t)inner.rank * sizeof *inner.stride);
    to += block * (size_t)p->turn * bytes;
    for (size_t k = 0; k < blocks; k++, to += block * (size_t)p->turns * bytes) {
        size_t start = offset_of(p->lead, w.size, w.stride, k);
        for (size_t turn = 0; turn < turns; turn++)
            nn_pack(c, &inner, from + (start + offset_of(p->sum.rank, sum.size, sum.stride, turn)) * bytes, to,
                    turn > 0);
    }
}

int nn_run(nn_call *c, int set, const double *x, size_t first, size_t rows, ad_error *error)
{
    size_t features = nn_features(c->model->net), bad = 0;
    ad_sizes sizes = nn_call_sizes(c, rows);
    ad_plan *plan = c->plan->plan;
    if (!nn_convert(x + first * features, rows * features, c->model->type, c->kernel->x, &bad))
        return ad_fail(error, "x: row %zu holds a number that is not finite", first + bad / features);
    draw_masks(c, set, first, rows);
    if (plan &&
        (ad_run(plan, &sizes, error) != 0 ||
         (c->plan->n_checked && nn_norm_check(c->model, plan, c->plan->n_ids - c->plan->n_checked, rows, error) != 0)))
        return -1;
    return 0;
}

int nn_make_work(nn_call *c, size_t total, ad_error *error)
{
    if (total <= c->kernel->work_bytes)
        return 0;
    ad_free(c->kernel->work);
    c->kernel->work_bytes = 0;
    if (!(c->kernel->work = ad_alloc(total, 1, "a kernel", error)))
        return -1;
    c->kernel->work_bytes = total;
    return 0;
}
