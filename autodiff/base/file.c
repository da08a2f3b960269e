/* file.c: files that are written whole or not at all, streams, and files that are read whole. */
#include "autodiff/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct ad_file {
    FILE *stream;
    char *path, *temporary; /* temporary NULL: a stream */
};

/* A new file beside the target, with the rights that any new file gets; -1 with errno. */
static int create_beside(const char *path, char *temporary, size_t size)
{
    static atomic_uint serial;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (int attempt = 0; attempt < 1000; attempt++) {
        struct timespec now = { 0 };
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t mixed = ((uint64_t)now.tv_nsec << 20 ^ (uint64_t)getpid() << 40) + atomic_fetch_add(&serial, 1);
        char name[7] = { 0 };
        for (int i = 0; i < 6; i++, mixed = mixed * 6364136223846793005u + 1442695040888963407u)
            name[i] = letters[(mixed >> 33) % (sizeof letters - 1)];
        snprintf(temporary, size, "%s.tmp%s", path, name);
        int descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST)
            return descriptor;
    }
    return -1;
}

/* What a file had that it replaces: its rights, and its owner where we may give it away. */
static int take_over(int descriptor, const struct stat *before)
{
    if (fchown(descriptor, before->st_uid, before->st_gid) != 0 && errno != EPERM)
        return -1;
    return fchmod(descriptor, before->st_mode & 07777);
}

/* before NULL: nothing stands there. */
static ad_file *create_whole(const char *path, const struct stat *before, ad_error *error)
{
    size_t length = strlen(path) + 16;
    ad_file *file = ad_alloc(1, sizeof *file + 2 * length, "a file", error);
    if (!file)
        return NULL;
    file->path = (char *)(file + 1);
    file->temporary = file->path + length;
    snprintf(file->path, length, "%s", path);
    int descriptor = create_beside(path, file->temporary, length);
    if (descriptor >= 0 && (!before || take_over(descriptor, before) == 0) && (file->stream = fdopen(descriptor, "wb")))
        return file;
    ad_fail(error, "%s: cannot write: %s", path, strerror(errno));
    if (descriptor >= 0) {
        close(descriptor);
        unlink(file->temporary);
    }
    ad_free(file);
    return NULL;
}

/* What the link at `place` says, a path from the root or from the link's folder, in its place: 0, an error's number, or
 * -1 where no link is. */
static int read_link(char *place, size_t size)
{
    char text[PATH_MAX];
    const char *slash = strrchr(place, '/');
    ssize_t length = readlink(place, text, sizeof text - 1);
    if (length < 0)
        return -1;
    size_t kept = *text == '/' || !slash ? 0 : (size_t)(slash + 1 - place);
    if (kept + (size_t)length >= size)
        return ENAMETOOLONG;
    memcpy(place + kept, text, (size_t)length);
    place[kept + (size_t)length] = 0;
    return 0;
}

int ad_file_place(const char *path, char *place, size_t size, ad_error *error)
{
    enum { MOST_LINKS = 40 }; /* as Linux has it */
    char real[PATH_MAX];
    int failed = strlen(path) < size ? 0 : ENAMETOOLONG;
    if (!failed)
        strcpy(place, path);
    for (int k = 0; !failed && !realpath(place, real); k++)
        if ((failed = k < MOST_LINKS ? read_link(place, size) : ELOOP) < 0)
            return 0;
    if (!failed && strlen(real) >= size)
        failed = ENAMETOOLONG;
    if (failed)
        return ad_fail(error, "%s: cannot write: %s", path, strerror(failed));
    strcpy(place, real);
    return 0;
}

ad_file *ad_file_create(const char *path, ad_error *error)
{
    struct stat before;
    if (!ad_given(path, "a file's name", error))
        return NULL;
    bool there = stat(path, &before) == 0;
    if (there && S_ISDIR(before.st_mode)) {
        ad_fail(error, "%s: cannot write: it is a folder", path);
        return NULL;
    }
    if (there && !S_ISREG(before.st_mode)) /* a device or a pipe, which is written into and not replaced */
        return ad_file_stream(path, false, error);
    if (there && !(before.st_mode & 0222)) {
        ad_fail(error, "%s: cannot write: it is read-only", path);
        return NULL;
    }
    char target[PATH_MAX];
    return ad_file_place(path, target, sizeof target, error) ? NULL
                                                             : create_whole(target, there ? &before : NULL, error);
}

int ad_file_write(ad_file *file, const void *data, size_t bytes, ad_error *error)
{
    if (ad_hook_strikes(AD_HOOK_WRITE)) {
        errno = ENOSPC;
        return ad_fail(error, "%s: cannot write: %s", file->path, strerror(errno));
    }
    struct stat before = { 0 };
    bool cut = !file->temporary && fstat(fileno(file->stream), &before) == 0 && S_ISREG(before.st_mode);
    if (fwrite(data, 1, bytes, file->stream) == bytes)
        return 0;
    int reason = errno;
    bool half = cut && ftruncate(fileno(file->stream), before.st_size) != 0;
    return ad_fail(error, "%s: cannot write: %s%s", file->path, strerror(reason), half ? "; its end is cut off" : "");
}

void ad_file_discard(ad_file *file)
{
    if (!file)
        return;
    if (file->stream)
        fclose(file->stream);
    if (file->temporary)
        unlink(file->temporary);
    ad_free(file);
}

ad_file *ad_file_stream(const char *path, bool append, ad_error *error)
{
    size_t length = strlen(path) + 1;
    ad_file *file = ad_alloc(1, sizeof *file + length, "a file", error);
    if (!file)
        return NULL;
    file->path = memcpy(file + 1, path, length);
    if (!(file->stream = fopen(path, append ? "ab" : "wb"))) {
        ad_fail(error, "%s: cannot write: %s", path, strerror(errno));
        ad_free(file);
        return NULL;
    }
    setvbuf(file->stream, NULL, _IONBF, 0); /* nothing is kept back that a later write would bring */
    return file;
}

int ad_file_sync(ad_file *file, ad_error *error)
{
    if (fsync(fileno(file->stream)) != 0 && errno != EINVAL && errno != EROFS) /* these two: a pipe or a terminal */
        return ad_fail(error, "%s: cannot write: %s", file->path, strerror(errno));
    return 0;
}

int ad_file_close(ad_file *file, ad_error *error)
{
    if (!file->temporary) {
        ad_file_discard(file);
        return 0;
    }
    errno = 0;
    bool whole = !ad_hook_strikes(AD_HOOK_WRITE) && !ferror(file->stream) && fflush(file->stream) == 0 &&
                 fsync(fileno(file->stream)) == 0;
    whole = fclose(file->stream) == 0 && whole;
    file->stream = NULL;
    if (!whole || rename(file->temporary, file->path) != 0) {
        ad_fail(error, "%s: cannot write: %s", file->path, strerror(errno ? errno : EIO));
        ad_file_discard(file);
        return -1;
    }
    ad_free(file);
    return 0;
}

char *ad_file_read(const char *path, size_t limit, size_t *bytes, ad_error *error)
{
    *bytes = 0;
    if (!ad_given(path, "a file's name", error))
        return NULL;
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
        return NULL;
    }
    char *data = NULL;
    bool failed = false;
    struct stat status;
    if (fstat(fileno(stream), &status) == 0 && S_ISDIR(status.st_mode)) {
        ad_fail(error, "%s: cannot read: it is a folder", path);
        fclose(stream);
        return NULL;
    }
    long length = fseek(stream, 0, SEEK_END) == 0 ? ftell(stream) : -1;
    if (length < 0 || fseek(stream, 0, SEEK_SET) != 0)
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
    else if ((size_t)length > limit)
        ad_fail(error, "%s: %ld bytes, at most %zu are read", path, length, limit);
    else if ((data = ad_alloc((size_t)length + 1, 1, path, error)) &&
             ((failed = ad_hook_strikes(AD_HOOK_READ)) || fread(data, 1, (size_t)length, stream) != (size_t)length)) {
        ad_fail(error, "%s: cannot read: %s", path,
                failed           ? strerror(EIO)
                : ferror(stream) ? strerror(errno)
                                 : "it ends early");
        ad_free(data);
        data = NULL;
    }
    fclose(stream);
    if (data)
        *bytes = (size_t)length;
    return data;
}
