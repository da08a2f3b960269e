/* load.c: a data set by name or path. One row a format: how it is known, who reads it, and which options it has. */
#include "datasets/formats/formats.h"
#include "datasets/set/set.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

typedef enum { BY_NAME, FOLDER, A_FILE } path_form;
/* What options a format takes beyond scaling and split. */
enum { LABELS = 1, LABEL_COLUMN = 2, IMAGES = 4, TRANSPOSE = 8 };

typedef struct {
    const char *name; /* in messages */
    path_form form;
    ds_sniffer *knows; /* NULL: all that no row above has */
    ds_loader *load;
    int takes;
} ds_format;

/* In the order in which they are asked: the first that knows a path reads it. */
static const ds_format formats[] = {
    { "a sheet of tiles", BY_NAME, ds_sheet_named, ds_load_sheet, IMAGES },
    { ".npz", BY_NAME, ds_npz_named, ds_load_npy, LABELS },
    { "IDX", FOLDER, ds_idx_in_folder, ds_load_idx_folder, IMAGES | TRANSPOSE },
    { "CIFAR", FOLDER, ds_cifar_in_folder, ds_load_cifar_folder, IMAGES },
    { "a folder of images", FOLDER, NULL, ds_load_class_folders, IMAGES },
    { ".npy", A_FILE, ds_npy_in_file, ds_load_npy, LABELS },
    { "CIFAR", A_FILE, ds_cifar_in_file, ds_load_cifar_file, IMAGES },
    { "IDX", A_FILE, ds_idx_in_file, ds_load_idx_file, LABELS | IMAGES | TRANSPOSE },
    { "an image", A_FILE, ds_image_in_file, ds_load_single_image, LABELS | LABEL_COLUMN | IMAGES },
    { "ARFF", A_FILE, ds_arff_in_file, ds_load_arff, LABEL_COLUMN },
    { "CSV", A_FILE, NULL, ds_load_csv, LABEL_COLUMN },
};

/* The first row of the form that knows it, or NULL. */
static const ds_format *first_of(path_form form, const ds_found *found)
{
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++)
        if (formats[k].form == form && (!formats[k].knows || formats[k].knows(found)))
            return &formats[k];
    return NULL;
}

/* NULL with an error if there is none. */
static const ds_format *format_of(const char *path, ad_error *error)
{
    ds_found found = { .path = path };
    struct stat status;
    const ds_format *named = first_of(BY_NAME, &found);
    if (named)
        return named;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT)
            ad_fail(error, "no data set is named '%s': there are mnist and digits, and no such file or folder", path);
        else
            ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
    } else if (S_ISDIR(status.st_mode))
        return first_of(FOLDER, &found);
    else if (!S_ISREG(status.st_mode))
        ad_fail(error, "%s: neither a file nor a folder", path);
    else if (ds_look(&found, error) == 0)
        return first_of(A_FILE, &found);
    return NULL;
}

/* No option may be silently without effect. */
static int check_options(const ds_format *format, const char *name, const ds_options *options, ad_error *error)
{
    if (options->labels && !(format->takes & LABELS))
        return ad_fail(error, "%s: the labels %s do not belong to it: %s has its own", name, options->labels,
                       format->name);
    if (options->label_column && !(format->takes & LABEL_COLUMN))
        return ad_fail(error, "%s: it has no column '%s': it is %s, no table", name, options->label_column,
                       format->name);
    if ((options->grey || options->resize_height || options->resize_width) && !(format->takes & IMAGES))
        return ad_fail(error, "%s: only images become grey or get another size, and it is %s", name, format->name);
    if (options->transpose && !(format->takes & TRANSPOSE))
        return ad_fail(error, "%s: only pictures of IDX files are transposed, and it is %s", name, format->name);
    return 0;
}

ds_data *ds_load(const char *name, const ds_options *options, ad_error *error)
{
    static const ds_options as_it_is = { .scaling = DS_STANDARD };
    if (!options)
        options = &as_it_is;
    const ds_format *format = format_of(name, error);
    if (!format || check_options(format, name, options, error) != 0)
        return NULL;
    return format->load(name, options, error);
}
