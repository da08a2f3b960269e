/* regime.c: limn regime: what a parametrization does as n grows. */
#include "examples/limn/commands/regime.h"

#include <math.h>
#include <string.h>

/* The last part of a path. */
static const char *file_of(ad_where where)
{
    const char *slash = where.file ? strrchr(where.file, '/') : NULL;
    return slash ? slash + 1 : where.file ? where.file : "";
}

static const char *power_text(double p, char text[24])
{
    if (isnan(p))
        snprintf(text, 24, "frozen");
    else if (isinf(p))
        snprintf(text, 24, p > 0 ? "unbounded" : "0");
    else
        snprintf(text, 24, fabs(p) > 1e-9 ? "n^%.4g" : "1", p);
    return text;
}

static const double shown_width = 1e3; /* constants that lead from below it on are not told */

static bool is_near(double limit, double near)
{
    return fabs(coordinate_expected(limit, near) - limit) > 0;
}

/* What the powers are at these widths, where they are others yet. */
static void print_near(const tp_growing *g, const size_t near[2])
{
    char a[24], b[24];
    if (is_near(g->start, g->near_start) || is_near(g->response, g->near_response))
        printf("   at n = %zu to %zu %s, %s", near[0], near[1], power_text(round(100 * g->near_start) / 100, a),
               power_text(round(100 * g->near_response) / 100, b));
}

/* One line for each place in the source. */
static void print_constants(const tp_regime *r)
{
    for (int i = 0; i < r->n_constants; i++) {
        const tp_constant *c = &r->constants[i];
        bool told = !(c->width > shown_width);
        for (int k = 0; k < i; k++)
            told |= r->constants[k].where.line == c->where.line &&
                    !strcmp(file_of(r->constants[k].where), file_of(c->where));
        if (!told && isfinite(c->width))
            printf("%s:%d: from n = %.2g on %.3g is larger than what it is added to; powers are those beyond\n",
                   file_of(c->where), c->where.line, c->width, c->value);
    }
}

static void print_regime(const options *o, const tp_regime *r, const size_t near[2])
{
    char a[24], b[24], c[24];
    printf("%s, --scale %s%s, %s: %s\n\n", o->network,
           o->scale_file ? o->scale_file : option_word(OPTION_SCALE, (int)o->scale),
           o->n_abc > o->n_own ? " with --abc" : "", nn_optimizer_name((nn_optimizer)o->optimizer), r->verdict);
    regime_print_name(r, "vector");
    printf(" %10s %12s %14s   learns\n", "at start", "first step", "several steps");
    for (int v = 0; v < r->n_vectors; v++) {
        const tp_growing *g = &r->vectors[v];
        bool last = v + 1 == r->n_vectors;
        regime_print_name(r, g->name);
        printf(" %10s %12s %14s   %-8s %s:%d", power_text(g->start, a), power_text(g->first, b),
               power_text(g->several, c),
               g->factor            ? "factor"
               : g->several > 1e-9  ? "diverges"
               : g->several > -1e-9 ? (last ? "trains" : "features")
               : last               ? "rests"
                                    : "kernel",
               file_of(g->where), g->where.line);
        print_near(g, near);
        printf("\n");
    }
    print_constants(r);
    printf("\n%-24s %10s %14s   %s\n", "rate of", "has", "its change", "order one by");
    for (int k = 0; k < r->n_params; k++) {
        const tp_layer_rate *p = &r->params[k];
        printf("%-24s %10s %14s   %-8s %s:%d\n", p->name, power_text(p->rate, a), power_text(p->change, b),
               isinf(p->suggested) ? "none" : power_text(p->suggested, c), file_of(p->where), p->where.line);
    }
    printf("all of these rates together are %s\n", r->suggestion ? "stable" : "not stable");
}

static cJSON *power_json(double p)
{
    return json_number(p);
}

static void put_regime(const options *o, const tp_regime *r, const size_t near[2], cJSON *root)
{
    json_put(root, "optimizer", cJSON_CreateString(nn_optimizer_name((nn_optimizer)o->optimizer)));
    json_put(root, "verdict", cJSON_CreateString(r->verdict));
    json_put(root, "stable", cJSON_CreateBool(r->stable));
    json_put(root, "trains", cJSON_CreateBool(r->trains));
    json_put(root, "features", cJSON_CreateBool(r->features));
    cJSON *vectors = json_put(root, "vectors", cJSON_CreateArray());
    for (int v = 0; v < r->n_vectors; v++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(vectors, one);
        json_put(one, "name", cJSON_CreateString(r->vectors[v].name));
        json_put(one, "file", cJSON_CreateString(file_of(r->vectors[v].where)));
        json_put(one, "line", cJSON_CreateNumber(r->vectors[v].where.line));
        json_put(one, "start", power_json(r->vectors[v].start));
        json_put(one, "first", power_json(r->vectors[v].first));
        json_put(one, "several", power_json(r->vectors[v].several));
        json_put(one, "factor", cJSON_CreateBool(r->vectors[v].factor));
        json_put(one, "near_start", power_json(r->vectors[v].near_start));
        json_put(one, "near_step", power_json(r->vectors[v].near_response));
    }
    json_put(root, "near", json_array((double[]){ (double)near[0], (double)near[1] }, &(size_t){ 2 }, 1));
    cJSON *constants = json_put(root, "constants", cJSON_CreateArray());
    for (int i = 0; i < r->n_constants; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(constants, one);
        json_put(one, "file", cJSON_CreateString(file_of(r->constants[i].where)));
        json_put(one, "line", cJSON_CreateNumber(r->constants[i].where.line));
        json_put(one, "value", json_number(r->constants[i].value));
        json_put(one, "width", json_number(r->constants[i].width));
    }
    cJSON *rates = json_put(root, "rates", cJSON_CreateArray());
    for (int k = 0; k < r->n_params; k++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(rates, one);
        json_put(one, "parameter", cJSON_CreateString(r->params[k].name));
        json_put(one, "rate", power_json(r->params[k].rate));
        json_put(one, "change", power_json(r->params[k].change));
        json_put(one, "suggested", power_json(r->params[k].suggested));
    }
    json_put(root, "suggested_stable", cJSON_CreateBool(r->suggestion));
}

static int tell(const options *o, nn_net *net, const ds_data *data, ad_error *error)
{
    tp_regime r = { 0 };
    tp_program *program = tp_translate(net, error);
    const size_t *widths;
    int n_widths = coordinate_widths(o, net, &widths);
    tp_regime_spec spec = { .optimizer = (nn_optimizer)o->optimizer, .near = { widths[0], widths[n_widths - 1] } };
    int status = program ? tp_regime_find(program, &spec, &r, error) : -1;
    cJSON *root = o->json ? json_new(o) : NULL;
    if (!status && root)
        put_regime(o, &r, spec.near, root);
    else if (!status)
        print_regime(o, &r, spec.near);
    if (!status && o->check)
        status = regime_check(o, net, data, program, root, error);
    tp_regime_free(&r);
    tp_program_free(program);
    if (!status && o->json)
        return json_print(root, error);
    cJSON_Delete(root);
    return status;
}

static int run_regime(const options *o, ad_error *error)
{
    ds_data *data = o->inputs || o->data || o->check ? data_load(o, error) : NULL;
    bool known = data || !(o->inputs || o->data || o->check);
    nn_net *net = known ? network_trace(o, data, error) : NULL;
    int status = net ? tell(o, net, data, error) : -1;
    nn_net_free(net);
    ds_free(data);
    return status;
}

static int settle_regime(options *o)
{
    if (o->optimizer < 0)
        o->optimizer = NN_SGD;
    if (!o->check && (o->n_widths || o->seeds || o->rate_given || o->steps_given || o->csv || o->progress))
        return option_fail("--widths, --seeds, --rate, --steps, --csv and --progress are of --check in", o->command);
    if (o->check && ((o->rate_given && !(o->rate > 0)) || (o->steps_given && o->steps < 1)))
        return option_fail("--check takes a step at least, and a rate above 0, in", o->command);
    if (o->check && o->n_widths && o->n_widths < 4)
        return option_fail("--check takes four --widths or more, not", "fewer");
    if (o->optimizer >= NN_N_OPTIMIZERS)
        return option_fail("regime is of steps, not of --optimizer", "flow");
    return 0;
}

const tool_command command_regime = {
    .name = "regime",
    .argument = "NET",
    .summary = "what a parametrization does as n grows: stable? features?",
    .manual =
        "From the exponents alone: the power of n of every vector's size and of its change by --optimizer (sgd), "
        "the line that breaks a parametrization, and the powers of the rates with which each parameter's "
        "change is of order one. --abc gives exponents of one's own: W = n^-a omega, omega of deviation n^-b, "
        "rate n^-c, of input, hidden, readout, bias, output-bias, gain (of a norm) or parameters by name; so "
        "does a file of --scale. Powers are of n without bound; where slopes of size and of the first step's change "
        "between the widths of --check are others yet, as of tanh(h) for h ~ n^-1/4, they are told, from sizes with "
        "their "
        "constants, and so is the width from which on a constant leads, as a normalisation's epsilon.\n"
        "--check trains by square loss on --train inputs (8) in full batches, --steps (1) at --rate (1e-4) with "
        "--seeds (16) at four --widths or more (128,256,512,1024; of pictures 16,32,64,128), and prints slopes of log "
        "size and "
        "log change over log n with Student's 95 % intervals. Derived is the power, or, of one step, the slope at "
        "these "
        "widths where it is another. A sum of powers is no power: of one step the change "
        "is that by the parameters whose updates have the largest derived power, and where others change the "
        "vector, too, their share of all is told; a parameter that alone changes more is told as well. Targets "
        "are labels + f for each network's outputs f at the start, or labels n^p + f where f grows like n^p, so that "
        "the "
        "residual is one power, too; f's size is over 32 draws of its readouts. Disagreement by more than 0.1 beyond "
        "the "
        "intervals within which all of these slopes are at 95 % is told with the line.",
    .takes = TAKE_NETWORK | TAKE(FREEZE) | TAKE(OPTIMIZER) | TAKE(CHECK) | TAKE(LABELS) | TAKE(SCALING) | TAKE(WIDTHS) |
             TAKE(SEED) | TAKE(SEEDS) | TAKE(RATE) | TAKE(STEPS) | TAKE(TRAIN) | TAKE(THREADS) | TAKE(CSV) |
             TAKE(PROGRESS),
    .settle = settle_regime,
    .run = run_regime,
};
