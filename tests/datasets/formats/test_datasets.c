/* test_datasets.c: the sheets against sums taken from the raw files by another decoder, and every way a file is bad. */
#include "datasets/datasets.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-datasets-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
}

/* A path in the test's own folder; the last eight results stay valid. */
static const char *in(const char *file)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

/* How many files the folder has; removes them if wanted. */
static int files(bool clear)
{
    DIR *listing = opendir(folder);
    cr_assert(listing != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] != '.') {
            count++;
            if (clear)
                unlink(in(entry->d_name));
        }
    closedir(listing);
    return count;
}

static void leave(void)
{
    files(true);
    rmdir(folder);
}

TestSuite(datasets, .init = enter, .fini = leave);

static const char *put(const char *file, const void *bytes, size_t count)
{
    const char *path = in(file);
    FILE *stream = fopen(path, "wb");
    cr_assert(stream && fwrite(bytes, 1, count, stream) == count && fclose(stream) == 0);
    return path;
}

/* The error names the file and says `words`. */
static void says(const ad_error *error, const char *file, const char *words)
{
    cr_assert(strstr(error->text, file) && strstr(error->text, words), "'%s' and '%s' wanted, got '%s'", file, words,
              error->text);
    cr_assert(!strchr(error->text, '\n'));
}

/* ---- the two sets ------------------------------------------------------------------------------------------------ */

/* Sums over the raw bytes (0..255) of the sheets, from a decoder of their own; feature c is (height / 2, width / 2). */
typedef struct {
    const char *name;
    size_t rows, tile, train;
    int classes[10], train_classes[10];
    const char *first, *last;
    long total, weighted;                 /* sum of p, and of (row + 1)(feature + 1) p, so that the order counts */
    long first_sum, last_sum, sum_123;    /* of tiles 0, rows - 1 and 123 */
    long square_123;                      /* sum of p^2 in tile 123 */
    long train_sum, train_square;         /* over all features of the training rows */
    long center_sum, center_square;       /* over feature c of the training rows */
    int center_0, center_123, center_end; /* feature c of tiles 0, 123 and rows - 1 */
    int constant, revived;                /* features constant in the training rows; those of them that vary later */
} truth;

static const truth truths[] = {
    { "mnist",
      10000,
      28,
      8000,
      { 1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978 },
      { 784, 882, 805, 828, 789, 679, 811, 882, 755, 785 },
      "3810409349",
      "67450",
      262146600,
      535126205233092,
      15849,
      47696,
      38426,
      8728456,
      209582228,
      45842726990,
      1031194,
      236315570,
      0,
      254,
      0,
      117,
      6 },
    { "digits",
      1797,
      8,
      1437,
      { 178, 182, 177, 183, 181, 182, 181, 179, 174, 180 },
      { 143, 146, 142, 146, 144, 145, 144, 143, 141, 143 },
      "0123456789",
      "90898",
      8953801,
      260415613438,
      4687,
      6250,
      5547,
      1194037,
      7163005,
      1400400387,
      235973,
      51546811,
      0,
      207,
      239,
      3,
      0 },
};

static ds_data *load(const char *name, ds_scaling scaling)
{
    ad_error error = { 0 };
    ds_data *data = ds_load(name, &(ds_options){ .scaling = scaling }, &error);
    cr_assert(data, "%s", error.text);
    cr_assert(!error.text[0]);
    return data;
}

static long tile_sum(const ds_data *data, size_t row)
{
    long sum = 0;
    for (size_t j = 0; j < data->features; j++)
        sum += lround(data->x[row * data->features + j] * 255);
    return sum;
}

Test(datasets, pixels_and_labels)
{
    for (size_t s = 0; s < 2; s++) {
        const truth *t = &truths[s];
        ds_data *data = load(t->name, DS_UNIT);
        size_t n = t->tile * t->tile, c = n / 2 + t->tile / 2;
        cr_assert(data->rows == t->rows && data->features == n && data->height == t->tile && data->width == t->tile);
        cr_assert(data->classes == 10 && data->targets == 1 && data->train == t->train);
        cr_assert_str_eq(data->name, t->name);

        int counts[10] = { 0 };
        for (size_t r = 0; r < data->rows; r++) {
            if (r == t->train)
                cr_assert_arr_eq(counts, t->train_classes, sizeof counts);
            counts[(int)data->y[r]]++;
        }
        cr_assert_arr_eq(counts, t->classes, sizeof counts);
        for (size_t i = 0; t->first[i]; i++)
            cr_assert(data->y[i] == t->first[i] - '0');
        for (size_t i = 0; t->last[i]; i++)
            cr_assert(data->y[data->rows - 5 + i] == t->last[i] - '0');

        long total = 0, weighted = 0, train_sum = 0;
        for (size_t i = 0; i < data->rows * n; i++) {
            long p = lround(data->x[i] * 255);
            cr_assert(data->x[i] == (double)p / 255.0 && p >= 0 && p <= 255);
            total += p;
            weighted += (long)(i / n + 1) * (long)(i % n + 1) * p;
            train_sum += i / n < t->train ? p : 0;
        }
        cr_assert(total == t->total && weighted == t->weighted && train_sum == t->train_sum);
        cr_assert(tile_sum(data, 0) == t->first_sum && tile_sum(data, 123) == t->sum_123);
        cr_assert(tile_sum(data, data->rows - 1) == t->last_sum);
        cr_assert(data->x[c] == t->center_0 / 255.0 && data->x[123 * n + c] == t->center_123 / 255.0);
        cr_assert(data->x[(data->rows - 1) * n + c] == t->center_end / 255.0);
        ds_free(data);
    }
}

Test(datasets, standard_scaling)
{
    for (size_t s = 0; s < 2; s++) {
        const truth *t = &truths[s];
        ds_data *data = ds_load(t->name, NULL, NULL), *unit = load(t->name, DS_UNIT);
        cr_assert(data && data->train == t->train);
        double count = (double)(t->train * data->features);
        double mean = (double)t->train_sum / count / 255;
        double deviation = sqrt((double)t->train_square / count / (255.0 * 255.0) - mean * mean);
        double first = 0, second = 0;
        for (size_t i = 0; i < data->rows * data->features; i++) {
            cr_assert_float_eq(data->x[i], (unit->x[i] - mean) / deviation, 1e-11);
            if (i < t->train * data->features) {
                first += data->x[i] / count;
                second += data->x[i] * data->x[i] / count;
            }
        }
        cr_assert_float_eq(first, 0, 1e-10);
        cr_assert_float_eq(second, 1, 1e-9);
        ds_free(data);
        ds_free(unit);
    }
}

Test(datasets, pixelwise_scaling)
{
    for (size_t s = 0; s < 2; s++) {
        const truth *t = &truths[s];
        ds_data *data = load(t->name, DS_PIXELWISE), *unit = load(t->name, DS_UNIT);
        size_t n = data->features, c = n / 2 + t->tile / 2;
        double count = (double)t->train, mean = (double)t->center_sum / count / 255;
        double deviation = sqrt((double)t->center_square / count / (255.0 * 255.0) - mean * mean);
        for (size_t r = 0; r < data->rows; r++)
            cr_assert_float_eq(data->x[r * n + c], (unit->x[r * n + c] - mean) / deviation, 1e-11);
        int constant = 0, revived = 0;
        for (size_t j = 0; j < n; j++) {
            double first = 0, second = 0, largest = 0;
            bool varies = false;
            for (size_t r = 0; r < data->rows; r++) {
                double x = data->x[r * n + j];
                first += r < t->train ? x / count : 0;
                second += r < t->train ? x * x / count : 0;
                largest = fmax(largest, fabs(x));
                varies = varies || unit->x[r * n + j] != unit->x[j];
            }
            cr_assert_float_eq(first, 0, 1e-10);
            if (largest > 0) {
                cr_assert_float_eq(second, 1, 1e-9);
            } else {
                constant++;
                revived += varies;
            }
        }
        cr_assert(constant == t->constant && revived == t->revived);
        ds_free(data);
        ds_free(unit);
    }
}

Test(datasets, sphere_scaling)
{
    for (size_t s = 0; s < 2; s++) {
        const truth *t = &truths[s];
        ds_data *data = load(t->name, DS_SPHERE);
        size_t n = data->features, c = n / 2 + t->tile / 2;
        for (size_t r = 0; r < data->rows; r++) {
            double square = 0;
            for (size_t j = 0; j < n; j++)
                square += data->x[r * n + j] * data->x[r * n + j];
            cr_assert_float_eq(square, (double)n, 1e-9);
        }
        double wanted = t->center_123 * sqrt((double)n / (double)t->square_123);
        cr_assert_float_eq(data->x[123 * n + c], wanted, 1e-12);
        ds_free(data);
    }
}

Test(datasets, scaling_of_small_sets)
{
    double x[6] = { 1, 5, 3, 5, 100, 6 }, y[3] = { 0 };
    ds_data data = { .x = x, .y = y, .rows = 3, .features = 2, .targets = 1, .name = "small" };
    ad_error error = { 0 };
    cr_assert(ds_scale(&data, &(ds_options){ .scaling = DS_PIXELWISE, .train = 2 }, &error) == 0 && data.train == 2);
    double wanted[6] = { -1, 0, 1, 0, 98, 0 };
    cr_assert_arr_eq(x, wanted, sizeof x);

    double zeros[4] = { 0, 0, 3, 4 };
    data = (ds_data){ .x = zeros, .rows = 2, .features = 2, .name = "zeros" };
    cr_assert(ds_scale(&data, &(ds_options){ .scaling = DS_SPHERE }, &error) == 0 && data.train == 1);
    cr_assert(zeros[0] == 0 && zeros[1] == 0);
    cr_assert_float_eq(zeros[3], 0.8 * sqrt(2), 1e-15);
    double same[4] = { 0.1, 0.1, 0.1, 0.1 };
    data = (ds_data){ .x = same, .rows = 4, .features = 1, .name = "same" };
    cr_assert(ds_scale(&data, NULL, &error) == 0 && data.train == 3);
    cr_assert(same[0] == 0 && same[3] == 0);

    cr_assert(ds_scale(&data, &(ds_options){ .train = 5 }, &error) == -1);
    says(&error, "same", "5 training rows wanted, there are 4");
    cr_assert(data.train == 3);
    error.text[0] = 0;
    cr_assert(ds_scale(&data, &(ds_options){ .scaling = (ds_scaling)17 }, &error) == -1);
    says(&error, "same", "17");
}

Test(datasets, split_is_a_view)
{
    ds_data *data = load("digits", DS_UNIT);
    ds_data train = ds_split(data, 0, data->train), test = ds_split(data, data->train, SIZE_MAX);
    cr_assert(train.rows == 1437 && train.train == 1437 && train.x == data->x && train.y == data->y);
    cr_assert(test.rows == 360 && test.train == 0 && test.classes == 10 && test.features == 64);
    cr_assert(test.x == data->x + 1437 * 64 && test.y == data->y + 1437);
    ds_data middle = ds_split(data, 1400, 100), inner = ds_split(&middle, 90, 100);
    cr_assert(middle.rows == 100 && middle.train == 37 && inner.rows == 10 && inner.train == 0);
    cr_assert(inner.y == data->y + 1490 && ds_split(data, 5000, 3).rows == 0);
    ds_free(data);

    double x[4] = { 0 }, y[8] = { 0 };
    ds_data regression = { .x = x, .y = y, .rows = 4, .features = 1, .targets = 2 };
    cr_assert(ds_split(&regression, 3, 1).y == y + 6);
    ds_free(NULL);
}

Test(datasets, names_and_folders)
{
    ad_error error = { 0 };
    cr_assert(ds_load("nist", NULL, &error) == NULL);
    says(&error, "'nist'", "mnist and digits");

    setenv("LIMN_DATA", folder, 1);
    error.text[0] = 0;
    cr_assert(ds_load("digits", NULL, &error) == NULL);
    says(&error, in("digits.png"), "LIMN_DATA");
    char path[16];
    error.text[0] = 0;
    cr_assert(ds_find("digits.png", path, sizeof path, &error) == -1);
    says(&error, "digits.png", "longer than 16 bytes");
}

Test(datasets, options_reach_the_set)
{
    ad_error error = { 0 };
    ds_data *data = ds_load("digits", &(ds_options){ .train = 1000 }, &error);
    cr_assert(data && data->train == 1000);
    ds_free(data);
    cr_assert(ds_load("digits", &(ds_options){ .train = 1798 }, &error) == NULL);
    says(&error, "digits", "1798 training rows wanted, there are 1797");
}

Test(datasets, no_memory_is_an_error_everywhere)
{
    for (long k = 1;; k++) {
        ad_error error = { 0 };
        ad_hook_allocation(k);
        ds_data *data = ds_load("digits", &(ds_options){ .scaling = DS_PIXELWISE }, &error);
        ad_hook_allocation(0);
        cr_assert(!data == !!error.text[0]);
        if (data) {
            cr_assert(k > 6);
            ds_free(data);
            break;
        }
        cr_assert(strstr(error.text, "memory"), "%s", error.text);
    }
}

/* ---- bad sheets -------------------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char bytes[1 << 18];
    size_t count;
} buffer;

static void add(buffer *b, const void *bytes, size_t count)
{
    cr_assert(b->count + count <= sizeof b->bytes);
    memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
}

static void add_word(buffer *b, uint32_t word)
{
    unsigned char bytes[4] = { (unsigned char)(word >> 24), (unsigned char)(word >> 16), (unsigned char)(word >> 8),
                               (unsigned char)word };
    add(b, bytes, 4);
}

static uint32_t slow_crc(const unsigned char *bytes, size_t count)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < 8 * count; i++) {
        uint32_t bit = (c ^ (uint32_t)(bytes[i / 8] >> (i % 8))) & 1;
        c = bit ? (c >> 1) ^ 0xEDB88320u : c >> 1;
    }
    return ~c;
}

static void add_chunk(buffer *b, const char *type, const void *data, size_t count)
{
    add_word(b, (uint32_t)count);
    size_t start = b->count;
    add(b, type, 4);
    add(b, data, count);
    add_word(b, slow_crc(b->bytes + start, count + 4));
}

static void add_header(buffer *b, uint32_t width, uint32_t height, int depth, int colour)
{
    static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
    buffer *header = calloc(1, sizeof *header);
    cr_assert(header != NULL);
    unsigned char rest[5] = { (unsigned char)depth, (unsigned char)colour, 0, 0, 0 };
    add_word(header, width);
    add_word(header, height);
    add(header, rest, 5);
    add(b, signature, 8);
    add_chunk(b, "IHDR", header->bytes, header->count);
    free(header);
}

/* A grey PNG of stored (uncompressed) rows. */
static buffer *grey(uint32_t width, uint32_t height, const unsigned char *pixels)
{
    buffer *b = calloc(1, sizeof *b), *data = calloc(1, sizeof *data);
    cr_assert(b && data);
    size_t raw = (width + 1) * height;
    unsigned char head[7] = {
        0x78, 0x01, 1, (unsigned char)raw, (unsigned char)(raw >> 8), (unsigned char)~raw, (unsigned char)(~raw >> 8)
    };
    add(data, head, 7);
    uint32_t low = 1, high = 0;
    for (size_t y = 0; y < height; y++) {
        add(data, "", 1);
        add(data, pixels + y * width, width);
    }
    for (size_t i = 7; i < data->count; i++) {
        low = (low + data->bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    add_word(data, high << 16 | low);
    add_header(b, width, height, 8, 0);
    add_chunk(b, "IDAT", data->bytes, data->count);
    add_chunk(b, "IEND", "", 0);
    free(data);
    return b;
}

/* Two by three tiles of 2 x 2, the last one empty. */
static const unsigned char six[6 * 4] = {
    1, 2, 10, 20, 100, 0, //
    3, 4, 30, 40, 0,   0, //
    5, 0, 0,  7,  0,   0, //
    0, 6, 8,  0,  0,   0, //
};

static void refuses(const char *file, const char *words)
{
    ad_error error = { 0 };
    cr_assert(ds_sheet(in("a.png"), in("a.labels"), 2, NULL, &error) == NULL);
    says(&error, in(file), words);
}

Test(datasets, sheet_order)
{
    buffer *b = grey(6, 4, six);
    put("a.png", b->bytes, b->count);
    put("a.labels", "01203\n", 6);
    ad_error error = { 0 };
    ds_data *data = ds_sheet(in("a.png"), in("a.labels"), 2, &(ds_options){ .scaling = DS_UNIT }, &error);
    cr_assert(data, "%s", error.text);
    cr_assert(data->rows == 5 && data->features == 4 && data->classes == 4 && data->train == 4);
    cr_assert_str_eq(data->name, "a");
    static const int wanted[20] = { 1, 2, 3, 4, 10, 20, 30, 40, 100, 0, 0, 0, 5, 0, 0, 6, 0, 7, 8, 0 };
    for (size_t i = 0; i < 20; i++)
        cr_assert(data->x[i] == wanted[i] / 255.0);
    cr_assert(data->y[2] == 2 && data->y[4] == 3);
    ds_free(data);
    free(b);
}

Test(datasets, bad_labels)
{
    static const struct {
        const char *labels, *words;
    } cases[] = {
        { "0120\n", "tile 4 of 6 (counted from 0) is not empty, but there are 4 labels" },
        { "012034\n", "tile 5 of 6 (counted from 0) is empty, but there are 6 labels" },
        { "0120345\n", "7 labels, but" },
        { "\n", "0 labels, but" },
        { "", "0 bytes that do not end in a newline" },
        { "01203", "5 bytes that do not end in a newline" },
        { "01x03\n", "label 2 of 5 (counted from 0) is byte 0x78" },
        { "01203\r\n", "label 5 of 6 (counted from 0) is byte 0x0d" },
        { "01203\n\n", "label 5 of 6 (counted from 0) is byte 0x0a" },
    };
    buffer *b = grey(6, 4, six);
    put("a.png", b->bytes, b->count);
    free(b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("a.labels", cases[i].labels, strlen(cases[i].labels));
        refuses(strncmp(cases[i].words, "tile", 4) ? "a.labels" : "a.png", cases[i].words);
    }
    unlink(in("a.labels"));
    refuses("a.labels", "cannot read");
}

Test(datasets, bad_tiles)
{
    buffer *b = grey(6, 4, six);
    put("a.png", b->bytes, b->count);
    put("a.labels", "01203\n", 6);
    static const size_t tiles[] = { 0, 3, 4, SIZE_MAX };
    for (size_t i = 0; i < 4; i++) {
        ad_error error = { 0 };
        cr_assert(ds_sheet(in("a.png"), in("a.labels"), tiles[i], NULL, &error) == NULL);
        says(&error, in("a.png"), "6 x 4 pixels are no whole number of");
    }
    free(b);
}

Test(datasets, every_truncation_and_every_flipped_byte)
{
    buffer *b = grey(6, 4, six);
    put("a.labels", "01203\n", 6);
    for (size_t count = 0; count < b->count; count++) {
        put("a.png", b->bytes, count);
        refuses("a.png", count < 8 ? "not a PNG file" : "truncated PNG");
    }
    for (size_t i = 0; i < b->count; i++) {
        b->bytes[i] ^= 0x10;
        put("a.png", b->bytes, b->count);
        refuses("a.png", "PNG");
        b->bytes[i] ^= 0x10;
    }
    add(b, "x", 1);
    put("a.png", b->bytes, b->count);
    refuses("a.png", "but the file has");
    unlink(in("a.png"));
    refuses("a.png", "cannot read");
    free(b);
}

/* The sheets themselves, cut short and with one byte changed in the middle. */
Test(datasets, damaged_copies_of_the_digits)
{
    char path[4096];
    ad_error error = { 0 };
    size_t bytes = 0;
    cr_assert(ds_find("digits.png", path, sizeof path, &error) == 0, "%s", error.text);
    char *file = ad_file_read(path, 1 << 20, &bytes, &error);
    cr_assert(file && bytes == 44808);
    setenv("LIMN_DATA", folder, 1);
    put("digits.labels", "0\n", 2);
    put("digits.png", file, bytes);
    cr_assert(ds_load("digits", NULL, &error) == NULL);
    says(&error, in("digits.png"), "tile 1 of 1800 (counted from 0) is not empty, but there are 1 labels");
    put("digits.png", file, bytes - 12);
    error.text[0] = 0;
    cr_assert(ds_load("digits", NULL, &error) == NULL);
    says(&error, in("digits.png"), "truncated PNG: 44796 bytes, and no end (IEND) chunk");
    file[20000] ^= 1;
    put("digits.png", file, bytes);
    error.text[0] = 0;
    cr_assert(ds_load("digits", NULL, &error) == NULL);
    says(&error, in("digits.png"), "the chunk at byte 33 has a wrong checksum");
    ad_free(file);
}

Test(datasets, hostile_headers)
{
    static const struct {
        uint32_t width, height;
        int depth, colour;
        const char *words;
    } cases[] = {
        { 0, 4, 8, 0, "an image of 0 x 4 pixels" },
        { 6, 0, 8, 0, "an image of 6 x 0 pixels" },
        { 0x7FFFFFFF, 0x7FFFFFFF, 8, 0, "an image of 2147483647 x 2147483647 pixels" },
        { 0xFFFFFFFF, 2, 8, 0, "an image of 4294967295 x 2 pixels" },
        { 6, 4, 16, 0, "not an 8-bit grey PNG: 16 bits, colour type 0" },
        { 6, 4, 8, 2, "not an 8-bit grey PNG: 8 bits, colour type 2" },
        { 6, 4, 8, 3, "not an 8-bit grey PNG: 8 bits, colour type 3" },
        { 6, 4, 8, 0, "corrupt PNG of 6 x 4 pixels" },
    };
    put("a.labels", "01203\n", 6);
    buffer *b = calloc(1, sizeof *b);
    cr_assert(b != NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        b->count = 0;
        add_header(b, cases[i].width, cases[i].height, cases[i].depth, cases[i].colour);
        add_chunk(b, "IDAT", "\x78\x01", 2);
        add_chunk(b, "IEND", "", 0);
        put("a.png", b->bytes, b->count);
        refuses("a.png", cases[i].words);
    }
    b->count = 33; /* the signature and one header */
    add_chunk(b, "IHDR", "0123456789abc", 13);
    put("a.png", b->bytes, b->count);
    refuses("a.png", "must not be a header");
    b->count = 8;
    add_chunk(b, "IEND", "", 0);
    put("a.png", b->bytes, b->count);
    refuses("a.png", "must be a header");
    free(b);
}

/* A file of 65 kB that unfolds to 10 MB: a zero, then copies of 258 bytes at distance 1, in the fixed Huffman code. */
Test(datasets, a_bomb)
{
    buffer *b = calloc(1, sizeof *b), *data = calloc(1, sizeof *data);
    cr_assert(b && data);
    add(data, "\x78\x01", 2);
    size_t bits = 16;
    const char *start = "11000110000", *copy = "1100010100000"; /* final, fixed, literal 0; length 285, distance 0 */
    for (int i = 0; i < 40000; i++)
        for (const char *bit = i ? copy : start; *bit; bit++, bits++) {
            data->bytes[bits / 8] |= (unsigned char)((*bit - '0') << (bits % 8));
            data->count = bits / 8 + 1;
        }
    add(data, "\0\0\0\0\0\0", 6);
    add_header(b, 6, 4, 8, 0);
    add_chunk(b, "IDAT", data->bytes, data->count);
    add_chunk(b, "IEND", "", 0);
    put("a.png", b->bytes, b->count);
    put("a.labels", "01203\n", 6);
    refuses("a.png", "its data unfold to more than 6 x 4 pixels");
    free(b);
    free(data);
}

/* ---- npy --------------------------------------------------------------------------------------------------------- */

/* Writes a.npy: magic, version, length and header text as given, then the data. */
static const char *npy(int major, const char *header, const void *data, size_t bytes)
{
    buffer *b = calloc(1, sizeof *b);
    cr_assert(b != NULL);
    size_t length = strlen(header);
    unsigned char head[12] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)major, 0, (unsigned char)length, (unsigned char)(length >> 8)
    };
    add(b, head, major == 1 ? 10 : 12);
    add(b, header, length);
    add(b, data, bytes);
    const char *path = put("a.npy", b->bytes, b->count);
    free(b);
    return path;
}

static void unreadable(const char *words)
{
    ad_error error = { 0 };
    ds_array a = { .rank = 7 };
    cr_assert(ds_npy_read(in("a.npy"), &a, &error) == -1, "accepted, '%s' expected", words);
    cr_assert(a.data == NULL && a.rank == 0);
    says(&error, in("a.npy"), words);
}

Test(datasets, npy_types)
{
    static const struct {
        const char *descr, *bytes;
        size_t size;
        double wanted[2];
    } cases[] = {
        { "<f8", "\0\0\0\0\0\0\xF8\xBF\x18\x2D\x44\x54\xFB\x21\x09\x40", 8, { -1.5, 3.141592653589793 } },
        { "<f4", "\0\0\xC0\xBF\0\0\x80\x3E", 4, { -1.5, 0.25 } },
        { "<i8", "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0\1\0\0\0", 8, { -2, 4294967296.0 } },
        { "<i4", "\xFE\xFF\xFF\xFF\x04\x03\x02\x01", 4, { -2, 16909060 } },
        { "|u1", "\x07\xFF", 1, { 7, 255 } },
        { "|b1", "\x00\x01", 1, { 0, 1 } },
        { ">f8", "\xBF\xF8\0\0\0\0\0\0\x40\x09\x21\xFB\x54\x44\x2D\x18", 8, { -1.5, 3.141592653589793 } },
        { ">f4", "\xBF\xC0\0\0\x3E\x80\0\0", 4, { -1.5, 0.25 } },
        { "<f2", "\x00\xBE\x01\x00", 2, { -1.5, 1. / 16777216 } }, /* the smallest one, 2^-24 */
        { ">f2", "\x7B\xFF\x03\xFF", 2, { 65504, 1023. / 16777216 } },
        { ">i8", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE\0\0\0\1\0\0\0\0", 8, { -2, 4294967296.0 } },
        { "<u8", "\xFF\xFF\xFF\xFF\xFF\xFF\x1F\0\2\0\0\0\0\0\0\0", 8, { 9007199254740991.0, 2 } },
        { "<u4", "\xFE\xFF\xFF\xFF\x04\x03\x02\x01", 4, { 4294967294.0, 16909060 } },
        { ">i2", "\xFF\xFE\x01\x02", 2, { -2, 258 } },
        { "<i2", "\xFE\xFF\x02\x01", 2, { -2, 258 } },
        { "<u2", "\xFE\xFF\x02\x01", 2, { 65534, 258 } },
        { "|i1", "\x80\x7F", 1, { -128, 127 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int major = 1; major <= 3; major++) {
            char header[128];
            snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }   \n",
                     cases[i].descr);
            ds_array a;
            ad_error error = { 0 };
            cr_assert(ds_npy_read(npy(major, header, cases[i].bytes, 2 * cases[i].size), &a, &error) == 0, "%s",
                      error.text);
            cr_assert(a.rank == 1 && a.shape[0] == 2 && a.shape[1] == 0);
            cr_assert(a.data[0] == cases[i].wanted[0] && a.data[1] == cases[i].wanted[1]);
            ds_array_free(&a);
            cr_assert(a.data == NULL);
        }
}

Test(datasets, npy_headers_that_python_could_write)
{
    static const struct {
        const char *header;
        int rank;
        size_t bytes, shape[3];
    } cases[] = {
        { "{\"shape\":(1,2,3),\"fortran_order\":False,\"descr\":\"|u1\"}", 3, 6, { 1, 2, 3 } },
        { "{'shape': (2, 3,), 'descr': '|u1', 'fortran_order': False}\n", 2, 6, { 2, 3 } },
        { "{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n", 0, 1, { 0 } },
        { "{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }\n", 1, 0, { 0 } },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776, 0), }\n",
          3,
          0,
          { (size_t)1 << 40, (size_t)1 << 40, 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_array a;
        ad_error error = { 0 };
        cr_assert(ds_npy_read(npy(1, cases[i].header, "\1\2\3\4\5\6", cases[i].bytes), &a, &error) == 0, "%s",
                  error.text);
        cr_assert(a.rank == cases[i].rank && memcmp(a.shape, cases[i].shape, sizeof cases[i].shape) == 0);
        cr_assert(!cases[i].bytes || a.data[0] == 1);
        ds_array_free(&a);
    }
}

/* a[i, j, k] = 100 i + 10 j + k of shape (2, 3, 4), the first axis fastest. */
Test(datasets, npy_in_fortran_order)
{
    const char *header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }";
    unsigned char bytes[24];
    ad_error error = { 0 };
    ds_array a;
    for (int k = 0, at = 0; k < 4; k++)
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 2; i++)
                bytes[at++] = (unsigned char)(100 * i + 10 * j + k);
    cr_assert(ds_npy_read(npy(1, header, bytes, sizeof bytes), &a, &error) == 0, "%s", error.text);
    for (int i = 0, at = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++)
                cr_assert_eq(a.data[at++], 100 * i + 10 * j + k);
    ds_array_free(&a);
}

/* Numbers that cannot be squared are refused, and nothing is changed, but by the scaling that leaves them. */
Test(datasets, numbers_that_no_scaling_can_square)
{
    static const double rows[][4] = { { 1e308, -1e308, 0, 1 }, { 1, 2, 3, 2e145 }, { 1e-170, 2e-170, 0, 3e-170 } };
    for (int k = 0; k < 3; k++)
        for (int scaling = DS_STANDARD; scaling <= DS_SPHERE; scaling++) {
            double x[4];
            memcpy(x, rows[k], sizeof x);
            ds_data data = { .x = x, .rows = 2, .features = 2, .name = "far" };
            ad_error error = { 0 };
            int status = ds_scale(&data, &(ds_options){ .scaling = (ds_scaling)scaling, .train = 2 }, &error);
            cr_expect_eq(status, scaling == DS_UNIT ? 0 : -1, "%d, %d", k, scaling);
            cr_expect(!status || (strstr(error.text, k < 2 ? "too large to be scaled" : "less than can be squared") &&
                                  strstr(error.text, "far: ")),
                      "%s", error.text);
            cr_expect_arr_eq(x, rows[k], sizeof x);
        }
    double mixed[4] = { 1e-170, 1, 0, 3 }; /* a number that is small beside others is none that varies too little */
    ds_data data = { .x = mixed, .rows = 2, .features = 2, .name = "mixed" };
    cr_expect_eq(ds_scale(&data, &(ds_options){ .train = 2 }, NULL), 0);
}

/* ---- npz --------------------------------------------------------------------------------------------------------- */
/* a.npz with the entries of these names, each the same array of bytes 1 to 6. */
static void npz(const char *const *names)
{
    static const char header[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";
    static char file[10 + sizeof header - 1 + 6];
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    file[8] = sizeof header - 1;
    memcpy(file + 10, header, sizeof header - 1);
    memcpy(file + 10 + sizeof header - 1, "\1\2\3\4\5\6", 6);
    zip_t *zip = zip_open(in("a.npz"), ZIP_CREATE | ZIP_TRUNCATE, NULL);
    cr_assert(zip);
    for (int k = 0; names[k]; k++)
        cr_assert(zip_file_add(zip, names[k], zip_source_buffer(zip, file, sizeof file, 0), 0) == k);
    cr_assert(zip_close(zip) == 0);
}

static void npz_is_refused(const char *path, const char *words)
{
    ad_error error = { 0 };
    ds_array a = { .rank = 7 };
    cr_assert(ds_npy_read(in(path), &a, &error) == -1, "accepted, '%s' expected", words);
    says(&error, "a.npz", words);
}

Test(datasets, npz_members)
{
    ad_error error = { 0 };
    ds_array a;
    npz((const char *[]){ "x.npy", "inner/y.npy", "notes.txt", NULL });
    for (int k = 0; k < 2; k++) {
        cr_assert(ds_npy_matrix(in(k ? "a.npz:inner/y" : "a.npz:x"), &a, &error) == 0, "%s", error.text);
        cr_assert(a.shape[0] == 2 && a.shape[1] == 3 && a.data[5] == 6 && a.integers);
        ds_array_free(&a);
    }
    ds_data *set = ds_load(in("a.npz:x"), NULL, &error);
    cr_assert(set && set->rows == 2 && set->features == 3, "%s", error.text);
    ds_free(set);
    npz_is_refused("a.npz:z", "no array of that name; its arrays are: x, inner/y");
    npz_is_refused("a.npz:notes.txt", "no array of that name");
    npz_is_refused("a.npz", "which array? Name one, as in FILE.npz:NAME; its arrays are: x, inner/y");
    npz((const char *[]){ "x.npy", NULL });
    cr_assert(ds_npy_matrix(in("a.npz"), &a, &error) == 0, "%s", error.text);
    ds_array_free(&a);
    npz_is_refused("a.npz:xx", "no array of that name; its arrays are: x");
}

Test(datasets, damaged_npz)
{
    size_t bytes = 0;
    ad_error error = { 0 };
    npz((const char *[]){ "x.npy", NULL });
    char *file = ad_file_read(in("a.npz"), 1 << 20, &bytes, &error);
    cr_assert(file);
    for (size_t cut = 0; cut < bytes; cut += 7) {
        put("a.npz", file, cut);
        npz_is_refused("a.npz:x", "");
    }
    for (size_t at = 0; at + 28 < bytes; at++) /* more bytes than so few can unfold to, by the central directory */
        if (memcmp(file + at, "PK\1\2", 4) == 0) {
            char before = file[at + 27];
            file[at + 27] = 0x20;
            put("a.npz", file, bytes);
            npz_is_refused("a.npz:x", "");
            file[at + 27] = before;
        }
    for (size_t at = 40; at < 100; at += 5) { /* in the array: its checksum tells */
        file[at] ^= 1;
        put("a.npz", file, bytes);
        npz_is_refused("a.npz:x", "cannot unfold it");
        file[at] ^= 1;
    }
    unlink(in("a.npz"));
    npz_is_refused("a.npz:x", "cannot read");
    ad_free(file);
}

Test(datasets, npy_bad_headers)
{
    static const struct {
        const char *header, *words;
    } cases[] = {
        { "{'descr': '<c16', 'fortran_order': False, 'shape': (2,), }", "complex numbers: save a.real and a.imag" },
        { "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }", "save a.astype('f8')" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "type '|O': Python objects: save" },
        { "{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", "type '<U4': texts: save numbers" },
        { "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,), }", "dates: save numbers: a.astype('i8')" },
        { "{'descr': '|V2', 'fortran_order': False, 'shape': (8,), }", "as of bfloat16: save a.astype('f4')" },
        { "{'descr': '<f3', 'fortran_order': False, 'shape': (2,), }", "type '<f3' is unknown; accepted are" },
        { "{'descr': '', 'fortran_order': False, 'shape': (2,), }", "type '' is unknown" },
        { "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }", "a structured type: save each" },
        { "{'descr': '<f8', 'fortran_order': 0, 'shape': (2,), }", "True or False expected at byte 44" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2), }", "',' expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': 2, }", "'(' expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }", "a size or ')' expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2,,), }", "a size or ')' expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1", "',' expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (", "a size or ')' expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)", "',' or '}' expected" },
        { "{'descr': '<f8', 'fortran_order': False, }", "no 'shape'" },
        { "{'fortran_order': False, 'shape': (2,)}", "no 'descr'" },
        { "{}", "no 'descr'" },
        { "", "'{' expected" },
        { "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "key 'descr' comes twice" },
        { "{'descr': '<f8', 'order': False, 'shape': (2,), }", "key 'order' is unknown" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), } x", "the header's end expected" },
        { "{'descr' '<f8', 'fortran_order': False, 'shape': (2,), }", "':' expected" },
        { "{'descr: 2", "a closing quote expected" },
        { "{'\\x41': 2}", "short string" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 2), }", "more than 8 axes" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
          "the size of axis 0 does not fit" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }",
          "truncated: shape (1099511627776,) of <f8 takes 8796093022208 bytes of data, the file has 16" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 16777216), }",
          "shape (1099511627776, 16777216) is larger than any memory" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2), }",
          "is larger than any memory" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", "truncated: shape (3,) of <f8 takes 24 bytes" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", "8 bytes follow the data" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 5), }", "16 bytes follow the data: shape (0, 5)" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int major = 1; major <= 2; major++) {
            npy(major, cases[i].header, "0123456789abcdef", 16);
            if (major == 1 || !strstr(cases[i].words, "at byte"))
                unreadable(cases[i].words);
        }
}

Test(datasets, npy_bad_files)
{
    const char *header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
    unreadable("cannot read");
    put("a.npy", "", 0);
    unreadable("empty file");
    put("a.npy", "PK\3\4 a zip of arrays", 20);
    unreadable("not an npy file");
    put("a.npy", "\x93NUMP", 5);
    unreadable("not an npy file");
    npy(4, header, "0123456789abcdef", 16);
    unreadable("npy version 4.0");
    put("a.npy", "\x93NUMPY\1\1\0\0", 10);
    unreadable("npy version 1.1");
    put("a.npy", "\x93NUMPY\2\0\xFF\xFF\xFF\xFF{}", 14);
    unreadable("truncated npy header: 4294967295 bytes promised");

    /* Every proper beginning of a good file is an error. */
    size_t bytes = 0;
    char *file = ad_file_read(npy(1, header, "0123456789abcdef", 16), 1000, &bytes, NULL);
    cr_assert(file && bytes == 10 + strlen(header) + 16);
    for (size_t count = 1; count < bytes; count++) {
        put("a.npy", file, count);
        unreadable(count < 6 ? "not an npy" : "truncated");
    }
    ad_free(file);
}

Test(datasets, npy_integers_that_no_double_holds)
{
    const char *header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }";
    ds_array a;
    cr_assert(ds_npy_read(npy(1, header, "\xFF\xFF\xFF\xFF\xFF\xFF\x1F\0\1\0\0\0\0\0\xE0\xFF", 16), &a, NULL) == 0);
    cr_assert(a.data[0] == 9007199254740991.0 && a.data[1] == -9007199254740991.0);
    ds_array_free(&a);
    npy(1, header, "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\x20\0", 16);
    unreadable("element 1 (counted from 0) is about 9.0072e+15: integers must be below 2^53");
    npy(1, header, "\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0", 16);
    unreadable("element 0");
}

Test(datasets, npy_matrix_and_vector)
{
    double m[6] = { 1, 2, 3, 4, 5, 6 };
    static const struct {
        size_t shape[3];
        int rank;
        const char *matrix, *vector; /* what is wrong with it, or NULL */
    } cases[] = {
        { { 2, 3 }, 2, NULL, "shape (2, 3) has 2 axes, a vector (rows,) has 1" },
        { { 6 }, 1, "shape (6,) has 1 axes, a matrix (rows, columns) has 2", NULL },
        { { 0 }, 0, "shape () has 0 axes", "shape () has 0 axes" },
        { { 1, 2, 3 }, 3, "shape (1, 2, 3) has 3 axes", "shape (1, 2, 3) has 3 axes" },
        { { 0, 3 }, 2, "shape (0, 3) is empty", "2 axes" },
        { { 3, 0 }, 2, "shape (3, 0) is empty", "2 axes" },
        { { 0 }, 1, "1 axes", "shape (0,) is empty" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert(ds_npy_write(in("a.npy"), m, cases[i].shape, cases[i].rank, NULL) == 0);
        for (int vector = 0; vector < 2; vector++) {
            ad_error error = { 0 };
            ds_array a;
            const char *words = vector ? cases[i].vector : cases[i].matrix;
            int result = vector ? ds_npy_vector(in("a.npy"), &a, &error) : ds_npy_matrix(in("a.npy"), &a, &error);
            cr_assert(result == (words ? -1 : 0), "%s", error.text);
            if (words) {
                cr_assert(a.data == NULL && a.rank == 0);
                says(&error, in("a.npy"), words);
            } else {
                cr_assert_arr_eq(a.data, m, sizeof m);
                ds_array_free(&a);
            }
        }
    }
}

Test(datasets, npy_samples)
{
    double m[6] = { 1, 2, 3, 4, 5, (double)NAN };
    ds_array a;
    ad_error error = { 0 };
    cr_assert(ds_npy_write(in("a.npy"), m, (size_t[]){ 1, 2, 3 }, 3, &error) == 0);
    cr_assert(ds_npy_samples(in("a.npy"), &a, &error) == -1);
    says(&error, in("a.npy"), "row 0, column 5 (counted from 0) is NaN");
    m[5] = 6;
    for (int rank = 0; rank <= 5; rank++) {
        static const size_t shapes[6][5] = { { 0 }, { 6 }, { 3, 2 }, { 1, 2, 3 }, { 1, 1, 2, 3 }, { 1, 1, 1, 2, 3 } };
        static const char *const words[] = { "a matrix (rows, columns) has 2",
                                             "a matrix (rows, columns) has 2",
                                             NULL,
                                             NULL,
                                             NULL,
                                             "an array of pictures (rows, height, width, channels) has 4" };
        error.text[0] = 0;
        cr_assert(ds_npy_write(in("a.npy"), m, shapes[rank], rank, &error) == 0);
        cr_assert(ds_npy_samples(in("a.npy"), &a, &error) == (words[rank] ? -1 : 0), "%s", error.text);
        if (words[rank]) {
            says(&error, in("a.npy"), words[rank]);
            continue;
        }
        cr_expect(a.rank == rank);
        cr_expect_arr_eq(a.data, m, sizeof m);
        ds_array_free(&a);
    }
    error.text[0] = 0;
    cr_assert(ds_npy_write(in("a.npy"), m, (size_t[]){ 2, 0, 3 }, 3, &error) == 0);
    cr_assert(ds_npy_samples(in("a.npy"), &a, &error) == -1);
    says(&error, in("a.npy"), "shape (2, 0, 3) is empty");
}

Test(datasets, npy_not_finite)
{
    double m[6] = { 1, 2, 3, 4, (double)NAN, -(double)INFINITY };
    ds_array a;
    ad_error error = { 0 };
    cr_assert(ds_npy_write(in("a.npy"), m, (size_t[]){ 2, 3 }, 2, &error) == 0);
    cr_assert(ds_npy_read(in("a.npy"), &a, &error) == 0 && isnan(a.data[4]));
    ds_array_free(&a);
    cr_assert(ds_npy_matrix(in("a.npy"), &a, &error) == -1);
    says(&error, in("a.npy"), "row 1, column 1 (counted from 0) is NaN");
    m[4] = 0;
    error.text[0] = 0;
    cr_assert(ds_npy_write(in("a.npy"), m, (size_t[]){ 6 }, 1, &error) == 0);
    cr_assert(ds_npy_vector(in("a.npy"), &a, &error) == -1);
    says(&error, in("a.npy"), "row 5, column 0 (counted from 0) is infinite");
}

/* The very bytes that np.save writes for np.array([[1.0, -2.5]]). */
Test(datasets, npy_bytes_are_those_of_numpy)
{
    static const char header[] = "\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }";
    char wanted[144];
    memset(wanted, ' ', 128);
    memcpy(wanted, header, sizeof header - 1);
    wanted[127] = '\n';
    memcpy(wanted + 128, "\0\0\0\0\0\0\xF0\x3F\0\0\0\0\0\0\x04\xC0", 16);
    cr_assert(ds_npy_write(in("a.npy"), (double[]){ 1, -2.5 }, (size_t[]){ 1, 2 }, 2, NULL) == 0);
    size_t bytes = 0;
    char *file = ad_file_read(in("a.npy"), 1000, &bytes, NULL);
    cr_assert(file && bytes == sizeof wanted);
    cr_assert_arr_eq(file, wanted, sizeof wanted);
    ad_free(file);
}

Test(datasets, npy_round_trip_is_exact)
{
    /* Bit patterns of all kinds (a NaN's payload, subnormals, signed zeros): an xorshift over several blocks. */
    enum { COUNT = 3 * 1024 + 5 };
    double *data = calloc(COUNT, sizeof *data);
    cr_assert(data != NULL);
    uint64_t state = 88172645463325252u;
    const uint64_t special[] = { 0x8000000000000000u, 0x7FF8000000000123u, 1, 0xFFF0000000000000u };
    for (size_t i = 0; i < COUNT; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(&data[i], i < 4 ? &special[i] : &state, sizeof state);
    }
    static const struct {
        size_t shape[8], count;
        int rank;
    } cases[] = {
        { { 0 }, 1, 0 },          { { COUNT }, COUNT, 1 },    { { 17, 181 }, COUNT, 2 },
        { { 0, 4 }, 0, 2 },       { { 2, 3, 4, 5 }, 120, 4 }, { { 1, 2, 1, 2, 1, 2, 1, 2 }, 16, 8 },
        { { 1024, 2 }, 2048, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ad_error error = { 0 };
        ds_array a;
        cr_assert(ds_npy_write(in("a.npy"), data, cases[i].shape, cases[i].rank, &error) == 0, "%s", error.text);
        cr_assert(ds_npy_read(in("a.npy"), &a, &error) == 0, "%s", error.text);
        cr_assert(a.rank == cases[i].rank && memcmp(a.shape, cases[i].shape, sizeof a.shape) == 0);
        cr_assert(memcmp(a.data, data, cases[i].count * sizeof *data) == 0);
        struct stat status;
        cr_assert(stat(in("a.npy"), &status) == 0);
        cr_assert(((size_t)status.st_size - cases[i].count * 8) % 64 == 0);
        ds_array_free(&a);
    }
    cr_assert(files(false) == 1);
    free(data);
}

Test(datasets, npy_write_refuses)
{
    ad_error error = { 0 };
    size_t shape[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    cr_assert(ds_npy_write(in("a.npy"), (double[]){ 1 }, shape, 9, &error) == -1);
    says(&error, in("a.npy"), "9 axes");
    error.text[0] = 0;
    cr_assert(ds_npy_write(in("a.npy"), (double[]){ 1 }, shape, -1, &error) == -1);
    error.text[0] = 0;
    cr_assert(ds_npy_write(in("a.npy"), NULL, (size_t[]){ SIZE_MAX, 2 }, 2, &error) == -1);
    says(&error, in("a.npy"), "larger than any memory");
    error.text[0] = 0;
    cr_assert(ds_npy_write(in("none/a.npy"), (double[]){ 1 }, shape, 1, &error) == -1);
    says(&error, in("none/a.npy"), "cannot write");
    cr_assert(files(false) == 0);
}

Test(datasets, npy_failed_write_leaves_the_old_file)
{
    enum { COUNT = 2500 }; /* three blocks */
    double *data = calloc(COUNT, sizeof *data);
    cr_assert(data != NULL);
    for (long k = 1;; k++) {
        ad_error error = { 0 };
        put("a.npy", "old", 3);
        ad_hook_write(k);
        int result = ds_npy_write(in("a.npy"), data, (size_t[]){ COUNT }, 1, &error);
        ad_hook_write(0);
        cr_assert(files(false) == 1);
        if (result == 0) {
            cr_assert(k > 4);
            break;
        }
        says(&error, in("a.npy"), "cannot write");
        size_t bytes = 0;
        char *file = ad_file_read(in("a.npy"), 1 << 20, &bytes, NULL);
        cr_assert(file && bytes == 3);
        cr_assert_str_eq(file, "old");
        ad_free(file);
    }
    free(data);
}

Test(datasets, npy_no_memory_is_an_error_everywhere)
{
    double m[4] = { 1, 2, 3, 4 };
    for (long k = 1, done = 0; !done; k++) {
        ad_error error = { 0 };
        ds_array a = { 0 };
        ad_hook_allocation(k);
        int result = ds_npy_write(in("a.npy"), m, (size_t[]){ 2, 2 }, 2, &error);
        if (result == 0)
            result = ds_npy_matrix(in("a.npy"), &a, &error);
        ad_hook_allocation(0);
        cr_assert((result == 0) == !error.text[0]);
        cr_assert(result == 0 || (!a.data && strstr(error.text, "out of memory")), "%s", error.text);
        done = result == 0;
        cr_assert(!done || k == 5);
        ds_array_free(&a);
    }
}
