/* The way of a text: lines, UTF-8, sentences, words, pieces and back. The first byte chooses language and sizes. */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/lang.h"
#include "runtime/lines.h"
#include "runtime/split.h"
#include "runtime/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VOCAB = 6206, MAX_LINE = 48 };

/* The definition of UTF-8, slowly: the length of the character at s, or 0. NUL is none here. */
static size_t naive_char(const uint8_t *s, size_t n)
{
    const size_t len = s[0] < 0x80       ? 1
                       : s[0] >> 5 == 6  ? 2
                       : s[0] >> 4 == 14 ? 3
                       : s[0] >> 3 == 30 ? 4
                                         : 0;
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    if (len == 0 || n < len)
        return 0;
    uint32_t c = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    return c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : len;
}

static bool check_utf8(const char *text, size_t len)
{
    size_t at = 0, n, bad_at = SIZE_MAX;
    while (at < len && (n = naive_char((const uint8_t *)text + at, len - at)) > 0)
        at += n;
    const bool valid = dgm_utf8_check(text, len, &bad_at);
    DGM_ASSERT(valid == (at == len));
    DGM_ASSERT(valid || bad_at == at);
    return valid;
}

/* Spans ascend, lie on characters, are trimmed, and leave only white space out. */
static void check_spans(const dgm_span *s, int n, const char *text, size_t len, size_t max_bytes)
{
    size_t from = 0;
    DGM_ASSERT(n >= 1);
    for (int i = 0; i < n; i++) {
        DGM_ASSERT(s[i].begin >= from && s[i].end >= s[i].begin && s[i].end <= len);
        DGM_ASSERT(s[i].end - s[i].begin <= max_bytes);
        DGM_ASSERT(dgm_text_blank(text + from, s[i].begin - from));
        size_t bad_at;
        DGM_ASSERT(dgm_utf8_check(text + s[i].begin, s[i].end - s[i].begin, &bad_at));
        DGM_ASSERT(n == 1 || !dgm_text_blank(text + s[i].begin, s[i].end - s[i].begin));
        from = s[i].end;
    }
    DGM_ASSERT(dgm_text_blank(text + from, len - from));
}

static void check_splits(const char *text, size_t len, const char *lang, size_t max_bytes)
{
    dgm_span *s;
    int n;
    DGM_ASSERT(dgm_split_sentences(&s, &n, text, len, lang) == DGM_OK);
    check_spans(s, n, text, len, SIZE_MAX);
    free(s);
    DGM_ASSERT(dgm_split_words(&s, &n, text, len, lang, max_bytes) == DGM_OK);
    check_spans(s, n, text, len, max_bytes);
    free(s);
}

static void check_tokens(const dgm_tokenizer *t, const char *text, size_t len, bool suffix)
{
    int32_t *ids;
    int n;
    char *back;
    size_t back_len, bad_at;
    const int32_t code = dgm_tok_lang_id(t, (int)(len % (size_t)dgm_tok_n_langs(t)));
    DGM_ASSERT(dgm_tok_encode(t, &ids, &n, text, len, code, suffix) == DGM_OK);
    DGM_ASSERT(n >= 2 && ids[suffix ? n - 1 : 0] == code && ids[suffix ? n - 2 : n - 1] == 2);
    for (int i = suffix ? 0 : 1; i < n - (suffix ? 2 : 1); i++)
        DGM_ASSERT(ids[i] == 3 || dgm_tok_is_text(t, ids[i]));
    DGM_ASSERT(dgm_tok_decode(t, &back, &back_len, ids, n) == DGM_OK);
    DGM_ASSERT(strlen(back) == back_len && dgm_utf8_check(back, back_len, &bad_at));
    free(back);
    free(ids);
}

/* Any bytes as ids. */
static void check_decode(const dgm_tokenizer *t, const uint8_t *data, size_t size)
{
    const int n = (int)(size / 2);
    int32_t *ids = calloc((size_t)n + 1, sizeof *ids);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)(data[2 * i] | data[2 * i + 1] << 8) - 9;
    char *text;
    size_t len, bad_at;
    DGM_ASSERT(dgm_tok_decode(t, &text, &len, ids, n) == DGM_OK);
    DGM_ASSERT(strlen(text) == len && dgm_utf8_check(text, len, &bad_at));
    free(text);
    for (int i = 0; i < n; i++)
        DGM_ASSERT(dgm_tok_piece(t, ids[i]) != NULL);
    free(ids);
}

/* The reader hands out what a plain search for newlines finds. */
static void check_lines(const char *data, size_t size)
{
    const int fd = memfd_create("fuzz", 0);
    DGM_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    dgm_lines *l;
    dgm_line line;
    DGM_ASSERT(dgm_lines_open(&l, fd, "fuzz", MAX_LINE) == DGM_OK);
    const char *at = data, *const end = data + size;
    if (size >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0)
        at += 3;
    for (int rc; (rc = dgm_lines_poll(l, &line, -1)) != DGM_LINES_END;) {
        DGM_ASSERT(rc == DGM_LINES_LINE && at < end);
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline == NULL ? end : newline) - at);
        len -= newline != NULL && len > 0 && at[len - 1] == '\r';
        DGM_ASSERT(line.n_bytes == len);
        DGM_ASSERT((line.state == DGM_LINE_TOO_LONG) == (len > MAX_LINE));
        DGM_ASSERT(line.state == DGM_LINE_TOO_LONG ||
                   (line.len == len && memcmp(line.text, at, len) == 0));
        if (line.state != DGM_LINE_TOO_LONG)
            DGM_ASSERT(check_utf8(line.text, line.len) == (line.state == DGM_LINE_OK));
        at = newline == NULL ? end : newline + 1;
        DGM_ASSERT(line.offset == (uint64_t)(at - data));
    }
    DGM_ASSERT(at == end);
    dgm_lines_close(l);
    (void)close(fd);
}

static void check_name(const dgm_tokenizer *t, const uint8_t *data, size_t size)
{
    char name[64];
    const size_t n = size < sizeof name - 1 ? size : sizeof name - 1;
    memcpy(name, data, n);
    name[n] = '\0';
    int32_t id = -1;
    const char *code = NULL;
    const bool known = dgm_lang_resolve(&code, name) == DGM_OK;
    DGM_ASSERT(!known || dgm_lang_find(code) != NULL);
    DGM_ASSERT((dgm_tok_lang(t, &id, name) == DGM_OK) ==
               known); /* this model has the 202 and no others */
    DGM_ASSERT(known || dgm_error_text()[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dgm_tokenizer *t;
    static const char *const langs[] = {"eng_Latn", "deu_Latn", "fra_Latn", "ces_Latn",
                                        "jpn_Jpan", "tha_Thai", "ell_Grek", "rus_Cyrl",
                                        "zho_Hans", "arb_Arab", "kor_Hang", "none"};
    if (t == NULL &&
        dgm_tokenizer_open(&t, DGM_SOURCE_DIR "/models/multi30k-token", VOCAB) != DGM_OK) {
        (void)fprintf(stderr, "%s\n", dgm_error_text());
        abort();
    }
    if (size == 0)
        return 0;
    const char *lang = langs[data[0] % (sizeof langs / sizeof langs[0])];
    const char *text = (const char *)data + 1;
    const size_t len = size - 1;
    check_lines(text, len);
    check_decode(t, data + 1, len);
    if (len < 24)
        check_name(t, data + 1, len);
    if (check_utf8(text, len)) {
        check_splits(text, len, lang, 4 + data[0] / 4);
        check_tokens(t, text, len, data[0] > 127);
    }
    return 0;
}
