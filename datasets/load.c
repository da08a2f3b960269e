/* detect.c: a data set by name or path: which loader it belongs to. */
#include "datasets/set/set.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool ds_exists(const char *folder, const char *file, char *path, size_t size)
{
    struct stat status;
    if (!folder)
        return stat(file, &status) == 0;
    int length = snprintf(path, size, "%s/%s", folder, file);
    return length > 0 && (size_t)length < size && stat(path, &status) == 0;
}

static bool ends(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* By its first bytes; CIFAR-10 has none that tell, but a name. */
static ds_loader *of_file(const char *path, ad_error *error)
{
    unsigned char head[8] = { 0 };
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
        return NULL;
    }
    size_t bytes = fread(head, 1, sizeof head, stream);
    fclose(stream);
    if (!bytes)
        ad_fail(error, "%s: it is empty", path);
    else if (ends(path, ".npy") || memcmp(head, "\x93NUMPY", 6) == 0)
        return ds_npy;
    else if (ends(path, ".bin"))
        return ds_cifar_file;
    else if (memcmp(head, "\x1F\x8B", 2) == 0 || (bytes >= 4 && memcmp(head, "\0\0", 2) == 0) || strstr(path, "-ubyte"))
        return ds_idx_file;
    else if (memcmp(head, "\x89PNG", 4) == 0 || memcmp(head, "\xFF\xD8\xFF", 3) == 0 || memcmp(head, "GIF8", 4) == 0)
        ad_fail(error, "%s: a single image; a set is a folder that has a folder of images for each class", path);
    else
        return ds_csv;
    return NULL;
}

/* NULL in place of the loader with an error if there is none. */
static ds_loader *loader_of(const char *path, ad_error *error)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT)
            ad_fail(error, "no data set is named '%s': there are mnist and digits, and no such file or folder", path);
        else
            ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
    } else if (S_ISDIR(status.st_mode))
        return ds_idx_here(path) ? ds_idx_folder : ds_cifar_here(path) ? ds_cifar_folder : ds_folder;
    else if (S_ISREG(status.st_mode))
        return of_file(path, error);
    else
        ad_fail(error, "%s: neither a file nor a folder", path);
    return NULL;
}

ds_data *ds_load(const char *name, const ds_options *options, ad_error *error)
{
    ds_options as_it_is = { .scaling = DS_STANDARD };
    if (!options)
        options = &as_it_is;
    bool named = strcmp(name, "mnist") == 0 || strcmp(name, "digits") == 0;
    ds_loader *loader = named ? ds_sheet_named : loader_of(name, error);
    if (!loader)
        return NULL;
    if (options->labels && loader != ds_idx_file && loader != ds_npy) {
        ad_fail(error, "%s: the labels %s do not belong to it: it has its own", name, options->labels);
        return NULL;
    }
    if (options->label_column && loader != ds_csv) {
        ad_fail(error, "%s: it has no column '%s': it is no CSV file", name, options->label_column);
        return NULL;
    }
    if ((options->grey || options->resize_height || options->resize_width) && (loader == ds_csv || loader == ds_npy)) {
        ad_fail(error, "%s: only images become grey or get another size", name);
        return NULL;
    }
    return loader(name, options, error);
}
