/* laws.c: the program's inputs: parameters as A-vars and G-vars, and the laws that they are drawn by. */
#include "tp/program/writer.h"

#include <math.h>
#include <string.h>

/* size(axis)^p as c n^power */
void tp_times_axis(const ad_graph *graph, ad_axis axis, double p, double *c, double *power)
{
    if (!axis.id)
        return;
    if (tp_is_width(graph, axis)) {
        *c *= pow(ad_axis_ratio(graph, axis), p);
        *power += p;
    } else {
        *c *= pow((double)ad_axis_fixed(graph, axis), p);
    }
}

/* U in, W within, v out, b a vector, c what has no width. */
static const char *letter_of(const tp_program *program, int param)
{
    const ad_shape *shape = &ad_node_of(program->graph, param)->shape;
    int widths = program->widths[param];
    if (widths != 1)
        return widths ? "W" : "c";
    if (shape->rank == 1)
        return "b";
    return tp_is_width(program->graph, shape->axes[0]) ? "v" : "U";
}

static const char letters[] = "WcbvU";

void tp_count_parameters(tp_writer *w)
{
    int biases = 0, others = 0;
    for (int id = 0; id < w->program->forward; id++) {
        if (ad_node_of(w->graph, id)->op != AD_PARAM || !w->program->lives[id])
            continue;
        const char *letter = letter_of(w->program, id);
        w->alike[strchr(letters, *letter) - letters]++;
        w->number[id] = *letter == 'b' ? ++biases : ++others;
    }
}

/* The only one of its letter goes without a number; weights are counted together, so that W2 makes h2. */
static const char *parameter_name(tp_writer *w, int param)
{
    const char *letter = letter_of(w->program, param);
    return tp_numbered_name(w, letter, w->alike[strchr(letters, *letter) - letters] > 1 ? w->number[param] : 0);
}

/* A width that is not n has a line that says what it is, before its first vector. */
static void declare_widths(tp_writer *w, int id)
{
    const ad_shape *shape = &ad_node_of(w->graph, id)->shape;
    for (int i = 0; i < shape->rank; i++) {
        if (!tp_is_width(w->graph, shape->axes[i]) || tp_is_near(ad_axis_ratio(w->graph, shape->axes[i]), 1))
            continue;
        const char *name = ad_axis_name(w->graph, shape->axes[i]);
        bool declared = false;
        for (int k = 0; k < w->n_lines; k++)
            declared = declared || (w->lines[k].rule == TP_WIDTH && strcmp(w->lines[k].name, name) == 0);
        if (!declared)
            tp_add_line(w, TP_WIDTH, id, name,
                        tp_writer_text(w, "%s n", tp_number_text(w, ad_axis_ratio(w->graph, shape->axes[i]))), "");
    }
}

/* The parameter is factor * (its variable): an A-var N(0, σ²/n), else a G-var with variance of order one. */
void tp_write_parameter(tp_writer *w, int id, tp_line_term *t)
{
    const ad_node *node = ad_node_of(w->graph, id);
    const ad_init *init = node->init;
    int widths = w->program->widths[id];
    double spread = 1, power = 0, scale = 1, up = 0;
    tp_times_axis(w->graph, init->axis, init->deviation_power, &spread, &power);
    tp_times_axis(w->graph, init->axis, init->multiplier_power, &scale, &up);
    spread *= init->deviation;
    scale *= init->multiplier;
    const char *name = parameter_name(w, id);
    double wanted = widths == 2 ? -0.5 : 0; /* the power of n in the variable's deviation */
    t->c = widths == 2 ? 1 / scale : 1;
    t->power = power - wanted;
    t->text = name;
    t->level = ATOM_LEVEL;
    t->named = true;
    t->type = widths == 2 ? A_VAR : widths == 1 ? G_VAR : SCALAR;
    double variance = widths == 2 ? scale * scale * spread * spread : spread * spread;
    const char *front = tp_coefficient_text(w, 1, wanted - power);
    const char *origin = tp_plain_name(w, node->name), *over = "n";
    if (widths == 2 && !tp_is_near(scale, 1))
        front = tp_coefficient_text(w, scale, wanted - power);
    if (*front)
        origin = strncmp(front, "1/", 2) == 0 ? tp_writer_text(w, "%s%s", origin, front + 1)
                                              : tp_writer_text(w, "%s %s", front, origin);
    declare_widths(w, id);
    if (widths == 2) {
        int in = 0;
        while (!tp_is_width(w->graph, node->shape.axes[in]))
            in++;
        over = ad_axis_name(w->graph, node->shape.axes[in]);
        variance *= ad_axis_ratio(w->graph, node->shape.axes[in]);
    }
    tp_line *line = tp_add_line(w, TP_INPUT, id, name, origin, tp_type_text(w, t, &node->shape));
    const char *mean = fabs(init->mean) > 0 ? tp_number_text(w, init->mean) : "0";
    const char *number = tp_number_text(w, variance);
    line->law = widths == 2 ? tp_writer_text(w, "N(%s, %s/%s)", mean, number, over)
                            : tp_writer_text(w, "N(%s, %s)", mean, number);
    if (init->orthogonal)
        line->law = tp_writer_text(w, w->latex ? "\\text{orthogonal, }%s {%s}^{\\top} = %s" : "orthogonal, %s %sᵀ = %s",
                                   name, name, number);
}

/* U x of data: an input G-var, whose covariance is the data's. A fan-in of 784 in its multiplier shows as such. */
void tp_write_input(tp_writer *w, int id, tp_line_term *t, const ad_init *init, const char *data)
{
    double c = init->multiplier, spread = init->deviation, power = 0;
    bool fixed = init->axis.id && !tp_is_width(w->graph, init->axis);
    size_t size = fixed ? ad_axis_fixed(w->graph, init->axis) : 1;
    const char *root_of = fixed && tp_is_near(init->multiplier_power, -0.5)
                              ? tp_writer_text(w, w->latex ? "/\\sqrt{%zu}" : "/√%zu", size)
                              : "";
    bool once = fixed && tp_is_near(init->multiplier_power + init->deviation_power, -0.5);
    if (fixed && !*root_of)
        tp_times_axis(w->graph, init->axis, init->multiplier_power, &c, &power);
    t->c /= c * (*root_of ? pow((double)size, -0.5) : 1);
    t->text = tp_writer_text(w, "%s%s", tp_times_text(w, c, 0, t->text), root_of);
    if (fixed && !once)
        tp_times_axis(w->graph, init->axis, init->deviation_power, &spread, &power);
    const char *over = once ? tp_writer_text(w, "/%zu", size) : "";
    double variance = pow(spread * init->multiplier, 2);
    const char *gram = tp_writer_text(w, w->latex ? "\\langle %s, %s\\rangle%s" : "⟨%s, %s⟩%s", data, data, over);
    tp_name_term(w, id, t, TP_INPUT);
    w->lines[w->n_lines - 1].law = tp_writer_text(w, "N(0, %s)", tp_times_text(w, variance, 0, gram));
}
