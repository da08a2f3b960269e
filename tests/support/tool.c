#include "tests/support/tool.h"

#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a folder for each test, in which the tool runs ---- */
char folder[64];

void shell(const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    int status = system(line);
    cr_assert(status == 0, "%s", line);
}

void tool_enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-tool-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    shell("mkdir %s/.tmp", folder);
}

void tool_leave(void)
{
    shell("rm -rf %s", folder);
}

/* A path in the test's folder; the last eight results stay valid. */
const char *in(const char *file)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

/* How many files the folder has, those with a dot not counted. */
int files(const char *path)
{
    DIR *listing = opendir(path);
    cr_assert(listing != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing));)
        count += entry->d_name[0] != '.' || strncmp(entry->d_name, ".limn", 5) == 0;
    closedir(listing);
    return count;
}

/* The whole file; ad_free frees it. */
char *slurp(const char *path, size_t *size)
{
    size_t length;
    ad_error error = { 0 };
    char *text = ad_file_read(path, SIZE_MAX, size ? size : &length, &error);
    cr_assert(text, "%s", error.text);
    return text;
}

void put(const char *file, const void *bytes, size_t count)
{
    FILE *stream = fopen(in(file), "wb");
    cr_assert(stream && fwrite(bytes, 1, count, stream) == count && fclose(stream) == 0);
}

void put_text(const char *file, const char *text)
{
    put(file, text, strlen(text));
}

/* environment: "KEY=value ..." or "". */
outcome run_as(const char *program, const char *environment, const char *arguments)
{
    static char *out, *err;
    char line[4096];
    snprintf(line, sizeof line, "cd %s && TMPDIR=%s/.tmp %s %s %s >.out 2>.err", folder, folder, environment, program,
             arguments);
    int status = system(line);
    ad_free(out);
    ad_free(err);
    out = slurp(in(".out"), NULL);
    err = slurp(in(".err"), NULL);
    cr_assert(WIFEXITED(status), "%s was killed: %s", arguments, err);
    cr_assert(files(in(".tmp")) == 0, "%s left a temporary file", arguments);
    cr_assert(!strstr(err, "Sanitizer") && !strstr(err, "runtime error"), "%s: %s", arguments, err);
    return (outcome){ WEXITSTATUS(status), out, err };
}

outcome limn(const char *format, ...)
{
    char arguments[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    return run_as(LIMN_TOOL, "", arguments);
}

outcome works(const char *arguments)
{
    outcome r = limn("%s", arguments);
    cr_assert(r.status == 0, "%s: %d, %s", arguments, r.status, r.err);
    return r;
}

/* One line that starts with "limn: ", progress aside. */
bool is_one_line(const char *err)
{
    int own = 0, other = 0;
    for (const char *at = err; *at;) {
        size_t length = strcspn(at, "\n");
        own += strncmp(at, "limn: ", 6) == 0 && length > 8;
        other += strncmp(at, "limn: ", 6) != 0 && strncmp(at, "step ", 5) != 0;
        at += length + (at[length] == '\n');
    }
    return own == 1 && other == 0;
}

/* It ends with the status, one line that holds `told`, and as many files as before. */
void fails_as(const char *environment, const char *arguments, int status, const char *told)
{
    int before = files(folder);
    outcome r = run_as(LIMN_TOOL, environment, arguments);
    cr_expect(r.status == status, "%s %s: exit status %d, not %d: %s", environment, arguments, r.status, status, r.err);
    cr_expect(is_one_line(r.err), "%s %s: not one line: %s", environment, arguments, r.err);
    cr_expect(strstr(r.err, told), "%s %s: no \"%s\" in: %s", environment, arguments, told, r.err);
    cr_expect(files(folder) == before, "%s %s: a file was left", environment, arguments);
}

void fails(const char *arguments, int status, const char *told)
{
    fails_as("", arguments, status, told);
}

/* ---- files ---- */
void put_array(const char *file, const double *values, size_t rows, size_t columns)
{
    size_t shape[2] = { rows, columns };
    ad_error error = { 0 };
    cr_assert(ds_npy_write(in(file), values, shape, columns ? 2 : 1, &error) == 0, "%s", error.text);
}

/* An .npy of any header. */
void put_npy(const char *file, const char *descr, bool fortran, const char *shape, const void *data, size_t size)
{
    char bytes[4096] = "\x93NUMPY\x01\x00\x76\x00", header[119];
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr,
                          fortran ? "True" : "False", shape);
    memset(bytes + 10, ' ', 118);
    memcpy(bytes + 10, header, (size_t)length);
    bytes[127] = '\n';
    memcpy(bytes + 128, data, size);
    put(file, bytes, 128 + size);
}

void put_inputs(const char *file)
{
    double *x = reference_inputs(5, 10);
    put_array(file, x, 5, 10);
    free(x);
}

ds_array get_array(const char *file)
{
    ds_array a;
    ad_error error = { 0 };
    cr_assert(ds_npy_read(in(file), &a, &error) == 0, "%s", error.text);
    return a;
}

void compare(const char *what, const char *file, const double *expected, size_t count, double tolerance)
{
    ds_array a = get_array(file);
    size_t size = 1;
    for (int k = 0; k < a.rank; k++)
        size *= a.shape[k];
    cr_assert_eq(size, count, "%s", what);
    for (size_t i = 0; i < count; i++)
        cr_expect(fabs(a.data[i] - expected[i]) <= tolerance * fabs(expected[i]), "%s: %.17g at %zu, not %.17g", what,
                  a.data[i], i, expected[i]);
    ds_array_free(&a);
}

/* The example of nn/entry.h, its text as it stands there. */
void put_example(const char *file)
{
    char *header = slurp(LIMN_SOURCE_DIR "/nn/entry.h", NULL), text[4096] = "";
    for (char *line = strtok(header, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, " *     ", 7) == 0)
            strcat(strcat(text, line + 7), "\n");
    cr_assert(strstr(text, "limn_network") != NULL);
    put_text(file, text);
    ad_free(header);
}

void bring(const char *file)
{
    shell("cp %s/tests/examples/limn/networks/%s %s/", LIMN_SOURCE_DIR, file, folder);
}
