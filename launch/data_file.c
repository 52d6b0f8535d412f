#include "launch/data_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool holds(const char *dir, const char *proof)
{
    char path[4096];
    return snprintf(path, sizeof path, "%s/%s", dir, proof) < (int)sizeof path &&
           access(path, R_OK) == 0;
}

bool dgm_data_find(char *dir, size_t size, const char *in_tree, const char *in_share,
                   const char *proof)
{
    static const char *const up[] = {"../..", "..", "../../.."}; /* from the build folder */
    char exe[2048];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) {
        exe[n] = '\0';
        *strrchr(exe, '/') = '\0';
        for (size_t i = 0; i < sizeof up / sizeof up[0]; i++) {
            (void)snprintf(dir, size, "%s/%s/%s", exe, up[i], in_tree);
            if (holds(dir, proof))
                return true;
        }
        (void)snprintf(dir, size, "%s/../share/dragoman/%s", exe, in_share);
        if (holds(dir, proof))
            return true;
    }
    (void)snprintf(dir, size, "%s/dragoman/%s", DGM_DATADIR, in_share);
    return holds(dir, proof);
}
