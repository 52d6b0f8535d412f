#include "kernels/device.h"

#include "base/fpenv.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* program_dir - the folder of the running program, without the last slash; "" when it cannot be told. */
static void program_dir(char dir[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
    dir[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        *slash = '\0';
}

/* find - path of the plug-in; where it is not, the first place where it was wanted. */
static bool find(char path[2 * PATH_MAX], const char *name)
{
    const char *named = getenv("DGM_PLUGIN_DIR");
    char dir[PATH_MAX];
    if (named != NULL && named[0] != '\0') {
        (void)snprintf(path, 2 * PATH_MAX, "%s/libdragoman_%s.so", named, name);
        return access(path, F_OK) == 0;
    }
    program_dir(dir);
    (void)snprintf(path, 2 * PATH_MAX, "%s/../lib/dragoman/libdragoman_%s.so", dir, name);
    if (access(path, F_OK) == 0)
        return true;
    (void)snprintf(path, 2 * PATH_MAX, "%s/libdragoman_%s.so", dir, name);
    return access(path, F_OK) == 0;
}

int dgm_device_load(const dgm_device_ops **out, const char *name)
{
    char path[2 * PATH_MAX];
    if (!find(path, name))
        return dgm_fail(DGM_EUNSUPPORTED,
                        "--device %s: want its plug-in %s, found none (it is built where the CUDA "
                        "compiler nvcc is found)",
                        name, path);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (lib == NULL)
        return dgm_fail(DGM_EUNSUPPORTED, "--device %s: the plug-in cannot be loaded: %s", name,
                        dlerror());
    DGM_TRY(dgm_fpenv_check("after loading a plug-in"));
    dgm_device_plugin_fn *entry;
    *(void **)&entry = dlsym(lib, "dgm_device_plugin");
    const dgm_device_ops *ops = entry == NULL ? NULL : entry(dgm_fail);
    if (ops == NULL || ops->abi != DGM_DEVICE_ABI)
        return dgm_fail(DGM_EUNSUPPORTED, "--device %s: %s is of another build of dragoman", name,
                        path);
    *out = ops;
    return DGM_OK;
}
