/* The tokeniser against Hugging Face's ids (tests/golden/tokenizer), and against model directories that are wrong. */
#include "runtime/tokenizer.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL "models/multi30k-token"
#define GOLDEN "tests/golden/tokenizer/"
enum { VOCAB = 6206, PIECES = 6000, FIRST_LANG = 6001, MASK = 6203, ENG = 6047, DEU = 6042 };

typedef struct lines {
    char *text, **at;
    size_t *len;
    int n;
} lines;

static void read_lines(lines *l, const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    *l = (lines){0};
    for (char *line = NULL;; line = NULL) {
        size_t cap = 0;
        const ssize_t n = getline(&line, &cap, f);
        if (n <= 0) {
            free(line);
            break;
        }
        line[n - 1] = '\0';
        l->at = realloc(l->at, (size_t)(l->n + 1) * sizeof *l->at);
        l->len = realloc(l->len, (size_t)(l->n + 1) * sizeof *l->len);
        l->at[l->n] = line;
        l->len[l->n++] = (size_t)n - 1;
    }
    (void)fclose(f);
}

static void free_lines(lines *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
    free(l->len);
}

static char *ids_text(const int32_t *ids, int n)
{
    char *s = malloc((size_t)n * 12 + 1), *end = s;
    *end = '\0';
    for (int i = 0; i < n; i++)
        end += sprintf(end, "%s%d", i == 0 ? "" : " ", ids[i]);
    return s;
}

static int open_model(void **state)
{
    dgm_tokenizer *t;
    assert_int_equal(dgm_tokenizer_open(&t, MODEL, VOCAB), DGM_OK);
    *state = t;
    return 0;
}

static int close_model(void **state)
{
    dgm_tokenizer_close(*state);
    return 0;
}

/* How many of the lines have other ids than the golden ones; each is printed. */
static int count_wrong(const dgm_tokenizer *t, const lines *text, const lines *want)
{
    int wrong = 0;
    assert_int_equal(text->n, want->n);
    for (int i = 0; i < text->n; i++) {
        int32_t *ids;
        int n;
        assert_int_equal(dgm_tok_encode(t, &ids, &n, text->at[i], text->len[i], ENG, false),
                         DGM_OK);
        char *got = ids_text(ids, n);
        if (strcmp(got, want->at[i]) != 0) {
            wrong++;
            print_error("line %d: %s\n want %s\nfound %s\n", i + 1, text->at[i], want->at[i], got);
        }
        free(got);
        free(ids);
    }
    return wrong;
}

static void test_golden_ids(void **state)
{
    lines text, want;
    read_lines(&text, GOLDEN "lines.txt");
    read_lines(&want, GOLDEN "ids.txt");
    assert_int_equal(text.n, 1000);
    assert_int_equal(count_wrong(*state, &text, &want), 0);
    free_lines(&text);
    free_lines(&want);
}

/* Names of special tokens are text: other ids than Hugging Face has by default, the same as when told so. */
static void test_special_names_are_text(void **state)
{
    lines text, want, hf;
    read_lines(&text, GOLDEN "special.txt");
    read_lines(&want, GOLDEN "special_ids.txt");
    read_lines(&hf, GOLDEN "special_hf.txt");
    assert_int_equal(count_wrong(*state, &text, &want), 0);
    for (int i = 0; i < text.n; i++)
        assert_string_not_equal(want.at[i], hf.at[i]);
    free_lines(&text);
    free_lines(&want);
    free_lines(&hf);
}

static int parse_ids(int32_t *ids, const char *s)
{
    int n = 0;
    for (char *end; *s != '\0'; s = end)
        ids[n++] = (int32_t)strtol(s, &end, 10);
    return n;
}

static void test_golden_text(void **state)
{
    lines ids, want;
    int32_t row[16384];
    read_lines(&ids, GOLDEN "ids.txt");
    read_lines(&want, GOLDEN "text.txt");
    assert_int_equal(ids.n, want.n);
    for (int i = 0; i < ids.n; i++) {
        char *text;
        size_t len;
        const int n = parse_ids(row, ids.at[i]);
        assert_int_equal(dgm_tok_decode(*state, &text, &len, row, n), DGM_OK);
        assert_int_equal(len, want.len[i]);
        assert_memory_equal(text, want.at[i], len + 1);
        free(text);
    }
    free_lines(&ids);
    free_lines(&want);
}

static void test_layout(void **state)
{
    static const struct {
        int32_t id;
        const char *piece;
    } known[] = {{0, "<s>"},
                 {1, "<pad>"},
                 {2, "</s>"},
                 {3, "<unk>"},
                 {FIRST_LANG, "ace_Arab"},
                 {DEU, "deu_Latn"},
                 {ENG, "eng_Latn"},
                 {MASK, "<mask>"},
                 {MASK - 1, "zul_Latn"},
                 {MASK + 1, "<unused>"},
                 {-1, "<unused>"},
                 {1 << 30, "<unused>"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_string_equal(dgm_tok_piece(*state, known[i].id), known[i].piece);
        assert_false(dgm_tok_is_text(*state, known[i].id));
        assert_false(dgm_tok_is_word_start(*state, known[i].id));
    }
    assert_true(dgm_tok_is_text(*state, 4) && dgm_tok_is_text(*state, PIECES));
    assert_int_equal(dgm_tok_n_langs(*state), 202);
    assert_string_equal(dgm_tok_lang_code(*state, 201), "zul_Latn");
    assert_int_equal(dgm_tok_lang_id(*state, 201), MASK - 1);
    const int32_t some[] = {3, 4, 3, 2};
    assert_int_equal(dgm_tok_unknowns(some, 4), 2);
}

static void test_orders_and_pieces(void **state)
{
    int32_t *prefix, *suffix, *pieces;
    int n_prefix, n_suffix, n;
    const char text[] = "A man runs.<not part of it>";
    const size_t len = 11;
    assert_int_equal(dgm_tok_encode(*state, &prefix, &n_prefix, text, len, ENG, false), DGM_OK);
    assert_int_equal(dgm_tok_encode(*state, &suffix, &n_suffix, text, len, ENG, true), DGM_OK);
    assert_int_equal(dgm_tok_pieces(*state, &pieces, &n, text, len), DGM_OK);
    assert_int_equal(n_prefix, n + 2);
    assert_int_equal(n_suffix, n + 2);
    assert_memory_equal(prefix + 1, pieces, (size_t)n * sizeof *pieces);
    assert_memory_equal(suffix, pieces, (size_t)n * sizeof *pieces);
    assert_int_equal(prefix[0], ENG);
    assert_int_equal(prefix[n + 1], 2);
    assert_int_equal(suffix[n], 2);
    assert_int_equal(suffix[n + 1], ENG);
    assert_true(dgm_tok_is_word_start(*state, pieces[0]));
    assert_string_equal(dgm_tok_piece(*state, pieces[0]), "▁A");
    free(prefix);
    free(suffix);
    free(pieces);
}

static void check_decode(const dgm_tokenizer *t, const int32_t *ids, int n, const char *want)
{
    char *text;
    size_t len;
    assert_int_equal(dgm_tok_decode(t, &text, &len, ids, n), DGM_OK);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
    free(text);
}

static void test_decode_drops_what_is_no_text(void **state)
{
    int32_t *ids;
    int n;
    assert_int_equal(dgm_tok_pieces(*state, &ids, &n, "two girls", 9), DGM_OK);
    assert_int_equal(n, 2);
    const int32_t odd[] = {-5,   2,         DEU,   ids[0],    0,      1,         3,
                           MASK, VOCAB - 1, VOCAB, INT32_MAX, ids[1], INT32_MIN, 2};
    check_decode(*state, odd, sizeof odd / sizeof odd[0], "two girls");
    check_decode(*state, odd, 3, "");
    check_decode(*state, NULL, 0, "");
    free(ids);
}

static void test_languages(void **state)
{
    static const struct {
        const char *name;
        int32_t id;
    } good[] = {{"eng_Latn", ENG}, {"ENG-latn", ENG}, {"en", ENG},
                {"deu", DEU},      {"de-AT", DEU},    {"German", DEU}};
    int32_t id = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(dgm_tok_lang(*state, &id, good[i].name), DGM_OK);
        assert_int_equal(id, good[i].id);
    }
    assert_int_equal(dgm_tok_lang(*state, &id, "zh"), DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(), "zho_Hans"));
    assert_int_equal(dgm_tok_lang(*state, &id, "xx_Yyyy"), DGM_EUSAGE);
    assert_int_equal(dgm_tok_lang(*state, &id, ""), DGM_EUSAGE);
}

static void *encode_often(void *arg)
{
    char name[] = "A man runs. Zwei Mädchen.";
    for (int i = 0; i < 200; i++) {
        int32_t *ids;
        int n;
        if (dgm_tok_encode(arg, &ids, &n, name, strlen(name), ENG, false) != DGM_OK)
            return arg;
        free(ids);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, *state), 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

/* ---- directories made for one test ---- */

static char dir[] = "/tmp/dgm_tokenizer_XXXXXX";

static const char *in_dir(const char *file)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    return path;
}

static void put(const char *file, const char *text, size_t len)
{
    FILE *f = fopen(in_dir(file), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int make_dir(void **state)
{
    (void)state;
    (void)strcpy(dir + strlen(dir) - 6, "XXXXXX");
    assert_non_null(mkdtemp(dir));
    char *real = realpath(MODEL "/sentencepiece.bpe.model", NULL);
    assert_non_null(real);
    assert_int_equal(symlink(real, in_dir("sentencepiece.bpe.model")), 0);
    free(real);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const files[] = {"sentencepiece.bpe.model", "tokenizer_config.json",
                                        "added_tokens.json"};
    for (int i = 0; i < 3; i++) {
        if (unlink(in_dir(files[i])) != 0)
            (void)rmdir(in_dir(files[i]));
    }
    return rmdir(dir);
}

static int open_with(dgm_tokenizer **t, const char *config, const char *added, int vocab_size)
{
    if (config != NULL)
        put("tokenizer_config.json", config, strlen(config));
    if (added != NULL)
        put("added_tokens.json", added, strlen(added));
    return dgm_tokenizer_open(t, dir, vocab_size);
}

static void check_lang(const dgm_tokenizer *t, const char *name, int32_t want)
{
    int32_t id;
    assert_int_equal(dgm_tok_lang(t, &id, name), DGM_OK);
    assert_int_equal(id, want);
}

static void test_no_files_means_the_202(void **state)
{
    (void)state;
    dgm_tokenizer *t;
    assert_int_equal(open_with(&t, NULL, NULL, FIRST_LANG + 202), DGM_OK);
    assert_int_equal(dgm_tok_n_langs(t), 202);
    check_lang(t, "zul", FIRST_LANG + 201);
    assert_string_equal(dgm_tok_piece(t, MASK), "<mask>");
    dgm_tokenizer_close(t);
    assert_int_equal(open_with(&t, "{}", NULL, FIRST_LANG + 201), DGM_EMODEL); /* one row short */
    assert_non_null(strstr(dgm_error_text(), "zul_Latn"));
}

/* A fine-tune that added Tuvan behind the 202, and names only what it added. */
static void test_added_language(void **state)
{
    (void)state;
    dgm_tokenizer *t;
    int32_t id;
    assert_int_equal(open_with(&t,
                               "{\"added_tokens_decoder\": {"
                               "\"6204\": {\"content\": \"tyv_Cyrl\", \"special\": true},"
                               "\"6205\": {\"content\": \"abc_Latn\", \"special\": false}}}",
                               NULL, VOCAB),
                     DGM_OK);
    assert_int_equal(dgm_tok_n_langs(t), 203);
    check_lang(t, "tyv_Cyrl", 6204);
    check_lang(t, "tyv", 6204);
    check_lang(t, "TYV-cyrl", 6204);
    check_lang(t, "eng_Latn", ENG);
    assert_string_equal(dgm_tok_piece(t, 6204), "tyv_Cyrl");
    assert_false(dgm_tok_is_text(t, 6204));
    assert_int_equal(dgm_tok_lang(t, &id, "abc_Latn"),
                     DGM_EUSAGE); /* not special: a word that was added */
    dgm_tokenizer_close(t);
}

/* Files that place one of the 202 place them all: other ids, fewer languages, another name among the special ones. */
static void test_placed_languages(void **state)
{
    (void)state;
    dgm_tokenizer *t;
    int32_t id;
    assert_int_equal(
        open_with(&t,
                  "{\"additional_special_tokens\": [{\"content\": \"<dialect>\"}, \"plain\"],"
                  "\"added_tokens_decoder\": {"
                  "\"2\": {\"content\": \"</s>\", \"special\": true},"
                  "\"6001\": {\"content\": \"<mask>\", \"special\": true},"
                  "\"6003\": {\"content\": \"eng_Latn\", \"special\": true},"
                  "\"6002\": {\"content\": \"deu_Latn\", \"special\": true},"
                  "\"6005\": {\"content\": \"<dialect>\", \"special\": true}}}",
                  "{\"fra_Latn\": 6004}", 6010),
        DGM_OK);
    assert_int_equal(dgm_tok_n_langs(t), 3);
    check_lang(t, "en", 6003);
    check_lang(t, "de", 6002);
    check_lang(t, "<dialect>", 6005);
    assert_string_equal(dgm_tok_piece(t, 6001), "<mask>");
    assert_int_equal(dgm_tok_lang(t, &id, "fra_Latn"),
                     DGM_EUSAGE); /* added_tokens.json is the older word */
    assert_non_null(strstr(dgm_error_text(), "the model does not have it"));
    dgm_tokenizer_close(t);
}

static void test_added_tokens_file(void **state)
{
    (void)state;
    dgm_tokenizer *t;
    assert_int_equal(open_with(&t, NULL, "{\"tyv_Cyrl\": 6204, \"hello\": 6205}", VOCAB), DGM_OK);
    check_lang(t, "tyv_Cyrl", 6204);
    check_lang(t, "ace_Latn", FIRST_LANG + 1);
    dgm_tokenizer_close(t);
    assert_int_equal(open_with(&t, NULL, "{\"deu_Latn\": 6204, \"<mask>\": 6001}", VOCAB), DGM_OK);
    assert_int_equal(dgm_tok_n_langs(t), 1);
    check_lang(t, "de", 6204);
    dgm_tokenizer_close(t);
}

/* What is wrong with a configuration, and a part of the sentence that says so. */
static void test_bad_configurations(void **state)
{
    (void)state;
    static const struct {
        const char *config, *added, *says;
    } bad[] = {
        {"{", NULL, "JSON"},
        {"[]", NULL, "object"},
        {"{\"tokenizer_class\": \"M2M100Tokenizer\"}", NULL, "M2M100Tokenizer"},
        {"{\"added_tokens_decoder\": []}", NULL, "added_tokens_decoder"},
        {"{\"added_tokens_decoder\": {\"6x\": {\"content\": \"a\"}}}", NULL, "6x"},
        {"{\"added_tokens_decoder\": {\"\": {\"content\": \"a\"}}}", NULL, "added_tokens_decoder"},
        {"{\"added_tokens_decoder\": {\"99999999999999999999\": {\"content\": \"a\"}}}", NULL,
         "9999"},
        {"{\"added_tokens_decoder\": {\"6001\": {\"content\": 7}}}", NULL, "6001"},
        {"{\"added_tokens_decoder\": {\"6001\": {}}}", NULL, "6001"},
        {"{\"added_tokens_decoder\": {\"3\": {\"content\": \"</s>\"}}}", NULL, "want 2"},
        {"{\"added_tokens_decoder\": {\"6206\": {\"content\": \"deu_Latn\", \"special\": true}}}",
         NULL, "6206"},
        {"{\"added_tokens_decoder\": {\"6000\": {\"content\": \"deu_Latn\", \"special\": true}}}",
         NULL, "6000"},
        {"{\"added_tokens_decoder\": {\"-1\": {\"content\": \"deu_Latn\", \"special\": true}}}",
         NULL, "-1"},
        {"{\"added_tokens_decoder\": {\"6001\": {\"content\": \"tyv_Cyrl\", \"special\": true}}}",
         NULL, "one id"},
        {"{\"added_tokens_decoder\": {\"6001\": {\"content\": \"deu_Latn\", \"special\": true},"
         "\"6002\": {\"content\": \"deu_Latn\", \"special\": true}}}",
         NULL, "two ids"},
        {"{}", "{\"tyv_Cyrl\": \"6204\"}", "tyv_Cyrl"},
        {"{}", "{\"tyv_Cyrl\": 1e400}", "JSON"},
        {"{}", "nonsense", "JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dgm_tokenizer *t;
        assert_int_equal(open_with(&t, bad[i].config, bad[i].added, VOCAB), DGM_EMODEL);
        if (strstr(dgm_error_text(), bad[i].says) == NULL)
            fail_msg("%s: want '%s' in: %s", bad[i].config, bad[i].says, dgm_error_text());
    }
}

static void test_bad_models(void **state)
{
    (void)state;
    dgm_tokenizer *t;
    assert_int_equal(dgm_tokenizer_open(&t, dir, PIECES), DGM_EMODEL); /* fewer rows than pieces */
    assert_non_null(strstr(dgm_error_text(), "6001"));

    static char part[200000];
    FILE *f = fopen(in_dir("sentencepiece.bpe.model"), "rb");
    assert_non_null(f);
    assert_int_equal(fread(part, 1, sizeof part, f), sizeof part);
    (void)fclose(f);
    assert_int_equal(unlink(in_dir("sentencepiece.bpe.model")), 0);
    assert_int_equal(dgm_tokenizer_open(&t, dir, VOCAB), DGM_EMODEL);
    assert_non_null(strstr(dgm_error_text(), "No such file"));

    put("sentencepiece.bpe.model", part, sizeof part);
    assert_int_equal(dgm_tokenizer_open(&t, dir, VOCAB), DGM_EMODEL);
    put("sentencepiece.bpe.model", "not a model", 11);
    assert_int_equal(dgm_tokenizer_open(&t, dir, VOCAB), DGM_EMODEL);
    put("sentencepiece.bpe.model", "", 0);
    assert_int_equal(dgm_tokenizer_open(&t, dir, VOCAB), DGM_EMODEL);
    assert_int_equal(unlink(in_dir("sentencepiece.bpe.model")), 0);
    assert_int_equal(mkdir(in_dir("sentencepiece.bpe.model"), 0700), 0);
    assert_int_equal(dgm_tokenizer_open(&t, dir, VOCAB), DGM_EMODEL);
    assert_int_equal(dgm_tokenizer_open(&t, "/nonexistent", VOCAB), DGM_EMODEL);
}

#define ON_MODEL(test) cmocka_unit_test_setup_teardown(test, open_model, close_model)
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MODEL(test_golden_ids),
        ON_MODEL(test_special_names_are_text),
        ON_MODEL(test_golden_text),
        ON_MODEL(test_layout),
        ON_MODEL(test_orders_and_pieces),
        ON_MODEL(test_decode_drops_what_is_no_text),
        ON_MODEL(test_languages),
        ON_MODEL(test_many_threads),
        IN_DIR(test_no_files_means_the_202),
        IN_DIR(test_added_language),
        IN_DIR(test_placed_languages),
        IN_DIR(test_added_tokens_file),
        IN_DIR(test_bad_configurations),
        IN_DIR(test_bad_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
