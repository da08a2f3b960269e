/* npy_map.c: .npy files that are filled in memory, over several runs.
 *
 *     PATH.partial = header, its first byte 0  numbers  blanks  stamp, length  notes  */
#include "datasets/datasets.h"
#include "datasets/formats/npz.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGN = 64 };

/* Behind the numbers. */
typedef struct {
    uint64_t stamp, bytes; /* of the whole .npy file */
    unsigned char blanks[ALIGN - 2 * sizeof(uint64_t)];
} mark;

struct ds_npy_map {
    char *path, *partial;
    int descriptor;
    unsigned char *memory;
    size_t header, whole, mark, mapped; /* bytes: of the header, with the numbers, up to the mark, of all */
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static int cannot(const ds_npy_map *map, const char *what, int reason, ad_error *error)
{
    return ad_fail(error, "%s: cannot %s: %s", map->partial, what, strerror(reason));
}

static int is_another(const ds_npy_map *map, ad_error *error)
{
    return ad_fail(error, "%s: it is to become another file than this one: remove it, or write elsewhere",
                   map->partial);
}

/* What is there, of another size: a file that a run finished, which was ended before it could give it its name, or one
 * that is to become another. */
static int refuse(const ds_npy_map *map, ad_error *error)
{
    unsigned char first = 0;
    if (pread(map->descriptor, &first, 1, 0) == 1 && first == 0x93)
        return ad_fail(error,
                       "%s: it is whole: a run that finished it was ended before it could call it %s, and of what "
                       "inputs and network it is does not stand in it any more: rename it if you know, or remove it",
                       map->partial, map->path);
    return is_another(map, error);
}

/* The file, locked, of its size: *fresh where it was empty or not there. */
static int open_file(ds_npy_map *map, bool *fresh, ad_error *error)
{
    struct stat found;
    map->descriptor = open(map->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (map->descriptor < 0)
        return cannot(map, "write", errno, error);
    if (flock(map->descriptor, LOCK_EX | LOCK_NB))
        return ad_fail(error, "%s: another process fills this file: wait for it, or end it", map->partial);
    if (fstat(map->descriptor, &found))
        return cannot(map, "read", errno, error);
    *fresh = found.st_size == 0;
    if (!*fresh && (size_t)found.st_size != map->mapped)
        return refuse(map, error);
    int failed = *fresh ? posix_fallocate(map->descriptor, 0, (off_t)map->mapped) : 0;
    if (failed)
        unlink(map->partial);
    if (failed)
        return ad_fail(error, "%s: cannot take %zu bytes: %s", map->partial, map->mapped, strerror(failed));
    void *memory = mmap(NULL, map->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, map->descriptor, 0);
    if (memory == MAP_FAILED)
        return cannot(map, "map", errno, error);
    map->memory = memory;
    return 0;
}

/* Where a link leads, a copy of any other path. */
static char *place_of(const char *path, ad_error *error)
{
    struct stat found;
    char place[PATH_MAX];
    if (lstat(path, &found) == 0 && S_ISLNK(found.st_mode)) {
        if (ad_file_place(path, place, sizeof place, error))
            return NULL;
        path = place;
    }
    char *copy = ad_alloc(strlen(path) + 1, 1, "a path", error);
    return copy ? strcpy(copy, path) : NULL;
}

/* Paths, of which the partial one is beside what it is to become, and sizes. */
static int prepare(ds_npy_map *map, const char *path, size_t notes, ad_error *error)
{
    if (!(map->path = place_of(path, error)))
        return -1;
    size_t length = strlen(map->path) + sizeof ".partial";
    if (!(map->partial = ad_alloc(length, 1, "a path", error)))
        return -1;
    snprintf(map->partial, length, "%s.partial", map->path);
    map->mark = aligned(map->whole);
    map->mapped = map->mark + sizeof(mark) + notes;
    return 0;
}

ds_npy_map *ds_npy_map_open(const char *path, const size_t *shape, int rank, bool single, size_t notes, uint64_t stamp,
                            ad_error *error)
{
    char head[DS_NPY_HEADER];
    size_t count = 0, size = single ? sizeof(float) : sizeof(double);
    const char *order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "<" : ">";
    char descr[] = { order[0], 'f', single ? '4' : '8', 0 };
    ds_npy_map *map = ds_npy_count(path, shape, rank, &count, error) ? NULL : ad_alloc(1, sizeof *map, path, error);
    if (!map)
        return NULL;
    bool fresh = false;
    map->descriptor = -1;
    map->header = ds_npy_header(descr, shape, rank, head);
    map->whole = map->header + count * size;
    if (prepare(map, path, notes, error) || open_file(map, &fresh, error)) {
        ds_npy_map_close(map, true);
        return NULL;
    }
    mark *m = (mark *)(void *)(map->memory + map->mark);
    if (fresh || (!m->bytes && !m->stamp)) { /* or killed before the mark, which comes last */
        memcpy(map->memory + 1, head + 1, map->header - 1);
        *m = (mark){ .stamp = stamp, .bytes = map->whole };
    } else if (memcmp(map->memory + 1, head + 1, map->header - 1) != 0 || m->stamp != stamp || m->bytes != map->whole) {
        is_another(map, error);
        ds_npy_map_close(map, true);
        return NULL;
    }
    map->memory[0] = 0; /* or killed at the very end */
    return map;
}

void *ds_npy_map_numbers(const ds_npy_map *map)
{
    return map->memory + map->header;
}

void *ds_npy_map_notes(const ds_npy_map *map)
{
    return map->memory + map->mark + sizeof(mark);
}

int ds_npy_map_finish(ds_npy_map *map, ad_error *error)
{
    int status = 0;
    struct stat before;
    bool there = stat(map->path, &before) == 0;
    if (there && !S_ISREG(before.st_mode))
        status = ad_fail(error, "%s: cannot write: it is no file", map->path);
    else if (msync(map->memory, map->mapped, MS_SYNC))
        status = cannot(map, "write", errno, error);
    if (!status) {
        map->memory[0] = 0x93; /* the magic's first byte */
        if (msync(map->memory, map->header, MS_SYNC) || ftruncate(map->descriptor, (off_t)map->whole) ||
            fsync(map->descriptor) || (there && fchmod(map->descriptor, before.st_mode & 07777)) ||
            rename(map->partial, map->path)) {
            int reason = errno;
            status = cannot(map, "write", reason, error);
        }
    }
    ds_npy_map_close(map, true);
    return status;
}

void ds_npy_map_close(ds_npy_map *map, bool keep)
{
    if (!map)
        return;
    if (map->memory)
        munmap(map->memory, map->mapped);
    if (!keep && map->memory)
        unlink(map->partial);
    if (map->descriptor >= 0)
        close(map->descriptor);
    ad_free(map->path);
    ad_free(map->partial);
    ad_free(map);
}
