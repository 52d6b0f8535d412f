#include "runtime/csv.h"

#include "runtime/writer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int dgm_csv_folder(const char *dir)
{
    struct stat st;
    if (mkdir(dir, 0777) == 0 || (errno == EEXIST && stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
        return DGM_OK;
    return dgm_fail(DGM_EOUTPUT, "%s: want a folder for tables, found: %s", dir, strerror(errno));
}

int dgm_csv_begin(dgm_csv *c, const char *dir, const char *name)
{
    *c = (dgm_csv){0};
    if (snprintf(c->path, sizeof c->path, "%s/%s.csv", dir, name) >= (int)sizeof c->path)
        return dgm_fail(DGM_EOUTPUT, "%s: want a shorter path", dir);
    c->f = open_memstream(&c->text, &c->bytes);
    if (c->f == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: out of memory", c->path);
    return DGM_OK;
}

void dgm_csv_text(dgm_csv *c, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        (void)fputs(text, c->f);
        return;
    }
    (void)fputc('"', c->f);
    for (; *text != '\0'; text++)
        (void)fputs(*text == '"' ? "\"\"" : (char[2]){*text, '\0'}, c->f);
    (void)fputc('"', c->f);
}

int dgm_csv_end(dgm_csv *c)
{
    const bool whole = ferror(c->f) == 0;
    int rc =
        fclose(c->f) == 0 && whole ? DGM_OK : dgm_fail(DGM_ENOMEM, "%s: out of memory", c->path);
    if (rc == DGM_OK) {
        c->text[c->bytes - 1] = '\0'; /* the writer ends the last line */
        rc = dgm_writer_file(c->path, c->text);
    }
    free(c->text);
    return rc;
}
