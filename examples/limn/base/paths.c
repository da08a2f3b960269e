/* paths.c: before any work: outputs can be written, and are neither an input nor another output of the same command. */
#include "examples/limn/base/options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const option written[] = { OPTION_OUT, OPTION_DRIFT,      OPTION_CHECKPOINT, OPTION_BEST,
                                  OPTION_CSV, OPTION_COVARIANCE, OPTION_STORE };
static const option read_only[] = { OPTION_DATA,    OPTION_INPUTS, OPTION_INPUTS2, OPTION_LABELS, OPTION_LABELS2,
                                    OPTION_WEIGHTS, OPTION_RESUME, OPTION_LIKE,    OPTION_START,  OPTION_DRIFT_LIMIT };
enum { WRITTEN = sizeof written / sizeof *written, READ = sizeof read_only / sizeof *read_only };

static const char *path_of(const options *o, option which)
{
    return *(const char *const *)(const void *)((const char *)o + rows[which].at);
}

/* Where a file that is not there yet would be, its folder without links. */
static bool new_place(const char *path, char place[PATH_MAX])
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 1;
    if (length + strlen(name) + 2 > sizeof folder)
        return false;
    snprintf(folder, sizeof folder, "%.*s", (int)length, slash ? path : ".");
    if (!realpath(folder, place) || strlen(place) + strlen(name) + 2 > PATH_MAX)
        return false;
    snprintf(place + strlen(place), PATH_MAX - strlen(place), "/%s", name);
    return true;
}

/* Where a regular file of this path is or would be; false for all else. */
static bool place_of(const char *path, char place[PATH_MAX])
{
    struct stat found;
    if (stat(path, &found) == 0)
        return S_ISREG(found.st_mode) && realpath(path, place);
    char end[PATH_MAX];
    return ad_file_place(path, end, sizeof end, NULL) == 0 && new_place(end, place);
}

/* Two paths of one regular file, links and hard links followed. */
static bool same_file(const char *a, const char *b)
{
    char one[PATH_MAX], two[PATH_MAX];
    struct stat first, second;
    if (!place_of(a, one) || !place_of(b, two))
        return false;
    return strcmp(one, two) == 0 || (stat(one, &first) == 0 && stat(two, &second) == 0 &&
                                     first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

static int clash(const char *output, const char *path, const char *other, ad_error *error)
{
    ad_fail(error, "%s %s would overwrite %s: give it another name", output, path, other);
    return 2;
}

int path_writable(const char *path, ad_error *error)
{
    struct stat found;
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode) &&
        !S_ISDIR(found.st_mode)) /* opened once, not to be tried */
        return access(path, W_OK) == 0 ? 0 : ad_fail(error, "%s: cannot write: %s", path, strerror(errno));
    ad_file *file = ad_file_create(path, error);
    ad_file_discard(file);
    return file ? 0 : -1;
}

/* The folder of files that begin with a prefix. */
static int prefix_writable(const char *prefix, ad_error *error)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s00000000.npy", prefix) >= sizeof path)
        return ad_fail(error, "%.80s...: too long a name", prefix);
    return path_writable(path, error);
}

int paths_check(const options *o, ad_error *error)
{
    for (int k = 0; k < WRITTEN; k++) {
        const char *path = path_of(o, written[k]), *name = rows[written[k]].name;
        if (!path)
            continue;
        for (int i = 0; i < READ; i++) {
            const char *other = path_of(o, read_only[i]);
            bool goes_on = written[k] == OPTION_CHECKPOINT && read_only[i] == OPTION_RESUME;
            if (other && !goes_on && same_file(path, other))
                return clash(name, path, rows[read_only[i]].name, error);
        }
        for (int i = 0; i < k; i++)
            if (path_of(o, written[i]) && same_file(path, path_of(o, written[i])))
                return clash(name, path, rows[written[i]].name, error);
        if ((o->source && same_file(path, o->source)) || same_file(path, o->network))
            return clash(name, path, o->source && same_file(path, o->source) ? o->source : o->network, error);
        if (path_writable(path, error))
            return -1;
    }
    return o->drift_kernels ? prefix_writable(o->drift_kernels, error) : 0;
}
