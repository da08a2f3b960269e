/* table.h: tables of text: their cells, their numbers, where their columns are, and their labels. */
#ifndef LIMN_DATASETS_FORMATS_TABLE_H
#define LIMN_DATASETS_FORMATS_TABLE_H
#include "datasets/datasets.h"

enum { DS_CELL = 256 };

/* What the numbers of a file have told of its decimal sign so far. */
typedef struct {
    char sign;           /* '.' or ','; 0: no number has had one */
    bool proven;         /* a comma that cannot separate thousands has been read */
    size_t line, column; /* of the first number with a comma, */
    char first[DS_CELL]; /* and its text */
} ds_decimal;

typedef struct {
    const char *path;
    ad_error *error;
    const char *at, *end;
    const char *header;  /* where the names of the columns stand; NULL: there are none */
    size_t unnamed;      /* leading columns that the header does not name */
    char separator;      /* ' ' stands for runs of blanks and tabs */
    size_t line, column; /* of the cell that was read last, counted from 1 */
    size_t lines;        /* up to `at` */
    size_t comments;     /* lines that were left out */
    ds_decimal decimal;
    bool quoted;        /* the cell was */
    char cell[DS_CELL]; /* its text, without quotes and the blanks around it */
} ds_reader;

/* ---- cells.c ---- */

/* A finite decimal number, with a point; *whole if it is written as a whole one. */
bool ds_finite_number(const char *text, double *value, bool *whole);
/* Reads the next cell and what ends it: 1 if another one follows in the record, 0 if not, -1 if it is malformed. */
int ds_read_cell(ds_reader *r);
/* Steps over lines of comments. The last one, behind its '#', or NULL. */
const char *ds_skip_comments(ds_reader *r);
/* The cell is a finite number, its decimal sign a point, or a comma where commas do not separate. */
bool ds_cell_number(const ds_reader *r, double *value, bool *whole);
/* The cell stands for a value that is missing or infinite. */
bool ds_cell_missing(const ds_reader *r);
/* It is, or it was meant to be: a missing one, one that is written otherwise, a date. */
bool ds_cell_numeric(const ds_reader *r);
/* The number of the cell; its decimal sign must be that of the file. */
int ds_take_number(ds_reader *r, double *value, bool *whole);
/* After the last number: an error if commas may have separated thousands. */
int ds_check_decimals(const ds_reader *r);
/* An error about the cell, whose text is not used again. */
int ds_wrong_cell(ds_reader *r, const char *what);

/* ---- dialect.c ---- */

typedef struct {
    size_t columns;    /* of a row, */
    size_t label;      /* and the place of the label in it; columns: none */
    size_t index;      /* of names or numbers of the rows, left out; columns: none */
    bool trailing;     /* an empty cell may end a row */
    bool guessed;      /* the first line is a header, though it has numbers */
    bool comment_head; /* the header is a comment */
} ds_layout;

/* Finds r->separator. */
void ds_find_separator(ds_reader *r);
/* Looks at the first record, where r stands; afterwards it stands at the first row. */
int ds_find_layout(ds_reader *r, const char *label_column, ds_layout *l);

/* The label's column by its place; "first" is the first that is no index. `columns` for none, more if there is no such
 * place, SIZE_MAX for a name. */
size_t ds_label_place(const char *choice, size_t columns, size_t index);

/* ---- labels.c: words and whole numbers are classes, other numbers are targets ---- */

typedef struct {
    ad_arena *arena; /* of the words */
    struct ds_word {
        const char *text;
        double number; /* in the order of their coming */
    } * words;         /* sorted by text, for room of DS_CLASSES */
    size_t count;
    bool spoken; /* the first label is a word, so all are */
    bool whole;  /* all are written as whole numbers, */
    bool even;   /* or all have whole values */
} ds_labels;

/* The label in r's cell. */
int ds_read_label(ds_reader *r, ds_labels *l, bool first, double *y);
/* After the last row: y becomes class indices, if they are classes. */
int ds_finish_labels(ds_data *data, const ds_labels *l, const char *path, ad_error *error);
/* y, whole numbers, becomes the position of each among the distinct ones, which name the classes. */
int ds_classes_of_numbers(ds_data *data, const char *path, ad_error *error);
#endif
