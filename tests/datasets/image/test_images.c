/* test_images.c: folders of images of every kind, written by stb_image_write or by hand, and every way one is bad. */
#include "datasets/datasets.h"

#include <criterion/criterion.h>
#include <stb/stb_image_write.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *in(const char *file)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-images-XXXXXX");
    cr_assert(mkdtemp(folder) && !mkdir(in("cat"), 0700) && !mkdir(in("ant"), 0700));
}

static void leave(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert(system(command) == 0);
}

TestSuite(images, .init = enter, .fini = leave);

static void put(const char *file, const void *bytes, size_t count)
{
    FILE *stream = fopen(in(file), "wb");
    cr_assert(stream && fwrite(bytes, 1, count, stream) == count && fclose(stream) == 0);
}

static ds_data *loads(const ds_options *options)
{
    ad_error error = { 0 };
    ds_data *data = ds_load(folder, options, &error);
    cr_assert(data, "%s", error.text);
    cr_assert(!error.text[0]);
    return data;
}

static void refuses(const ds_options *options, const char *named, const char *words)
{
    ad_error error = { 0 };
    ds_data *data = ds_load(folder, options, &error);
    cr_assert(!data, "accepted, '%s' expected", words);
    cr_assert(strstr(error.text, named) && strstr(error.text, words), "'%s' and '%s' wanted, got '%s'", named, words,
              error.text);
    cr_assert(!strchr(error.text, '\n'));
}

static const ds_options unit = { .scaling = DS_UNIT };

/* ---- the kinds --------------------------------------------------------------------------------------------------- */

enum { HEIGHT = 8, WIDTH = 8, PIXELS = HEIGHT * WIDTH };

/* Smooth, so that JPEG comes near it: colours or grey. */
static void picture(unsigned char *pixels, int channels)
{
    for (int i = 0; i < PIXELS; i++)
        for (int c = 0; c < channels; c++)
            pixels[i * channels + c] = (unsigned char)(100 + 10 * c + 8 * (i / WIDTH) + 5 * (i % WIDTH));
}

/* A GIF of 2 x 2 pixels of the colours 0, 1, 1, 0 of a palette (10, 20, 30), (200, 100, 50): LZW codes of 3 bits, clear
 * (4), 0, 1, 1, 0, end (5), the last two of 4 bits since the table has grown to 8. */
static const unsigned char gif[] = {
    'G', 'I',  'F', '8', '9', 'a', 2, 0, 2, 0, 0x80, 0, 0, 10,   20,   30,   200, 100,
    50,  0x2C, 0,   0,   0,   0,   2, 0, 2, 0, 0,    2, 3, 0x44, 0x02, 0x05, 0,   0x3B
};

typedef enum { PNG, JPEG, BMP, TGA, PNM, KINDS } kind;

/* Writes the picture. */
static void write_picture(kind k, const char *file, int channels)
{
    unsigned char pixels[3 * PIXELS];
    picture(pixels, channels);
    const char *path = in(file);
    int done = 1;
    switch (k) {
    case PNG:
        done = stbi_write_png(path, WIDTH, HEIGHT, channels, pixels, WIDTH * channels);
        break;
    case JPEG:
        done = stbi_write_jpg(path, WIDTH, HEIGHT, channels, pixels, 100);
        break;
    case BMP:
        done = stbi_write_bmp(path, WIDTH, HEIGHT, channels, pixels);
        break;
    case TGA:
        done = stbi_write_tga(path, WIDTH, HEIGHT, channels, pixels);
        break;
    default: {
        unsigned char bytes[16 + 3 * PIXELS];
        int head = snprintf((char *)bytes, 16, "P%d\n8 8\n255\n", channels == 3 ? 6 : 5);
        memcpy(bytes + head, pixels, (size_t)(PIXELS * channels));
        put(file, bytes, (size_t)head + (size_t)(PIXELS * channels));
    }
    }
    cr_assert(done);
}

static const char *const names[] = { "cat/a.png", "cat/b.jpeg", "cat/c.bmp", "cat/d.tga", "cat/e.pnm" };

Test(images, every_kind)
{
    for (kind k = 0; k < KINDS; k++)
        for (int channels = 1; channels <= 3; channels += 2) {
            write_picture(k, names[k], channels);
            write_picture(PNG, "ant/x.png", channels);
            unsigned char pixels[3 * PIXELS];
            picture(pixels, channels);
            ds_data *data = loads(&unit);
            /* stb writes a BMP of colours, and JPEG with three components, whatever it is given. */
            size_t read = channels == 3 || k == BMP || k == JPEG ? 3 : 1;
            cr_assert(data->rows == 2 && data->classes == 2 && data->channels == read, "kind %d, %zu channels", k,
                      data->channels);
            cr_assert(data->height == HEIGHT && data->width == WIDTH * read && data->features == PIXELS * read);
            cr_assert_str_eq(data->class_names[0], "ant");
            cr_assert_str_eq(data->class_names[1], "cat");
            cr_assert(data->y[0] + data->y[1] == 1);
            double most = k == JPEG ? 3 : 1e-9; /* of 255: at quality 100 the cosine and colour transforms' rounding */
            for (size_t r = 0; r < 2; r++)
                for (size_t i = 0; i < data->features; i++) {
                    int truth = pixels[channels == 3 ? i : i / read];
                    cr_assert_float_eq(255 * data->x[r * data->features + i], truth, most, "kind %d, pixel %zu", k, i);
                }
            ds_free(data);
            unlink(in(names[k]));
        }
}

Test(images, gif)
{
    put("cat/a.gif", gif, sizeof gif);
    put("ant/a.gif", gif, sizeof gif);
    static const double truth[] = { 10, 20, 30, 200, 100, 50, 200, 100, 50, 10, 20, 30 };
    ds_data *data = loads(&unit);
    cr_assert(data->features == 12 && data->height == 2 && data->width == 6);
    for (int i = 0; i < 24; i++)
        cr_assert(data->x[i] == truth[i % 12] / 255);
    ds_free(data);
}

Test(images, grey_and_resized)
{
    unsigned char flat[20 * 12 * 3];
    for (size_t i = 0; i < sizeof flat; i++)
        flat[i] = (unsigned char[]){ 200, 100, 50 }[i % 3];
    cr_assert(stbi_write_png(in("ant/a.png"), 20, 12, 3, flat, 60) &&
              stbi_write_png(in("cat/a.png"), 12, 20, 3, flat, 36));
    refuses(&unit, "cat/a.png", "12 x 20 pixels, but");
    ds_data *data = loads(&(ds_options){ .scaling = DS_UNIT, .grey = true, .resize_height = 5, .resize_width = 7 });
    cr_assert(data->height == 5 && data->width == 7 && data->features == 35 && data->channels == 1);
    for (int i = 0; i < 70; i++) /* one colour stays one colour */
        cr_assert(data->x[i] == ((77 * 200 + 150 * 100 + 29 * 50) >> 8) / 255.0);
    ds_free(data);

    /* The resized picture keeps its rows and columns: a slope of 8 a row and 5 a column, at half the size twice
     * that. */
    write_picture(PNG, "ant/a.png", 1);
    write_picture(PNG, "cat/a.png", 1);
    data = loads(&(ds_options){ .scaling = DS_UNIT, .resize_height = 4, .resize_width = 4 });
    double down = 255 * (data->x[9] - data->x[5]), right = 255 * (data->x[6] - data->x[5]);
    cr_assert_float_eq(down, 16, 1.01);
    cr_assert_float_eq(right, 10, 1.01);
    ds_free(data);
    refuses(&(ds_options){ .resize_height = 4 }, "0 x 4", "sides are from 1 to 4096");
    refuses(&(ds_options){ .resize_height = 4, .resize_width = 5000 }, "5000 x 4", "sides are from 1 to 4096");

    ad_error error = { 0 };
    data = ds_load("digits", &(ds_options){ .scaling = DS_UNIT, .resize_height = 4, .resize_width = 4 }, &error);
    cr_assert(data && data->features == 16 && data->rows == 1797 && data->train == 1437, "%s", error.text);
    ds_free(data);
}

Test(images, folders_train_and_test)
{
    cr_assert(rmdir(in("cat")) == 0 && rmdir(in("ant")) == 0);
    static const char *const folders[] = { "train", "train/ant", "train/cat", "train/.hidden", "test", "test/cat" };
    for (int i = 0; i < 6; i++)
        cr_assert(mkdir(in(folders[i]), 0700) == 0);
    put("test/.note", "x", 1);
    write_picture(PNG, "train/ant/a.png", 1);
    write_picture(PNG, "train/cat/a.png", 1);
    write_picture(PNG, "train/cat/b.png", 1);
    write_picture(PNM, "test/cat/a.png", 1);
    ds_data *data = loads(&unit);
    cr_assert(data->rows == 4 && data->train == 3 && data->classes == 2);
    cr_assert(data->y[0] == 0 && data->y[1] == 1 && data->y[2] == 1 && data->y[3] == 1);
    ds_free(data);
    cr_assert(mkdir(in("test/dog"), 0700) == 0);
    refuses(&unit, "test/dog", "a class that the training part has not");
}

/* Parts under their other names: validation is the test part where there is none, and else it is not used. */
Test(images, parts_by_their_names)
{
    static const char *const parts[] = { "Training", "valid", "testing" };
    cr_assert(rmdir(in("cat")) == 0 && rmdir(in("ant")) == 0);
    for (int i = 0; i < 3; i++) {
        char name[64];
        cr_assert(mkdir(in(parts[i]), 0700) == 0);
        for (int c = 0; c < 2; c++) {
            snprintf(name, sizeof name, "%s/%s", parts[i], c ? "dog" : "ant");
            cr_assert(mkdir(in(name), 0700) == 0);
            for (int k = 0; k <= i; k++) {
                snprintf(name, sizeof name, "%s/%s/%d.png", parts[i], c ? "dog" : "ant", k);
                write_picture(PNG, name, 1);
            }
        }
        ds_data *data = loads(&unit);
        static const size_t rows[] = { 2, 2 + 4, 2 + 6 };
        static const char *const notes[] = { "", "valid is the test part", "valid is not used: test is the test part" };
        cr_assert(data->rows == rows[i] && data->train == (i ? 2 : 1) && data->classes == 2);
        cr_assert_str_eq(data->note, notes[i]);
        ds_free(data);
    }
    char command[160];
    snprintf(command, sizeof command, "rm -r %s/Training", folder);
    cr_assert(system(command) == 0);
    refuses(&unit, folder, "and none named train");
}

Test(images, files_beside_images)
{
    write_picture(PNG, "ant/a.png", 1);
    write_picture(PNG, "cat/a.png", 1);
    static const char *const beside[] = { "README.md", "ant/Thumbs.db", "cat/notes.txt", "cat/labels.CSV", "LICENSE" };
    for (int i = 0; i < 5; i++) {
        put(beside[i], "x", 1);
        ds_data *data = loads(&unit);
        cr_assert(data->rows == 2 && data->classes == 2);
        cr_assert(
            strstr(data->note, i ? "files are no image, left out (" : "1 file is no image, left out (README.md)"));
        ds_free(data);
    }
    cr_assert(mkdir(in("__MACOSX"), 0700) == 0);
    ds_free(loads(&unit));
    write_picture(PNG, "cat/data.json", 1); /* what a file's name says counts */
    ds_data *data = loads(&unit);
    cr_assert(data->rows == 2);
    ds_free(data);
}

/* ---- bad folders ------------------------------------------------------------------------------------------------- */

Test(images, bad_folders)
{
    refuses(&unit, "/ant", "no images in this class");
    write_picture(PNG, "ant/a.png", 1);
    refuses(&unit, "/cat", "no images in this class");
    write_picture(PNG, "cat/a.png", 1);
    ds_free(loads(&unit));

    put("cat/notes.dat", "hello", 5);
    refuses(&unit, "cat/notes.dat", "not an image (5 bytes)");
    put("cat/notes.dat", "", 0);
    refuses(&unit, "cat/notes.dat", "not an image (0 bytes)");
    unlink(in("cat/notes.dat"));
    put("notes.dat", "hello", 5);
    refuses(&unit, "notes.dat", "a file beside the folders of classes");
    unlink(in("notes.dat"));
    mkdir(in("cat/more"), 0700);
    refuses(&unit, "cat/more", "a folder among the images");
    rmdir(in("cat/more"));
    cr_assert(symlink("loop", in("cat/loop")) == 0);
    refuses(&unit, "cat/loop", "cannot read: Too many levels of symbolic links");
    unlink(in("cat/loop"));
    cr_assert(symlink("..", in("cat/up")) == 0);
    refuses(&unit, "cat/up", "a folder among the images");
    unlink(in("cat/up"));
    cr_assert(symlink("nowhere", in("cat/gone")) == 0);
    refuses(&unit, "cat/gone", "cannot read: No such file");
    unlink(in("cat/gone"));
    cr_assert(mkfifo(in("cat/pipe"), 0600) == 0);
    refuses(&unit, "cat/pipe", "neither a file nor a folder");
    unlink(in("cat/pipe"));
    ds_free(loads(&unit));

    unlink(in("cat/a.png"));
    rmdir(in("cat"));
    refuses(&unit, folder, "one class only, ant");
    unlink(in("ant/a.png"));
    rmdir(in("ant"));
    refuses(&unit, folder, "no images: the folder is empty");
}

/* Each kind cut to every length, and with every byte changed: an error that names the file, or an image. */
Test(images, every_truncation_and_every_changed_byte)
{
    for (kind k = 0; k <= KINDS; k++) {
        const char *name = k < KINDS ? names[k] : "cat/f.gif";
        if (k < KINDS)
            write_picture(k, name, 1);
        else
            put(name, gif, sizeof gif);
        ad_error error = { 0 };
        size_t bytes = 0;
        char *file = ad_file_read(in(name), 4096, &bytes, &error);
        cr_assert(file, "%s", error.text);
        put("ant/x.tga", file, bytes);
        ds_free(loads(&unit));
        /* A GIF's last byte and a BMP's padding are not needed: what counts is that no pixel is made up. */
        size_t needed = k == KINDS ? bytes - 1 : bytes;
        for (size_t cut = 0; cut < needed; cut++) {
            put(name, file, cut);
            refuses(&unit, name, "");
        }
        for (size_t i = 0; i < bytes; i++) {
            file[i] ^= 0x10;
            put(name, file, bytes);
            error.text[0] = 0;
            ds_data *data = ds_load(folder, &unit, &error);
            cr_assert(data || strstr(error.text, name), "kind %d, byte %zu: %s", k, i, error.text);
            ds_free(data);
            file[i] ^= 0x10;
        }
        ad_free(file);
        unlink(in(name));
    }
}

/* A sample is the same grey at 15, 255, 1000 and 65535 greys. */
Test(images, pnm_of_any_number_of_greys)
{
    static const unsigned maxima[] = { 1, 15, 255, 1000, 65535 };
    static const unsigned thirds[] = { 0, 1, 2, 3, 3, 1 }; /* of the largest value, two colours or six greys */
    for (int k = 0; k < 10; k++) {
        unsigned char file[64];
        unsigned most = maxima[k / 2], colours = k % 2 ? 3 : 1;
        size_t n = (size_t)snprintf((char *)file, sizeof file, "P%u\n# a comment\n%u 1\n%u\n", colours > 1 ? 6u : 5u,
                                    6 / colours, most);
        for (int i = 0; i < 6; i++) {
            unsigned value = most == 1 ? thirds[i] / 2 : (most * thirds[i] + 1) / 3;
            if (most > 255)
                file[n++] = (unsigned char)(value >> 8);
            file[n++] = (unsigned char)(value & 255);
        }
        put("cat/a.pnm", file, n);
        put("ant/a.pnm", file, n);
        ds_data *data = loads(&unit);
        cr_assert(data->rows == 2 && data->features == 6);
        for (int i = 0; i < 6; i++) {
            double value = most == 1 ? thirds[i] / 2 : (most * thirds[i] + 1) / 3;
            cr_expect_float_eq(data->x[i], value / most, 0.5 / 255 + 1e-12, "%u: %g", most, data->x[i]);
        }
        ds_free(data);
    }
    put("cat/a.pnm", "P5 4 1 50\n0123", 14);
    put("ant/a.pnm", "P5 4 1 50\n0143", 14);
    refuses(&unit, "ant/a.pnm", "a value of 52, of at most 50, at byte 12");
    put("ant/a.pnm", "P5 4 1 65535\n0123456", 20);
    refuses(&unit, "ant/a.pnm", "truncated PNM of 4 x 1 pixels");
}

/* Headers that promise up to 2^62 pixels; nothing of the kind is allocated. */
Test(images, hostile_headers)
{
    static const struct {
        const char *file, *bytes;
        size_t count;
        const char *words;
    } cases[] = {
        { "cat/a.pnm", "P5 1048576 1048576 255\n0", 24, "a number above 65536 at byte" },
        { "cat/b.pnm", "P5 60000 60000 255\n0", 20, "an image of 60000 x 60000 pixels in 20 bytes" },
        { "cat/c.pnm", "P5 4 21474836470 255\n0", 22, "a number above 65536 at byte" },
        { "cat/d.pnm", "P5 4 1 0\n0123", 13, "a PNM whose largest value is 0" },
        { "cat/d.pnm", "P5 4 1", 6, "truncated PNM header: no number at byte 6" },
        { "cat/d.pnm", "P5 4 x", 6, "corrupt PNM header: no number at byte 5" },
        { "cat/e.pnm", "P6 0 0 255\n", 11, "an image of 0 x 0 pixels" },
        { "cat/f.gif", "GIF89a\xFF\xFF\xFF\xFF\0\0\0,", 14, "an image of 65535 x 65535 pixels in 14 bytes" },
        { "cat/g.tga", "\0\0\2\0\0\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\x18\0", 18, "an image of 65535 x 65535 pixels" },
        { "cat/h.bmp",
          "BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\xFF\xFF\xFF\x7F\xFF\xFF\xFF\x7F\1\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
          "\0\0"
          "\0\0\0\0\0\0\0\0",
          54, "" },
        { "cat/i.jpg", "\xFF\xD8\xFF\xC0\0\x0B\10\xFF\xFF\xFF\xFF\1\1\x11\0\xFF\xDA\0\10\1\1\0\0\x3F\0", 25,
          "an image of 65535 x 65535 pixels" },
        { "cat/j.jpg", "\xFF\xD8\xFF\xC4\x03\x13\0\xFF\xFF\xFF\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 28,
          "a Huffman table of more than 256 codes at byte 2" },
        { "cat/j.jpg",
          "\xFF\xD8\xFF\xE1\0\x22"
          "Exif\0\0"
          "MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
          38, "to be turned or mirrored, by orientation 6: save it upright" },
        { "cat/j.jpg",
          "\xFF\xD8\xFF\xE1\0\x22"
          "Exif\0\0"
          "II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0\0\0\0\0\0\0",
          38, "to be turned or mirrored, by orientation 3: save it upright" },
        { "cat/j.jpg",
          "\xFF\xD8\xFF\xE1\0\x22"
          "Exif\0\0"
          "II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\1\0\0\0\0\0\0\0",
          38, "JPEG header" },
        { "cat/h.bmp",
          "BM\0\0\0\0\0\0\0\0\x36\4\0\0\x28\0\0\0\4\0\0\0\4\0\0\0\1\0\10\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
          "\0\0"
          "\0\0\0\0\0\0\0\0",
          54, "a BMP of run lengths, which is not read" },
        { "cat/k.png", "\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\x10\0\0\0\x10\0\0\10\2\0\0\0\xCC\x55\x6E\x8D", 33, "PNG" },
    };
    write_picture(PNG, "ant/a.png", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(cases[i].file, cases[i].bytes, cases[i].count);
        refuses(&unit, cases[i].file, cases[i].words);
        unlink(in(cases[i].file));
    }
}

Test(images, failed_allocations_and_reads)
{
    write_picture(PNG, "ant/a.png", 3);
    write_picture(JPEG, "cat/a.jpg", 3);
    put("cat/a.gif", gif, sizeof gif);
    ds_options options = { .grey = true, .resize_height = 3, .resize_width = 3 };
    for (int way = 0; way < 2; way++)
        for (long k = 1;; k++) {
            ad_error error = { 0 };
            (way ? ad_hook_read : ad_hook_allocation)(k);
            ds_data *data = ds_load(folder, &options, &error);
            (way ? ad_hook_read : ad_hook_allocation)(0);
            cr_assert(!data == !!error.text[0]);
            if (data) {
                cr_assert(k > (way ? 6 : 40), "only %ld of way %d", k - 1, way);
                ds_free(data);
                break;
            }
            cr_assert(strstr(error.text, way ? "cannot read" : "memory"), "%ld: %s", k, error.text);
        }
}
