/* figure.c: what the sections of the page are made of. */
#include "examples/limn/report/report.h"

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

int report_figure(const report *r, FILE *out, plot *drawing, const char *caption, ad_error *error)
{
    char *picture = plot_end(drawing, r->o->plots, error);
    if (!picture)
        return -1;
    fprintf(out, "<figure role=\"img\" aria-label=\"%s\">%s<figcaption>%s</figcaption></figure>\n", caption, picture,
            caption);
    ad_free(picture);
    return 0;
}
