/* gemm_small.c: small matrix products by LIBXSMM, which writes a kernel for a product's own sizes when they first occur: no
 * packing, and the processor's full vectors. OpenBLAS has the large ones, and all where there is no LIBXSMM. */
#include "autodiff/plan/steps.h"

#if defined(LIMN_XSMM)
#include <libxsmm.h>

/* So many multiplications and additions, and columns, are few enough to do without packing. Vectors lie along c's rows:
 * those of whole vectors leave none half empty. */
static const double few_operations = 1 << 21;
enum { VECTOR = 16, FEW_COLUMNS = 512, SCALED_BYTES = 16384 };

/* c = a b, or c += a b. */
static libxsmm_xmmfunction kernel_of(const ad_gemm *g, int ldb, bool adds)
{
    /* LIBXSMM is column-major: c' (n, m) = b' (n, k) a' (k, m) */
    int flags = g->trans_a ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
    libxsmm_xmmfunction kernel;
    if (g->type == AD_DOUBLE)
        kernel.dmm = libxsmm_dmmdispatch(g->n, g->m, g->k, &ldb, &g->lda, &g->ldc, &(double){ 1 }, &(double){ adds },
                                         &flags, NULL);
    else
        kernel.smm = libxsmm_smmdispatch(g->n, g->m, g->k, &ldb, &g->lda, &g->ldc, &(float){ 1 }, &(float){ adds },
                                         &flags, NULL);
    return kernel;
}

/* to = factor from, row by row; steps in bytes. */
static void scale(const ad_gemm *g, int rows, char *to, size_t step_to, const char *from, size_t step, double factor)
{
    for (int i = 0; i < rows; i++, to += step_to, from += step)
        g->loops->op[AD_SCALE]((size_t)g->n, to, from, NULL, factor);
}

bool ad_small_gemm(const ad_gemm *g)
{
    size_t element = g->type == AD_DOUBLE ? sizeof(double) : sizeof(float), row = (size_t)g->n * element;
    size_t step_b = (size_t)g->ldb * element, step_c = (size_t)g->ldc * element;
    bool adds = g->keep != 0, copies = adds && g->alpha != 1; /* c + alpha a b = c + a (alpha b) */
    if (g->trans_b || g->n % VECTOR != 0 || g->n > FEW_COLUMNS || (double)g->m * g->n * g->k > few_operations ||
        (copies && row * (size_t)g->k > SCALED_BYTES))
        return false;
    libxsmm_xmmfunction kernel = kernel_of(g, copies ? g->n : g->ldb, adds);
    if (!kernel.xmm)
        return false;
    _Alignas(64) char scaled[SCALED_BYTES];
    if (copies)
        scale(g, g->k, scaled, row, g->b, step_b, g->alpha);
    if (adds && g->keep != 1)
        scale(g, g->m, g->c, step_c, g->c, step_c, g->keep);
    kernel.xmm(copies ? scaled : g->b, g->a, g->c);
    if (!adds && g->alpha != 1)
        scale(g, g->m, g->c, step_c, g->c, step_c, g->alpha);
    return true;
}
#else
bool ad_small_gemm(const ad_gemm *g)
{
    (void)g;
    return false;
}
#endif
