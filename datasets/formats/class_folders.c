/* class_folders.c: a folder of images for each class, in one folder or in its folders train, validation and test. */
#include "autodiff/base/base.h"
#include "datasets/formats/formats.h"
#include "datasets/image/image.h"
#include "datasets/set/set.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct {
    const char *path, *name; /* of the arena */
    bool folder;
} entry;

typedef struct {
    entry *entries;
    int count, capacity;
} listing;

typedef struct {
    const char *path;
    size_t label;
} image;

typedef struct {
    ad_arena *arena;
    const ds_options *options;
    ad_error *error;
    listing classes;
    image *images;
    int count, capacity;
    int train;               /* 0: no part is told from another */
    int aside;               /* files that are no images, left out, */
    const char *first_aside; /* and the name of the first */
    const char *validation;  /* the name of that part; NULL: there is none */
    bool tested;             /* there is a test part */
    ds_size from, to;        /* of the first image, its channels those of all; of every row */
} job;

static int no_memory(const job *j, const char *path)
{
    return ad_fail(j->error, "out of memory for the names in %s", path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* What lies beside images and is none: a system's files, notes, tables. */
static bool lies_beside(const char *name, bool folder)
{
    static const char *const names[] = { "Thumbs.db", "desktop.ini", "Icon\r",  "README",
                                         "LICENSE",   "LICENCE",     "Makefile" },
                             *const ends[] = { ".txt",  ".json", ".jsonl", ".csv", ".tsv", ".md", ".rst",
                                               ".html", ".xml",  ".yaml",  ".yml", ".pdf", ".log" };
    size_t length = strlen(name);
    if (folder)
        return strcmp(name, "__MACOSX") == 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (strcasecmp(name, names[k]) == 0)
            return true;
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
        if (length > strlen(ends[k]) && strcasecmp(name + length - strlen(ends[k]), ends[k]) == 0)
            return true;
    return false;
}

/* One entry; what a link points at counts, so that a loop of links is an error of its own. */
static int take_entry(job *j, const char *folder, const char *name, listing *list)
{
    void *entries = list->entries;
    char *path = ad_arena_text(j->arena, "%s/%s", folder, name);
    if (!path || !ad_arena_grow(j->arena, &entries, list->count, &list->capacity, sizeof *list->entries))
        return no_memory(j, folder);
    list->entries = entries;
    struct stat status;
    if (stat(path, &status) != 0)
        return ad_fail(j->error, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode))
        return ad_fail(j->error, "%s: neither a file nor a folder", path);
    if (lies_beside(name, S_ISDIR(status.st_mode))) {
        const char *kept = path + strlen(folder) + 1;
        if (!j->aside++ || strcmp(kept, j->first_aside) < 0)
            j->first_aside = kept;
        return 0;
    }
    list->entries[list->count++] =
        (entry){ .path = path, .name = path + strlen(folder) + 1, .folder = S_ISDIR(status.st_mode) };
    return 0;
}

/* What is in a folder, sorted by name, without what lies beside images; names that begin with a point are left out. */
static int list_folder(job *j, const char *path, listing *list)
{
    *list = (listing){ 0 };
    DIR *stream = opendir(path);
    if (!stream)
        return ad_fail(j->error, "%s: cannot read: %s", path, strerror(errno));
    int failed = 0;
    errno = 0;
    for (struct dirent *next; !failed && (next = readdir(stream)); errno = 0)
        if (next->d_name[0] != '.')
            failed = take_entry(j, path, next->d_name, list);
    if (!failed && errno)
        failed = ad_fail(j->error, "%s: cannot read: %s", path, strerror(errno));
    closedir(stream);
    if (!failed && list->count)
        qsort(list->entries, (size_t)list->count, sizeof(entry), by_name);
    return failed;
}

/* The images of one class. */
static int list_class(job *j, const entry *class, size_t label)
{
    listing files;
    if (list_folder(j, class->path, &files) != 0)
        return -1;
    if (!files.count)
        return ad_fail(j->error, "%s: no images in this class", class->path);
    for (int i = 0; i < files.count; i++) {
        if (files.entries[i].folder)
            return ad_fail(j->error, "%s: a folder among the images of a class", files.entries[i].path);
        void *images = j->images;
        if (!ad_arena_grow(j->arena, &images, j->count, &j->capacity, sizeof *j->images))
            return no_memory(j, class->path);
        j->images = images;
        j->images[j->count++] = (image){ files.entries[i].path, label };
    }
    return 0;
}

/* A folder of classes: the set's own, or its train, which names them, or its test, which has some of them. */
static int list_part(job *j, const char *path, const listing *list)
{
    bool first = !j->classes.count;
    if (!list->count)
        return ad_fail(j->error, "%s: no images: the folder is empty", path);
    for (int i = 0; i < list->count; i++)
        if (!list->entries[i].folder)
            return ad_fail(j->error, "%s: a file beside the folders of classes", list->entries[i].path);
    if (first) {
        if (list->count < 2)
            return ad_fail(j->error, "%s: one class only, %s; at least two are needed", path, list->entries[0].name);
        if (list->count > (int)DS_CLASSES)
            return ad_fail(j->error, "%s: %d classes; at most %zu are read", path, list->count, DS_CLASSES);
        j->classes = *list;
    }
    for (int i = 0; i < list->count; i++) {
        const entry *known =
            bsearch(&list->entries[i], j->classes.entries, (size_t)j->classes.count, sizeof(entry), by_name);
        if (!known)
            return ad_fail(j->error, "%s: a class that the training part has not", list->entries[i].path);
        if (list_class(j, &list->entries[i], (size_t)(known - j->classes.entries)) != 0)
            return -1;
    }
    return 0;
}

enum { TRAIN, VALIDATION, TEST, PARTS };

static int part_of(const entry *e)
{
    static const struct {
        const char *name;
        int part;
    } names[] = { { "train", TRAIN },           { "training", TRAIN }, { "val", VALIDATION }, { "valid", VALIDATION },
                  { "validation", VALIDATION }, { "dev", VALIDATION }, { "test", TEST },      { "testing", TEST } };
    for (size_t k = 0; e->folder && k < sizeof names / sizeof *names; k++)
        if (strcasecmp(e->name, names[k].name) == 0)
            return names[k].part;
    return PARTS;
}

/* The folders of the parts, NULL for those that are not there; false if some entry is none of them. */
static bool find_parts(const listing *root, const entry *parts[PARTS])
{
    for (int i = 0; i < root->count; i++) {
        int part = part_of(&root->entries[i]);
        if (part == PARTS || parts[part])
            return false;
        parts[part] = &root->entries[i];
    }
    return root->count > 0;
}

/* Without a test part, the validation part is it; with one, it is left out. */
static int list_set(job *j, const char *path)
{
    listing root, part;
    const entry *parts[PARTS] = { NULL };
    if (list_folder(j, path, &root) != 0)
        return -1;
    if (!find_parts(&root, parts))
        return list_part(j, path, &root);
    if (!parts[TRAIN])
        return ad_fail(j->error, "%s: a folder %s, and none named train", path, root.entries[0].name);
    const entry *test = parts[TEST] ? parts[TEST] : parts[VALIDATION];
    j->validation = parts[VALIDATION] ? parts[VALIDATION]->name : NULL;
    j->tested = parts[TEST] != NULL;
    if (list_folder(j, parts[TRAIN]->path, &part) != 0 || list_part(j, parts[TRAIN]->path, &part) != 0)
        return -1;
    if (!test)
        return 0;
    j->train = j->count;
    return list_folder(j, test->path, &part) != 0 ? -1 : list_part(j, test->path, &part);
}

static void tell(const job *j, ds_data *data)
{
    if (j->validation && j->tested)
        ds_note(data, "%s is not used: test is the test part", j->validation);
    else if (j->validation)
        ds_note(data, "%s is the test part", j->validation);
    if (j->aside)
        ds_note(data, "%d %s no image, left out (%s%s)", j->aside, j->aside == 1 ? "file is" : "files are",
                j->first_aside, j->aside == 1 ? "" : ", ...");
}

/* The headers: all of one size, unless they are resized; of three channels if one of them has colours. */
static int look_at_headers(job *j)
{
    for (int i = 0; i < j->count; i++) {
        const char *path = j->images[i].path;
        size_t bytes = 0;
        ds_size size = { 0 };
        unsigned char *file = (unsigned char *)ad_file_read(path, DS_FILE, &bytes, j->error);
        int failed = file ? ds_image_size(path, file, bytes, &size, j->error) : -1;
        ad_free(file);
        if (failed)
            return -1;
        if (!i)
            j->from = size;
        if (!j->options->resize_height && (size.height != j->from.height || size.width != j->from.width))
            return ad_fail(j->error, "%s: %zu x %zu pixels, but %s has %zu x %zu: they must be resized to one size",
                           path, size.width, size.height, j->images[0].path, j->from.width, j->from.height);
        if (size.channels > j->from.channels)
            j->from.channels = size.channels;
    }
    return ds_image_target(j->from, j->options, &j->to, j->error);
}

static int read_image(const job *j, int row, ds_data *data)
{
    const char *path = j->images[row].path;
    size_t bytes = 0;
    ds_size size = { 0 };
    unsigned char *pixels = NULL, *file = (unsigned char *)ad_file_read(path, DS_FILE, &bytes, j->error);
    int failed = file ? ds_image_size(path, file, bytes, &size, j->error) : -1;
    size.channels = j->from.channels;
    if (!failed && !j->options->resize_height && (size.height != j->from.height || size.width != j->from.width))
        failed = ad_fail(j->error, "%s: it changes while it is read", path);
    if (!failed && !(pixels = ds_image_pixels(path, file, bytes, size, j->error)))
        failed = -1;
    if (!failed)
        failed = ds_image_put(pixels, size, j->to, data->x + (size_t)row * data->features, j->error);
    data->y[row] = (double)j->images[row].label;
    ad_free(pixels);
    ad_free(file);
    return failed;
}

static int name_classes(const job *j, ds_data *data)
{
    const char **names = ad_alloc((size_t)j->classes.count, sizeof *names, "the classes' names", j->error);
    if (!names)
        return -1;
    for (int k = 0; k < j->classes.count; k++)
        names[k] = j->classes.entries[k].name;
    data->classes = (size_t)j->classes.count;
    int failed = ds_name_classes(data, names, j->error);
    ad_free(names);
    return failed;
}

static ds_data *load_images(job *j, const char *path)
{
    if (list_set(j, path) != 0 || look_at_headers(j) != 0)
        return NULL;
    ds_data *data = ds_new(path, (size_t)j->count, j->to.height * j->to.width * j->to.channels, 1, j->error);
    if (!data)
        return NULL;
    data->height = j->to.height;
    data->width = j->to.width * j->to.channels;
    data->channels = j->to.channels;
    tell(j, data);
    int failed = name_classes(j, data);
    for (int row = 0; row < j->count && !failed; row++)
        failed = read_image(j, row, data);
    if (!failed)
        failed = ds_finish(data, (size_t)j->train, j->options, j->error);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

ds_data *ds_load_class_folders(const char *path, const ds_options *options, ad_error *error)
{
    job j = { .arena = ad_arena_new(error), .options = options, .error = error };
    ds_data *data = j.arena ? load_images(&j, path) : NULL;
    ad_arena_free(j.arena);
    return data;
}

/* By its first bytes: kinds whose mark no table begins with. */
bool ds_image_in_file(const ds_found *found)
{
    const unsigned char *head = found->head;
    return memcmp(head, "\x89PNG", 4) == 0 || memcmp(head, "\xFF\xD8\xFF", 3) == 0 || memcmp(head, "GIF8", 4) == 0;
}

ds_data *ds_load_single_image(const char *path, const ds_options *options, ad_error *error)
{
    (void)options;
    ad_fail(error, "%s: a single image; a set is a folder that has a folder of images for each class", path);
    return NULL;
}
