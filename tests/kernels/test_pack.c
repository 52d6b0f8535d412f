/* Widening is exact for every half and bfloat16 there is; packing puts each number where pack.h says. */
#include "tests/kernels/isas.h"

#include "kernels/pack.h"

static float half_value(unsigned h)
{
    const int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    const float sign = (h & 0x8000) != 0 ? -1.0f : 1.0f;
    if (e == 31)
        return m == 0 ? sign * INFINITY : NAN;
    return sign * (e == 0 ? ldexpf((float)m, -24) : ldexpf((float)(1024 + m), e - 25));
}

static void every_half_widens_exactly(void **state)
{
    (void)state;
    static uint16_t h[65536];
    static float got[65536], want[65536];
    for (unsigned i = 0; i < 65536; i++) {
        h[i] = (uint16_t)i;
        want[i] = half_value(i);
    }
    dgm_widen(got, h, DGM_F16, 65536);
    assert_same_bits(got, want, 65536, "half");
}

static void every_bfloat16_widens_exactly(void **state)
{
    (void)state;
    static uint16_t h[65536];
    static float got[65536];
    for (unsigned i = 0; i < 65536; i++)
        h[i] = (uint16_t)i;
    dgm_widen(got, h, DGM_BF16, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        uint32_t bits;
        memcpy(&bits, &got[i], sizeof bits);
        assert_int_equal(bits, i << 16);
    }
}

/* pack_one - rows r0 .. r0 + rows of an [n, k] matrix of type t, from a source that starts at an odd address. */
static void pack_one(int n, int k, int r0, int rows, dgm_dtype t)
{
    const size_t bytes = dgm_dtype_bytes(t), count = (size_t)rows * (size_t)k;
    unsigned char *src = malloc(count * bytes + 1);
    float *wide = malloc(count * sizeof *wide);
    const size_t floats = dgm_packed_bytes(DGM_W_F32, n, k) / sizeof(float);
    float *dst = calloc(floats, sizeof *dst);
    assert_true(src != NULL && wide != NULL && dst != NULL);
    for (size_t i = 0; i < count * bytes; i++)
        src[1 + i] = (unsigned char)(test_random(256) & (i % bytes == bytes - 1 ? 0x3b : 0xff));
    dgm_widen(wide, src + 1, t, count);
    dgm_pack(dst, src + 1, t, r0, rows, k);
    const dgm_packed w = {.n = n, .k = k, .data = dst};
    const int padded = (n + DGM_PANEL - 1) / DGM_PANEL * DGM_PANEL;
    for (int r = 0; r < padded; r++)
        for (int i = 0; i < k; i++) {
            const float got = dst[(size_t)(r / 16) * 16 * (size_t)k + (size_t)i * 16 + r % 16];
            const bool inside = r >= r0 && r < r0 + rows;
            const float want = inside ? wide[(size_t)(r - r0) * (size_t)k + (size_t)i] : 0.0f;
            assert_same_bits(&got, &want, 1, "[%d, %d] row %d input %d", n, k, r, i);
            if (r < n)
                assert_same_bits(dgm_packed_row(&w, r) + (size_t)i * DGM_PANEL, &want, 1, "row");
        }
    free(src), free(wide), free(dst);
}

static void rows_go_where_the_layout_says(void **state)
{
    (void)state;
    static const int shapes[][4] = {{1, 1, 0, 1},     {16, 16, 0, 16}, {17, 15, 0, 17},
                                    {33, 64, 0, 33},  {40, 65, 3, 30}, {40, 7, 16, 16},
                                    {50, 130, 31, 2}, {48, 200, 47, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int t = DGM_F32; t <= DGM_BF16; t++)
            pack_one(shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], (dgm_dtype)t);
}

/* One matrix of each type, packed by two calls that meet inside a panel, each element where pack.h says and read back. */
static void bf16_panels(int n, int k, int cut)
{
    const size_t count = (size_t)n * (size_t)k, bytes = dgm_packed_bytes(DGM_W_BF16, n, k);
    uint16_t *src = malloc(count * sizeof *src);
    float *row = malloc((size_t)k * sizeof *row);
    unsigned char *dst = malloc(bytes);
    assert_true(src != NULL && row != NULL && dst != NULL);
    memset(dst, 0xee, bytes);
    for (size_t i = 0; i < count; i++)
        src[i] = (uint16_t)(test_random(0x7f00) | test_random(2) << 15);
    dgm_packed_clear(dst, DGM_W_BF16, n, k);
    dgm_pack_bf16(dst, src + (size_t)cut * (size_t)k, cut, n - cut, k);
    dgm_pack_bf16(dst, src, 0, cut, k);
    const dgm_packed w = {.n = n, .k = k, .type = DGM_W_BF16, .data = dst};
    const size_t pairs = ((size_t)k + 1) / 2;
    for (size_t at = 0; at < bytes / 2; at++) {
        const size_t r = at / (pairs * 32) * 16 + at % 32 / 2, i = at / 32 % pairs * 2 + at % 2;
        uint16_t got;
        memcpy(&got, dst + 2 * at, sizeof got);
        assert_int_equal(got, r < (size_t)n && i < (size_t)k ? src[r * (size_t)k + i] : 0);
    }
    for (int r = 0; r < n; r++) {
        dgm_packed_read(row, &w, r);
        for (int i = 0; i < k; i++) {
            float want;
            dgm_widen(&want, &src[(size_t)r * (size_t)k + (size_t)i], DGM_BF16, 1);
            const float one = dgm_packed_at(&w, r, i);
            assert_same_bits(&row[i], &want, 1, "bf16 row %d input %d", r, i);
            assert_same_bits(&one, &want, 1, "bf16 at %d, %d", r, i);
        }
    }
    free(src), free(row), free(dst);
}

static int stored_integer(const unsigned char *p, dgm_wtype t, size_t r, size_t i, size_t k)
{
    if (t == DGM_W_INT8)
        return (signed char)p[r / 16 * ((k + 3) / 4 * 64) + i / 4 * 64 + r % 16 * 4 + i % 4];
    const int both = p[r / 16 * ((k + 7) / 8 * 64) + i / 8 * 64 + r % 16 * 4 + i % 4];
    return (i % 8 < 4 ? both % 16 : both / 16) - 8;
}

static void integer_panels(dgm_wtype t, int n, int k, int group, int cut)
{
    const size_t un = (size_t)n, uk = (size_t)k, bytes = dgm_packed_bytes(t, n, k);
    const int groups = group == 0 ? 1 : (k + group - 1) / group;
    const size_t scales = (un + 15) / 16 * 16 * (size_t)groups, most = t == DGM_W_INT4 ? 8 : 128;
    int8_t *q = malloc(un * uk);
    float *row = malloc(uk * sizeof *row), *scale = test_floats(scales, PLAIN);
    unsigned char *dst = malloc(bytes);
    assert_true(q != NULL && row != NULL && dst != NULL);
    memset(dst, 0xee, bytes);
    for (size_t i = 0; i < un * uk; i++)
        q[i] = (int8_t)((int)test_random(2 * (unsigned)most) - (int)most);
    dgm_packed_clear(dst, t, n, k);
    dgm_pack_integers(dst, t, q + (size_t)cut * uk, cut, n - cut, k);
    dgm_pack_integers(dst, t, q, 0, cut, k);
    const size_t per_line = t == DGM_W_INT4 ? 8 : 4,
                 padded = (uk + per_line - 1) / per_line * per_line;
    for (size_t r = 0; r < (un + 15) / 16 * 16; r++)
        for (size_t i = 0; i < padded; i++)
            assert_int_equal(stored_integer(dst, t, r, i, uk),
                             r < un && i < uk ? q[r * uk + i] : 0);
    const dgm_packed w = {.n = n, .k = k, .type = t, .group = group, .data = dst, .scale = scale};
    for (size_t r = 0; r < un; r++) {
        dgm_packed_read(row, &w, (int)r);
        for (size_t i = 0; i < uk; i++) {
            const size_t g = group == 0 ? 0 : i / (size_t)group;
            const float want =
                (float)q[r * uk + i] * scale[(r / 16 * (size_t)groups + g) * 16 + r % 16];
            const float one = dgm_packed_at(&w, (int)r, (int)i);
            assert_same_bits(&row[i], &want, 1, "integer row %zu input %zu", r, i);
            assert_same_bits(&one, &want, 1, "integer at %zu, %zu", r, i);
        }
    }
    free(q), free(row), free(scale), free(dst);
}

static void every_type_goes_where_its_layout_says(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 0},   {16, 16, 5}, {17, 15, 16}, {33, 64, 1},
                                    {40, 65, 3}, {50, 2, 31}, {47, 203, 20}};
    static const int groups[] = {0, 32, 64, 128};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const int *d = shapes[s];
        bf16_panels(d[0], d[1], d[2]);
        for (int g = 0; g < 4; g++) {
            integer_panels(DGM_W_INT8, d[0], d[1], groups[g], d[2]);
            integer_panels(DGM_W_INT4, d[0], d[1], groups[g], d[2]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(every_bfloat16_widens_exactly),
        cmocka_unit_test(rows_go_where_the_layout_says),
        cmocka_unit_test(every_type_goes_where_its_layout_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
