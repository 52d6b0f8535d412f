#include "runtime/loops.h"

bool dgm_loops(const int32_t *ids, int n)
{
    for (int block = 1; block <= n / DGM_LOOP_TIMES; block++) {
        const int repeats = block * (DGM_LOOP_TIMES - 1);
        const int need = repeats > DGM_LOOP_PIECES - block ? repeats : DGM_LOOP_PIECES - block;
        int same = 0; /* pieces in a row that are those one block before */
        for (int i = block; i < n; i++) {
            same = ids[i] == ids[i - block] ? same + 1 : 0;
            if (same >= need)
                return true;
        }
    }
    return false;
}
