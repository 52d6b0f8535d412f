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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(every_bfloat16_widens_exactly),
        cmocka_unit_test(rows_go_where_the_layout_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
