/* print_recursion.c: the door: the kernel's recursion as text, over positions where it has such a form, else between
 * two inputs alone. */
#include "autodiff/base/base.h"
#include "tp/positions/positions.h"
#include "tp/recursion/recursion.h"

#include <stdint.h>
#include <stdlib.h>

enum { MOST = 16 /* outputs that are not alike, one after another */ };

/* By quantities: with polynomials in place of functions of what vanishes, where there are such, of the lower degree if
 * that is enough. */
static int print_quantities(const tp_program *program, size_t output, FILE *stream, tp_style style, ad_error *error)
{
    int status = 1;
    for (int k = 0; k < 2 && program->expanded[k] && status && status != TP_TOO_LARGE; k++) {
        *error = (ad_error){ 0 };
        status = tp_print_quantities(program->expanded[k], output, stream, style, error);
    }
    return program->expanded[0] ? status : tp_print_quantities(program, output, stream, style, error);
}

/* One output's; alike: it is any other's, too, which formulas over positions take for granted. */
static int print_one(const tp_program *program, size_t output, bool alike, FILE *stream, tp_style style,
                     ad_error *error)
{
    ad_error refusal = { 0 }, pairs = { 0 };
    tp_checks checks;
    int status = 1;
    if (alike && !program->coupled && tp_has_windows(program) && !program->expanded[0]) {
        int checked = tp_check(program, &checks, error);
        if (checked < 0)
            return -1;
        status = checked ? 1 : tp_print_positions(program, stream, style, &refusal);
    }
    if (status < 0)
        return ad_fail(error, "%s", refusal.text);
    if (status > 0)
        status = print_quantities(program, output, stream, style, &pairs);
    if (status == TP_TOO_LARGE && refusal.text[0])
        return ad_fail(error, "%.440s; and pair of positions by pair it would be too long", refusal.text);
    return status ? ad_fail(error, "%s", pairs.text) : 0;
}

/* Which output's it is, where they are not alike. */
static void head(size_t output, size_t outputs, FILE *stream, tp_style style)
{
    static const char *const text = "%sOutput %zu of %zu, counted from 0, which are not alike: its own kernels.%s\n";
    bool latex = style == TP_LATEX;
    fprintf(stream, text, latex ? "\\noindent " : "", output, outputs, latex ? "\n" : "");
}

static int print(const tp_program *program, size_t only, FILE *stream, tp_style style, ad_error *error)
{
    size_t outputs = nn_n_outputs(program->net), from = only == SIZE_MAX ? 0 : only;
    size_t to = only == SIZE_MAX ? outputs : only + 1;
    if (from >= outputs)
        return ad_fail(error, "the recursion of output %zu: there are %zu, counted from 0", from, outputs);
    if (tp_outputs_alike(program))
        return print_one(program, 0, true, stream, style, error);
    if (to - from > MOST)
        return ad_fail(error, "the network's %zu outputs are not alike, and have a recursion each: choose one",
                       outputs);
    int status = 0;
    for (size_t output = from; output < to && !status; output++) {
        if (output > from)
            fputc('\n', stream);
        head(output, outputs, stream, style);
        status = print_one(program, output, false, stream, style, error);
    }
    return status;
}

int tp_print_recursion_of(const tp_program *program, size_t output, FILE *stream, tp_style style, ad_error *error)
{
    if (!ad_given(program, "the program", error) || !ad_given(stream, "the stream that it is printed to", error))
        return -1;
    char *text = NULL;
    size_t length = 0;
    FILE *whole = open_memstream(&text, &length); /* what is refused half-way leaves nothing */
    int status =
        whole ? print(program, output, whole, style, error) : ad_fail(error, "out of memory for the recursion");
    if (whole && fclose(whole) != 0 && !status)
        status = ad_fail(error, "out of memory for the recursion");
    if (!status && (fwrite(text, 1, length, stream) != length || ferror(stream)))
        status = ad_fail(error, "the recursion cannot be printed");
    free(text);
    return status;
}

int tp_print_recursion(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    return tp_print_recursion_of(program, SIZE_MAX, stream, style, error);
}
