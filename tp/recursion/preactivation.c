/* preactivation.c: vectors of the forward pass that are Gaussian in the limit, and their covariances. */
#include "tp/recursion/recursion.h"

#include <math.h>

/* A linear combination of G-vars, of order one, and nothing else. */
static bool is_gaussian(const tp_algebra *algebra, const tp_coordinate *c)
{
    bool all = c->n > 0;
    for (int i = 0; i < c->n; i++)
        all = all && c->terms[i].n == 1 && c->terms[i].factors[0].fn == algebra->variable &&
              fabs(c->terms[i].power) < 1e-12;
    return all;
}

/* A coordinatewise function, or the mean over a batch that begins its normalisation. */
static bool is_function(const tp_program *program, const ad_node *node)
{
    return (ad_is_unary(node->op) && node->op != AD_NEG && node->op != AD_IDENTITY) ||
           (node->op == AD_SUM && ad_has(&node->over, nn_batch(program->net)));
}

int tp_preactivations(const tp_program *program, ad_var *vectors, int room, ad_error *error)
{
    tp_algebra algebra;
    ad_error refusal = { 0 };
    int count = 0;
    if (tp_algebra_new(&algebra, program, error))
        return -1;
    algebra.error = &refusal;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (!program->lives[id] || !program->learns[id] || !is_function(program, node) ||
            tp_count_widths(program->graph, &ad_node_of(program->graph, node->in[0])->shape) != 1)
            continue;
        int c = tp_coordinate_of(&algebra, node->in[0], tp_point_of(&algebra, node->in[0], NULL));
        bool seen = c < 0 || !is_gaussian(&algebra, tp_coordinate_at(&algebra, c));
        for (int k = 0; k < count && k < room; k++)
            seen = seen || vectors[k].id == node->in[0];
        if (!seen && count < room)
            vectors[count] = (ad_var){ program->graph, node->in[0] };
        count += !seen;
    }
    tp_algebra_free(&algebra);
    return count;
}

int tp_gaussian_covariance(const tp_program *program, ad_var vector, const double *x, size_t rows, const double *x2,
                           size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec given = spec ? *spec : (tp_limit_spec){ 0 };
    tp_program view = *program; /* the same program, seen from another output */
    if (vector.graph != program->graph || vector.id < 0 || vector.id >= program->forward ||
        tp_count_widths(program->graph, ad_shape_get(vector)) != 1)
        return ad_fail(error, "covariance: not a vector of the program's forward pass");
    if (tp_check_rows(program, x, rows, "the first", error) ||
        (x2 && tp_check_rows(program, x2, rows2, "the second", error)))
        return -1;
    view.output = vector;
    return tp_limit_exact(&view, TP_NNGP, x, rows, x2, rows2, &given, false, kernel, error) ? -1 : 0;
}
