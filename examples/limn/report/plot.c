/* plot.c: one gnuplot process a plot, with the script on its standard input and the picture on its standard output. */
#include "examples/limn/report/plot.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *const plot_colours[] = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1" };

enum { LARGEST = 64 << 20 };

int plot_begin(plot *p, const char *name, int width, int height, ad_error *error)
{
    *p = (plot){ 0 };
    if (!(p->stream = open_memstream(&p->script, &p->size)))
        return ad_fail(error, "out of memory for a plot");
    fprintf(p->stream,
            "set terminal svg size %d,%d dynamic enhanced font 'sans-serif,13' name '%s'\n"
            "set encoding utf8\n"
            "set border 3 linecolor rgb '" PLOT_INK "'\nset tics nomirror out textcolor rgb '" PLOT_INK "'\n"
            "set grid linecolor rgb '" PLOT_GRID "' linewidth 0.6\nset key textcolor rgb '" PLOT_INK "' samplen 1.5\n"
            "set title textcolor rgb '" PLOT_INK "'\nset xlabel textcolor rgb '" PLOT_INK "'\n"
            "set ylabel textcolor rgb '" PLOT_INK "'\nset colorbox noborder\n",
            width, height, name);
    return 0;
}

static void close_all(FILE *const *files)
{
    for (int k = 0; k < 3; k++)
        if (files[k])
            fclose(files[k]);
}

/* All of a temporary file as text, from its first `<svg` on if it is the picture. */
static char *read_back(FILE *file, const char *from, ad_error *error)
{
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (length < 0 || length > LARGEST) {
        ad_fail(error, "gnuplot's output cannot be read");
        return NULL;
    }
    char *text = ad_alloc((size_t)length + 1, 1, "a plot", error);
    rewind(file);
    if (!text || fread(text, 1, (size_t)length, file) != (size_t)length) {
        ad_fail(error, "gnuplot's output cannot be read");
        ad_free(text);
        return NULL;
    }
    const char *start = from ? strstr(text, from) : text;
    if (!start) {
        ad_fail(error, "gnuplot drew nothing");
        ad_free(text);
        return NULL;
    }
    memmove(text, start, strlen(start) + 1);
    return text;
}

/* gnuplot on files[0], to files[1] and files[2]. */
static int run_gnuplot(FILE *const *files, ad_error *error)
{
    posix_spawn_file_actions_t actions;
    char *arguments[] = { "gnuplot", "-", NULL };
    pid_t child = 0;
    int state = 0, failed = posix_spawn_file_actions_init(&actions);
    if (failed)
        return ad_fail(error, "gnuplot cannot be started: %s", strerror(failed));
    for (int k = 0; k < 3 && !failed; k++)
        failed = posix_spawn_file_actions_adddup2(&actions, fileno(files[k]), k);
    if (!failed)
        failed = posix_spawnp(&child, "gnuplot", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT)
        return ad_fail(error, "there is no gnuplot for the plots: install the package gnuplot-nox, or leave out --out");
    if (failed)
        return ad_fail(error, "gnuplot cannot be started: %s", strerror(failed));
    while (waitpid(child, &state, 0) < 0)
        if (errno != EINTR)
            return ad_fail(error, "gnuplot cannot be waited for: %s", strerror(errno));
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return 0;
    char *words = read_back(files[2], NULL, error);
    ad_fail(error, "gnuplot failed: %s", words ? words : "");
    ad_free(words);
    return -1;
}

char *plot_end(plot *p, ad_error *error)
{
    FILE *files[3] = { NULL };
    char *picture = NULL;
    int status = fclose(p->stream) ? ad_fail(error, "out of memory for a plot") : 0;
    for (int k = 0; k < 3 && !status; k++)
        if (!(files[k] = tmpfile()))
            status = ad_fail(error, "no temporary file for a plot: %s", strerror(errno));
    if (!status && (fwrite(p->script, 1, p->size, files[0]) != p->size || fflush(files[0])))
        status = ad_fail(error, "a plot's script cannot be written: %s", strerror(errno));
    if (!status) {
        rewind(files[0]);
        status = run_gnuplot(files, error);
    }
    if (!status)
        picture = read_back(files[1], "<svg", error);
    close_all(files);
    free(p->script);
    return picture;
}
