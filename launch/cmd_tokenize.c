/*
 * tokenize and detokenize: what the model sees of each line, and back. Filters: one line in, one line out; a line
 * that cannot be done gives an empty one, a sentence on standard error, and exit code 1 at the end.
 */
#include "base/log.h"
#include "launch/commands.h"
#include "runtime/lines.h"
#include "runtime/model.h"
#include "runtime/tokenizer.h"
#include "runtime/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LINE_BYTES = 16 << 20, WRITE_BYTES = 64 << 10 };

typedef struct filter filter;
/* One line without its newline goes to f->out. DGM_ETEXT: this line is bad; anything else ends the job. */
typedef int (*line_fn)(filter *f, const dgm_line *line);

struct filter {
    line_fn each;
    dgm_tokenizer *tok;
    dgm_lines *in;
    dgm_writer *out;
    const char *in_name;
    int in_fd, vocab_size;
    int32_t src;    /* tokenize: id of the source code */
    bool suffix;    /* tokenize: the code comes last */
    bool ids;       /* tokenize: numbers instead of pieces */
    bool strict;    /* stop at the first bad line */
    int32_t *found; /* detokenize: ids of the line */
    size_t found_cap;
    uint64_t n_bad;
};

/* Says the sentence of the last failure. */
static void say(void)
{
    dgm_log_failure(dgm_error_text());
}

static int tokenize_line(filter *f, const dgm_line *line)
{
    int32_t *ids;
    int n;
    DGM_TRY(dgm_tok_encode(f->tok, &ids, &n, line->text, line->len, f->src, f->suffix));
    int rc = DGM_OK;
    for (int i = 0; i < n && rc == DGM_OK; i++) {
        char number[16];
        (void)snprintf(number, sizeof number, "%" PRId32, ids[i]);
        const char *shown = f->ids ? number : dgm_tok_piece(f->tok, ids[i]);
        rc = i == 0 ? DGM_OK : dgm_writer_put(f->out, " ", 1);
        if (rc == DGM_OK)
            rc = dgm_writer_put(f->out, shown, strlen(shown));
    }
    free(ids);
    return rc;
}

static int add_id(filter *f, int n, int32_t id)
{
    if ((size_t)n == f->found_cap) {
        const size_t cap = f->found_cap == 0 ? 256 : f->found_cap * 2;
        int32_t *grown = realloc(f->found, cap * sizeof *grown);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "no memory for the ids of a line");
        f->found = grown;
        f->found_cap = cap;
    }
    f->found[n] = id;
    return DGM_OK;
}

/* How many bytes of s may be shown on a terminal. */
static int printable(const char *s)
{
    int n = 0;
    while (n < 40 && s[n] > ' ' && s[n] <= '~')
        n++;
    return n;
}

/* Numbers with white space between; *n receives how many. The line ends in a NUL, which strtol stops at. */
static int parse_ids(filter *f, int *n, const dgm_line *line)
{
    const char *s = line->text;
    for (*n = 0;; ++*n) {
        s += strspn(s, " \t\r");
        if (*s == '\0')
            return DGM_OK;
        char *end;
        errno = 0;
        const long id = strtol(s, &end, 10);
        const size_t word = strcspn(s, " \t\r");
        if (*s < '0' || *s > '9' || end != s + word || errno != 0 || id >= f->vocab_size)
            return dgm_fail(DGM_ETEXT, "%s line %" PRIu64 ": want ids from 0 to %d, found '%.*s'",
                            f->in_name, line->number, f->vocab_size - 1, printable(s), s);
        DGM_TRY(add_id(f, *n, (int32_t)id));
        s = end;
    }
}

static int detokenize_line(filter *f, const dgm_line *line)
{
    int n;
    DGM_TRY(parse_ids(f, &n, line));
    char *text;
    size_t len;
    DGM_TRY(dgm_tok_decode(f->tok, &text, &len, f->found, n));
    const int rc = dgm_writer_put(f->out, text, len);
    free(text);
    return rc;
}

static int do_line(filter *f, const dgm_line *line)
{
    const int rc = line->state == DGM_LINE_OK ? f->each(f, line) : dgm_lines_fail(f->in, line);
    if (rc == DGM_ETEXT && f->strict)
        return dgm_fail(DGM_EINPUT, "%s", dgm_error_text());
    if (rc == DGM_ETEXT) {
        say();
        f->n_bad++;
    } else if (rc != DGM_OK) {
        return rc;
    }
    return dgm_writer_put(f->out, "\n", 1);
}

/* Whoever types a line sees the answer before the next one is waited for. */
static int run_lines(filter *f)
{
    dgm_line line;
    int got = DGM_LINES_AGAIN;
    for (int wait_ms = 0; got != DGM_LINES_END; wait_ms = got == DGM_LINES_AGAIN ? -1 : 0) {
        got = dgm_lines_poll(f->in, &line, wait_ms);
        if (got < 0)
            return got;
        if (got == DGM_LINES_LINE)
            DGM_TRY(do_line(f, &line));
        if (got == DGM_LINES_AGAIN || dgm_writer_pending(f->out) >= WRITE_BYTES)
            DGM_TRY(dgm_writer_drain(f->out, -1));
    }
    DGM_TRY(dgm_writer_drain(f->out, -1));
    return dgm_writer_commit(f->out);
}

static int open_model(filter *f, const dgm_options *o)
{
    dgm_model_config cfg;
    DGM_TRY(dgm_tokenizer_open_dir(&f->tok, &cfg, o->model));
    f->vocab_size = cfg.vocab_size;
    f->suffix = strcmp(o->source_order, "auto") == 0 ? cfg.source_suffix
                                                     : strcmp(o->source_order, "suffix") == 0;
    return DGM_OK;
}

static int open_all(filter *f, const dgm_options *o)
{
    const bool tokenize = f->each == tokenize_line;
    if (tokenize && o->src_lang[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "tokenize: want --src-lang CODE");
    DGM_TRY(open_model(f, o));
    if (tokenize)
        DGM_TRY(dgm_tok_lang(f->tok, &f->src, o->src_lang));
    const bool named = o->input[0] != '\0';
    f->in_name = named ? o->input : "standard input";
    f->in_fd = named ? open(o->input, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (f->in_fd < 0)
        return dgm_fail(DGM_EINPUT, "cannot read %s: %s", o->input, strerror(errno));
    DGM_TRY(dgm_lines_open(&f->in, f->in_fd, f->in_name, MAX_LINE_BYTES));
    DGM_TRY(dgm_writer_open(&f->out, o->output));
    return dgm_writer_keep(f->out, 0);
}

static int run_filter(const dgm_options *o, line_fn each)
{
    filter f = {.each = each, .in_fd = -1, .ids = o->ids, .strict = o->strict};
    int rc = open_all(&f, o);
    if (rc == DGM_OK)
        rc = run_lines(&f);
    if (rc != DGM_OK)
        say();
    if (rc != DGM_OK && rc != DGM_EOUTPUT && f.out != NULL && dgm_writer_drain(f.out, -1) != DGM_OK)
        say(); /* the lines before the one that stopped it are good */
    if (rc == DGM_OK && f.n_bad > 0) {
        (void)dgm_fail(DGM_ETEXT, "lines that could not be done, and are empty: %" PRIu64, f.n_bad);
        say();
    }
    free(f.found);
    dgm_writer_close(f.out);
    dgm_lines_close(f.in);
    if (f.in_fd > STDERR_FILENO)
        (void)close(f.in_fd);
    dgm_tokenizer_close(f.tok);
    return rc == DGM_OK && f.n_bad > 0 ? dgm_exit_code(DGM_ETEXT) : dgm_exit_code(rc);
}

int dgm_cmd_tokenize(const dgm_options *o)
{
    return run_filter(o, tokenize_line);
}

int dgm_cmd_detokenize(const dgm_options *o)
{
    return run_filter(o, detokenize_line);
}
