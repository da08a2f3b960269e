/* spectrum_degrees.c: limn spectrum --degrees: the eigenvalues of the limit kernel by degree, on the sphere and the
 * cube. */
#include "examples/limn/commands/spectrum.h"

#include <math.h>
#include <string.h>

/* An eigenvalue, or what it is below. */
static const char *number(double value, double error, char *text, size_t size)
{
    snprintf(text, size, fabs(value) > error ? "%.6g" : "< %.1e", fabs(value) > error ? value : error);
    return text;
}

static void print_text(const options *o, const tp_degree *degrees)
{
    printf("Eigenvalues of the %s of %s by degree, as a kernel of x . y on |x|² = d and on {-1, 1}^d, ± %.1e\n\n",
           o->kernel == TP_NNGP ? "NNGP kernel" : "NTK", o->network, degrees->error);
    puts("  degree        sphere        number          cube        number");
    for (int k = 0; k < o->degrees; k++) {
        const tp_degree *d = &degrees[k];
        char sphere[32], cube[32];
        printf("  %6d  %12s  %12.6g  %12s  %12.6g\n", k, number(d->sphere, d->error, sphere, sizeof sphere),
               d->on_sphere, number(d->cube, d->error, cube, sizeof cube), d->on_cube);
    }
}

static int print_json(const options *o, const tp_degree *degrees, ad_error *error)
{
    cJSON *root = json_new(o), *list = json_put(root, "degrees", cJSON_CreateArray());
    for (int k = 0; k < o->degrees; k++) {
        cJSON *item = json_put(list, "", cJSON_CreateObject());
        json_put(item, "degree", json_number(k));
        json_put(item, "sphere", json_number(degrees[k].sphere));
        json_put(item, "on_sphere", json_number(degrees[k].on_sphere));
        json_put(item, "cube", json_number(degrees[k].cube));
        json_put(item, "on_cube", json_number(degrees[k].on_cube));
        json_put(item, "error", json_number(degrees[k].error));
    }
    return json_print(root, error);
}

static int write_rows(const options *o, const tp_degree *degrees, ad_error *error)
{
    double rows[TP_DEGREES][5];
    char text[TP_DEGREES * 120] = "degree,sphere,on_sphere,cube,on_cube\n";
    for (int k = 0; k < o->degrees; k++) {
        const tp_degree *d = &degrees[k];
        size_t used = strlen(text);
        memcpy(rows[k], (double[]){ k, d->sphere, d->on_sphere, d->cube, d->on_cube }, sizeof *rows);
        snprintf(text + used, sizeof text - used, "%d,%.17g,%.17g,%.17g,%.17g\n", k, d->sphere, d->on_sphere, d->cube,
                 d->on_cube);
    }
    return path_ends_with(o->out, ".npy") ? ds_npy_write(o->out, rows[0], (size_t[]){ (size_t)o->degrees, 5 }, 2, error)
                                          : spectrum_write_text(o->out, text, error);
}

int spectrum_degrees(const options *o, tp_program *program, ad_error *error)
{
    tp_degree degrees[TP_DEGREES];
    int status = tp_degrees_find(program, o->kernel, (int)o->degrees, degrees, error);
    if (!status && o->out)
        status = write_rows(o, degrees, error);
    if (!status && o->json)
        return print_json(o, degrees, error);
    if (!status)
        print_text(o, degrees);
    return status;
}
