/* capacity.c: how many pairs of positions a kernel of filters asks for, each of which is a quantity of its own: those
 * of large pictures are more than memory holds, and that is told before they are made. */
#include "tp/recursion/recursion.h"

/* Pairs of positions of all layers together: where all of them count, and where each counts with itself alone, when it
 * takes 25 kB and 0.15 ms a pair to show that the others are 0. */
static const double most_pairs = 3e5, most_apart = 1e5;

static double fixed_size(const tp_algebra *algebra, const ad_shape *axes)
{
    double size = 1;
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) == AD_FIXED)
            size *= (double)ad_axis_fixed(algebra->graph, axes->axes[i]);
    return size;
}

/* A product of the forward pass with windows of vectors: its positions; 0 for another node. */
static double positions_of(const tp_algebra *algebra, int id)
{
    const tp_program *program = algebra->program;
    const ad_node *node = ad_node_of(algebra->graph, id);
    for (int k = 0; k < node->n_in && node->op == AD_CONTRACT && program->lives[id]; k++)
        if (ad_node_of(algebra->graph, node->in[k])->op == AD_WINDOWS && program->widths[node->in[k]] == 1)
            return fixed_size(algebra, &node->shape);
    return 0;
}

/* Are vectors of all positions added up? Then every pair of positions counts, else each with itself alone. */
static bool adds_positions(const tp_algebra *algebra, double positions)
{
    const tp_program *program = algebra->program;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(algebra->graph, id);
        if (node->op == AD_SUM && program->lives[id] && program->widths[id] == 1 &&
            fixed_size(algebra, &node->over) >= positions)
            return true;
    }
    return false;
}

int tp_check_positions(tp_algebra *algebra, tp_kernel_kind which)
{
    double pairs = 0, largest = 0, last = 0;
    int at = -1;
    for (int id = 0; id < algebra->program->forward; id++) {
        double positions = positions_of(algebra, id);
        pairs += positions * positions;
        last = positions > 0 ? positions : last;
        if (positions > largest) {
            largest = positions;
            at = id;
        }
    }
    bool adds = adds_positions(algebra, last);
    if (pairs <= (adds ? most_pairs : most_apart) || (which == TP_NNGP && !adds))
        return 0;
    algebra->too_large = true;
    return tp_refuse(algebra, at,
                     "%.0f positions are too many for the exact limit here, %.2g pairs of them in all layers: smaller "
                     "pictures, fewer layers, a stride, or --engine sample; or, with --width N, one draw's kernel",
                     largest, pairs);
}
