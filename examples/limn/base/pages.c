/* pages.c: man pages and completion for bash and zsh, from the table in options.def. */
#include "examples/limn/base/options.h"

#include <ctype.h>
#include <string.h>

/* ---- man ---- */
/* A text for roff: no line is a request, hyphens are minus signs, and characters beyond ASCII have names. */
static void put_roff(const char *text, size_t length)
{
    static const struct {
        const char *utf8, *name;
    } names[] = { { "\u22a4", "-T" }, { "\u27e8", "\\(la" }, { "\u27e9", "\\(ra" }, { "\u03c3", "\\(*s" } };
    for (size_t i = 0, n; i < length; i += n) {
        n = 1;
        if (i == 0 && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", stdout);
        for (size_t k = 0; k < sizeof names / sizeof *names && n == 1; k++)
            if (strncmp(text + i, names[k].utf8, strlen(names[k].utf8)) == 0) {
                fputs(names[k].name, stdout);
                n = strlen(names[k].utf8);
            }
        if (n == 1 && text[i] == '\\')
            fputs("\\e", stdout);
        else if (n == 1 && text[i] == '-')
            fputs("\\-", stdout);
        else if (n == 1)
            putchar(text[i] == '\n' ? ' ' : text[i]);
    }
}

static void put_roff_words(const char *text)
{
    for (size_t length; *text; text += length) {
        text += strspn(text, " \n");
        length = strcspn(text, " \n");
        put_roff(text, length);
        putchar(text[length] ? ' ' : '\n');
    }
}

/* Paragraphs as in the help: lines that begin with a blank are shown as they are. */
static void put_roff_paragraphs(const char *text)
{
    bool example = false, empty = true;
    while (*text) {
        size_t length = strcspn(text, "\n");
        bool indented = *text == ' ';
        if (indented != example && length)
            puts(indented ? ".PP\n.nf" : ".fi\n.PP");
        else if (!length && !empty && text[1] && text[1] != ' ' && !example)
            puts(".PP");
        example = length ? indented : example;
        empty = !length;
        put_roff(text, length);
        if (length)
            putchar('\n');
        text += length + (text[length] == '\n');
    }
    if (example)
        puts(".fi");
}

static void put_roff_title(const char *title)
{
    printf(".SS %s\n", title);
}

static void put_roff_option(const row *r)
{
    char text[80];
    const char *argument = option_argument(r, text, sizeof text);
    fputs(".TP\n\\fB", stdout);
    put_roff(r->name, strlen(r->name));
    fputs(*argument ? "\\fR \\fI" : "", stdout);
    put_roff(argument, strlen(argument));
    puts("\\fR");
    put_roff_words(r->help);
}

static void put_roff_commands(const tool_command *const *commands)
{
    puts(".SH COMMANDS");
    for (int k = 0; commands[k]; k++) {
        printf(".TP\n\\fB%s\\fR \\fI%s\\fR\n", commands[k]->name, commands[k]->argument);
        put_roff_words(commands[k]->summary);
        printf("See\n.BR limn\\-%s (1).\n", commands[k]->name);
    }
    puts(".TP\n\\fBhelp\\fR [\\fICOMMAND\\fR]\nthe commands and their options, or those of one.\n"
         ".TP\n\\fBhelp man\\fR|\\fBbash\\fR|\\fBzsh\\fR [\\fICOMMAND\\fR]\na page such as this, or completion.");
}

static void put_roff_end(void)
{
    puts(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 130 or 143 ended by Ctrl\\-C or SIGTERM.\n"
         ".SH ENVIRONMENT\n"
         ".TP\n\\fBCC\\fR\nthe compiler of a network's C file (cc)\n"
         ".TP\n\\fBTMPDIR\\fR\nwhere its object is made (/tmp)\n"
         ".TP\n\\fBLIMN_DATA\\fR\nthe folder of the embedded data sets\n"
         ".SH SEE ALSO\nG. Yang, Tensor Programs I, II and III: arXiv:1910.12478, arXiv:2006.14548 "
         "and\narXiv:2009.10685.");
}

void pages_man(const tool_command *const *commands, const tool_command *about)
{
    const char *name = about ? about->name : "";
    printf(".TH LIMN%s", about ? "\\-" : "");
    for (const char *c = name; *c; c++)
        putchar(toupper((unsigned char)*c));
    printf(" 1 \"\" \"limn %s\" \"limn\"\n.SH NAME\nlimn%s%s \\- ", LIMN_VERSION, about ? "\\-" : "", name);
    put_roff_words(about ? about->summary : "kernels, limits and training of infinitely wide neural networks");
    puts(".SH SYNOPSIS");
    printf(".B limn %s\n", about ? name : "\\fICOMMAND\\fR");
    printf("\\fI%s\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n", about ? about->argument : "NET\\fR|\\fIFILE");
    put_roff_paragraphs(about
                            ? about->manual
                            : "limn traces a neural network, written as a C function, with its widths as symbols, and "
                              "runs that one trace at any width and at n = infinity: the Netsor\u22a4 program of its "
                              "forward and backward pass, its NNGP kernel and its neural tangent kernel.\n");
    if (!about)
        put_roff_commands(commands);
    if (!about || strstr(about->argument, "NET")) {
        char text[2000];
        help_networks(text, sizeof text);
        puts(".SH NETWORKS");
        put_roff_paragraphs(text);
    }
    puts(".SH OPTIONS");
    option_walk(about, put_roff_title, put_roff_option);
    put_roff_end();
}

/* ---- completion ---- */
static void put_option_names(const tool_command *about)
{
    for (int i = 0, any = 0; i < OPTIONS; i++)
        if (option_taken(about, i))
            printf("%s%s", any++ ? " " : "", rows[i].name);
}

static void put_network_names(void)
{
    for (int k = 0; nn_builtin_names()[k]; k++)
        printf("%s%s", k ? " " : "", nn_builtin_names()[k]);
}

/* The words of a choice, with blanks between. */
static void put_choice(const row *r)
{
    for (int k = 0; k < WORDS && r->words[k]; k++)
        printf("%s%s", k ? " " : "", r->words[k]);
}

void pages_bash(const tool_command *const *commands)
{
    puts("# bash completion of limn; made by \"limn help bash\"\n_limn()\n{\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options words=\n"
         "    COMPREPLY=()\n    case $before in");
    for (int i = 0; i < OPTIONS; i++)
        if (rows[i].words) {
            printf("    %s) words=\"", rows[i].name);
            put_choice(&rows[i]);
            puts("\" ;;");
        }
    fputs("    --data) words=\"mnist digits\" ;;\n    --width) words=inf ;;\n    ", stdout);
    for (int i = 0, any = 0; i < OPTIONS; i++)
        if (!rows[i].words && rows[i].kind != FLAG && strcmp(rows[i].name, "--data") != 0 &&
            strcmp(rows[i].name, "--width") != 0)
            printf("%s%s", any++ ? "|" : "", rows[i].name);
    puts(") return ;;\n    esac\n"
         "    if [ -n \"$words\" ]; then\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n        return\n    fi\n"
         "    case ${COMP_WORDS[1]} in");
    for (int k = 0; commands[k]; k++) {
        printf("    %s) options=\"", commands[k]->name);
        put_option_names(commands[k]);
        puts("\" ;;");
    }
    fputs("    esac\n    if [ \"$COMP_CWORD\" = 1 ] || [ \"${COMP_WORDS[1]}\" = help ]; then\n        words=\"help",
          stdout);
    for (int k = 0; commands[k]; k++)
        printf(" %s", commands[k]->name);
    fputs("\"\n    elif [ \"${word:0:1}\" = - ]; then\n        words=$options\n    else\n        words=\"", stdout);
    put_network_names();
    puts("\"\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
         "complete -o bashdefault -o default -F _limn limn");
}

/* A help for zsh's _arguments: brackets, colons and quotes would end it. */
static void put_zsh_text(const char *text)
{
    for (; *text; text += strspn(text, " \n") ? strspn(text, " \n") : 1)
        if (strspn(text, " \n"))
            putchar(' ');
        else if (*text == '\'')
            fputs("'\\''", stdout);
        else
            printf("%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
}

static void put_zsh_option(const row *r)
{
    bool many = r->kind == SETTING || r->kind == GRID || r->kind == MAPPING || r->kind == PATTERN ||
                r->kind == EXPONENTS || r->kind == EXPECTATION;
    printf("            '%s%s[", many ? "*" : "", r->name);
    put_zsh_text(r->help);
    fputs("]", stdout);
    if (r->words) {
        fputs(":word:(", stdout);
        put_choice(r);
        fputs(")", stdout);
    } else if (strcmp(r->name, "--data") == 0) {
        fputs(":data:_limn_data", stdout);
    } else if (r->kind == TEXT) {
        fputs(":file:_files", stdout);
    } else if (r->kind != FLAG) {
        fputs(":", stdout);
        put_zsh_text(r->argument);
        fputs(": ", stdout);
    }
    puts("' \\");
}

void pages_zsh(const tool_command *const *commands)
{
    fputs("#compdef limn\n# zsh completion of limn; made by \"limn help zsh\"\n"
          "_limn_network()\n{\n    _alternative 'networks:network:(",
          stdout);
    put_network_names();
    puts(")' 'files:file:_files'\n}\n"
         "_limn_data()\n{\n    _alternative 'sets:data set:(mnist digits)' 'files:file:_files'\n}\n"
         "_limn()\n{\n    local -a commands\n    commands=(");
    for (int k = 0; commands[k]; k++) {
        printf("        '%s:", commands[k]->name);
        put_zsh_text(commands[k]->summary);
        puts("'");
    }
    puts("        'help:commands and options'\n    )\n"
         "    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
         "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in");
    for (int k = 0; commands[k]; k++) {
        printf("    %s)\n        _arguments \\\n", commands[k]->name);
        for (int i = 0; i < OPTIONS; i++)
            if (option_taken(commands[k], i))
                put_zsh_option(&rows[i]);
        puts("            '*:network:_limn_network' ;;");
    }
    puts("    help) _describe command commands ;;\n    esac\n}\n_limn \"$@\"");
}
