/* golden_file.c - gzipped tables and tensors, read through gzip(1). */
#include "tests/golden/golden_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 16 };

static _Noreturn void give_up(const char *path, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "%s: ", path);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(EXIT_FAILURE);
}

static void *need(void *p)
{
    if (p == NULL)
        give_up("golden data", "out of memory");
    return p;
}

/* The whole of a gzip file, NUL-terminated. */
static char *unpack(const char *path, size_t *len)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "exec gzip -dc '%s'", path);
    FILE *f = popen(command, "r");
    if (f == NULL)
        give_up(path, "gzip cannot be started");
    size_t cap = 1 << 20, used = 0, got;
    char *text = need(malloc(cap));
    while ((got = fread(text + used, 1, cap - 1 - used, f)) > 0) {
        used += got;
        if (used == cap - 1)
            text = need(realloc(text, cap *= 2));
    }
    if (pclose(f) != 0)
        give_up(path, "cannot be read or is not gzip");
    text[used] = '\0';
    *len = used;
    return text;
}

static int count_numbers(const char *cell)
{
    int n = strcmp(cell, "-") != 0;
    for (const char *p = cell; *p != '\0'; p++)
        n += *p == ' ';
    return n;
}

static golden_ids read_ids(const char *path, char *cell)
{
    golden_ids out = {.n = count_numbers(cell)};
    out.at = need(calloc((size_t)out.n + 1, sizeof *out.at));
    for (int i = 0; i < out.n; i++) {
        char *end;
        out.at[i] = (int32_t)strtol(cell, &end, 10);
        if (end == cell)
            give_up(path, "want an id, found '%.20s'", cell);
        cell = end;
    }
    return out;
}

static golden_floats read_floats(const char *path, char *cell)
{
    golden_floats out = {.n = count_numbers(cell)};
    out.at = need(calloc((size_t)out.n + 1, sizeof *out.at));
    for (int i = 0; i < out.n; i++) {
        char *end;
        out.at[i] = strtof(cell, &end);
        if (end == cell)
            give_up(path, "want a number, found '%.20s'", cell);
        cell = end;
    }
    return out;
}

static void copy_name(char *to, const char *from)
{
    (void)snprintf(to, 16, "%s", from);
}

/* A table's next line, split at tabs in place. Returns the number of columns, 0 at the end; comments are skipped. */
static int next_line(char **text, char *columns[MAX_COLUMNS])
{
    for (;;) {
        char *line = *text, *end = strchr(line, '\n');
        if (end == NULL)
            return 0;
        *end = '\0';
        *text = end + 1;
        if (*line == '#')
            continue;
        int n = 0;
        while (line != NULL && n < MAX_COLUMNS) {
            columns[n++] = line;
            line = strchr(line, '\t');
            if (line != NULL)
                *line++ = '\0';
        }
        return n;
    }
}

/* Each table: how many columns a line has, and what becomes of one in element `at`. */
typedef void (*line_fn)(void *at, const char *path, char *c[MAX_COLUMNS]);

static void source_line(void *at, const char *path, char *c[MAX_COLUMNS])
{
    golden_source *s = at;
    copy_name(s->lang, c[0]);
    s->line = atoi(c[1]);
    s->ids = read_ids(path, c[2]);
}

static void hypothesis_line(void *at, const char *path, char *c[MAX_COLUMNS])
{
    golden_row *r = at;
    copy_name(r->src, c[0]);
    copy_name(r->tgt, c[1]);
    r->line = atoi(c[2]);
    r->repetition_penalty = strtof(c[3], NULL);
    r->ngram = atoi(c[4]);
    r->min_length = atoi(c[5]);
    r->max_length = atoi(c[6]);
    r->length_penalty = strtof(c[7], NULL);
    r->early_stopping = atoi(c[8]);
    r->prefix = read_ids(path, c[9]);
    r->rank = atoi(c[10]);
    r->score = strtof(c[11], NULL);
    r->ids = read_ids(path, c[12]);
    r->steps = read_floats(path, c[13]);
    r->encoder = strtof(c[14], NULL);
    r->decoder = read_floats(path, c[15]);
}

static void forced_line(void *at, const char *path, char *c[MAX_COLUMNS])
{
    golden_forced *f = at;
    copy_name(f->src, c[0]);
    copy_name(f->tgt, c[1]);
    f->line = atoi(c[2]);
    f->ids = read_ids(path, c[3]);
    f->logp = read_floats(path, c[4]);
    if (f->logp.n != f->ids.n - 1)
        give_up(path, "line %d: %d ids want %d log p, found %d", f->line, f->ids.n, f->ids.n - 1,
                f->logp.n);
}

static void tensor_line(void *at, const char *path, char *c[MAX_COLUMNS])
{
    (void)path;
    golden_tensor *t = at;
    copy_name(t->kind, c[0]);
    copy_name(t->src, c[1]);
    copy_name(t->tgt, c[2]);
    t->line = atoi(c[3]);
    t->step = atoi(c[4]);
    t->rows = atoi(c[5]);
    t->cols = atoi(c[6]);
}

static void *parse(int *n, const char *path, char *text, int n_columns, size_t size, line_fn fn)
{
    char *c[MAX_COLUMNS], *out = NULL;
    int cap = 0, found;
    for (*n = 0; (found = next_line(&text, c)) > 0; (*n)++) {
        if (found != n_columns)
            give_up(path, "entry %d: want %d columns, found %d", *n + 1, n_columns, found);
        if (*n == cap) {
            cap = cap * 2 + 64;
            out = need(realloc(out, (size_t)cap * size));
        }
        memset(out + (size_t)*n * size, 0, size);
        fn(out + (size_t)*n * size, path, c);
    }
    if (*n == 0)
        give_up(path, "no entries");
    return out;
}

static void *read_table(int *n, const char *dir, const char *name, int n_columns, size_t size,
                        line_fn fn)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.gz", dir, name);
    size_t len;
    char *text = unpack(path, &len);
    void *out = parse(n, path, text, n_columns, size, fn);
    free(text);
    return out;
}

static void read_tensors(golden *g, const char *dir)
{
    char path[512];
    size_t len, want = 0;
    g->tensors = read_table(&g->n_tensors, dir, "tensors.tsv", 7, sizeof *g->tensors, tensor_line);
    (void)snprintf(path, sizeof path, "%s/tensors.f32.gz", dir);
    g->values = (float *)(void *)unpack(path, &len);
    for (int i = 0; i < g->n_tensors; i++) {
        g->tensors[i].at = g->values + want;
        want += (size_t)g->tensors[i].rows * (size_t)g->tensors[i].cols;
    }
    if (len != want * sizeof(float))
        give_up(path, "want %zu bytes, found %zu", want * sizeof(float), len);
}

void golden_open(golden *g, const char *dir)
{
    *g = (golden){0};
    g->sources = read_table(&g->n_sources, dir, "sources.tsv", 3, sizeof *g->sources, source_line);
    g->greedy = read_table(&g->n_greedy, dir, "greedy.tsv", 16, sizeof *g->greedy, hypothesis_line);
    g->beam4 = read_table(&g->n_beam4, dir, "beam4.tsv", 16, sizeof *g->beam4, hypothesis_line);
    g->forced = read_table(&g->n_forced, dir, "forced.tsv", 5, sizeof *g->forced, forced_line);
    read_tensors(g, dir);
}

static void free_rows(golden_row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        free(rows[i].prefix.at);
        free(rows[i].ids.at);
        free(rows[i].steps.at);
        free(rows[i].decoder.at);
    }
    free(rows);
}

void golden_close(golden *g)
{
    for (int i = 0; i < g->n_sources; i++)
        free(g->sources[i].ids.at);
    for (int i = 0; i < g->n_forced; i++) {
        free(g->forced[i].ids.at);
        free(g->forced[i].logp.at);
    }
    free_rows(g->greedy, g->n_greedy);
    free_rows(g->beam4, g->n_beam4);
    free(g->sources);
    free(g->forced);
    free(g->tensors);
    free(g->values);
    *g = (golden){0};
}

const golden_source *golden_find_source(const golden *g, const char *lang, int line)
{
    for (int i = 0; i < g->n_sources; i++)
        if (g->sources[i].line == line && strcmp(g->sources[i].lang, lang) == 0)
            return &g->sources[i];
    return NULL;
}
