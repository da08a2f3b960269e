/* base.h: errors, memory and files, the ground every folder of limn stands on. Every function may be called from any
 * thread; an ad_error, an arena or a file belongs to one thread at a time.
 *
 * Errors. A function that can fail takes an `ad_error *` (NULL is allowed: the text is then lost), and returns 0 or a
 * pointer on success, -1 or NULL on failure. The first error stays; later ones do not overwrite it. Nothing prints.
 *
 * Memory. Every allocation goes through ad_alloc, so that a test can count them or make the k-th one fail.
 *
 * Files. A file is written under a temporary name beside its target and renamed when it is whole: a failed write
 * leaves what was there before, and so does a process that is killed (its NAME.tmpXXXXXX may stay and can be deleted).
 * A stream is the exception: a file that others read while it grows. */
#ifndef LIMN_AUTODIFF_BASE_H
#define LIMN_AUTODIFF_BASE_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What stands between these two is what the shared library exports. */
#if defined(__GNUC__)
#define LIMN_API_VISIBLE _Pragma("GCC visibility push(default)")
#define LIMN_API_HIDDEN _Pragma("GCC visibility pop")
#else
#define LIMN_API_VISIBLE
#define LIMN_API_HIDDEN
#endif
#ifdef __cplusplus
#define LIMN_API_BEGIN                                                                                                 \
    extern "C" {                                                                                                       \
    LIMN_API_VISIBLE
#define LIMN_API_END                                                                                                   \
    LIMN_API_HIDDEN                                                                                                    \
    }
#else
#define LIMN_API_BEGIN LIMN_API_VISIBLE
#define LIMN_API_END LIMN_API_HIDDEN
#endif

/* For the macros of the headers: a value of zeros, and the address of one made of ".member = value", ..., that lives to
 * the end of the full expression (C++; in C, of the block). C++ before 2020 has no such initializers, and no C++ has
 * compound literals: there each is an assignment, at least one and at most six. */
#ifdef __cplusplus
#define LIMN_ZERO(type) type()
#define LIMN_MADE(type, ...)                                                                                           \
    (&static_cast<const type &>([&] {                                                                                  \
        type limn_made = type();                                                                                       \
        LIMN_COUNTED(__VA_ARGS__, LIMN_SET6, LIMN_SET5, LIMN_SET4, LIMN_SET3, LIMN_SET2, LIMN_SET1, )                  \
        (__VA_ARGS__) return limn_made;                                                                                \
    }()))
#define LIMN_COUNTED(a, b, c, d, e, f, chosen, ...) chosen
#define LIMN_SET1(set) limn_made set;
#define LIMN_SET2(set, ...)                                                                                            \
    limn_made set;                                                                                                     \
    LIMN_SET1(__VA_ARGS__)
#define LIMN_SET3(set, ...)                                                                                            \
    limn_made set;                                                                                                     \
    LIMN_SET2(__VA_ARGS__)
#define LIMN_SET4(set, ...)                                                                                            \
    limn_made set;                                                                                                     \
    LIMN_SET3(__VA_ARGS__)
#define LIMN_SET5(set, ...)                                                                                            \
    limn_made set;                                                                                                     \
    LIMN_SET4(__VA_ARGS__)
#define LIMN_SET6(set, ...)                                                                                            \
    limn_made set;                                                                                                     \
    LIMN_SET5(__VA_ARGS__)
#else
#define LIMN_ZERO(type) ((type){ 0 })
#define LIMN_MADE(type, ...) (&(type){ __VA_ARGS__ })
#endif

LIMN_API_BEGIN

#if defined(__GNUC__)
#define AD_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define AD_PRINTF(format_at, args_at)
#endif

/* One line of text that says what failed and where; empty while nothing has failed. */
typedef struct {
    char text[512];
} ad_error;

/* Records an error unless one is there already; returns -1 always, so that `return ad_fail(...)` reads well. */
int ad_fail(ad_error *error, const char *format, ...) AD_PRINTF(2, 3);

/* Zeroed memory, aligned to 64 bytes; NULL with an error when there is none. `what` names it in the message. */
void *ad_alloc(size_t count, size_t size, const char *what, ad_error *error);
/* The same, but not zeroed: what is never used is never touched. */
void *ad_reserve(size_t count, size_t size, const char *what, ad_error *error);
void ad_free(void *memory);

/* How many allocations ad_alloc has made so far in this process: a training step must not move it. */
long ad_allocations(void);
/* How many of them got no memory: what was found meanwhile may be less than there is. */
long ad_allocations_failed(void);

/* Seconds of a clock that only goes forward. */
double ad_seconds(void);

/* The hooks of the tests: the k-th allocation (file write, file read) from now on fails, k >= 1; 0 switches it off. */
void ad_hook_allocation(long k);
void ad_hook_write(long k);
void ad_hook_read(long k);

/* An arena: many small allocations, one free. Memory is zeroed and aligned to 16 bytes. One thread at a time. */
typedef struct ad_arena ad_arena;
ad_arena *ad_arena_new(ad_error *error);
void *ad_arena_alloc(ad_arena *arena, size_t count, size_t size); /* NULL when memory is out */
/* It gives out so many bytes at most, which are to be as many as it has given out or more; 0: as many as there are. Was
 * more asked for? */
void ad_arena_limit(ad_arena *arena, size_t bytes);
bool ad_arena_is_full(const ad_arena *arena);
char *ad_arena_text(ad_arena *arena, const char *format, ...) AD_PRINTF(2, 3);
char *ad_arena_vtext(ad_arena *arena, const char *format, va_list args) AD_PRINTF(2, 0);
void ad_arena_free(ad_arena *arena);

/* A file being written. ad_file_close renames it into place; ad_file_discard removes it and leaves the old one, whose
 * rights the new one has. Through a link its target is replaced, or made; a device or a pipe is written into as it
 * comes; a folder and a file that nobody may write are errors. */
typedef struct ad_file ad_file;
ad_file *ad_file_create(const char *path, ad_error *error);
int ad_file_write(ad_file *file, const void *data, size_t bytes, ad_error *error);
int ad_file_close(ad_file *file, ad_error *error); /* frees the handle in any case; on failure the file is discarded */
void ad_file_discard(ad_file *file);
/* Where a file of this path is or would be, into `place` (size): links are followed, also one whose target is not there
 * yet. -1 with an error where links are a circle or a name is too long. */
int ad_file_place(const char *path, char *place, size_t size, ad_error *error);

/* A stream: created anew, or appended to. Each ad_file_write reaches the file at once, as a whole or (after a failure)
 * not at all; ad_file_close and ad_file_discard only end it. ad_file_sync waits until it is on the disk. */
ad_file *ad_file_stream(const char *path, bool append, ad_error *error);
int ad_file_sync(ad_file *file, ad_error *error);

/* Reads a whole file; *bytes gets its length, and one zero byte follows the data. Refuses more than `limit` bytes.
 * The caller frees it with ad_free. */
char *ad_file_read(const char *path, size_t limit, size_t *bytes, ad_error *error);

/* Numbers as text, always with a decimal point, whatever the process's locale says: strtod, snprintf and vsnprintf. */
double ad_number(const char *text, char **end);
int ad_snprintf(char *text, size_t size, const char *format, ...) AD_PRINTF(3, 4);
int ad_vsnprintf(char *text, size_t size, const char *format, va_list args) AD_PRINTF(3, 0);
/* Between the two, this thread (and no other) prints and reads numbers in the C locale. */
void *ad_c_locale_begin(void);
void ad_c_locale_end(void *before);

/* Columns that UTF-8 text takes on a screen: characters, without the marks that combine with the one before. */
int ad_columns(const char *text);

/* Which of the words (the list ends with NULL) was meant: the one that the fewest edits lead to (a letter put in, left
 * out, replaced, or swapped with its neighbour; upper case as lower), if they are at most a third of its letters; else
 * NULL. Words of more than 63 bytes are not looked at. */
const char *ad_closest(const char *word, const char *const *words);

/* The t that Student's variable of so many degrees of freedom exceeds in absolute value with probability `tail`, from
 * 1e-12 to 1, to eight digits at a tail of 1e-7; NAN for others, and without a degree of freedom. */
double ad_student(double tail, int freedom);
/* By how much a standard error of so few runs is to be larger for three of it to hold as often as three standard errors
 * that are known: Student's law has the deviation of few runs be as uncertain as it is. NAN below 2 runs. */
double ad_stated_factor(int runs);

/* A number of threads that was asked for: at least 1. More than AD_MAX_THREADS is an error, and 0 is returned. */
enum { AD_MAX_THREADS = 1024 };
int ad_threads(int asked, ad_error *error);

LIMN_API_END
#endif
