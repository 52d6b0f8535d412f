/* cmd_score_text.c - `dragoman score-text HYP REF`: BLEU, spBLEU and chrF++ of a translation, without translating. */
#include "launch/commands.h"
#include "runtime/lines.h"
#include "runtime/model.h"
#include "runtime/quality.h"
#include "runtime/tokenizer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LINE_BYTES = 16 << 20 };

typedef struct side {
    const char *name;
    int fd;
    dgm_lines *lines;
    dgm_line line; /* the one at hand */
    bool more;
} side;

typedef struct scoring {
    side hyp, ref;
    dgm_tokenizer *tok;
    dgm_quality sum;
    uint64_t lines;
} scoring;

static int open_side(side *s, const char *name)
{
    s->name = name;
    s->fd = open(name, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        return dgm_fail(DGM_EINPUT, "%s: %s", name, strerror(errno));
    return dgm_lines_open(&s->lines, s->fd, name, MAX_LINE_BYTES);
}

static void close_side(side *s)
{
    dgm_lines_close(s->lines);
    if (s->fd >= 0)
        (void)close(s->fd);
}

static int next_line(side *s)
{
    int got = DGM_LINES_AGAIN;
    while (got == DGM_LINES_AGAIN)
        got = dgm_lines_poll(s->lines, &s->line, -1);
    if (got < 0)
        return got;
    s->more = got == DGM_LINES_LINE;
    if (s->more && s->line.state != DGM_LINE_OK)
        return dgm_fail(DGM_EINPUT, "%s", (dgm_lines_fail(s->lines, &s->line), dgm_error_text()));
    return DGM_OK;
}

static int add_line(scoring *s)
{
    const dgm_line *h = &s->hyp.line, *r = &s->ref.line;
    dgm_quality q;
    s->lines++;
    DGM_TRY(dgm_quality_of(&q, s->tok, h->text, h->len, r->text, r->len));
    dgm_quality_add(&s->sum, &q);
    return DGM_OK;
}

/* fail_lengths - one side has ended: how many lines has the other? */
static int fail_lengths(scoring *s)
{
    const bool longer_hyp = s->hyp.more;
    side *longer = longer_hyp ? &s->hyp : &s->ref;
    uint64_t n = s->lines;
    for (; longer->more; n++)
        DGM_TRY(next_line(longer));
    return dgm_fail(DGM_EINPUT,
                    "want as many lines of translation as of reference, found %" PRIu64
                    " in %s and %" PRIu64 " in %s",
                    longer_hyp ? n : s->lines, s->hyp.name, longer_hyp ? s->lines : n, s->ref.name);
}

static int score(scoring *s)
{
    for (;;) {
        DGM_TRY(next_line(&s->hyp));
        DGM_TRY(next_line(&s->ref));
        if (s->hyp.more != s->ref.more)
            return fail_lengths(s);
        if (!s->hyp.more)
            break;
        DGM_TRY(add_line(s));
    }
    if (s->lines == 0)
        return dgm_fail(DGM_EINPUT, "%s: want at least one line, found none", s->hyp.name);
    return DGM_OK;
}

static void print(const scoring *s, const dgm_options *o)
{
    const double bleu = dgm_quality_score(&s->sum, DGM_SCORE_BLEU),
                 pieces = dgm_quality_score(&s->sum, DGM_SCORE_SPBLEU),
                 chrf = dgm_quality_score(&s->sum, DGM_SCORE_CHRF),
                 ratio = dgm_quality_length_ratio(&s->sum);
    if (o->json) {
        (void)printf("{\"lines\":%" PRIu64 ",\"bleu\":%.9f,\"spbleu\":%.9f,\"chrf++\":%.9f,"
                     "\"length_ratio\":%.6f,\"signatures\":{\"bleu\":\"%s\",\"spbleu\":\"%s\","
                     "\"chrf++\":\"%s\"}}\n",
                     s->lines, bleu, pieces, chrf, ratio, DGM_BLEU_SIGNATURE, DGM_SPBLEU_SIGNATURE,
                     DGM_CHRF_SIGNATURE);
        return;
    }
    (void)printf("BLEU    %7.2f  %s\n", bleu, DGM_BLEU_SIGNATURE);
    (void)printf("spBLEU  %7.2f  %s\n", pieces, DGM_SPBLEU_SIGNATURE);
    (void)printf("chrF++  %7.2f  %s\n", chrf, DGM_CHRF_SIGNATURE);
    (void)printf("length  %7.3f  words of the translation, one for a word of the reference\n",
                 ratio);
    (void)printf("lines   %7" PRIu64 "\n", s->lines);
}

int dgm_cmd_score_text(const dgm_options *o)
{
    scoring s = {.hyp = {.fd = -1}, .ref = {.fd = -1}};
    dgm_model_config cfg;
    int rc = DGM_OK;
    if (o->n_args != 2)
        rc = dgm_fail(DGM_EUSAGE,
                      "score-text: want the file of the translation and that of the reference, "
                      "found %d argument%s",
                      o->n_args, o->n_args == 1 ? "" : "s");
    if (rc == DGM_OK)
        rc = open_side(&s.hyp, o->args[0]);
    if (rc == DGM_OK)
        rc = open_side(&s.ref, o->args[1]);
    if (rc == DGM_OK)
        rc = dgm_tokenizer_open_dir(&s.tok, &cfg, o->model);
    if (rc == DGM_OK)
        rc = score(&s);
    if (rc == DGM_OK)
        print(&s, o);
    const int code = dgm_command_end(rc);
    close_side(&s.hyp);
    close_side(&s.ref);
    dgm_tokenizer_close(s.tok);
    return code;
}
