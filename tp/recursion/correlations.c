/* correlations.c: which pairs of a tile are near correlation 1 or -1, and how far the others go. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>

static const double near_one = 1 - TP_NEAR;

bool tp_holds_own(const tp_solver *s, const tp_tile *t)
{
    return s->same && t->row0 < t->column0 + t->columns && t->column0 < t->row0 + t->rows;
}

void tp_find_near(const tp_solver *s, const tp_quantity *q, tp_tile *t, const double *cov)
{
    const double *down = s->errors.scales[t->set[0]][q->var_a].inverse + t->row0;
    const double *across = s->errors.scales[t->set[1]][q->var_b].inverse + t->column0;
    t->now.most = 0;
    t->now.has_near = false;
    for (size_t i = 0; i < t->rows; i++) {
        const double *row = cov + i * t->columns;
        size_t own = t->columns; /* the place of the sample itself, of which the variance is known */
        if (s->same && t->row0 + i >= t->column0 && t->row0 + i < t->column0 + t->columns)
            own = t->row0 + i - t->column0;
        double most = tp_array_largest(own, row, across) * down[i];
        if (own < t->columns)
            most = fmax(most, tp_array_largest(t->columns - own - 1, row + own + 1, across + own + 1) * down[i]);
        if (most <= near_one) {
            t->now.most = fmax(t->now.most, most);
            continue;
        }
        for (size_t k = 0; k < t->columns; k++) {
            double c = fabs(row[k]) * across[k] * down[i];
            if (k == own)
                continue;
            if (c > near_one) {
                t->n_near += t->nearly && !t->nearly[i * t->columns + k];
                t->now.has_near = true;
                if (t->nearly)
                    t->nearly[i * t->columns + k] = 1;
            } else if (c > t->now.most)
                t->now.most = c;
        }
    }
}
