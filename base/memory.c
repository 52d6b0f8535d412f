#include "base/memory.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* The names that one version of control groups gives to the same things. */
typedef struct names {
    const char *mount, *limit, *used;
    const char *cache[2]; /* lines of memory.stat that add up to the file cache */
} names;

static const names VERSION_1 = {"/sys/fs/cgroup/memory",
                                "memory.limit_in_bytes",
                                "memory.usage_in_bytes",
                                {"total_inactive_file", "total_active_file"}};
static const names VERSION_2 = {
    "/sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file", "active_file"}};

static FILE *open_at(const char *root, const char *path)
{
    char whole[2 * PATH_BYTES];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    return fopen(whole, "re");
}

/* field - the number behind `key` in lines of "key number"; 0 without it. */
static uint64_t field(FILE *f, const char *key)
{
    char line[256];
    const size_t len = strlen(key);
    rewind(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, len) == 0 && (line[len] == ' ' || line[len] == ':'))
            return strtoull(line + len + 1, NULL, 10);
    }
    return 0;
}

/* number - the only content of a file; "max", or no file: UINT64_MAX. */
static uint64_t number(const char *root, const char *dir, const char *name)
{
    char path[PATH_BYTES + 64], line[64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = open_at(root, path);
    if (f == NULL)
        return UINT64_MAX;
    const bool got = fgets(line, sizeof line, f) != NULL && line[0] >= '0' && line[0] <= '9';
    (void)fclose(f);
    return got ? strtoull(line, NULL, 10) : UINT64_MAX;
}

static uint64_t file_cache(const char *root, const char *dir, const names *n)
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/memory.stat", dir);
    FILE *f = open_at(root, path);
    if (f == NULL)
        return 0;
    const uint64_t bytes = field(f, n->cache[0]) + field(f, n->cache[1]);
    (void)fclose(f);
    return bytes;
}

/* left_in - what one group leaves. */
static uint64_t left_in(const char *root, const char *dir, const names *n)
{
    const uint64_t limit = number(root, dir, n->limit), used = number(root, dir, n->used);
    if (limit == UINT64_MAX || used == UINT64_MAX)
        return UINT64_MAX;
    const uint64_t cache = file_cache(root, dir, n), held = used > cache ? used - cache : 0;
    return limit > held ? limit - held : 0;
}

/* left_above - the least that a group, or one above it, leaves. */
static uint64_t left_above(const char *root, const char *group, const names *n)
{
    char dir[PATH_BYTES];
    (void)snprintf(dir, sizeof dir, "%s%s", n->mount, group);
    uint64_t least = UINT64_MAX;
    while (strlen(dir) >= strlen(n->mount)) {
        const uint64_t left = left_in(root, dir, n);
        least = left < least ? left : least;
        *strrchr(dir, '/') = '\0';
    }
    return least;
}

/* Lines of /proc/self/cgroup: "5:cpu,memory:/job" of version 1, "0::/job" of version 2. */
static uint64_t left_by_groups(const char *root)
{
    FILE *f = open_at(root, "/proc/self/cgroup");
    char line[PATH_BYTES / 2];
    uint64_t least = UINT64_MAX;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL)
            continue;
        *group++ = '\0';
        const bool v2 = controllers[1] == '\0';
        if (!v2 && strstr(controllers, "memory") == NULL)
            continue;
        const uint64_t left =
            left_above(root, strcmp(group, "/") == 0 ? "" : group, v2 ? &VERSION_2 : &VERSION_1);
        least = left < least ? left : least;
    }
    if (f != NULL)
        (void)fclose(f);
    return least;
}

uint64_t dgm_memory_free(const char *root)
{
    uint64_t bytes = left_by_groups(root);
    FILE *f = open_at(root, "/proc/meminfo");
    if (f == NULL)
        return bytes;
    const uint64_t available = field(f, "MemAvailable") << 10;
    (void)fclose(f);
    return available > 0 && available < bytes ? available : bytes;
}

uint64_t dgm_memory_resident(void)
{
    char text[128];
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *space = strchr(text, ' '); /* the second number, in pages */
    return space == NULL ? 0 : strtoull(space, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t dgm_memory_peak(void)
{
    FILE *f = open_at("", "/proc/self/status");
    if (f == NULL)
        return 0;
    const uint64_t bytes = field(f, "VmHWM") << 10;
    (void)fclose(f);
    return bytes;
}
