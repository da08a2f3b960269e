/* Training at n = infinity: against closed recursions of linear networks, the mean over finite networks, and kernel
 * gradient descent; what has no limit is refused. */
#include "limn.h"
#include "tests/support/networks.h"
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(training, .timeout = 300);

enum { ROWS = 8, FEATURES = 6, MOST = 32, WIDTH_NETS = 20, CUT = 1024 };

/* ---- networks ---- */
static ad_var linear(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_dense(net, "dense1", x, nn_width(net, "n")));
}

static ad_var deep_linear(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_readout(net, "readout", nn_dense(net, "dense2", nn_dense(net, "dense1", x, n), n));
}

static ad_var linear_skip(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "dense1", x, n);
    return ad_add(nn_readout(net, "skip", h), nn_readout(net, "readout", nn_dense(net, "dense2", h, n)));
}

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int b = 1; b <= 2; b++)
        h = ad_add(h, nn_dense(net, nn_name(net, "block%d", b), ad_tanh(h), n));
    return nn_readout(net, "readout", ad_tanh(h));
}

/* Readouts of vectors that matrices multiply, too, and two of one vector. */
static ad_var skips(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "dense1", x, n));
    ad_var last = ad_relu(ad_add(nn_dense(net, "dense2", h, n), nn_dense(net, "beside", ad_relu(h), n)));
    ad_var f = ad_add(nn_readout(net, "skip", h), nn_readout(net, "second", h));
    return ad_add(f, nn_readout(net, "readout", last));
}

/* Biases, a gain that learns, and a readout with a bias. */
static ad_var dropped(nn_net *net, ad_var x)
{
    ad_var h = nn_dropout(net, "drop", ad_tanh(nn_dense(net, "dense1", x, nn_width(net, "n"))), 0.5);
    return nn_readout(net, "readout", h);
}

static ad_var frozen(nn_net *net, ad_var x)
{
    ad_var h = ad_tanh(nn_dense(net, "dense1", x, nn_width(net, "n")));
    nn_freeze(net, "readout");
    return nn_readout(net, "readout", h);
}

/* A number that is N(0, c) at every width, and another one in each network. */
static ad_var random_factor(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "dense1", x, n)), fixed = ad_tanh(nn_dense(net, "fixed", x, n));
    nn_freeze(net, "fixed");
    ad_var r = ad_param(nn_graph(net), "r", ad_shape_of(n), ((ad_init){ .axis = n, .deviation = 1 }));
    ad_var sum = ad_scale_by(ad_contract(fixed, r, ad_shape_of(n)), 1, n, -0.5);
    return nn_readout(net, "readout", ad_mul(h, ad_expand(sum, *ad_shape_get(h))));
}

/* ---- problems ---- */
typedef struct {
    const char *name;
    nn_function function;
    const char *settings[4];
    size_t time; /* 0: no sequence */
    size_t features, outputs;
    nn_parametrization scale;
    nn_fit_spec fit;
} problem;

typedef struct {
    nn_net *net;
    tp_program *program;
    nn_data data;
    double x[ROWS * 16], y[ROWS];
    ad_error error;
} setup;

static void fill_inputs(const problem *p, setup *s)
{
    size_t width = p->features * (p->time ? p->time : 1);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t k = 0; k < width; k++) {
            double t = (double)(k / p->features), j = (double)(k % p->features), row = (double)i;
            s->x[i * width + k] = p->features == 1 ? (double)(i % 3)
                                  : p->time        ? sin(1 + 3 * row + 5 * t + 0.7 * j * (row + 1))
                                                   : sin((1 + 3 * row) + 0.7 * j * (row + 1));
        }
    for (size_t i = 0; i < ROWS; i++)
        s->y[i] = p->outputs > 1 ? (double)(i % p->outputs) : sin(2 * (double)i);
}

static void open_problem(const problem *p, setup *s)
{
    *s = (setup){ .data = { .rows = ROWS, .classes = p->outputs > 1 ? p->outputs : 0 } };
    s->data.x = s->x;
    s->data.y = s->y;
    fill_inputs(p, s);
    nn_spec spec = {
        .features = p->features, .outputs = p->outputs, .parametrization = p->scale, .settings = p->settings
    };
    if (p->time) {
        spec.shape[0] = p->time;
        spec.shape[1] = p->features;
        spec.features = p->time * p->features;
    }
    s->net = nn_trace(p->function, &spec, &s->error);
    cr_assert(s->net, "%s: %s", p->name, s->error.text);
    s->program = tp_translate(s->net, &s->error);
    cr_assert(s->program, "%s: %s", p->name, s->error.text);
}

static void close_problem(setup *s)
{
    tp_program_free(s->program);
    nn_net_free(s->net);
}

static tp_trained train_at(setup *s, const problem *p, size_t samples, int runs)
{
    tp_train_spec spec = { .fit = p->fit, .samples = samples, .runs = runs, .probes = ROWS };
    spec.tolerance = samples == CUT ? 1e-2 : 0; /* or draws would be too many */
    tp_trained run;
    cr_assert(tp_train(s->program, &s->data, NULL, &spec, &run, &s->error) == 0, "%s: %s", p->name, s->error.text);
    return run;
}

static const tp_trained_row *last_of(const tp_trained *run)
{
    return &run->rows[run->n_rows - 1];
}

/* The mean outputs of so many networks after the same training, and its standard error. */
static void train_networks(setup *s, const problem *p, size_t width, int nets, trial *f)
{
    double out[MOST];
    memset(f, 0, MOST * sizeof *f);
    for (int k = 0; k < nets; k++) {
        nn_model *model = nn_model_new(s->net, width, 100 + (uint64_t)k, AD_DOUBLE, 1, &s->error);
        cr_assert(model && !nn_fit(model, &s->data, &p->fit, NULL, &s->error) &&
                      !nn_forward(model, s->x, ROWS, out, &s->error),
                  "%s", s->error.text);
        for (size_t i = 0; i < ROWS * p->outputs; i++)
            trial_add(&f[i], out[i]);
        nn_model_free(model);
    }
}

/* Outputs at n = infinity against the mean over networks: within BOUND standard errors of their difference, to which
 * the networks' width adds something of order 1/n, far below. */
static void expect_networks(const problem *p, size_t samples, size_t width)
{
    setup s;
    trial f[MOST];
    open_problem(p, &s);
    tp_trained run = train_at(&s, p, samples, 8);
    train_networks(&s, p, width, WIDTH_NETS, f);
    const tp_trained_row *last = last_of(&run);
    cr_expect_eq(last->step, p->fit.steps);
    cr_expect(last->loss[0] < 0.9 * run.rows[0].loss[0], "%s: loss %g, %g", p->name, run.rows[0].loss[0],
              last->loss[0]);
    for (size_t i = 0; i < ROWS * p->outputs; i++) {
        double error = hypot(error_of(f[i]), last->f_error[i]);
        cr_expect(fabs(run.rows[0].f[i]) < 1e-12, "%s: outputs start at %g", p->name, run.rows[0].f[i]);
        cr_expect(fabs(last->f[i] - f[i].mean) < BOUND * error, "%s: output %zu: %g at n = inf, %g +- %g at %zu",
                  p->name, i, last->f[i], f[i].mean, error_of(f[i]), width);
        cr_expect(error < 0.03, "%s: error %g", p->name, error);
    }
    tp_trained_free(&run);
    close_problem(&s);
}

/* ---- closed recursions ---- */
/* f = (1/n) sum_a v_a u_a . x / sqrt(d), u and v N(0, 1) at the start: with A = E v^2, B = E v u, C = E u u', and
 * g = sum_i slope_i x_i / sqrt(d), a step is v -= r g . u, u -= r g v. */
Test(training, one_linear_layer_is_its_recursion)
{
    enum { D = FEATURES };
    problem p = { "linear", linear, { NULL }, 0, D, 1, NN_MUP, { .rate = 0.7, .steps = 12 } };
    setup s;
    open_problem(&p, &s);
    tp_trained run = train_at(&s, &p, 64, 2);
    double a = 1, b[D] = { 0 }, c[D][D] = { { 0 } }, f[ROWS], r = p.fit.rate;
    for (int k = 0; k < D; k++)
        c[k][k] = 1;
    for (int step = 0; step <= 12; step++) {
        double g[D] = { 0 }, gb = 0, gcg = 0, cg[D] = { 0 };
        for (int i = 0; i < ROWS; i++) {
            f[i] = 0;
            for (int k = 0; k < D; k++)
                f[i] += b[k] * s.x[i * D + k] / sqrt(D);
            for (int k = 0; k < D; k++)
                g[k] += (f[i] - s.y[i]) / ROWS * s.x[i * D + k] / sqrt(D);
        }
        if (step == 12)
            break;
        for (int k = 0; k < D; k++) {
            gb += g[k] * b[k];
            for (int l = 0; l < D; l++)
                cg[k] += c[k][l] * g[l];
            gcg += g[k] * cg[k];
        }
        for (int k = 0; k < D; k++)
            for (int l = 0; l < D; l++)
                c[k][l] += r * r * a * g[k] * g[l] - r * (g[k] * b[l] + b[k] * g[l]);
        for (int k = 0; k < D; k++)
            b[k] += r * r * g[k] * gb - r * (g[k] * a + cg[k]);
        a += r * r * gcg - 2 * r * gb;
    }
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(last_of(&run)->f[i], f[i], 1e-12, "%d: %.15g, %.15g", i, last_of(&run)->f[i], f[i]);
    tp_trained_free(&run);
    close_problem(&s);
}

/* Second moments of the draws are exact: linear networks do not know the number of samples. */
static void expect_exact(const char *name, nn_function function, double rate)
{
    problem p = { name, function, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = rate, .steps = 20 } };
    setup s;
    open_problem(&p, &s);
    tp_trained few = train_at(&s, &p, 256, 2), many = train_at(&s, &p, 4096, 2);
    const tp_trained_row *a = last_of(&few), *b = last_of(&many);
    for (int i = 0; i < ROWS; i++) {
        cr_expect_float_eq(a->f[i], b->f[i], 1e-10);
        cr_expect(a->f_error[i] < 1e-12 && b->f_error[i] < 1e-12);
    }
    cr_expect(nn_distance(a->kernel, b->kernel, ROWS) < 1e-10);
    cr_expect(nn_distance(a->kernel, few.rows[0].kernel, ROWS) > 0.5);
    tp_trained_free(&few);
    tp_trained_free(&many);
    close_problem(&s);
    p.fit.steps = 8;
    expect_networks(&p, 256, 512);
}

Test(training, deep_linear_networks_are_exact)
{
    expect_exact("deep linear", deep_linear, 0.6);
    expect_exact("linear, with a skip to the outputs", linear_skip, 0.3);
}

/* ---- against networks ---- */
Test(training, mlp_is_the_mean_of_networks)
{
    problem p = { "mlp",  nn_builtin("mlp"),           { "phi=tanh", "depth=2", "sigma_w=1" }, 0, FEATURES, 1,
                  NN_MUP, { .rate = 0.3, .steps = 20 } };
    expect_networks(&p, 2048, 512);
}

/* What the constant kernel says is far from it, so that the comparison tells one from the other. */
Test(training, features_are_learned)
{
    problem p = { "mlp",  nn_builtin("mlp"),           { "phi=tanh", "depth=2", "sigma_w=1" }, 0, FEATURES, 1,
                  NN_MUP, { .rate = 0.3, .steps = 20 } };
    setup s;
    open_problem(&p, &s);
    tp_trained run = train_at(&s, &p, 2048, 8);
    const double *kernel = run.rows[0].kernel;
    double f[ROWS] = { 0 }, farthest = 0;
    for (long step = 0; step < p.fit.steps; step++) {
        double slope[ROWS];
        for (int i = 0; i < ROWS; i++)
            slope[i] = (f[i] - s.y[i]) / ROWS;
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++)
                f[i] -= p.fit.rate * kernel[i * ROWS + j] * slope[j];
    }
    for (int i = 0; i < ROWS; i++)
        farthest = fmax(farthest, fabs(f[i] - last_of(&run)->f[i]) / last_of(&run)->f_error[i]);
    cr_expect(nn_distance(last_of(&run)->kernel, kernel, ROWS) > 0.5);
    cr_expect(farthest > BOUND, "%g", farthest);
    cr_expect(last_of(&run)->features_error[0] > 0 && last_of(&run)->kernel_error[0] > 0);
    tp_trained_free(&run);
    close_problem(&s);
}

Test(training, architectures)
{
    const nn_fit_spec fit = { .rate = 0.4, .steps = 8 };
    const problem problems[] = {
        { "rnn, last", nn_builtin("rnn"), { "phi=tanh" }, 3, 4, 1, NN_MUP, fit },
        { "rnn, mean", nn_builtin("rnn"), { "phi=tanh", "readout=mean" }, 3, 4, 1, NN_MUP, { .rate = 1, .steps = 8 } },
        { "residual", residual, { NULL }, 0, FEATURES, 1, NN_MUP, fit },
        { "frozen readouts", frozen, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.8, .steps = 8 } },
        { "skips to outputs", skips, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.2, .steps = 8 } },
        { "layer normalisation", network_normalised, { NULL }, 0, FEATURES, 1, NN_MUP, fit },
        { "embedding", network_embedded, { NULL }, 0, 1, 1, NN_MUP, fit },
        { "a matrix and its transpose", network_tied, { NULL }, 0, FEATURES, 1, NN_MUP, fit },
        { "mean field", nn_builtin("mlp"), { "phi=tanh", "depth=1" }, 0, FEATURES, 1, NN_MEANFIELD, fit },
    };
    for (size_t k = 0; k < sizeof problems / sizeof *problems; k++)
        expect_networks(&problems[k], CUT, 256);
}

Test(training, losses_and_optimizers)
{
    const nn_fit_spec fits[] = {
        { .rate = 1, .steps = 8, .loss = NN_CROSS_ENTROPY },
        { .rate = 0.4, .steps = 9, .batch = 3, .seed = 7 },
        { .rate = 0.05, .steps = 8, .optimizer = NN_MOMENTUM },
        { .rate = 0.4, .steps = 8, .weight_decay = 0.1 },
        { .rate = 0.1,
          .steps = 9,
          .loss = NN_CROSS_ENTROPY,
          .optimizer = NN_MOMENTUM,
          .weight_decay = 0.1,
          .batch = 5 },
    };
    static const char *const names[] = { "cross-entropy", "mini-batches", "momentum", "weight decay", "all together" };
    for (size_t k = 0; k < sizeof fits / sizeof *fits; k++) {
        problem p = { names[k],
                      nn_builtin("mlp"),
                      { "phi=tanh", "depth=2" },
                      0,
                      FEATURES,
                      fits[k].loss == NN_CROSS_ENTROPY ? 3 : 1,
                      NN_MUP,
                      fits[k] };
        expect_networks(&p, CUT, 256);
    }
}

static void expect_kernels(const double *a, const double *a_error, const double *b, const double *b_error)
{
    for (size_t i = 0; i < (size_t)ROWS * ROWS; i++) {
        double error = hypot(a_error[i], b_error ? b_error[i] : 0);
        cr_expect(fabs(a[i] - b[i]) < BOUND * error, "entry %zu: %g, %g +- %g", i, a[i], b[i], error);
    }
}

/* The kernel of ten outputs is measured one output after another: ten backward passes at once would take more draws
 * than half of 256. It is the limit's at the start, and that of many samples after steps. */
Test(training, kernels_of_many_outputs_take_the_draws_of_one)
{
    setup s;
    tp_kernel limit;
    problem p = { "mlp",  nn_builtin("mlp"),        { "phi=tanh", "depth=2", "sigma_w=1" }, 0, FEATURES, 10,
                  NN_MUP, { .rate = 1, .steps = 2 } };
    open_problem(&p, &s);
    tp_trained few = train_at(&s, &p, 256, 8), many = train_at(&s, &p, 2048, 8);
    cr_assert(tp_training_kernel(s.program, s.x, ROWS, NULL, 0, &(tp_limit_spec){ 0 }, &limit, &s.error) == 0, "%s",
              s.error.text);
    cr_assert(tp_kernel_converges(&limit));
    expect_kernels(few.rows[0].kernel, few.rows[0].kernel_error, limit.terms[0].values, NULL);
    expect_kernels(many.rows[0].kernel, many.rows[0].kernel_error, limit.terms[0].values, NULL);
    expect_kernels(last_of(&few)->kernel, last_of(&few)->kernel_error, last_of(&many)->kernel,
                   last_of(&many)->kernel_error);
    tp_kernel_free(&limit);
    tp_trained_free(&few);
    tp_trained_free(&many);
    close_problem(&s);
}

/* What a run is told to take at most, it takes at most: twice as many samples as draws are enough. */
Test(training, draws_are_told)
{
    setup s;
    tp_train_cost cost;
    problem p = { "rnn", nn_builtin("rnn"), { "phi=tanh" }, 3, 4, 1, NN_MUP, { .rate = 0.4, .steps = 3 } };
    open_problem(&p, &s);
    tp_train_spec spec = { .fit = p.fit, .samples = 4096, .runs = 2, .probes = ROWS };
    cr_assert(tp_train_estimate(s.program, &s.data, NULL, &spec, &cost, &s.error) == 0, "%s", s.error.text);
    cr_expect(cost.draws > 3 * ROWS * 4 && cost.draws < 1024, "%g", cost.draws);
    tp_trained run = train_at(&s, &p, 2 * (size_t)cost.draws + 2, 2);
    tp_trained_free(&run);
    close_problem(&s);
}

/* A test row is followed and changes nothing; a run is its own twin. */
Test(training, points_that_are_followed_change_nothing)
{
    problem p = { "deep linear", deep_linear, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.6, .steps = 5 } };
    setup s;
    open_problem(&p, &s);
    tp_train_spec spec = { .fit = p.fit, .samples = 128, .runs = 2 };
    nn_data test = { s.x, s.y, 3, 0 };
    tp_trained alone = train_at(&s, &p, 128, 2), followed;
    double seconds = 0;
    cr_expect(tp_train_forecast(s.program, &s.data, &test, &spec, &seconds, &s.error) == 0 && seconds > 0 &&
                  isfinite(seconds),
              "%g s: %s", seconds, s.error.text);
    cr_assert(tp_train(s.program, &s.data, &test, &spec, &followed, &s.error) == 0, "%s", s.error.text);
    cr_assert_eq(followed.points, ROWS + 3);
    const double *f = last_of(&followed)->f;
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(f[i], last_of(&alone)->f[i], 1e-12);
    for (int i = 0; i < 3; i++)
        cr_expect_float_eq(f[ROWS + i], f[i], 1e-12);
    cr_expect(isfinite(last_of(&followed)->loss[1]) && isnan(last_of(&alone)->loss[1]) && !followed.probes);
    tp_trained_free(&alone);
    tp_trained_free(&followed);
    close_problem(&s);
}

/* ---- checkpoints ---- */
typedef struct {
    int run;
    long step;
} stop;

static int stop_there(int run, long step, void *context)
{
    const stop *s = context;
    return run == s->run && step == s->step;
}

static void expect_same(const tp_trained *a, const tp_trained *b, const char *name)
{
    cr_assert_eq(a->n_rows, b->n_rows);
    cr_expect_eq(a->rank, b->rank);
    for (int k = 0; k < a->n_rows; k++) {
        const tp_trained_row *x = &a->rows[k], *y = &b->rows[k];
        size_t f = a->points * a->outputs * sizeof(double), kernel = a->probes * a->probes * sizeof(double);
        cr_expect(!memcmp(x->f, y->f, f) && !memcmp(x->f_error, y->f_error, f), "%s: outputs", name);
        cr_expect(!memcmp(x->kernel, y->kernel, kernel) && !memcmp(x->features_error, y->features_error, kernel),
                  "%s: kernels", name);
        cr_expect(!memcmp(x->loss, y->loss, sizeof x->loss) && !memcmp(x->loss_error, y->loss_error, sizeof x->loss),
                  "%s: losses", name);
    }
}

/* Whatever the place where a run stops, it goes on bit for bit. */
/* Another network of the same name and shapes is not taken for the one that stopped. */
static void expect_another_refused(problem other, const tp_train_spec *spec)
{
    setup s;
    tp_trained run;
    other.settings[0] = "phi=erf";
    open_problem(&other, &s);
    nn_data test = { s.x, NULL, 2, 0 };
    cr_expect(tp_train(s.program, &s.data, &test, spec, &run, &s.error) != 0 &&
                  strstr(s.error.text, "cannot resume: network was"),
              "%s", s.error.text);
    close_problem(&s);
}

static void expect_resumes(const problem *p, stop at)
{
    setup s;
    tp_trained whole, half, rest;
    char folder[] = "/tmp/limn-training-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    ad_snprintf(path, sizeof path, "%s/state", folder);
    open_problem(p, &s);
    nn_data test = { s.x, NULL, 2, 0 };
    tp_train_spec spec = { .fit = p->fit, .samples = 512, .runs = 2, .probes = 3, .tolerance = 1e-2 };
    cr_assert(tp_train(s.program, &s.data, &test, &spec, &whole, &s.error) == 0, "%s: %s", p->name, s.error.text);
    tp_train_spec stops = spec;
    stops.checkpoint = path;
    stops.each = stop_there;
    stops.context = &at;
    cr_expect(tp_train(s.program, &s.data, &test, &stops, &half, &s.error) != 0 && strstr(s.error.text, "ended after"),
              "%s: %s", p->name, s.error.text);
    s.error = (ad_error){ 0 };
    spec.resume = path;
    cr_assert(tp_train(s.program, &s.data, &test, &spec, &rest, &s.error) == 0, "%s: %s", p->name, s.error.text);
    expect_same(&whole, &rest, p->name);
    tp_trained_free(&rest);
    if (p->settings[0])
        expect_another_refused(*p, &spec);
    spec.samples = 1024;
    cr_expect(tp_train(s.program, &s.data, &test, &spec, &rest, &s.error) != 0 &&
                  strstr(s.error.text, "cannot resume: samples was 512, now it is 1024"),
              "%s", s.error.text);
    s.error = (ad_error){ 0 };
    spec.samples = 512;
    struct stat file;
    cr_assert(stat(path, &file) == 0 && truncate(path, file.st_size / 2) == 0);
    cr_expect(tp_train(s.program, &s.data, &test, &spec, &rest, &s.error) != 0 && strstr(s.error.text, path));
    cr_expect(unlink(path) == 0 && rmdir(folder) == 0);
    tp_trained_free(&whole);
    close_problem(&s);
}

Test(training, resumes_bit_for_bit)
{
    const nn_fit_spec fit = {
        .rate = 0.2, .steps = 6, .batch = 3, .optimizer = NN_MOMENTUM, .momentum = 0.5, .weight_decay = 0.1, .seed = 5
    };
    const nn_fit_spec whole = { /* the rate of gains has a power of n, and so would their decay */
                                .rate = 0.2,     .steps = 6, .batch = 3, .optimizer = NN_MOMENTUM,
                                .momentum = 0.5, .seed = 5
    };
    const problem problems[] = {
        { "skips", skips, { NULL }, 0, FEATURES, 1, NN_MUP, fit },
        { "layer normalisation", network_normalised, { NULL }, 0, FEATURES, 1, NN_MUP, whole },
        { "embedding", network_embedded, { NULL }, 0, 1, 1, NN_MUP, fit },
        { "rnn", nn_builtin("rnn"), { "phi=tanh" }, 2, 3, 1, NN_MUP, { .rate = 0.2, .steps = 4 } },
    };
    for (size_t k = 0; k < sizeof problems / sizeof *problems; k++) {
        expect_resumes(&problems[k], (stop){ 0, 1 });
        expect_resumes(&problems[k], (stop){ 1, 3 });
        expect_resumes(&problems[k], (stop){ 0, problems[k].fit.steps });
    }
}

/* ---- the kernel regime ---- */
Test(training, ntk_is_kernel_gradient_descent)
{
    problem p = { "mlp",
                  nn_builtin("mlp"),
                  { "phi=relu", "depth=2" },
                  0,
                  FEATURES,
                  1,
                  NN_NTK,
                  { .rate = 0.5, .steps = 9, .batch = 3, .optimizer = NN_MOMENTUM, .momentum = 0.5, .seed = 3 } };
    setup s;
    open_problem(&p, &s);
    tp_trained run = train_at(&s, &p, 0, 0);
    cr_expect(run.kernel_regime && run.runs == 0 && nn_distance(last_of(&run)->kernel, run.rows[0].kernel, ROWS) == 0);
    /* As n grows, the mean over networks comes to it. */
    trial f[MOST];
    train_networks(&s, &p, 1024, NETS, f);
    for (int i = 0; i < ROWS; i++)
        expect_mean(f[i], last_of(&run)->f[i], 0.01);
    /* Full batches: Theta's own recursion. */
    p.fit = (nn_fit_spec){ .rate = 0.5, .steps = 7 };
    tp_trained full = train_at(&s, &p, 0, 0);
    tp_kernel kernel;
    double expected[ROWS] = { 0 };
    cr_assert(tp_limit(s.program, TP_NTK, s.x, ROWS, NULL, 0, NULL, &kernel, &s.error) == 0, "%s", s.error.text);
    for (int step = 0; step < 7; step++) {
        double slope[ROWS];
        for (int i = 0; i < ROWS; i++)
            slope[i] = (expected[i] - s.y[i]) / ROWS;
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++)
                expected[i] -= 0.5 * kernel.terms[0].values[i * ROWS + j] * slope[j];
    }
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(last_of(&full)->f[i], expected[i], 1e-11);
    tp_kernel_free(&kernel);
    tp_trained_free(&run);
    tp_trained_free(&full);
    close_problem(&s);
}

/* From a draw the run is that from the same outputs given, and over seeds the draws have the NNGP kernel: each of their
 * second moments is a mean over DRAWS. A row that is there twice has its twin's outputs. */
Test(training, starts_from_a_draw_of_the_outputs)
{
    enum { DRAWS = 600 };
    problem p = { "mlp",
                  nn_builtin("mlp"),
                  { "phi=tanh", "depth=1" },
                  0,
                  FEATURES,
                  3,
                  NN_NTK,
                  { .rate = 0.5, .steps = 3, .loss = NN_CROSS_ENTROPY } };
    setup s;
    tp_kernel nngp;
    tp_trained drawn, given;
    trial moments[ROWS][ROWS] = { { { 0 } } }, between = { 0 };
    open_problem(&p, &s);
    memcpy(s.x + FEATURES, s.x, FEATURES * sizeof *s.x);
    cr_assert(tp_limit(s.program, TP_NNGP, s.x, ROWS, NULL, 0, NULL, &nngp, &s.error) == 0, "%s", s.error.text);
    tp_train_spec spec = { .fit = p.fit, .draw = true };
    for (int k = 0; k < DRAWS; k++) {
        spec.fit.seed = 50 + (uint64_t)k;
        cr_assert(tp_train(s.program, &s.data, NULL, &spec, &drawn, &s.error) == 0, "%s", s.error.text);
        const double *f = drawn.rows[0].f;
        cr_assert_float_eq(f[0], f[3], 1e-6);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j <= i; j++)
                for (int o = 0; o < 3; o++)
                    trial_add(&moments[i][j], f[i * 3 + o] * f[j * 3 + o]);
        trial_add(&between, f[0] * f[1]);
        if (k == 0) {
            cr_expect(strstr(drawn.method, "one draw of the outputs' Gaussian law (seed 50)"), "%s", drawn.method);
            tp_train_spec from = { .fit = spec.fit, .start = f };
            cr_assert(tp_train(s.program, &s.data, NULL, &from, &given, &s.error) == 0, "%s", s.error.text);
            cr_expect(!memcmp(last_of(&given)->f, last_of(&drawn)->f, ROWS * 3 * sizeof *f));
            tp_trained_free(&given);
        }
        tp_trained_free(&drawn);
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j <= i; j++)
            expect_mean(moments[i][j], nngp.terms[0].values[i * ROWS + j], 0);
    expect_not_mean(moments[0][0], 1.3 * nngp.terms[0].values[0]);
    expect_mean(between, 0, 0);
    tp_kernel_free(&nngp);
    close_problem(&s);
}

/* A frozen readout leaves the kernel without its part, and the outputs' law as it is. */
Test(training, frozen_readouts_in_the_kernel_regime)
{
    problem p = { "frozen", frozen, { NULL }, 0, FEATURES, 1, NN_NTK, { .rate = 0.5, .steps = 9 } };
    setup s;
    trial f[MOST];
    open_problem(&p, &s);
    tp_trained run = train_at(&s, &p, 0, 0);
    train_networks(&s, &p, 1024, NETS, f);
    for (int i = 0; i < ROWS; i++) {
        expect_mean(f[i], last_of(&run)->f[i], 0.01);
        cr_expect(fabs(last_of(&run)->features[i]) < 1e-300);
    }
    tp_trained_free(&run);
    close_problem(&s);
}

/* All rows are one batch, and rows that are followed another: networks that are wide, in the mode of training. */
Test(training, batch_normalisation_in_the_kernel_regime)
{
    enum { FOLLOWED = 6, MANY = 24 };
    for (int freezes = 0; freezes < 2; freezes++) {
        problem p = { "batchnorm", nn_builtin("batchnorm"),    { "depth=1", "eps=0.1" }, 0, FEATURES, 1,
                      NN_NTK,      { .rate = 0.5, .steps = 6 } };
        setup s;
        tp_trained run;
        trial f[ROWS + FOLLOWED];
        double x[FOLLOWED * FEATURES], out[ROWS + FOLLOWED];
        open_problem(&p, &s);
        for (int k = 0; k < FOLLOWED * FEATURES; k++)
            x[k] = cos(0.3 + 1.7 * k);
        if (freezes) {
            close_problem(&s);
            const char *frozen_readouts[] = { "readout", NULL };
            nn_spec spec = { .features = FEATURES, .settings = p.settings, .freeze = frozen_readouts };
            cr_assert((s.net = nn_trace(p.function, &spec, &s.error)) && (s.program = tp_translate(s.net, &s.error)),
                      "%s", s.error.text);
        }
        nn_data test = { x, NULL, FOLLOWED, 0 };
        tp_train_spec spec = { .fit = p.fit, .probes = 2, .runs = 4 };
        cr_assert(tp_train(s.program, &s.data, &test, &spec, &run, &s.error) == 0, "%s", s.error.text);
        memset(f, 0, sizeof f);
        for (int k = 0; k < MANY; k++) {
            nn_model *model = nn_model_new(s.net, 1024, 300 + (uint64_t)k, AD_DOUBLE, 1, &s.error);
            cr_assert(model && !nn_fit(model, &s.data, &p.fit, NULL, &s.error), "%s", s.error.text);
            nn_set_mode(model, NN_TRAINING);
            cr_assert(!nn_forward(model, s.x, ROWS, out, &s.error) &&
                          !nn_forward(model, x, FOLLOWED, out + ROWS, &s.error),
                      "%s", s.error.text);
            for (int i = 0; i < ROWS + FOLLOWED; i++)
                trial_add(&f[i], out[i]);
            nn_model_free(model);
        }
        for (int i = 0; i < ROWS + FOLLOWED; i++)
            expect_mean(f[i], last_of(&run)->f[i], 0.02);
        cr_expect(fabs(last_of(&run)->f[1]) > 0.1);
        tp_trained_free(&run);
        close_problem(&s);
    }
}

/* Gradient descent by a constant kernel, from f. */
static void descend(const double *kernel, const double *y, const nn_fit_spec *fit, double *f)
{
    for (long step = 0; step < fit->steps; step++) {
        double slope[ROWS];
        for (int i = 0; i < ROWS; i++)
            slope[i] = (f[i] - y[i]) / ROWS;
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++)
                f[i] -= fit->rate * kernel[i * ROWS + j] * slope[j];
    }
}

static double log_distance(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return log(sum) / 2;
}

enum { OWN_START, FROM_ZERO, OWN_KERNEL, DISTANCES };

/* How far one trained network is from the run that starts at its own outputs; from the run that starts at 0, once what
 * it put out at the start is taken off it and its targets; and from descent by its own kernel. */
static void measure_network(setup *s, const problem *p, size_t width, uint64_t seed, trial *to)
{
    tp_trained from;
    double start[ROWS], f[ROWS], own[ROWS], kernel[ROWS * ROWS], shifted[ROWS];
    nn_model *model = nn_model_new(s->net, width, seed, AD_DOUBLE, 1, &s->error);
    cr_assert(model && !nn_forward(model, s->x, ROWS, start, &s->error) &&
                  !nn_ntk(model, s->x, ROWS, NULL, 0, NN_MEAN, kernel, &s->error) &&
                  !nn_fit(model, &s->data, &p->fit, NULL, &s->error) && !nn_forward(model, s->x, ROWS, f, &s->error),
              "%s", s->error.text);
    nn_model_free(model);
    tp_train_spec spec = { .fit = p->fit, .start = start };
    cr_assert(tp_train(s->program, &s->data, NULL, &spec, &from, &s->error) == 0, "%s", s->error.text);
    trial_add(&to[OWN_START], log_distance(f, last_of(&from)->f));
    tp_trained_free(&from);
    memcpy(own, start, sizeof own);
    descend(kernel, s->y, &p->fit, own);
    trial_add(&to[OWN_KERNEL], log_distance(f, own));

    for (int i = 0; i < ROWS; i++)
        shifted[i] = s->y[i] + start[i];
    nn_data data = { .x = s->x, .y = shifted, .rows = ROWS };
    model = nn_model_new(s->net, width, seed, AD_DOUBLE, 1, &s->error);
    cr_assert(model && !nn_fit(model, &data, &p->fit, NULL, &s->error) && !nn_forward(model, s->x, ROWS, f, &s->error),
              "%s", s->error.text);
    nn_model_free(model);
    for (int i = 0; i < ROWS; i++)
        f[i] -= start[i];
    spec.start = NULL;
    cr_assert(tp_train(s->program, &s->data, NULL, &spec, &from, &s->error) == 0, "%s", s->error.text);
    trial_add(&to[FROM_ZERO], log_distance(f, last_of(&from)->f));
    tp_trained_free(&from);
}

/* THEORY section 5: n^-1/2 to the limit's kernel, n^-1 to a network's own. */
Test(training, networks_come_to_the_kernel_regime_as_theory_says)
{
    enum { WIDTHS = 4, EACH = 40 };
    static const double theory[DISTANCES] = { -0.5, -0.5, -1 };
    static const char *const names[DISTANCES] = { "the run from its outputs", "the run from 0", "its own kernel" };
    problem p = { "mlp",  nn_builtin("mlp"),           { "phi=tanh", "depth=2" }, 0, FEATURES, 1,
                  NN_NTK, { .rate = 0.5, .steps = 20 } };
    setup s;
    double logs[WIDTHS], means[DISTANCES][WIDTHS], errors[DISTANCES][WIDTHS];
    open_problem(&p, &s);
    for (int k = 0; k < WIDTHS; k++) {
        trial found[DISTANCES] = { { 0 } };
        for (int net = 0; net < EACH; net++)
            measure_network(&s, &p, (size_t)64 << k, (uint64_t)(1000 * k + net), found);
        logs[k] = log((double)((size_t)64 << k));
        for (int d = 0; d < DISTANCES; d++) {
            means[d][k] = found[d].mean;
            errors[d][k] = error_of(found[d]);
        }
    }
    for (int d = 0; d < DISTANCES; d++) {
        trial slope = trial_slope(WIDTHS, logs, means[d], errors[d]);
        double error = slope.squares;
        cr_expect(fabs(slope.mean - theory[d]) < 4 * error, "%s: slope %g +- %g", names[d], slope.mean, error);
        cr_expect(error < 0.08, "%s: slope %g +- %g", names[d], slope.mean, error); /* a sixth of what tells them */
    }
    close_problem(&s);
}

/* ---- what is refused ---- */
static void expect_refused(problem p, const tp_train_spec *spec, const char *told)
{
    setup s;
    tp_trained run;
    open_problem(&p, &s);
    cr_expect(tp_train(s.program, &s.data, NULL, spec, &run, &s.error) != 0, "%s", told);
    cr_expect(strstr(s.error.text, told), "%s: %s", told, s.error.text);
    cr_expect_null(run.memory);
    close_problem(&s);
}

static ad_var of_normalised_data(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", ad_erf(nn_dense(net, "dense", nn_batchnorm(net, "norm", x), nn_width(net, "n"))));
}

Test(training, refuses)
{
    problem p = { "mlp", nn_builtin("mlp"), { "phi=tanh", "depth=2" }, 0, FEATURES, 1, NN_MUP, { 0 } };
    const tp_train_spec adam = { .fit = { .optimizer = NN_ADAM, .steps = 1 } };
    const tp_train_spec sgd = { .fit = { .steps = 2 } }, parts = { .fit = { .steps = 2, .batch = 3 } };
    const tp_train_spec decay = { .fit = { .steps = 2, .weight_decay = 0.1 } };
    const tp_train_spec fast = { .fit = { .steps = 400, .rate = 1e3 }, .samples = 1024, .runs = 2 };
    const tp_train_spec small = { .fit = { .steps = 20 }, .samples = 64 };
    const tp_train_spec none = { .fit = { .steps = 0 } };
    expect_refused(p, &adam, "Tensor Programs IVb");
    expect_refused(p, &none, "neither steps");
    expect_refused(p, &small, "samples are too few");
    expect_refused(p, &fast, "diverges");
    p.scale = NN_STANDARD;
    expect_refused(p, &sgd, "not stable");
    p.scale = NN_MEANFIELD;
    expect_refused(p, &sgd, "does not move");
    const double ones[ROWS] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    const tp_train_spec start = { .fit = { .steps = 1 }, .start = ones };
    p.scale = NN_MUP;
    expect_refused(p, &start, "are given or drawn in the kernel regime alone");
    p.scale = NN_NTK;
    expect_refused(p, &decay, "weight decay");
    problem shallow = { "mlp", nn_builtin("mlp"), { "phi=tanh", "depth=1" }, 0, FEATURES, 1, NN_MEANFIELD, { 0 } };
    expect_refused(shallow, &decay, "weight decay takes off it in a step: that diverges");
    const tp_train_spec steep = { .fit = { .steps = 1, .rate = 1e20 } };
    expect_refused(p, &fast, "diverges: the loss is");
    expect_refused(p, &steep, "after 1 steps");
    problem random = { "random", random_factor, { NULL }, 0, FEATURES, 1, NN_MUP, { 0 } };
    expect_refused(random, &sgd, "fluctuations");
    problem batch = { "batchnorm", nn_builtin("batchnorm"), { NULL }, 0, FEATURES, 1, NN_MUP, { 0 } };
    expect_refused(batch, &sgd, "samples of a batch meet");
    batch.scale = NN_NTK;
    expect_refused(batch, &parts, "take all 8 rows at once");
    problem data = { "data", of_normalised_data, { NULL }, 0, FEATURES, 1, NN_MUP, { 0 } };
    expect_refused(data, &sgd, "normalise them before they are given");
    data.scale = NN_NTK;
    expect_refused(data, &sgd, "normalise them before they are given");
    problem masks = { "dropped", dropped, { NULL }, 0, FEATURES, 1, NN_MUP, { 0 } };
    expect_refused(masks, &sgd, "masks of dropout");
    masks.scale = NN_NTK;
    expect_refused(masks, &sgd, "masks of dropout");
}

/* What is asked is checked before anything is drawn. */
Test(training, refuses_what_is_asked)
{
    static const struct {
        tp_train_spec spec;
        nn_parametrization scale;
        const char *setting, *told;
    } rows[] = {
        { { .samples = 8 }, NN_MUP, "depth=2", "8 samples: at least 16" },
        { { .runs = 1 }, NN_MUP, "depth=2", "1 runs: at least 2, for an error" },
        { { .tolerance = 1.5 }, NN_MUP, "depth=2", "a tolerance of 1.5: it must be below 1" },
        { { .every = -1 }, NN_MUP, "depth=2", "a measurement every -1" },
        { { .samples = 64 }, NN_MUP, "weights=orthogonal", "starts orthogonal, and every step uses it again" },
        { { .checkpoint = "none" }, NN_NTK, "depth=2", "in the kernel regime has no checkpoint" },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        problem p = { "mlp", nn_builtin("mlp"), { "phi=tanh", rows[k].setting }, 0, FEATURES, 1, rows[k].scale, { 0 } };
        tp_train_spec spec = rows[k].spec;
        spec.fit.steps = 2;
        expect_refused(p, &spec, rows[k].told);
    }
    problem p = { "mlp", nn_builtin("mlp"), { "phi=tanh" }, 0, FEATURES, 1, NN_MUP, { 0 } };
    const tp_train_spec spec = { .fit = { .steps = 2 } };
    static const char *const told[] = { "x: row 3 holds a number that is not finite", "no program (NULL)",
                                        "no data (NULL)", "no spec (NULL)" };
    setup s;
    open_problem(&p, &s);
    s.x[3 * FEATURES + 1] = (double)NAN;
    for (int k = 0; k < 4; k++) {
        tp_trained run;
        ad_error error = { 0 };
        cr_expect(tp_train(k == 1 ? NULL : s.program, k == 2 ? NULL : &s.data, NULL, k == 3 ? NULL : &spec, &run,
                           &error) != 0 &&
                      strstr(error.text, told[k]),
                  "%s: %s", told[k], error.text);
    }
    close_problem(&s);
}
