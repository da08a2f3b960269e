/* test_loaders.c: IDX, CIFAR-10, CSV and .npy files as data sets, each against what was written, and every way in which
 * one is bad. */
#include "datasets/datasets.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-loaders-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
}

static void leave(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert(system(command) == 0);
}

TestSuite(loaders, .init = enter, .fini = leave);

static const char *in(const char *file)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

static const char *put(const char *file, const void *bytes, size_t count)
{
    const char *path = in(file);
    FILE *stream = fopen(path, "wb");
    cr_assert(stream && fwrite(bytes, 1, count, stream) == count && fclose(stream) == 0);
    return path;
}

static const char *text(const char *file, const char *content)
{
    return put(file, content, strlen(content));
}

static const char *zip(const char *file, const void *bytes, size_t count)
{
    const char *path = in(file);
    gzFile stream = gzopen(path, "wb9");
    cr_assert(stream && gzwrite(stream, bytes, (unsigned)count) == (int)count && gzclose(stream) == Z_OK);
    return path;
}

static ds_data *loads(const char *file, const ds_options *options)
{
    ad_error error = { 0 };
    ds_data *data = ds_load(in(file), options, &error);
    cr_assert(data, "%s", error.text);
    cr_assert(!error.text[0]);
    return data;
}

/* The error names `named` and says `words`, on one line. */
static void refuses(const char *file, const ds_options *options, const char *named, const char *words)
{
    ad_error error = { 0 };
    ds_data *data = ds_load(in(file), options, &error);
    cr_assert(!data, "%s: accepted, '%s' expected", file, words);
    cr_assert(strstr(error.text, named) && strstr(error.text, words), "'%s' and '%s' wanted, got '%s'", named, words,
              error.text);
    cr_assert(!strchr(error.text, '\n'));
}

/* Every allocation and every read fails once, k = 1, 2, ...; each failure is an error and leaves nothing. */
static void fails_everywhere(const char *file, const ds_options *options, long allocations, long reads)
{
    for (int kind = 0; kind < 2; kind++)
        for (long k = 1;; k++) {
            ad_error error = { 0 };
            (kind ? ad_hook_read : ad_hook_allocation)(k);
            ds_data *data = ds_load(in(file), options, &error);
            (kind ? ad_hook_read : ad_hook_allocation)(0);
            cr_assert(!data == !!error.text[0]);
            if (data) {
                cr_assert(k > (kind ? reads : allocations), "only %ld of kind %d", k - 1, kind);
                ds_free(data);
                break;
            }
            cr_assert(strstr(error.text, kind ? "cannot read" : "memory"), "%s", error.text);
        }
}

static const ds_options unit = { .scaling = DS_UNIT };

static void cifar(const char *name, int f, size_t count);
static void npy(const char *name, const char *type, const double *values, const char *shape, size_t count);

/* ---- IDX --------------------------------------------------------------------------------------------------------- */

enum { IMAGES = 7, HEIGHT = 2, WIDTH = 3, PIXELS = HEIGHT * WIDTH, HEAD = 16 };

/* Image r has the pixels 10 r + 0, 1, ..., label r % 3; both as IDX, into buffers of HEAD + IMAGES * PIXELS bytes. */
static void idx(unsigned char *images, unsigned char *labels, unsigned char count)
{
    memcpy(images, "\0\0\10\3\0\0\0\7\0\0\0\2\0\0\0\3", HEAD);
    memcpy(labels, "\0\0\10\1\0\0\0\7", 8);
    images[7] = labels[7] = count;
    for (int r = 0; r < count; r++) {
        labels[8 + r] = (unsigned char)(r % 3);
        for (int j = 0; j < PIXELS; j++)
            images[HEAD + r * PIXELS + j] = (unsigned char)(10 * r + j);
    }
}

Test(loaders, idx_folder_keeps_the_files_split_and_order)
{
    unsigned char images[HEAD + IMAGES * PIXELS], labels[8 + IMAGES];
    for (int zipped = 0; zipped < 2; zipped++) {
        const char *(*save)(const char *, const void *, size_t) = zipped ? zip : put;
        const char *end = zipped ? ".gz" : "";
        char name[64];
        for (int part = 0; part < 2; part++) {
            unsigned char count = part ? 4 : IMAGES;
            idx(images, labels, count);
            snprintf(name, sizeof name, "%s-images-idx3-ubyte%s", part ? "t10k" : "train", end);
            save(name, images, HEAD + count * (size_t)PIXELS);
            snprintf(name, sizeof name, "%s-labels-idx1-ubyte%s", part ? "t10k" : "train", end);
            save(name, labels, 8 + (size_t)count);
        }
        ds_data *data = loads("", &unit);
        cr_assert(data->rows == 11 && data->train == 7 && data->features == PIXELS && data->classes == 3);
        cr_assert(data->height == HEIGHT && data->width == WIDTH && data->channels == 1 && data->targets == 1);
        for (size_t r = 0; r < 11; r++) {
            size_t of = r < 7 ? r : r - 7;
            cr_assert(data->y[r] == (double)(of % 3));
            for (size_t j = 0; j < PIXELS; j++)
                cr_assert(data->x[r * PIXELS + j] == (double)(10 * of + j) / 255);
        }
        ds_free(data);
        fails_everywhere("", &unit, 10, 4);
        if (!zipped) {
            unlink(in("train-labels-idx1-ubyte"));
            refuses("", &unit, folder, "no train-labels-idx1-ubyte[.gz] beside its images");
            unlink(in("train-images-idx3-ubyte"));
            data = loads("", &unit);
            cr_assert(data->rows == 4 && data->train == 3);
            ds_free(data);
            unlink(in("t10k-images-idx3-ubyte"));
            unlink(in("t10k-labels-idx1-ubyte"));
        }
    }
}

/* EMNIST: labels from 1, and pictures that lie on their side; its parts are named train and test. */
Test(loaders, idx_of_emnist)
{
    unsigned char images[HEAD + IMAGES * PIXELS], labels[8 + IMAGES];
    idx(images, labels, IMAGES);
    for (int r = 0; r < IMAGES; r++)
        labels[8 + r]++;
    for (int part = 0; part < 2; part++) {
        put(part ? "emnist-x-test-images-idx3-ubyte" : "emnist-x-train-images-idx3-ubyte", images, sizeof images);
        put(part ? "emnist-x-test-labels-idx1-ubyte" : "emnist-x-train-labels-idx1-ubyte", labels, sizeof labels);
    }
    for (int transpose = 0; transpose < 2; transpose++) {
        ds_data *data = loads("", &(ds_options){ .scaling = DS_UNIT, .transpose = transpose });
        cr_assert(data->rows == 2 * IMAGES && data->train == IMAGES && data->classes == 3);
        cr_assert(data->height == (transpose ? WIDTH : HEIGHT) && data->width == (transpose ? HEIGHT : WIDTH));
        cr_assert_str_eq(data->class_names[2], "3");
        cr_assert(strstr(data->note, "labels begin at 1"));
        cr_assert(!!strstr(data->note, "the option transpose") == !transpose, "%s", data->note);
        for (size_t r = 0; r < IMAGES; r++) {
            cr_assert(data->y[r] == (double)(r % 3));
            for (size_t i = 0; i < HEIGHT; i++)
                for (size_t j = 0; j < WIDTH; j++)
                    cr_assert(data->x[r * PIXELS + (transpose ? j * HEIGHT + i : i * WIDTH + j)] ==
                              (double)(10 * r + i * WIDTH + j) / 255);
        }
        ds_free(data);
    }
    fails_everywhere("", &(ds_options){ .transpose = true }, 12, 4);
    ds_data *data = loads("emnist-x-test-images-idx3-ubyte", &(ds_options){ .transpose = true });
    cr_assert(data->rows == IMAGES);
    ds_free(data);
    put("train-images-idx3-ubyte", images, sizeof images);
    refuses("", &unit, folder, "several sets, ");
    text("a.csv", "1,0\n2,1\n");
    refuses("a.csv", &(ds_options){ .transpose = true }, "a.csv", "only pictures of IDX files are transposed");
}

/* QMNIST: labels are rows of 8 integers, the class first. */
Test(loaders, idx_of_qmnist)
{
    unsigned char images[HEAD + IMAGES * PIXELS], labels[8 + IMAGES], wide[12 + IMAGES * 32] = { 0 };
    idx(images, labels, IMAGES);
    memcpy(wide, "\0\0\x0C\2\0\0\0\7\0\0\0\10", 12);
    for (int r = 0; r < IMAGES; r++) {
        wide[12 + 32 * r + 3] = labels[8 + r];
        memset(wide + 12 + 32 * r + 4, 200 + r, 28);
    }
    put("qmnist-train-images-idx3-ubyte", images, sizeof images);
    zip("qmnist-train-labels-idx2-int.gz", wide, sizeof wide);
    for (int one = 0; one < 2; one++) {
        ds_data *data = loads(one ? "qmnist-train-images-idx3-ubyte" : "", &unit);
        cr_assert(data->rows == IMAGES && data->classes == 3 && !data->class_names && !data->note[0]);
        for (size_t r = 0; r < IMAGES; r++)
            cr_assert(data->y[r] == (double)(lround(data->x[r * PIXELS] * 255 / 10) % 3));
        ds_free(data);
    }
    wide[12 + 32] = 255;
    zip("qmnist-train-labels-idx2-int.gz", wide, sizeof wide);
    refuses("", &unit, "qmnist-train-labels-idx2-int.gz", "label 1 (counted from 0) is -16777");
    put("qmnist-train-labels-idx2-int", wide, sizeof wide - 1);
    refuses("", &unit, "qmnist-train-labels-idx2-int", "promises 7 x 8 x 1 x 4 bytes, the file has 223");
}

Test(loaders, shuffled_splits_keep_rows_whole)
{
    unsigned char images[HEAD + IMAGES * PIXELS], labels[8 + IMAGES];
    idx(images, labels, IMAGES);
    put("few-images.idx3-ubyte", images, sizeof images);
    put("few-labels.idx1-ubyte", labels, sizeof labels);
    double first[IMAGES];
    bool moved = false;
    for (uint64_t seed = 0; seed < 3; seed++) {
        ds_data *data = loads("few-images.idx3-ubyte", &(ds_options){ .scaling = DS_UNIT, .test = 0.4, .seed = seed });
        cr_assert(data->rows == IMAGES && data->train == 4); /* 4.2 rounded */
        int seen = 0;
        for (size_t r = 0; r < IMAGES; r++) {
            long of = lround(data->x[r * PIXELS] * 255 / 10);
            seen |= 1 << of;
            cr_assert(data->y[r] == (double)(of % 3));
            for (size_t j = 0; j < PIXELS; j++)
                cr_assert(lround(data->x[r * PIXELS + j] * 255) == 10 * of + (long)j);
            if (!seed)
                first[r] = data->x[r * PIXELS];
            else
                moved = moved || data->x[r * PIXELS] != first[r];
        }
        cr_assert(seen == (1 << IMAGES) - 1);
        ds_data *again = loads("few-images.idx3-ubyte", &(ds_options){ .scaling = DS_UNIT, .test = 0.4, .seed = seed });
        cr_assert_arr_eq(again->x, data->x, IMAGES * PIXELS * sizeof(double));
        ds_free(again);
        ds_free(data);
    }
    cr_assert(moved);
    ds_data *data = loads("few-images.idx3-ubyte", &(ds_options){ .labels = in("few-labels.idx1-ubyte") });
    cr_assert(data->train == 5 && data->rows == 7);
    ds_free(data);
    static const double bad[] = { -0.1, 1, 1.5, NAN };
    for (int i = 0; i < 4; i++)
        refuses("few-images.idx3-ubyte", &(ds_options){ .test = bad[i] }, "few-images", "fraction to test");
}

/* Every place of one of the files changed, and both cut to every length. */
Test(loaders, bad_idx)
{
    static const struct {
        int file, at, value;
        const char *words;
    } cases[] = {
        { 0, 1, 1, "not an IDX file" },
        { 0, 2, 13, "elements of type 0x0d at byte 2" },
        { 0, 3, 1, "array of 1 axes at byte 3; images have 3" },
        { 0, 3, 200, "array of 200 axes" },
        { 0, 7, 8, "promises 8 x 2 x 3 bytes, the file has 42" },
        { 0, 7, 6, "bytes follow the 36" },
        { 0, 7, 0, "axis 0 is empty, at byte 4" },
        { 0, 4, 255, "promises 4278190087 x 2 x 3 bytes" },
        { 0, 8, 255, "promises 7 x 4278190082 x 3 bytes" },
        { 1, 0, 1, "not an IDX file" },
        { 1, 3, 3, "array of 3 axes at byte 3; labels have 1" },
        { 1, 7, 8, "promises 8 x 1 x 1 bytes, the file has 7" },
        { 1, 4, 255, "promises 4278190087" },
    };
    unsigned char bytes[2][HEAD + IMAGES * PIXELS];
    static const char *const names[] = { "x-images-idx3-ubyte", "x-labels-idx1-ubyte" };
    size_t counts[] = { sizeof bytes[0], 8 + IMAGES };
    idx(bytes[0], bytes[1], IMAGES);
    put(names[0], bytes[0], counts[0]);
    refuses(names[0], &unit, names[0], "a file of labels is missing");
    put(names[1], bytes[1], counts[1]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int zipped = 0; zipped < 2; zipped++) {
            int f = cases[i].file;
            unsigned char kept = bytes[f][cases[i].at];
            bytes[f][cases[i].at] = (unsigned char)cases[i].value;
            (zipped ? zip : put)(names[f], bytes[f], counts[f]);
            refuses(names[0], &unit, names[f],
                    zipped && strstr(cases[i].words, "the file has") ? "promises" : cases[i].words);
            bytes[f][cases[i].at] = kept;
            put(names[f], bytes[f], counts[f]);
        }
    for (int f = 0; f < 2; f++) {
        for (size_t count = 0; count < counts[f]; count++) {
            put(names[f], bytes[f], count);
            refuses(names[0], &unit, names[f], "");
        }
        put(names[f], bytes[f], counts[f]);
    }
    bytes[1][7] = 6;
    put(names[1], bytes[1], counts[1] - 1);
    refuses(names[0], &unit, names[1], "6 labels for the 7 images of");
    memset(bytes[1] + 8, 0, IMAGES);
    bytes[1][7] = 7;
    put(names[1], bytes[1], counts[1]);
    refuses(names[0], &unit, "x-images", "all 7 rows are of one class");
}

/* 2^16 images promised, and as many zeros as gzip takes: it is refused, or unfolds no further than the header says. */
Test(loaders, gzip_bombs_and_damage)
{
    size_t room = 64 << 20;
    unsigned char *bytes = calloc(1, room);
    cr_assert(bytes != NULL);
    idx(bytes, bytes + 1024, IMAGES);
    text("x-labels-idx1-ubyte", "");
    put("x-labels-idx1-ubyte", bytes + 1024, 8 + IMAGES);
    memset(bytes + HEAD + IMAGES * PIXELS, 0, 2048);
    zip("x-images-idx3-ubyte.gz", bytes, room);
    long before = ad_allocations();
    refuses("x-images-idx3-ubyte.gz", &unit, "x-images", "bytes follow the 42");
    cr_assert(ad_allocations() - before < 10);
    memset(bytes + 4, 255, 12); /* 2^96 */
    zip("x-images-idx3-ubyte.gz", bytes, 4096);
    refuses("x-images-idx3-ubyte.gz", &unit, "x-images", "promises 4294967295 x 4294967295 x 4294967295");

    idx(bytes, bytes + 1024, IMAGES);
    zip("x-images-idx3-ubyte.gz", bytes, HEAD + IMAGES * PIXELS);
    ad_error error = { 0 };
    size_t count = 0;
    char *file = ad_file_read(in("x-images-idx3-ubyte.gz"), 4096, &count, &error);
    cr_assert(file && count > 20);
    for (size_t cut = 2; cut < count; cut++) {
        put("x-images-idx3-ubyte.gz", file, cut);
        refuses("x-images-idx3-ubyte.gz", &unit, "x-images", "truncated");
    }
    file[count - 7] ^= 1; /* in the checksum */
    put("x-images-idx3-ubyte.gz", file, count);
    refuses("x-images-idx3-ubyte.gz", &unit, "x-images", "corrupt gzip file: incorrect data check");
    file[count - 7] ^= 1;
    memcpy(bytes, file, count);
    bytes[count] = 'x';
    put("x-images-idx3-ubyte.gz", bytes, count + 1);
    refuses("x-images-idx3-ubyte.gz", &unit, "x-images", "1 bytes follow the gzip data");
    memset(bytes + count, 0, 600); /* as a tape's blocks are filled up */
    put("x-images-idx3-ubyte.gz", bytes, count + 600);
    ds_free(loads("x-images-idx3-ubyte.gz", &unit));
    memcpy(bytes + count + 4, "\x1F\x8B", 2);
    put("x-images-idx3-ubyte.gz", bytes, count + 600);
    refuses("x-images-idx3-ubyte.gz", &unit, "x-images", "600 bytes follow the gzip data");
    ad_free(file);
    free(bytes);
}

/* Any file may be gzipped, by its bytes and not by its name, in one member or several. */
Test(loaders, gzip_of_every_format)
{
    static const char *const parts[] = { "a,b,y\n1,2,cat\n3,4,dog\n5,", "", "6,cat\n" };
    const char *path = in("a.table");
    for (int i = 0; i < 3; i++) {
        gzFile stream = gzopen(path, i ? "ab" : "wb");
        int length = (int)strlen(parts[i]);
        cr_assert(stream && gzwrite(stream, parts[i], (unsigned)length) == length && gzclose(stream) == Z_OK);
    }
    ds_data *data = loads("a.table", &unit);
    cr_assert(data->rows == 3 && data->features == 2 && data->classes == 2);
    ds_free(data);
    fails_everywhere("a.table", &unit, 8, 1);
    cifar("a.bin", 10, 3);
    ad_error error = { 0 };
    size_t count = 0;
    char *file = ad_file_read(in("a.bin"), 1 << 20, &count, &error);
    cr_assert(file != NULL);
    zip("b.bin.gz", file, count);
    ad_free(file);
    data = loads("b.bin.gz", &unit);
    cr_assert(data->rows == 3 && data->channels == 3);
    ds_free(data);
    npy("x.npy", "<f8", (const double[]){ 1, 2, 3, 4 }, "(2, 2)", 4);
    file = ad_file_read(in("x.npy"), 1 << 20, &count, &error);
    cr_assert(file != NULL);
    zip("x.npy.gz", file, count);
    ad_free(file);
    data = loads("x.npy.gz", &unit);
    cr_assert(data->rows == 2 && data->features == 2);
    ds_free(data);
    unsigned char *zeros = calloc(1, 1 << 20);
    cr_assert(zeros != NULL);
    zeros[0] = '1';
    zip("z.csv", zeros, 1 << 20); /* 1000 for one */
    refuses("z.csv", NULL, "z.csv", "a byte of zero");
    free(zeros);
}

/* ---- CIFAR-10 ---------------------------------------------------------------------------------------------------- */

enum { RECORD = 3073 };

/* Record r of file f: label (f + r) % 10, red f + r, green and blue by place. */
static void cifar(const char *name, int f, size_t count)
{
    unsigned char *bytes = calloc(count, RECORD);
    cr_assert(bytes != NULL);
    for (size_t r = 0; r < count; r++) {
        unsigned char *record = bytes + r * RECORD;
        record[0] = (unsigned char)(((size_t)f + r) % 10);
        for (size_t i = 0; i < 1024; i++) {
            record[1 + i] = (unsigned char)((size_t)f + r);
            record[1025 + i] = (unsigned char)(i / 32);
            record[2049 + i] = (unsigned char)(i % 32);
        }
    }
    put(name, bytes, count * RECORD);
    free(bytes);
}

Test(loaders, cifar_batches_in_order)
{
    cifar("test_batch.bin", 40, 2);
    cifar("data_batch_2.bin", 20, 3);
    cifar("data_batch_1.bin", 10, 2);
    ds_data *data = loads("", &unit);
    static const int red[] = { 10, 11, 20, 21, 22, 40, 41 };
    cr_assert(data->rows == 7 && data->train == 5 && data->classes == 10 && data->features == 3072);
    cr_assert(data->height == 32 && data->width == 96 && data->channels == 3);
    cr_assert_str_eq(data->class_names[3], "cat");
    for (size_t r = 0; r < 7; r++) {
        const double *x = data->x + r * 3072;
        cr_assert(data->y[r] == red[r] % 10);
        for (size_t i = 0; i < 1024; i++)
            cr_assert(x[3 * i] == red[r] / 255.0 && x[3 * i + 1] == (double)(i / 32) / 255 &&
                      x[3 * i + 2] == (double)(i % 32) / 255);
    }
    ds_free(data);
    data = loads("data_batch_2.bin", &(ds_options){ .scaling = DS_UNIT, .grey = true, .test = 0.3 });
    cr_assert(data->rows == 3 && data->train == 2 && data->features == 1024 && data->channels == 1);
    for (size_t r = 0; r < 3; r++) { /* row 7, column 5 */
        int of = 20 + (int)data->y[r];
        cr_assert(lround(255 * data->x[r * 1024 + 7 * 32 + 5]) == (77 * of + 150 * 7 + 29 * 5) / 256);
    }
    ds_free(data);
    fails_everywhere("", &(ds_options){ .grey = true, .resize_height = 4, .resize_width = 4 }, 20, 6);
}

Test(loaders, bad_cifar)
{
    cifar("a.bin", 3, 4);
    for (int i = 0; i < 3; i++) {
        static const off_t sizes[] = { 4 * RECORD - 1, RECORD + 2, 1 };
        cr_assert(truncate(in("a.bin"), sizes[i]) == 0);
        refuses("a.bin", NULL, "a.bin", "no whole number of CIFAR-10 records of 3073 bytes");
    }
    cr_assert(truncate(in("a.bin"), 0) == 0);
    refuses("a.bin", NULL, "a.bin", "empty");
    unsigned char *bytes = calloc(3, RECORD);
    cr_assert(bytes != NULL);
    bytes[2 * RECORD] = 10;
    put("a.bin", bytes, 3 * RECORD);
    free(bytes);
    refuses("a.bin", NULL, "a.bin", "record 2 (counted from 0), at byte 6146, has label 10");
    cr_assert(truncate(in("a.bin"), (off_t)1 << 32) == 0);
    refuses("a.bin", NULL, "a.bin", "4294967296 bytes, at most");
}

/* Two label bytes, of which the second is the class. */
Test(loaders, cifar_100)
{
    enum { LONG = RECORD + 1 };
    unsigned char *bytes = calloc(3, LONG);
    cr_assert(bytes != NULL);
    for (size_t r = 0; r < 3; r++) {
        bytes[r * LONG] = 19;
        bytes[r * LONG + 1] = (unsigned char)(99 - r);
        bytes[r * LONG + 2] = (unsigned char)(10 + r);
    }
    put("train.bin", bytes, 2 * LONG);
    put("test.bin", bytes + 2 * LONG, LONG);
    char names[1000];
    size_t length = 0;
    for (int k = 0; k < 100; k++)
        length += (size_t)sprintf(names + length, "class_%d\n", k);
    for (int named = 0; named < 2; named++) {
        if (named)
            put("fine_label_names.txt", names, length);
        for (int one = 0; one < 2; one++) {
            ds_data *data = loads(one ? "train.bin" : "", &unit);
            cr_assert(data->rows == (one ? 2 : 3) && data->train == (one ? 1 : 2) && data->classes == 100);
            cr_assert(strstr(data->note, "100 fine labels are the classes"));
            for (size_t r = 0; r < data->rows; r++)
                cr_assert(lround(data->x[r * 3072] * 255) == 10 + 99 - (long)data->y[r]);
            cr_assert(named == !!data->class_names);
            if (named)
                cr_assert_str_eq(data->class_names[42], "class_42");
            ds_free(data);
        }
    }
    fails_everywhere("", &unit, 5, 4);
    bytes[LONG + 1] = 100;
    put("train.bin", bytes, 2 * LONG);
    refuses("", &unit, "train.bin", "record 1 (counted from 0), at byte 3074, has label 100; classes are 0 to 99");
    put("train.bin", bytes, 2 * LONG - 1);
    refuses("", &unit, "train.bin", "no whole number of CIFAR-100 records of 3074 bytes");
    free(bytes);
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

/* The row whose first feature is `key`. */
static size_t row_of(const ds_data *data, double key)
{
    for (size_t r = 0; r < data->rows; r++)
        if (data->x[r * data->features] == key)
            return r;
    cr_assert(false, "no row begins with %g", key);
    return 0;
}

Test(loaders, csv_forms)
{
    static const struct {
        const char *content, *column;
        size_t rows, features, classes;
        double key, second, y; /* of one row */
        const char *class_0;
    } cases[] = {
        { "a,b,y\n1,2,cat\n3,4,dog\n5,6,cat\n", NULL, 3, 2, 2, 3, 4, 1, "cat" },
        { "1,2,dog\n3,4,cat\n5,6,cat\n", NULL, 3, 2, 2, 3, 4, 0, "cat" },
        { "1;2;0\r\n3;4;1\r\n", "last", 2, 2, 2, 3, 4, 1, NULL },
        { "0\t1.5\t2\n2\t-3e1\t4", "first", 2, 2, 2, -30, 4, 1, "0" },
        { "x,0,1,2\nred,1,2,3\nblue,4,5,6\n", "x", 2, 3, 2, 4, 5, 0, "blue" },
        { "0,1,y\n1,2,-1\n3,4,1\n", NULL, 2, 2, 2, 3, 4, 1, "-1" },
        { "1,2,0.5\n3,4,2\n", NULL, 2, 2, 0, 3, 4, 2, NULL },
        { "1,2,0.5\n3,4,2\n", "2", 2, 2, 2, 3, 2, 1, "2" },
        { "1,2\n3,4\n", "none", 2, 2, 0, 3, 4, 0, NULL },
        { "\xEF\xBB\xBF\"a\",\"the \"\"y\"\"\"\n 1 , \"p,q\" \n2,\"p\"\n\n\n", "the \"y\"", 2, 1, 2, 1, 0, 1, "p" },
        { "a,y\n\"1\",\"two\nlines\"\n2,z\n", NULL, 2, 1, 2, 2, 0, 1, "two\nlines" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text("a.csv", cases[i].content);
        ds_data *data = loads("a.csv", &(ds_options){ .scaling = DS_UNIT, .label_column = cases[i].column });
        cr_assert(data->rows == cases[i].rows && data->features == cases[i].features, "case %zu", i);
        cr_assert(data->classes == cases[i].classes && data->height == 0 && data->train >= 1, "case %zu", i);
        size_t r = row_of(data, cases[i].key);
        if (data->features > 1)
            cr_assert(data->x[r * data->features + 1] == cases[i].second, "case %zu", i);
        cr_assert(!data->y == !!(cases[i].column && strcmp(cases[i].column, "none") == 0));
        if (data->y)
            cr_assert(data->y[r] == cases[i].y && data->targets == 1, "case %zu: %g", i, data->y[r]);
        cr_assert(!data->class_names == !cases[i].class_0, "case %zu", i);
        if (cases[i].class_0)
            cr_assert_str_eq(data->class_names[0], cases[i].class_0);
        ds_free(data);
    }
    text("a.csv", cases[0].content);
    fails_everywhere("a.csv", NULL, 7, 1);
    text("a.csv", cases[5].content);
    fails_everywhere("a.csv", NULL, 8, 1);
}

Test(loaders, bad_csv)
{
    static const struct {
        const char *content, *column, *words;
    } cases[] = {
        { "", NULL, "empty" },
        { "\n\n\r\n", NULL, "empty" },
        { "a,b\n", NULL, "no row of data follows its header" },
        { "1\n2\n", NULL, "line 1 has one column only" },
        { "1,2,0\n3,1\n", NULL, "line 2 has 2 columns, the first has 3" },
        { "1,2,0\n3,4,1,1\n", NULL, "line 2 has 4 columns, the first has 3" },
        { "1,2,0\n\n3,4,1\n", NULL, "line 2 is empty" },
        { "1,2,0\n3,x,1\n", NULL, "line 2, column 2: 'x' is no finite number" },
        { "1,2,0\n3,,1\n", NULL, "line 2, column 2: '' is empty" },
        { "1,2,0\n3,NaN,1\n", NULL, "line 2, column 2: 'NaN' is no finite number" },
        { "1,2,0\ninf,2,1\n", NULL, "line 2, column 1: 'inf' is no finite number" },
        { "1,2,0\n3,1e999,1\n", NULL, "line 2, column 2: '1e999' is no finite number" },
        { "1,2,0\n3,0x10,1\n", NULL, "line 2, column 2: '0x10' is no finite number" },
        { "1,2,0\n3,\"a\nb\",1\n", NULL, "line 2, column 2: 'a?b' is no finite number" },
        { "a,2,0\n3,4,1\n", NULL, "line 1, column 1: 'a' is no finite number" },
        { "1,2,0\n3,4,\n", NULL, "line 2, column 3: '' is empty, where a label" },
        { "1,2,0\n3,4,cat\n", NULL, "line 2, column 3: 'cat' is no finite number, as the labels" },
        { "1,2,0\n3,\"4,1\n", NULL, "line 2, column 2: no closing quote" },
        { "1,2,0\n3,\"4\"5,1\n", NULL, "line 2, column 2: '4' is followed by more than a separator" },
        { "1,2,0\n3,4,1\n", "y", "no column of line 1 is named 'y'" },
        { "1,2,0\n3,4,1\n", "4", "no column 4: line 1 has 3" },
        { "1,2,0\n3,4,1\n", "0", "no column 0" },
        { "1,2,0\n3,4,0\n", NULL, "all 2 rows are of one class" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text("a.csv", cases[i].content);
        refuses("a.csv", &(ds_options){ .label_column = cases[i].column }, "a.csv", cases[i].words);
    }
    put("a.csv", "1,2,0\n3,\0,1\n", 12);
    refuses("a.csv", NULL, "a.csv", "line 2, column 2: a byte of zero");
    char *many = malloc(100000);
    cr_assert(many != NULL);
    size_t length = 0;
    for (int r = 0; r < 5000; r++)
        length += (size_t)sprintf(many + length, "1,%d\n", r);
    put("a.csv", many, length);
    refuses("a.csv", NULL, "a.csv", "5000 different whole numbers; classes are at most 4096");
    length = 0;
    for (int r = 0; r < 5000; r++)
        length += (size_t)sprintf(many + length, "1,c%d\n", r);
    put("a.csv", many, length);
    refuses("a.csv", NULL, "a.csv", "line 4097, column 2: more than 4096 classes");
    memset(many, '1', 1000);
    put("a.csv", many, 1000);
    refuses("a.csv", NULL, "a.csv", "line 1, column 1: a cell of more than 255 bytes");
    free(many);
}

/* ---- .npy, and what is none of all ------------------------------------------------------------------------------- */

/* A .npy file of `rank` axes; type "<i8" takes the numbers as integers. */
static void npy(const char *name, const char *type, const double *values, const char *shape, size_t count)
{
    char head[128];
    int length = snprintf(head + 10, 118, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", type, shape);
    memcpy(head, "\x93NUMPY\1\0", 8);
    head[8] = (char)length;
    head[9] = 0;
    FILE *stream = fopen(in(name), "wb");
    cr_assert(stream && fwrite(head, 1, 10 + (size_t)length, stream) == 10 + (size_t)length);
    for (size_t i = 0; i < count; i++) {
        int64_t whole = type[1] == 'i' ? (int64_t)values[i] : 0;
        cr_assert(fwrite(type[1] == 'i' ? (const void *)&whole : &values[i], 8, 1, stream) == 1);
    }
    cr_assert(fclose(stream) == 0);
}

Test(loaders, npy_pairs)
{
    static const double x[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, y[] = { 0, 2, 1, 1, 2, 0 };
    npy("x.npy", "<f8", x, "(6, 2)", 12);
    ds_options options = { .scaling = DS_UNIT };
    ds_data *data = loads("x.npy", &options);
    cr_assert(data->rows == 6 && data->features == 2 && data->train == 4 && !data->y && !data->classes);
    ds_free(data);
    char labels[128];
    snprintf(labels, sizeof labels, "%s", in("y.npy"));
    options.labels = labels;
    npy("y.npy", "<i8", y, "(6,)", 6);
    data = loads("x.npy", &options);
    cr_assert(data->classes == 3 && data->targets == 1);
    for (size_t r = 0; r < 6; r++)
        cr_assert(data->y[row_of(data, x[2 * r])] == y[r]);
    ds_free(data);
    fails_everywhere("x.npy", &options, 5, 2);
    npy("y.npy", "<f8", y, "(6, 1)", 6);
    npy("x.npy", "<f8", x, "(6, 2, 1)", 12);
    data = loads("x.npy", &options);
    cr_assert(data->classes == 0 && data->targets == 1 && data->height == 2 && data->width == 1);
    cr_assert(!data->note[0]);
    ds_free(data);
    npy("y.npy", "<i8", y, "(5,)", 5);
    refuses("x.npy", &options, "y.npy", "5 labels for the 6 rows of");
    npy("y.npy", "<i8", (double[]){ 0, 1, -1, 0, 0, 0 }, "(6,)", 6);
    refuses("x.npy", &options, "y.npy", "row 2 (counted from 0) is -1, which is no class; classes are");
    npy("y.npy", "<f8", (double[]){ 0, NAN, 1, 0, 0, 0 }, "(6,)", 6);
    refuses("x.npy", &options, "y.npy", "row 1 (counted from 0) is nan");
    npy("y.npy", "<f8", y, "(6, 0)", 0);
    refuses("x.npy", &options, "y.npy", "labels are (rows) or (rows, outputs)");
    npy("y.npy", "<f8", y, "()", 1);
    refuses("x.npy", &options, "y.npy", "0 axes");
}

/* What labels are, by type, shape and rule; the set's note tells what the shape left open. */
Test(loaders, npy_label_rules)
{
    static const double x[] = { 1, 2, 3, 4 }, whole[] = { 0, 2, 1, 1 }, real[] = { 0.5, 2, 1, 1 };
    const struct {
        const char *type, *shape;
        const double *y;
        ds_label_rule rule;
        size_t classes;
        const char *words; /* of the note, or of the error */
    } cases[] = {
        { "<i8", "(4,)", whole, DS_LABELS_BY_TYPE, 3, "" },
        { "<i8", "(4, 1)", whole, DS_LABELS_BY_TYPE, 3, "labels (4, 1) of integers are classes" },
        { "<f8", "(4, 1)", whole, DS_LABELS_BY_VALUE, 0, "labels (4, 1) of floats are targets; all are whole numbers" },
        { "<f8", "(4, 1)", real, DS_LABELS_BY_VALUE, 0, "" },
        { "<f8", "(4, 1)", whole, DS_LABELS_BY_TYPE, 0, "" },
        { "<i8", "(4, 2)", (const double[]){ 0, 1, 1, 0, 0, 1, 1, 0 }, DS_LABELS_BY_VALUE, 0,
          "one-hot rows, taken as targets" },
        { "<i8", "(4, 2)", (const double[]){ 0, 1, 1, 1, 0, 1, 1, 0 }, DS_LABELS_BY_VALUE, 0, "" },
        { "<i8", "(4, 2)", (const double[]){ 0, 1, 0, 0, 0, 1, 1, 0 }, DS_LABELS_BY_VALUE, 0, "" },
        { "<f8", "(4,)", whole, DS_LABELS_BY_TYPE, 0, "" },
        { "<f8", "(4,)", whole, DS_LABELS_BY_VALUE, 3, "floats that are all whole numbers, taken as classes" },
        { "<f8", "(4,)", real, DS_LABELS_BY_VALUE, 0, "" },
        { "<f8", "(4, 1)", whole, DS_LABELS_CLASSES, 3, "labels (4, 1) of whole numbers are classes" },
        { "<f8", "(4,)", real, DS_LABELS_CLASSES, SIZE_MAX, "row 0 (counted from 0) is 0.5, which is no class" },
        { "<i8", "(4, 1)", (const double[]){ 1, 4096, 0, 0 }, DS_LABELS_BY_TYPE, SIZE_MAX,
          "row 1 (counted from 0) is 4096, which is no class; classes are 0 to 4095, targets are floats" },
        { "<i8", "(4, 2)", (const double[]){ 0, 1, 2, 3, 4, 5, 6, 7 }, DS_LABELS_CLASSES, SIZE_MAX,
          "(rows, outputs); cross-entropy takes classes" },
    };
    npy("x.npy", "<f8", x, "(4, 1)", 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ad_error error = { 0 };
        npy("y.npy", cases[i].type, cases[i].y, cases[i].shape, strcmp(cases[i].shape, "(4, 2)") ? 4 : 8);
        ds_data *data = ds_npy_set(in("x.npy"), in("y.npy"), cases[i].rule, &error);
        cr_assert(!data == (cases[i].classes == SIZE_MAX), "case %zu: %s", i, error.text);
        const char *said = data ? data->note : error.text;
        cr_assert(strstr(said, cases[i].words) && !said[0] == !cases[i].words[0], "case %zu: %s", i, said);
        if (data)
            cr_assert(data->classes == cases[i].classes && data->rows == 4 && data->train == 4, "case %zu", i);
        for (size_t r = 0; data && r < 4; r++)
            cr_assert(data->x[r] == x[r] && data->y[r] == cases[i].y[r]);
        ds_free(data);
    }
}

Test(loaders, npy_pictures)
{
    double x[2 * 2 * 3 * 5];
    for (int i = 0; i < 60; i++)
        x[i] = i;
    npy("x.npy", "<f8", x, "(2, 2, 5, 3)", 60);
    ds_data *data = loads("x.npy", &unit);
    cr_assert(data->rows == 2 && data->height == 2 && data->width == 15 && data->channels == 3 && data->features == 30);
    size_t r = row_of(data, 0);
    for (size_t j = 0; j < 30; j++)
        cr_assert(data->x[r * 30 + j] == x[j]);
    ds_free(data);
    npy("x.npy", "<f8", x, "(2, 3, 2, 5)", 60);
    refuses("x.npy", &unit, "x.npy", "(2, 3, 2, 5) has the channels before height and width: save a.transpose");
    npy("x.npy", "<f8", x, "(2, 1, 2, 3, 5)", 60);
    refuses("x.npy", &unit, "x.npy", "has 5 axes, an array of pictures (rows, height, width, channels) has 4");
}

Test(loaders, what_is_no_set)
{
    refuses("nothing", NULL, "nothing", "no such file or folder");
    text("a.csv", "1,2,0\n3,4,1\n");
    refuses("a.csv/x", NULL, "a.csv/x", "cannot read: Not a directory");
    refuses("a.csv", &(ds_options){ .labels = "l.npy" }, "a.csv", "the labels l.npy do not belong to it");
    refuses("a.csv", &(ds_options){ .grey = true }, "a.csv", "only images");
    text("a.bin", "x");
    refuses("a.bin", &(ds_options){ .label_column = "y" }, "a.bin", "it has no column 'y'");
    text("picture", "\x89PNG\r\n\x1A\n");
    refuses("picture", NULL, "picture", "a single image");
    cr_assert(mkfifo(in("pipe"), 0600) == 0);
    refuses("pipe", NULL, "pipe", "neither a file nor a folder");
    cr_assert(symlink("loop", in("loop")) == 0);
    refuses("loop", NULL, "loop", "cannot read: Too many levels of symbolic links");
    if (geteuid() != 0) {
        chmod(in("a.csv"), 0);
        refuses("a.csv", NULL, "a.csv", "cannot read: Permission denied");
    }
}
