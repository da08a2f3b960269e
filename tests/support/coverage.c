#include "tests/support/coverage.h"

#include <math.h>
#include <string.h>

/* ---- Student's law ---- */
/* With t = sqrt(freedom) tan a the density is that of cos^(freedom - 1) a: Simpson's rule. */
static double cosine_power(double a, int power)
{
    enum { STEPS = 2000 };
    double sum = 0, h = a / STEPS;
    for (int k = 0; k <= STEPS; k++)
        sum += (k == 0 || k == STEPS ? 1 : k % 2 ? 4 : 2) * pow(cos(k * h), power);
    return sum * h / 3;
}

double student_within(double t, int freedom)
{
    return cosine_power(atan(t / sqrt(freedom)), freedom - 1) / cosine_power(acos(-1) / 2, freedom - 1);
}

static double half_width(double within, int freedom)
{
    double low = 0, high = 1000;
    for (int k = 0; k < 60; k++) {
        double t = (low + high) / 2;
        *(student_within(t, freedom) < within ? &low : &high) = t;
    }
    return low;
}

/* ---- networks ---- */
/* The next case of a kind and a function whose rows are ordinary: two of them span a plane. */
static truth_case next_case(uint64_t *seed, truth_kind kind, const activation *f)
{
    for (;;) {
        truth_case c = truth_case_with((*seed)++, kind, f);
        if (strcmp(c.inputs, "ordinary") == 0 && c.features > 1 && c.rows > 1)
            return c;
    }
}

typedef struct {
    nn_net *net;
    tp_program *program;
    const double *second;
    double truth;
    tp_kernel_kind which;
} network;

static int network_new(network *n, const truth_case *c, tp_kernel_kind which, ad_error *error)
{
    static truth_kernels truth;
    truth_solve(c, &truth);
    int column = c->rows2 ? c->rows : 1;
    *n = (network){ .which = which, .second = c->rows2 ? c->x + c->rows * c->steps * c->features : NULL };
    n->truth = real_double(which == TP_NTK ? truth.ntk[0][0][column] : truth.nngp[0][column]);
    n->net = truth_trace(c, error);
    n->program = n->net ? tp_translate(n->net, error) : NULL;
    return n->program ? 0 : -1;
}

static void network_free(network *n)
{
    tp_program_free(n->program);
    if (n->net)
        nn_net_free(n->net);
}

static void add_kernel(coverage *sum, const tp_kernel *kernel, int column, double truth, double width)
{
    double off = kernel->terms[0].values[column] - truth, error = kernel->deviations[column];
    sum->kernels++;
    sum->powers += fabs(kernel->terms[0].power) > 0;
    sum->held += fabs(off) <= width * error;
    sum->below += off > width * error;
    sum->squares += pow(off / error, 2);
}

static int seeds_of(const truth_case *c, const coverage_spec *spec)
{
    return c->kind >= TRUTH_DEEP ? spec->deep_seeds : spec->seeds;
}

static int run_network(const truth_case *c, tp_kernel_kind which, const coverage_spec *spec, uint64_t seed,
                       coverage *sum, ad_error *error)
{
    network n;
    int status = network_new(&n, c, which, error);
    double width = half_width(0.95, (spec->runs ? spec->runs : 8) - 1);
    for (int k = 0; k < seeds_of(c, spec) && !status; k++) {
        tp_kernel kernel = { 0 };
        ad_error refusal = { 0 };
        tp_limit_spec limit = { .engine = TP_ENGINE_SAMPLE, .samples = spec->samples, .runs = spec->runs };
        limit.seed = 1000 * (seed + (uint64_t)k); /* a run is a seed of its own, from the kernel's on */
        if (tp_limit(n.program, which, c->x, (size_t)c->rows, n.second, (size_t)c->rows2, &limit, &kernel, &refusal))
            sum->refused++;
        else
            add_kernel(sum, &kernel, c->rows2 ? 0 : 1, n.truth, width);
        tp_kernel_free(&kernel);
    }
    network_free(&n);
    return status;
}

static void add(coverage *sum, const coverage *one)
{
    sum->kernels += one->kernels;
    sum->refused += one->refused;
    sum->held += one->held;
    sum->powers += one->powers;
    sum->below += one->below;
    sum->squares += one->squares;
}

coverage coverage_sum(const coverage kinds[N_TRUTH_KINDS])
{
    coverage sum = { 0 };
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        add(&sum, &kinds[k]);
    return sum;
}

void coverage_print(const char *name, const coverage *c, FILE *stream)
{
    fprintf(stream,
            "%-18s %6d intervals, %3d refused: %5.1f %% hold the truth, %.1f %% lie above it, %.1f %% below; mean "
            "square %.2f\n",
            name, c->kernels, c->refused, 100.0 * c->held / c->kernels, 100.0 * c->below / c->kernels,
            100.0 * (c->kernels - c->held - c->below) / c->kernels, c->squares / c->kernels);
}

/* exp and powers of Gaussians have heavy tails: what few samples meet is not seen in the spread of runs, either. */
static bool has_light_tails(const activation *f)
{
    return f->closed && (isinf(f->largest) || f->wave > 0);
}

int coverage_run(const coverage_spec *spec, coverage kinds[N_TRUTH_KINDS], FILE *stream, ad_error *error)
{
    uint64_t seed = 1, draw = 1;
    memset(kinds, 0, N_TRUTH_KINDS * sizeof *kinds);
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        for (int i = 0; activation_number(i); i++) {
            char text[500];
            coverage one = { 0 };
            if (k == TRUTH_STANDARD ||
                !(spec->heavy ? activation_number(i)->closed != NULL : has_light_tails(activation_number(i))))
                continue;
            truth_case c = next_case(&seed, (truth_kind)k, activation_number(i));
            if ((spec->only && k != (int)spec->kind) || seeds_of(&c, spec) < 1)
                continue;
            if (run_network(&c, (i + k) % 2 ? TP_NNGP : TP_NTK, spec, draw, &one, error))
                return -1;
            draw += (uint64_t)seeds_of(&c, spec);
            add(&kinds[k], &one);
            truth_tell(&c, text, sizeof text);
            if (stream && one.kernels)
                coverage_print(text, &one, stream);
            else if (stream)
                fprintf(stream, "%s: refused\n", text);
            if (stream)
                fflush(stream);
        }
    return 0;
}
