/* Language codes, what they are called, and what else people call them. */
#include "runtime/lang.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_table(void **state)
{
    (void)state;
    int n;
    const dgm_lang *all = dgm_langs(&n);
    assert_int_equal(n, 202);
    /* Ends and the places where NLLB's order is not the alphabet's. */
    assert_string_equal(all[0].code, "ace_Arab");
    assert_string_equal(all[42 - 1].code, "deu_Latn");
    assert_string_equal(all[46].code, "eng_Latn");
    assert_string_equal(all[52].code, "pes_Arab");
    assert_string_equal(all[201].code, "zul_Latn");
    for (int i = 0; i < n; i++) {
        const char *code = "";
        assert_int_equal(strlen(all[i].code), 8);
        assert_true(all[i].name[0] != '\0' && (all[i].iso1[0] == '\0' || strlen(all[i].iso1) == 2));
        assert_ptr_equal(dgm_lang_find(all[i].code), &all[i]);
        assert_int_equal(dgm_lang_resolve(&code, all[i].code), DGM_OK);
        assert_ptr_equal(code, all[i].code);
        assert_int_equal(dgm_lang_resolve(&code, all[i].name), DGM_OK);
        assert_ptr_equal(code, all[i].code);
    }
    assert_null(dgm_lang_find("deu"));
}

static void test_aliases(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"de", "deu_Latn"},       {"deu", "deu_Latn"},
        {"de-DE", "deu_Latn"},    {"deu-Latn", "deu_Latn"},
        {"DE_at", "deu_Latn"},    {"de-Latn-CH", "deu_Latn"},
        {"ger", "deu_Latn"},      {"German", "deu_Latn"},
        {"zh-Hant", "zho_Hant"},  {"zh-Hans", "zho_Hans"},
        {"zh-TW", "zho_Hant"},    {"zh-HK", "zho_Hant"},
        {"zh_cn", "zho_Hans"},    {"zho-Hans-SG", "zho_Hans"},
        {"yue", "yue_Hant"},      {"zh-yue", "yue_Hant"},
        {"pt-BR", "por_Latn"},    {"pt", "por_Latn"},
        {"es-419", "spa_Latn"},   {"iw", "heb_Hebr"},
        {"he", "heb_Hebr"},       {"ji", "ydd_Hebr"},
        {"in", "ind_Latn"},       {"id", "ind_Latn"},
        {"nb", "nob_Latn"},       {"nn-NO", "nno_Latn"},
        {"sr", "srp_Cyrl"},       {"sr-Cyrl", "srp_Cyrl"},
        {"sw", "swh_Latn"},       {"swa", "swh_Latn"},
        {"ms", "zsm_Latn"},       {"msa", "zsm_Latn"},
        {"lv", "lvs_Latn"},       {"lav", "lvs_Latn"},
        {"ltg", "ltg_Latn"},      {"et", "est_Latn"},
        {"mn", "khk_Cyrl"},       {"sq", "als_Latn"},
        {"ne", "npi_Deva"},       {"om", "gaz_Latn"},
        {"az-Latn", "azj_Latn"},  {"az-Arab", "azb_Arab"},
        {"az-AZ", "azj_Latn"},    {"fa-IR", "pes_Arab"},
        {"fa-AF", "prs_Arab"},    {"ku-Arab", "ckb_Arab"},
        {"ku-Latn", "kmr_Latn"},  {"kmr", "kmr_Latn"},
        {"arz", "arz_Arab"},      {"arb", "arb_Arab"},
        {"ks-Deva", "kas_Deva"},  {"ace-Arab", "ace_Arab"},
        {"sat_Olck", "sat_Beng"}, {"sat", "sat_Beng"},
        {"fil", "tgl_Latn"},      {"chinese (traditional)", "zho_Hant"},
        {"tzm", "tzm_Tfng"},      {"norwegian bokmål", "nob_Latn"},
        {"CZE", "ces_Latn"},      {"cs", "ces_Latn"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const char *code = "";
        if (dgm_lang_resolve(&code, good[i][0]) != DGM_OK)
            fail_msg("%s: %s", good[i][0], dgm_error_text());
        assert_string_equal(code, good[i][1]);
    }
}

/* The sentence must hold all of these words (NULL ends them). */
static void check_refused(const char *name, const char *const *words)
{
    const char *code = "untouched";
    assert_int_equal(dgm_lang_resolve(&code, name), DGM_EUSAGE);
    assert_string_equal(code, "untouched");
    for (; *words != NULL; words++)
        if (strstr(dgm_error_text(), *words) == NULL)
            fail_msg("%s: want '%s' in: %s", name, *words, dgm_error_text());
}

#define REFUSED(name, ...) check_refused(name, (const char *const[]){__VA_ARGS__, NULL})

static void test_ambiguous(void **state)
{
    (void)state;
    REFUSED("zh", "several", "zho_Hans (Chinese (Simplified))", "zho_Hant");
    REFUSED("zho", "zho_Hans", "zho_Hant");
    REFUSED("chi", "zho_Hans", "zho_Hant");
    REFUSED("Chinese", "zho_Hans", "zho_Hant");
    REFUSED("ar", "arb_Arab", "arz_Arab", "ary_Arab", "acm_Arab", "acq_Arab", "aeb_Arab",
            "ajp_Arab", "apc_Arab", "ars_Arab");
    REFUSED("ar-EG", "arb_Arab", "arz_Arab");
    REFUSED("no", "nob_Latn", "nno_Latn");
    REFUSED("ku", "ckb_Arab", "kmr_Latn");
    REFUSED("fa", "pes_Arab", "prs_Arab");
    REFUSED("az", "azj_Latn", "azb_Arab");
    REFUSED("sh", "bos_Latn", "hrv_Latn", "srp_Cyrl");
    REFUSED("ace", "ace_Arab", "ace_Latn");
    REFUSED("kas", "kas_Arab", "kas_Deva");
    REFUSED("tamasheq", "taq_Latn", "taq_Tfng");
}

static void test_other_script(void **state)
{
    (void)state;
    REFUSED("sr-Latn", "script", "srp_Cyrl (Serbian)");
    REFUSED("deu_Cyrl", "script", "deu_Latn");
    REFUSED("pa-Arab", "script", "pan_Guru");
}

static void test_unknown(void **state)
{
    (void)state;
    REFUSED("germn", "unknown", "deu_Latn (German)");
    REFUSED("deu_Lant", "deu_Latn");
    REFUSED("englsh", "eng_Latn (English)");
    REFUSED("arabic", "arb_Arab", "arz_Arab");
    REFUSED("kurdish", "ckb_Arab", "kmr_Latn");
    REFUSED("xx", "unknown", "dragoman languages");
    REFUSED("", "unknown");
    REFUSED("-", "unknown");
    REFUSED("de-", "unknown");
    REFUSED("de-DE-DE-x-what", "unknown");
    REFUSED("de DE", "unknown");
    REFUSED("\xFF\xFE", "unknown");
    char long_name[5000];
    memset(long_name, 'd', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    REFUSED(long_name, "unknown");
    /* A name in Arabic script is not near "arabic". */
    const char *code;
    assert_int_equal(dgm_lang_resolve(&code, "arabic"), DGM_EUSAGE);
    assert_null(strstr(dgm_error_text(), "ace_Arab"));
}

static void test_lists_of_aliases(void **state)
{
    (void)state;
    char text[64];
    dgm_lang_aliases(text, sizeof text, "deu_Latn");
    assert_string_equal(text, "de deu ger");
    dgm_lang_aliases(text, sizeof text, "zho_Hant");
    assert_string_equal(text, "zh-tw zh-hk zh-mo"); /* zh is not its own */
    dgm_lang_aliases(text, sizeof text, "ace_Latn");
    assert_string_equal(text, "");
    dgm_lang_aliases(text, sizeof text, "xyz_Latn");
    assert_string_equal(text, "");
    char small[5];
    dgm_lang_aliases(small, sizeof small, "deu_Latn");
    assert_true(strlen(small) < sizeof small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_ambiguous), cmocka_unit_test(test_other_script),
        cmocka_unit_test(test_unknown),   cmocka_unit_test(test_lists_of_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
