/* learning.c: feature learning: a small training at n = infinity (tp/training.h) beside the same of networks, and
 * beside what the kernel at the start would say of it if it stayed what it is. */
#include "examples/limn/report/learning.h"

#include <math.h>
#include <string.h>

enum {
    ROWS = 16,
    STEPS = 20,
    SAMPLES = 4096,
    RUNS = 3,
    DECADE = 4, /* points a decade of steps */
    FEWEST_STEPS = 5,
    SOME_ROWS = 8,
    FEWEST_ROWS = 2,
    LONGEST = 20, /* seconds of a run: for longer ones fewer rows and steps are taken */
    POWER_STEPS = 200,
};
static const double share = 0.25, operations_a_second = 1e10;

/* The largest eigenvalue of a kernel of positive diagonal (n, n). */
static double largest_eigenvalue(const double *kernel, size_t n)
{
    double v[ROWS], image[ROWS], size = 0;
    for (size_t i = 0; i < n; i++)
        v[i] = kernel[i * n + i];
    for (int step = 0; step < POWER_STEPS; step++) {
        size = 0;
        for (size_t i = 0; i < n; i++) {
            image[i] = 0;
            for (size_t j = 0; j < n; j++)
                image[i] += kernel[i * n + j] * v[j];
            size += image[i] * image[i];
        }
        size = sqrt(size);
        for (size_t i = 0; i < n; i++)
            v[i] = image[i] / size;
    }
    return size;
}

/* As many rows and steps as end soon; the rate is a share of the largest at which the first kernel's descent is
 * stable. */
static int settle(const report *r, report_learning *l, ad_error *error)
{
    double kernel[ROWS * ROWS];
    tp_train_cost cost;
    size_t rows = r->trained < r->probes ? r->trained : r->probes;
    l->rows = rows < ROWS ? rows : ROWS;
    l->steps = STEPS;
    for (;;) {
        nn_data data = { r->data->x, r->data->y, l->rows, r->data->classes };
        for (size_t i = 0; i < l->rows; i++)
            memcpy(kernel + i * l->rows, r->limit + i * r->probes, l->rows * sizeof *kernel);
        l->spec = (tp_train_spec){ .fit = { .loss = NN_SQUARE,
                                            .optimizer = NN_SGD,
                                            .rate = share * 2 * (double)l->rows / largest_eigenvalue(kernel, l->rows),
                                            .steps = l->steps,
                                            .seed = (uint64_t)r->o->seed },
                                   .samples = SAMPLES,
                                   .runs = RUNS,
                                   .threads = (int)r->o->threads,
                                   .schedule = NN_LOG_STEPS,
                                   .every = DECADE,
                                   .probes = l->rows };
        if (tp_train_estimate(r->program, &data, NULL, &l->spec, &cost, error))
            return -1;
        if (cost.bytes <= 0) {
            l->kernel_regime = true;
            return 0;
        }
        double over = fmax(cost.operations / (LONGEST * operations_a_second), 2 * cost.draws / SAMPLES);
        if (over <= 1)
            return 0;
        long fewer = (long)((double)l->steps / over);
        if (l->rows > SOME_ROWS)
            l->rows /= 2;
        else if (l->steps > FEWEST_STEPS)
            l->steps = fewer > FEWEST_STEPS ? fewer : FEWEST_STEPS;
        else if (l->rows > FEWEST_ROWS)
            l->rows = l->rows / 2 > FEWEST_ROWS ? l->rows / 2 : FEWEST_ROWS;
        else
            return ad_fail(error, "%ld steps of %zu inputs would take more than %d seconds a run, or %d samples",
                           l->steps, l->rows, LONGEST, SAMPLES);
    }
}

/* Outputs (rows, outputs) and their loss at the recorded steps by gradient descent with the kernel of the start. */
static int descend(const report *r, report_learning *l, ad_error *error)
{
    const tp_trained *run = &l->run;
    size_t outputs = run->outputs, rows = l->rows, count = rows * outputs;
    double *slope = ad_alloc(count, sizeof *slope, "a descent", error);
    int at = 0;
    if (!slope)
        return -1;
    for (long step = 0; step <= l->steps; step++) {
        double loss = 0;
        for (size_t i = 0; i < count; i++) {
            size_t row = i / outputs, output = i % outputs;
            double y = r->data->classes ? (double)((size_t)r->data->y[row] == output) : r->data->y[i];
            slope[i] = (l->frozen[i] - y) / (double)rows;
            loss += (l->frozen[i] - y) * slope[i] / 2;
        }
        if (step == run->rows[at].step)
            l->frozen_loss[at++] = loss;
        for (size_t i = 0; i < count && step < l->steps; i++)
            for (size_t j = 0; j < rows; j++)
                l->frozen[i] -=
                    l->spec.fit.rate * run->rows[0].kernel[i / outputs * rows + j] * slope[j * outputs + i % outputs];
    }
    ad_free(slope);
    return 0;
}

/* A parameter with the outputs' axis and one width. */
static bool reads_out(const nn_net *net, int k)
{
    const ad_shape *shape = ad_shape_get(nn_param(net, k));
    int widths = 0, outputs = 0;
    for (int i = 0; i < shape->rank; i++) {
        widths += ad_axis_kind(nn_graph(net), shape->axes[i]) == AD_WIDTH;
        outputs += ad_same(shape->axes[i], nn_outputs(net));
    }
    return widths == 1 && outputs == 1;
}

/* Which parameters are readouts, and the power of n of their rates. */
static int find_readouts(const nn_net *net, report_learning *l, ad_error *error)
{
    size_t n = (size_t)nn_n_params(net) + 1;
    double *powers = ad_alloc(n, sizeof *powers, "the report", error);
    l->readouts = ad_alloc(n, sizeof *l->readouts, "the report", error);
    int status = powers && l->readouts ? nn_rate_powers(net, NN_SGD, powers, error) : -1;
    for (int k = 0; k < nn_n_params(net) && !status; k++) {
        l->readouts[k] = reads_out(net, k);
        l->rate_power = l->readouts[k] ? powers[k] : l->rate_power;
    }
    ad_free(powers);
    return status;
}

/* |a - b| / |unit| */
static double relative(const double *a, const double *b, const double *unit, size_t count)
{
    double sum = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
        size += unit[i] * unit[i];
    }
    return sqrt(sum / size);
}

static int learn(report *r, report_learning *l, ad_error *error)
{
    if (settle(r, l, error))
        return -1;
    if (l->kernel_regime)
        return 0;
    nn_data data = { r->data->x, r->data->y, l->rows, r->data->classes };
    if (tp_train(r->program, &data, NULL, &l->spec, &l->run, error))
        return -1;
    if (l->run.n_rows > MAX_POINTS)
        return ad_fail(error, "more than %d measurements in one fit", MAX_POINTS);
    size_t count = l->rows * l->run.outputs;
    l->frozen = ad_alloc(count, sizeof *l->frozen, "the report", error);
    l->losses = ad_alloc((size_t)r->n_columns * (size_t)l->run.n_rows, sizeof *l->losses, "the report", error);
    if (!l->frozen || !l->losses || find_readouts(r->net, l, error))
        return -1;
    if (descend(r, l, error))
        return -1;
    const double *f = l->run.rows[l->run.n_rows - 1].f;
    l->apart = relative(l->frozen, f, f, count);
    return 0;
}

void report_learn(report *r)
{
    ad_error refusal = { 0 };
    r->learning = ad_alloc(1, sizeof *r->learning, "the report", &refusal);
    int status = r->learning ? 0 : -1;
    if (!status && !outputs_share_a_kernel(r->program, true))
        status = ad_fail(&refusal, "the outputs are not alike, or depend on each other");
    if (!status)
        status = learn(r, r->learning, &refusal);
    if (!status && !r->learning->kernel_regime)
        return;
    report_learning_free(r->learning);
    r->learning = NULL;
    if (status && r->o->scale != NN_NTK)
        snprintf(r->no_learning, sizeof r->no_learning, "No training at n = ∞ is laid beside: %.500s.", refusal.text);
}

void report_learning_free(report_learning *l)
{
    if (!l)
        return;
    tp_trained_free(&l->run);
    ad_free(l->frozen);
    ad_free(l->losses);
    ad_free(l->readouts);
    ad_free(l);
}

/* ---- networks ---- */
typedef struct {
    report_learning *l;
    double *losses;
    double weight;
    int at;
} trail;

static int keep_loss(const nn_drift_row *row, void *context, ad_error *error)
{
    trail *t = context;
    (void)error;
    if (t->at < t->l->run.n_rows)
        t->losses[t->at++] += row->loss * t->weight;
    return 0;
}

static int measure(report *r, int k, long draw, nn_model *model, double *f, double *kernel, ad_error *error)
{
    report_learning *l = r->learning;
    const tp_trained_row *last = &l->run.rows[l->run.n_rows - 1];
    const double *x = r->data->x;
    double **to = r->columns[k].values;
    size_t count = l->rows * l->run.outputs;
    const nn_kernel_part readouts = { .params = l->readouts };
    if (nn_forward(model, x, l->rows, f, error) ||
        nn_training_kernel(model, x, l->rows, NULL, 0, NN_MEAN, kernel, error))
        return -1;
    to[TO_OUTPUTS][draw] = relative(f, last->f, last->f, count);
    to[TO_FROZEN][draw] = relative(f, l->frozen, last->f, count);
    to[TO_KERNEL][draw] = relative(kernel, last->kernel, last->kernel, l->rows * l->rows);
    if (nn_ntk_part(model, &readouts, x, l->rows, NULL, 0, NN_MEAN, kernel, error))
        return -1;
    for (size_t i = 0; i < l->rows * l->rows; i++)
        kernel[i] *= pow((double)r->columns[k].n, l->rate_power);
    to[TO_FEATURES][draw] = relative(kernel, last->features, last->features, l->rows * l->rows);
    return 0;
}

int report_learn_draw(report *r, int k, long draw, ad_error *error)
{
    report_learning *l = r->learning;
    size_t count = l->rows * (l->rows > l->run.outputs ? l->rows : l->run.outputs);
    nn_data data = { r->data->x, r->data->y, l->rows, r->data->classes };
    trail on_the_way = { .l = l,
                         .losses = l->losses + (size_t)k * (size_t)l->run.n_rows,
                         .weight = 1 / (double)r->seeds };
    nn_drift_spec watch = {
        .probes = data, .schedule = NN_LOG_STEPS, .every = DECADE, .each = keep_loss, .context = &on_the_way
    };
    nn_fit_spec fit = l->spec.fit;
    fit.drift = &watch;
    double *f = ad_alloc(count, sizeof *f, "outputs", error), *kernel = ad_alloc(count, sizeof *f, "a kernel", error);
    nn_model *model =
        nn_model_new(r->net, r->columns[k].n, report_seed(r, k, draw), AD_FLOAT, (int)r->o->threads, error);
    int status = f && kernel && model ? nn_fit(model, &data, &fit, NULL, error) : -1;
    if (!status)
        status = measure(r, k, draw, model, f, kernel, error);
    nn_model_free(model);
    ad_free(f);
    ad_free(kernel);
    return status ? -1 : 0;
}

/* ---- what is told ---- */
const struct report_learned report_learned[REPORT_LEARNED] = {
    { TO_OUTPUTS, "‖fₜ−f∞‖/‖f∞‖", "-1/2" },
    { TO_KERNEL, "‖Θₜ−Θ∞ₜ‖/‖Θ∞ₜ‖", "-1/2" },
    { TO_FEATURES, "‖Kₜ−K∞ₜ‖/‖K∞ₜ‖", "-1/2" },
    { TO_FROZEN, "‖fₜ−f_Θ₀‖/‖f∞‖", "to 0, as it tends to" },
};

/* What theory says of a slope. */
static const char *theory_of(const report *r, int k, char *text, size_t size)
{
    const report_learning *l = r->learning;
    if (report_learned[k].f != TO_FROZEN)
        return report_learned[k].theory;
    snprintf(text, size, "%s %.3f, which is %.3f at n = %zu", report_learned[k].theory, l->apart,
             exp(report_log_mean(r, TO_FROZEN, r->widest)), r->columns[r->widest].n);
    return text;
}

/* What was done, in two sentences. */
static void describe(const report *r, char *text, size_t size)
{
    const report_learning *l = r->learning;
    const tp_trained *run = &l->run;
    const tp_trained_row *first = &run->rows[0], *last = &run->rows[run->n_rows - 1];
    snprintf(text, size,
             "Trained on %zu inputs, %ld full-batch steps of sgd, rate %.3g: at n = ∞ (%zu samples, %d runs) the loss "
             "goes from %.4g to %.4g ± %.1g and the kernel moves by %.0f %%. f_Θ₀ is what the kernel of the start "
             "says; %ld networks a width.",
             l->rows, l->steps, l->spec.fit.rate, run->samples, run->runs, first->loss[0], last->loss[0],
             last->loss_error[0], 100 * nn_distance(last->kernel, first->kernel, l->rows), r->seeds);
}

void report_tell_learning(const report *r)
{
    char text[800], theory[120];
    if (r->no_learning[0])
        printf("\n%s\n", r->no_learning);
    if (!r->learning)
        return;
    describe(r, text, sizeof text);
    printf("\nFeature learning. %s\n", text);
    for (int k = 0; k < REPORT_LEARNED; k++) {
        report_line l;
        if (report_fit(r, report_learned[k].f, (double)INFINITY, &l))
            printf("slope in n of %s   %6.3f, 95 %% [%.3f, %.3f]   theory: %s\n", report_learned[k].name, l.slope,
                   l.slope - l.half, l.slope + l.half, theory_of(r, k, theory, sizeof theory));
    }
}

void report_learning_json(const report *r, cJSON *root)
{
    const report_learning *l = r->learning;
    if (r->no_learning[0])
        json_put(root, "no_learning", cJSON_CreateString(r->no_learning));
    if (!l)
        return;
    const tp_trained *run = &l->run;
    cJSON *to = json_put(root, "learning", cJSON_CreateObject());
    json_put(to, "rows", json_number((double)l->rows));
    json_put(to, "steps", json_number((double)l->steps));
    json_put(to, "rate", json_number(l->spec.fit.rate));
    json_put(to, "kernel_moved",
             json_number(nn_distance(run->rows[run->n_rows - 1].kernel, run->rows[0].kernel, l->rows)));
    json_put(to, "f", json_array(run->rows[run->n_rows - 1].f, (size_t[]){ l->rows, run->outputs }, 2));
    json_put(to, "f_error", json_array(run->rows[run->n_rows - 1].f_error, (size_t[]){ l->rows, run->outputs }, 2));
    json_put(to, "constant_kernel_from_infinite", json_number(l->apart));
    json_put(to, "f_frozen", json_array(l->frozen, (size_t[]){ l->rows, run->outputs }, 2));
    cJSON *slopes = json_put(to, "slopes", cJSON_CreateArray());
    for (int k = 0; k < REPORT_LEARNED; k++) {
        report_line line;
        cJSON *item = json_put(slopes, "", cJSON_CreateObject());
        json_put(item, "of", cJSON_CreateString(report_learned[k].name));
        if (!report_fit(r, report_learned[k].f, (double)INFINITY, &line))
            continue;
        json_put(item, "slope", json_number(line.slope));
        json_put(item, "interval",
                 json_array((double[]){ line.slope - line.half, line.slope + line.half }, &(size_t){ 2 }, 1));
    }
}

/* ---- the section ---- */
static int plot_distances(const report *r, FILE *out, ad_error *missing, ad_error *error)
{
    static const char *const blocks[REPORT_LEARNED] = { "$f", "$kernel", "$features", "$frozen" };
    plot drawing;
    if (plot_begin(&drawing, "learning_distances", 480, 420, error))
        return -1;
    FILE *g = drawing.stream;
    for (int d = 0; d < REPORT_LEARNED; d++) {
        plot_data(&drawing, blocks[d], blocks[d] + 1, "width,distance,lowest,highest");
        for (int k = 0; k < r->n_columns; k++) {
            double logs[2] = { 0 }, mean = report_log_mean(r, report_learned[d].f, k);
            for (long s = 0; s < r->seeds; s++)
                logs[1] += pow(log(r->columns[k].values[report_learned[d].f][s]) - mean, 2);
            logs[0] = r->seeds > 1 ? sqrt(logs[1] / (double)(r->seeds - 1)) : 0;
            fprintf(g, "%zu %.10g %.10g %.10g\n", r->columns[k].n, exp(mean), exp(mean - logs[0]), exp(mean + logs[0]));
        }
        fputs("E\n", g);
    }
    fputs("set logscale xy\nset title 'Distance of trained networks'\nset xlabel 'width n'\nset format y '%g'\n"
          "set key below maxcols 2\nset xtics (",
          g);
    for (int k = 0; k < r->n_columns; k++)
        fprintf(g, "%s'%zu' %zu", k ? ", " : "", r->columns[k].n, r->columns[k].n);
    fprintf(g, ")\nset xrange [%g:%g]\nplot ", (double)r->columns[0].n / 1.2, (double)r->columns[r->widest].n * 1.2);
    for (int d = 0; d < REPORT_LEARNED; d++) {
        static const char *const titles[REPORT_LEARNED] = { "f from n = ∞", "Θ from n = ∞", "features from n = ∞",
                                                            "f from a constant kernel" };
        report_line line = { 0 };
        report_fit(r, report_learned[d].f, (double)INFINITY, &line);
        fprintf(g, "%s%s using 1:2:3:4 with yerrorlines lw 2 pt 7 ps 0.6 lc rgb '%s' title '%s: %.2f ± %.2f'",
                d ? ", " : "", blocks[d], plot_colours[d], titles[d], line.slope, line.half);
    }
    fprintf(g, ", %.10g with lines dt 2 lw 2 lc rgb '%s' title 'constant kernel from n = ∞'\n", r->learning->apart,
            plot_colours[REPORT_LEARNED - 1]);
    report_figure(r, out, &drawing,
                  "Relative distances of single networks after training, geometric means and deviations, with fitted "
                  "slopes: they come to the run at n = ∞, and stay away from what a constant kernel says.",
                  missing);
    return 0;
}

static int plot_losses(const report *r, FILE *out, ad_error *missing, ad_error *error)
{
    const report_learning *l = r->learning;
    const tp_trained *run = &l->run;
    plot drawing;
    if (plot_begin(&drawing, "learning_loss", 480, 360, error))
        return -1;
    FILE *g = drawing.stream;
    for (int k = 0; k < r->n_columns; k++) {
        char block[16], series[32];
        snprintf(block, sizeof block, "$w%d", k);
        snprintf(series, sizeof series, "n=%zu", r->columns[k].n);
        plot_data(&drawing, block, series, "step,loss");
        for (int t = 0; t < run->n_rows; t++)
            fprintf(g, "%ld %.10g\n", run->rows[t].step, l->losses[k * run->n_rows + t]);
        fputs("E\n", g);
    }
    plot_data(&drawing, "$limit", "n=inf", "step,loss");
    for (int t = 0; t < run->n_rows; t++)
        fprintf(g, "%ld %.10g\n", run->rows[t].step, run->rows[t].loss[0]);
    fputs("E\n", g);
    plot_data(&drawing, "$frozen", "constant kernel", "step,loss");
    for (int t = 0; t < run->n_rows; t++)
        fprintf(g, "%ld %.10g\n", run->rows[t].step, l->frozen_loss[t]);
    fputs("E\nset logscale y\nset format y '%g'\nset title 'Loss while features are learned'\nset xlabel 'steps'\n"
          "set key outside right\nplot ",
          g);
    for (int k = 0; k < r->n_columns; k++)
        fprintf(g, "$w%d with linespoints pt 7 ps 0.4 lw 1.8 lc rgb '%s' title 'n = %zu', ", k,
                plot_colours[k % PLOT_COLOURS], r->columns[k].n);
    fputs("$limit with lines lw 2.4 lc rgb '" PLOT_INK "' title 'n = ∞', "
          "$frozen with lines lw 2.4 dt 2 lc rgb '" PLOT_INK "' title 'constant kernel'\n",
          g);
    report_figure(
        r, out, &drawing,
        "Square loss on the inputs that train, a line a width, mean over networks; the training at n = ∞; and "
        "gradient descent by the limit kernel of the start.",
        missing);
    return 0;
}

int report_write_learning(const report *r, FILE *out, ad_error *missing, ad_error *error)
{
    char text[800], theory[120];
    if (!r->learning && !r->no_learning[0])
        return 0;
    fputs("<h2>Feature learning at n = ∞</h2>\n<p class=\"soft\">", out);
    if (r->learning)
        describe(r, text, sizeof text);
    report_escape(out, r->learning ? text : r->no_learning, strlen(r->learning ? text : r->no_learning));
    fputs("</p>\n", out);
    if (!r->learning)
        return 0;
    fputs("<table><tr><th>slope in n of</th><th>fitted</th><th>95 % interval</th><th>theory</th></tr>\n", out);
    for (int k = 0; k < REPORT_LEARNED; k++) {
        report_line l;
        if (report_fit(r, report_learned[k].f, (double)INFINITY, &l))
            fprintf(out, "<tr><td>%s</td><td>%.3f</td><td>%.3f to %.3f</td><td>%s</td></tr>\n", report_learned[k].name,
                    l.slope, l.slope - l.half, l.slope + l.half, theory_of(r, k, theory, sizeof theory));
    }
    fputs("</table>\n<div class=\"plots\">\n", out);
    int status = plot_losses(r, out, missing, error) || plot_distances(r, out, missing, error) ? -1 : 0;
    fputs("</div>\n", out);
    return status;
}
