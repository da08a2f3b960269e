/* regime_check.c: limn regime --check: the coordinate check as a table, CSV and JSON. */
#include "examples/limn/commands/regime.h"

#include <math.h>
#include <string.h>

static void print_line(const tp_growing *g, const char *kind, coordinate_line l)
{
    if (l.zero) {
        printf("%-8s %-7s %9.4g %9s   it is 0, which goes with no power\n", g->name, kind, l.derived, "none");
        return;
    }
    printf("%-8s %-7s %9.4g %9.3f   [%.3f, %.3f]", g->name, kind, l.derived, l.fitted, l.fitted - l.half,
           l.fitted + l.half);
    if (!l.agrees) {
        const char *slash = strrchr(g->where.file ? g->where.file : "", '/');
        printf("   not as derived: %s:%d", slash ? slash + 1 : g->where.file, g->where.line);
    }
    printf("\n");
}

static void print_table(const coordinate_check *c)
{
    printf("\n%-8s %-7s %9s %9s   95 %% interval\n", "vector", "of its", "derived", "fitted");
    for (int v = 0; v < c->regime.n_vectors; v++)
        for (int kind = 0; kind < COORDINATE_KINDS; kind++)
            print_line(&c->regime.vectors[v], coordinate_kinds[kind], coordinate_fit(c, v, (coordinate_kind)kind));
    if (!coordinate_agrees(c))
        printf("terms of lower order may still lead at these widths: try larger --widths\n");
}

static int write_csv(const coordinate_check *c, const char *path, ad_error *error)
{
    char text[256] = "vector,of,derived,fitted,low,high\n";
    ad_file *file = ad_file_create(path, error);
    int status = file ? ad_file_write(file, text, strlen(text), error) : -1;
    for (int i = 0; !status && i < c->regime.n_vectors * COORDINATE_KINDS; i++) {
        int v = i / COORDINATE_KINDS, kind = i % COORDINATE_KINDS;
        coordinate_line l = coordinate_fit(c, v, (coordinate_kind)kind);
        ad_snprintf(text, sizeof text, "%.80s,%s,%.17g,%.17g,%.17g,%.17g\n", c->regime.vectors[v].name,
                    coordinate_kinds[kind], l.derived, l.fitted, l.fitted - l.half, l.fitted + l.half);
        status = ad_file_write(file, text, strlen(text), error);
    }
    if (status)
        ad_file_discard(file);
    return status ? -1 : ad_file_close(file, error);
}

static void tell_json(const coordinate_check *c, cJSON *root)
{
    cJSON *list = json_put(root, "check", cJSON_CreateArray());
    for (int v = 0; v < c->regime.n_vectors; v++)
        for (int kind = 0; kind < COORDINATE_KINDS; kind++) {
            coordinate_line l = coordinate_fit(c, v, (coordinate_kind)kind);
            cJSON *one = json_put(list, "", cJSON_CreateObject());
            json_put(one, "vector", cJSON_CreateString(c->regime.vectors[v].name));
            json_put(one, "of", cJSON_CreateString(coordinate_kinds[kind]));
            json_put(one, "derived", json_number(l.derived));
            json_put(one, "fitted", json_number(l.fitted));
            json_put(one, "interval",
                     json_array((double[]){ l.fitted - l.half, l.fitted + l.half }, &(size_t){ 2 }, 1));
            json_put(one, "agrees", cJSON_CreateBool(l.agrees));
        }
}

int regime_check(const options *o, const nn_net *net, const ds_data *data, const tp_program *program, cJSON *root,
                 ad_error *error)
{
    coordinate_check c;
    if (coordinate_measure(o, net, program, data, &c, error))
        return -1;
    if (root)
        tell_json(&c, root);
    else
        print_table(&c);
    int status = o->csv ? write_csv(&c, o->csv, error) : 0;
    coordinate_free(&c);
    return status;
}
