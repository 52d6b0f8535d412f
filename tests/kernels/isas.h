/*
 * isas.h - what the kernel tests share: every table that was built, numbers to feed it, comparison of bits.
 *
 * AVX-512 and VNNI appear twice: as they are, for CPUs that have them, and built on AVX2 through SIMDe, for all others;
 * in builds with sanitizers, which watch the avx2 table, not at all.
 */
#ifndef DGM_TESTS_KERNELS_ISAS_H
#define DGM_TESTS_KERNELS_ISAS_H

#include "kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct test_isa {
    const char *name;
    bool (*present)(void);
    void (*init)(dgm_kernels *k);
} test_isa;

#if DGM_HAVE_AVX512
enum { TEST_ISAS = 9 };
#else
enum { TEST_ISAS = 3 };
#endif
extern test_isa test_isas[TEST_ISAS];

/* One cmocka test for each table: PER_ISA(f) in an array of struct CMUnitTest. VBMI2 changes bitmaps alone. */
#define ON_ISA(f, i)                                                                               \
    {                                                                                              \
#f, f, NULL, NULL, &test_isas[i]                                                           \
    }
#if DGM_HAVE_AVX512
#define PER_ISA(f)                                                                                 \
    ON_ISA(f, 0), ON_ISA(f, 1), ON_ISA(f, 2), ON_ISA(f, 3), ON_ISA(f, 4), ON_ISA(f, 5), ON_ISA(f, 6)
#define PER_ISA_AND_VBMI2(f) PER_ISA(f), ON_ISA(f, 7), ON_ISA(f, 8)
#else
#define PER_ISA(f) ON_ISA(f, 0), ON_ISA(f, 1), ON_ISA(f, 2)
#define PER_ISA_AND_VBMI2(f) PER_ISA(f)
#endif

/* isa_of - the table of a PER_ISA test; says which, or that this CPU lacks it, and then skips the test. */
dgm_kernels isa_of(void **state);

/* What random floats are like: the hostile ones sprinkle -0, subnormals; then also infinities and NaN. */
enum flavour { PLAIN, SMALL, HOSTILE, FLAVOURS };

/* test_seed restarts the generator, so that a failure repeats. */
void test_seed(unsigned seed);
unsigned test_random(unsigned below);
void test_fill(float *x, size_t n, enum flavour f);
float *test_floats(size_t n, enum flavour f); /* malloc'ed */

/* assert_same_bits - memcmp, except that one NaN is as good as another: which payload an operation passes on depends
 * on the order of its operands, which C does not fix. */
#define assert_same_bits(got, want, n, ...) same_bits(got, want, n, __FILE__, __LINE__, __VA_ARGS__)
void same_bits(const float *got, const float *want, size_t n, const char *file, int line,
               const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
