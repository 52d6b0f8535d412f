#include "runtime/vmap.h"

#include "runtime/lines.h"
#include "runtime/model.h"
#include "runtime/split.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN_BYTES = 40, MAX_CODE_BYTES = 63, WAIT_MS = 500 };

/* What is listed for one language, or for all of them. */
typedef struct named {
    int32_t code;
    uint64_t line; /* where the file names it first */
    uint64_t *set; /* [words] bit i of word w: id 64 w + i */
} named;

typedef struct reader {
    dgm_lines *lines;
    const char *name; /* of the file */
    const dgm_tokenizer *tok;
    dgm_comm *comm; /* or NULL */
    int vocab_size;
    int32_t eos;
    size_t words;    /* of a set */
    named *langs;    /* [n] in the order of the file */
    int n, last;     /* last: the language of the line before, or -1 */
    uint64_t *every; /* of the code `*` */
    char last_code[MAX_CODE_BYTES + 1];
} reader;

/* ---- what is wrong with a line ---- */

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7F;
}

/* show - the beginning of what was found, whole characters, nothing that a terminal obeys; out [SHOWN_BYTES + 4]. */
static void show(char *out, const char *text, size_t len)
{
    size_t n = len < SHOWN_BYTES ? len : SHOWN_BYTES;
    while (n > 0 && n < len && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = is_control(text[i]) ? '?' : text[i];
    (void)snprintf(out + n, 4, "%s", n < len ? "..." : "");
}

static int bad(const reader *r, const dgm_line *line, const char *want, const char *found,
               size_t len)
{
    char text[SHOWN_BYTES + 4];
    show(text, found, len);
    return dgm_fail(DGM_EINPUT, "%s line %" PRIu64 ": want %s, found '%s'", r->name, line->number,
                    want, text);
}

/* bad_as - a line that somebody else has a sentence about. */
static int bad_as(const reader *r, const dgm_line *line)
{
    char why[512];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    return dgm_fail(DGM_EINPUT, "%s line %" PRIu64 ": want a language or *: %s", r->name,
                    line->number, why);
}

/* ---- sets ---- */

static void put(uint64_t *set, int32_t id)
{
    set[id / 64] |= (uint64_t)1 << (id % 64);
}

static bool has(const uint64_t *set, int32_t id)
{
    return (set[id / 64] >> (id % 64) & 1) != 0;
}

static int count(const reader *r, const uint64_t *set)
{
    int n = 0;
    for (size_t w = 0; w < r->words; w++)
        n += __builtin_popcountll(set[w]);
    return n;
}

static uint64_t *new_set(const reader *r)
{
    uint64_t *set = calloc(r->words, sizeof *set);
    if (set == NULL)
        (void)dgm_fail(DGM_ENOMEM, "%s: no memory for a list of %d ids", r->name, r->vocab_size);
    return set;
}

/* ---- a line ---- */

/* lang_of - the set of the language `code`, a new one if the file had not named it. */
static int lang_of(reader *r, uint64_t **set, const dgm_line *line, const char *code)
{
    int32_t id;
    if (dgm_tok_lang(r->tok, &id, code) != DGM_OK)
        return bad_as(r, line);
    int i = 0;
    while (i < r->n && r->langs[i].code != id)
        i++;
    if (i == r->n) {
        named *grown = realloc(r->langs, (size_t)(r->n + 1) * sizeof *grown);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "%s: no memory for %d languages", r->name, r->n + 1);
        r->langs = grown;
        r->langs[i] = (named){.code = id, .line = line->number, .set = new_set(r)};
        if (r->langs[i].set == NULL)
            return DGM_ENOMEM;
        r->n++;
    }
    r->last = i;
    *set = r->langs[i].set;
    return DGM_OK;
}

/* set_of - where the line's pieces go. A corpus has the same code on each line, so the last one is kept. */
static int set_of(reader *r, uint64_t **set, const dgm_line *line, size_t len)
{
    char code[MAX_CODE_BYTES + 1];
    if (len == 1 && line->text[0] == '*') {
        *set = r->every;
        return DGM_OK;
    }
    if (len == 0 || len >= sizeof code)
        return bad(r, line, "a language or * before the tab", line->text, len);
    memcpy(code, line->text, len);
    code[len] = '\0';
    if (r->last >= 0 && strcmp(code, r->last_code) == 0) {
        *set = r->langs[r->last].set;
        return DGM_OK;
    }
    DGM_TRY(lang_of(r, set, line, code));
    memcpy(r->last_code, code, len + 1);
    return DGM_OK;
}

/* put_unused - the rows past the tokeniser all have the same surface. */
static void put_unused(const reader *r, uint64_t *set, const char *unused)
{
    for (int32_t id = 0; id < r->vocab_size; id++)
        if (strcmp(dgm_tok_piece(r->tok, id), unused) == 0)
            put(set, id);
}

static int put_piece(const reader *r, uint64_t *set, const dgm_line *line, const char *piece,
                     size_t len)
{
    static const char unused[] = "<unused>";
    const int32_t id = dgm_tok_find(r->tok, piece, len);
    if (id >= 0)
        put(set, id);
    else if (len == sizeof unused - 1 && memcmp(piece, unused, len) == 0)
        put_unused(r, set, unused);
    else
        return bad(r, line, "pieces of the model, as dragoman tokenize prints them", piece, len);
    return DGM_OK;
}

static int read_line(reader *r, const dgm_line *line)
{
    if (line->state != DGM_LINE_OK) {
        (void)dgm_lines_fail(r->lines, line);
        char why[512];
        (void)snprintf(why, sizeof why, "%s", dgm_error_text());
        return dgm_fail(DGM_EINPUT, "%s", why);
    }
    if (line->text[0] == '#' || dgm_text_blank(line->text, line->len))
        return DGM_OK;
    const char *tab = memchr(line->text, '\t', line->len), *const end = line->text + line->len;
    if (tab == NULL)
        return bad(r, line, "CODE, a tab, and pieces", line->text, line->len);
    uint64_t *set = NULL;
    DGM_TRY(set_of(r, &set, line, (size_t)(tab - line->text)));
    int n = 0;
    for (const char *at = tab + 1; at < end; at++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const size_t len = (size_t)((space == NULL ? end : space) - at);
        if (len > 0) {
            DGM_TRY(put_piece(r, set, line, at, len));
            n++;
        }
        at += len;
    }
    return n > 0 ? DGM_OK : bad(r, line, "pieces behind the tab", tab + 1, (size_t)(end - tab - 1));
}

static int read_lines(reader *r)
{
    for (;;) {
        dgm_line line;
        const int rc = dgm_lines_poll(r->lines, &line, WAIT_MS);
        if (r->comm != NULL)
            dgm_comm_busy(r->comm, "reading the vocabulary map");
        if (rc < 0 || rc == DGM_LINES_END)
            return rc < 0 ? rc : DGM_OK;
        if (rc == DGM_LINES_LINE)
            DGM_TRY(read_line(r, &line));
    }
}

/* ---- the lists ---- */

static int by_code(const void *a, const void *b)
{
    const int32_t x = ((const named *)a)->code, y = ((const named *)b)->code;
    return (x > y) - (x < y);
}

/* fill - a language's ids: its own, those of `*`, </s>. */
static int fill(const reader *r, dgm_vmap_list *out, const named *lang)
{
    for (size_t w = 0; w < r->words; w++)
        lang->set[w] |= r->every[w];
    put(lang->set, r->eos);
    const int n = count(r, lang->set);
    if (n < 2)
        return dgm_fail(DGM_EINPUT,
                        "%s line %" PRIu64 ": want pieces for %s besides </s>, found "
                        "none in the whole file",
                        r->name, lang->line, dgm_tok_piece(r->tok, lang->code));
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    if (ids == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: no memory for a list of %d ids", r->name, n);
    int at = 0;
    for (int32_t id = 0; id < r->vocab_size; id++)
        if (has(lang->set, id))
            ids[at++] = id;
    *out = (dgm_vmap_list){.code = lang->code, .n = n, .ids = ids};
    return DGM_OK;
}

static int make_lists(dgm_vmap *m, reader *r)
{
    if (r->n == 0)
        return dgm_fail(DGM_EINPUT, "%s: want lines of CODE, a tab, and pieces, found no language",
                        r->name);
    qsort(r->langs, (size_t)r->n, sizeof *r->langs, by_code);
    m->lists = calloc((size_t)r->n, sizeof *m->lists);
    if (m->lists == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: no memory for %d lists", r->name, r->n);
    for (; m->n < r->n; m->n++)
        DGM_TRY(fill(r, &m->lists[m->n], &r->langs[m->n]));
    return DGM_OK;
}

static int read_all(reader *r, dgm_vmap *m, int fd)
{
    r->every = new_set(r);
    if (r->every == NULL)
        return DGM_ENOMEM;
    DGM_TRY(dgm_lines_open(&r->lines, fd, r->name, DGM_VMAP_MAX_LINE_BYTES));
    DGM_TRY(read_lines(r));
    return make_lists(m, r);
}

int dgm_vmap_read_fd(dgm_vmap **out, int fd, const char *name, const dgm_tokenizer *tok,
                     const struct dgm_model_config *cfg, dgm_comm *comm)
{
    reader r = {.name = name,
                .tok = tok,
                .comm = comm,
                .vocab_size = cfg->vocab_size,
                .eos = cfg->eos_id,
                .words = ((size_t)cfg->vocab_size + 63) / 64,
                .last = -1};
    dgm_vmap *m = calloc(1, sizeof *m);
    if (m == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: no memory", name);
    const int rc = read_all(&r, m, fd);
    for (int i = 0; i < r.n; i++)
        free(r.langs[i].set);
    free(r.langs);
    free(r.every);
    dgm_lines_close(r.lines);
    if (rc != DGM_OK) {
        dgm_vmap_close(m);
        return rc;
    }
    *out = m;
    return DGM_OK;
}

int dgm_vmap_read(dgm_vmap **out, const char *path, const dgm_tokenizer *tok,
                  const struct dgm_model_config *cfg, dgm_comm *comm)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dgm_fail(DGM_EINPUT, "%s: %s", path, strerror(errno));
    const int rc = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)
                       ? dgm_fail(DGM_EINPUT, "%s: want a file, found a directory", path)
                       : dgm_vmap_read_fd(out, fd, path, tok, cfg, comm);
    (void)close(fd);
    return rc;
}

void dgm_vmap_close(dgm_vmap *m)
{
    if (m == NULL)
        return;
    for (int i = 0; i < m->n; i++)
        free((void *)m->lists[i].ids);
    free(m->lists);
    free(m);
}

const dgm_vmap_list *dgm_vmap_find(const dgm_vmap *m, int32_t code)
{
    for (int i = 0; i < m->n; i++)
        if (m->lists[i].code == code)
            return &m->lists[i];
    return NULL;
}
