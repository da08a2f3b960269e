/* multiply.c: a contraction as contract.c has laid it out, computed: packed where it is to be, then products in loops,
 * by several threads where it is worth it. */
#include "autodiff/plan/steps.h"

#include <cblas.h>
#include <string.h>

/* Multiplications and additions above which a contraction is shared among threads. */
static const double worth_threads = 4e6;

typedef struct {
    const ad_product *product;
    const ad_loops *loops;
    ad_type type;
    double alpha, keep;
    char *c;
    const char *a, *b;
    ptrdiff_t element;
} call;

/* Thread `share` of `shares` takes this part of n entries, in steps of whole cache lines. */
static void part_of(size_t n, size_t share, size_t shares, size_t *first, size_t *last)
{
    size_t lines = (n + 15) / 16;
    *first = lines * share / shares * 16;
    *last = lines * (share + 1) / shares * 16;
    *last = *last < n ? *last : n;
}

void ad_gemm_run(const ad_gemm *g)
{
    enum CBLAS_TRANSPOSE ta = g->trans_a ? CblasTrans : CblasNoTrans, tb = g->trans_b ? CblasTrans : CblasNoTrans;
    if (ad_small_gemm(g))
        return;
    if (g->type == AD_DOUBLE)
        cblas_dgemm(CblasRowMajor, ta, tb, g->m, g->n, g->k, g->alpha, (const void *)g->a, g->lda, (const void *)g->b,
                    g->ldb, g->keep, (void *)g->c, g->ldc);
    else
        cblas_sgemm(CblasRowMajor, ta, tb, g->m, g->n, g->k, (float)g->alpha, (const void *)g->a, g->lda,
                    (const void *)g->b, g->ldb, (float)g->keep, (void *)g->c, g->ldc);
}

/* The part of a matrix product that is a share's: rows of c, or columns where there are more of them. */
static void gemm(const call *u, double alpha, double keep, char *c, const char *a, const char *b, size_t share,
                 size_t shares)
{
    const ad_product *p = u->product;
    size_t first, last, e = (size_t)u->element;
    bool rows = p->m >= p->n;
    part_of(rows ? p->m : p->n, share, shares, &first, &last);
    if (first >= last)
        return;
    ad_gemm g = { u->loops,
                  u->type,
                  p->trans_a,
                  p->trans_b,
                  (int)(rows ? last - first : p->m),
                  (int)(rows ? p->n : last - first),
                  (int)p->k,
                  (int)p->lda,
                  (int)p->ldb,
                  (int)p->ldc,
                  alpha,
                  keep,
                  c,
                  a,
                  b };
    if (rows) {
        g.a += first * (p->trans_a ? 1 : p->lda) * e;
        g.c += first * p->ldc * e;
    } else {
        g.b += first * (p->trans_b ? p->ldb : 1) * e;
        g.c += first * e;
    }
    ad_gemm_run(&g);
}

/* Products that are added up, the factor last: where there is more than one, c keeps nothing. */
static void gemms(const call *u, char *c, const char *a, const char *b, size_t share, size_t shares)
{
    const ad_product *p = u->product;
    size_t turns = ad_nest_turns(&p->sums, p->sums.rank), index[AD_MAX_LOOPS] = { 0 };
    ptrdiff_t at[3] = { 0 };
    if (turns == 1) {
        gemm(u, u->alpha, u->keep, c, a, b, share, shares);
        return;
    }
    for (size_t t = 0; t < turns; t++) {
        gemm(u, 1, t > 0, c, a + at[1] * u->element, b + at[2] * u->element, share, shares);
        ad_nest_next(&p->sums, p->sums.rank, index, at);
    }
    bool rows = p->m >= p->n;
    size_t first, last;
    part_of(rows ? p->m : p->n, share, shares, &first, &last);
    for (size_t i = rows ? first : 0; i < (rows ? last : p->m) && first < last && u->alpha != 1; i++) {
        char *row = c + (i * p->ldc + (rows ? 0 : first)) * (size_t)u->element;
        u->loops->op[AD_SCALE](rows ? p->n : last - first, row, row, NULL, u->alpha);
    }
}

static const void *zero(ad_type type)
{
    static const double nought = 0;
    static const float nought_float = 0;
    return type == AD_DOUBLE ? (const void *)&nought : (const void *)&nought_float;
}

/* A matrix times a vector, bound by memory, by our own loops: BLAS's gemv may give other bits in another call. */
static void gemv(const call *u, char *c, const char *a, const char *b, size_t share, size_t shares)
{
    const ad_product *p = u->product;
    size_t first, last, e = (size_t)u->element;
    part_of(p->m, share, shares, &first, &last);
    if (!p->trans_a) {
        for (size_t i = first; i < last; i++) {
            double value = u->loops->dot(p->k, a + i * p->lda * e, 1, b, (ptrdiff_t)p->ldb);
            u->loops->from_double(1, c + i * p->ldc * e, &value, u->alpha);
        }
        return;
    }
    for (size_t i = first; i < last; i += AD_BLOCK) {
        size_t count = last - i < AD_BLOCK ? last - i : AD_BLOCK;
        char *y = c + i * p->ldc * e;
        u->loops->copy(count, y, (ptrdiff_t)p->ldc, zero(u->type), 0);
        for (size_t k = 0; k < p->k; k++)
            u->loops->multiply_add(count, y, (ptrdiff_t)p->ldc, a + (k * p->lda + i) * e, 1, b + k * p->ldb * e, 0,
                                   u->alpha);
    }
}

/* One turn of the innermost loop of plain loops, or a share of it. */
static void loop(const call *u, char *c, const char *a, const char *b, size_t share, size_t shares)
{
    const ad_nest *nest = &u->product->loops;
    int last_loop = nest->rank - 1;
    if (last_loop < 0) {
        u->loops->multiply_add(1, c, 1, a, 1, b, 1, u->alpha);
        return;
    }
    ptrdiff_t e = u->element, sc = nest->stride[0][last_loop], sa = nest->stride[1][last_loop];
    ptrdiff_t sb = nest->stride[2][last_loop];
    size_t first, last;
    part_of(nest->size[last_loop], share, shares, &first, &last);
    ptrdiff_t at = (ptrdiff_t)first * e;
    if (first < last)
        u->loops->multiply_add(last - first, c + at * sc, sc, a + at * sa, sa, b + at * sb, sb, u->alpha);
}

/* Turns first to last of the outer loops, of each a share. */
static void run_turns(const call *u, size_t first, size_t last, size_t share, size_t shares)
{
    const ad_product *p = u->product;
    const ad_nest *nest = &p->loops;
    int rank = nest->rank - (p->method == AD_BY_LOOPS && nest->rank > 0);
    size_t index[AD_MAX_LOOPS];
    ptrdiff_t at[3];
    ad_nest_seek(nest, rank, first, index, at);
    for (size_t turn = first; turn < last; turn++) {
        char *c = u->c + at[0] * u->element;
        const char *a = u->a + at[1] * u->element, *b = u->b + at[2] * u->element;
        double value;
        switch (p->method) {
        case AD_BY_GEMM:
            gemms(u, c, a, b, share, shares);
            break;
        case AD_BY_GEMV:
            gemv(u, c, a, b, share, shares);
            break;
        case AD_BY_DOT:
            value = u->loops->dot(p->k, a, (ptrdiff_t)p->lda, b, (ptrdiff_t)p->ldb);
            u->loops->from_double(1, c, &value, u->alpha);
            break;
        case AD_BY_LOOPS:
            loop(u, c, a, b, share, shares);
            break;
        }
        ad_nest_next(nest, rank, index, at);
    }
}

static void run_packing(const call *u, const ad_nest *nest, char *to, const char *from)
{
    int rank = nest->rank > 0 ? nest->rank - 1 : 0;
    size_t width = nest->rank ? nest->size[rank] : 1, turns = ad_nest_turns(nest, rank), index[AD_MAX_LOOPS] = { 0 };
    ptrdiff_t at[3] = { 0 }, gap = nest->rank ? nest->stride[1][rank] : 1;
    for (size_t t = 0; t < turns; t++) {
        u->loops->copy(width, to + at[0] * u->element, 1, from + at[1] * u->element, gap);
        ad_nest_next(nest, rank, index, at);
    }
}

void ad_product_run(const ad_product *product, const ad_loops *loops, ad_type type, int threads, double alpha,
                    double keep, void *c, const void *a, const void *b, void *packed_a, void *packed_b)
{
    call u = { product,
               loops,
               type,
               alpha,
               keep,
               c,
               product->swapped ? b : a,
               product->swapped ? a : b,
               type == AD_DOUBLE ? sizeof(double) : sizeof(float) };
    char *to_a = product->swapped ? packed_b : packed_a, *to_b = product->swapped ? packed_a : packed_b;
    if (product->pack_a) {
        run_packing(&u, &product->packing_a, to_a, u.a);
        u.a = to_a;
    }
    if (product->pack_b) {
        run_packing(&u, &product->packing_b, to_b, u.b);
        u.b = to_b;
    }
    const ad_nest *nest = &product->loops;
    bool by_loops = product->method == AD_BY_LOOPS;
    size_t turns = ad_nest_turns(nest, nest->rank - by_loops);
    if (by_loops)
        memset(c, 0, product->out * (size_t)u.element);
    size_t shared = product->work < worth_threads ? 1 : (size_t)threads, last = (size_t)nest->rank - 1;
    bool within = turns < 2 * shared || by_loops; /* shares of every turn, rather than turns */
    if (product->method == AD_BY_DOT || (by_loops && (nest->rank == 0 || nest->stride[0][last] != 1)))
        shared = within ? 1 : shared;
    if (shared == 1) {
        run_turns(&u, 0, turns, 0, 1);
        return;
    }
#pragma omp parallel for num_threads((int)shared) schedule(static, 1)
    for (size_t t = 0; t < shared; t++)
        run_turns(&u, within ? 0 : turns * t / shared, within ? turns : turns * (t + 1) / shared, within ? t : 0,
                  within ? shared : 1);
}
