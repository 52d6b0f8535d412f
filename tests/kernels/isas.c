#include "tests/kernels/isas.h"

#include "kernels/isa.h"

#include <stdint.h>

static bool is_built(const char *name)
{
    dgm_kernels k;
    return dgm_kernels_select(&k, name) == DGM_OK;
}

static bool always(void)
{
    return true;
}

static bool has_avx2(void)
{
    return is_built("avx2");
}

#if DGM_HAVE_AVX512
void dgm_avx512_simde_init(dgm_kernels *k);
void dgm_vnni_simde_init(dgm_kernels *k);
void dgm_vbmi2_simde_init(dgm_kernels *k);

static bool has_avx512(void)
{
    return is_built("avx512");
}

static bool has_vnni(void)
{
    return is_built("vnni");
}

static bool has_vbmi2(void)
{
    return has_vnni() && __builtin_cpu_supports("avx512vbmi2");
}

static void vbmi2_init(dgm_kernels *k)
{
    dgm_vnni_init(k);
    dgm_vbmi2_init(k);
}

static void vbmi2_simde_init(dgm_kernels *k)
{
    dgm_vnni_simde_init(k);
    dgm_vbmi2_simde_init(k);
}
#endif

test_isa test_isas[TEST_ISAS] = {
    {"ref", always, dgm_ref_init},
    {"ref with fma", has_avx2, dgm_ref_fma_init},
    {"avx2", has_avx2, dgm_avx2_init},
#if DGM_HAVE_AVX512
    {"avx512", has_avx512, dgm_avx512_init},
    {"vnni", has_vnni, dgm_vnni_init},
    {"avx512 through SIMDe", has_avx2, dgm_avx512_simde_init},
    {"vnni through SIMDe", has_avx2, dgm_vnni_simde_init},
    {"vnni with vbmi2", has_vbmi2, vbmi2_init},
    {"vnni with vbmi2 through SIMDe", has_avx2, vbmi2_simde_init},
#endif
};

dgm_kernels isa_of(void **state)
{
    const test_isa *isa = *state;
    dgm_kernels k;
    memset(&k, 0, sizeof k);
    if (!isa->present()) {
        print_message("[  SKIPPED ] this cpu lacks what %s needs\n", isa->name);
        skip();
    }
    print_message("           %s\n", isa->name);
    isa->init(&k);
    return k;
}

static uint64_t random_state = 1;

void test_seed(unsigned seed)
{
    random_state = 0x9e3779b97f4a7c15u ^ seed;
}

static uint32_t next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

unsigned test_random(unsigned below)
{
    return next() % below;
}

void test_fill(float *x, size_t n, enum flavour f)
{
    static const float small[] = {0.0f, -0.0f, 0x1p-149f, -0x1.8p-130f, 0x1p-126f, -0x1p-70f};
    static const float wild[] = {INFINITY, -INFINITY, NAN, 0x1.fffffep+127f};
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(int32_t)next() * 0x1p-30f;
        if (f >= SMALL && test_random(5) == 0)
            x[i] = small[test_random(6)];
        if (f == HOSTILE && test_random(1000) == 0)
            x[i] = wild[test_random(4)];
    }
}

float *test_floats(size_t n, enum flavour f)
{
    float *x = malloc((n == 0 ? 1 : n) * sizeof *x);
    assert_non_null(x);
    test_fill(x, n, f);
    return x;
}

void same_bits(const float *got, const float *want, size_t n, const char *file, int line,
               const char *fmt, ...)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &want[i], sizeof *got) == 0 || (got[i] != got[i] && want[i] != want[i]))
            continue;
        char what[200];
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(what, sizeof what, fmt, args);
        va_end(args);
        print_error("%s: element %zu: want %a, found %a\n", what, i, (double)want[i],
                    (double)got[i]);
        _fail(file, line);
    }
}
