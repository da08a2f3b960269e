/* plot.c: one gnuplot process a picture, with the script on its standard input and the picture on its standard output;
 * a plot as files. */
#include "examples/limn/report/plot.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *const plot_colours[] = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1" };

enum { LARGEST = 64 << 20, EMPTY = 1 };
#define BLOCK "#table "

int plot_begin(plot *p, const char *name, int width, int height, ad_error *error)
{
    *p = (plot){ .name = name, .width = width, .height = height };
    if (!(p->stream = open_memstream(&p->script, &p->size)))
        return ad_fail(error, "out of memory for a plot");
    fprintf(p->stream,
            "set encoding utf8\n"
            "set border 3 linecolor rgb '" PLOT_INK "'\nset tics nomirror out textcolor rgb '" PLOT_INK "'\n"
            "set grid linecolor rgb '" PLOT_GRID "' linewidth 0.6\nset key textcolor rgb '" PLOT_INK "' samplen 1.5\n"
            "set title textcolor rgb '" PLOT_INK "'\nset xlabel textcolor rgb '" PLOT_INK "'\n"
            "set ylabel textcolor rgb '" PLOT_INK "'\nset colorbox noborder\n");
    return 0;
}

void plot_data(plot *p, const char *block, const char *series, const char *columns)
{
    fprintf(p->stream, BLOCK "%s,%s\n%s << E\n", series, columns, block);
}

void plot_quote(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', out);
        fputc((unsigned char)*text < ' ' || *text == 127 ? ' ' : *text, out);
    }
    fputc('\'', out);
}

static void close_all(FILE *const *files)
{
    for (int k = 0; k < 3; k++)
        if (files[k])
            fclose(files[k]);
}

/* All of a temporary file, from its first `from` on if it is the picture; *size bytes, and a 0 after them. */
static char *read_back(FILE *file, const char *from, size_t *size, ad_error *error)
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
    *size = (size_t)length - (size_t)(start - text);
    memmove(text, start, *size + 1);
    return text;
}

/* gnuplot on files[0], to files[1] and files[2]; EMPTY with an error where no value can be drawn. */
static int run_gnuplot(FILE *const *files, ad_error *error)
{
    posix_spawn_file_actions_t actions;
    char *arguments[] = { "gnuplot", "-d", "-", NULL }; /* -d: nobody's ~/.gnuplot is run */
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
    size_t size;
    char *words = read_back(files[2], NULL, &size, error);
    bool empty = words && (strstr(words, "undefined") || strstr(words, "empty"));
    ad_fail(error, "gnuplot failed: %s", words ? words : "");
    ad_free(words);
    return empty ? EMPTY : -1;
}

/* What gnuplot draws of the script with this terminal, from `from` on; *size bytes. */
static char *draw(plot *p, const char *terminal, const char *from, size_t *size, ad_error *error)
{
    FILE *files[3] = { NULL };
    char *picture = NULL;
    int status = 0;
    for (int k = 0; k < 3 && !status; k++)
        if (!(files[k] = tmpfile()))
            status = ad_fail(error, "no temporary file for a plot: %s", strerror(errno));
    if (!status &&
        (fputs(terminal, files[0]) < 0 || fwrite(p->script, 1, p->size, files[0]) != p->size || fflush(files[0])))
        status = ad_fail(error, "a plot's script cannot be written: %s", strerror(errno));
    if (!status) {
        rewind(files[0]);
        status = run_gnuplot(files, error);
    }
    if (!status)
        picture = read_back(files[1], from, size, error);
    p->empty = status == EMPTY;
    close_all(files);
    return picture;
}

/* The ink of files, which no style sheet replaces, in a script. */
static void take_ink(plot *p)
{
    static const char *const pairs[][2] = { { PLOT_INK, "#24292f" }, { PLOT_GRID, "#d8dee4" } };
    for (int k = 0; k < 2; k++)
        for (char *at = p->script; (at = strstr(at, pairs[k][0]));)
            memcpy(at, pairs[k][1], strlen(pairs[k][1]));
}

static int write_file(const plot *p, const char *folder, const char *ending, const char *data, size_t size,
                      ad_error *error)
{
    char path[512];
    if ((size_t)snprintf(path, sizeof path, "%s/%s.%s", folder, p->name, ending) >= sizeof path)
        return ad_fail(error, "--plots %.60s...: the path is too long", folder);
    ad_file *file = ad_file_create(path, error);
    if (file && ad_file_write(file, data, size, error)) {
        ad_file_discard(file);
        return -1;
    }
    return file ? ad_file_close(file, error) : -1;
}

/* A line of numbers with blanks between them, as so many cells. */
static void put_cells(FILE *out, const char *line, size_t length, size_t cells)
{
    size_t used = 1;
    for (size_t i = 0; i < length; i++) {
        used += line[i] == ' ';
        fputc(line[i] == ' ' ? ',' : line[i], out);
    }
    for (; used < cells; used++)
        fputc(',', out);
    fputc('\n', out);
}

/* The blocks of data as a table: the series that a line belongs to, then its numbers. The header has the columns of the
 * block that has most of them; the others have the first of these. */
static int write_csv(const plot *p, const char *folder, ad_error *error)
{
    char *text = NULL, series[64] = "";
    const char *widest = NULL;
    size_t size = 0, most = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ad_fail(error, "out of memory for a plot's table");
    for (const char *at = strstr(p->script, BLOCK); at; at = strstr(at + 1, BLOCK)) {
        size_t cells = 0;
        for (const char *c = at; *c != '\n'; c++)
            cells += *c == ',';
        widest = cells > most ? at + strlen(BLOCK) : widest;
        most = cells > most ? cells : most;
    }
    if (widest)
        fprintf(out, "series%.*s\n", (int)(strcspn(widest, "\n") - strcspn(widest, ",")), strchr(widest, ','));
    bool inside = false;
    for (const char *line = p->script; *line;) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, BLOCK, strlen(BLOCK)) == 0) {
            snprintf(series, sizeof series, "%.*s", (int)strcspn(line + strlen(BLOCK), ","), line + strlen(BLOCK));
            inside = true;
            line += length + 1; /* and the line after it opens the block */
            length = strcspn(line, "\n");
        } else if (length == 1 && *line == 'E') {
            inside = false;
        } else if (inside) {
            fprintf(out, "%s,", series);
            put_cells(out, line, length, most);
        }
        line += length + (line[length] == '\n');
    }
    int status = fclose(out) ? ad_fail(error, "out of memory for a plot's table")
                             : write_file(p, folder, "csv", text, size, error);
    free(text);
    return status;
}

static int write_files(plot *p, const char *folder, ad_error *error)
{
    char terminal[200];
    take_ink(p);
    for (int k = 0; k < 2; k++) {
        size_t size = 0;
        if (k)
            snprintf(terminal, sizeof terminal, "set terminal pdfcairo size %.3fin,%.3fin enhanced font 'sans,11'\n",
                     p->width / 96.0, p->height / 96.0);
        else
            snprintf(terminal, sizeof terminal,
                     "set terminal svg size %d,%d enhanced font 'sans-serif,13' background rgb 'white'\n", p->width,
                     p->height);
        char *picture = draw(p, terminal, k ? "%PDF" : "<?xml", &size, error);
        int status = picture ? write_file(p, folder, k ? "pdf" : "svg", picture, size, error) : -1;
        ad_free(picture);
        if (status)
            return -1;
    }
    return write_csv(p, folder, error);
}

char *plot_end(plot *p, const char *folder, ad_error *error)
{
    char terminal[200], *picture = NULL;
    size_t size;
    int status = fclose(p->stream) ? ad_fail(error, "out of memory for a plot") : 0;
    snprintf(terminal, sizeof terminal, "set terminal svg size %d,%d dynamic enhanced font 'sans-serif,13' name '%s'\n",
             p->width, p->height, p->name);
    if (!status)
        picture = draw(p, terminal, "<svg", &size, error);
    if (picture && folder && write_files(p, folder, error)) {
        ad_free(picture);
        picture = NULL;
    }
    free(p->script);
    return picture;
}
