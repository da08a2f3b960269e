/* test_tables.c: tables of text in the dialects of the tools that write them, each against the numbers that were
 * written, and what must not be guessed. The bytes are those that the named tool writes. */
#include "datasets/datasets.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void enter(void)
{
    snprintf(path, sizeof path, "/tmp/limn-tables-XXXXXX");
    int file = mkstemp(path);
    cr_assert(file >= 0 && close(file) == 0);
}

static void leave(void)
{
    unlink(path);
}

TestSuite(tables, .init = enter, .fini = leave);

static ds_data *load_bytes(const char *content, size_t count, const char *label, ad_error *error)
{
    FILE *stream = fopen(path, "wb");
    cr_assert(stream && fwrite(content, 1, count, stream) == count && fclose(stream) == 0);
    ds_data *data = ds_load(path, &(ds_options){ .scaling = DS_UNIT, .label_column = label }, error);
    cr_assert(!data == !!error->text[0] && !strchr(error->text, '\n'));
    return data;
}

enum { X = 10 };

/* The rows in any order: x, and y behind it. */
typedef struct {
    const char *content, *label;
    size_t rows, features, classes;
    double x[X]; /* (rows, features) */
    double y[3];
    const char *note; /* a part of it; "" is none */
} table;

static bool has_row(const ds_data *data, const double *x, double y)
{
    for (size_t r = 0; r < data->rows; r++) {
        bool same = !data->y || fabs(data->y[r] - y) < 1e-15;
        for (size_t j = 0; j < data->features; j++)
            same = same && fabs(data->x[r * data->features + j] - x[j]) < 1e-15;
        if (same)
            return true;
    }
    return false;
}

static void reads(const table *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const table *t = &cases[i];
        ad_error error = { 0 };
        ds_data *data = load_bytes(t->content, strlen(t->content), t->label, &error);
        cr_assert(data, "case %zu: %s", i, error.text);
        cr_assert(data->rows == t->rows && data->features == t->features && data->classes == t->classes,
                  "case %zu: %zu x %zu, %zu classes", i, data->rows, data->features, data->classes);
        for (size_t r = 0; r < t->rows; r++)
            cr_assert(has_row(data, t->x + r * t->features, t->y[r]), "case %zu, row %zu", i, r);
        cr_assert(strstr(data->note, t->note) && !data->note[0] == !t->note[0], "case %zu: '%s'", i, data->note);
        ds_free(data);
    }
}

Test(tables, separators)
{
    static const table cases[] = {
        { "1;2;0\n3;4;1\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "1\t2\t0\n3\t4\t1\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        /* np.savetxt, and aligned columns */
        { "1.000000000000000000e+00 2.500000000000000000e+00\n3.000000000000000000e+00 4.000000000000000000e+00\n",
          NULL,
          2,
          1,
          0,
          { 1, 3 },
          { 2.5, 4 },
          "" },
        { "   1.5    2   0 \n  13.5   14   1\n", NULL, 2, 2, 2, { 1.5, 2, 13.5, 14 }, { 0, 1 }, "" },
        { "18.0   8   307.0\t\"chevrolet malibu\"\n15.0   4   350.0\t\"buick skylark\"\n",
          NULL,
          2,
          3,
          2,
          { 18, 8, 307, 15, 4, 350 },
          { 1, 0 },
          "" },
        { "1\t2\tIris setosa\n3\t4\tIris virginica\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "1, 2, 0\n3, 4, 1\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "1,2,a;b\n3,4,c;d\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "a|b|y\n1|2|0\n3|4|1\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "1,5|2|0\n3|4|1\n", NULL, 2, 2, 2, { 1.5, 2, 3, 4 }, { 0, 1 }, "decimal commas" },
        /* a separator behind each row, or behind the rows but not the header */
        { "1,2,0,\n3,4,1,\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "a;b;y\n1;2;0;\n3;4;1;\n", NULL, 2, 2, 2, { 1, 2, 3, 4 }, { 0, 1 }, "" },
        { "a;b;y;\n1;2;0;\n3;4;1;\n", "a", 2, 2, 2, { 2, 0, 4, 1 }, { 0, 1 }, "" },
        /* Excel */
        { "sep=;\r\na;y\r\n1;0\r\n3;1\r\n", NULL, 2, 1, 2, { 1, 3 }, { 0, 1 }, "" },
        { "\xEF\xBB\xBFsep=,\n1,0\n3,1\n\x1A", NULL, 2, 1, 2, { 1, 3 }, { 0, 1 }, "" },
        { "\n\r\n1,0\r3,1\r \t\r", NULL, 2, 1, 2, { 1, 3 }, { 0, 1 }, "" },
    };
    reads(cases, sizeof cases / sizeof cases[0]);
}

Test(tables, decimal_commas)
{
    static const table cases[] = {
        { "1,5;2,25;0\n3;4,125;1\n", NULL, 2, 2, 2, { 1.5, 2.25, 3, 4.125 }, { 0, 1 }, "decimal commas" },
        { "\"a\";\"y\"\n1,5;2,5\n3;4\n", NULL, 2, 1, 0, { 1.5, 3 }, { 2.5, 4 }, "decimal commas" },
        { "1,5\t0\n2,5\t1\n", NULL, 2, 1, 2, { 1.5, 2.5 }, { 0, 1 }, "decimal commas" },
        { "1,5 0\n2,5 1\n", NULL, 2, 1, 2, { 1.5, 2.5 }, { 0, 1 }, "decimal commas" },
        { "1,234;0\n0,125;1\n", NULL, 2, 1, 2, { 1.234, 0.125 }, { 0, 1 }, "decimal commas" },
        { "1,5;1e-3;0\n2,5;2,5E2;1\n", NULL, 2, 2, 2, { 1.5, 1e-3, 2.5, 250 }, { 0, 1 }, "decimal commas" },
        { "1;0,5\n2;1,5\n", NULL, 2, 1, 0, { 1, 2 }, { 0.5, 1.5 }, "decimal commas" },
    };
    reads(cases, sizeof cases / sizeof cases[0]);
}

Test(tables, headers_and_indices)
{
    static const char index[] = "column 1 is an index, left out";
    static const table cases[] = {
        /* pandas: to_csv() with its index, twice written, without names, and names that are numbers */
        { ",a,b,y\n0,1.5,2.0,0\n1,3.0,4.0,1\n", NULL, 2, 2, 2, { 1.5, 2, 3, 4 }, { 0, 1 }, index },
        { "Unnamed: 0,a,y\n0,1.5,0\n1,3.0,1\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, index },
        { ",0,1,2\n0,1.5,2.0,0\n1,3.0,4.0,1\n", NULL, 2, 2, 2, { 1.5, 2, 3, 4 }, { 0, 1 }, index },
        { ",0\n0,1.5\n1,3.0\n", "none", 2, 1, 0, { 1.5, 3 }, { 0 }, index },
        { ",a,y\nx1,1.5,0\nx2,3.0,1\n", "first", 2, 1, 0, { 0, 1 }, { 1.5, 3 }, index },
        { "0,1,2\n1.5,2.0,0\n3.0,4.0,1\n", NULL, 2, 2, 2, { 1.5, 2, 3, 4 }, { 0, 1 }, "taken as a header" },
        { "0,1,2\n5,2,0\n3,4,1\n", NULL, 2, 2, 2, { 5, 2, 3, 4 }, { 0, 1 }, "taken as a header" },
        { "0,1\n1.5,0\n3.0,1\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, "taken as a header" },
        { "2010,2011,2012\n1.5,2.5,0\n3.5,4.5,1\n", NULL, 2, 2, 2, { 1.5, 2.5, 3.5, 4.5 }, { 0, 1 }, "as a header" },
        /* data, not headers */
        { "0,1,2\n3,4,5\n", NULL, 2, 2, 2, { 0, 1, 3, 4 }, { 0, 1 }, "" },
        { "0,1\n1,0\n", NULL, 2, 1, 2, { 0, 1 }, { 1, 0 }, "" },
        { "1,2,0\n1.5,2.5,1\n", NULL, 2, 2, 2, { 1, 2, 1.5, 2.5 }, { 0, 1 }, "" },
        /* R: write.csv, write.table, with quotes and without, names of numbers, no row names */
        { "\"\",\"a\",\"y\"\n\"1\",1.5,\"u\"\n\"2\",3,\"v\"\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, index },
        { "\"a\" \"b\" \"y\"\n\"1\" 1.5 2 \"u\"\n\"2\" 3 4 \"v\"\n", NULL, 2, 2, 2, { 1.5, 2, 3, 4 }, { 0, 1 }, index },
        { "\"a\" \"b\" \"y\"\n\"1\" 1.5 2 0\n\"2\" 3 4 1\n", "b", 2, 2, 2, { 1.5, 0, 3, 1 }, { 0, 1 }, index },
        { "a\ty\nr1\t1.5\t0\nr2\t3\t1\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, index },
        { "\"1\" \"2\"\n1.5 0\n3 1\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, "taken as a header" },
        { "\"1\" \"2\"\n\"a\" 1.5 0\n\"b\" 3 1\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, "taken as a header" },
        { "\"\";\"a\";\"y\"\n\"1\";1,5;\"u\"\n\"2\";3;\"v\"\n", NULL, 2, 1, 2, { 1.5, 3 }, { 0, 1 }, "decimal commas" },
        /* np.savetxt(header="a b y"), Octave's save -text, comments between rows */
        { "# a,b,y\n1.5,2,0\n3,4,1\n", "a", 2, 2, 0, { 2, 0, 4, 1 }, { 1.5, 3 }, "1 line of comment (#), the header" },
        { "# Created by Octave\n# name: x\n# type: matrix\n# rows: 2\n# columns: 2\n 1.5 0\n 3 1\n\n\n",
          NULL,
          2,
          1,
          2,
          { 1.5, 3 },
          { 0, 1 },
          "5 lines of comment (#)" },
        { "1,0\n# more\n3,1\n#\n", NULL, 2, 1, 2, { 1, 3 }, { 0, 1 }, "2 lines of comment (#)" },
        { "# from a sensor\na,y\n1,0\n3,1\n", "a", 2, 1, 2, { 0, 1 }, { 0, 1 }, "1 line of comment (#)" },
        /* floats that are whole are no classes */
        { "a,y\n1.5,0.0\n3.0,1.0\n", NULL, 2, 1, 0, { 1.5, 3 }, { 0, 1 }, "decimal point, taken as targets" },
        { "a,y\n1.5,True\n3.0,False\n", NULL, 2, 1, 2, { 1.5, 3 }, { 1, 0 }, "" },
    };
    reads(cases, sizeof cases / sizeof cases[0]);
}

Test(tables, what_is_not_guessed)
{
    static const struct {
        const char *content, *label, *words;
    } cases[] = {
        { "1,234;0\n2,500;1\n", NULL, "line 1, column 1: '1,234' has a decimal comma or one of thousands" },
        { "1,234,567;0\n2;1\n", NULL,
          "line 1, column 1: '1,234,567' is no finite number: write it without separators" },
        { "1.234,5;0\n2;1\n", NULL, "'1.234,5' is no finite number: write it without separators of thousands" },
        { "\"1,234\",0\n2,1\n", NULL, "line 1, column 1: '1,234' is no finite number: write it without separators" },
        { "2,0\n\"1,5\",1\n", NULL, "line 2, column 1: '1,5' is no finite number: write it with a decimal point" },
        { "1,5;0\n2.5;1\n", NULL, "line 2, column 1: '2.5' has a point, where numbers above have decimal commas" },
        { "2.5;0\n1,5;1\n", NULL, "line 2, column 1: '1,5' has a comma, where numbers above have decimal points" },
        { "a,y\n1,0\n,1\n", NULL, "line 3, column 1 (a): '' is empty, where a number is needed: leave its row out" },
        { "a,y\nNA,0\n3,1\n", NULL, "line 2, column 1 (a): 'NA' is no finite number but a missing one" },
        { "a,y\n1,0\n-inf,1\n", NULL, "line 3, column 1 (a): '-inf' is no finite number: leave its row out" },
        { "a,y\n1,u\n2,NA\n", NULL, "line 3, column 2 (y): 'NA' is no finite number, nor a class" },
        { "a,y\n1,?\n2,u\n", NULL, "line 2, column 2 (y): '?' is no finite number, nor a class" },
        { "nan,nan,0\n1,2,1\n", NULL, "line 1, column 1: 'nan' is no finite number but a missing one" },
        { "a,colour,y\n1,red,0\n2,blue,1\n", NULL,
          "line 2, column 2 (colour): 'red' is no finite number: only the label's column may hold words" },
        { "\"a\" \"y\"\n\"1\" x 0\n\"2\" 3 1\n", NULL, "line 2, column 2 (a): 'x' is no finite number: only" },
        { "1 1:0.5 2:0.25\n0 1:0.5 2:2\n", "first", "'1:0.5' is no finite number but of svmlight's format" },
        { ",a,y\n0,1,0\n1,2,1\n", "1", "column 1 is an index and cannot be the label" },
        { ",y\n0,1\n1,0\n", NULL, "one column only, which is the label" },
        { "# name: x\n# columns: 2\n 1 0\n 2 1\n# name: z\n# columns: 2\n 1 0\n", NULL, "line 7: a second matrix" },
        { "v,y\n1 000,0\n2 000,1\n", NULL, "line 2, column 1 (v): '1 000' is no finite number: write it without sep" },
        { "v/y\n1/0\n", NULL, "one column only, which is the label; commas, semicolons, tabs, bars or blanks sep" },
        { "d,y\n2020-01-01,0\n", NULL, "'2020-01-01' is no finite number: write it as one, or leave its column out" },
        { "sep=;\n", NULL, "no row of data" },
        { "# nothing\n# at all\n", NULL, "no row of data" },
        { "a,y\n# nothing\n", NULL, "no row of data" },
        { "1,2,0,\n3,4,1,5\n", NULL, "line 1, column 4: '' is empty, where a label" },
        { "# a,b,y\n1,2,0\n3,4,1\n", "z", "no column of line 2 is named 'z'" },
        { "PK\3\4xxxx", NULL, "no table of text but a zip file" },
        { "\x80\4\x95xxxx", NULL, "no table of text but a pickle: save the array by np.save" },
        { "[[1, 2], [3, 4]]", NULL, "no table of text but JSON" },
        { "\xFF\xFE"
          "1,2",
          NULL, "no table of text but UTF-16: save it as UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ad_error error = { 0 };
        ds_data *data = load_bytes(cases[i].content, strlen(cases[i].content), cases[i].label, &error);
        cr_expect(!data && strstr(error.text, cases[i].words) && strstr(error.text, path), "case %zu: '%s' wanted: %s",
                  i, cases[i].words, error.text);
        ds_free(data);
    }
}

/* Every one of these cut anywhere is a set or one error. */
Test(tables, every_truncation)
{
    static const char *const contents[] = {
        "sep=;\r\n\"a\";\"b\"\";\";y\r\n1,5;2,25;0\r\n3;4,125;1\r\n",
        "# Created\n# a b y\n 1.5 2 \"u v\"\n# more\n 3 4 w\n\n",
        "\xEF\xBB\xBF,0,1,2\r0,1.5,2.0,0,\r1,3.0,4.0,1,\r",
        "\"a\" \"y\"\n\"1\" 1.5 NA\n\"2\" 3 1,000\n",
    };
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++)
        for (size_t count = 1; count <= strlen(contents[i]); count++) {
            ad_error error = { 0 };
            ds_data *data = load_bytes(contents[i], count, NULL, &error);
            for (size_t k = 0; data && k < data->rows * data->features; k++)
                cr_assert(isfinite(data->x[k]));
            ds_free(data);
        }
}

/* ---- ARFF -------------------------------------------------------------------------------------------------------- */

#define HEAD "@relation r\n@attribute a numeric\n@attribute 'c d' {red,'dark red',blue}\n@attribute y {no,yes}\n@data\n"

static void write_as(const char *name, const char *content)
{
    snprintf(path, sizeof path, "/tmp/limn-tables-%d%s", (int)getpid(), name);
    FILE *stream = fopen(path, "wb");
    cr_assert(stream && fputs(content, stream) >= 0 && fclose(stream) == 0);
}

Test(tables, arff)
{
    static const char note[] = "c d one-hot (red, dark red, blue)";
    static const table cases[] = {
        { HEAD "1.5,red,no\n2,'dark red',yes\n", NULL, 2, 4, 2, { 1.5, 1, 0, 0, 2, 0, 1, 0 }, { 0, 1 }, note },
        { HEAD "{0 1.5}\n{1 'dark red', 2 yes}\n", NULL, 2, 4, 2, { 1.5, 1, 0, 0, 0, 0, 1, 0 }, { 0, 1 }, note },
        { HEAD "1.5 , red\tno % a remark\r\n\n%\n2,\"dark red\",yes",
          "a",
          2,
          5,
          0,
          { 1, 0, 0, 1, 0, 0, 1, 0, 0, 1 },
          { 1.5, 2 },
          note },
        { "@RELATION 'a b'\n% remark\n@ATTRIBUTE x REAL\n@ATTRIBUTE y INTEGER % more\n@DATA\n1,2\n3,4\n",
          NULL,
          2,
          1,
          0,
          { 1, 3 },
          { 2, 4 },
          "" },
        { "@relation r\n@attribute 'it\\'s' {'a\\'b',c}\n@attribute x real\n@data\n'a\\'b',1\nc,2\n",
          "it's",
          2,
          1,
          2,
          { 1, 2 },
          { 0, 1 },
          "" },
        { "@relation r\n@attribute x real\n@attribute z real\n@data\n1,2\n3,4\n",
          "none",
          2,
          2,
          0,
          { 1, 2, 3, 4 },
          { 0 },
          "" },
    };
    reads(cases, sizeof cases / sizeof cases[0]);
    for (int i = 0; i < 2; i++) {
        unlink(path);
        /* Known by its name, or by its first word. */
        write_as(i ? ".table" : ".arff", &"% remark\n" HEAD "1,red,no\n2,blue,yes\n"[i ? 9 : 0]);
        ad_error error = { 0 };
        ds_data *data = ds_load(path, NULL, &error);
        cr_assert(data && data->classes == 2 && data->features == 4, "%s", error.text);
        cr_assert_str_eq(data->class_names[1], "yes");
        ds_free(data);
    }
    for (long k = 1;; k++) {
        ad_error error = { 0 };
        ad_hook_allocation(k);
        ds_data *data = ds_load(path, NULL, &error);
        ad_hook_allocation(0);
        cr_assert(!data == !!error.text[0] && (data || strstr(error.text, "memory")), "%s", error.text);
        if (data) {
            cr_assert(k > 6);
            ds_free(data);
            break;
        }
    }
}

Test(tables, bad_arff)
{
    static const struct {
        const char *content, *label, *words;
    } cases[] = {
        { HEAD "1,red,no\n2,?,yes\n", NULL, "line 7, attribute 'c d': a missing value: leave its row out" },
        { HEAD "1,green,no\n", NULL, "line 6, attribute 'c d': 'green' is none of its 3 values" },
        { HEAD "nan,red,no\n", NULL, "line 6, attribute 'a': 'nan' is no finite number" },
        { HEAD "1,red\n", NULL, "line 6: a word is missing" },
        { HEAD "1,red,no,4\n", NULL, "line 6: more values than the 3 attributes" },
        { HEAD "1,red,no,{5}\n", NULL, "line 6: rows have no weights" },
        { HEAD "{3 5}\n", NULL, "line 6: place '3': it must be above the one before, and below 3" },
        { HEAD "{1 red, 0 5}\n", NULL, "line 6: place '0'" },
        { HEAD "{0 1.5\n", NULL, "line 6: a word is missing" },
        { HEAD "1,'red,no\n", NULL, "line 6: no closing quote" },
        { HEAD "1,red,no\n2,red,no\n", "z", "no attribute is named 'z'" },
        { HEAD "1,red,no\n2,red,no\n", "4", "no attribute 4: there are 3" },
        { HEAD, NULL, "no data: 0 rows" },
        { "@relation r\n@attribute s string\n@data\nx\n", NULL, "line 2: attribute 's' is of type string" },
        { "@relation r\n@attribute y {a,b,a}\n@data\n", NULL, "line 2: the value 'a' comes twice" },
        { "@relation r\n@attribute y {a,b\n@data\n", NULL, "line 2: '}' is missing" },
        { "@relation r\n@attribute y {a,b}\n@data\na\nb\n", NULL, "one attribute only, which is the label" },
        { "@relation r\n@data\n1\n", NULL, "no @attribute stands before @data" },
        { "@relation r\n1,2\n", NULL, "line 2: @relation, @attribute or @data expected" },
        { "@relation r\n@attribute a real 5\n", NULL, "line 2: more than belongs to this line" },
        { "@relation r\n@attribute a real\n", NULL, "line 3: @relation, @attribute or @data expected" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ad_error error = { 0 };
        ds_data *data = load_bytes(cases[i].content, strlen(cases[i].content), cases[i].label, &error);
        cr_expect(!data && strstr(error.text, cases[i].words), "case %zu: '%s' wanted: %s", i, cases[i].words,
                  error.text);
        ds_free(data);
    }
    static const char whole[] = HEAD "% remark\n1.5,'dark red',no\n{0 2, 2 yes}\n";
    for (size_t count = 1; count < sizeof whole; count++) {
        ad_error error = { 0 };
        ds_free(load_bytes(whole, count, NULL, &error));
    }
}
