/* scale_file.c: a parametrization of one's own from a file: a line "PATTERN A B C" for each kind of parameter or name,
 * each a number or -; "scale NAME" for what they leave; # begins a remark. */
#include "examples/limn/base/base.h"

#include <errno.h>
#include <string.h>

/* "PATTERN=A,B,C", owned by the caller. */
static char *exponents_text(char *const words[4], ad_error *error)
{
    size_t size = 4;
    for (int i = 0; i < 4; i++)
        size += strlen(words[i]);
    char *text = ad_alloc(size, 1, "exponents", error);
    if (text)
        snprintf(text, size, "%s=%s,%s,%s", words[0], words[1], words[2], words[3]);
    return text;
}

static int take_line(options *o, char *line, int number, ad_error *error)
{
    char *words[5], *rest = NULL;
    int n = 0;
    line[strcspn(line, "#\r\n")] = 0;
    for (char *word = strtok_r(line, " \t", &rest); word && n < 5; word = strtok_r(NULL, " \t", &rest))
        words[n++] = word;
    if (n == 0)
        return 0;
    if (n == 2 && strcmp(words[0], "scale") == 0) {
        for (int k = 0; k < NN_N_PARAMETRIZATIONS; k++)
            if (strcmp(words[1], nn_parametrization_name((nn_parametrization)k)) == 0) {
                o->scale = (nn_parametrization)k;
                return 0;
            }
        return ad_fail(error, "%s:%d: no scale %.60s", o->scale_file, number, words[1]);
    }
    if (n != 4)
        return ad_fail(error, "%s:%d: a line is PATTERN A B C, each a number or -, or scale NAME", o->scale_file,
                       number);
    if (o->n_own == MAX_SETTINGS)
        return ad_fail(error, "%s:%d: there are more than %d exponents", o->scale_file, number, MAX_SETTINGS);
    o->own[o->n_own] = exponents_text(words, error);
    return o->own[o->n_own] ? (o->n_own++, 0) : -1;
}

/* Before those of the command line, which count more. */
static int put_first(options *o, ad_error *error)
{
    if (o->n_own + o->n_abc > MAX_SETTINGS)
        return ad_fail(error, "%s and --abc: there are more than %d exponents", o->scale_file, MAX_SETTINGS);
    memmove(o->abc + o->n_own, o->abc, (size_t)o->n_abc * sizeof *o->abc);
    for (int k = 0; k < o->n_own; k++)
        o->abc[k] = o->own[k];
    o->n_abc += o->n_own;
    return 0;
}

int scale_file_read(options *o, ad_error *error)
{
    char line[512];
    FILE *file = o->scale_file ? fopen(o->scale_file, "r") : NULL;
    int status = 0;
    if (!o->scale_file)
        return 0;
    if (!file)
        return ad_fail(error, "--scale %s: %s", o->scale_file, strerror(errno));
    for (int number = 1; !status && fgets(line, sizeof line, file); number++)
        status = strchr(line, '\n') || feof(file)
                     ? take_line(o, line, number, error)
                     : ad_fail(error, "%s:%d: a line of more than 510 bytes", o->scale_file, number);
    if (!status && ferror(file))
        status = ad_fail(error, "--scale %s: %s", o->scale_file, strerror(errno));
    fclose(file);
    if (!status && !o->n_own)
        status = ad_fail(error, "--scale %s: it has no line PATTERN A B C", o->scale_file);
    return status ? status : put_first(o, error);
}

void scale_file_forget(options *o)
{
    while (o->n_own > 0)
        ad_free(o->own[--o->n_own]);
}
