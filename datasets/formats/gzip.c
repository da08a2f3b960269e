/* gzip.c: a file's bytes in order, unfolded by zlib if it is gzipped. Whoever reads says how many bytes it wants, so
 * that nothing unfolds further than a header has promised. */
#include "datasets/formats/gzip.h"
#include "datasets/set/set.h"

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

ds_source *ds_source_open(const char *path, ad_error *error)
{
    ds_source *source = ad_alloc(1, sizeof *source, path, error);
    if (!source)
        return NULL;
    source->path = path;
    source->file = (unsigned char *)ad_file_read(path, DS_FILE, &source->bytes, error);
    if (source->file && source->bytes > 1 && source->file[0] == 0x1F && source->file[1] == 0x8B) {
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

/* Deflate gives at most 1032 bytes for one: a copy of 258 takes at least two bits. */
size_t ds_source_maximum(const ds_source *source, bool *exact)
{
    *exact = !source->zipped;
    return source->zipped ? 1032 * source->bytes : source->bytes;
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
        if (status == Z_STREAM_END)
            source->ended = true;
        else if (status == Z_MEM_ERROR)
            return ad_fail(error, "%s: out of memory to unfold it", source->path);
        else if (status == Z_BUF_ERROR || (status == Z_OK && !stream->avail_in && stream->avail_out))
            return ad_fail(error, "%s: truncated gzip file of %zu bytes", source->path, source->bytes);
        else if (status != Z_OK)
            return ad_fail(error, "%s: corrupt gzip file: %s at byte %zu", source->path,
                           stream->msg ? stream->msg : "bad data", place);
        if (source->ended && stream->avail_in)
            return ad_fail(error, "%s: %u bytes follow the gzip data, which end at byte %zu", source->path,
                           stream->avail_in, place);
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
