/* jumps.c: functions that jump, of averages. An average over the width fluctuates around its limit; where the limit is
 * at a jump or pole, or two averages whose larger one is asked for are equal, the fluctuations decide, at every width.
 * Whether it is there is a matter of the inputs, and seen when quantities have values. */
#include "autodiff/base/base.h"
#include "tp/symbolic/function.h"
#include "tp/symbolic/symbolic.h"

#include <math.h>
#include <string.h>

/* Values nearer than this, relative to what they are sums of, are the same. */
static const double equal = 1e-9;

static const double *jumps_of(const tp_fn *f, int *count)
{
    static const double zero = 0;
    const ad_op_facts *facts = f->op <= AD_CUSTOM ? ad_op_facts_of((ad_op)f->op) : NULL;
    bool pole =
        f->op == TP_INVERSE || (facts && (facts->domain == AD_POSITIVES || (facts->domain == AD_BY_P && f->p < 0)));
    if (pole) {
        *count = 1;
        return &zero;
    }
    bool jumps = f->op == AD_CUSTOM || (facts && facts->breaks == AD_JUMPS);
    const double *at = tp_fn_own_kinks(f, count);
    *count = jumps ? *count : 0;
    return at;
}

bool tp_fn_jumps(const tp_algebra *algebra, int fn)
{
    int count;
    jumps_of(tp_fn_at(algebra, fn), &count);
    return count > 0;
}

bool tp_at_jump(const tp_algebra *algebra, int fn, double x, double size)
{
    int count;
    const double *at = jumps_of(tp_fn_at(algebra, fn), &count);
    bool there = false;
    for (int k = 0; k < count; k++)
        there |= fabs(x - at[k]) <= equal * fmax(size, fabs(at[k]));
    return there;
}

bool tp_at_tie(const double *x, int n)
{
    int largest = 0, ties = 0;
    double size = 0;
    for (int k = 0; k < n; k++) {
        largest = x[k] > x[largest] ? k : largest;
        size = fmax(size, fabs(x[k]));
    }
    for (int k = 0; k < n; k++)
        ties += x[largest] - x[k] <= equal * size;
    return ties > 1;
}

int tp_q_jump(tp_algebra *algebra, int quantity, int node)
{
    if (quantity < 0 || tp_quantity_at(algebra, quantity)->kind == TP_Q_NUMBER)
        return quantity;
    tp_quantity *q = ad_arena_alloc(algebra->arena, 1, tp_quantity_size(tp_quantity_at(algebra, quantity)));
    void *jumps = algebra->jumps;
    if (!q ||
        !ad_arena_grow(algebra->arena, &jumps, algebra->n_jumps, &algebra->jumps_capacity, sizeof *algebra->jumps))
        return tp_lacks_memory(algebra);
    algebra->jumps = jumps;
    memcpy(q, tp_quantity_at(algebra, quantity), tp_quantity_size(tp_quantity_at(algebra, quantity)));
    q->jumps = 1;
    int id = tp_intern(&algebra->quantities, q, tp_quantity_size(q));
    if (id < 0)
        return tp_lacks_memory(algebra);
    algebra->jumps[algebra->n_jumps].quantity = id;
    algebra->jumps[algebra->n_jumps++].node = node;
    return id;
}

int tp_refuse_jump(const tp_algebra *algebra, int quantity, ad_error *error)
{
    int node = 0;
    for (int k = 0; k < algebra->n_jumps && !node; k++)
        node = algebra->jumps[k].quantity == quantity ? algebra->jumps[k].node : 0;
    const ad_node *at = ad_node_of(algebra->graph, node);
    return ad_fail(error,
                   "%s:%d: %s: it jumps, and averages over the width are at the jump in the limit, so that what they "
                   "fluctuate by, of order n^-0.5, decides: this kernel stays random at every width; ask for that of "
                   "the network that returns the averages, or, with --width N, for one draw's",
                   at->where.file, at->where.line, tp_node_name(at));
}
