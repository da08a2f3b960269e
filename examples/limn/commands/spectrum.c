/* spectrum.c: limn spectrum: the squared singular values of a Jacobian between two vectors of the network. */
#include "examples/limn/commands/spectrum.h"

#include "examples/limn/commands/commands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- networks at a width ---- */
static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The squares of all seeds at one width, ascending; moments are the widest's. */
static int measure_width(spectrum_result *r, tp_program *program, const nn_net *net, const double *x, int which,
                         ad_error *error)
{
    const options *o = r->o;
    size_t n = r->widths[which], count = 0, total = 0;
    double *all = NULL;
    int status = 0;
    for (int k = 0; k < r->seeds && !status; k++) {
        double *one = NULL;
        nn_model *model = nn_model_new(net, n, (uint64_t)(o->seed + k), AD_DOUBLE, (int)o->threads, error);
        status = model ? tp_jacobian_squares(program, model, x, o->from, o->to, &one, &count, error) : -1;
        if (!status && !all && !(all = ad_alloc((size_t)r->seeds * count, sizeof *all, "singular values", error)))
            status = -1;
        for (int m = 0; m < r->limit.n_moments && !status && which == 0; m++) {
            double sum = 0;
            for (size_t i = 0; i < count; i++)
                sum += pow(one[i], m + 1) / (double)count;
            double before = r->moments[m];
            r->moments[m] += (sum - before) / (k + 1);
            r->errors[m] += (sum - before) * (sum - r->moments[m]);
        }
        if (!status)
            memcpy(all + total, one, count * sizeof *one);
        total += status ? 0 : count;
        ad_free(one);
        nn_model_free(model);
    }
    if (!status) {
        qsort(all, total, sizeof *all, ascending);
        r->distances[which] = r->limit.has_law ? tp_spectrum_distance(&r->limit, all, total) : NAN;
    }
    if (!status && which == 0) {
        r->squares = all;
        r->n_squares = total;
        for (int m = 0; m < r->limit.n_moments; m++)
            r->errors[m] = r->seeds > 1 ? sqrt(r->errors[m] / (r->seeds - 1) / r->seeds) : NAN;
        return 0;
    }
    ad_free(all);
    return status;
}

static int measure(spectrum_result *r, tp_program *program, const nn_net *net, const double *x, ad_error *error)
{
    const options *o = r->o;
    r->seeds = o->seeds > 0 ? (int)o->seeds : 4;
    for (size_t n = o->width; n >= 8 && r->n_widths < SPECTRUM_WIDTHS; n /= 2)
        r->widths[r->n_widths++] = n;
    if (!r->n_widths)
        r->widths[r->n_widths++] = o->width;
    for (int k = 0; k < r->n_widths; k++)
        if (measure_width(r, program, net, x, k, error))
            return -1;
    return 0;
}

/* Of log distance over log n, by least squares. */
static double slope_of(const spectrum_result *r)
{
    double x = 0, y = 0, xx = 0, xy = 0, n = r->n_widths;
    for (int k = 0; k < r->n_widths; k++) {
        double u = log((double)r->widths[k]), v = log(r->distances[k]);
        x += u;
        y += v;
        xx += u * u;
        xy += u * v;
    }
    return (n * xy - x * y) / (n * xx - x * x);
}

/* ---- what is told ---- */
static const char *number(double value, char *text, size_t size)
{
    snprintf(text, size, isinf(value) ? "∞" : "%.8g", value);
    return text;
}

static void print_law(const tp_spectrum *s)
{
    char a[32], b[32], c[32];
    if (s->points) {
        printf("\nsupport of the density  [%s, ", number(exp(s->log_support[0]), a, sizeof a));
        for (int k = 0; k + 1 < s->n_bands; k++) {
            printf("%s] and ", number(exp(s->bands[k][1]), a, sizeof a));
            printf("[%s, ", number(exp(s->bands[k + 1][0]), a, sizeof a));
        }
        printf("%s]\n", number(exp(s->log_support[1]), a, sizeof a));
    }
    for (int k = 0; k < s->n_atoms; k++)
        printf("%s  mass %.8g at %.8g\n", k ? "    " : "\natom", s->atoms[k].mass, s->atoms[k].at);
    printf("singular values         largest %s, smallest %s, condition %s\n", number(s->largest, a, sizeof a),
           number(s->smallest, b, sizeof b), number(s->condition, c, sizeof c));
}

static void print_text(const spectrum_result *r)
{
    const options *o = r->o;
    const tp_spectrum *s = &r->limit;
    printf("Squared singular values of the Jacobian of %s from %s to %s at n = ∞, at the first input.\n", o->network,
           o->from ? o->from : "its first hidden preactivation", o->to ? o->to : "its last");
    printf("%s.\n\n", s->method);
    printf("        %18s", "limit");
    if (r->n_widths)
        printf("               n = %zu, %d seeds", r->widths[0], r->seeds);
    putchar('\n');
    for (int k = 0; k < s->n_moments; k++) {
        printf("  m_%-3d %18.12g ± %.1e", k + 1, s->moments[k], s->errors[k]);
        if (r->n_widths)
            printf("  %12.6g ± %.1e", r->moments[k], r->errors[k]);
        putchar('\n');
    }
    if (s->has_law)
        print_law(s);
    if (!r->n_widths || !s->has_law)
        return;
    puts("\nKolmogorov distance of networks' singular values from the limit");
    for (int k = 0; k < r->n_widths; k++)
        printf("  n = %-6zu %.4f\n", r->widths[k], r->distances[k]);
    if (r->n_widths > 1)
        printf("  slope in n %.2f\n", slope_of(r));
}

static void json_list(cJSON *object, const char *key, const double *values, size_t n)
{
    json_put(object, key, json_array(values, &n, 1));
}

static void json_density(cJSON *root, const tp_spectrum *s)
{
    cJSON *density = json_put(root, "density", cJSON_CreateObject());
    double *lambda = ad_alloc(2 * s->points + 1, sizeof *lambda, "JSON", NULL),
           *rho = lambda + (lambda ? s->points : 0);
    size_t n = 0;
    for (size_t i = 0; lambda && i < s->points; i++) {
        lambda[n] = exp(s->log_lambda[i]);
        rho[n] = s->per_log[i] / lambda[n];
        n += lambda[n] > 1e-300; /* below, log_lambda has it */
    }
    json_put(density, "lambda", lambda ? json_array(lambda, &n, 1) : NULL);
    json_put(density, "rho", lambda ? json_array(rho, &n, 1) : NULL);
    ad_free(lambda);
    json_list(density, "log_lambda", s->log_lambda, s->points);
    json_list(density, "density_of_log", s->per_log, s->points);
    cJSON *support = json_put(root, "support", cJSON_CreateArray());
    for (int k = 0; k < 2 * s->n_bands; k++)
        json_put(support, "", json_number(exp(s->bands[k / 2][k % 2])));
    for (int k = 0; k < 2 && s->points && !s->n_bands; k++)
        json_put(support, "", json_number(exp(s->log_support[k])));
}

static int print_json(const spectrum_result *r, ad_error *error)
{
    const tp_spectrum *s = &r->limit;
    cJSON *root = json_new(r->o);
    json_put(root, "from", r->o->from ? cJSON_CreateString(r->o->from) : cJSON_CreateNull());
    json_put(root, "to", r->o->to ? cJSON_CreateString(r->o->to) : cJSON_CreateNull());
    json_list(root, "moments", s->moments, (size_t)s->n_moments);
    json_list(root, "error", s->errors, (size_t)s->n_moments);
    json_put(root, "method", cJSON_CreateString(s->method));
    if (s->has_law) {
        json_density(root, s);
        cJSON *atoms = json_put(root, "atoms", cJSON_CreateArray());
        for (int k = 0; k < s->n_atoms; k++) {
            cJSON *atom = json_put(atoms, "", cJSON_CreateObject());
            json_put(atom, "at", json_number(s->atoms[k].at));
            json_put(atom, "mass", json_number(s->atoms[k].mass));
        }
        json_put(root, "largest", json_number(s->largest));
        json_put(root, "smallest", json_number(s->smallest));
        json_put(root, "condition", json_number(s->condition));
    }
    cJSON *finite = r->n_widths ? json_put(root, "finite", cJSON_CreateArray()) : NULL;
    for (int k = 0; k < r->n_widths; k++) {
        cJSON *item = json_put(finite, "", cJSON_CreateObject());
        json_put(item, "width", json_number((double)r->widths[k]));
        json_put(item, "seeds", json_number(r->seeds));
        json_put(item, "distance", json_number(r->distances[k]));
        if (k == 0) {
            json_list(item, "moments", r->moments, (size_t)s->n_moments);
            json_list(item, "error", r->errors, (size_t)s->n_moments);
        }
    }
    return json_print(root, error);
}

/* ---- the command ---- */
static int find(const options *o, tp_program *program, const nn_net *net, const double *x, ad_error *error)
{
    spectrum_result r = { .o = o };
    tp_spectrum_spec spec = { .from = o->from,
                              .to = o->to,
                              .moments = (int)o->moments,
                              .points = (size_t)o->points,
                              .engine = o->engine,
                              .samples = (size_t)o->samples,
                              .runs = (int)o->runs,
                              .seed = (uint64_t)o->seed,
                              .threads = (int)o->threads,
                              .progress = progress_tell };
    progress_begin(o, "the moments");
    int status = tp_spectrum_find(program, x, &spec, &r.limit, error);
    progress_end();
    if (!status && o->width)
        status = measure(&r, program, net, x, error);
    if (!status && o->out)
        status = spectrum_write(&r, error);
    if (!status && o->json)
        status = print_json(&r, error);
    else if (!status)
        print_text(&r);
    ad_free(r.squares);
    tp_spectrum_free(&r.limit);
    return status;
}

static int run_spectrum(const options *o, ad_error *error)
{
    ds_data *data = data_load(o, error);
    nn_net *net = data ? network_trace(o, data, error) : NULL;
    tp_program *program = net ? tp_translate(net, error) : NULL;
    int status = !program                ? -1
                 : o->format == TP_LATEX ? tp_spectrum_print(program, data->x, o->from, o->to, stdout, error)
                 : o->degrees            ? spectrum_degrees(o, program, error)
                 : o->critical           ? spectrum_critical(o, program, data->x, error)
                                         : find(o, program, net, data->x, error);
    tp_program_free(program);
    nn_net_free(net);
    ds_free(data);
    return status;
}

static int settle_spectrum(options *o)
{
    if (o->out && !spectrum_writes(o->out))
        return option_fail("--out of a spectrum ends in .npy, .csv or .svg, not", o->out);
    if (o->seeds && !o->width)
        return option_fail("--seeds without --width in", o->command);
    if (o->format == TP_JSON)
        return option_fail("the result as JSON is --json, not --format", "json");
    if (o->format == TP_LATEX && (o->critical || o->width || o->out || o->json || o->moments))
        return option_fail("--format latex is the density's equation: no other result beside it in", o->command);
    if (o->degrees && (o->from || o->to || o->width || o->moments || o->points || o->critical))
        return option_fail("--degrees is of a kernel: no --from, --to, --width, --moments, --points and --critical in",
                           o->command);
    if (o->degrees && ((int)o->kernel == KERNEL_BOTH || (o->out && path_ends_with(o->out, ".svg"))))
        return option_fail("--degrees is of --kernel ntk or nngp, and --out of it ends in .npy or .csv, in",
                           o->command);
    if (!o->degrees && o->kernel != TP_NTK)
        return option_fail("--kernel without --degrees in", o->command);
    if (o->critical && (o->from || o->to || o->width || o->moments || o->points))
        return option_fail("--critical is of a layer: no --from, --to, --width, --moments and --points in", o->command);
    return 0;
}

const tool_command command_spectrum = {
    .name = "spectrum",
    .argument = "NET",
    .summary = "the singular values of a Jacobian between two layers",
    .manual =
        "J = dv/du at the first input, u and v by the names of limn program, --from and --to; J J' has moments m_k "
        "= (1/n) tr (J J')^k.\n"
        "Chains of layers, Gaussian or orthogonal, have a density, by free probability; of all other networks the\n"
        "moments are found, exactly or by samples. --width N measures networks of width N, N/2 and N/4 beside it.\n"
        "--degrees K is of the limit kernel: its eigenvalues on the sphere |x|^2 = d and the cube {-1, 1}^d.\n"
        "--format latex prints the equation that is solved for the density.\n",
    .takes = TAKE_NETWORK | TAKE(FROM) | TAKE(TO) | TAKE(MOMENTS) | TAKE(POINTS) | TAKE(FORMAT) | TAKE(CRITICAL) |
             TAKE(DEGREES) | TAKE(KERNEL) | TAKE(WIDTH) | TAKE(SEED) | TAKE(SEEDS) | TAKE(ENGINE) | TAKE(SAMPLES) |
             TAKE(RUNS) | TAKE(OUT) | TAKE(THREADS) | TAKE(PROGRESS),
    .settle = settle_spectrum,
    .run = run_spectrum,
};
