/* vector.c: a hidden vector by the name that its line has in the printed program. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/program/program.h"

#include <math.h>
#include <string.h>

bool tp_is_vector(const nn_net *net, ad_var vector)
{
    const ad_graph *graph = nn_graph(net);
    if (vector.graph != graph || vector.id < 0 || vector.id >= ad_graph_size(graph))
        return false;
    const ad_shape *shape = ad_shape_get(vector);
    return shape->rank == 2 && ad_has(shape, nn_batch(net)) && tp_count_widths(graph, shape) == 1;
}

static bool is_candidate(const tp_program *program, const tp_line *line)
{
    return !line->backward && line->rule != TP_TRSP && line->rule != TP_OUTPUT &&
           tp_is_vector(program->net, (ad_var){ program->graph, line->node });
}

/* What the line defines: its node over c n^power. */
static int take_line(const tp_program *program, const tp_line *line, ad_var *vector, ad_error *error)
{
    nn_net *net = program->net;
    *vector = (ad_var){ program->graph, line->node };
    if (fabs(line->c - 1) <= 1e-12 && fabs(line->power) <= 1e-12)
        return 0;
    const ad_shape *shape = ad_shape_get(*vector);
    ad_axis axis = shape->axes[ad_same(shape->axes[0], nn_batch(net)) ? 1 : 0];
    ad_mark before = nn_growth_begin(net);
    *vector = ad_scale_by(*vector, pow(ad_axis_ratio(program->graph, axis), line->power) / line->c, axis, -line->power);
    return nn_growth_end(net, before, "program", error);
}

const tp_line *tp_line_named(const tp_program *program, ad_arena *arena, const char *name, ad_error *error)
{
    int n = 0, n_names = 0;
    char list[300] = "";
    const char **names = NULL, *closest = NULL;
    const tp_line *lines = tp_lines(program, arena, TP_PAPER, &n, error);
    if (lines && !(names = ad_arena_alloc(arena, (size_t)n + 1, sizeof *names)))
        ad_fail(error, "vector: out of memory");
    for (int k = 0; k < n && names; k++) {
        if (!is_candidate(program, &lines[k]))
            continue;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", lines[k].name);
        names[n_names++] = lines[k].name;
        if (strcmp(lines[k].name, name) == 0)
            return &lines[k];
    }
    if (names) {
        closest = ad_closest(name, names);
        ad_fail(error, "no vector of the program is called %.40s%s%s%s: its vectors over the batch are %s", name,
                closest ? " (did you mean " : "", closest ? closest : "", closest ? "?)" : "", *list ? list : "none");
    }
    return NULL;
}

int tp_vector_named(const tp_program *program, const char *name, ad_var *vector, ad_error *error)
{
    if (!program)
        return ad_fail(error, "vector: no program (NULL)");
    ad_arena *arena = ad_arena_new(error);
    const tp_line *line = arena ? tp_line_named(program, arena, name, error) : NULL;
    int status = line ? take_line(program, line, vector, error) : -1;
    ad_arena_free(arena);
    return status;
}
