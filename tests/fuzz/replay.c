/* replay.c - runs a fuzz target once over each file of a folder: replay FOLDER. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static int replay(const char *path)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 1;
    uint8_t *data = malloc(1 << 20);
    const size_t size = data == NULL ? 0 : fread(data, 1, 1 << 20, f);
    (void)fclose(f);
    /* A copy of just that size, so that reading past it is seen. */
    uint8_t *exact = malloc(size + 1);
    for (size_t i = 0; exact != NULL && i < size; i++)
        exact[i] = data[i];
    const int rc = exact == NULL || LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    free(data);
    return rc;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    const struct dirent *entry;
    int n = 0;
    if (dir == NULL)
        return 2;
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (replay(path) != 0) {
            (void)fprintf(stderr, "%s: failed\n", path);
            return 1;
        }
        n++;
    }
    (void)closedir(dir);
    (void)printf("%d inputs\n", n);
    return n > 0 ? 0 : 1;
}
