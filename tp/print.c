/* print.c: the program in the paper's notation: one command a line, typed, with the line of the source it came from. */
#include "tp/program.h"

#include <string.h>

typedef enum { NO_TYPE, A_VAR, G_VAR, H_VAR } var_type;

static int widths(const ad_graph *graph, const ad_shape *shape)
{
    int count = 0;
    for (int i = 0; i < shape->rank; i++)
        count += ad_axis_kind(graph, shape->axes[i]) == AD_WIDTH;
    return count;
}

static bool has_width(const ad_graph *graph, const ad_shape *axes)
{
    return widths(graph, axes) > 0;
}

/* What a node is: linear combinations of G-vars are G-vars, their coordinatewise images H-vars. */
static var_type type_of(const ad_graph *graph, int id)
{
    const ad_node *node = ad_look(graph, id);
    int wide = widths(graph, &node->shape);
    if (wide == 0)
        return NO_TYPE;
    if (wide == 2)
        return A_VAR;
    if (node->op == AD_PARAM || node->op == AD_CONTRACT)
        return G_VAR;
    bool linear = node->op == AD_ADD || node->op == AD_SUB || node->op == AD_NEG || node->op == AD_SCALE ||
                  (!ad_is_unary(node->op) && !ad_is_binary(node->op));
    if (!linear)
        return H_VAR;
    for (int k = 0; k < node->n_in; k++)
        if (type_of(graph, node->in[k]) == H_VAR)
            return H_VAR;
    return G_VAR;
}

static const char *name_of(const tp_program *program, int id, char *buffer, size_t size)
{
    const ad_node *node = ad_look(program->graph, id);
    while (node->op == AD_RELABEL || node->op == AD_EXPAND || node->op == AD_TRANSPOSE) {
        id = node->in[0];
        node = ad_look(program->graph, id);
    }
    if (node->name)
        return node->name;
    static const char *const letters[] = { "s", "A", "g", "x" };
    snprintf(buffer, size, "%s%s%d", id < program->forward ? "" : "d", letters[type_of(program->graph, id)], id);
    return buffer;
}

/* The right side of a command. A factor c n^p stands in front as it was traced. */
static const char *command(const tp_program *program, const ad_node *node, char *text, size_t size)
{
    const ad_graph *graph = program->graph;
    char a[64], b[64];
    const char *x = node->n_in > 0 ? name_of(program, node->in[0], a, sizeof a) : "";
    const char *y = node->n_in > 1 ? name_of(program, node->in[1], b, sizeof b) : "";
    if (node->op == AD_CONTRACT) {
        bool second = ad_look(graph, node->in[1])->op == AD_PARAM;
        const ad_node *w = ad_look(graph, node->in[second]);
        bool transposed = w->op == AD_PARAM && w->shape.rank == 2 && ad_has(&node->over, w->shape.axes[1]);
        snprintf(text, size, "%s%s %s", second ? y : x, transposed ? "ᵀ" : "", second ? x : y);
        return has_width(graph, &node->over) ? "MatMul " : "Input  ";
    }
    if (node->op == AD_SCALE) {
        if (node->axis.id)
            snprintf(text, size, "%.6g %s^%g %s", node->c, ad_axis_name(graph, node->axis), node->power, x);
        else
            snprintf(text, size, "%.6g %s", node->c, x);
        return "LinComb";
    }
    if (node->op == AD_ADD || node->op == AD_SUB) {
        snprintf(text, size, "%s %s %s", x, node->op == AD_ADD ? "+" : "−", y);
        return "LinComb";
    }
    if (ad_is_binary(node->op)) {
        snprintf(text, size, "%s %s %s", x, node->op == AD_MUL ? "⊙" : "/", y);
        return "Nonlin ";
    }
    if (ad_is_unary(node->op)) {
        snprintf(text, size, "%s(%s)", node->op == AD_CUSTOM ? node->function->name : ad_op_name(node->op), x);
        return node->op == AD_NEG ? "LinComb" : "Nonlin ";
    }
    snprintf(text, size, "%s(%s%s%s)", ad_op_name(node->op), x, *y ? ", " : "", y);
    return "LinComb";
}

static void print_inputs(const tp_program *program, FILE *stream)
{
    const ad_graph *graph = program->graph;
    char shape[160];
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_look(graph, id);
        if (node->op != AD_PARAM)
            continue;
        fprintf(stream, "  Input    %-18s : %s%-22s ~ N(%g, %.6g", node->name,
                widths(graph, &node->shape) == 2 ? "A" : "G", ad_shape_text(graph, &node->shape, shape, sizeof shape),
                node->init->mean, node->init->deviation * node->init->deviation);
        if (node->init->axis.id && (node->init->deviation_power < 0 || node->init->deviation_power > 0))
            fprintf(stream, " %s^%g", ad_axis_name(graph, node->init->axis), 2 * node->init->deviation_power);
        fprintf(stream, ")    %s:%d\n", node->where.file, node->where.line);
    }
}

int tp_print(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    (void)style;
    const ad_graph *graph = program->graph;
    char own[64], text[300];
    fprintf(stream, "Netsor⊤ program; each vector is a family over the batch\n");
    print_inputs(program, stream);
    for (int id = 0; id < program->nodes; id++) {
        const ad_node *node = ad_look(graph, id);
        if (id == program->forward)
            fprintf(stream, "  backward\n");
        bool silent = node->op == AD_RELABEL || node->op == AD_EXPAND || node->op == AD_TRANSPOSE || node->n_in == 0;
        var_type type = type_of(graph, id);
        if (silent || (type != G_VAR && type != H_VAR))
            continue;
        const char *kind = command(program, node, text, sizeof text);
        fprintf(stream, "  %s  %-6s := %-44s : %s(n)    %s:%d\n", kind, name_of(program, id, own, sizeof own), text,
                type == G_VAR ? "G" : "H", node->where.file, node->where.line);
    }
    fprintf(stream, "  Output   f = %s\n", name_of(program, program->output.id, own, sizeof own));
    tp_checks checks;
    int failed = tp_check(program, &checks, error);
    if (failed < 0)
        return -1;
    fprintf(stream, "Initialization assumption: %s; BP-like (Proposition 2): %s\n",
            checks.initialization ? "holds" : "fails",
            checks.readout_mean && checks.readout_independent && checks.readout_unused ? "yes" : "no");
    for (int i = 0; i < 4; i++)
        if (checks.text[i][0])
            fprintf(stream, "  %s\n", checks.text[i]);
    fprintf(stream, "Convention: %s\n",
            nn_spec_of(program->net)->sigma_in == NN_SIGMA_INIT
                ? "σ in the initial deviation: no σ² from a weight's own gradient, a bias adds 1 to the NTK"
                : "σ in the multiplier: σ² from a weight's own gradient, a bias adds σ² to the NTK");
    return ferror(stream) ? ad_fail(error, "the program cannot be printed") : 0;
}
