/* kernel.c: the empirical tangent kernel and NNGP kernel of a model, from Gram products.
 *
 * A parameter W used as u_k = contract(y_k, W) has the gradient
 *
 *     df_o(x_i)/dW = sum over k, r of y_k[i, r] (x) d_k[o, i, r],
 *
 * where d is the adjoint of u with a seed for each output, and r stands for the axes of u that neither W nor the
 * samples have: time, positions. So
 *
 *     Theta[i, j, o, o'] = sum over W, (k, r), (k', r') of <d_k[o, i, r], d_k'[o', j, r']> <y_k[i, r], y_k'[j, r']>.
 *
 * Both factors are matrix products of panels, (rows, columns) arrays packed from what one run gives; terms with the
 * same pair of d-panels are put together before that pair is multiplied out. A direct use (a bias) has no y: its d is
 * summed over r.
 *
 * Where samples meet (batch normalisation in training), r runs over the batch, too, and y knows no i any more:
 *
 *     Theta[i, j, o, o'] = sum over W, k, k' of <d_k[o, i], K d_k'[o', j]>,   K[r, r'] = <y_k[r], y_k'[r']>.
 *
 * Where none of that applies (W used transposed as well, many more pairs (r, r') than W has rows), the gradients
 * are formed, some lines of W at a time, and multiplied. Where samples meet in sums over the batch alone, the adjoints
 * of a batch with itself are taken apart, in apart.c. A batch whose seeds are too many for memory is taken seed by
 * seed, in batched.c.
 *
 * A d that is an output's factor times a sample's, x[o] s[i], as that of the last hidden layer, meets itself pair by
 * pair: <d[o, i], d[p, j]> = <x[o] x[p], s[i] s[j]>, which is the same for (p, o): half of the products.
 *
 * The NNGP kernel is the same sum over the readout's parameters alone, each times its initial variance: f is linear in
 * them, so that this is the mean of f f' over a new draw of the readout. */
#include "nn/kernel/kernel.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE_BYTES = 128 << 20, /* of the panels of one tile of samples */
    SQUARE_BYTES = 64 << 20 /* of one (rows, rows) product */
};

static void call_free(nn_call *c)
{
    if (!c)
        return;
    ad_arena_free(c->arena);
    ad_free(c);
}

void nn_kernel_free(struct nn_kernel *kernel)
{
    if (!kernel)
        return;
    call_free(kernel->last);
    for (int i = 0; i < 6; i++) {
        ad_plan_free(kernel->plans[i / 2][i % 2].plan);
        ad_free(kernel->plans[i / 2][i % 2].ids);
        ad_free(kernel->plans[i / 2][i % 2].places);
    }
    nn_masks_free(kernel);
    ad_free(kernel->x);
    ad_free(kernel->work);
    ad_free(kernel);
}

/* Runs samples and packs all panels of one side. */
static int run_tile(nn_call *c, int side, const double *x, size_t first, size_t rows, ad_error *error)
{
    if (nn_run(c, c->symmetric ? 0 : side, x, first, rows, error) != 0)
        return -1;
    for (int i = 0; i < c->n_panels; i++)
        if (!c->panels[i].spare)
            nn_fill_panel(c, &c->panels[i], rows, c->panels[i].data[side]);
    return 0;
}

/* ---- the whole kernel ---- */
/* Writes a tile's products to the result, (N, M, O, O) or (N, M). */
static void write_out(const nn_call *c, const size_t *first, const size_t *rows, bool same, size_t n_columns,
                      double *out)
{
    size_t outs = c->outs, block = outs * outs;
    double factor = c->mean ? 1 / (double)c->outputs : 1;
    if (same)
        nn_complete(c, outs * rows[0]);
    for (size_t i = 0; i < rows[0]; i++) {
        double *row = out + ((first[0] + i) * n_columns + first[1]) * block;
        nn_turn(c, rows, i, factor, row);
        for (size_t j = 0; c->symmetric && !same && j < rows[1]; j++)
            for (size_t o = 0; o < block; o++)
                out[((first[1] + j) * n_columns + first[0] + i) * block + o % outs * outs + o / outs] =
                    row[j * block + o];
    }
}

/* The rows of one run; where the seed knows its sample, they take memory in the square. */
static void choose_tile(nn_call *c)
{
    size_t bytes = nn_bytes(c->model->type), per_row = 1;
    c->tile = c->max_rows;
    if (c->model->net->variants[c->variant].mixes)
        return;
    if (c->tangent->together) {
        while (c->tile > 1 && nn_too_many_seeds(c, c->tile))
            c->tile = (c->tile + 1) / 2;
        return;
    }
    for (int i = 0; i < c->n_panels; i++)
        per_row += nn_panel_size(c, &c->panels[i], 1) * bytes;
    size_t square = (size_t)sqrt((double)SQUARE_BYTES / (double)bytes) / c->outs;
    c->tile = nn_smaller(c->max_rows, nn_smaller(square ? square : 1, TILE_BYTES / per_row + 1));
}

/* Chooses the tile, and lays out the buffers of the call. */
static int lay_out(nn_call *c, size_t rows, ad_error *error)
{
    const nn_model *model = c->model;
    size_t bytes = nn_bytes(model->type), total = 0, turns = 0, applied = 0, pairs = 0, chunk = 0;
    size_t largest = 0, longest = 0, tile = 0; /* of gradients: elements of a parameter, of a line, of a tile's lines */
    choose_tile(c);
    for (int i = 0; i < c->n_uses; i = nn_uses_end(c, i)) {
        const nn_use *u = &c->uses[i];
        size_t size = nn_size_of(c, ad_shape_get(model->net->params[u->param]), 1);
        for (int k = i; u->met && k < nn_uses_end(c, i); k++) {
            size_t n = nn_size_of(c, &c->uses[k].sum, c->tile);
            turns = n > turns ? n : turns;
            applied = u->n_rest > applied ? u->n_rest : applied;
        }
        if (u->met)
            continue;
        size_t line = size / nn_lines(c, u, nn_uses_end(c, i) - i);
        largest = size > largest ? size : largest;
        longest = line > longest ? line : longest;
    }
    applied *= c->outputs * c->tile * turns * bytes;
    c->gradient_rows = longest ? nn_smaller(c->tile, nn_gradient_bytes(c) / (c->outputs * longest * bytes) + 1) : 0;
    for (int i = 0; i < c->n_uses; i = nn_uses_end(c, i)) {
        const nn_use *u = &c->uses[i];
        int n = nn_uses_end(c, i) - i;
        size_t size = nn_size_of(c, ad_shape_get(model->net->params[u->param]), 1) / nn_lines(c, u, n);
        if (!u->met && size * nn_tile_lines(c, u, n) > tile)
            tile = size * nn_tile_lines(c, u, n);
    }
    for (int i = 0; i < c->n_panels; i++)
        if (c->panels[i].spare) {
            size_t size = nn_pairs_size(c, &c->panels[i]), columns = nn_size_of(c, &c->panels[i].order, 1) / c->outs;
            pairs = size > pairs ? size : pairs;
            chunk = columns * NN_CHUNK > chunk ? columns * NN_CHUNK : chunk;
        }
    bool once = c->symmetric && c->tile >= rows, crosses = false;
    for (int i = 0; i < c->n_terms && c->symmetric; i++)
        crosses = crosses || c->terms[i].d != c->terms[i].d2 || c->terms[i].d_at != c->terms[i].d2_at;
    crosses = crosses || c->n_turned || (c->symmetric && longest && c->gradient_rows < c->tile);
    size_t square = c->outs * c->outs * c->tile * c->tile * bytes;
    size_t gradients = c->outputs * c->gradient_rows * tile * bytes;

    struct {
        char **piece;
        size_t bytes;
    } pieces[] = { { &c->acc, square },
                   { &c->cross, crosses ? square : 0 },
                   { &c->product, square },
                   { &c->factor, c->tile * c->tile * bytes },
                   { &c->gradient[0], gradients },
                   { &c->gradient[1], gradients },
                   { &c->scratch, largest * bytes },
                   { &c->applied, applied },
                   { &c->met, turns * turns * bytes },
                   { &c->pairs, pairs * bytes },
                   { &c->chunk, chunk * bytes } };
    enum { PIECES = sizeof pieces / sizeof *pieces };
    for (int turn = 0; turn < 2; turn++) { /* first the sizes, then the places */
        total = 0;
        for (int i = 0; i < PIECES; i++) {
            *pieces[i].piece = turn && pieces[i].bytes ? c->kernel->work + total : NULL;
            total += (pieces[i].bytes + 63) / 64 * 64;
        }
        for (int i = 0; i < c->n_panels; i++)
            for (int side = 0; side < (once ? 1 : 2); side++) {
                const nn_panel *host = &c->panels[c->panels[i].host];
                c->panels[i].data[side] = host != &c->panels[i] ? host->data[side]
                                          : turn                ? c->kernel->work + total
                                                                : NULL;
                total += (nn_panel_size(c, &c->panels[i], c->tile) * bytes + 63) / 64 * 64;
            }
        if (!turn && nn_make_work(c, total, error) != 0)
            return -1;
    }
    return 0;
}

static int compute(nn_call *c, const double *x, size_t rows, const double *x2, size_t rows2, double *out,
                   ad_error *error)
{
    size_t bytes = nn_bytes(c->model->type), n_columns = c->symmetric ? rows : rows2;
    for (size_t i = 0; i < rows; i += c->tile) {
        size_t count[2] = { nn_smaller(c->tile, rows - i), 0 };
        if (run_tile(c, 0, x, i, count[0], error) != 0)
            return -1;
        for (size_t k = c->symmetric ? i : 0; k < n_columns; k += c->tile) {
            bool same = c->symmetric && k == i;
            count[1] = nn_smaller(c->tile, n_columns - k);
            if (!same && run_tile(c, 1, c->symmetric ? x : x2, k, count[1], error) != 0)
                return -1;
            size_t square = c->outs * c->outs * count[0] * count[1] * bytes;
            c->fresh = true;
            if (c->cross)
                memset(c->cross, 0, square);
            int blas_threads = ad_blas_begin(c->model->threads);
            nn_add_terms(c, count, same ? 0 : 1);
            if (c->fresh)
                memset(c->acc, 0, square);
            nn_add_gradients(c, count, same ? 0 : 1);
            nn_add_turned(c, count[0]);
            ad_blas_end(blas_threads);
            write_out(c, (size_t[]){ i, k }, count, same, n_columns, out);
        }
    }
    return 0;
}

static bool same_form(const nn_call *a, const nn_call *b)
{
    size_t params = (size_t)a->model->net->n_params;
    if (!a->counts != !b->counts || (a->counts && memcmp(a->counts, b->counts, params * sizeof *a->counts) != 0))
        return false;
    return a->variant == b->variant && a->by == b->by && a->of.id == b->of.id && a->mean == b->mean &&
           a->symmetric == b->symmetric && a->rows == b->rows && a->rows2 == b->rows2;
}

/* The weights of the parameters, 0 of those that do not count; and the call's own copy of which do. */
static int weigh(nn_call *c, ad_error *error)
{
    size_t params = (size_t)c->model->net->n_params;
    bool *counts = c->counts ? ad_arena_alloc(c->arena, params + 1, sizeof *counts) : NULL;
    if (!(c->weights = ad_arena_alloc(c->arena, params + 1, sizeof *c->weights)) || (c->counts && !counts))
        return ad_fail(error, "kernel: out of memory");
    if (nn_weigh(c->model, c->variant, c->by, c->weights, error) != 0)
        return -1;
    for (size_t k = 0; c->counts && k < params; k++) {
        counts[k] = c->counts[k];
        c->weights[k] *= counts[k];
    }
    c->counts = counts;
    return 0;
}

/* A call of the form, with its terms, its plan and its places in the work: nothing of it depends on what the inputs
 * and the parameters are. */
static nn_call *make_call(const nn_call *form, ad_error *error)
{
    nn_model *model = form->model;
    const nn_net *net = model->net;
    nn_call *c = ad_alloc(1, sizeof *c, "a kernel", error);
    if (!c)
        return NULL;
    *c = *form;
    c->plan = &model->kernel->plans[c->variant][c->by == NN_READOUT];
    c->tangent = nn_tangent_of(net, c->variant, c->of, false, error);
    c->max_rows = c->rows2 > c->rows ? c->rows2 : c->rows;
    if (!c->tangent || !(c->arena = ad_arena_new(error)))
        goto failed;
    c->outputs = nn_axis_size(c, c->tangent->outputs, 1);
    c->outs = c->mean ? 1 : c->outputs;
    if (weigh(c, error) != 0 || nn_find_terms(c, error) != 0)
        goto failed;
    bool mixes = c->tangent->together && net->variants[c->variant].mixes;
    if (mixes && nn_too_many_seeds(c, c->max_rows)) {
        if (nn_seeds_lay_out(c, error) == 0)
            return c;
        goto failed;
    }
    if (mixes && c->symmetric && nn_take_apart(c, error) != 0)
        goto failed;
    if (lay_out(c, c->rows, error) == 0 && nn_prepare(c, error) == 0)
        return c;
failed:
    call_free(c);
    return NULL;
}

/* A kernel of the same form as the one before allocates nothing. */
static nn_call *call_of(nn_model *model, nn_weighing by, const nn_kernel_part *part, size_t rows, const double *x2,
                        size_t rows2, nn_kernel_outputs outputs, ad_error *error)
{
    if (!ad_given(model, "the kernel's model", error))
        return NULL;
    const nn_net *net = model->net;
    if (rows == 0 || (x2 && rows2 == 0)) {
        ad_fail(error, "%s: kernel: no rows", nn_title(net));
        return NULL;
    }
    if (!model->kernel && !(model->kernel = ad_alloc(1, sizeof *model->kernel, "a kernel", error)))
        return NULL;
    model->free_kernel = nn_kernel_free;
    int v = model->drops && net->drops ? 2 : nn_variant_of(model, NN_TRAINING);
    if (v != 1 && (nn_norm_check_rows(model, rows, error) || (x2 && nn_norm_check_rows(model, rows2, error))))
        return NULL;
    bool vector = part && part->of.graph;
    if (vector && nn_vector_check(model, part->of, error) != 0)
        return NULL;
    const nn_call form = { .model = model,
                           .kernel = model->kernel,
                           .variant = v,
                           .by = by,
                           .of = vector ? part->of : net->variants[v].output,
                           .counts = part ? part->params : NULL,
                           .mean = outputs == NN_MEAN,
                           .symmetric = !x2,
                           .rows = rows,
                           .rows2 = x2 ? rows2 : rows };
    if (!model->kernel->last || !same_form(model->kernel->last, &form)) {
        call_free(model->kernel->last);
        if (!(model->kernel->last = make_call(&form, error)))
            return NULL;
    }
    return model->kernel->last;
}

static int kernel_of(nn_model *model, nn_weighing by, const nn_kernel_part *part, const double *x, size_t rows,
                     const double *x2, size_t rows2, nn_kernel_outputs outputs, double *out, ad_error *error)
{
    nn_call *c = call_of(model, by, part, rows, x2, rows2, outputs, error);
    if (!c || !ad_given(x, "the inputs x", error))
        return -1;
    return c->by_seeds ? nn_seeds_compute(c, x, rows, x2, rows2, out, NULL, error)
                       : compute(c, x, rows, x2, rows2, out, error);
}

int nn_kernel_cost(nn_model *model, bool nngp, const double *x, size_t rows, const double *x2, size_t rows2,
                   nn_kernel_outputs outputs, double *bytes, double *seconds, ad_error *error)
{
    nn_call *c = call_of(model, nngp ? NN_READOUT : NN_TANGENT, NULL, rows, x2, rows2, outputs, error);
    if (!c)
        return -1;
    *bytes = (double)c->kernel->work_bytes + (c->plan->plan ? (double)ad_plan_bytes(c->plan->plan) : 0) +
             (double)(c->kernel->x_rows * nn_features(model->net) * nn_bytes(model->type));
    *seconds = (double)NAN;
    return c->by_seeds ? nn_seeds_compute(c, x, rows, x2, rows2, NULL, seconds, error) : 0;
}

int nn_ntk(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, nn_kernel_outputs outputs,
           double *out, ad_error *error)
{
    return kernel_of(model, NN_TANGENT, NULL, x, rows, x2, rows2, outputs, out, error);
}

int nn_nngp(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, nn_kernel_outputs outputs,
            double *out, ad_error *error)
{
    return kernel_of(model, NN_READOUT, NULL, x, rows, x2, rows2, outputs, out, error);
}

int nn_training_kernel(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2,
                       nn_kernel_outputs outputs, double *out, ad_error *error)
{
    return kernel_of(model, NN_TRAINED, NULL, x, rows, x2, rows2, outputs, out, error);
}

int nn_ntk_part(nn_model *model, const nn_kernel_part *part, const double *x, size_t rows, const double *x2,
                size_t rows2, nn_kernel_outputs outputs, double *out, ad_error *error)
{
    return kernel_of(model, NN_TANGENT, part, x, rows, x2, rows2, outputs, out, error);
}
