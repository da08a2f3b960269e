/* program.c: programs as texts. What is read is written and read again, the same; and it is solved, where it is
 * short. */
#include "tests/fuzz/fuzz.h"
#include "tp/netsor.h"

#include <stdlib.h>
#include <string.h>

static char *written(const tp_script *script, tp_style style)
{
    char *text = NULL;
    size_t size;
    ad_error error = { 0 };
    FILE *stream = open_memstream(&text, &size);
    fuzz_holds(stream != NULL);
    int failed = tp_script_print(script, stream, style, &error);
    fuzz_holds(fclose(stream) == 0);
    fuzz_verdict(failed != 0, &error);
    if (!failed)
        return text;
    free(text);
    return NULL;
}

/* Without what is said of factors, which a program without any has only as it was found. */
static void cut_notes(char *text)
{
    char *notes = text ? strstr(text, "\nIn brackets:") : NULL;
    if (notes)
        *notes = 0;
}

static void comes_back(const tp_script *script)
{
    ad_error error = { 0 };
    free(written(script, TP_LATEX));
    free(written(script, TP_JSON));
    char *text = written(script, TP_PAPER);
    tp_script *again = text ? tp_script_parse(text, "again", &error) : NULL;
    fuzz_holds(!text || again);
    char *second = again ? written(again, TP_PAPER) : NULL;
    cut_notes(text);
    cut_notes(second);
    fuzz_holds(!text || (second && strcmp(text, second) == 0));
    free(text);
    free(second);
    tp_script_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    enum { LONGEST = 600 };
    char *text = fuzz_text(bytes, count);
    ad_error error = { 0 };
    tp_script *script = tp_script_parse(text, "program", &error);
    fuzz_verdict(!script, &error);
    if (script && count <= LONGEST) {
        comes_back(script);
        tp_solve_spec spec = { .samples = 16, .runs = 2, .width = 4, .seeds = 2 };
        tp_solution *solution = tp_script_solve(script, &spec, &error);
        fuzz_verdict(!solution, &error);
        tp_solution_free(solution);
    }
    tp_script_free(script);
    free(text);
    return 0;
}
