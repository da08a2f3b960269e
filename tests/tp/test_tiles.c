/* test_tiles.c: limits tile by tile beside the whole: of one set and of two, floats and doubles; what is there is kept,
 * what is damaged or missing is found again. */
#include "limn.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 53, MORE = 21, FEATURES = 5, SIDE = 16 };

static tp_program *translate(const char *name, const char *const *settings, size_t steps, nn_net **net)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = steps ? 0 : FEATURES, .shape = { steps, steps ? FEATURES : 0 }, .settings = settings };
    *net = nn_trace(nn_builtin(name), &spec, &error);
    tp_program *program = *net ? tp_translate(*net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    return program;
}

static double *draw(size_t count, uint64_t seed)
{
    double *x = malloc(count * sizeof *x);
    cr_assert(x);
    ad_normal(seed, ad_stream("rows"), 0, count, x);
    return x;
}

static double number(const tp_tiles *tiles, size_t i)
{
    return tiles->single ? (double)((const float *)tiles->values)[i] : ((const double *)tiles->values)[i];
}

/* The tiles, all of them new, then all but two kept. */
static void compare(tp_program *program, size_t features, bool two, bool single)
{
    ad_error error = { 0 };
    double *x = draw(ROWS * features, 1), *x2 = two ? draw(MORE * features, 2) : NULL;
    size_t columns = two ? MORE : ROWS, count = tp_tiles_count(ROWS, columns, SIDE), down = (ROWS + SIDE - 1) / SIDE;
    tp_kernel whole, told;
    tp_tiles tiles = { .single = single, .side = SIDE };
    tiles.values = calloc(ROWS * columns, single ? sizeof(float) : sizeof(double));
    tiles.marks = calloc(count, sizeof *tiles.marks);
    cr_assert(tiles.values && tiles.marks && count == down * ((columns + SIDE - 1) / SIDE));
    cr_assert(!tp_limit(program, TP_NTK, x, ROWS, x2, MORE, NULL, &whole, &error), "%s", error.text);
    size_t parts = two ? count : down * (down + 1) / 2;
    for (int turn = 0; turn < 3; turn++) {
        cr_assert(!tp_limit_tiles(program, TP_NTK, x, ROWS, x2, MORE, NULL, &tiles, &told, &error), "%s", error.text);
        cr_expect_eq(tiles.kept, turn == 0 ? 0 : turn == 1 ? parts : parts - 2, "turn %d: %zu kept", turn, tiles.kept);
        cr_expect(told.rows == ROWS && told.rows2 == columns && !told.terms[0].values && told.error > 0);
        double size = 0, off = 0;
        for (size_t i = 0; i < ROWS * columns; i++)
            size = fmax(size, fabs(whole.terms[0].values[i]));
        for (size_t i = 0; i < ROWS * columns; i++)
            off = fmax(off, fabs(number(&tiles, i) - whole.terms[0].values[i]));
        cr_expect(off <= (single ? 1e-6 : 1e-12) * size, "%g", off / size);
        for (size_t i = 0; i < ROWS && !two; i++)
            for (size_t k = 0; k < i; k++)
                cr_assert(!(fabs(number(&tiles, i * ROWS + k) - number(&tiles, k * ROWS + i)) > 0));
        if (turn == 1) { /* one number that is damaged, one tile that was under way */
            size_t at = 3 * columns + 2;
            if (single)
                ((float *)tiles.values)[at] += 1;
            else
                ((double *)tiles.values)[at] = nextafter(((double *)tiles.values)[at], 1e9);
            tiles.marks[count - 1].sum = 0;
        }
    }
    tp_kernel_free(&whole);
    free(tiles.values);
    free(tiles.marks);
    free(x);
    free(x2);
}

Test(tiles, beside_the_whole)
{
    for (int k = 0; k < 4; k++) {
        nn_net *net;
        tp_program *program = translate("mlp", (const char *[]){ k % 2 ? "phi=tanh" : "phi=relu", NULL }, 0, &net);
        compare(program, FEATURES, k / 2, k % 2);
        compare(program, FEATURES, k / 2, !(k % 2));
        tp_program_free(program);
        nn_net_free(net);
    }
}

Test(tiles, recurrent)
{
    enum { STEPS = 4 };
    nn_net *net;
    tp_program *program = translate("rnn", (const char *[]){ "phi=erf", "readout=mean", NULL }, STEPS, &net);
    compare(program, STEPS * FEATURES, false, false);
    tp_program_free(program);
    nn_net_free(net);
}

static ad_var of_normalised_data(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", ad_erf(nn_dense(net, "dense", nn_batchnorm(net, "norm", x), nn_width(net, "n"))));
}

Test(tiles, refused)
{
    nn_net *net;
    ad_error error = { 0 };
    double x[4 * FEATURES] = { 1, 2, 3, 4, 5, 6, 7 }, values[16];
    tp_kernel told;
    tp_tile_mark marks[1] = { { 0 } };
    tp_tiles tiles = { .values = values, .marks = marks };
    tp_program *program = translate("batchnorm", NULL, 0, &net);
    cr_assert(tp_limit_tiles(program, TP_NTK, x, 4, NULL, 0, NULL, &tiles, &told, &error));
    cr_expect(strstr(error.text, "samples meet"), "%s", error.text);
    error = (ad_error){ 0 };
    nn_net *data = nn_trace(of_normalised_data, &(nn_spec){ .features = FEATURES }, &error);
    tp_program *of_data = data ? tp_translate(data, &error) : NULL;
    cr_assert(of_data, "%s", error.text);
    cr_assert(tp_limit_tiles(of_data, TP_NTK, x, 4, NULL, 0, NULL, &tiles, &told, &error));
    cr_expect(strstr(error.text, "samples meet"), "%s", error.text);
    tp_program_free(of_data);
    nn_net_free(data);
    error = (ad_error){ 0 };
    cr_assert(tp_limit_tiles(program, TP_NTK, x, 0, NULL, 0, NULL, &tiles, &told, &error));
    cr_expect(strstr(error.text, "no rows"), "%s", error.text);
    cr_assert(tp_limit_tiles(NULL, TP_NTK, x, 4, NULL, 0, NULL, &tiles, &told, &error));
    tp_program_free(program);
    nn_net_free(net);
}
