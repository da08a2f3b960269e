/* loaders.c: libFuzzer's target for the loaders of datasets/. The first byte chooses one and its options, the rest is
 * the file. Whatever the bytes are: a set with finite numbers and classes in range, or one line of error. */
#include "datasets/datasets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *in(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const uint8_t *bytes, size_t count)
{
    FILE *stream = fopen(in(name), "wb");
    if (!stream || fwrite(bytes, 1, count, stream) != count || fclose(stream) != 0)
        abort();
}

static void leave(void)
{
    static const char *const files[] = { "images/a/i.tga", "images/b/i.tga", "i-idx3", "l-idx1",
                                         "x.bin",          "x.csv",          "x.npy",  "x.arff" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(in(files[i]));
    rmdir(in("images/a"));
    rmdir(in("images/b"));
    rmdir(in("images"));
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(folder, sizeof folder, "/dev/shm/limn-fuzz-XXXXXX");
    if (!mkdtemp(folder) || mkdir(in("images"), 0700) || mkdir(in("images/a"), 0700) || mkdir(in("images/b"), 0700) ||
        symlink("../a/i.tga", in("images/b/i.tga")))
        abort();
    put("l-idx1", (const uint8_t *)"\0\0\x08\1\0\0\0\2\0\1", 10);
    return atexit(leave);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char *const files[] = { "images/a/i.tga", "i-idx3", "l-idx1", "x.bin", "x.csv", "x.npy", "x.arff" };
    if (!count)
        return 0;
    size_t kind = bytes[0] % 8 < 7 ? bytes[0] % 8 : 0;
    ds_options options = { .scaling = (ds_scaling)(bytes[0] >> 6) };
    if (bytes[0] & 8 && kind < 4) {
        options.resize_height = 5;
        options.resize_width = 7;
    }
    options.grey = bytes[0] & 16 && kind < 4;
    options.transpose = bytes[0] & 32 && (kind == 1 || kind == 2);
    bool table = kind == 4 || kind == 6;
    options.label_column = table && bytes[0] & 16 ? "y" : table && bytes[0] & 8 ? "first" : NULL;
    put(files[kind], bytes + 1, count - 1);
    if (kind == 2)
        put("i-idx3", (const uint8_t *)"\0\0\x08\3\0\0\0\2\0\0\0\1\0\0\0\1\5\6", 18);
    if (kind == 1)
        put("l-idx1", (const uint8_t *)"\0\0\x08\1\0\0\0\2\0\1", 10);
    if (kind == 1 || kind == 2)
        options.labels = in("l-idx1");

    ad_error error = { 0 };
    ds_data *data = ds_load(in(!kind ? "images" : kind == 2 ? "i-idx3" : files[kind]), &options, &error);
    if (!data != !!error.text[0] || strchr(error.text, '\n') || (data && strchr(data->note, '\n')))
        abort();
    if (!data)
        return 0;
    if (!data->rows || !data->features || !data->train || data->train > data->rows ||
        (data->height && data->height * data->width != data->features))
        abort();
    for (size_t i = 0; i < data->rows * data->features; i++)
        if (isnan(data->x[i]))
            abort();
    for (size_t r = 0; r < data->rows && data->classes; r++)
        if (!(data->y[r] >= 0 && data->y[r] < (double)data->classes))
            abort();
    ds_free(data);
    return 0;
}
