/* fuzz.c: what libFuzzer's targets share. */
#define _XOPEN_SOURCE 700 /* nftw */
#define _DEFAULT_SOURCE
#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char folder[64];

const char *fuzz_in(const char *name)
{
    static char paths[4][160];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void fuzz_put(const char *name, const void *bytes, size_t count)
{
    FILE *stream = fopen(fuzz_in(name), "wb");
    fuzz_holds(stream && fwrite(bytes, 1, count, stream) == count && fclose(stream) == 0);
}

static int take_away(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

static void leave(void)
{
    nftw(folder, take_away, 8, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(folder, sizeof folder, "/dev/shm/limn-fuzz-XXXXXX");
    fuzz_holds(mkdtemp(folder) != NULL);
    return atexit(leave);
}

void fuzz_holds_at(ad_where where, bool what)
{
    if (!what) {
        fprintf(stderr, "%s:%d: does not hold\n", where.file, where.line);
        abort();
    }
}

void fuzz_verdict_at(ad_where where, bool failed, const ad_error *error)
{
    if (failed != (error->text[0] != 0) || strchr(error->text, '\n'))
        fprintf(stderr, "%s: \"%s\"\n", failed ? "failed" : "did not fail", error->text);
    fuzz_holds_at(where, failed == (error->text[0] != 0) && !strchr(error->text, '\n'));
}

char *fuzz_text(const uint8_t *bytes, size_t count)
{
    char *text = malloc(count + 1);
    fuzz_holds(text != NULL);
    memcpy(text, bytes, count);
    text[count] = 0;
    return text;
}

static void is_sound(const ds_data *data)
{
    fuzz_holds(!strchr(data->note, '\n') && data->rows && data->features && data->train && data->train <= data->rows);
    fuzz_holds(!data->height || data->height * data->width == data->features);
    for (size_t i = 0; i < data->rows * data->features; i++)
        fuzz_holds(isfinite(data->x[i]));
    for (size_t r = 0; r < data->rows && data->classes; r++)
        fuzz_holds(data->y[r] >= 0 && data->y[r] < (double)data->classes);
}

void fuzz_load(const char *name, int takes, uint8_t bits, const char *labels)
{
    ds_options options = { .scaling = (ds_scaling)(bits >> 6), .labels = labels };
    if (takes & FUZZ_IMAGES && bits & 8) {
        options.resize_height = 5;
        options.resize_width = 7;
    }
    options.grey = takes & FUZZ_IMAGES && bits & 16;
    options.transpose = takes & FUZZ_TURNED && bits & 32;
    if (takes & FUZZ_TABLE)
        options.label_column = bits & 16 ? "y" : bits & 8 ? "first" : NULL;
    ad_error error = { 0 };
    ds_data *data = ds_load(fuzz_in(name), &options, &error);
    fuzz_verdict(!data, &error);
    if (data)
        is_sound(data);
    ds_free(data);
}
