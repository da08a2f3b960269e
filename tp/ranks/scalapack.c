/* scalapack.c: matrices over ranks by ScaLAPACK, whose C interface is none: Fortran's names, numbers by address. */
#include "tp/ranks/ranks.h"

#include "autodiff/base/base.h"

#include <math.h>

extern void Cblacs_get(int context, int what, int *value);
extern void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
extern void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);
extern void descinit_(int *descriptor, const int *rows, const int *columns, const int *high, const int *wide,
                      const int *first_row, const int *first_column, const int *context, const int *pitch, int *info);
extern void pdpotrf_(const char *half, const int *n, double *a, const int *ia, const int *ja, const int *desc_a,
                     int *info);
extern void pdpotrs_(const char *half, const int *n, const int *sides, const double *a, const int *ia, const int *ja,
                     const int *desc_a, double *b, const int *ib, const int *jb, const int *desc_b, int *info);
extern void pdsyevd_(const char *job, const char *half, const int *n, double *a, const int *ia, const int *ja,
                     const int *desc_a, double *w, double *z, const int *iz, const int *jz, const int *desc_z,
                     double *work, const int *size, int *i_work, const int *i_size, int *info);
extern void pdgemm_(const char *turn_a, const char *turn_b, const int *m, const int *n, const int *k,
                    const double *alpha, const double *a, const int *ia, const int *ja, const int *desc_a,
                    const double *b, const int *ib, const int *jb, const int *desc_b, const double *beta, double *c,
                    const int *ic, const int *jc, const int *desc_c);
extern void pdsymm_(const char *side, const char *half, const int *m, const int *n, const double *alpha,
                    const double *a, const int *ia, const int *ja, const int *desc_a, const double *b, const int *ib,
                    const int *jb, const int *desc_b, const double *beta, double *c, const int *ic, const int *jc,
                    const int *desc_c);

static const int first = 1; /* rows and columns are counted from there */
static const double one = 1, none = 0;

/* BLACS' number of the grid, which is as near a square as the number of ranks has factors. */
static int context_of(void)
{
    static int context = -1;
    if (context >= 0)
        return context;
    int down = (int)sqrt((double)tp_n_ranks());
    while (tp_n_ranks() % down)
        down--;
    Cblacs_get(-1, 0, &context);
    Cblacs_gridinit(&context, "Row", down, tp_n_ranks() / down);
    return context;
}

void tp_spread_grid(int grid[2], int place[2])
{
    Cblacs_gridinfo(context_of(), &grid[0], &grid[1], &place[0], &place[1]);
}

int tp_spread_describe(tp_spread *s, ad_error *error)
{
    int rows = (int)s->rows, columns = (int)s->columns, side = (int)s->side, zero = 0, context = context_of(), info;
    int pitch = s->local[0] ? (int)s->local[0] : 1;
    descinit_(s->descriptor, &rows, &columns, &side, &side, &zero, &zero, &context, &pitch, &info);
    return info ? ad_fail(error, "ScaLAPACK has no matrix (%zu, %zu) in blocks of %zu", s->rows, s->columns, s->side)
                : 0;
}

int tp_spread_cholesky(tp_spread *k, ad_error *error)
{
    int n = (int)k->rows, info;
    (void)error;
    pdpotrf_("L", &n, k->values, &first, &first, k->descriptor, &info);
    tp_spread_clear(k);
    return info ? 1 : 0;
}

int tp_spread_solve(const tp_spread *l, tp_spread *x, ad_error *error)
{
    int n = (int)x->rows, sides = (int)x->columns, info = 0;
    pdpotrs_("L", &n, &sides, l->values, &first, &first, l->descriptor, x->values, &first, &first, x->descriptor,
             &info);
    return info ? ad_fail(error, "ScaLAPACK does not solve with a factor") : 0;
}

int tp_spread_eigen(tp_spread *k, double *values, tp_spread *vectors, ad_error *error)
{
    int n = (int)k->rows, info = 0, i_asked = 0, size = -1, i_size = -1;
    double asked = 0;
    pdsyevd_("V", "L", &n, k->values, &first, &first, k->descriptor, values, vectors->values, &first, &first,
             vectors->descriptor, &asked, &size, &i_asked, &i_size, &info);
    bool fits = asked < INT32_MAX;
    size = fits ? (int)asked : 1;
    i_size = i_asked;
    double *work = ad_alloc((size_t)size, sizeof *work, "the work of an eigendecomposition", error);
    int *i_work = ad_alloc((size_t)i_size, sizeof *i_work, "the work of an eigendecomposition", error);
    int status = !fits ? ad_fail(error, "an eigendecomposition of %d inputs: more ranks, or t = inf alone", n)
                 : work && i_work ? 0
                                  : -1;
    status = tp_ranks_agree(status, error);
    if (!status)
        pdsyevd_("V", "L", &n, k->values, &first, &first, k->descriptor, values, vectors->values, &first, &first,
                 vectors->descriptor, work, &size, i_work, &i_size, &info);
    ad_free(work);
    ad_free(i_work);
    return status ? -1
                  : tp_ranks_agree(info ? ad_fail(error, "ScaLAPACK found no eigenvalues of the kernel") : 0, error);
}

void tp_spread_product(const tp_spread *a, bool transposed, const tp_spread *b, tp_spread *out)
{
    int m = (int)out->rows, n = (int)out->columns, inner = (int)b->rows;
    pdgemm_(transposed ? "T" : "N", "N", &m, &n, &inner, &one, a->values, &first, &first, a->descriptor, b->values,
            &first, &first, b->descriptor, &none, out->values, &first, &first, out->descriptor);
}

void tp_spread_symmetric_product(const tp_spread *a, const tp_spread *b, tp_spread *out)
{
    int m = (int)out->rows, n = (int)out->columns;
    pdsymm_("L", "L", &m, &n, &one, a->values, &first, &first, a->descriptor, b->values, &first, &first, b->descriptor,
            &none, out->values, &first, &first, out->descriptor);
}
