/* The vocabulary map: what its lines come to, and each way in which it can be wrong. */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/vmap.h"

#include "runtime/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL "models/multi30k-token"
enum { VOCAB = 6206, DEU = 6042, FRA = 6057, EOS = 2, UNK = 3 };

static dgm_tokenizer *tok;
static const dgm_model_config model = {.vocab_size = VOCAB, .eos_id = EOS};

static int open_model(void **state)
{
    (void)state;
    return dgm_tokenizer_open(&tok, MODEL, VOCAB);
}

static int close_model(void **state)
{
    (void)state;
    dgm_tokenizer_close(tok);
    return 0;
}

static int file_of(const void *text, size_t len)
{
    const int fd = memfd_create("map", 0);
    assert_true(fd >= 0 && write(fd, text, len) == (ssize_t)len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static int read_bytes(dgm_vmap **m, const void *text, size_t len)
{
    const int fd = file_of(text, len);
    *m = NULL;
    const int rc = dgm_vmap_read_fd(m, fd, "map", tok, &model, NULL);
    (void)close(fd);
    return rc;
}

static dgm_vmap *reads(const char *text)
{
    dgm_vmap *m;
    if (read_bytes(&m, text, strlen(text)) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    return m;
}

/* lists - the language has just these pieces. */
static void lists(const dgm_vmap *m, int32_t code, const char *const *pieces, int n)
{
    const dgm_vmap_list *l = dgm_vmap_find(m, code);
    assert_non_null(l);
    assert_int_equal(l->n, n);
    for (int i = 0; i < n; i++) {
        assert_true(i == 0 || l->ids[i] > l->ids[i - 1]);
        const char *found = dgm_tok_piece(tok, l->ids[i]);
        int at = 0;
        while (at < n && strcmp(pieces[at], found) != 0)
            at++;
        if (at == n)
            fail_msg("%s is listed", found);
    }
}
#define LISTS(m, code, ...)                                                                        \
    lists(m, code, (const char *const[]){__VA_ARGS__},                                             \
          (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void lines_add_up(void **state)
{
    (void)state;
    dgm_vmap *m = reads("# a map\n"
                        "deu_Latn\t▁Ein ▁Mann\n"
                        "\n  \t \n"
                        "fra_Latn\t▁Un\n"
                        "#deu_Latn\tnonsense\n"
                        "deu_Latn\t▁Mann .\n"
                        "*\t, .\n"
                        "fra_Latn\t▁Un");
    assert_int_equal(m->n, 2);
    LISTS(m, DEU, "▁Ein", "▁Mann", ".", ",", "</s>");
    LISTS(m, FRA, "▁Un", ".", ",", "</s>");
    assert_null(dgm_vmap_find(m, DEU + 1));
    dgm_vmap_close(m);
}

static void windows_and_spaces_do_no_harm(void **state)
{
    (void)state;
    dgm_vmap *m = reads("\xEF\xBB\xBF"
                        "deu_Latn\t ▁Ein   ▁Mann \r\nfra\t▁Un\r\n");
    LISTS(m, DEU, "▁Ein", "▁Mann", "</s>");
    LISTS(m, FRA, "▁Un", "</s>");
    dgm_vmap_close(m);
}

/* All that tokenize prints is a piece: codes, </s>, <unk>. */
static void what_tokenize_prints_is_a_map(void **state)
{
    (void)state;
    static const char text[] = "Zwei Hunde 狗 rennen.";
    int32_t *ids;
    int n;
    char map[512] = "deu_Latn\t";
    assert_int_equal(dgm_tok_encode(tok, &ids, &n, text, sizeof text - 1, DEU, false), DGM_OK);
    for (int i = 0; i < n; i++)
        (void)snprintf(map + strlen(map), sizeof map - strlen(map), "%s%s", i == 0 ? "" : " ",
                       dgm_tok_piece(tok, ids[i]));
    dgm_vmap *m = reads(map);
    const dgm_vmap_list *l = dgm_vmap_find(m, DEU);
    assert_non_null(l);
    bool unk = false;
    for (int i = 0; i < n; i++) {
        int at = 0;
        while (at < l->n && l->ids[at] != ids[i])
            at++;
        assert_true(at < l->n);
        unk = unk || ids[i] == UNK;
    }
    assert_true(unk);
    free(ids);
    dgm_vmap_close(m);
}

static void every_id_has_a_name(void **state)
{
    (void)state;
    char *map = malloc((size_t)VOCAB * 64), *end = map;
    assert_non_null(map);
    end += sprintf(end, "deu_Latn\t");
    for (int32_t id = 0; id < VOCAB; id++) {
        const char *piece = dgm_tok_piece(tok, id);
        if (strcmp(piece, "<unused>") != 0)
            assert_int_equal(dgm_tok_find(tok, piece, strlen(piece)), id);
        end += sprintf(end, "%s ", piece);
    }
    dgm_vmap *m = reads(map);
    const dgm_vmap_list *l = dgm_vmap_find(m, DEU);
    assert_int_equal(l->n, VOCAB);
    for (int32_t id = 0; id < VOCAB; id++)
        assert_int_equal(l->ids[id], id);
    dgm_vmap_close(m);
    free(map);
}

static void a_large_map(void **state)
{
    (void)state;
    static const char line[] = "deu_Latn\t▁Ein ▁Mann ▁auf ▁eine m ▁Weg . </s>\n";
    const int fd = memfd_create("map", 0);
    char *block = malloc((sizeof line - 1) * 1000);
    assert_true(fd >= 0 && block != NULL);
    for (size_t i = 0; i < 1000; i++)
        memcpy(block + i * (sizeof line - 1), line, sizeof line - 1);
    for (int i = 0; i < 100; i++)
        assert_true(write(fd, block, (sizeof line - 1) * 1000) > 0);
    assert_true(write(fd, "x\t.\n", 4) == 4 && lseek(fd, 0, SEEK_SET) == 0);
    dgm_vmap *m = NULL;
    assert_int_equal(dgm_vmap_read_fd(&m, fd, "map", tok, &model, NULL), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "map line 100001: "));
    free(block);
    (void)close(fd);
}

static void wrong_bytes(const void *text, size_t len, const char *sentence)
{
    dgm_vmap *m;
    assert_int_equal(read_bytes(&m, text, len), DGM_EINPUT);
    assert_null(m);
    if (strstr(dgm_error_text(), sentence) == NULL)
        fail_msg("want '%s', found '%s'", sentence, dgm_error_text());
}

static void wrong(const char *text, const char *sentence)
{
    wrong_bytes(text, strlen(text), sentence);
}

static void each_mistake_has_its_sentence(void **state)
{
    (void)state;
    wrong("", "map: want lines of CODE, a tab, and pieces, found no language");
    wrong("# nothing\n\n", "found no language");
    wrong("*\t.\n", "found no language");
    wrong("deu_Latn ▁Ein\n", "map line 1: want CODE, a tab, and pieces, found 'deu_Latn ▁Ein'");
    wrong("deu_Latn\t.\n\nxx\t.\n", "map line 3: want a language or *: language 'xx' is unknown");
    wrong("deu_Lat\t.\n", "deu_Latn");
    wrong("x\x1b[31m\t.\n", "language 'x [31m' is unknown");
    wrong("zh\t.\n", "zho_Hant");
    wrong("\t.\n", "map line 1: want a language or * before the tab, found ''");
    wrong("0123456789012345678901234567890123456789012345678901234567890123\t.\n",
          "before the tab, found '0123456789012345678901234567890123456789...'");
    wrong("deu_Latn\t▁Ein Nonsense\n", "map line 1: want pieces of the model, as dragoman tokenize "
                                       "prints them, found 'Nonsense'");
    wrong("*\t▁Ein Nonsense\n", "map line 1: want pieces of the model");
    wrong("deu_Latn\t▁Ein\t▁Mann\n", "found '▁Ein?▁Mann'");
    wrong("deu_Latn\t\x1b[31m\n", "found '?[31m'");
    wrong("deu_Latn\t\n", "map line 1: want pieces behind the tab, found ''");
    wrong("deu_Latn\t   \n", "map line 1: want pieces behind the tab, found '   '");
    wrong("fra_Latn\t.\ndeu_Latn\t</s>\ndeu_Latn\t</s>\n",
          "map line 2: want pieces for deu_Latn besides </s>, found none in the whole file");
    wrong("deu_Latn\t\xFF\n", "map line 1: byte 10 (0xff) is not UTF-8");
    wrong_bytes("deu_Latn\t.\ndeu_Latn\t.\0.\n", 24, "map line 2: byte 11 is NUL");
    /* what is shown of a long piece ends with a whole character */
    wrong("deu_Latn\taaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xC3\xA4\xC3\xA4\n",
          "found 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'");
}

static void files_that_are_none(void **state)
{
    (void)state;
    dgm_vmap *m = NULL;
    assert_int_equal(dgm_vmap_read(&m, "tests/none", tok, &model, NULL), DGM_EINPUT);
    assert_string_equal(dgm_error_text(), "tests/none: No such file or directory");
    assert_int_equal(dgm_vmap_read(&m, "tests", tok, &model, NULL), DGM_EINPUT);
    assert_string_equal(dgm_error_text(), "tests: want a file, found a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_add_up),
        cmocka_unit_test(windows_and_spaces_do_no_harm),
        cmocka_unit_test(what_tokenize_prints_is_a_map),
        cmocka_unit_test(every_id_has_a_name),
        cmocka_unit_test(a_large_map),
        cmocka_unit_test(each_mistake_has_its_sentence),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
