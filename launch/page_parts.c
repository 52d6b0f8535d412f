#include "launch/page_parts.h"

#include "launch/data_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char frame[] = "page.html";

/* put_file - all of dir/name, `length` bytes of it. */
static int put_file(FILE *out, const char *what, const char *dir, const char *name, int length)
{
    char path[4096], room[1 << 16];
    (void)snprintf(path, sizeof path, "%s/%.*s", dir, length, name);
    FILE *in = fopen(path, "r");
    if (in == NULL)
        return dgm_fail(DGM_EUNSUPPORTED, "%s: want %s, a part of its page: %s", what, path,
                        strerror(errno));
    size_t n;
    while ((n = fread(room, 1, sizeof room, in)) > 0)
        (void)fwrite(room, 1, n, out);
    const bool whole = ferror(in) == 0;
    (void)fclose(in);
    return whole ? DGM_OK : dgm_fail(DGM_EUNSUPPORTED, "%s: %s cannot be read", what, path);
}

/* put_filled - text with each {{name}} replaced. */
static int put_filled(FILE *out, const char *what, const char *text, const char *dir,
                      const char *data)
{
    for (const char *open; (open = strstr(text, "{{")) != NULL;) {
        const char *name = open + 2, *close = strstr(name, "}}");
        if (close == NULL)
            break;
        const int length = (int)(close - name);
        (void)fwrite(text, 1, (size_t)(open - text), out);
        if (strncmp(name, "data", (size_t)length) == 0)
            (void)fputs(data, out);
        else
            DGM_TRY(put_file(out, what, dir, name, length));
        text = close + 2;
    }
    (void)fputs(text, out);
    return DGM_OK;
}

/* make - the whole page in memory. */
static int make(char **text, const char *what, const char *dir, const char *data)
{
    size_t bytes;
    char *parts = NULL;
    FILE *f = open_memstream(&parts, &bytes), *page = open_memstream(text, &bytes);
    int rc = f == NULL || page == NULL
                 ? dgm_fail(DGM_ENOMEM, "%s: out of memory for its page", what)
                 : put_file(f, what, dir, frame, (int)strlen(frame));
    if (f != NULL && fclose(f) != 0 && rc == DGM_OK)
        rc = dgm_fail(DGM_ENOMEM, "%s: out of memory for its page", what);
    if (rc == DGM_OK)
        rc = put_filled(page, what, parts, dir, data);
    const bool whole = page == NULL || ferror(page) == 0;
    if (page != NULL && (fclose(page) != 0 || !whole) && rc == DGM_OK)
        rc = dgm_fail(DGM_ENOMEM, "%s: out of memory for its page", what);
    free(parts);
    return rc;
}

int dgm_page_parts(char **text, const char *what, const char *in_tree, const char *in_share,
                   const char *data)
{
    char dir[4096];
    *text = NULL;
    if (!dgm_data_find(dir, sizeof dir, in_tree, in_share, frame))
        return dgm_fail(DGM_EUNSUPPORTED,
                        "%s: want the parts of its page in %s, found none: install dragoman anew "
                        "(cmake --install)",
                        what, dir);
    const int rc = make(text, what, dir, data);
    if (rc != DGM_OK) {
        free(*text);
        *text = NULL;
    }
    return rc;
}
