/* The key-value cache: places of positions are apart, chunks go from sentence to sentence. */
#include "runtime/kvcache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 3, HEADS = 2, HD = 5, ROWS = 3, SLOTS = 4, TARGET = 50, SOURCE = 33 };

/* rows: of a chunk. */
static dgm_kvcache set_up(int rows, bool bf16)
{
    dgm_model m = {.cfg = {.d_model = HEADS * HD}};
    m.cfg.n_heads[DGM_DECODER] = HEADS;
    m.cfg.n_layers[DGM_DECODER] = LAYERS;
    dgm_kvcache c;
    const dgm_kv_limits most = {SLOTS, rows, ROWS, TARGET, SOURCE};
    assert_int_equal(dgm_kvcache_init(&c, &m, &most, bf16), DGM_OK);
    return c;
}

static float value(int slot, int pos, int row, int layer, int i)
{
    return (float)((((slot * TARGET + pos) * ROWS + row) * LAYERS + layer) * 2 * HEADS * HD + i);
}

static void put(dgm_kvpool *p, int slot, int pos, int row)
{
    float kv[2 * HEADS * HD];
    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < 2 * HEADS * HD; i++)
            kv[i] = value(slot, pos, row, l, i);
        dgm_kv_put(p, l, dgm_kv_index(p, slot, pos, row), kv, kv + HEADS * HD);
    }
}

static void check(const dgm_kvpool *p, int slot, int pos, int row)
{
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < HEADS * HD; i++) {
            const float *at = (const float *)dgm_kv_at(p, l) + (size_t)(i / HD) * p->head +
                              (size_t)dgm_kv_index(p, slot, pos, row) * 2 * HD + i % HD;
            assert_true((const char *)(at + HD) < p->base + p->bytes);
            assert_true(at[0] == value(slot, pos, row, l, i));
            assert_true(at[HD] == value(slot, pos, row, l, HEADS * HD + i));
        }
}

static void places_are_apart(int rows)
{
    dgm_kvcache c = set_up(rows, false);
    for (int n = 1; n <= TARGET; n++)
        for (int s = 0; s < SLOTS; s++)
            for (int r = 0; r < ROWS; r++) {
                dgm_kv_grow(&c.self, s, n, r);
                put(&c.self, s, n - 1, r);
            }
    for (int s = 0; s < SLOTS; s++)
        for (int p = 0; p < TARGET; p++)
            for (int r = 0; r < ROWS; r++)
                check(&c.self, s, p, r);
    assert_int_equal(c.self.n_free, 0);
    for (int s = 0; s < SLOTS; s++)
        dgm_kv_drop(&c.self, s);
    assert_int_equal(c.self.n_free, SLOTS * c.self.bands * c.self.per_slot);
    dgm_kvcache_fini(&c);
}

static void every_position_has_a_place_of_its_own(void **state)
{
    (void)state;
    for (int rows = 1; rows <= ROWS; rows++) /* bands of 1, of 2 and what is left, of all */
        places_are_apart(rows);
}

/* Who needs no more than the usual rows takes no more. */
static void a_band_is_taken_when_a_row_of_it_is(void **state)
{
    (void)state;
    dgm_kvcache c = set_up(2, false);
    const int all = c.self.n_free;
    dgm_kv_grow(&c.self, 0, 40, 0);
    dgm_kv_grow(&c.self, 0, 40, 1);
    assert_int_equal(c.self.n_free, all - 3);
    dgm_kv_grow(&c.self, 0, 20, 2);
    assert_int_equal(c.self.n_free, all - 5);
    dgm_kv_drop(&c.self, 0);
    assert_int_equal(c.self.n_free, all);
    dgm_kvcache_fini(&c);
}

static void chunks_are_used_again(void **state)
{
    (void)state;
    dgm_kvcache c = set_up(ROWS, false);
    const int all = c.cross.n_free;
    dgm_kv_grow(&c.cross, 0, 1, 0);
    dgm_kv_grow(&c.cross, 1, SOURCE, 0);
    for (int p = 0; p < SOURCE; p++)
        put(&c.cross, 1, p, 0);
    const int32_t at = dgm_kv_index(&c.cross, 0, 0, 0);
    dgm_kv_drop(&c.cross, 0);
    dgm_kv_grow(&c.cross, 3, SOURCE, 0); /* what was freed last comes first */
    assert_int_equal(dgm_kv_index(&c.cross, 3, 0, 0), at);
    for (int p = 0; p < SOURCE; p++)
        put(&c.cross, 3, p, 0);
    for (int p = 0; p < SOURCE; p++) {
        check(&c.cross, 1, p, 0);
        check(&c.cross, 3, p, 0);
    }
    dgm_kv_drop(&c.cross, 1);
    dgm_kv_drop(&c.cross, 3);
    dgm_kv_drop(&c.cross, 2); /* held nothing */
    assert_int_equal(c.cross.n_free, all);
    dgm_kvcache_fini(&c);
}

static void half_the_width_is_rounded(void **state)
{
    (void)state;
    dgm_kvcache c = set_up(ROWS, true);
    float kv[2 * HEADS * HD];
    for (int i = 0; i < 2 * HEADS * HD; i++)
        kv[i] = 1.0f + (float)i / 4096;
    dgm_kv_grow(&c.cross, 2, 20, 0);
    const int32_t at = dgm_kv_index(&c.cross, 2, 19, 0);
    dgm_kv_put(&c.cross, LAYERS - 1, at, kv, kv + HEADS * HD);
    const uint16_t *k = (const uint16_t *)dgm_kv_at(&c.cross, LAYERS - 1) + (size_t)at * 2 * HD;
    for (int i = 0; i < HEADS * HD; i++) {
        const uint16_t *e = k + (size_t)(i / HD) * c.cross.head + i % HD;
        assert_int_equal(e[0], dgm_bf16_round(kv[i]));
        assert_int_equal(e[HD], dgm_bf16_round(kv[HEADS * HD + i]));
    }
    dgm_kvcache_fini(&c);
}

static void what_cannot_be_reserved_is_said(void **state)
{
    (void)state;
    dgm_model m = {.cfg = {.d_model = 1 << 12}};
    m.cfg.n_heads[DGM_DECODER] = 1 << 10;
    m.cfg.n_layers[DGM_DECODER] = 256;
    dgm_kvcache c;
    const dgm_kv_limits most = {1 << 10, 64, 64, 1 << 12, 1 << 12};
    assert_int_equal(dgm_kvcache_init(&c, &m, &most, false), DGM_ENOMEM);
    assert_non_null(strstr(dgm_error_text(), "--batch-rows"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_position_has_a_place_of_its_own),
        cmocka_unit_test(a_band_is_taken_when_a_row_of_it_is),
        cmocka_unit_test(chunks_are_used_again),
        cmocka_unit_test(half_the_width_is_rounded),
        cmocka_unit_test(what_cannot_be_reserved_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
