/* tool.h: the tool as its users run it: a process with arguments in a folder of the test's own, an exit status, and one
 * line on standard error when something is wrong. Every failure fails the test. */
#ifndef LIMN_TESTS_TOOL_H
#define LIMN_TESTS_TOOL_H
#include "datasets/datasets.h"

/* ---- the folder ---- */
#define TOOL_SUITE(name) TestSuite(name, .init = tool_enter, .fini = tool_leave, .timeout = 600)
extern char folder[64];
void tool_enter(void);
void tool_leave(void);
void shell(const char *format, ...);
const char *in(const char *file);            /* its path; the last eight results stay valid */
int files(const char *path);                 /* how many a folder has, those with a dot not counted */
char *slurp(const char *path, size_t *size); /* the whole file; ad_free frees it */
void put(const char *file, const void *bytes, size_t count);
void put_text(const char *file, const char *text);
void put_array(const char *file, const double *values, size_t rows, size_t columns); /* columns 0: (rows) */
void put_npy(const char *file, const char *descr, bool fortran, const char *shape, const void *data, size_t size);
void put_inputs(const char *file);  /* reference_inputs(5, 10) */
void put_example(const char *file); /* that of nn/entry.h */
void bring(const char *file);       /* from tests/examples/limn/networks */
ds_array get_array(const char *file);
void compare(const char *what, const char *file, const double *expected, size_t count, double tolerance);

/* ---- a run ---- */
/* Its output stays until the next one. */
typedef struct {
    int status;
    const char *out, *err;
} outcome;
outcome run_as(const char *program, const char *environment, const char *arguments); /* "KEY=value ..." or "" */
outcome limn(const char *format, ...);
outcome works(const char *arguments);
bool is_one_line(const char *err); /* that starts with "limn: ", progress aside */
/* It ends with the status, one line that holds `told`, and as many files as before. */
void fails_as(const char *environment, const char *arguments, int status, const char *told);
void fails(const char *arguments, int status, const char *told);

/* A sanitizer's shadow takes terabytes of addresses. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

/* A network that is trained at once. */
#define SMALL "mlp --data digits --width 32 --set depth=1 "
#endif
