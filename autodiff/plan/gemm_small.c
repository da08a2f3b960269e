/* gemm_small.c: small matrix products, and those of middling size in blocks, by LIBXSMM, which writes a kernel for a
 * product's own sizes when they first occur: no packing, and the processor's full vectors. OpenBLAS has the large ones,
 * and all where there is no LIBXSMM. */
#include "autodiff/plan/steps.h"

#if defined(LIMN_XSMM)
#include <libxsmm.h>
#include <stdatomic.h>
#include <stdlib.h>

/* So many multiplications and additions, and columns, are few enough to do without packing. Vectors lie along c's rows:
 * those of whole vectors leave none half empty. */
static const double few_operations = 1 << 21;
enum { VECTOR = 16, FEW_COLUMNS = 512, SCALED_BYTES = 16384 };

/* LIBXSMM keeps its kernels in a table, and does not look whether there was memory for it. */
static bool has_table(void)
{
    enum { UNKNOWN, THERE, MISSING };
    static atomic_int table = UNKNOWN;
    if (table == UNKNOWN) {
        libxsmm_registry_info info;
        table = libxsmm_get_registry_info(&info) == EXIT_SUCCESS ? THERE : MISSING;
    }
    return table == THERE;
}

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

/* Operands in bytes a row. */
static size_t element_of(const ad_gemm *g)
{
    return g->type == AD_DOUBLE ? sizeof(double) : sizeof(float);
}

static bool is_scaled_first(const ad_gemm *g) /* c + alpha a b = c + a (alpha b) */
{
    return g->keep != 0 && g->alpha != 1;
}

/* The kernel of a product, none if it is not one of these. */
static libxsmm_xmmfunction find_kernel(const ad_gemm *g)
{
    bool copies = is_scaled_first(g);
    if (!has_table() || g->n % VECTOR != 0 || g->n > FEW_COLUMNS || (double)g->m * g->n * g->k > few_operations ||
        (copies && (size_t)g->n * element_of(g) * (size_t)g->k > SCALED_BYTES))
        return (libxsmm_xmmfunction){ NULL };
    return kernel_of(g, copies ? g->n : g->ldb, g->keep != 0);
}

static bool multiply(const ad_gemm *g)
{
    size_t row = (size_t)g->n * element_of(g), step_b = (size_t)g->ldb * element_of(g);
    size_t step_c = (size_t)g->ldc * element_of(g);
    bool adds = g->keep != 0, copies = is_scaled_first(g);
    libxsmm_xmmfunction kernel = find_kernel(g);
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

enum { THIN = 64 };

/* Parts of a product: of its rows, or of what it sums over, which are added up. */
static bool multiply_parts(const ad_gemm *g, bool rows, int part)
{
    int whole = rows ? g->m : g->k, last = whole % part;
    size_t step_a = (g->trans_a == rows ? 1 : (size_t)g->lda) * element_of(g);
    ad_gemm piece = *g;
    *(rows ? &piece.m : &piece.k) = last ? last : part;
    if (!find_kernel(&piece).xmm)
        return false;
    for (int first = 0; first < whole; first += part) {
        *(rows ? &piece.m : &piece.k) = whole - first < part ? whole - first : part;
        piece.a = g->a + (size_t)first * step_a;
        if (rows)
            piece.c = g->c + (size_t)first * (size_t)g->ldc * element_of(g);
        else
            piece.b = g->b + (size_t)first * (size_t)g->ldb * element_of(g);
        if (!rows)
            piece.keep = first ? 1 : 0;
        if (!multiply(&piece))
            return false; /* the first one: all others are like it */
    }
    return true;
}

/* A long sum into a small c: in a place of its own, as c may be kept or the product be scaled. */
static bool multiply_sums(const ad_gemm *g, int part)
{
    _Alignas(64) char product[sizeof(double) * THIN * THIN];
    ad_gemm sum = *g;
    size_t row = (size_t)g->n * element_of(g);
    sum.c = product;
    sum.ldc = g->n;
    sum.alpha = 1;
    if (!multiply_parts(&sum, false, part))
        return false;
    for (int i = 0; i < g->m; i++) {
        char *c = g->c + (size_t)i * (size_t)g->ldc * element_of(g), *from = product + (size_t)i * row;
        if (g->keep != 0 && g->keep != 1)
            g->loops->op[AD_SCALE]((size_t)g->n, c, c, NULL, g->keep);
        g->loops->op[AD_SCALE]((size_t)g->n, g->keep != 0 ? from : c, from, NULL, g->alpha);
        if (g->keep != 0)
            g->loops->op[AD_ADD]((size_t)g->n, c, c, from, 0);
    }
    return true;
}

/* Of middling size are products of few rows, and those whose result stays in the second cache; a transposed a of long
 * columns is read too far apart. */
static bool is_middling(const ad_gemm *g)
{
    enum { FEW_ROWS = 256, FEW_SUMS = 256, NEAR = 3 << 17 };
    return g->keep == 0 && g->n % VECTOR == 0 && g->m >= VECTOR && g->k > 0 && (!g->trans_a || g->k <= FEW_SUMS) &&
           (g->m <= FEW_ROWS || (double)g->m * g->n * (double)element_of(g) <= NEAR * sizeof(float));
}

/* The length of equal parts of at most `most`. */
static int equal_part(int whole, int most)
{
    int parts = (whole + most - 1) / most;
    return (whole + parts - 1) / parts;
}

/* The part of b's block from (row, column) on, of which a transposed b is turned into `turned`, times all rows of a. */
static bool multiply_block(const ad_gemm *g, int row, int rows, int column, int columns, char *turned)
{
    size_t e = element_of(g);
    int k = g->trans_b ? column : row, n = g->trans_b ? row : column;
    ad_gemm block = *g;
    block.k = g->trans_b ? columns : rows;
    block.n = g->trans_b ? rows : columns;
    block.a += (size_t)k * (g->trans_a ? (size_t)g->lda : 1) * e;
    block.b += ((size_t)row * (size_t)g->ldb + (size_t)column) * e;
    block.c += (size_t)n * e;
    libxsmm_xmmfunction kernel = kernel_of(&block, g->trans_b ? block.n : g->ldb, k > 0);
    if (!kernel.xmm)
        return false;
    if (g->trans_b)
        libxsmm_otrans(turned, block.b, (unsigned int)e, columns, rows, g->ldb, rows);
    kernel.xmm(g->trans_b ? turned : block.b, block.a, block.c);
    return true;
}

/* Blocks of b as its rows lie in memory, so that it is read once and in order; c is added to from a near cache. */
static bool multiply_blocks(const ad_gemm *g)
{
    enum { HIGH = 128, WIDE = 512, TURNED_HIGH = 256, TURNED_WIDE = 256 }; /* wide, and high if turned, in bytes */
    _Alignas(64) char turned[TURNED_HIGH * TURNED_WIDE];
    int e = (int)element_of(g), rows = g->trans_b ? g->n : g->k, columns = g->trans_b ? g->k : g->n;
    int high = g->trans_b ? TURNED_HIGH / e : equal_part(g->k, HIGH);
    int wide = g->trans_b ? equal_part(g->k, TURNED_WIDE) : WIDE / e;
    for (int row = 0; row < rows; row += high)
        for (int column = 0; column < columns; column += wide)
            if (!multiply_block(g, row, rows - row < high ? rows - row : high, column,
                                columns - column < wide ? columns - column : wide, turned))
                return false;
    for (int i = 0; i < g->m && g->alpha != 1; i++) {
        char *c = g->c + (size_t)i * (size_t)g->ldc * (size_t)e;
        g->loops->op[AD_SCALE]((size_t)g->n, c, c, NULL, g->alpha);
    }
    return true;
}

/* Of a long thin product so many rows, or summed entries, at a time, as have few operations. A transposed b has to be
 * turned, whatever the size, which blocks are. */
bool ad_small_gemm(const ad_gemm *g)
{
    bool rows = g->n <= THIN && g->k <= THIN, sums = g->n <= THIN && g->m <= THIN;
    if (!g->trans_b && (double)g->m * g->n * g->k <= few_operations)
        return multiply(g);
    if (g->trans_b || (!rows && !sums))
        return has_table() && is_middling(g) && multiply_blocks(g);
    int part = (int)(few_operations / ((double)g->n * (rows ? g->k : g->m))) / VECTOR * VECTOR;
    return rows ? multiply_parts(g, true, part) : multiply_sums(g, part);
}
#else
bool ad_small_gemm(const ad_gemm *g)
{
    (void)g;
    return false;
}
#endif
