/* Memory that is left, as told by copies of /proc and of control groups. */
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static void make_dirs(const char *path)
{
    char whole[512];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        (void)mkdir(whole, 0700);
    }
}

static void put(const char *path, const char *text)
{
    char whole[512];
    make_dirs(path);
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    FILE *f = fopen(whole, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/dgm-memory-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command); /* NOLINT(cert-env33-c): a fixed command */
}

static void test_nothing_tells(void **state)
{
    (void)state;
    assert_true(dgm_memory_free(root) == UINT64_MAX);
}

static void test_kernel(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal:  9000 kB\nMemAvailableX: 1 kB\nMemAvailable:    5000 kB\n");
    assert_int_equal(dgm_memory_free(root), 5000 << 10);
    put("/proc/self/cgroup", "0::/\n"); /* a group without files */
    assert_int_equal(dgm_memory_free(root), 5000 << 10);
}

static void test_version_2(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 5000 kB\n");
    put("/proc/self/cgroup", "0::/job/step\n");
    put("/sys/fs/cgroup/job/step/memory.max", "max\n");
    put("/sys/fs/cgroup/job/step/memory.current", "1000\n");
    assert_int_equal(dgm_memory_free(root), 5000 << 10);
    put("/sys/fs/cgroup/job/memory.max", "90000\n"); /* the group above limits */
    put("/sys/fs/cgroup/job/memory.current", "30000\n");
    assert_int_equal(dgm_memory_free(root), 60000);
    put("/sys/fs/cgroup/job/memory.stat", "anon 5\ninactive_file 4000\nactive_file 600\n");
    assert_int_equal(dgm_memory_free(root), 64600);
    put("/sys/fs/cgroup/job/memory.current", "200000\n");
    assert_int_equal(dgm_memory_free(root), 0);
}

static void test_version_1(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 5000 kB\n");
    put("/proc/self/cgroup", "7:cpu,cpuacct:/x\nnonsense\n5:memory:/slurm\n1:name=systemd:/\n");
    put("/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "70000\n");
    put("/sys/fs/cgroup/memory/slurm/memory.usage_in_bytes", "50000\n");
    put("/sys/fs/cgroup/memory/slurm/memory.stat", "total_inactive_file 1000\n");
    assert_int_equal(dgm_memory_free(root), 21000);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "80000\n");
    assert_int_equal(dgm_memory_free(root), 21000);
}

static void test_peak(void **state)
{
    enum { MORE = 64 << 20 };
    (void)state;
    const uint64_t before = dgm_memory_peak();
    assert_true(before > 0);
    char *block = malloc(MORE);
    assert_non_null(block);
    memset(block, 1, MORE);
    assert_int_equal(block[MORE / 2], 1);
    free(block);
    assert_true(dgm_memory_peak() >= before + MORE / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_tells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1, setup, teardown),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
