#include "base/fpenv.h"

#include <fenv.h>
#include <float.h>

#if defined(__x86_64__)
/* MXCSR: bits 13-14 rounding (0 = nearest), 15 flush to zero, 6 denormals are zero; 7-12 mask traps. */
enum { MXCSR_WANT = 0x1f80, MXCSR_MODE = 0xffc0 };

void dgm_fpenv_set(void)
{
    __builtin_ia32_ldmxcsr(MXCSR_WANT);
    (void)fesetround(FE_TONEAREST);
}

int dgm_fpenv_check(const char *where)
{
    const unsigned found = __builtin_ia32_stmxcsr();
    if ((found & MXCSR_MODE) != MXCSR_WANT)
        return dgm_fail(DGM_EINTERNAL, "%s: floating-point mode (mxcsr): want 0x%x, found 0x%x",
                        where, (unsigned)MXCSR_WANT, found & MXCSR_MODE);
    return DGM_OK;
}
#else
void dgm_fpenv_set(void)
{
    (void)fesetround(FE_TONEAREST);
}

int dgm_fpenv_check(const char *where)
{
    volatile float tiny = FLT_MIN;
    if (fegetround() != FE_TONEAREST || tiny / 2 == 0)
        return dgm_fail(DGM_EINTERNAL,
                        "%s: floating-point mode: want round to nearest with subnormals", where);
    return DGM_OK;
}
#endif
