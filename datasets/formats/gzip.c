/* gzip.c: a file's bytes in order, unfolded by zlib if it is gzipped. Whoever reads says how many bytes it wants, so
 * that nothing unfolds further than a header has promised. */
#include "datasets/formats/gzip.h"
#include "datasets/formats/formats.h"
#include "datasets/set/set.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

struct ds_source {
    const char *path;
    unsigned char *file;
    size_t bytes, at; /* `at` counts the bytes given out */
    bool zipped, ended;
    z_stream stream;
};

static void *take(void *unused, uInt count, uInt size)
{
    (void)unused;
    return ad_alloc(count, size, "zlib", NULL);
}

static void give(void *unused, void *memory)
{
    (void)unused;
    ad_free(memory);
}

void ds_source_close(ds_source *source)
{
    if (!source)
        return;
    if (source->zipped)
        inflateEnd(&source->stream);
    ad_free(source->file);
    ad_free(source);
}

static bool has_mark(const unsigned char *bytes, size_t count)
{
    return count > 1 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

static ds_source *open_within(const char *path, size_t limit, ad_error *error)
{
    ds_source *source = ad_alloc(1, sizeof *source, path, error);
    if (!source)
        return NULL;
    source->path = path;
    source->file = (unsigned char *)ad_file_read(path, limit, &source->bytes, error);
    if (source->file && has_mark(source->file, source->bytes) && source->bytes > DS_FILE) {
        ad_fail(error, "%s: a gzip file of %zu bytes; at most %zu are read", path, source->bytes, DS_FILE);
        ad_free(source->file);
        source->file = NULL;
    } else if (source->file && has_mark(source->file, source->bytes)) {
        source->stream.zalloc = take;
        source->stream.zfree = give;
        source->stream.next_in = source->file;
        source->stream.avail_in = (uInt)source->bytes;
        if (inflateInit2(&source->stream, 16 + MAX_WBITS) == Z_OK)
            source->zipped = true;
        else {
            ad_fail(error, "%s: out of memory to unfold it", path);
            ad_free(source->file);
            source->file = NULL;
        }
    }
    if (source->file)
        return source;
    ds_source_close(source);
    return NULL;
}

ds_source *ds_source_open(const char *path, ad_error *error)
{
    return open_within(path, DS_FILE, error);
}

/* Deflate gives at most 1032 bytes for one: a copy of 258 takes at least two bits. */
size_t ds_source_maximum(const ds_source *source, bool *exact)
{
    *exact = !source->zipped;
    return source->zipped ? 1032 * source->bytes : source->bytes;
}

/* At the end of a member: the next one, or the end of all. */
static int next_member(ds_source *source, ad_error *error)
{
    z_stream *stream = &source->stream;
    size_t end = source->bytes - stream->avail_in, at = end;
    while (at < source->bytes && !source->file[at])
        at++;
    if (at == source->bytes)
        source->ended = true;
    else if (at > end || !has_mark(stream->next_in, stream->avail_in))
        return ad_fail(error, "%s: %u bytes follow the gzip data, which end at byte %zu", source->path,
                       stream->avail_in, end);
    else
        inflateReset(stream);
    return 0;
}

static int unfold(ds_source *source, unsigned char *out, size_t bytes, size_t *got, ad_error *error)
{
    z_stream *stream = &source->stream;
    while (*got < bytes && !source->ended) {
        size_t piece = bytes - *got < (1u << 30) ? bytes - *got : 1u << 30;
        stream->next_out = out + *got;
        stream->avail_out = (uInt)piece;
        int status = inflate(stream, Z_NO_FLUSH);
        *got += piece - stream->avail_out;
        size_t place = source->bytes - stream->avail_in;
        if (status == Z_STREAM_END) {
            if (next_member(source, error) != 0)
                return -1;
        } else if (status == Z_MEM_ERROR)
            return ad_fail(error, "%s: out of memory to unfold it", source->path);
        else if (status == Z_BUF_ERROR || (status == Z_OK && !stream->avail_in && stream->avail_out))
            return ad_fail(error, "%s: truncated gzip file of %zu bytes", source->path, source->bytes);
        else if (status != Z_OK)
            return ad_fail(error, "%s: corrupt gzip file: %s at byte %zu", source->path,
                           stream->msg ? stream->msg : "bad data", place);
    }
    return 0;
}

int ds_source_read(ds_source *source, void *out, size_t bytes, size_t *got, ad_error *error)
{
    *got = 0;
    if (source->zipped)
        return unfold(source, out, bytes, got, error);
    *got = bytes < source->bytes - source->at ? bytes : source->bytes - source->at;
    memcpy(out, source->file + source->at, *got);
    source->at += *got;
    return 0;
}

/* The rest of a gzipped source, in room that doubles. */
static char *unfold_all(ds_source *source, size_t limit, size_t *bytes, ad_error *error)
{
    size_t room = source->bytes < limit / 4 ? 4 * source->bytes + 64 : limit, got = 0;
    char *text = ad_reserve(room + 1, 1, source->path, error);
    *bytes = 0;
    while (text) {
        int failed = ds_source_read(source, text + *bytes, room - *bytes, &got, error);
        *bytes += got;
        if (!failed && *bytes < room) {
            text[*bytes] = 0;
            return text;
        }
        if (!failed && room > limit)
            failed = ad_fail(error, "%s: it unfolds to more than %zu bytes", source->path, limit);
        char *larger = failed ? NULL : ad_reserve(2 * room + 1, 1, source->path, error);
        if (larger)
            memcpy(larger, text, *bytes);
        ad_free(text);
        text = larger;
        room *= 2;
    }
    return NULL;
}

char *ds_unfold(const char *path, size_t limit, size_t *bytes, ad_error *error)
{
    ds_source *source = open_within(path, limit, error);
    char *text = NULL;
    if (source && source->zipped)
        text = unfold_all(source, limit, bytes, error);
    else if (source) {
        text = (char *)source->file;
        *bytes = source->bytes;
        source->file = NULL;
    }
    ds_source_close(source);
    return text;
}

int ds_look(ds_found *found, ad_error *error)
{
    FILE *stream = fopen(found->path, "rb");
    if (!stream)
        return ad_fail(error, "%s: cannot read: %s", found->path, strerror(errno));
    found->bytes = fread(found->head, 1, sizeof found->head, stream);
    fclose(stream);
    if (!found->bytes)
        return ad_fail(error, "%s: it is empty", found->path);
    if (!has_mark(found->head, found->bytes))
        return 0;
    gzFile zipped = gzopen(found->path, "rb");
    if (!zipped)
        return ad_fail(error, "%s: cannot read: out of memory, or it is gone", found->path);
    memset(found->head, 0, sizeof found->head);
    int got = gzread(zipped, found->head, sizeof found->head);
    found->bytes = got > 0 ? (size_t)got : 0;
    gzclose_r(zipped);
    return 0;
}
