/* conditions.c: the initialization assumption and the three conditions of Proposition 2; how fast functions grow. */
#include "tp/program/program.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

static void say(char *text, const ad_node *param, const char *what)
{
    if (!text[0])
        snprintf(text, 200, "%s:%d: %s %s", param->where.file, param->where.line, param->name, what);
}

bool tp_bp_like(const tp_checks *checks)
{
    return checks->readout_mean && checks->readout_independent && checks->readout_unused && checks->one_way;
}

/* Every matrix is used from one side only: then Wy and y' have no part in common but through W itself. */
static int check_ways(const tp_program *program, tp_checks *checks, ad_error *error)
{
    const ad_graph *graph = program->graph;
    int *side =
        ad_alloc((size_t)program->forward, sizeof *side, "checks", error); /* by parameter: 1 + the summed axis */
    if (!side)
        return -1;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(graph, id);
        for (int k = 0; program->lives[id] && node->op == AD_CONTRACT && k < 2; k++) {
            ad_shape names = { 0 };
            if (program->params[node->in[k]] < 0 || program->widths[node->in[k]] != 2)
                continue;
            int param = tp_peel(graph, node->in[k], &names);
            for (int i = 0; i < names.rank; i++) {
                if (!ad_has(&node->over, names.axes[i]) || !tp_is_width(graph, names.axes[i]))
                    continue;
                if (side[param] && side[param] != i + 1) {
                    checks->one_way = false;
                    say(checks->text[4], ad_node_of(graph, param), "is used together with its transpose");
                }
                side[param] = i + 1;
            }
        }
    }
    ad_free(side);
    return 0;
}

/* Between the vectors and the outputs stand readouts: an average without one is a readout whose weights are all 1. */
static int check_averages(const tp_program *program, tp_checks *checks, ad_error *error)
{
    const ad_graph *graph = program->graph;
    bool *reached =
        ad_alloc((size_t)program->forward, sizeof *reached, "checks", error); /* from the outputs, by scalars */
    if (!reached)
        return -1;
    reached[program->output.id] = true;
    for (int id = program->output.id; id >= 0; id--) {
        const ad_node *node = ad_node_of(graph, id);
        if (!reached[id] || !program->learns[id] || program->widths[id] > 0)
            continue;
        if (!tp_is_average(graph, id)) {
            for (int k = 0; k < node->n_in; k++)
                reached[node->in[k]] = true;
        } else if (program->params[node->in[0]] < 0 && (node->n_in < 2 || program->params[node->in[1]] < 0)) {
            checks->readout_mean = false;
            if (!checks->text[1][0])
                snprintf(checks->text[1], sizeof checks->text[1],
                         "%s:%d: %s averages over the width in place of a readout "
                         "whose mean is zero",
                         node->where.file, node->where.line, tp_node_name(node));
        }
    }
    ad_free(reached);
    return 0;
}

/* Is a parameter read by other ops than this one? Renamings are not asked, but what they make is. */
static bool is_used_elsewhere(const tp_program *program, int param, int id)
{
    for (int other = 0; other < program->forward; other++) {
        const ad_node *node = ad_node_of(program->graph, other);
        for (int m = 0; program->lives[other] && m < node->n_in; m++)
            if (other != id && node->op != AD_RELABEL && program->params[node->in[m]] == param)
                return true;
    }
    return false;
}

/* Proposition 2 of a readout: a parameter that an average over the width is taken with. */
static void check_readout(const tp_program *program, int readout, int average, tp_checks *checks)
{
    const ad_node *v = ad_node_of(program->graph, readout);
    if (fabs(v->init->mean) > 0) {
        checks->readout_mean = false;
        say(checks->text[1], v, "is a readout whose mean is not zero");
    }
    if (!(v->init->deviation > 0)) {
        checks->readout_independent = false;
        say(checks->text[2], v, "is a readout that is not drawn at random");
    }
    if (is_used_elsewhere(program, readout, average)) {
        checks->readout_unused = false;
        say(checks->text[3], v, "is a readout that is used elsewhere, too");
    }
}

int tp_check(const tp_program *program, tp_checks *checks, ad_error *error)
{
    if (!ad_given(program, "the program", error))
        return -1;
    const ad_graph *graph = program->graph;
    *checks = (tp_checks){ true, true, true, true, true, { { 0 } } };
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(graph, id);
        if (!program->lives[id])
            continue;
        if (node->op == AD_PARAM && program->widths[id] == 2 && fabs(node->init->mean) > 0) {
            checks->initialization = false;
            say(checks->text[0], node, "does not have mean zero: an A-var is N(0, σ²/n)");
        }
        if (node->op != AD_CONTRACT || program->widths[id] > 0 || !tp_is_average(graph, id))
            continue;
        for (int k = 0; k < 2; k++)
            if (program->params[node->in[k]] >= 0)
                check_readout(program, program->params[node->in[k]], id, checks);
    }
    if (check_averages(program, checks, error) || check_ways(program, checks, error))
        return -1;
    return checks->initialization && tp_bp_like(checks) ? 0 : 1;
}

/* A vector's growth from its operands': numbers that have no width are taken to be no poles. */
static tp_growth node_growth(const tp_program *program, int id, const tp_growth *all, const char **problem)
{
    const ad_node *node = ad_node_of(program->graph, id);
    tp_growth number = { 1, 1, 0, 0 }, a = node->n_in > 0 ? all[node->in[0]] : number;
    if (program->widths[id] == 0)
        return node->op == AD_CONSTANT ? tp_growth_number(node->c) : number;
    if (node->op == AD_CONSTANT)
        return tp_growth_number(node->c);
    if (ad_is_unary(node->op))
        return tp_growth_unary((int)node->op, node->c, a, problem);
    if (ad_is_binary(node->op))
        return tp_growth_binary((int)node->op, a, all[node->in[1]], problem);
    switch (node->op) {
    case AD_EXPAND:
    case AD_RESHAPE:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_SLICE:
    case AD_WINDOWS:
        return a;
    case AD_UNSLICE:
        return (tp_growth){ fmin(a.lo, 0), fmax(a.hi, 0), a.degree, a.order };
    case AD_SCALE:
        return tp_growth_binary(AD_MUL, a, tp_growth_number(node->c), problem);
    case AD_SUM:
    case AD_UNWINDOWS:
        return (tp_growth){ -INFINITY, INFINITY, a.degree, a.order };
    case AD_CONCAT: {
        tp_growth y = a;
        for (int k = 1; k < node->n_in; k++) {
            const tp_growth *b = &all[node->in[k]];
            y = (tp_growth){ fmin(y.lo, b->lo), fmax(y.hi, b->hi), fmax(y.degree, b->degree), fmax(y.order, b->order) };
        }
        return y;
    }
    default:
        return tp_growth_gaussian();
    }
}

int tp_check_growth(const tp_program *program, char *text, size_t size, ad_error *error)
{
    const ad_graph *graph = program->graph;
    tp_growth *all = ad_alloc((size_t)program->forward + 1, sizeof *all, "checks", error);
    double order = 0;
    int found = 0, fastest = -1;
    for (int id = 0; all && id < program->forward && !found; id++) {
        const char *problem = NULL;
        if (!program->lives[id])
            continue;
        all[id] = node_growth(program, id, all, &problem);
        const ad_node *node = ad_node_of(graph, id);
        if (all[id].order > order) {
            order = all[id].order;
            fastest = id;
        }
        if (problem) {
            found = 1;
            snprintf(text, size, "%s at %s:%d: %s", tp_node_name(node), node->where.file, node->where.line, problem);
        }
    }
    if (all && !found && fastest < 0)
        snprintf(text, size, "polynomial at most");
    else if (all && !found)
        ad_snprintf(text, size, "exp(C |z|^%.3g) at most, by %s at %s:%d", order,
                    tp_node_name(ad_node_of(graph, fastest)), ad_node_of(graph, fastest)->where.file,
                    ad_node_of(graph, fastest)->where.line);
    bool made = all != NULL;
    ad_free(all);
    return made ? found : -1;
}
