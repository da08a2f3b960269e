/* predict_select.c: the kernels of --grid at the ridges of --ridges, by leave-one-out, folds and likelihood. A network
 * is traced anew for each kernel; one factorization of it serves all ridges, and a Cholesky factor for each where a
 * fold is left out. */
#include "examples/limn/commands/predict.h"

#include <math.h>
#include <string.h>

enum { MAX_KERNELS = 100000 };

/* One kernel at a time. */
typedef struct {
    const prediction *base;
    selection *s;
    tp_selection spec;
    size_t rows, outputs, kernel; /* kernel: the one that is tried */
    bool coupled;                 /* rows of a batch meet: a kernel of some is no part of the kernel of all */
    size_t *folds;                /* (rows) */
    size_t *wide_folds;           /* (rows, outputs) */
    size_t *order;                /* (rows): those that train in a fold, then the others */
    double *scaled;               /* (rows, features): by the rows that train in a fold */
    double *sorted;               /* (rows, features): in that order */
    double *f;                    /* (ridges, rows, outputs) */
    double *start, *target;       /* (rows, outputs): outputs at the start, and targets without them */
    double *likelihood;           /* (ridges) */
    double *f_part, *y_part;      /* (rows, outputs): of one fold */
    double *by_fold;              /* (folds, 2): MSE and share of wrong classes */
} trial;

/* ---- the grid ---- */
/* Where the k-th value of key=value,value,... begins, and its length; NULL: there are fewer. */
static const char *value_of(const char *grid, size_t k, size_t *length)
{
    const char *at = strchr(grid, '=') + 1;
    for (; k && at; k--)
        at = (at = strchr(at, ',')) ? at + 1 : NULL;
    *length = at ? strcspn(at, ",") : 0;
    return at;
}

static size_t count_values(const char *grid)
{
    size_t count = 0, length;
    while (value_of(grid, count, &length))
        count++;
    return count;
}

/* All of all, the last key's values the fastest. */
static int open_grid(selection *s, ad_error *error)
{
    const options *o = s->o;
    size_t keys = (size_t)o->n_grid, length;
    s->kernels = 1;
    for (size_t g = 0; g < keys; g++)
        if ((s->kernels *= count_values(o->grid[g])) > MAX_KERNELS)
            return ad_fail(error, "--grid: there are more than %d kernels", MAX_KERNELS);
    s->keys = ad_arena_alloc(s->arena, keys + 1, sizeof *s->keys);
    s->values = ad_arena_alloc(s->arena, s->kernels * keys + 1, sizeof *s->values);
    s->candidates = ad_arena_alloc(s->arena, s->kernels * s->ridges, sizeof *s->candidates);
    if (!s->keys || !s->values || !s->candidates)
        return ad_fail(error, "--grid: out of memory");
    for (size_t g = 0; g < keys; g++) {
        int name = (int)strcspn(o->grid[g], "=");
        if (!(s->keys[g] = ad_arena_text(s->arena, "%.*s", name, o->grid[g])))
            return ad_fail(error, "--grid: out of memory");
    }
    for (size_t k = 0; k < s->kernels; k++)
        for (size_t g = keys, left = k; g--;) {
            size_t count = count_values(o->grid[g]);
            /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): one at least */
            const char *value = value_of(o->grid[g], left % count, &length);
            left /= count;
            if (!(s->values[k * keys + g] = ad_arena_text(s->arena, "%s=%.*s", s->keys[g], (int)length, value)))
                return ad_fail(error, "--grid: out of memory");
        }
    return 0;
}

/* The settings of a kernel beside those of --set. */
static int set_kernel(const selection *s, size_t kernel, options *o, ad_error *error)
{
    o->n_settings = s->o->n_settings;
    for (int g = 0; g < s->o->n_grid; g++) {
        if (o->n_settings == MAX_SETTINGS)
            return ad_fail(error, "--grid: there are more than %d settings", MAX_SETTINGS);
        o->settings[o->n_settings++] = s->values[kernel * (size_t)s->o->n_grid + (size_t)g];
    }
    return 0;
}

/* ---- one kernel ---- */
/* The inputs scaled by the rows that train without a fold: these in front, as ds_scale asks, and back. */
static int scale_fold(trial *t, size_t fold, ad_error *error)
{
    const ds_data *data = t->base->data;
    size_t features = data->features, bytes = features * sizeof(double), train = 0, at = 0;
    double *sorted = ad_reserve(t->rows * features, sizeof *sorted, "inputs of a fold", error);
    if (!sorted)
        return -1;
    for (int out = 0; out < 2; out++) {
        for (size_t i = 0; i < t->rows; i++)
            if ((t->folds[i] == fold) == out)
                memcpy(sorted + at++ * features, t->base->raw + i * features, bytes);
        train = out ? train : at;
    }
    ds_data view = *data;
    view.x = sorted;
    view.rows = t->rows;
    int status = ds_scale(&view, &(ds_options){ .scaling = t->base->scaling, .train = train }, error);
    at = 0;
    for (int out = 0; out < 2; out++)
        for (size_t i = 0; i < t->rows; i++)
            if ((t->folds[i] == fold) == out)
                memcpy(t->scaled + i * features, sorted + at++ * features, bytes);
    ad_free(sorted);
    return status;
}

/* A network of a width starts from its own outputs on the training inputs and those to test on. */
static int find_start(prediction *q, ad_error *error)
{
    if (!q->o->width && !q->o->weights)
        return 0;
    ad_free(q->start);
    q->start = NULL;
    return predict_open_start(q, error);
}

static void take_start(trial *t, const prediction *q)
{
    for (size_t i = 0; i < t->rows * t->outputs; i++) {
        t->start[i] = q->start ? q->start[i] : 0;
        t->target[i] = q->y[0][i] - t->start[i];
    }
}

/* The kernel of rows x that do not meet, and what the machine starts from. */
static double *find_machine(trial *t, prediction *q, const double *x, ad_error *error)
{
    q->x[0] = x;
    if (find_start(q, error))
        return NULL;
    take_start(t, q);
    return predict_train_kernel(q, t->s->o->kernel, error);
}

/* From the order of a fold to that of the rows: a kernel of `rows` of them, from the `first` on, with those that train.
 * Each has so many outputs in it. */
static void put_part(const trial *t, const double *part, size_t first, size_t rows, size_t train, double *kernel)
{
    size_t outs = t->spec.outputs, side = t->rows * outs, wide = train * outs;
    for (size_t i = 0; i < rows * outs; i++)
        for (size_t j = 0; j < wide; j++) {
            size_t row = t->order[first + i / outs] * outs + i % outs, column = t->order[j / outs] * outs + j % outs;
            kernel[row * side + column] = part[i * wide + j];
        }
}

/* Where rows meet, those that train are one batch, and the fold's another, as test inputs are. */
static double *find_batches(trial *t, prediction *q, const double *x, size_t fold, ad_error *error)
{
    size_t features = t->base->data->features, bytes = features * sizeof(double), outs = t->outputs, train = 0, at = 0;
    for (int out = 0; out < 2; out++) {
        for (size_t i = 0; i < t->rows; i++)
            if ((t->folds[i] == fold) == out)
                t->order[at++] = i;
        train = out ? train : at;
    }
    for (size_t i = 0; i < t->rows; i++)
        memcpy(t->sorted + i * features, x + t->order[i] * features, bytes);
    prediction part = *q;
    part.x[0] = t->sorted;
    part.x[1] = t->sorted + train * features;
    part.rows[0] = train;
    part.rows[1] = t->rows - train;
    part.start = NULL;
    int status = find_start(&part, error);
    q->model = part.model;
    for (size_t i = 0; i < t->rows * outs && !status; i++) {
        size_t to = t->order[i / outs] * outs + i % outs;
        t->start[to] = part.start ? part.start[i] : 0;
        t->target[to] = q->y[0][to] - t->start[to];
    }
    size_t side = t->rows * t->spec.outputs;
    double *kernel = status ? NULL : ad_alloc(side * side, sizeof *kernel, "a kernel", error);
    double *own = kernel ? predict_train_kernel(&part, t->s->o->kernel, error) : NULL;
    double *cross = own ? predict_cross_kernel(&part, t->s->o->kernel, error) : NULL;
    q->hides = part.hides;
    if (cross) {
        put_part(t, own, 0, train, train, kernel);
        put_part(t, cross, train, t->rows - train, train, kernel);
    }
    ad_free(own);
    ad_free(cross);
    ad_free(part.start);
    if (cross)
        return kernel;
    ad_free(kernel);
    return NULL;
}

/* Mean square and the share of wrong classes of outputs f at rows y. */
static void score(const trial *t, const double *f, const double *y, size_t rows, double *mse, double *wrong)
{
    tp_score told = tp_score_of(NN_SQUARE, f, y, NULL, rows, t->outputs, 0);
    *mse = 2 * told.loss;
    *wrong = t->s->classes && !isnan(told.loss) ? 1 - told.accuracy : (double)NAN;
}

/* Row by row, those of a fold alone, beside each other; returns how many. */
static size_t gather_fold(trial *t, const double *f, const double *y, size_t fold)
{
    size_t rows = 0, wide = t->outputs * sizeof(double);
    for (size_t i = 0; i < t->rows; i++)
        if (t->folds[i] == fold) {
            memcpy(t->f_part + rows * t->outputs, f + i * t->outputs, wide);
            memcpy(t->y_part + rows++ * t->outputs, y + i * t->outputs, wide);
        }
    return rows;
}

/* Mean of all rows, and the standard error of the folds' mean. */
static void score_folds(trial *t, const double *f, const double *y, candidate *c)
{
    size_t count = (size_t)t->s->o->folds;
    double folds = (double)count, mean[2] = { 0 }, square[2] = { 0 };
    for (size_t fold = 0; fold < count; fold++)
        score(t, t->f_part, t->y_part, gather_fold(t, f, y, fold), &t->by_fold[2 * fold], &t->by_fold[2 * fold + 1]);
    for (size_t k = 0; k < 2 * count; k++)
        mean[k % 2] += t->by_fold[k] / folds;
    for (size_t k = 0; k < 2 * count; k++)
        square[k % 2] += (t->by_fold[k] - mean[k % 2]) * (t->by_fold[k] - mean[k % 2]);
    score(t, f, y, t->rows, &c->cv_mse, &c->cv_error);
    c->cv_mse_se = sqrt(square[0] / (folds - 1) / folds);
    c->cv_error_se = sqrt(square[1] / (folds - 1) / folds);
}

/* Of the kernel under way so many parts are done: all rows, and a fold each. */
static void tell_progress(const trial *t, size_t parts)
{
    double of = 1 + (double)t->s->o->folds;
    progress_tell(((double)t->kernel + (double)parts / of) / (double)t->s->kernels, NULL);
}

/* Outputs of the rows of a fold, or of all (-1), from those of the machine that starts at 0. */
static void add_start(trial *t, size_t fold)
{
    size_t count = t->rows * t->outputs;
    for (size_t i = 0; i < t->s->ridges * count; i++)
        if (fold == SIZE_MAX || t->folds[i % count / t->outputs] == fold)
            t->f[i] += t->start[i % count];
}

/* What is left out is predicted fold by fold; kernel: of all rows, scaled together. */
static int try_folds(trial *t, prediction *q, const double *kernel, candidate *candidates, ad_error *error)
{
    size_t n = t->rows * t->spec.outputs, columns = t->outputs / t->spec.outputs;
    int status = 0;
    for (size_t i = 0; i < n; i++)
        t->wide_folds[i] = t->folds[i / t->spec.outputs];
    for (size_t fold = 0; fold < (size_t)t->s->o->folds && !status; fold++) {
        const double *x = t->s->scaled_by_fold ? t->scaled : t->base->x[0];
        bool anew = t->s->scaled_by_fold || t->coupled;
        double *own = NULL;
        status = t->s->scaled_by_fold ? scale_fold(t, fold, error) : 0;
        if (!status && anew)
            status = (own = t->coupled ? find_batches(t, q, x, fold, error) : find_machine(t, q, x, error)) ? 0 : -1;
        t->spec.error = q->hides;
        if (!status)
            status = tp_leave_fold_out(anew ? own : kernel, n, &t->spec, t->target, columns, t->wide_folds, fold, t->f,
                                       error);
        if (!status)
            add_start(t, fold);
        ad_free(own);
        tell_progress(t, fold + 2);
    }
    for (size_t r = 0; r < t->s->ridges && !status; r++)
        score_folds(t, t->f + r * t->rows * t->outputs, q->y[0], candidates + r);
    return status;
}

static int try_kernel(trial *t, prediction *q, candidate *candidates, ad_error *error)
{
    size_t n = t->rows * t->spec.outputs, columns = t->outputs / t->spec.outputs;
    double *kernel = find_machine(t, q, t->base->x[0], error), nothing = (double)NAN;
    t->spec.error = q->hides;
    int status = kernel ? tp_leave_one_out(kernel, n, &t->spec, t->target, columns, t->f, t->likelihood, error) : -1;
    if (!status)
        add_start(t, SIZE_MAX);
    for (size_t r = 0; r < t->s->ridges && !status; r++) {
        candidate *c = candidates + r;
        *c = (candidate){ t->s->ridge[r], nothing, nothing, nothing, nothing, nothing, nothing, t->likelihood[r] };
        if (!t->coupled)
            score(t, t->f + r * t->rows * t->outputs, q->y[0], t->rows, &c->loo_mse, &c->loo_error);
    }
    tell_progress(t, 1);
    if (!status && t->s->o->folds)
        status = try_folds(t, q, kernel, candidates, error);
    ad_free(kernel);
    return status;
}

/* What the closed form of leave-one-out supposes, and the prediction of a limit. */
static int check_machine(trial *t, const prediction *q, ad_error *error)
{
    t->coupled = ad_coupled(nn_output(q->net), nn_batch(q->net));
    t->spec.outputs = q->full ? q->outputs : 1;
    if (t->coupled && t->s->o->choose == CHOOSE_LOO)
        return ad_fail(error,
                       "%s: rows of a batch meet, so that the kernel of some is not a part of the kernel of all, and "
                       "none can be left out of it: give --folds K, whose kernels are found fold by fold",
                       q->o->network);
    return predict_check_centred(q, error);
}

static int open_trial(trial *t, size_t outputs, ad_error *error)
{
    const prediction *p = t->base;
    size_t count = t->rows * outputs, ridges = t->s->ridges, features = p->data->features;
    t->outputs = outputs;
    t->folds = ad_alloc(2 * t->rows + count, sizeof *t->folds, "folds", error);
    t->f =
        ad_alloc((ridges + 4) * count + ridges + 2 * (size_t)t->s->o->folds, sizeof *t->f, "what is predicted", error);
    if (!t->folds || !t->f)
        return -1;
    t->f_part = t->f + ridges * count;
    t->y_part = t->f_part + count;
    t->start = t->y_part + count;
    t->target = t->start + count;
    t->likelihood = t->target + count;
    t->by_fold = t->likelihood + ridges;
    if (!t->s->o->folds)
        return 0;
    t->wide_folds = t->folds + t->rows;
    t->order = t->wide_folds + count;
    if (!(t->scaled = ad_alloc(2 * t->rows * features, sizeof *t->scaled, "inputs of a fold", error)))
        return -1;
    t->sorted = t->scaled + t->rows * features;
    return tp_deal_folds(p->data->classes ? p->data->y : NULL, t->rows, (size_t)t->s->o->folds, (uint64_t)t->s->o->seed,
                         t->folds, error);
}

static int try_grid_point(trial *t, size_t kernel, ad_error *error)
{
    t->kernel = kernel;
    options o = *t->s->o;
    o.info = NULL; /* the prediction tells what became of --weights */
    prediction q = { .o = &o,
                     .data = t->base->data,
                     .x = { t->base->x[0] },
                     .rows = { t->rows },
                     .quiet = true,
                     .asked = { true, true } }; /* the best one is checked, where it predicts */
    int status =
        set_kernel(t->s, kernel, &o, error) || predict_open_limit(&q, error) || check_machine(t, &q, error) ? -1 : 0;
    if (!status && !t->f)
        status = open_trial(t, q.outputs, error);
    if (!status && q.outputs != t->outputs)
        status = ad_fail(error, "--grid: networks of %zu and of %zu outputs", t->outputs, q.outputs);
    if (!status)
        status = try_kernel(t, &q, t->s->candidates + kernel * t->s->ridges, error);
    q.data = NULL;
    predict_close(&q);
    return status;
}

/* ---- all ---- */
/* What is to be small, and what decides between equals. */
static void criterion(const selection *s, const candidate *c, double *first, double *second)
{
    bool cv = s->o->choose == CHOOSE_CV;
    *second = cv ? c->cv_mse : c->loo_mse;
    *first = !s->classes ? *second : cv ? c->cv_error : c->loo_error;
    if (s->o->choose == CHOOSE_LIKELIHOOD)
        *first = -c->likelihood;
}

size_t selection_best(const selection *s, size_t from, size_t to)
{
    size_t found = SIZE_MAX;
    double best[2] = { (double)INFINITY, (double)INFINITY };
    for (size_t i = from; i < to; i++) {
        double first, second;
        criterion(s, s->candidates + i, &first, &second);
        if (isnan(first) || first > best[0] || (!(first < best[0]) && second >= best[1]))
            continue;
        found = i;
        best[0] = first;
        best[1] = second;
    }
    return found;
}

static int find_best(selection *s, ad_error *error)
{
    s->best = selection_best(s, 0, s->kernels * s->ridges);
    if (s->best != SIZE_MAX)
        return 0;
    return ad_fail(error,
                   "no kernel can be inverted at the ridges given, the largest being %g: give larger ones, as "
                   "--ridges 1e-6:1e2",
                   s->ridge[s->ridges - 1]);
}

static int try_all(const prediction *p, selection *s, ad_error *error)
{
    trial t = { .base = p, .s = s, .rows = p->rows[0] };
    t.spec = (tp_selection){ .ridges = s->ridge,
                             .n_ridges = s->ridges,
                             .noise = fmax(0, s->o->noise),
                             .centre = s->o->centre,
                             .threads = (int)s->o->threads };
    char what[40];
    int status = 0;
    snprintf(what, sizeof what, "%zu kernel%s", s->kernels, s->kernels > 1 ? "s" : "");
    progress_begin(s->o, what);
    for (size_t k = 0; k < s->kernels && !status; k++)
        status = try_grid_point(&t, k, error);
    progress_end();
    ad_free(t.folds);
    ad_free(t.scaled);
    ad_free(t.f);
    return status;
}

selection *selection_new(const prediction *p, ad_error *error)
{
    const options *o = p->o;
    ad_arena *arena = ad_arena_new(error);
    selection *s = arena ? ad_arena_alloc(arena, 1, sizeof *s) : NULL;
    options *kept = arena ? ad_arena_alloc(arena, 1, sizeof *kept) : NULL;
    if (!s || !kept) {
        ad_fail(error, "--grid: out of memory");
        ad_arena_free(arena);
        return NULL;
    }
    *kept = *o;
    *s = (selection){ .o = kept,
                      .arena = arena,
                      .ridges = o->n_ridges ? (size_t)o->n_ridges : 1,
                      .ridge = o->n_ridges ? kept->ridges : &kept->ridge,
                      .rows = p->rows[0],
                      .classes = p->data->classes > 0,
                      .scaled_by_fold = o->folds && (p->scaling == DS_STANDARD || p->scaling == DS_PIXELWISE) };
    if (!open_grid(s, error) && !try_all(p, s, error) && !find_best(s, error))
        return s;
    selection_free(s);
    return NULL;
}

void selection_free(selection *s)
{
    if (s)
        ad_arena_free(s->arena);
}

void selection_take(const selection *s, options *o)
{
    ad_error none = { 0 };
    set_kernel(s, s->best / s->ridges, o, &none); /* it went well before */
    o->ridge = s->candidates[s->best].ridge;
}
