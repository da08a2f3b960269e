/* limit.c: a kernel over positions, from its plan to its values. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"

#include <string.h>

bool tp_has_windows(const tp_program *program)
{
    for (int id = 0; id < program->forward; id++)
        if (program->lives[id] && ad_node_of(program->graph, id)->op == AD_WINDOWS)
            return true;
    return false;
}

bool tp_uses_alike(const tp_field_plan *p)
{
    const tp_program *program = p->program;
    /* 0: not met; 1: a bias; 2: a product; 3: a gain */
    int *way = ad_arena_alloc(p->arena, (size_t)program->n_nodes + 1, sizeof *way);
    for (int id = 0; way && id < program->n_nodes; id++)
        way[id] = 0;
    for (int id = 0; way && id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (!program->lives[id] || program->params[id] >= 0)
            continue;
        for (int k = 0; k < node->n_in; k++) {
            int param = program->params[node->in[k]], now = node->op == AD_CONTRACT ? 2 : node->op == AD_MUL ? 3 : 1;
            if (param < 0)
                continue;
            if (way[param] && way[param] != now)
                return false;
            way[param] = now;
        }
    }
    return way;
}

int tp_plan_new(tp_field_plan *p, tp_algebra *algebra, tp_field_plan *single)
{
    const tp_program *program = algebra->program;
    size_t n = (size_t)program->n_nodes + 1;
    *p = (tp_field_plan){ .program = program,
                          .graph = program->graph,
                          .algebra = algebra,
                          .arena = algebra->arena,
                          .error = algebra->error,
                          .single = single,
                          .ask = tp_field_of };
    p->maps = single ? single->maps : ad_arena_alloc(p->arena, 2 * n, sizeof *p->maps);
    p->learns = single ? single->learns : ad_arena_alloc(p->arena, n, sizeof *p->learns);
    p->gaussian = single ? single->gaussian : ad_arena_alloc(p->arena, n, sizeof *p->gaussian);
    if (!p->maps || !p->learns || !p->gaussian)
        return ad_fail(p->error, "out of memory for a kernel over positions");
    if (single)
        return 0;
    memset(p->maps, 0, 2 * n * sizeof *p->maps);
    memset(p->learns, 0, n * sizeof *p->learns);
    memset(p->gaussian, 0, n * sizeof *p->gaussian);
    for (int k = 0; k < program->n_sites; k++)
        p->learns[program->sites[k].param.id] = true;
    return 0;
}

/* The output's kernel at a pair of outputs, as a field. */
static int plan_output(tp_field_plan *p, tp_kernel_kind which, const tp_limit_spec *spec)
{
    int id = p->program->output.id;
    ad_shape axes = tp_fixed_axes(p->graph, id, NULL), outputs = { 0 };
    outputs.axes[outputs.rank++] = nn_outputs(p->program->net);
    int32_t pair[2] = { tp_move_point(p->graph, &outputs, (int32_t)spec->output, &axes),
                        tp_move_point(p->graph, &outputs, (int32_t)spec->output2, &axes) };
    const int32_t *first = tp_keep(p, pair, 1), *second = first ? tp_keep(p, pair + 1, 1) : NULL;
    if (!second)
        return TP_NO_ROOM;
    ad_shape none = { 0 };
    return tp_materialize(p, tp_field_of(p, which == TP_NTK ? TP_TANGENT : TP_COVARIANCE, id, id, &none,
                                         &(tp_point_pairs){ 1, first, second }));
}

int tp_limit_positions(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                       size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    memset(kernel, 0, sizeof *kernel);
    tp_algebra algebra;
    tp_field_plan single, plan;
    ad_error refusal = { 0 };
    if (spec->output != spec->output2 && !x2)
        return 1;
    int status = tp_algebra_new(&algebra, program, error);
    algebra.error = &refusal;
    int field = TP_NO_ROOM, own = TP_NO_FIELD;
    if (!status && !(status = tp_plan_new(&single, &algebra, NULL)) &&
        !(status = tp_plan_new(&plan, &algebra, &single))) {
        field = tp_uses_alike(&plan) ? plan_output(&plan, which, spec) : TP_NO_RULE_HERE;
        if (field >= 0 && program->masked && !x2) { /* a sample and itself have masks in common */
            own = plan_output(&single, which, spec);
            bool alike = own >= 0 && fabs(single.fields[own].power - plan.fields[field].power) < 1e-9;
            field = alike ? field : own == TP_NO_ROOM ? own : TP_NO_RULE_HERE;
        }
        if (field >= 0 && tp_find_sums(&plan))
            field = TP_NO_ROOM;
        status = field >= TP_NO_FIELD ? 0 : field == TP_NO_ROOM ? -1 : 1;
    }
    if (!status) {
        *kernel = (tp_kernel){ .rows = rows, .rows2 = x2 ? rows2 : rows };
        snprintf(kernel->method, sizeof kernel->method, "closed forms over positions");
    }
    if (!status && field >= 0) {
        const tp_field out = plan.fields[field];
        kernel->n_terms = 1;
        kernel->terms[0].power = out.power;
        kernel->terms[0].values = ad_alloc(kernel->rows * kernel->rows2, sizeof(double), "a limit kernel", &refusal);
        status = !kernel->terms[0].values
                     ? -1
                     : tp_run_fields(&plan, out.array, out.c, own, x, rows, x2, rows2, spec, kernel);
    }
    if (!status)
        status = tp_had_memory(&algebra);
    tp_algebra_free(&algebra);
    if (status) {
        ad_free(kernel->terms[0].values);
        memset(kernel, 0, sizeof *kernel);
    }
    return status < 0 ? ad_fail(error, "%s", refusal.text) : status;
}
