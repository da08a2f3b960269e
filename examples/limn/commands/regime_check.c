/* regime_check.c: limn regime --check: the coordinate check as a table, CSV and JSON. */
#include "examples/limn/commands/regime.h"

#include <math.h>
#include <string.h>

static void print_place(ad_where where)
{
    const char *slash = strrchr(where.file ? where.file : "", '/');
    printf("   not as derived: %s:%d", slash ? slash + 1 : where.file, where.line);
}

/* What the slope tends to, where it is not near it at these widths. */
static void print_limit(coordinate_line l)
{
    if (!l.underived && fabs(l.limit - l.derived) > 0)
        printf("   n^%.4g as n grows", l.limit);
}

static void print_derived(coordinate_line l)
{
    if (l.underived)
        printf(" %9s", "none");
    else if (isinf(l.derived))
        printf(" %9s", "zero");
    else
        printf(fabs(l.limit - l.derived) > 0 ? " %9.3f" : " %9.4g", l.derived);
}

static void print_fitted(coordinate_line l)
{
    if (l.zero)
        printf(" %9s   it is 0, which goes with no power", "none");
    else if (l.unfit)
        printf(" %9s   some networks have 0 there, or no number", "none");
    else
        printf(" %9.3f   [%.3f, %.3f]", l.fitted, l.fitted - l.half, l.fitted + l.half);
}

static void print_line(const coordinate_check *c, int v, coordinate_kind kind)
{
    const tp_growing *g = &c->regime.vectors[v];
    coordinate_line l = coordinate_fit(c, v, kind);
    char leaders[COORDINATE_TEXT] = "";
    if (kind == COORDINATE_CHANGE && !l.zero && !l.unfit)
        coordinate_leaders(c, v, leaders);
    regime_print_name(&c->regime, g->name);
    printf(" %-7s", coordinate_kinds[kind]);
    print_derived(l);
    print_fitted(l);
    printf("%s%s", leaders[0] ? "   " : "", leaders);
    print_limit(l);
    if (l.underived)
        printf("   not derived: %s", l.underived);
    else if (l.lost)
        printf("   not told: the update is lost in rounding of %s; try a larger --rate", l.lost);
    else if (!l.agrees)
        print_place(g->where);
    printf("\n");
}

/* A parameter whose update changes more than the derived power allows. */
static void print_part(const coordinate_check *c, int v, int param)
{
    coordinate_line l = coordinate_part(c, v, param);
    if (l.agrees)
        return;
    regime_print_name(&c->regime, c->regime.vectors[v].name);
    printf(" %-7s %9.4g %9.3f   [%.3f, %.3f]   by %s alone", "change", l.derived, l.fitted, l.fitted - l.half,
           l.fitted + l.half, c->regime.params[param].name);
    print_place(c->regime.vectors[v].where);
    printf("\n");
}

static void print_table(const coordinate_check *c)
{
    printf("\n");
    regime_print_name(&c->regime, "vector");
    printf(" %-7s %9s %9s   95 %% interval\n", "of its", "derived", "fitted");
    for (int v = 0; v < c->regime.n_vectors; v++) {
        for (int kind = 0; kind < COORDINATE_KINDS; kind++)
            print_line(c, v, (coordinate_kind)kind);
        for (int param = 0; param < c->regime.n_params; param++)
            print_part(c, v, param);
    }
    if (!coordinate_agrees(c))
        printf("terms of lower order may still lead at these widths: try larger --widths\n");
}

static int write_line(ad_file *file, const coordinate_check *c, int v, const char *of, coordinate_line l, double share,
                      ad_error *error)
{
    char text[300];
    ad_snprintf(text, sizeof text, "%.80s,%.100s,%.17g,%.17g,%.17g,%.17g,%.6g\n", c->regime.vectors[v].name, of,
                l.derived, l.fitted, l.fitted - l.half, l.fitted + l.half, share);
    return ad_file_write(file, text, strlen(text), error);
}

static int write_csv(const coordinate_check *c, const char *path, ad_error *error)
{
    static const char head[] = "vector,of,derived,fitted,low,high,share\n";
    ad_file *file = ad_file_create(path, error);
    int status = file ? ad_file_write(file, head, sizeof head - 1, error) : -1;
    for (int v = 0; v < c->regime.n_vectors; v++) {
        for (int kind = 0; kind < COORDINATE_KINDS && !status; kind++)
            status = write_line(file, c, v, coordinate_kinds[kind], coordinate_fit(c, v, (coordinate_kind)kind),
                                kind == COORDINATE_CHANGE ? coordinate_share(c, v) : 1, error);
        for (int param = 0; param < c->regime.n_params && !status; param++) {
            char of[120];
            ad_snprintf(of, sizeof of, "change by %.80s", c->regime.params[param].name);
            coordinate_line l = coordinate_part(c, v, param);
            status = l.agrees ? 0 : write_line(file, c, v, of, l, 1, error);
        }
    }
    if (status)
        ad_file_discard(file);
    return status ? -1 : ad_file_close(file, error);
}

static cJSON *tell_line(const coordinate_check *c, int v, coordinate_line l, const char *of, cJSON *list)
{
    cJSON *one = json_put(list, "", cJSON_CreateObject());
    json_put(one, "vector", cJSON_CreateString(c->regime.vectors[v].name));
    json_put(one, "of", cJSON_CreateString(of));
    json_put(one, "derived", json_number(l.underived ? NAN : l.derived));
    json_put(one, "derived_zero", cJSON_CreateBool(!l.underived && isinf(l.derived)));
    json_put(one, "limit", json_number(l.limit));
    json_put(one, "fitted", json_number(l.fitted));
    json_put(one, "interval", json_array((double[]){ l.fitted - l.half, l.fitted + l.half }, &(size_t){ 2 }, 1));
    json_put(one, "zero", cJSON_CreateBool(l.zero));
    json_put(one, "agrees", l.underived || l.lost ? cJSON_CreateNull() : cJSON_CreateBool(l.agrees));
    if (l.lost)
        json_put(one, "lost", cJSON_CreateString(l.lost));
    if (l.underived)
        json_put(one, "not_derived", cJSON_CreateString(l.underived));
    return one;
}

static void tell_vector(const coordinate_check *c, int v, cJSON *list)
{
    const char *change = coordinate_kinds[COORDINATE_CHANGE];
    tell_line(c, v, coordinate_fit(c, v, COORDINATE_SIZE), coordinate_kinds[COORDINATE_SIZE], list);
    cJSON *one = tell_line(c, v, coordinate_fit(c, v, COORDINATE_CHANGE), change, list);
    json_put(one, "share", json_number(coordinate_share(c, v)));
    cJSON *by = json_put(one, "by", cJSON_CreateArray());
    for (int param = 0; param < c->regime.n_params; param++) {
        const char *name = c->regime.params[param].name;
        coordinate_line l = coordinate_part(c, v, param);
        if (coordinate_leads(c, v, param))
            json_put(by, "", cJSON_CreateString(name));
        if (!l.agrees)
            json_put(json_put(tell_line(c, v, l, change, list), "by", cJSON_CreateArray()), "",
                     cJSON_CreateString(name));
    }
}

static void tell_json(const coordinate_check *c, cJSON *root)
{
    cJSON *list = json_put(root, "check", cJSON_CreateArray());
    for (int v = 0; v < c->regime.n_vectors; v++)
        tell_vector(c, v, list);
}

/* What was trained on: without --data or --inputs it is the embedded set, whose features the network then takes. */
static void print_training(const options *o, const coordinate_check *c, const ds_data *data)
{
    bool given = o->data || o->inputs;
    printf("\nTrained on %zu rows of %s%s: %zu features, %ld step%s of the rate %.3g, %ld networks a width.\n", c->rows,
           data_name(o), given ? "" : " (no --data or --inputs is given)", data->features, c->steps,
           c->steps > 1 ? "s" : "", c->rate, c->seeds);
    if (c->steps > 1)
        printf(
            "Of several steps the powers derived here are of changes to the lowest order in the rate; those above are "
            "as n grows\nat a rate that does not vanish.\n");
}

int regime_check(const options *o, const nn_net *net, const ds_data *data, const tp_program *program, cJSON *root,
                 ad_error *error)
{
    coordinate_check c;
    if (coordinate_measure(o, net, program, data, &c, error))
        return -1;
    if (root)
        tell_json(&c, root);
    else {
        print_training(o, &c, data);
        print_table(&c);
    }
    int status = o->csv ? write_csv(&c, o->csv, error) : 0;
    coordinate_free(&c);
    return status;
}
