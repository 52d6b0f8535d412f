/* The best table for this CPU. Order matters: each row of `isas` needs all that the rows before it need. */
#include "kernels/isa.h"

#include <cpuid.h>
#include <stdbool.h>
#include <string.h>

static bool has_ref(void)
{
    return true;
}

static void init_ref(dgm_kernels *k)
{
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        dgm_ref_fma_init(k);
    else
        dgm_ref_init(k);
}

/* clang 14 cannot be asked for F16C. That the OS saves the registers is part of the answer for avx2. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
    return DGM_HAVE_AVX512 && has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

static bool has_vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

/* VBMI2 is no set of its own: it came with the CPUs after the first that had VNNI, and changes a few entries. */
static void init_vnni(dgm_kernels *k)
{
#if DGM_HAVE_AVX512
    dgm_vnni_init(k);
    if (__builtin_cpu_supports("avx512vbmi2"))
        dgm_vbmi2_init(k);
#else
    (void)k;
#endif
}

static const struct {
    const char *name;
    bool (*present)(void);
    void (*init)(dgm_kernels *k);
} isas[] = {
    {"ref", has_ref, init_ref},
    {"avx2", has_avx2, dgm_avx2_init},
    {"avx512", has_avx512, DGM_AVX512_OR_NULL(dgm_avx512_init)},
    {"vnni", has_vnni, init_vnni},
};
enum { N_ISAS = sizeof isas / sizeof isas[0] };

int dgm_kernels_level(const char *isa)
{
    for (int i = 0; i < N_ISAS; i++)
        if (strcmp(isa, isas[i].name) == 0)
            return i;
    return -1;
}

const char *dgm_kernels_level_name(int level)
{
    return level >= 0 && level < N_ISAS ? isas[level].name : NULL;
}

int dgm_kernels_select(dgm_kernels *out, const char *want)
{
    int best = 0;
    while (best + 1 < N_ISAS && isas[best + 1].present())
        best++;
    int level = best;
    if (want != NULL && want[0] != '\0' && strcmp(want, "auto") != 0)
        level = dgm_kernels_level(want);
    if (level < 0)
        return dgm_fail(DGM_EUSAGE, "instruction set %s: want auto, ref, avx2, avx512 or vnni",
                        want);
    if (level > best)
        return dgm_fail(DGM_EUNSUPPORTED, "instruction set %s: not on this cpu (best here: %s)",
                        want, isas[best].name);
    isas[level].init(out);
    return DGM_OK;
}
