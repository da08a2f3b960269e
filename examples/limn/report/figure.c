/* figure.c: what the sections of the page are made of. */
#include "examples/limn/report/report.h"

#include <string.h>

void report_escape(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        switch (text[i]) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(text[i], out);
        }
}

void report_missing(FILE *out, const ad_error *why, ad_error *missing)
{
    fputs("<p class=\"soft\">Missing here: ", out);
    report_escape(out, why->text, strlen(why->text));
    fputs("</p>\n", out);
    ad_fail(missing, "%s", why->text);
}

void report_figure(const report *r, FILE *out, plot *drawing, const char *caption, ad_error *missing)
{
    ad_error why = { 0 };
    char *picture = plot_end(drawing, r->o->plots, &why);
    fprintf(out, "<figure role=\"img\" aria-label=\"%s\">", caption);
    if (picture)
        fputs(picture, out);
    else if (drawing->empty)
        fputs("<p class=\"soft\">Nothing to draw: no value is finite, and positive where the axis is logarithmic.</p>",
              out);
    else
        report_missing(out, &why, missing);
    fprintf(out, "<figcaption>%s</figcaption></figure>\n", caption);
    ad_free(picture);
}
