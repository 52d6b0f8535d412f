#include "runtime/set_loss_text.h"

#include "runtime/gate_stats.h"
#include "runtime/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LINE_BYTES = 1 << 20 };

typedef struct side {
    const char *path;
    int fd;
    dgm_lines *lines;
    dgm_line line;
    bool ended;
} side;

typedef struct reader {
    const dgm_pair_files *files;
    const dgm_model_config *cfg;
    const dgm_tokenizer *tok;
    dgm_pairs *out;
    side input, reference;
} reader;

static int open_side(side *s, const char *path)
{
    *s = (side){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (s->fd < 0)
        return dgm_fail(DGM_EINPUT, "%s: %s", path, strerror(errno));
    return dgm_lines_open(&s->lines, s->fd, path, MAX_LINE_BYTES);
}

static void close_side(side *s)
{
    dgm_lines_close(s->lines);
    if (s->fd >= 0)
        (void)close(s->fd);
}

static int next(side *s)
{
    int rc;
    do
        rc = dgm_lines_poll(s->lines, &s->line, -1);
    while (rc == DGM_LINES_AGAIN);
    s->ended = rc == DGM_LINES_END;
    if (rc < 0 || s->ended || s->line.state == DGM_LINE_OK)
        return rc < 0 ? rc : DGM_OK;
    char why[512];
    (void)dgm_lines_fail(s->lines, &s->line);
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    return dgm_fail(DGM_EINPUT, "%s", why);
}

static int room(dgm_pairs *p)
{
    if (p->n < p->cap)
        return DGM_OK;
    const size_t cap = p->cap == 0 ? 1024 : 2 * p->cap;
    dgm_pair *more = realloc(p->pairs, cap * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu lines", cap);
    p->pairs = more;
    p->cap = cap;
    return DGM_OK;
}

/* read_target - start, code, pieces, </s>. */
static int read_target(dgm_pair *p, const reader *r)
{
    int32_t *pieces;
    int n;
    DGM_TRY(dgm_tok_pieces(r->tok, &pieces, &n, r->reference.line.text, r->reference.line.len));
    p->n_target = n + 3;
    p->target = calloc((size_t)p->n_target, sizeof *p->target);
    if (p->target != NULL) {
        p->target[0] = r->cfg->decoder_start_id;
        p->target[1] = r->files->tgt;
        memcpy(p->target + 2, pieces, (size_t)n * sizeof *pieces);
        p->target[n + 2] = r->cfg->eos_id;
    }
    free(pieces);
    return p->target != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for a line");
}

static int check_length(const side *s, int n, int most)
{
    if (n <= most)
        return DGM_OK;
    return dgm_fail(DGM_EINPUT, "%s line %" PRIu64 ": want at most %d tokens, found %d", s->path,
                    s->line.number, most, n);
}

static int add_pair(reader *r)
{
    DGM_TRY(room(r->out));
    dgm_pair *p = &r->out->pairs[r->out->n];
    *p = (dgm_pair){0};
    r->out->n++; /* from here on freed with the rest */
    DGM_TRY(dgm_tok_encode(r->tok, &p->source, &p->n_source, r->input.line.text, r->input.line.len,
                           r->files->src, r->cfg->source_suffix));
    DGM_TRY(read_target(p, r));
    DGM_TRY(check_length(&r->input, p->n_source, r->files->max_source));
    DGM_TRY(check_length(&r->reference, p->n_target, r->files->max_target));
    if (p->n_source > 2 && p->n_target > 3) {
        r->out->hash += dgm_gates_text(p->source, p->n_source, p->target, p->n_target);
        return DGM_OK;
    }
    free(p->source); /* blank */
    free(p->target);
    r->out->n--;
    return DGM_OK;
}

static int read_pairs(reader *r)
{
    for (;;) {
        DGM_TRY(next(&r->input));
        DGM_TRY(next(&r->reference));
        if (r->input.ended != r->reference.ended)
            return dgm_fail(DGM_EINPUT, "%s: want as many lines as %s, found %s", r->reference.path,
                            r->input.path, r->input.ended ? "more" : "fewer");
        if (r->input.ended)
            break;
        DGM_TRY(add_pair(r));
    }
    if (r->out->n == 0)
        return dgm_fail(DGM_EINPUT, "%s: want sentences, found none", r->input.path);
    return DGM_OK;
}

int dgm_pairs_read_files(dgm_pairs *p, const dgm_pair_files *f, const dgm_model_config *c,
                         const dgm_tokenizer *tok)
{
    reader r = {.files = f, .cfg = c, .tok = tok, .out = p, .reference = {.fd = -1}};
    *p = (dgm_pairs){0};
    int rc = open_side(&r.input, f->input);
    if (rc == DGM_OK)
        rc = open_side(&r.reference, f->reference);
    if (rc == DGM_OK)
        rc = read_pairs(&r);
    close_side(&r.input);
    close_side(&r.reference);
    return rc;
}
