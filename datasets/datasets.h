/* datasets.h: real data in, NumPy arrays in and out.
 *
 *     ad_error error = { 0 };
 *     ds_data *digits = ds_load("digits", NULL, &error);            // x (1797, 64), standardized; y (1797), 0..9
 *     if (!digits)
 *         return fprintf(stderr, "%s\n", error.text), 1;
 *     ds_data train = ds_split(digits, 0, digits->train);           // views: they own nothing
 *     ds_data test = ds_split(digits, digits->train, SIZE_MAX);
 *     size_t shape[2] = { test.rows, test.features };
 *     int failed = ds_npy_write("test.npy", test.x, shape, 2, &error);
 *     ds_free(digits);
 *
 * Errors and memory are those of autodiff/base.h: -1 or NULL with one line of text, nothing prints.
 *
 * Threads. Every function may be called from any thread, several at once, each with an error of its own. A set or an
 * array that is made is only read: threads may share it and its views until it is freed. */
#ifndef LIMN_DATASETS_DATASETS_H
#define LIMN_DATASETS_DATASETS_H
#include "../autodiff/base.h"

LIMN_API_BEGIN

/* What is done to x. The statistics come from the training rows only and are applied to all rows. */
typedef enum {
    DS_STANDARD,  /* one mean and one deviation over all features: the mean of x is 0, the mean of x^2 is 1 */
    DS_UNIT,      /* x as it was read: pixels are 0..1 */
    DS_PIXELWISE, /* each feature its own mean and deviation; one that is constant in the training rows becomes 0 */
    DS_SPHERE,    /* each row x scaled to |x|^2 = features; a row of zeros stays */
} ds_scaling;

/* What the labels of an .npy file are. Whatever the rule, more than one column is targets. */
typedef enum {
    DS_LABELS_BY_TYPE,  /* integers and booleans are classes, (rows) or (rows, 1); floats are targets */
    DS_LABELS_BY_VALUE, /* so are floats (rows) that are all whole numbers */
    DS_LABELS_CLASSES,  /* all must be classes, as a loss of cross-entropy needs them: anything else is an error */
} ds_label_rule;

/* NULL in place of options means { 0 }: as the files are, split by them or 80 to 20, standardized. */
typedef struct {
    ds_scaling scaling;
    size_t train;  /* the number of leading rows that are the training part; 0: what the files or `test` say */
    double test;   /* the fraction of rows that are the test part, above 0 and below 1; 0: as the files have it, or
                    * 0.2. If it is given or taken, the rows are shuffled by `seed` first. */
    uint64_t seed; /* of the shuffle: the same seed and files give the same rows */
    size_t resize_height, resize_width; /* the size that images get; both 0: their own */
    bool grey;                          /* colours become (77 red + 150 green + 29 blue) / 256 */
    bool transpose;                     /* pictures of IDX files, as EMNIST needs it: rows become columns */
    /* Of a table: "last" (which NULL means), "first", "none", a number from 1 on, or a name in the header. */
    const char *label_column;
    const char *labels;       /* the labels' file of a single IDX or .npy file; NULL: an IDX file's neighbour */
    ds_label_rule label_rule; /* of an .npy file of labels */
} ds_options;

typedef struct {
    double *x; /* (rows, features) */
    double *y; /* (rows) class index 0..classes-1, or (rows, targets) regression targets; NULL: unlabelled */
    size_t rows, features; /* both at least 1 */
    /* Of a sequence, time and features, a picture being a sequence of its lines of `width` numbers (pixels x channels):
     * height * width = features; else 0. */
    size_t height, width;
    size_t channels;    /* of a picture, interleaved: 1 grey, 3 red, green and blue; of an array, its own; else 0 */
    size_t classes;     /* 0: regression */
    size_t targets;     /* columns of y; 1 if y is a class index */
    size_t train;       /* the leading rows that are the training part */
    char **class_names; /* (classes), NULL if the classes are named by their number; freed with the set */
    char name[64];
    /* What the files left open and how it was taken, as "column 1 is an index, left out; ...": a line to be shown,
     * printable, cut with "..." where it is too long; empty if nothing was left open. */
    char note[400];
} ds_data;

/* A data set by name: "mnist" (10,000 of 28 x 28, 8,000 to train) or "digits" (1,797 of 8 x 8, 1,437 to train); else by
 * the path of its files. What a path is shows in what is there:
 *
 *     a folder with MNIST's file names   IDX: train-images-idx3-ubyte and train-labels-idx1-ubyte; t10k-images-... or
 *                                        test-images-... and its labels are the test part. EMNIST and QMNIST, too
 *     a folder with CIFAR's              data_batch_*.bin to train, test_batch.bin to test; of CIFAR-100, whose fine
 *                                        labels are the classes, train.bin and test.bin
 *     any other folder                   a folder of images a class, in the order of their names, or folders train,
 *                                        validation and test of such folders: PNG, JPEG, BMP, GIF (its first
 *                                        picture), PNM, TGA
 *     a file                             .npy: (rows, features), (rows, time, features) or pictures (rows, height,
 *                                        width, channels); IDX; CIFAR (*.bin); ARFF; else a table of text
 *
 * All but images may be gzipped. Pixels become 0..1 before the scaling; an alpha channel is dropped. Labels of an .npy
 * file are what ds_label_rule says. A table's label is a class if the first one is a word, or if all are whole numbers
 * written without a point; else it is a target. ARFF's is a class if it has a list of values. What the files leave open
 * is told in the set's note.
 *
 * A file that is cut short, longer than it says, or wrong in any row is refused whole, and so are missing values, what
 * could be read in two ways, and what would unfold to more than the limits in datasets/README.md: the error names the
 * file, the row, line or byte, and what to do. */
ds_data *ds_load(const char *name, const ds_options *options, ad_error *error);

/* The path of a file in the data folder: $LIMN_DATA if it is set, else the source tree's or the installed folder,
 * whichever has the file first. Fails when none has it, or when `size` bytes are too few for the path. */
int ds_find(const char *file, char *path, size_t size, ad_error *error);

/* Images of digits: an 8-bit grey PNG of square tiles, `tile` pixels wide, read row by row from the top left, and a
 * text file with one digit a tile in the same order, then one newline. Empty (black) tiles come after the last label
 * and nowhere else. The set has one class more than the highest label. */
ds_data *ds_sheet(const char *png, const char *labels, size_t tile, const ds_options *options, ad_error *error);

/* Scales x in place and sets data->train; `data` is as it was after a failure. */
int ds_scale(ds_data *data, const ds_options *options, ad_error *error);

/* Brings the first `rows` rows, as many as there are at most, into an order that is a function of the seed. */
void ds_shuffle(ds_data *data, size_t rows, uint64_t seed);

/* The rows first, first + 1, ... as a view into data's own x and y, cut off at the last row: never free it, and not
 * use it after ds_free(data). */
ds_data ds_split(const ds_data *data, size_t first, size_t count);

/* Frees x, y and data itself, all of ad_alloc. NULL is fine. */
void ds_free(ds_data *data);

#define DS_RANK 8

/* An array, row-major. Rank 0 is a single number. */
typedef struct {
    double *data;          /* owned; NULL after a failure */
    size_t shape[DS_RANK]; /* 0 from `rank` on */
    int rank;
    bool integers; /* the file's elements were integers or booleans */
} ds_array;

/* Reads a .npy file, version 1.0, 2.0 or 3.0, in C or Fortran order, of booleans, integers of 8 to 64 bits or floats of
 * 16, 32 or 64 bits, their bytes in either order. Integers that a double cannot hold exactly are refused; so is every
 * other type, with what to save in its place. ds_array_free frees the result. A path "FILE.npz:NAME" is an array of a
 * .npz file, and "FILE.npz" is its only one. The functions below take such paths, too. */
int ds_npy_read(const char *path, ds_array *out, ad_error *error);

/* The same, and the array must be (rows, columns), or (rows), of positive sizes, with finite elements only. */
int ds_npy_matrix(const char *path, ds_array *out, ad_error *error);
int ds_npy_vector(const char *path, ds_array *out, ad_error *error);
/* The same, and the array is (rows, features), (rows, time, features), or pictures (rows, height, width, channels),
 * each a sequence of `height` lines of width * channels numbers. Channels before the height are refused. */
int ds_npy_samples(const char *path, ds_array *out, ad_error *error);
/* These samples as they are, all of them to train, with labels from a second file: (rows) or (rows, 1) of classes, or
 * (rows, targets), as the rule says; NULL: unlabelled. ds_free frees the set. */
ds_data *ds_npy_set(const char *inputs, const char *labels, ds_label_rule rule, ad_error *error);

/* Writes a .npy file, version 1.0, <f8; after a failure the file is what it was before. 0 <= rank <= DS_RANK. */
int ds_npy_write(const char *path, const double *data, const size_t *shape, int rank, ad_error *error);

/* A .npy file of doubles, or of floats, that is mapped into memory, to be filled over several runs of a program: until
 * ds_npy_map_finish it is PATH.partial (of a link: beside what it leads to), which no reader takes for a .npy file, and
 * has `notes` bytes of the caller's behind the numbers. One that is there is taken up if its stamp (any number that
 * tells what the file is to be), shape and type are the same; else it is an error, and so is one that another process
 * fills. All of its space on the disk is taken at once. Not for several threads. */
typedef struct ds_npy_map ds_npy_map;
ds_npy_map *ds_npy_map_open(const char *path, const size_t *shape, int rank, bool single, size_t notes, uint64_t stamp,
                            ad_error *error);
void *ds_npy_map_numbers(const ds_npy_map *map);
void *ds_npy_map_notes(const ds_npy_map *map); /* aligned to 64 bytes; 0 in a new file */
/* The file is whole: PATH, in place of what was there. Frees the map, also after an error, which leaves the partial
 * file. */
int ds_npy_map_finish(ds_npy_map *map, ad_error *error);
/* Frees the map; keep: the partial file stays, for another run; else it goes. NULL: nothing. */
void ds_npy_map_close(ds_npy_map *map, bool keep);

/* Arrays as members of a .npz file, NumPy's zip file of .npy files: "name" becomes name.npy. Not compressed; equal
 * arrays make equal bytes. After a failure the file is what it was before. */
typedef struct {
    const char *name;
    const double *data;
    size_t shape[DS_RANK];
    int rank;
} ds_member;
int ds_npz_write(const char *path, const ds_member *members, size_t n, ad_error *error);

void ds_array_free(ds_array *array);

LIMN_API_END
#endif
