/* print_recursion.c: the door: the kernel's recursion as text, over positions where it has such a form, else between
 * two inputs alone. */
#include "autodiff/base/base.h"
#include "tp/positions/positions.h"
#include "tp/recursion/recursion.h"

#include <stdlib.h>

static int print(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    ad_error refusal = { 0 }, pairs = { 0 };
    tp_checks checks;
    int status = 1;
    if (!program->coupled && tp_has_windows(program)) {
        int checked = tp_check(program, &checks, error);
        if (checked < 0)
            return -1;
        status = checked ? 1 : tp_print_positions(program, stream, style, &refusal);
    }
    if (status < 0)
        return ad_fail(error, "%s", refusal.text);
    if (status > 0)
        status = tp_print_quantities(program, stream, style, &pairs);
    if (status == TP_TOO_LARGE && refusal.text[0])
        return ad_fail(error, "%.440s; and pair of positions by pair it would be too long", refusal.text);
    return status ? ad_fail(error, "%s", pairs.text) : 0;
}

int tp_print_recursion(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    if (!ad_given(program, "the program", error) || !ad_given(stream, "the stream that it is printed to", error))
        return -1;
    char *text = NULL;
    size_t length = 0;
    FILE *whole = open_memstream(&text, &length); /* what is refused half-way leaves nothing */
    int status = whole ? print(program, whole, style, error) : ad_fail(error, "out of memory for the recursion");
    if (whole && fclose(whole) != 0 && !status)
        status = ad_fail(error, "out of memory for the recursion");
    if (!status && (fwrite(text, 1, length, stream) != length || ferror(stream)))
        status = ad_fail(error, "the recursion cannot be printed");
    free(text);
    return status;
}
