/* npz_write.c: arrays into one .npz file, by libzip: in memory first, so that the file is whole or not there. */
#include "datasets/formats/npz.h"
#include "datasets/set/set.h"

#include <string.h>
#include <zip.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define DESCR ">f8"
#else
#define DESCR "<f8"
#endif

/* head: the member's own, which lives until the archive is closed. */
static int add(zip_t *zip, const char *path, const ds_member *m, char head[DS_NPY_HEADER], ad_error *error)
{
    size_t count = 0;
    if (ds_npy_count(path, m->shape, m->rank, &count, error) != 0)
        return -1;
    char name[200];
    if ((size_t)snprintf(name, sizeof name, "%s.npy", m->name) >= sizeof name)
        return ad_fail(error, "%s: the name %.40s... is too long", path, m->name);
    const zip_buffer_fragment_t parts[] = {
        { (zip_uint8_t *)head, ds_npy_header(DESCR, m->shape, m->rank, head) },
        { (zip_uint8_t *)(void *)(size_t)(const void *)m->data, count * sizeof *m->data },
    };
    zip_error_t reason;
    zip_error_init(&reason);
    zip_source_t *source = zip_source_buffer_fragment_create(parts, count ? 2 : 1, 0, &reason);
    zip_error_fini(&reason);
    zip_int64_t entry = source ? zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (entry < 0)
        zip_source_free(source);
    if (entry < 0 || zip_set_file_compression(zip, (zip_uint64_t)entry, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(zip, (zip_uint64_t)entry, 0, 33, 0) != 0) /* the first of 1980 */
        return ad_fail(error, "%s: %s: %s", path, name, zip_strerror(zip));
    return 0;
}

/* The archive's bytes, which the source holds when it is closed. */
static int copy(zip_source_t *archive, const char *path, ad_error *error)
{
    char block[65536];
    zip_int64_t got = 0;
    ad_file *file = zip_source_open(archive) == 0 ? ad_file_create(path, error) : NULL;
    if (!file)
        return ad_fail(error, "%s: no archive", path);
    int status = 0;
    while (!status && (got = zip_source_read(archive, block, sizeof block)) > 0)
        status = ad_file_write(file, block, (size_t)got, error);
    zip_source_close(archive);
    if (!status && got < 0)
        status = ad_fail(error, "%s: the archive cannot be read back", path);
    if (!status)
        return ad_file_close(file, error);
    ad_file_discard(file);
    return -1;
}

int ds_npz_write(const char *path, const ds_member *members, size_t n, ad_error *error)
{
    zip_error_t reason;
    zip_error_init(&reason);
    char(*heads)[DS_NPY_HEADER] = ad_alloc(n + 1, sizeof *heads, path, error);
    zip_source_t *archive = heads ? zip_source_buffer_create(NULL, 0, 0, &reason) : NULL;
    zip_t *zip = archive ? zip_open_from_source(archive, ZIP_TRUNCATE, &reason) : NULL;
    int status = zip ? 0 : ad_fail(error, "%s: %s", path, zip_error_strerror(&reason));
    if (zip)
        zip_source_keep(archive);
    for (size_t k = 0; k < n && !status; k++)
        status = add(zip, path, &members[k], heads[k], error);
    if (zip && !status && zip_close(zip) != 0) {
        status = ad_fail(error, "%s: %s", path, zip_strerror(zip));
        zip_discard(zip);
    } else if (zip && status) {
        zip_discard(zip);
    }
    if (!status)
        status = copy(archive, path, error);
    if (archive)
        zip_source_free(archive);
    zip_error_fini(&reason);
    ad_free(heads);
    return status;
}
