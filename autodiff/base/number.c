/* number.c: numbers as text, whatever the locale. */
#define _GNU_SOURCE
#include "autodiff/base/base.h"

#include <locale.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Made once and kept; the base locale of the process is no object, and so it is (locale_t)0 that means "none". */
static locale_t c_locale(void)
{
    static _Atomic(locale_t) kept;
    locale_t there = atomic_load(&kept);
    if (there)
        return there;
    locale_t made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (atomic_compare_exchange_strong(&kept, &there, made))
        return made;
    freelocale(made);
    return there;
}

double ad_number(const char *text, char **end)
{
    return strtod_l(text, end, c_locale());
}

void *ad_c_locale_begin(void)
{
    return uselocale(c_locale());
}

void ad_c_locale_end(void *before)
{
    uselocale(before);
}

int ad_vsnprintf(char *text, size_t size, const char *format, va_list args)
{
    void *before = ad_c_locale_begin();
    int length = vsnprintf(text, size, format, args);
    ad_c_locale_end(before);
    return length;
}

int ad_snprintf(char *text, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = ad_vsnprintf(text, size, format, args);
    va_end(args);
    return length;
}
