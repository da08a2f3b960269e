/* path.c: files that are there, and where limn's own data are. */
#include "datasets/set/set.h"

#include <stdlib.h>
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

int ds_find(const char *file, char *path, size_t size, ad_error *error)
{
    const char *chosen = getenv("LIMN_DATA");
    const char *folders[] = {
#ifdef LIMN_DATA_BUILD
        LIMN_DATA_BUILD,
#endif
#ifdef LIMN_DATA_INSTALL
        LIMN_DATA_INSTALL,
#endif
        NULL,
    };
    bool ours = !chosen || !chosen[0];
    for (const char **folder = ours ? folders : &chosen; *folder; folder++) {
        int length = snprintf(path, size, "%s/%s", *folder, file);
        if (length < 0 || (size_t)length >= size)
            return ad_fail(error, "%s: the path in the data folder is longer than %zu bytes", file, size);
        FILE *stream = fopen(path, "rb");
        if (stream) {
            fclose(stream);
            return 0;
        }
        if (!ours)
            return ad_fail(error, "%s: cannot be read; the environment variable LIMN_DATA names its folder", path);
    }
    return ad_fail(error, "%s: in none of limn's data folders; set LIMN_DATA to the folder that has it", file);
}

bool ds_ends(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}
