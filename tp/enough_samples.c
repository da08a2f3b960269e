/* enough_samples.c: whether samples see what a kernel is made of. Where a preactivation is spread far wider than the
 * part of its function that bends, or far narrower than where it is large, few samples make up its mean; runs that all
 * miss them agree, and what they agree on is not the limit. */
#include "tp/gauss/gauss.h"
#include "tp/program/program.h"
#include "tp/sampled.h"

#include "tp/executor/executor.h"

#include <cblas.h>
#include <math.h>

enum { MOST_VECTORS = 64, SEEN = 50, LEAST = 4 };

/* How many samples the mean of a square is made of: E g^4 / (E g^2)^2 of them for one that counts. In the middle, where
 * samples meet it by chance, SEEN are to count, and in the mean of a product one for two rows that know nothing of each
 * other; in the tails each sample stands for its quantile. Returns how many samples it takes. */
static double needed(const tp_moments *m, int order)
{
    double square = m->square[order] * m->square[order];
    if (!(square > 0) || !isfinite(square))
        return 0;
    double middle = m->middle[order] / square;
    return middle <= LEAST ? m->fourth[order] / square
                           : fmax(fmax(SEEN * middle, middle * middle), m->fourth[order] / square);
}

static tp_univariate function_of(const ad_node *node)
{
    return node->op == AD_CUSTOM ? tp_univariate_function(node->function, node->order)
                                 : tp_univariate_op(node->op, node->c);
}

static int tell(const tp_program *program, int id, double deviation, size_t samples, double wanted, ad_error *error)
{
    const ad_node *node = ad_node_of(program->graph, id);
    char more[64] = "";
    if (wanted < 1e9)
        ad_snprintf(more, sizeof more, "%.2g samples, ", ceil(wanted));
    return ad_fail(error,
                   "%s:%d: %s: its preactivation has the deviation %.2g, and of %zu samples too few are where the "
                   "function counts: %ssmaller inputs or weights, or the exact engine",
                   tp_short_file(node->where.file), node->where.line, tp_node_name(node), deviation, samples, more);
}

/* Is the node a function of a vector that samples might not see? Kinks at 0 look alike at every deviation. */
static bool is_asked(const tp_program *program, int id)
{
    const ad_node *node = ad_node_of(program->graph, id);
    if (!program->lives[id] || !program->learns[id] || !ad_is_unary(node->op))
        return false;
    tp_univariate f = function_of(node);
    return !tp_is_piecewise(&f);
}

/* Those of the vectors that are the argument of such a function; returns how many. */
static int keep_asked(const tp_program *program, ad_var *vectors, int n)
{
    int kept = 0;
    for (int k = 0; k < n; k++) {
        bool asked = false;
        for (int id = vectors[k].id + 1; id < program->forward && !asked; id++)
            asked = is_asked(program, id) && ad_node_of(program->graph, id)->in[0] == vectors[k].id;
        if (asked)
            vectors[kept++] = vectors[k];
    }
    return kept;
}

/* The functions of these vectors, at their mean squares. */
static int check_functions(const tp_program *program, tp_kernel_kind which, size_t samples, const ad_var *vectors,
                           int n, const double *squares, double *hidden, ad_error *error)
{
    tp_moments m;
    *hidden = 0;
    for (int id = 0; id < program->forward; id++) {
        if (!is_asked(program, id))
            continue;
        const ad_node *node = ad_node_of(program->graph, id);
        tp_univariate f = function_of(node);
        for (int k = 0; k < n; k++) {
            if (vectors[k].id != node->in[0] || !tp_moments_of(&f, squares[k], 1 / (double)samples, &m))
                continue;
            double wanted = fmax(needed(&m, 0), which == TP_NTK ? needed(&m, 1) : 0);
            if (wanted > (double)samples)
                return tell(program, id, sqrt(squares[k]), samples, wanted, error);
            for (int order = 0; order < (which == TP_NTK ? 2 : 1); order++)
                *hidden += m.square[order] > 0 ? m.hidden[order] / m.square[order] : 0;
        }
    }
    return 0;
}

const double *tp_largest_row(const tp_program *program, const double *x, size_t rows)
{
    size_t features = nn_features(program->net), largest = 0;
    double most = -1;
    for (size_t i = 0; i < rows; i++) {
        double norm = cblas_dnrm2((int)features, x + i * features, 1);
        largest = norm > most ? i : largest;
        most = fmax(most, norm);
    }
    return x + largest * features;
}

int tp_enough_samples(const tp_program *program, tp_kernel_kind which, size_t samples, int threads, const double *x,
                      size_t rows, double *hidden, ad_error *error)
{
    ad_var vectors[MOST_VECTORS];
    double squares[MOST_VECTORS];
    ad_error ignored = { 0 };
    tp_program view;
    *hidden = 0;
    int n = tp_preactivations(program, vectors, MOST_VECTORS, &ignored), status = 0;
    n = keep_asked(program, vectors, n < MOST_VECTORS ? n : MOST_VECTORS);
    if (n <= 0 || tp_view_of(program, vectors, n, &view, &ignored))
        return 0;
    if (tp_sample_squares(&view, samples, 1, threads, x, rows, squares, &ignored) == 0)
        status = check_functions(program, which, samples, vectors, n, squares, hidden, error);
    ad_arena_free(view.arena);
    return status;
}
