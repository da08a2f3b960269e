/* npz.c: FILE.npz:NAME, by libzip. */
#include "datasets/formats/npz.h"
#include "datasets/set/set.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

/* Where ":NAME" begins behind ".npz", or the path's end where it stops there; NULL: it is no such path. */
static const char *end_of_file(const char *path)
{
    const char *end = NULL;
    for (const char *at = path; (at = strstr(at, ".npz")); at += 4)
        if (at[4] == ':' || !at[4])
            end = at + 4;
    return end;
}

bool ds_npz_is(const char *path)
{
    return end_of_file(path) != NULL;
}

/* "a" of a.npy: whether entry k is an array, and is `name` (NULL: any). */
static bool is_array(zip_t *zip, zip_int64_t k, const char *name)
{
    const char *entry = zip_get_name(zip, (zip_uint64_t)k, ZIP_FL_ENC_RAW);
    if (!entry || !ds_ends(entry, ".npy"))
        return false;
    return !name || (strlen(name) == strlen(entry) - 4 && strncmp(entry, name, strlen(name)) == 0);
}

/* "has a, b, c", as many as find room. */
static void list(zip_t *zip, char *text, size_t size)
{
    size_t used = 0;
    for (zip_int64_t k = 0; k < zip_get_num_entries(zip, 0) && used < size; k++)
        if (is_array(zip, k, NULL)) {
            const char *entry = zip_get_name(zip, (zip_uint64_t)k, ZIP_FL_ENC_RAW);
            used +=
                (size_t)snprintf(text + used, size - used, "%s%.*s", used ? ", " : "", (int)strlen(entry) - 4, entry);
        }
    if (!used)
        snprintf(text, size, "none");
}

/* The entry that is meant; -1 with an error. */
static zip_int64_t find(zip_t *zip, const char *path, const char *name, ad_error *error)
{
    zip_int64_t found = -1;
    int matches = 0;
    for (zip_int64_t k = 0; k < zip_get_num_entries(zip, 0); k++)
        if (is_array(zip, k, name)) {
            found = k;
            matches++;
        }
    if (matches == 1)
        return found;
    char arrays[200];
    list(zip, arrays, sizeof arrays);
    if (name)
        return ad_fail(error, "%s: %s of that name; its arrays are: %s", path, matches ? "several arrays" : "no array",
                       arrays);
    return ad_fail(error, "%s: which array? Name one, as in FILE.npz:NAME; its arrays are: %s", path, arrays);
}

/* Is the size that the entry says one that it can have? Deflate gives at most 1032 bytes for one of the file. */
static bool is_likely(const zip_stat_t *entry, const char *path, size_t limit, size_t file_bytes, ad_error *error)
{
    const zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD;
    if ((entry->valid & wanted) != wanted)
        ad_fail(error, "%s: the array has no size: a damaged zip file", path);
    else if (entry->comp_method != ZIP_CM_STORE && entry->comp_method != ZIP_CM_DEFLATE)
        ad_fail(error, "%s: compressed by method %d, which NumPy does not write: save it by np.savez_compressed", path,
                entry->comp_method);
    else if (entry->size > limit)
        ad_fail(error, "%s: the array has %llu bytes, more than %zu", path, (unsigned long long)entry->size, limit);
    else if (entry->size / 1032 > file_bytes)
        ad_fail(error, "%s: %llu bytes in a file of %zu: a damaged zip file", path, (unsigned long long)entry->size,
                file_bytes);
    else
        return true;
    return false;
}

static char *unfold(zip_t *zip, zip_int64_t entry, const char *path, size_t limit, size_t file_bytes, size_t *bytes,
                    ad_error *error)
{
    zip_stat_t status;
    zip_file_t *stream = NULL;
    char *data = NULL;
    zip_stat_init(&status);
    if (zip_stat_index(zip, (zip_uint64_t)entry, 0, &status) != 0)
        ad_fail(error, "%s: cannot read: %s", path, zip_strerror(zip));
    else if (!is_likely(&status, path, limit, file_bytes, error))
        return NULL;
    else if (!(stream = zip_fopen_index(zip, (zip_uint64_t)entry, 0)))
        ad_fail(error, "%s: cannot unfold it: %s", path, zip_strerror(zip));
    else if ((data = ad_reserve((size_t)status.size + 1, 1, path, error))) {
        data[status.size] = 0;
        zip_int64_t read = zip_fread(stream, data, status.size);
        char more; /* at the end, the checksum is looked at */
        if (read != (zip_int64_t)status.size || zip_fread(stream, &more, 1) != 0) {
            const char *why = zip_file_strerror(stream);
            ad_fail(error, "%s: cannot unfold it: %s", path, strcmp(why, "No error") ? why : "its length is wrong");
            ad_free(data);
            data = NULL;
        }
        *bytes = (size_t)status.size;
    }
    if (stream)
        zip_fclose(stream);
    return data;
}

char *ds_npz_read(const char *path, size_t limit, size_t *bytes, ad_error *error)
{
    const char *end = end_of_file(path);
    size_t length = (size_t)(end - path);
    char *file = ad_alloc(length + 1, 1, path, error), *data = NULL;
    if (!file)
        return NULL;
    memcpy(file, path, length);
    int code = 0;
    struct stat status = { 0 };
    zip_t *zip = zip_open(file, ZIP_RDONLY, &code);
    if (zip && stat(file, &status) != 0) {
        ad_fail(error, "%s: cannot read: %s", file, strerror(errno));
        zip_discard(zip);
    } else if (zip) {
        zip_int64_t entry = find(zip, path, *end ? end + 1 : NULL, error);
        data = entry < 0 ? NULL : unfold(zip, entry, path, limit, (size_t)status.st_size, bytes, error);
        zip_discard(zip);
    } else {
        zip_error_t reason;
        zip_error_init_with_code(&reason, code);
        ad_fail(error, "%s: cannot read: %s", file, zip_error_strerror(&reason));
        zip_error_fini(&reason);
    }
    ad_free(file);
    return data;
}
