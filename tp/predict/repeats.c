/* repeats.c: rows of a kernel that are other rows, or multiples of them, to the kernel's error: the commonest cause of
 * a singular one, as equal inputs are, inputs that a network cannot tell apart, and inputs of 0 without biases. */
#include "tp/predict/kernel_model.h"
#include "tp/ranks/ranks.h"

#include "autodiff/base/base.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* By Cauchy and Schwarz K_ij^2 <= K_ii K_jj, equal for multiples alone; the error is in all three. */
static bool repeats(double ii, double ij, double jj, double share)
{
    return fabs(1 - ij / ii * (ij / jj)) <= 4 * share;
}

/* The row is nothing beside the largest. */
static bool is_nothing(double jj, double largest, double share)
{
    return jj <= share * largest;
}

/* What an entry is known to. */
static double share_of(double error)
{
    return fmax(error, 2 * DBL_EPSILON);
}

static void note(tp_repeats *r, size_t row, size_t of)
{
    if (r->multiple == 0)
        *r = (tp_repeats){ .row = row, .of = of };
    r->multiple++;
}

typedef struct {
    const double *kernel;   /* symmetric; NULL: floats */
    const float *floats;    /* above the diagonal, */
    const double *diagonal; /* which is here */
    size_t n;
} entries;

/* K_ij, i <= j. */
static double entry(const entries *e, size_t i, size_t j)
{
    if (e->kernel)
        return e->kernel[j * e->n + i];
    return i == j ? e->diagonal[i] : (double)e->floats[i * e->n + j];
}

static void find(const entries *e, double error, tp_repeats *r)
{
    double share = share_of(error), largest = 0;
    *r = (tp_repeats){ 0 };
    for (size_t j = 0; j < e->n; j++)
        largest = fmax(largest, entry(e, j, j));
    for (size_t j = 0; j < e->n; j++) {
        double jj = entry(e, j, j);
        size_t i = is_nothing(jj, largest, share) ? j : 0;
        for (; i < j; i++) {
            double ii = entry(e, i, i);
            if (!is_nothing(ii, largest, share) && repeats(ii, entry(e, i, j), jj, share))
                break;
        }
        if (i < j || is_nothing(jj, largest, share))
            note(r, j, i);
    }
}

void tp_repeats_find(const double *kernel, size_t n, double error, tp_repeats *r)
{
    find(&(entries){ .kernel = kernel, .n = n }, error, r);
}

void tp_repeats_float(const tp_float_model *m, double error, tp_repeats *r)
{
    find(&(entries){ .floats = m->kernel, .diagonal = m->diagonal, .n = m->n }, error, r);
}

/* votes[row]: how many rows before it this one repeats, here or on any rank; of `of` alone those that it is asked for.
 */
static void vote(const tp_spread *s, const double *diagonal, double share, size_t of, double *votes)
{
    double largest = 0;
    for (size_t j = 0; j < s->rows; j++)
        largest = fmax(largest, diagonal[j]);
    memset(votes, 0, s->rows * sizeof *votes);
    for (size_t k = 0; k < s->local[1]; k++)
        for (size_t i = 0; i < s->local[0]; i++) {
            size_t row = tp_spread_whole(s, 0, i), column = tp_spread_whole(s, 1, k);
            double jj = diagonal[row], ii = diagonal[column];
            bool counts = row == column
                              ? is_nothing(jj, largest, share)
                              : row > column && !is_nothing(jj, largest, share) && !is_nothing(ii, largest, share) &&
                                    repeats(ii, s->values[k * s->local[0] + i], jj, share);
            if (counts && of == s->rows)
                votes[row]++;
            else if (counts && row == of)
                votes[column]++;
        }
    tp_ranks_sum(votes, s->rows);
}

int tp_repeats_spread(const tp_spread *s, double error, tp_repeats *r, ad_error *error_of)
{
    size_t n = s->rows;
    double share = share_of(error), *diagonal = ad_alloc(2 * n, sizeof *diagonal, "a kernel's diagonal", error_of);
    *r = (tp_repeats){ 0 };
    if (tp_ranks_agree(diagonal ? 0 : -1, error_of)) {
        ad_free(diagonal);
        return -1;
    }
    double *votes = diagonal + n;
    for (size_t k = 0; k < s->local[1]; k++)
        for (size_t i = 0; i < s->local[0]; i++)
            if (tp_spread_whole(s, 0, i) == tp_spread_whole(s, 1, k))
                diagonal[tp_spread_whole(s, 0, i)] = s->values[k * s->local[0] + i];
    tp_ranks_sum(diagonal, n);
    vote(s, diagonal, share, n, votes);
    for (size_t j = 0; j < n; j++)
        if (votes[j] > 0)
            note(r, j, j);
    if (r->multiple > 0)
        vote(s, diagonal, share, r->row, votes);
    for (size_t i = r->row + 1; i-- > 0 && r->multiple > 0;)
        r->of = votes[i] > 0 ? i : r->of;
    ad_free(diagonal);
    return 0;
}

/* "row 4", or "row 4's output 1". */
static void name_row(size_t row, size_t outputs, char text[80])
{
    if (outputs > 1)
        snprintf(text, 80, "row %zu's output %zu", row / outputs, row % outputs);
    else
        snprintf(text, 80, "row %zu", row);
}

void tp_repeats_tell(const tp_repeats *r, size_t outputs, char *text, size_t size)
{
    char row[80], of[80], more[80] = "";
    *text = 0;
    if (r->multiple == 0)
        return;
    name_row(r->row, outputs, row);
    name_row(r->of, outputs, of);
    if (r->multiple > 1)
        snprintf(more, sizeof more, ", the first of %zu such", r->multiple);
    if (r->of == r->row)
        snprintf(text, size, "; to it %s, counted from 0, is nothing%s", row, more);
    else
        snprintf(text, size, "; to it %s, counted from 0, is %s or a multiple of it%s", row, of, more);
}
