/* blocks.c: under mpirun: is each block of a kernel over ranks that of one process's tile, to the last bit? Are two
 * .npy files near each other?
 *
 *     mpirun -n 4 blocks
 *     blocks A.npy B.npy 1e-10
 *     blocks X.npy ROWS            (writes normal draws) */
#include "limn.h"
#include "tp/ranks/ranks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 300, TESTS = 70, FEATURES = 7 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "blocks, rank %d: %s: %s\n", tp_rank(), what, why);
    return 1;
}

/* Of one set the blocks on and below the diagonal. */
static int compare(tp_program *program, const double *x, size_t rows, const double *x2, size_t rows2)
{
    ad_error error = { 0 };
    tp_kernel told, tiled;
    size_t columns = x2 ? rows2 : rows, side = tp_spread_side(columns), found = 0;
    tp_spread *s = tp_spread_limit(program, TP_NTK, false, x, rows, x2, rows2, NULL, &told, &error);
    if (!s)
        return fail("tp_spread_limit", error.text);
    double *whole = calloc(rows * columns, sizeof *whole);
    tp_tiles tiles = { .values = whole,
                       .side = side,
                       .marks = calloc(tp_tiles_count(rows, columns, side), sizeof(tp_tile_mark)) };
    if (tp_limit_tiles(program, TP_NTK, x, rows, x2, rows2, NULL, &tiles, &tiled, &error))
        return fail("tp_limit_tiles", error.text);
    for (size_t k = 0; k < s->local[1]; k++)
        for (size_t i = 0; i < s->local[0]; i++) {
            size_t row = tp_spread_whole(s, 1, k), column = tp_spread_whole(s, 0, i);
            double other = !x2 && column < row ? 0 : whole[row * columns + column];
            if (memcmp(&s->values[k * s->local[0] + i], &other, sizeof other))
                return fail("a block", "its bits are not those of one process's tile");
            found++;
        }
    double count = (double)found;
    tp_ranks_sum(&count, 1);
    if (fabs(count - (double)(rows * columns)) > 0 || fabs(told.error - tiled.error) > 0 ||
        strcmp(told.method, tiled.method) != 0)
        return fail("what is told", "it is not one process's");
    tp_spread_free(s);
    free(whole);
    free(tiles.marks);
    return 0;
}

static int compare_blocks(void)
{
    ad_error error = { 0 };
    static double x[ROWS * FEATURES], t[TESTS * FEATURES];
    static const char *const phi[] = { "phi=relu", "phi=tanh" };
    int status = tp_ranks_begin(&error);
    if (status || tp_n_ranks() < 2)
        return fail("tp_ranks_begin", status ? error.text : "one rank alone");
    ad_normal(1, 1, 0, ROWS * FEATURES, x);
    ad_normal(1, 2, 0, TESTS * FEATURES, t);
    for (int k = 0; k < 2 && !status; k++) {
        nn_spec spec = { .features = FEATURES, .settings = (const char *[]){ phi[k], NULL } };
        nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        status = !program ? fail(phi[k], error.text)
                          : compare(program, x, ROWS, NULL, 0) || compare(program, t, TESTS, x, ROWS);
        tp_program_free(program);
        nn_net_free(net);
    }
    if (!status) { /* an error of one rank is that of all */
        error = (ad_error){ 0 };
        if (tp_ranks_agree(tp_rank() == 1 ? ad_fail(&error, "of rank 1") : 0, &error) != -1 ||
            strcmp(error.text, "of rank 1") != 0)
            status = fail("tp_ranks_agree", error.text);
    }
    tp_ranks_end();
    return status;
}

static int compare_files(char **argv)
{
    ad_error error = { 0 };
    ds_array a, b;
    double most = 0;
    size_t count = 1, other = 1;
    if (ds_npy_read(argv[1], &a, &error) || ds_npy_read(argv[2], &b, &error))
        return fail("a file", error.text);
    for (int k = 0; k < a.rank; k++)
        count *= a.shape[k];
    for (int k = 0; k < b.rank; k++)
        other *= b.shape[k];
    for (size_t i = 0; i < count && count == other; i++)
        most = fmax(most, fabs(a.data[i] - b.data[i]) / fmax(1, fabs(b.data[i])));
    printf("%s: %zu numbers, %.2g apart\n", argv[1], count, most);
    return count == other && most <= strtod(argv[3], NULL) ? 0 : fail(argv[1], "it is another one");
}

static int write_rows(char **argv)
{
    ad_error error = { 0 };
    size_t shape[2] = { (size_t)strtoul(argv[2], NULL, 10), FEATURES };
    double *x = calloc(shape[0] * FEATURES, sizeof *x);
    ad_normal(1, 3, 0, shape[0] * FEATURES, x);
    int status = ds_npy_write(argv[1], x, shape, 2, &error) ? fail(argv[1], error.text) : 0;
    free(x);
    return status;
}

int main(int argc, char **argv)
{
    return argc == 4 ? compare_files(argv) : argc == 3 ? write_rows(argv) : compare_blocks();
}
