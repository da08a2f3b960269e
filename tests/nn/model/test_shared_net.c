/* One net, several threads: models of one net, each in its own thread, give what they give in one thread, bit for bit.
 *
 * Under ThreadSanitizer (sh tests/sanitize.sh thread) the same work has a main of its own, without Criterion. */
#include "nn/nn.h"
#include "tp/tp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6, FEATURES = 5, OUTPUTS = 3, WIDTH = 8, NUMBERS = 128, ROUNDS = 40, JOBS = 40, NETS = 3, KINDS = 10 };

typedef struct {
    nn_net *nets[NETS]; /* shared by all threads */
    double (*results)[NUMBERS];
    atomic_int next, failures;
} work;

static const struct {
    const char *name, *setting;
    nn_spec spec;
} nets[NETS] = { { "mlp", "depth=6", { .features = FEATURES, .outputs = OUTPUTS } },
                 { "batchnorm", "depth=2", { .features = FEATURES, .outputs = OUTPUTS } },
                 { "rnn", "cell=gru", { .shape = { FEATURES, 1 }, .outputs = OUTPUTS } } };

/* Every job has a model of its own, and a part of the net that it may be the first to ask for. */
static int run_job(work *w, int job)
{
    nn_net *net = w->nets[job % NETS];
    int kind = job / NETS % KINDS, failed = 0;
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS], *out = w->results[job], mean = 0;
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = (double)((7 * i + 3 * job) % 11) / 11 - 0.4;
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        y[i] = (i + job) % OUTPUTS;
    nn_loss loss = kind % 2 ? NN_SQUARE : NN_CROSS_ENTROPY;
    nn_data data = { x, y, ROWS, loss == NN_SQUARE ? 0 : OUTPUTS };
    if (kind == 9) { /* the net's backward pass as a program */
        tp_program *program = tp_translate(net, NULL);
        failed = !program;
        tp_program_free(program);
        return failed;
    }
    nn_model *model = nn_model_new(net, WIDTH, (uint64_t)job, job % 2 ? AD_DOUBLE : AD_FLOAT, 1, NULL);
    if (!model)
        return 1;
    nn_set_mode(model, job % 4 ? NN_AUTO : NN_EVALUATION);
    nn_fit_spec spec = { .loss = loss,
                         .optimizer = (nn_optimizer)(job % NN_N_OPTIMIZERS),
                         .rate = 0.01,
                         .steps = 4,
                         .batch = 3,
                         .seed = (uint64_t)job };
    switch (kind) {
    case 0:
    case 1:
    case 2:
        failed = (kind == 0   ? nn_ntk
                  : kind == 1 ? nn_nngp
                              : nn_training_kernel)(model, x, ROWS, NULL, 0, NN_MEAN, out, NULL);
        break;
    case 3:
        failed = nn_ntk(model, x, 2, x + 2 * FEATURES, 3, NN_FULL, out, NULL);
        break;
    case 4:
        failed = nn_activations(model, nn_output(net), x, ROWS, out, NULL);
        break;
    case 5:
        failed = nn_forward(model, x, ROWS, out, NULL);
        break;
    default:
        failed = nn_fit(model, &data, &spec, NULL, NULL) || nn_evaluate(model, &data, loss, &mean, NULL, NULL) ||
                 nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, out, NULL);
        out[ROWS * ROWS] = mean;
    }
    nn_model_free(model);
    return failed;
}

static void *run_jobs(void *context)
{
    work *w = context;
    for (int job; (job = atomic_fetch_add(&w->next, 1)) < JOBS;)
        if (run_job(w, job))
            atomic_fetch_add(&w->failures, 1);
    return NULL;
}

/* All jobs on nets that are traced anew; how many failed. */
static int run_round(int n_threads, double (*results)[NUMBERS])
{
    pthread_t threads[4];
    work w = { .results = results };
    memset(results, 0, JOBS * sizeof *results);
    for (int k = 0; k < NETS; k++) {
        nn_spec spec = nets[k].spec;
        spec.settings = (const char *[]){ nets[k].setting, NULL };
        if (!(w.nets[k] = nn_trace(nn_builtin(nets[k].name), &spec, NULL)))
            return 1;
    }
    for (int k = 1; k < n_threads; k++)
        if (pthread_create(&threads[k], NULL, run_jobs, &w))
            return 1;
    run_jobs(&w);
    for (int k = 1; k < n_threads; k++)
        pthread_join(threads[k], NULL);
    for (int k = 0; k < NETS; k++)
        nn_net_free(w.nets[k]);
    return atomic_load(&w.failures);
}

/* How many of the jobs of all rounds failed, or gave other bits than in one thread. */
static int differences(int n_threads)
{
    static double one[JOBS][NUMBERS], several[JOBS][NUMBERS];
    int count = run_round(1, one);
    for (int round = 0; round < ROUNDS; round++) {
        count += run_round(n_threads, several);
        for (int job = 0; job < JOBS; job++)
            count += memcmp(one[job], several[job], sizeof *one) != 0;
    }
    return count;
}

#ifdef PLAIN_MAIN
int main(void)
{
    int two = differences(2), four = differences(4);
    if (two + four)
        printf("%d and %d jobs differ\n", two, four);
    else
        puts("the same in 1, 2 and 4 threads");
    return two + four > 0;
}
#else
#include <criterion/criterion.h>

Test(shared_net, two_models_of_one_net)
{
    cr_assert(differences(2) == 0);
}

Test(shared_net, four_models_of_one_net)
{
    cr_assert(differences(4) == 0);
}

/* What cannot be traced is told to who asked for it, and takes nothing from the others. */
static void rough(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

static const ad_function no_derivative = { .name = "rough", .count = 1, .derivatives = { rough } };

static ad_var rough_net(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_readout(net, "readout", ad_custom(&no_derivative, nn_dense(net, "dense", x, n)));
}

Test(shared_net, a_failed_trace_is_taken_back)
{
    double x[ROWS * FEATURES] = { 1, 2, 3 }, out[ROWS * ROWS];
    nn_net *net = nn_trace(rough_net, &(nn_spec){ .features = FEATURES }, NULL);
    nn_model *model = nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, NULL);
    int size = ad_graph_size(nn_graph(net));
    for (int turn = 0; turn < 2; turn++) {
        ad_error error = { 0 };
        cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, out, &error) != 0);
        cr_assert(strstr(error.text, "rough"), "%s", error.text);
        cr_assert(ad_graph_size(nn_graph(net)) == size && !ad_failed(nn_graph(net)));
    }
    ad_error error = { 0 };
    cr_assert(nn_forward(model, x, ROWS, out, &error) == 0, "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
}
#endif
