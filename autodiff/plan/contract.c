/* contract.c: c = alpha * sum over K of a b, for any order of the axes.
 *
 * The axes fall into four groups: kept (in a, b and c), M (a and c), N (b and c), K (a and b). If M, N and K each run
 * along one stride, with a unit stride where BLAS needs one, the contraction is matrix products in loops over the kept
 * axes and the rest of M and N. An operand that does not lie like that is packed first; but windows that overlap, of
 * which a copy is many times the data, are multiplied where they lie, entry by entry of the filter, each product added
 * to c. Without free axes it is rows of dot products; where c's innermost axis is a kept one, plain loops along that
 * axis. */
#include "autodiff/plan/steps.h"

#include <limits.h>
#include <string.h>

typedef struct {
    size_t n;
    ptrdiff_t a, b, c;
} dim;

typedef struct {
    int count;
    dim dims[AD_MAX_LOOPS];
} dims;

static void push(dims *list, dim d)
{
    list->dims[list->count++] = d;
}

/* A stable sort, largest stride first, of the operand 'a', 'b' or 'c'. */
static void sort_by(dims *list, char which)
{
    for (int i = 1; i < list->count; i++)
        for (int k = i; k > 0; k--) {
            dim *u = &list->dims[k - 1], *v = &list->dims[k], old = *u;
            ptrdiff_t su = which == 'a' ? u->a : which == 'b' ? u->b : u->c;
            ptrdiff_t sv = which == 'a' ? v->a : which == 'b' ? v->b : v->c;
            if (su >= sv)
                break;
            *u = *v;
            *v = old;
        }
}

static bool joins(ptrdiff_t outer, ptrdiff_t inner, size_t n)
{
    return outer == inner * (ptrdiff_t)n;
}

/* Joins neighbours for which the strides of the named operands allow it. */
static void join(dims *list, bool a, bool b, bool c)
{
    int kept = 0;
    for (int i = 0; i < list->count; i++) {
        dim d = list->dims[i], *last = kept ? &list->dims[kept - 1] : NULL;
        if (last && (!a || joins(last->a, d.a, d.n)) && (!b || joins(last->b, d.b, d.n)) &&
            (!c || joins(last->c, d.c, d.n))) {
            d.n *= last->n;
            *last = d;
        } else {
            list->dims[kept++] = d;
        }
    }
    list->count = kept;
}

static size_t turns_of(const dims *list)
{
    size_t n = 1;
    for (int i = 0; i < list->count; i++)
        n *= list->dims[i].n;
    return n;
}

static void swap_operands(dims *list)
{
    for (int i = 0; i < list->count; i++) {
        ptrdiff_t a = list->dims[i].a;
        list->dims[i].a = list->dims[i].b;
        list->dims[i].b = a;
    }
}

/* Cuts from `list` the run of dimensions that lie along one stride of c: the last one, or the longest. */
static dims cut_run(dims *list, bool at_end)
{
    int from = 0, to = 0;
    size_t longest = 0;
    for (int i = 0; i < list->count;) {
        int k = i + 1;
        size_t n = list->dims[i].n;
        for (; k < list->count && joins(list->dims[k - 1].c, list->dims[k].c, list->dims[k].n); k++)
            n *= list->dims[k].n;
        if (at_end || n > longest) {
            longest = n;
            from = i;
            to = k;
        }
        i = k;
    }
    dims run = { 0 }, rest = { 0 };
    for (int i = 0; i < list->count; i++)
        push(i >= from && i < to ? &run : &rest, list->dims[i]);
    *list = rest;
    return run;
}

/* The one stride of a list of dimensions in operand a (or b); -1 if there is none. An empty list has stride 1. */
static ptrdiff_t one_stride(const dims *list, bool b)
{
    for (int i = 1; i < list->count; i++)
        if (!(b ? joins(list->dims[i - 1].b, list->dims[i].b, list->dims[i].n)
                : joins(list->dims[i - 1].a, list->dims[i].a, list->dims[i].n)))
            return -1;
    const dim *last = list->count ? &list->dims[list->count - 1] : NULL;
    return !last ? 1 : b ? last->b : last->a;
}

/* Does operand a (b) lie as a matrix of rows x columns, perhaps transposed? Its leading dimension then. */
static bool lies_well(const dims *rows, const dims *columns, bool b, bool *trans, size_t *ld)
{
    ptrdiff_t r = one_stride(rows, b), c = one_stride(columns, b);
    size_t m = turns_of(rows), n = turns_of(columns);
    if ((m > 1 && r <= 0) || (n > 1 && c <= 0))
        return false;
    if ((n == 1 || c == 1) && (m == 1 || ((size_t)r >= n && r <= INT_MAX))) {
        *trans = false;
        *ld = m == 1 ? n : (size_t)r;
        return true;
    }
    if ((m == 1 || r == 1) && (n == 1 || ((size_t)c >= m && c <= INT_MAX))) {
        *trans = true;
        *ld = n == 1 ? m : (size_t)c;
        return true;
    }
    return false;
}

/* Lays out a packed copy of operand a (or b), the given lists outermost first; its strides become the copy's. */
static size_t pack(ad_nest *nest, dims *const *lists, int n_lists, bool b)
{
    ptrdiff_t step = 1;
    int rank = 0, at;
    for (int l = 0; l < n_lists; l++)
        rank += lists[l]->count;
    *nest = (ad_nest){ .rank = rank };
    at = rank;
    for (int l = n_lists - 1; l >= 0; l--)
        for (int i = lists[l]->count - 1; i >= 0; i--) {
            dim *d = &lists[l]->dims[i];
            ptrdiff_t *stride = b ? &d->b : &d->a;
            at--;
            nest->size[at] = d->n;
            nest->stride[0][at] = step;
            nest->stride[1][at] = *stride;
            *stride = step;
            step *= (ptrdiff_t)d->n;
        }
    ad_nest_collapse(nest, 2);
    return (size_t)step;
}

static void add_loops(ad_nest *nest, const dims *list, bool has_a, bool has_b)
{
    for (int i = 0; i < list->count; i++) {
        const dim *d = &list->dims[i];
        ad_nest_add(nest, d->n, d->c, has_a ? d->a : 0, has_b ? d->b : 0);
    }
}

/* Every axis is a loop; the innermost is the one along c's unit stride, around it are the summed ones. */
static void by_loops(ad_product *product, const dims *kept, const dims *m, const dims *n, const dims *k)
{
    ad_nest free = { 0 }, *nest = &product->loops;
    product->method = AD_BY_LOOPS;
    product->pack_a = product->pack_b = false;
    nest->rank = 0;
    add_loops(&free, kept, true, true);
    add_loops(&free, m, true, false);
    add_loops(&free, n, false, true);
    int best = free.rank - 1;
    for (int i = 0; i < free.rank; i++)
        if (free.stride[0][i] == 1)
            best = i;
    for (int i = 0; i < free.rank; i++)
        if (i != best)
            ad_nest_add(nest, free.size[i], free.stride[0][i], free.stride[1][i], free.stride[2][i]);
    add_loops(nest, k, true, true);
    if (best >= 0)
        ad_nest_add(nest, free.size[best], free.stride[0][best], free.stride[1][best], free.stride[2][best]);
}

/* The axes by where they stand, and what a packed copy of an operand may take. */
typedef struct {
    dims kept, m, n, k;
    size_t capacity_a, capacity_b;
    bool unit_in_kept, unit_in_m; /* where c's unit stride runs */
} layout;

static layout sort_axes(ad_product *product, int n_axes, const ad_product_axis *axes)
{
    layout l = { 0 };
    for (int i = 0; i < n_axes; i++) {
        const ad_product_axis *axis = &axes[i];
        dim d = { axis->size, axis->in_a ? axis->a : 0, axis->in_b ? axis->b : 0, axis->in_c ? axis->c : 0 };
        product->work *= (double)d.n;
        if (axis->in_c)
            product->out *= d.n;
        if (d.n == 1)
            continue;
        bool unit = axis->in_c && axis->c == 1;
        l.unit_in_kept |= unit && axis->in_a && axis->in_b;
        l.unit_in_m |= unit && axis->in_a && !axis->in_b;
        push(!axis->in_c ? &l.k : axis->in_a && axis->in_b ? &l.kept : axis->in_a ? &l.m : &l.n, d);
    }
    sort_by(&l.kept, 'c');
    sort_by(&l.m, 'c');
    sort_by(&l.n, 'c');
    join(&l.kept, true, true, true);
    return l;
}

static void swap_sides(ad_product *product, layout *l)
{
    dims m = l->m;
    size_t capacity = l->capacity_a;
    l->m = l->n;
    l->n = m;
    swap_operands(&l->kept);
    swap_operands(&l->m);
    swap_operands(&l->n);
    swap_operands(&l->k);
    l->capacity_a = l->capacity_b;
    l->capacity_b = capacity;
    product->swapped = true;
}

/* Without free axes: rows of dot products, if the summed axes run along one stride. */
static void by_dots(ad_product *product, const layout *l, dims summed)
{
    join(&summed, true, true, false);
    ptrdiff_t a = one_stride(&summed, false), b = one_stride(&summed, true);
    bool along = summed.count == 0 || (a == 1 && b == 1) || l->kept.count == 0;
    if (summed.count > 1 || !along) {
        by_loops(product, &l->kept, &l->m, &l->n, &summed);
        return;
    }
    product->method = AD_BY_DOT;
    product->k = turns_of(&summed);
    product->lda = (size_t)a;
    product->ldb = (size_t)b;
    add_loops(&product->loops, &l->kept, true, true);
}

/* Does an operand over these dimensions have the same entries several times, as windows that overlap have them? */
static bool repeats(dims *const *lists, int n_lists, bool b)
{
    double size = 1, span = 1;
    for (int l = 0; l < n_lists; l++)
        for (int i = 0; i < lists[l]->count; i++) {
            const dim *d = &lists[l]->dims[i];
            ptrdiff_t stride = b ? d->b : d->a;
            size *= (double)d->n;
            span += (double)(d->n - 1) * (double)(stride < 0 ? -stride : stride);
        }
    return size >= 2 * span;
}

/* Moves outer dimensions of a run to `rest` until operand a (b) lies well with so many summed ones; false: it never
 * does. */
static bool shorten(dims *run, dims *rest, const dims *summed, bool b)
{
    bool trans;
    size_t ld;
    while (run->count &&
           !(b ? lies_well(summed, run, true, &trans, &ld) : lies_well(run, summed, false, &trans, &ld))) {
        push(rest, run->dims[0]);
        memmove(run->dims, run->dims + 1, (size_t)--run->count * sizeof *run->dims);
    }
    return run->count > 0;
}

/* The summed axes split in those of one product, and loops over the others. */
typedef struct {
    dims outer, inner, m, n, m_rest, n_rest;
} parts;

/* The longest innermost run of the summed axes with which both operands lie well, where it is long enough. */
static bool split_sums(const dims *k, const dims *m_run, const dims *n_run, parts *p)
{
    enum { FEW = 6, LITTLE_WORK = 4096 };
    for (int from = 0; from < k->count; from++) {
        *p = (parts){ .m = *m_run, .n = *n_run };
        for (int i = 0; i < k->count; i++)
            push(i < from ? &p->outer : &p->inner, k->dims[i]);
        if (turns_of(&p->inner) >= FEW && one_stride(&p->inner, false) > 0 && one_stride(&p->inner, true) > 0 &&
            shorten(&p->m, &p->m_rest, &p->inner, false) && shorten(&p->n, &p->n_rest, &p->inner, true) &&
            turns_of(&p->inner) * turns_of(&p->m) * turns_of(&p->n) >= LITTLE_WORK)
            return true;
    }
    return false;
}

static void append(dims *list, const dims *more)
{
    for (int i = 0; i < more->count; i++)
        push(list, more->dims[i]);
}

/* Products that are added up, of operands that lie as they are, but for a small matrix that is better turned first.
 * False: there is no such way. */
static bool by_sums(ad_product *product, layout *l, const dims *m_run, const dims *n_run, const dims *by_a,
                    const dims *by_b)
{
    parts p;
    dims k = *by_a;
    if (!split_sums(by_a, m_run, n_run, &p)) {
        k = *by_b;
        if (!split_sums(by_b, m_run, n_run, &p))
            return false;
    }
    product->m = turns_of(&p.m);
    product->n = turns_of(&p.n);
    product->k = turns_of(&p.inner);
    ptrdiff_t step_c = p.m.dims[p.m.count - 1].c;
    if (product->m > INT_MAX || product->n > INT_MAX || product->k > INT_MAX || step_c > INT_MAX)
        return false;
    append(&l->m, &p.m_rest);
    append(&l->n, &p.n_rest);
    lies_well(&p.m, &p.inner, false, &product->trans_a, &product->lda);
    lies_well(&p.inner, &p.n, true, &product->trans_b, &product->ldb);
    size_t size_b = turns_of(&l->kept) * turns_of(&l->n) * turns_of(&p.n) * turns_of(&k);
    product->pack_a = false;
    product->pack_b = product->trans_b && size_b <= l->capacity_b && 16 * size_b < product->out * product->k;
    if (product->pack_b) {
        dims *lists[] = { &l->kept, &l->n, &p.outer, &p.inner, &p.n };
        product->packed[!product->swapped] = pack(&product->packing_b, lists, 5, true);
        lies_well(&p.inner, &p.n, true, &product->trans_b, &product->ldb);
    }
    product->method = AD_BY_GEMM;
    product->ldc = (size_t)step_c;
    add_loops(&product->loops, &l->kept, true, true);
    add_loops(&product->loops, &l->m, true, false);
    add_loops(&product->loops, &l->n, false, true);
    add_loops(&product->sums, &p.outer, true, true);
    return true;
}

/* Do neighbours in memory of operand a run along the kept axes rather than the summed ones, in pieces longer than
 * these? */
static bool runs_along(const dims *kept, const dims *summed)
{
    const dim *m = &kept->dims[kept->count - 1], *k = summed->count ? &summed->dims[summed->count - 1] : NULL;
    return m->a == 1 && k && m->n > 4 * k->n;
}

/* Matrix products of runs of M and N, or a matrix times vectors, in loops over the other axes. */
static void by_matrices(ad_product *product, layout *l, const dims *by_a, const dims *by_b)
{
    bool matrix = l->n.count > 0;
    dims m_run = cut_run(&l->m, false), n_run = cut_run(&l->n, true), k = l->k;
    size_t turns = turns_of(&l->kept), cheapest = SIZE_MAX;
    size_t size_a = turns * turns_of(&l->m) * turns_of(&m_run) * turns_of(&k);
    size_t size_b = turns * turns_of(&l->n) * turns_of(&n_run) * turns_of(&k);
    for (int order = 0; order < 2; order++) { /* the summed axes in a's order, or in b's: what packs less */
        const dims *try = order ? by_b : by_a;
        bool good_a = lies_well(&m_run, try, false, &product->trans_a, &product->lda), good_b;
        if (matrix)
            good_b = lies_well(try, &n_run, true, &product->trans_b, &product->ldb);
        else
            good_b = one_stride(try, true) > 0 && one_stride(try, true) <= INT_MAX;
        size_t cost = (good_a ? 0 : size_a) + (good_b ? 0 : size_b);
        if (cost < cheapest) {
            cheapest = cost;
            k = *try;
            product->pack_a = !good_a;
            product->pack_b = !good_b;
        }
    }
    if (matrix &&
        ((product->pack_a && repeats((dims *const[]){ &l->kept, &l->m, &m_run, &k }, 4, false)) ||
         (product->pack_b && repeats((dims *const[]){ &l->kept, &l->n, &n_run, &k }, 4, true))) &&
        by_sums(product, l, &m_run, &n_run, by_a, by_b))
        return;
    product->m = turns_of(&m_run);
    product->n = turns_of(&n_run);
    product->k = turns_of(&k);
    ptrdiff_t step_c = m_run.dims[m_run.count - 1].c;
    bool small = product->m <= INT_MAX && product->n <= INT_MAX && product->k <= INT_MAX && step_c <= INT_MAX;
    bool fits = (!product->pack_a || size_a <= l->capacity_a) && (!product->pack_b || size_b <= l->capacity_b);
    if (!fits || !small) {
        for (int i = 0; i < m_run.count; i++)
            push(&l->m, m_run.dims[i]);
        for (int i = 0; i < n_run.count; i++)
            push(&l->n, n_run.dims[i]);
        by_loops(product, &l->kept, &l->m, &l->n, &k);
        return;
    }
    int first = product->swapped;
    bool turned = runs_along(&m_run, &k); /* the copy is, as it then is of longer pieces */
    if (product->pack_a)
        product->packed[first] =
            pack(&product->packing_a, (dims *const[]){ &l->kept, &l->m, turned ? &k : &m_run, turned ? &m_run : &k }, 4,
                 false);
    if (product->pack_b)
        product->packed[!first] = pack(&product->packing_b, (dims *const[]){ &l->kept, &l->n, &k, &n_run }, 4, true);
    lies_well(&m_run, &k, false, &product->trans_a, &product->lda);
    product->method = matrix ? AD_BY_GEMM : AD_BY_GEMV;
    product->ldb = (size_t)one_stride(&k, true);
    product->ldc = (size_t)step_c;
    if (matrix)
        lies_well(&k, &n_run, true, &product->trans_b, &product->ldb);
    add_loops(&product->loops, &l->kept, true, true);
    add_loops(&product->loops, &l->m, true, false);
    add_loops(&product->loops, &l->n, false, true);
}

void ad_product_size(ad_product *product, int n_axes, const ad_product_axis *axes, size_t capacity_a, size_t capacity_b)
{
    *product = (ad_product){ .out = 1, .work = 2 };
    layout l = sort_axes(product, n_axes, axes);
    l.capacity_a = capacity_a;
    l.capacity_b = capacity_b;
    /* row-major BLAS writes unit stride along n; one free side only is a matrix times a vector, the matrix first */
    if ((l.unit_in_m && l.n.count) || (!l.m.count && l.n.count))
        swap_sides(product, &l);
    dims by_a = l.k, by_b = l.k;
    sort_by(&by_a, 'a');
    sort_by(&by_b, 'b');
    if (!l.m.count && !l.n.count)
        by_dots(product, &l, by_a);
    else if (l.unit_in_kept && (l.n.count || l.kept.dims[l.kept.count - 1].n >= 8))
        by_loops(product, &l.kept, &l.m, &l.n, &by_a);
    else
        by_matrices(product, &l, &by_a, &by_b);
}
